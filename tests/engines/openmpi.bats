#!/usr/bin/env bats
# scripts/engines/openmpi.sh: real ranks on this machine.

setup_file() {
    load helper
    [ -n "$(command -v mpirun)" ] || {
        export MISSING='Open MPI is not installed'
        return
    }
    begin
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    # More ranks than processors, and no network but the loopback.
    export OMPI_MCA_rmaps_base_oversubscribe=1
    export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
}

setup() {
    load helper
    [ -z "${MISSING-}" ] || skip "$MISSING"
    cd "$BATS_FILE_TMPDIR" || return
}

engine() {
    "$MR_SOURCE/scripts/engines/openmpi.sh" "$@"
}

@test "Open MPI: three ranks" {
    run --separate-stderr engine -n 3 -o three lake
    [ "$status" -eq 3 ]
    [ "${lines[0]}" = "$(head -1 one.txt)" ]
    [ "$(parts_of three)" -eq 3 ]
    as_one_machine three
}

@test "Open MPI: a list of hosts" {
    run --separate-stderr engine -n 2 -H localhost:2 -o hosts lake
    [ "$status" -eq 3 ]
    [ "$(parts_of hosts)" -eq 2 ]
    as_one_machine hosts
}

@test "Open MPI: a rank that fails does not end the others" {
    mkdir failing
    cat >failing/mr <<'END'
#!/bin/sh
[ "$1 ${OMPI_COMM_WORLD_RANK-}" != 'map 1' ] || exit 5
exec mr-proper "$@"
END
    chmod +x failing/mr
    ln -s "$MR" failing/mr-proper
    PATH=$PWD/failing:$PATH run --separate-stderr engine -n 3 -o less lake
    [[ $stderr == *'rank 1: exit status 5'* ]]
    [ "$status" -eq 3 ]
    [[ $output == *'of the manifest are in no state'* ]]
    [ "$(parts_of less)" -eq 2 ]
    # Run again in other parts, what is missing is made.
    run --separate-stderr engine -n 2 -o less lake
    [ "$status" -eq 3 ]
    [[ $output != *'of the manifest are in no state'* ]]
    as_one_machine less
}
