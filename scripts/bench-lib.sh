# shellcheck shell=bash
# What bench.sh and bench-peers.sh share; sourced, never run.  They set folder
# and have sourced lib.sh.
# shellcheck disable=SC2154,SC2034

mr=$top/build/cmd/mr
tests=$top/build/tests

# say TEXT...: Tell what is being done.
say() {
    printf 'bench: %s\n' "$*" >&2
}

# calculate EXPRESSION [NAME=VALUE]...: What awk makes of it.
calculate() {
    local expression=$1 arguments=() one
    shift
    for one; do arguments+=(-v "$one"); done
    awk "${arguments[@]}" "BEGIN { OFMT = \"%.6g\"; print $expression }"
}

# median NUMBER...
median() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 }
        END { printf "%.4f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# room GB: There must be so much of it.
room() {
    local free
    free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1e6) }')
    [ "$free" -ge "$1" ] ||
        die "$folder needs $1 GB of free disk and has $free; say -d FOLDER, or smaller sizes"
}

# lake NAME OPTION...: Make it unless it is there already.
lake() {
    local name=$1
    shift
    [ ! -e "$folder/$name.done" ] || return 0
    say "making $folder/$name"
    rm -rf "${folder:?}/$name"
    "$tests/gen_events" --seed 1 --threads "$jobs" "$@" --out "$folder/$name"
    touch "$folder/$name.done"
}

# warm FOLDER...: Have their files in the page cache, and nothing left to write
# that a state which is synced would wait for.
warm() {
    sync
    find "$@" -type f -exec cat {} + >/dev/null
}

# Options for thin and fat events, so many MB of them.
thin() {
    printf '%s\n' --event-bytes 400 --events $(($1 * 2500)) --users 100000
}
fat() {
    printf '%s\n' --event-bytes 10000 --events $(($1 * 100)) --users 10000
}

# timed COMMAND...: Run it; sets seconds, cpu (seconds of all processors),
# peak_kb and stdout's file.  Both kinds of seconds are those of the command
# alone, to the microsecond.
timed() {
    python3 -c 'import os, sys, time
out = [(os.POSIX_SPAWN_OPEN, 1, sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)]
start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[3], sys.argv[3:], os.environ, file_actions=out)
status, used = os.wait4(pid, 0)[1:]
seconds = time.perf_counter() - start
with open(sys.argv[2], "w") as f:
    print(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss, file=f)
sys.exit(os.waitstatus_to_exitcode(status) != 0)' \
        "$folder/stdout" "$folder/time" "$@" || die "failed: $*"
    read -r seconds cpu peak_kb <"$folder/time"
}

# check NAME STATE...: Their figures are those of the lake's truth.
check() {
    local name=$1
    shift
    rm -rf "$folder/kpis"
    "$mr" reduce -q -o "$folder/kpis" "$@" >/dev/null
    python3 "$top/tests/check_truth.py" "$folder/$name.truth.json" \
        "$folder/kpis" >"$folder/checked" ||
        die "wrong figures for $name: $(cat "$folder/checked")"
}
