# shellcheck shell=bash
# Shared by the tests of engines.

load ../cli/helper

# begin: A lake, with a file that is cut short and one that stands there twice;
# what one machine makes of it; and mr on the PATH.
begin() {
    cd "$BATS_FILE_TMPDIR" || return
    mkdir bin
    ln -s "$MR" bin/mr
    export PATH=$PWD/bin:/usr/sbin:$PATH
    "$MR_BUILD/tests/gen_events" --seed 7 --events 20000 --users 2000 \
        --types 8 --days 2 --bad 2 --late 5 --out lake >/dev/null 2>&1
    printf '{"data"' | gzip | head -c 20 >lake/cut.json.gz
    cp "$(find lake -name '*.zst' | sort | head -1)" lake/copy.zst
    one_machine
}

# one_machine: What the results are compared with.
one_machine() {
    local status=0
    rm -rf one one.mrs
    mr map -q -o one.mrs lake || status=$?
    [ "$status" -eq 3 ] || return
    status=0
    mr reduce -q -o one one.mrs >one.txt || status=$?
    [ "$status" -eq 3 ]
}

# as_one_machine OUT: The figures and the merged state of an engine are those
# of one machine, to the byte.
as_one_machine() {
    local file
    run mr reduce -q --merged "$1/merged.mrs" "$1/states"
    [ "$status" -eq 3 ]
    cmp one.mrs "$1/merged.mrs"
    for file in one/*.csv; do
        cmp "$file" "$1/kpis/${file##*/}"
    done
}

# parts_of OUT: Of how many states the result is made.
parts_of() {
    find "$1/states" -name '*.mrs' | wc -l
}

# free_port: A port of the loopback that nobody uses now.
free_port() {
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# until_true COMMAND...: Wait for it, at most half a minute.
until_true() {
    for _ in {1..150}; do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    printf 'in vain: %s\n' "$*" >&2
    return 1
}

# end_of FILE...: End the processes whose ids are there, and wait for it.
end_of() {
    local file pid
    for file; do
        pid=$(cat "$file" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        until_true ended "$pid" || true
    done
}

# ended PID: Also when nobody has asked for its status yet.
ended() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}
