# A state for each file, and what reduce makes of a tree of them.
# shellcheck disable=SC2030,SC2031,SC2154

load helper

# Two hours of two types, as they land.
landing() {
    local hour type
    for hour in 10 11; do
        for type in click view; do
            mkdir -p "lake/date=2024-03-01/hour=$hour/type=$type"
            event "2024-03-01 $hour:05" ann "$type" |
                gzip -n >"lake/date=2024-03-01/hour=$hour/type=$type/a.json.gz"
        done
    done
}

first=lake/date=2024-03-01/hour=10/type=click/a.json.gz

# beside ARGUMENT...: Run it; $made and $there are what it says, $output the
# paths.
beside() {
    run --separate-stderr mr map --beside "$@"
    there=$(sed -nE 's/^([0-9]+) states? w(as|ere) up to date, .*/\1/p' <<<"$stderr")
    made=$(sed -nE 's/.* up to date, ([0-9]+) made, .*/\1/p' <<<"$stderr")
}

# same_as_map STATE|DIR...: They are the whole lake.
same_as_map() {
    mr map -q -o expected.mrs lake >/dev/null || [ $? -eq 3 ]
    mr reduce -q --merged got.mrs "$@" >/dev/null || [ $? -eq 3 ]
    cmp got.mrs expected.mrs
}

@test "run every hour on a tree that grows, it maps what is new" {
    local file
    landing
    beside lake
    [ "$status" -eq 0 ]
    [ "$there-$made" = 0-4 ]
    [ "$(find lake -name '*.gz' | LC_ALL=C sort | sed 's/$/.mrs/')" = "$output" ]
    # Each is the very state of its file, and as old as it.
    while read -r file; do
        mr map -q -o one.mrs "${file%.mrs}" >/dev/null
        cmp one.mrs "$file"
        [ ! "$file" -nt "${file%.mrs}" ] && [ ! "$file" -ot "${file%.mrs}" ]
    done <<<"$output"
    same_as_map lake
    find lake -name '*.mrs' -exec stat -c '%i %n' {} + | sort >before
    beside lake
    [ "$there-$made" = 4-0 ]
    find lake -name '*.mrs' -exec stat -c '%i %n' {} + | sort | diff before -
    [ "${#lines[@]}" -eq 4 ]
    mkdir lake/date=2024-03-01/hour=12
    event '2024-03-01 12:00' cy >lake/date=2024-03-01/hour=12/b.json
    beside -j 3 lake
    [ "$there-$made" = 4-1 ]
    same_as_map lake
}

@test "a file that has changed is mapped again, whatever the clocks say" {
    landing
    beside lake
    # Other bytes of another size, at the same time; then of the same size at
    # an earlier and at a later one.
    touch -r "$first" time
    event '2024-03-01 10:07' robert | gzip -n >"$first"
    touch -r time "$first"
    beside lake
    [ "$there-$made" = 3-1 ]
    same_as_map lake
    cp -p "$first" kept
    for date in 2001-01-01 2095-01-01; do
        printf '\377' | dd of="$first" bs=1 seek=9 conv=notrunc status=none
        touch -d $date "$first"
        beside lake
        [ "$there-$made" = 3-1 ]
        same_as_map lake
        beside lake
        [ "$there-$made" = 4-0 ]
        cp kept "$first"
    done
}

@test "times that a file system has cut off are the same times" {
    landing
    touch -d '2024-03-02 01:02:03.123456789' lake/*/*/*/*.gz
    beside lake
    for time in 2024-03-02T01:02:03.1234567 2024-03-02T01:02:03.123456 \
        2024-03-02T01:02:03.12 2024-03-02T01:02:03 2024-03-02T01:02:02; do
        touch -d "$time" "$first.mrs"
        beside lake
        [ "$there-$made" = 4-0 ]
    done
    for time in 2024-03-02T01:02:03.123456788 2024-03-02T01:02:03.1 \
        2024-03-02T01:02:04 2024-03-02T01:02:01 2024-03-02T01:02:02.123456789; do
        touch -d "$time" "$first.mrs"
        beside lake
        [ "$there-$made" = 3-1 ]
    done
}

@test "with another spec all are mapped again" {
    landing
    beside lake
    echo 'session_gap_ms: 600000' >short.yaml
    beside --spec short.yaml lake
    [ "$there-$made" = 0-4 ]
    beside --spec short.yaml lake
    [ "$there-$made" = 4-0 ]
    beside lake
    [ "$there-$made" = 0-4 ]
    same_as_map lake
}

@test "a damaged, cut or foreign state is replaced" {
    landing
    beside lake
    # In the table, among users, in the last section.
    for damage in 'flip $f 300' 'flip $f 400' 'flip $f -1' \
        'truncate -s -1 $f' ': >$f' 'echo no state >$f' 'rm $f' \
        'cp other.mrs $f'; do
        cp -p "$first.mrs" f.mrs
        cp lake/date=2024-03-01/hour=11/type=view/a.json.gz.mrs other.mrs
        f=$first.mrs
        eval "$damage"
        [ ! -e "$f" ] || touch -r "$first" "$f"
        beside lake
        [ "$status-$there-$made" = 0-3-1 ]
        cmp f.mrs "$f"
    done
}

@test "states of files that are gone count on" {
    landing
    mr map -q -o expected.mrs lake >/dev/null
    beside lake
    rm "$first"
    beside lake
    [ "$there-$made" = 3-0 ]
    mr reduce -q --merged got.mrs lake >/dev/null
    cmp got.mrs expected.mrs
}

@test "a tree that cannot be written has its states in another" {
    [ "$(id -u)" -ne 0 ] || need setpriv
    landing
    mkdir out
    chmod -R a-w lake
    run --separate-stderr powerless "$MR" map --beside lake
    chmod -R u+w lake
    [ "$status" -eq 5 ]
    [[ ${stderr_lines[-1]} == "mr: cannot write '$first.mrs': Permission denied"* ]]
    [ "$(find lake -name '.mr-tmp*' -o -name '*.mrs')" = '' ]
    beside -o out/states lake
    [ "$status-$there-$made" = 0-0-4 ]
    [ "$(sed -n 1p <<<"$output")" = "out/states/${first#lake/}.mrs" ]
    [ "$(find lake -name '*.mrs')" = '' ]
    beside -o out/states/ lake
    [ "$there-$made" = 4-0 ]
    same_as_map out
    # From elsewhere, and by a name of its own, they are the same.
    mv lake moved
    beside -o out/states "moved/date=2024-03-01"
    [ "$there-$made" = 4-0 ]
}

@test "states that reduce of a folder would pass by are told of" {
    mkdir -p .in/_part
    event 1709287200000 ann >.x.json
    event 1709287200000 bob >y.json
    event 1709287200000 cyd >.in/_part/z.json
    beside .x.json y.json .in/_part/z.json
    [ "$status" -eq 0 ]
    [[ $stderr == *"note: mr reduce of a folder skips names that begin with '_' or '.', and so the state of '.x.json': name it beside the folder"* ]]
    beside -o tree .in/_part/z.json ./y.json .x.json
    [ "$status" -eq 0 ]
    [[ $stderr == *"and so the states of '.in/_part/z.json' and others: name them beside the folder"* ]]
    beside -o tree ./y.json .in
    [[ $stderr != *note* ]]
}

@test "names without a place of their own are refused" {
    landing
    event 1709287200000 ann >x.json
    cp -r lake again
    run mr map --beside -o out lake again
    [ "$status" -eq 2 ]
    [[ $output == "mr: cannot map '$first': two files have this name, and one place"* ]] ||
        [[ $output == "mr: cannot map 'again/"*"': two files have this name, and one place"* ]]
    mkdir in
    for name in "$PWD/x.json" ../x.json lake/../x.json; do
        run bash -c "cd in && '$MR' map --beside -o out '$name'"
        [ "$status" -eq 2 ]
        [[ $output == "mr: cannot map '$name': its name leads out of the folder for states"* ]] ||
            [[ $output == *'cannot find'* ]]
    done
    run mr map --beside -
    [ "$status" -eq 2 ]
    [[ $output == "mr: cannot map '-': there is no place beside standard input"* ]]
    run mr map --beside -o all.mrs lake
    [ "$status" -eq 2 ]
    [ "$output" = "mr: each file has a state of its own, and 'all.mrs' is one; name a folder for the output" ]
    run mr map --beside --rejects bad lake
    [ "$status" -eq 2 ]
    [ ! -e bad ] && [ ! -e in/out ] && [ "$(find . -name '*.mrs')" = '' ]
}

@test "what cannot be read is said in its state, and does not stop the others" {
    landing
    cp "$first" good
    truncate -s -1 "$first"
    beside lake
    [ "$status-$there-$made" = 3-0-4 ]
    [[ $stderr == *"1 partition could not be read"* ]]
    [[ $stderr == *"mr: cannot read '${first#lake/}' at byte "*": truncated gzip member"* ]]
    [[ $stderr == *"mr: PARTIAL: 1 partition "* ]]
    run mr reduce -q lake
    [ "$status" -eq 3 ]
    same_as_map lake
    # It is tried again each time, until it is whole.
    beside lake
    [ "$status-$there-$made" = 3-3-1 ]
    cp good "$first"
    beside lake
    [ "$status-$there-$made" = 0-3-1 ]
    mr reduce -q lake
    ln -s nowhere lake/link.json
    beside lake
    [ "$status-$there-$made" = 3-4-0 ]
    [[ $stderr == *"mr: cannot read 'link.json': No such file"* ]]
}

@test "bad lines are counted in states that are there, too" {
    landing
    echo bad >lake/bad.json
    beside --max-bad 10 lake
    [ "$status-$there-$made" = 4-0-5 ]
    beside --max-bad 10 lake
    [ "$status-$there-$made" = 4-5-0 ]
    beside --max-bad 20 lake
    [ "$status" -eq 0 ]
}

@test "an archive has one state for all of its members" {
    landing
    mkdir tars
    tar -C lake -cf tars/all.tar .
    beside tars
    [ "$status-$there-$made" = 0-0-1 ]
    mr map -q -o whole.mrs tars >/dev/null
    cmp whole.mrs tars/all.tar.mrs
    beside tars
    [ "$there-$made" = 1-0 ]
    tar -C lake -rf tars/all.tar --transform 's/a\.json/b.json/' .
    touch -d tomorrow tars/all.tar
    beside tars
    [ "$there-$made" = 0-1 ]
    head -c 1300 tars/all.tar >tars/cut.tar
    beside tars
    [ "$status-$there-$made" = 3-1-1 ]
    beside tars
    [ "$status-$there-$made" = 3-1-1 ]
}

@test "states beside files are not taken for events" {
    landing
    event 1709287200000 ann >x.json
    mr map -q -o expected.mrs lake >/dev/null
    beside lake x.json
    [ "$made" -eq 5 ]
    mr map -q -o again.mrs lake >/dev/null
    cmp again.mrs expected.mrs
    mr map -q -o again.mrs lake/*/*/*/* >/dev/null
    cmp again.mrs expected.mrs
    [ "$(mr rows -q lake | wc -l)" -eq 5 ]
    run mr map x.json.mrs
    [ "$status" -eq 2 ]
}

@test "machines share the work by parts" {
    landing
    beside --shard 1/3 lake
    n=$made
    beside --shard 2/3 lake
    n=$((n + made))
    beside --shard 3/3 lake
    [ $((n + made)) -eq 4 ]
    beside lake
    [ "$there-$made" = 4-0 ]
}

@test "where a state cannot be put the others are made" {
    landing
    mkdir "$first.mrs"
    ln -s nowhere "lake/date=2024-03-01/hour=11/type=view/a.json.gz.mrs"
    beside lake
    [ "$status-$there-$made" = 5-0-2 ]
    [[ ${stderr_lines[-1]} == "mr: cannot write '$first.mrs': Is a directory"* ]]
    [ "${#lines[@]}" -eq 2 ]
    rmdir "$first.mrs"
    beside lake
    [ "$status-$there-$made" = 2-2-1 ]
    [[ ${stderr_lines[-1]} == *'it exists and is not a regular file'* ]]
}

@test "on a full disk it stops with 7, and what is made is whole" {
    landing
    event 1709287200000 ann >lake/small.json
    run bash -c 'ulimit -f 0; exec "$MR" map --beside -j 1 lake'
    [ "$status" -eq 7 ]
    [ "$(find lake -name '.mr-tmp*' -o -name '*.mrs')" = '' ]
    beside lake
    [ "$made" -eq 5 ]
}

# interrupt SIGNAL: Send it to a run over lake that has made twenty states.
interrupt() {
    local pid
    find lake -name '*.mrs' -delete
    "$MR" map --beside -j 1 lake >out 2>said &
    pid=$!
    while [ "$(find lake -name '*.mrs' | wc -l)" -lt 20 ]; do
        sleep 0.01
    done
    kill "-$1" $pid
    status=0
    wait $pid || status=$?
}

@test "a signal or a kill leaves whole states, and the next run goes on" {
    local signal n
    mkdir lake
    events 3000 | split -l 5 -a 4 -d --additional-suffix .json - lake/
    for signal in TERM KILL; do
        interrupt $signal
        # On a busy machine the run may have ended before.
        for _ in {1..5}; do
            [ "$status" -ne 0 ] || interrupt $signal
        done
        [ "$signal-$status" = TERM-143 ] || [ "$signal-$status" = KILL-137 ]
        n=$(find lake -name '*.mrs' | wc -l)
        [ "$n" -lt 600 ]
        mr inspect -q lake >/dev/null
        beside lake
        [ "$status-$there-$made" = "0-$n-$((600 - n))" ]
        same_as_map lake
    done
}

@test "two runs at a time do the same" {
    mkdir lake
    events 1000 | split -l 5 -a 4 -d --additional-suffix .json - lake/
    mr map -q --beside lake >one &
    mr map -q --beside lake >two
    wait $!
    cmp one two
    beside lake
    [ "$there-$made" = 200-0 ]
    same_as_map lake
}

@test "a tree of many states is merged within few files and little memory" {
    local k
    mkdir -p many
    for k in $(seq 1 150); do
        mkdir -p "many/hour=$((k % 24))"
        {
            event $((1709251200000 + k * 600000)) "u$((k % 40))"
            event $((1709251200000 + k * 600000)) "v$k"
        } >"many/hour=$((k % 24))/$k.json"
    done
    ln -s ../many many/loop
    mr map -q --beside many >/dev/null
    mr map -q -o whole.mrs many >/dev/null
    mkdir _spool
    for files in 40 64 256; do
        run bash -c "ulimit -n $files; TMPDIR=_spool exec '$MR' reduce -q -o got --merged m.mrs many"
        [ "$status" -eq 0 ]
        cmp m.mrs whole.mrs
        mr reduce -q -o wanted whole.mrs >/dev/null
        sed -i 's/"states": 150/"states": 1/' got/kpis.json
        diff -r got wanted
        [ "$(find _spool -type f)" = '' ]
    done
    run bash -c "TMPDIR=nowhere exec '$MR' reduce -q many"
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot write a temporary file in 'nowhere': No such file or directory; see that it is a folder that can be written to, or set TMPDIR to another one" ]
    # Too many open files: more space would not help.
    run bash -c "ulimit -n 16; exec '$MR' reduce -q many"
    [ "$status" -eq 5 ]
    [[ $output == *'Too many open files; raise the limit of open files (ulimit -n)'* ]]
    [[ $output != *space* ]]
    run bash -c "ulimit -f 0; exec '$MR' reduce -q many"
    [ "$status" -eq 7 ]
    [[ $output == "mr: cannot write a temporary file in "*": File too large; "*'set TMPDIR'* ]]
}

@test "inspect marks what is superseded" {
    landing
    mr map -q -o states lake/*/hour=10 >/dev/null
    mr map -q -o whole.mrs lake >/dev/null
    cp whole.mrs x.mrs
    run --separate-stderr mr inspect --format json states whole.mrs x.mrs
    [ "$(jq -c '[.states[].superseded_by]' <<<"$output")" = '["whole.mrs",null,"whole.mrs"]' ]
    run --separate-stderr mr inspect states whole.mrs
    [ "$(grep -c superseded <<<"$output")" -eq 1 ]
    [[ $output == *"  superseded  mr reduce leaves it out: all of it is in 'whole.mrs'"* ]]
    run --separate-stderr mr inspect states
    [[ $output != *superseded* ]]
}

@test "where segments add up, superseded states are no overlap" {
    landing
    printf '%s\n' "segments: {fans: {click: '>=1'}}" >segments.yaml
    mr map -q --spec segments.yaml -o whole.mrs lake >/dev/null
    mr map -q --spec segments.yaml -o ten.mrs lake/*/hour=10 >/dev/null
    mr map -q --spec segments.yaml -o eleven.mrs lake/*/hour=11 >/dev/null
    mr reduce -q --merged m.mrs ten.mrs whole.mrs eleven.mrs >/dev/null
    cmp m.mrs whole.mrs
}

@test "in groups, too, segments and ids count each partition once" {
    local k
    mkdir -p many/a many/b
    for k in $(seq 1 90); do
        {
            event $((1709251200000 + k * 600000)) "u$((k % 40))"
            event $((1709251200000 + k * 600000)) "v$k"
        } >"many/a/$k.json"
        # The same bytes under another name, far from it in the order.
        [ "$k" -gt 20 ] || cp "many/a/$k.json" "many/b/$k.json"
    done
    printf '%s\n' "segments: {fans: {click: '>=2'}}" \
        'duplicates: {max_ids: 1000}' >segments.yaml
    mr map -q --spec segments.yaml --beside many >/dev/null
    mr map -q --spec segments.yaml -o whole.mrs many >/dev/null
    mr reduce -q -o wanted whole.mrs >/dev/null
    for files in 40 64 1024; do
        run --separate-stderr bash -c "ulimit -n $files; exec '$MR' reduce -o got --merged m.mrs many"
        [ "$status" -eq 0 ]
        [ "$stderr" = 'mr: note: a partition was met again in another state 20 times; each counts once' ]
        cmp m.mrs whole.mrs
        diff got/segments.csv wanted/segments.csv
        diff got/duplicates.csv wanted/duplicates.csv
        diff got/daily.csv wanted/daily.csv
        run --separate-stderr bash -c "ulimit -n $files; exec '$MR' reduce -q --format csv many"
        cmp wanted/daily.csv - <<<"$output"
    done
    # What overlaps in part is refused by the names of the states.
    mr map -q --spec segments.yaml -o odd.mrs many/a/1.json many/a/2.json >/dev/null
    run bash -c "ulimit -n 40; exec '$MR' reduce -q many odd.mrs"
    [ "$status" -eq 0 ]
    event 1709251200000 odd >odd.json
    mr map -q --spec segments.yaml -o odd.mrs many/a/1.json odd.json >/dev/null
    mr map -q --spec segments.yaml -o even.mrs many/a/2.json many/a/1.json >/dev/null
    run bash -c "ulimit -n 40; exec '$MR' reduce -q many odd.mrs even.mrs"
    [ "$status" -eq 6 ]
    [[ $output == "mr: cannot merge '"*".mrs': its segments cannot be added to those of '"*".mrs': both hold "* ]]
}

@test "a spec that differs is named, however many states there are" {
    local k
    mkdir many
    for k in $(seq 1 80); do
        event $((1709251200000 + k * 600000)) "u$k" >"many/$k.json"
    done
    mr map -q --beside many >/dev/null
    echo 'session_gap_ms: 600000' >short.yaml
    mr map -q --spec short.yaml -o many/zz.mrs many/1.json >/dev/null
    run mr reduce -q many
    [ "$status" -eq 6 ]
    [[ $output == "mr: cannot merge 'many/zz.mrs': its spec is not that of 'many/1.json.mrs': "* ]]
}
