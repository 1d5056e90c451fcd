#!/usr/bin/env bats
# scripts/engines/parallel.sh: machines that are this one, over a real sshd.

setup_file() {
    load helper
    [ -n "$(command -v parallel)" ] && [ -x /usr/sbin/sshd ] || {
        export MISSING='GNU parallel or sshd is not installed'
        return
    }
    begin
    serve
}

teardown_file() {
    load helper
    end_of "$BATS_FILE_TMPDIR/sshd.pid"
}

# serve: An sshd on the loopback, with keys of its own; laptop-1 and laptop-2
# are its names, and at laptop-3 nobody answers.
serve() {
    local port
    port=$(free_port)
    ssh-keygen -q -t ed25519 -N '' -f host
    ssh-keygen -q -t ed25519 -N '' -f user
    printf '[127.0.0.1]:%s %s\n' "$port" "$(<host.pub)" >known
    [ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
    cat >sshd.conf <<END
ListenAddress 127.0.0.1:$port
HostKey $PWD/host
AuthorizedKeysFile $PWD/user.pub
PidFile $PWD/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH=$PATH
END
    cat >ssh.conf <<END
Host laptop-1 laptop-2
    HostName 127.0.0.1
    Port $port
Host laptop-3
    HostName 127.0.0.1
    Port $(free_port)
Host *
    IdentityFile $PWD/user
    IdentitiesOnly yes
    UserKnownHostsFile $PWD/known
    BatchMode yes
    LogLevel ERROR
END
    /usr/sbin/sshd -f sshd.conf -E sshd.log
    export PARALLEL_SSH="ssh -F $PWD/ssh.conf"
    until_true ssh -F ssh.conf laptop-1 true || {
        export MISSING='an sshd that this user starts lets nobody in'
        cat sshd.log >&3
    }
}

setup() {
    load helper
    [ -z "${MISSING-}" ] || skip "$MISSING"
    cd "$BATS_FILE_TMPDIR" || return
}

engine() {
    "$MR_SOURCE/scripts/engines/parallel.sh" "$@"
}

@test "parallel: two machines, five parts" {
    run --separate-stderr engine -H laptop-1,laptop-2 -n 5 -o two lake
    [ "$status" -eq 3 ]
    [ "${lines[0]}" = "$(head -1 one.txt)" ]
    [ "$(parts_of two)" -eq 5 ]
    as_one_machine two
    # Both had work.
    grep -q laptop-1 two/logs/parallel
    grep -q laptop-2 two/logs/parallel
}

@test "parallel: a machine that does not answer leaves its parts to others" {
    run --separate-stderr engine -H laptop-3,laptop-1 -n 3 -o dead lake
    [ "$status" -eq 3 ]
    as_one_machine dead
}

@test "parallel: names with blanks and quotes" {
    mkdir -p "it's a \$lake"
    cp -r lake/type=* lake/c*z* "it's a \$lake"
    run --separate-stderr engine -H laptop-1,: -n 2 -o "the \"out\"" \
        "it's a \$lake"
    [ "$status" -eq 3 ]
    as_one_machine "the \"out\""
}

@test "parallel: what is missing in the command is said" {
    run engine -n 2 -o none lake
    [ "$status" -eq 2 ]
    [[ $output == *'-H HOST'* ]]
    run engine -H laptop-1 -n x -o none lake
    [ "$status" -eq 2 ]
    [[ $output == *'-n PARTS'* ]]
    run engine -H laptop-1 -n 2 lake
    [ "$status" -eq 2 ]
    [[ $output == *'-o OUT'* ]]
    run engine -H laptop-1 -n 2 -o none
    [ "$status" -eq 2 ]
    [[ $output == *INPUT* ]]
    run engine -h
    [ "$status" -eq 0 ]
    [[ $output == *'parallel.sh -H HOST,HOST... -n PARTS'* ]]
}
