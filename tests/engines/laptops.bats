#!/usr/bin/env bats
# Two laptops: two network namespaces on one wire, each with a mount namespace
# of its own, and a folder of the second mounted on the first by sshfs.

setup_file() {
    load helper
    local program
    for program in ip sshfs /usr/sbin/sshd nsenter; do
        command -v "$program" >/dev/null || {
            export MISSING="$program is not installed"
            return
        }
    done
    if [ ! -c /dev/fuse ] || ! unshare -n -m true 2>/dev/null; then
        export MISSING='no namespaces or no FUSE for this user'
        return
    fi
    begin
    mkdir -p laptop-1/shared laptop-2/shared/states
    cp -r lake laptop-1/events
    cp -r lake laptop-2/downloads
    wire && share || {
        export MISSING='namespaces cannot be set up here'
        cat sshd.log >&3
    }
}

teardown_file() {
    load helper
    cd "$BATS_FILE_TMPDIR" || return
    [ ! -e names ] || laptop 1 umount -l laptop-1/shared || true
    end_of sshd.pid laptop-1.pid laptop-2.pid
    [ ! -e names ] || xargs -n 1 ip netns del <names
}

# wire: Two namespaces, named after this process; a process keeps each one's
# mounts, among which the other's folder is hidden.
wire() {
    local k other ip=10.203.77
    printf 'mr-%d-%d\n' $$ 1 $$ 2 >names
    xargs -n 1 ip netns add <names || return
    ip link add eth0 netns mr-$$-1 type veth peer name eth0 netns mr-$$-2 ||
        return
    for k in 1 2; do
        other=$PWD/laptop-$((3 - k))
        ip -n mr-$$-$k link set lo up &&
            ip -n mr-$$-$k addr add $ip.$k/24 dev eth0 &&
            ip -n mr-$$-$k link set eth0 up || return
        ip netns exec mr-$$-$k unshare -m sh -c \
            'mount -t tmpfs none "$1" && exec sleep 600' sh "$other" \
            >/dev/null 2>&1 3>&- &
        echo $! >laptop-$k.pid
    done
    until_true laptop 1 mountpoint -q "$PWD/laptop-2" &&
        until_true laptop 2 mountpoint -q "$PWD/laptop-1"
}

# laptop K COMMAND...: What one types there.
laptop() {
    local pid
    pid=$(<"$BATS_FILE_TMPDIR/laptop-$1.pid")
    shift
    nsenter --target "$pid" --net --mount --wdns="$PWD" "$@"
}

# share: The second laptop's folder on the first.
share() {
    ssh-keygen -q -t ed25519 -N '' -f host
    ssh-keygen -q -t ed25519 -N '' -f user
    printf '10.203.77.2 %s\n' "$(<host.pub)" >known
    mkdir -p /run/sshd
    cat >sshd.conf <<END
ListenAddress 10.203.77.2
HostKey $PWD/host
AuthorizedKeysFile $PWD/user.pub
PidFile $PWD/sshd.pid
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
END
    cat >ssh.conf <<END
Host laptop-2
    HostName 10.203.77.2
    IdentityFile $PWD/user
    IdentitiesOnly yes
    UserKnownHostsFile $PWD/known
    BatchMode yes
END
    laptop 2 /usr/sbin/sshd -f sshd.conf -E "$PWD/sshd.log" 3>&- || return
    # As docs/runbook.md has it, but that a dead wire is known sooner.
    laptop 1 sshfs -F "$PWD/ssh.conf" \
        -o reconnect,ServerAliveInterval=1,dir_cache=no \
        "laptop-2:$PWD/laptop-2/shared" laptop-1/shared >>sshd.log 2>&1 3>&- &&
        laptop 1 mountpoint -q laptop-1/shared
}

setup() {
    load helper
    [ -z "${MISSING-}" ] || skip "$MISSING"
    cd "$BATS_FILE_TMPDIR" || return
}

# both COMMAND1 COMMAND2: At the same time, in a shell on each laptop; both
# must end with 0 or, as the lake has a damaged file, with 3.
both() {
    local first
    laptop 1 sh -c "$1" 3>&- &
    first=$!
    run -0 laptop 2 sh -c "$2 || [ \$? -eq 3 ]"
    wait "$first" || [ $? -eq 3 ]
}

# reduced FOLDER: On the first laptop, over the wire.
reduced() {
    run laptop 1 mr reduce -q -o "laptop-1/$1" --merged "laptop-1/$1.mrs" \
        "laptop-1/shared/$1"
    [ "$status" -eq 3 ]
    cmp one.mrs "laptop-1/$1.mrs"
    for file in one/*.csv; do
        cmp "$file" "laptop-1/$1/${file##*/}"
    done
}

@test "laptops: neither sees the other's disk, but for the share" {
    laptop 1 test ! -e laptop-2/downloads
    laptop 2 test ! -e laptop-1/events
    [ "$(laptop 1 stat -f -c %T laptop-1/shared)" = fuseblk ] ||
        [ "$(laptop 1 findmnt -n -o FSTYPE laptop-1/shared)" = fuse.sshfs ]
}

@test "laptops: each maps its half into the share, one reduces" {
    both 'mr map -q --shard 1/2 -o laptop-1/shared/states laptop-1/events' \
        'mr map -q --shard 2/2 -o laptop-2/shared/states laptop-2/downloads'
    [ "$(find laptop-2/shared/states -name '*.mrs' | wc -l)" -eq 2 ]
    reduced states
}

@test "laptops: both map everything: it counts once" {
    both 'mr map -q -o laptop-1/shared/twice laptop-1/events' \
        'mr map -q -o laptop-2/shared/twice laptop-2/downloads'
    reduced twice
}

@test "laptops: each takes what the other has not claimed" {
    both 'mr map -q --claim -o laptop-1/shared/claimed laptop-1/events' \
        'mr map -q --claim -o laptop-2/shared/claimed laptop-2/downloads'
    reduced claimed
}

@test "laptops: the files themselves lie in the share" {
    cp -r lake laptop-2/shared/events
    both 'mr map -q --shard 1/2 -o laptop-1/shared/near laptop-1/shared/events' \
        'mr map -q --shard 2/2 -o laptop-2/shared/near laptop-2/shared/events'
    [ "$(find laptop-2/shared/near -name '*.mrs' | wc -l)" -eq 2 ]
    reduced near
}

@test "laptops: the share goes away in the middle" {
    local mapping
    mkfifo laptop-1/pipe
    laptop 1 mr map -q -o laptop-1/shared/gone laptop-1/events laptop-1/pipe \
        >gone.log 2>&1 3>&- &
    mapping=$!
    # Once it is opened mr is reading, and waits for more.
    exec 9>laptop-1/pipe
    ip -n "$(tail -1 names)" link set eth0 down
    exec 9>&-
    status=0
    wait "$mapping" || status=$?
    cat gone.log
    [ "$status" -eq 5 ]
    grep -q "laptop-1/shared/gone" gone.log
    # The wire is back, and the other one begins, too.
    ip -n "$(tail -1 names)" link set eth0 up
    until_true laptop 1 ls laptop-1/shared
    both 'mr map -q --shard 1/2 -o laptop-1/shared/gone laptop-1/events' \
        'mr map -q --shard 2/2 -o laptop-2/shared/gone laptop-2/downloads'
    reduced gone
}
