#!/usr/bin/env bash
# How fast mr map is, beside unpacking the same files and doing nothing else,
# and how much memory it takes.  docs/benchmarks.md explains the figures.
#
#     scripts/bench.sh [-d FOLDER] [-m MB] [-r RUNS] [-j THREADS] [speed] [memory]
#
# FOLDER (default build/bench-data) keeps the made-up lakes for the next time;
# MB (default 1000) is the size of each in JSON; RUNS (default 5) is how many
# pairs of runs the medians are of; THREADS is 2 unless said otherwise.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

folder=$top/build/bench-data
megabytes=1000
runs=5
threads=2
while getopts d:m:r:j: option; do
    case $option in
    d) folder=$OPTARG ;;
    m) megabytes=$OPTARG ;;
    r) runs=$OPTARG ;;
    j) threads=$OPTARG ;;
    *) die "usage: bench.sh [-d FOLDER] [-m MB] [-r RUNS] [-j THREADS] [speed] [memory]" ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- speed memory

mr=$top/build/cmd/mr
tests=$top/build/tests

# median NUMBER...
median() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 }
        END { printf "%.3f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# lake NAME OPTION...: Make it unless it is there already.
lake() {
    local name=$1
    shift
    [ ! -e "$folder/$name.done" ] || return 0
    printf 'making %s\n' "$folder/$name" >&2
    rm -rf "${folder:?}/$name"
    "$tests/gen_events" --seed 1 "$@" --out "$folder/$name"
    touch "$folder/$name.done"
}

# timed COMMAND...: Run it; sets seconds and peak_kb.
timed() {
    local start=$EPOCHREALTIME
    /usr/bin/time -o "$folder/time" -f %M "$@" >"$folder/stdout"
    seconds=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')
    peak_kb=$(cat "$folder/time")
}

# check NAME STATE: The state's figures are those of the generator's truth.
check() {
    "$mr" reduce -q -o "$folder/kpis" "$2" >/dev/null
    python3 "$top/tests/check_truth.py" "$folder/$1.truth.json" \
        "$folder/kpis" >&2
}

# speed NAME: Pairs of runs, one after the other so that a machine that slows
# down slows both.
speed() {
    local name=$1 unpack=() map=() bytes=0 u m i
    find "$folder/$name" -type f -exec cat {} + >/dev/null
    for ((i = 0; i < runs; i++)); do
        timed "$tests/bench_unpack" -j "$threads" "$folder/$name"
        unpack+=("$seconds")
        bytes=$(sed -E 's/.*"text_bytes": ([0-9]+).*/\1/' "$folder/stdout")
        timed "$mr" map -q -j "$threads" -o "$folder/$name.mrs" \
            "$folder/$name"
        map+=("$seconds")
    done
    check "$name" "$folder/$name.mrs"
    u=$(median "${unpack[@]}")
    m=$(median "${map[@]}")
    awk -v name="$name" -v b="$bytes" -v u="$u" -v m="$m" -v kb="$peak_kb" \
        'BEGIN { printf "%-10s%9.0f%12.0f%10.0f%8.2f%12.0f\n",
            name, b / 1e6, b / 1e6 / u, b / 1e6 / m, m / u, kb / 1024 }'
}

run_speed() {
    local thin=$((megabytes * 1000000 / 400)) fat=$((megabytes * 100)) format
    for format in gz zst; do
        lake "thin-$format-$megabytes" --events "$thin" --event-bytes 400 \
            --users 100000 --types 40 --days 2 --files 32 --format "$format"
        lake "fat-$format-$megabytes" --events "$fat" --event-bytes 10000 \
            --users 10000 --types 40 --days 2 --files 32 --format "$format"
    done
    printf '%d threads, medians of %d pairs\n' "$threads" "$runs"
    printf '%-10s%9s%12s%10s%8s%12s\n' lake 'JSON MB' 'unpack MB/s' \
        'map MB/s' ratio 'peak MiB'
    for format in gz zst; do
        speed "thin-$format-$megabytes"
        speed "fat-$format-$megabytes"
    done
}

run_memory() {
    local name=million
    lake "$name" --events 10000000 --event-bytes 200 --users 1000000 \
        --types 20 --days 2 --files 64 --format zst
    printf '1 million users, 20 types, 2 days, %d threads\n' "$threads"
    timed "$mr" map -q -j "$threads" -o "$folder/$name.mrs" "$folder/$name"
    printf 'map     %8.2f s%8.0f MiB at most, state of %d bytes\n' \
        "$seconds" "$((peak_kb / 1024))" "$(stat -c %s "$folder/$name.mrs")"
    check "$name" "$folder/$name.mrs"
    timed "$mr" reduce -q -j "$threads" "$folder/$name.mrs"
    printf 'reduce  %8.2f s%8.0f MiB at most\n' "$seconds" \
        "$((peak_kb / 1024))"
}

need_packages "${packages_build[@]}" "${packages_bench[@]}"
build "$top/build" -- all tests/gen_events tests/bench_unpack
mkdir -p "$folder"
for part; do
    declare -F "run_$part" >/dev/null || die "there is no part '$part'"
    "run_$part"
done
