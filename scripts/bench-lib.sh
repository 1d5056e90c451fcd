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

# Options for thin and fat events, so many MB of them.
thin() {
    printf '%s\n' --event-bytes 400 --events $(($1 * 2500)) --users 100000
}
fat() {
    printf '%s\n' --event-bytes 10000 --events $(($1 * 100)) --users 10000
}

# timed COMMAND...: Run it; sets seconds, cpu (seconds of all processors),
# peak_kb and stdout's file.
timed() {
    local start=$EPOCHREALTIME
    /usr/bin/time -o "$folder/time" -f '%U %S %M' "$@" >"$folder/stdout" ||
        die "failed: $*"
    seconds=$(calculate 'b - a' "a=$start" "b=$EPOCHREALTIME")
    cpu=$(tail -1 "$folder/time" | awk '{ print $1 + $2 }')
    peak_kb=$(tail -1 "$folder/time" | awk '{ print $3 }')
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
