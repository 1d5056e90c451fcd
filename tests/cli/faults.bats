#!/usr/bin/env bats
# Machines, shares and disks that do not behave: docs/faults.md, line by line.
# shellcheck disable=SC2154

load helper

teardown() {
    [ -z "${server-}" ] || kill "$server" 2>/dev/null || true
    mountpoint -q near && fusermount3 -u -z near
    mountpoint -q disk && umount disk
    true
}

# merged STATE|DIR... : Their one state, in merged.mrs.
merged() {
    mr reduce -q --merged merged.mrs "$@" >/dev/null
}

# tampered COMMAND...: It, with a library that makes calls fail (tests/preload).
tampered() {
    LD_PRELOAD=$MR_BUILD/tests/preload/faults.so "$@"
}

need_preload() {
    [ -e "${MR_BUILD-}/tests/preload/faults.so" ] || skip 'nothing to preload'
    tampered "$MR" --version >/dev/null 2>&1 ||
        skip 'the program bears no preloaded library'
}

# disk: A file system of 4 MB of its own, on ./disk.
disk() {
    [ "$(id -u)" -eq 0 ] || skip 'only root can mount'
    need mkfs.ext4 mount
    truncate -s 4M image
    mkfs.ext4 -q -O ^has_journal image
    mkdir disk
    mount -o loop image disk 2>/dev/null || skip 'nothing can be mounted here'
}

# share: ./far by way of sshfs on ./near; $server can be killed.
share() {
    local sftp=/usr/lib/openssh/sftp-server i
    need sshfs fusermount3
    [ -x $sftp ] || skip 'no sftp-server'
    [ -e /dev/fuse ] || skip 'no /dev/fuse'
    mkdir -p far near
    mkfifo to from
    $sftp -d "$PWD/far" <to >from 2>/dev/null 3>&- &
    server=$!
    sshfs -f -o passive : near >to <from 2>/dev/null 3>&- &
    for ((i = 0; i < 50; i++)); do
        ! mountpoint -q near || return 0
        sleep 0.1
    done
    skip 'nothing can be mounted here'
}

# --- machines -----------------------------------------------------------

@test "the same partition on two machines counts once" {
    small_lake lake
    mr map -q -o whole.mrs lake
    mkdir a b shared
    cp -r lake/day=2024-03-01 a
    cp -r lake/day=2024-03-01 lake/day=2024-03-02 b
    mr map -q -o shared a
    mr map -q -o shared b
    run --separate-stderr mr reduce --merged merged.mrs --format csv shared
    [ "$status" -eq 0 ]
    cmp merged.mrs whole.mrs
    figures whole.mrs | cmp - <(echo "$output")
}

@test "one name, other bytes on each machine: both count, and it is said" {
    mkdir a b
    event 2024-03-01 ann >a/x.json
    { event 2024-03-01 ann && event '2024-03-01 12:00' bob; } >b/x.json
    mr map -q -o shared a
    mr map -q -o shared b
    run --separate-stderr mr reduce -o kpis --format csv shared
    [ "$status" -eq 0 ]
    # Three events of two users, and ann twice at the same moment.
    [[ ${lines[1]} == 2024-03-01,3,0,2,2,* ]]
    [[ $stderr == *'1 name stands for partitions of different bytes, all of which were counted; partitions.csv shows them'* ]]
    [ "$(grep -cE '^x.json,[0-9a-f]{32},read,' kpis/partitions.csv)" -eq 2 ]
}

@test "clocks and dates a year and more apart change nothing" {
    small_lake a
    small_lake b
    find a -exec touch -d 2001-01-01 {} +
    find b -exec touch -d 2037-12-31 {} +
    mr map -q -o a.mrs a
    mr map -q -o b.mrs b
    cmp a.mrs b.mrs
    touch -d 1990-01-01 a.mrs
    touch -d 2037-12-31 b.mrs
    merged b.mrs a.mrs
    cmp merged.mrs a.mrs
}

@test "states of two specs in one folder: 6, with both and what differs" {
    small_lake lake
    mkdir shared
    mr map -q -o shared/a.mrs lake
    echo 'session_gap_ms: 60000' >other.yaml
    mr map -q -o shared/b.mrs --spec other.yaml lake
    run mr reduce -o kpis --merged m.mrs shared
    [ "$status" -eq 6 ]
    [[ $output == "mr: cannot merge 'shared/b.mrs': its spec is not that of 'shared/a.mrs': session_gap_ms: 60000 here, 1800000 there"* ]]
    [ ! -e kpis ] && [ ! -e m.mrs ]
}

@test "states of two format versions: 6, with the file and both versions" {
    small_lake lake
    mkdir shared
    mr map -q -o shared/new.mrs lake
    cp shared/new.mrs shared/old.mrs
    printf '\x01' | dd of=shared/old.mrs bs=1 seek=8 conv=notrunc status=none
    run mr reduce -o kpis shared
    [ "$status" -eq 6 ]
    [[ $output == *"'shared/old.mrs' at byte 8: its header has format version 1, and this mr reads version 2; map its partitions again, or use an older mr"* ]]
    [ ! -e kpis ]
}

# --- states that are being copied ---------------------------------------

@test "a state still being copied is refused, and used once it is there" {
    small_lake lake
    mkdir shared
    mr map -q -o whole.mrs lake
    mr map -q -o shared/one.mrs lake/day=2024-03-01
    mr map -q -o two.mrs lake/day=2024-03-02
    local size n
    size=$(stat -c %s two.mrs)
    for n in 0 40 $((size / 3)) $((size - 1)); do
        # As it grows, and as systems write that make room first.
        head -c "$n" two.mrs >shared/two.mrs
        run mr reduce -o kpis shared
        [ "$status" -eq 6 ]
        [[ $output == *"mr: cannot use 'shared/two.mrs'"*'cut short'* ]]
        truncate -s "$size" shared/two.mrs
        run mr reduce -o kpis shared
        [ "$status" -eq 6 ]
        [[ $output == *"mr: cannot use 'shared/two.mrs'"* ]]
        [ ! -e kpis ]
    done
    cp two.mrs shared
    merged shared
    cmp merged.mrs whole.mrs
}

@test "what programs call a file that they still copy is no state" {
    small_lake lake
    mkdir shared
    mr map -q -o shared/one.mrs lake/day=2024-03-01
    local name
    # rsync, rclone, aws s3 cp, browsers, Syncthing, FUSE, NFS, macOS, mr.
    for name in .two.mrs.Xa81bC two.mrs.partial two.mrs.2fe1b3c4.partial \
        two.mrs.6eF5b5dA two.mrs.crdownload two.mrs.part \
        .syncthing.two.mrs.tmp .fuse_hidden0000000100000001 \
        .nfs000000000000000a00000001 ._one.mrs .mr-tmp-abcdefghij; do
        echo half >"shared/$name"
    done
    run --separate-stderr mr reduce --merged merged.mrs --format csv shared
    [ "$status" -eq 0 ]
    cmp merged.mrs shared/one.mrs
    # A second copy that a synchronizer made counts once.
    cp shared/one.mrs 'shared/one (conflicted copy).mrs'
    merged shared
    cmp merged.mrs shared/one.mrs
}

# --- shares that go away ------------------------------------------------

@test "a share with the data that goes away: PARTIAL, and made good" {
    mkdir -p far/day=2024-03-01
    event 2024-03-01 ann >far/day=2024-03-01/small.json
    {
        event 2024-03-01 bob
        yes '' | head -c 300000000
        event 2024-03-01 cy
    } >far/day=2024-03-01/large.json
    mr map -q -j 2 -o whole.mrs far
    share
    "$MR" map -j 1 -o states near >said 2>&1 3>&- &
    local run=$! status=0
    until grep -q large.json /proc/$run/maps 2>/dev/null; do
        kill -0 $run
    done
    kill -9 "$server"
    wait $run || status=$?
    echo "status $status, said: $(<said)"
    [ "$status" -eq 3 ]
    grep -q "^mr: cannot read 'day=2024-03-01/large.json': " said
    [[ $(figures states/*.mrs | tail -1) != *,3,0,3,* ]]
    # Once more, when it is back.
    mr map -q -o states far
    merged states
    cmp merged.mrs whole.mrs
}

@test "a share with the states that goes away: 5, and the file" {
    mkdir far
    small_lake lake
    share
    mkfifo events
    "$MR" map -o near/states - <events >said 2>&1 3>&- &
    local run=$! status=0
    event 2024-03-01 ann >events.json
    exec 9>events
    cat events.json >&9
    until [ -d far/states ] && [ -n "$(ls -A far/states)" ]; do
        kill -0 $run
    done
    kill -9 "$server"
    exec 9>&-
    wait $run || status=$?
    echo "status $status, said: $(<said)"
    [ "$status" -eq 5 ]
    grep -q "^mr: cannot write 'near/states" said
    # Of what was begun nothing is taken for a state.
    run mr reduce far/states
    [ "$status" -eq 2 ]
    mr map -q -o far/states - <events.json
    mr map -q -o whole.mrs - <events.json
    merged far/states
    cmp merged.mrs whole.mrs
}

@test "the folder of the states renamed or removed while map runs" {
    mkfifo events
    event 2024-03-01 ann >events.json
    mr map -q -o whole.mrs - <events.json
    local kind run status
    for kind in renamed removed; do
        "$MR" map -o states - <events >said 2>&1 3>&- &
        run=$! status=0
        exec 9>events
        until [ -n "$(ls -A states 2>/dev/null)" ]; do
            kill -0 $run
        done
        if [ $kind = renamed ]; then
            mv states elsewhere
        else
            rm -r states
        fi
        cat events.json >&9
        exec 9>&-
        wait $run || status=$?
        echo "$kind: status $status, said: $(<said)"
        if [ $kind = renamed ]; then
            [ "$status" -eq 0 ]
            cmp elsewhere/*.mrs whole.mrs
        else
            [ "$status" -eq 5 ]
            grep -q "^mr: cannot write 'states.*: No such file or directory; make the folder first" said
        fi
    done
}

# --- disks --------------------------------------------------------------

@test "a full disk: 7, nothing left behind, and what was there stays" {
    small_lake lake
    # A state larger than what a full disk may still find room for.
    events 30000 >lake/day=2024-03-02/c.json
    mr map -q -o whole.mrs lake
    disk
    mkdir disk/states disk/kpis
    mr map -q -o disk/states lake/day=2024-03-01
    mr reduce -q -o disk/kpis disk/states >/dev/null
    cp -r disk/kpis kept
    local i
    for i in 1 2 3; do # to the last block
        dd if=/dev/zero of=disk/fill$i bs=$((4096 / i)) 2>/dev/null || true
        sync -f disk
    done
    ls -A disk/states >before
    run mr map -o disk/states lake/day=2024-03-02
    [ "$status" -eq 7 ]
    [[ $output == *"mr: cannot write 'disk/states'"*': No space left on device; free some space there, or write elsewhere' ]]
    ls -A disk/states | cmp - before
    run mr map -o disk/more lake
    [ "$status" -eq 7 ]
    run mr reduce -o disk/kpis --merged disk/m.mrs whole.mrs
    [ "$status" -eq 7 ]
    [ ! -e disk/m.mrs ]
    diff -r disk/kpis kept
    rm disk/fill*
    mr map -q -o disk/states lake/day=2024-03-02
    merged disk/states
    cmp merged.mrs whole.mrs
}

@test "a file system that cannot be written to: 5 at once; reading is well" {
    small_lake lake
    mr map -q -o whole.mrs lake
    disk
    cp -r lake disk
    mr map -q -o disk/states lake
    mount -o remount,ro disk
    run mr map -o disk/states disk/lake
    [ "$status" -eq 5 ]
    [[ $output == "mr: cannot write 'disk/states': Read-only file system; write elsewhere" ]]
    run mr map -o disk/s.mrs --rejects r.jsonl disk/lake
    [ "$status" -eq 5 ]
    run mr reduce -o disk/kpis disk/states
    [ "$status" -eq 5 ]
    [[ $output == *"'disk/kpis': "*'Read-only file system; write elsewhere' ]]
    mr map -q -o here disk/lake
    cmp here/*.mrs whole.mrs
    mr reduce -q -o kpis disk/states >/dev/null
}

# unnamed COMMAND...: Run with the renaming of r.jsonl refused.
unnamed() {
    local number
    MR_FAULT_LOG=calls tampered "$@" 2>/dev/null
    number=$(awk '$2 == "rename" && $3 == "./r.jsonl" { print $1 }' calls)
    rm -rf calls r.jsonl s.mrs states rows.csv
    MR_FAULT_AT=$number MR_FAULT_KIND=EIO run tampered "$@"
    [ "$status" -eq 5 ]
    [ "${lines[0]}" = "mr: cannot write 'r.jsonl': rename: Input/output error; rerun, or write elsewhere" ]
    [ ! -e r.jsonl ]
}

@test "rejected lines that cannot be named: 5, and no output without them" {
    need_preload
    small_lake lake
    unnamed "$MR" rows -o rows.csv --rejects r.jsonl lake
    [ ! -e rows.csv ]
    unnamed "$MR" map -o s.mrs --rejects r.jsonl lake
    [ "${#lines[@]}" -eq 1 ]
    [ ! -e s.mrs ]
    # But for what had been saved by then.
    MR_FAULT_CLOCK=1 unnamed "$MR" map -j 1 --checkpoint 1 -o states \
        --rejects r.jsonl lake
    [ "${lines[1]}" = "what was read before is in '$(ls states/*.mrs)': the same command reads it again for --rejects" ]
}

@test "a share where no file is renamed to a name that is taken" {
    need_preload
    small_lake lake
    mr map -q -o whole.mrs lake
    mr map -q -o one.mrs lake/day=2024-03-01
    cp one.mrs s.mrs
    mr reduce -q -o kpis one.mrs >/dev/null
    export MR_FAULT_SHARE=1
    # Each in the place of an older one.
    tampered "$MR" map -q -o s.mrs lake
    cmp s.mrs whole.mrs
    tampered "$MR" reduce -q -o kpis --merged s.mrs whole.mrs >/dev/null
    cmp s.mrs whole.mrs
    mr reduce -q -o fresh whole.mrs >/dev/null
    diff -r fresh kpis
    # Two machines that have made the same state.
    tampered "$MR" map -q -o shared lake
    tampered "$MR" map -q -o shared lake/day=2024-03-0?
    cmp shared/*.mrs whole.mrs
    [ -z "$(find . -name '.mr-tmp-*')" ]
}
