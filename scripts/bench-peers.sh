#!/usr/bin/env bash
# mr beside other ways to the same figures, on the same lakes in the same
# session: a program written by hand on simdjson, libisal and libzstd
# (scripts/peers/simdjson.cpp), DuckDB and chDB.
#
#     scripts/bench-peers.sh [OPTION]... [LAKE]...
#
# LAKE is one of thin-gz, thin-zst, fat-gz, fat-zst; all of them by default.
# What has to be installed comes from Debian and npm, into the build folder; a
# peer that cannot be installed is left out, and said to be.
#
#     -d FOLDER   keeps the made-up lakes for the next time (build/bench-data)
#     -m MB       JSON in a lake (1000)
#     -r RUNS     rounds that medians are of (5)
#     -j THREADS  of each program (2)
#     -t TYPES    event types in a lake (8: 384 files)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

folder=$top/build/bench-data
megabytes=1000
runs=5
threads=2
types=8
while getopts d:m:r:j:t: option; do
    case $option in
    d) folder=$OPTARG ;;
    m) megabytes=$OPTARG ;;
    r) runs=$OPTARG ;;
    j) threads=$OPTARG ;;
    t) types=$OPTARG ;;
    *) die 'usage: bench-peers.sh [OPTION]... [LAKE]...; the options stand in the script' ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- thin-gz fat-gz thin-zst fat-zst
# shellcheck source=scripts/bench-lib.sh
. "$top/scripts/bench-lib.sh"

installed=$top/build/peers
export NODE_PATH=$installed/node_modules
peers=()

# npm_install PACKAGE: Into the build folder, unless it is there.
npm_install() {
    [ ! -e "$NODE_PATH/$1/package.json" ] || return 0
    say "npm install $1"
    npm install --silent --no-audit --no-fund --prefix "$installed" "$1" \
        >"$installed/npm.log" 2>&1
}

version() {
    node -p 'require(process.argv[1]).version' "$NODE_PATH/$1/package.json"
}

# The newer simdjson of npm where it can be had, else Debian's.
build_simdjson() {
    local source=$NODE_PATH/@nozbe/simdjson/src from=(-lsimdjson) name="Debian's"
    need_packages g++ libisal-dev libzstd-dev libxxhash-dev || return
    if command -v npm >/dev/null && npm_install @nozbe/simdjson; then
        from=(-I"$source" "$source/simdjson.cpp")
        name=$(version @nozbe/simdjson)
    else
        need_packages libsimdjson-dev || return
    fi
    g++ -std=c++17 -O3 -march=native "$top/scripts/peers/simdjson.cpp" \
        "${from[@]}" -o "$installed/simdjson" -lisal -lzstd -lxxhash -pthread ||
        return
    printf 'simdjson: %s, %s -O3 -march=native, libisal, libzstd\n' "$name" \
        "$(g++ --version | head -1)"
}

install_node_peer() {
    command -v npm >/dev/null || need_packages nodejs npm || return
    npm_install "$2" || return
    printf '%s: %s %s, node %s\n' "$1" "$2" "$(version "$2")" "$(node --version)"
}

# install NAME COMMAND...: Have a peer, or say that it is left out.
install() {
    local name=$1
    shift
    if "$@"; then
        peers+=("$name")
    else
        printf '%s: left out, for it cannot be installed here\n' "$name"
    fi
}

# run_peer NAME QUERY LAKE
run_peer() {
    local files glob
    if [ "$1" = simdjson ]; then
        mapfile -t files < <(find "$folder/$3" -type f | sort)
        timed "$installed/simdjson" "$threads" "$2" "${files[@]}"
        return
    fi
    glob="$folder/$3/**/*.json.${lake_format:?}"
    timed node "$top/scripts/peers/$1.js" "$threads" "$2" "$glob"
}

# compare LAKE: Rounds of mr and each peer in turn.  What one takes of memory
# can cost the next its files in the page cache: so these are read again.
compare() {
    local name=$1-$megabytes options peer query key base bytes i
    local -A all=() cpus=() ratios=() verdict=() peak=()
    local lake_format=${1#*-}
    mapfile -t options < <("${1%-*}" "$megabytes")
    lake "$name" "${options[@]}" --days 2 --types "$types" --format "$lake_format"
    bytes=$(sed -nE 's/.*"text_bytes": ([0-9]+).*/\1/p' "$folder/$name.truth.json")
    for ((i = 0; i < runs; i++)); do
        warm "$folder/$name"
        timed "$mr" map -q -j "$threads" -o "$folder/$name.mrs" "$folder/$name"
        base=$seconds
        all[mr]+=" $seconds"
        cpus[mr]+=" $cpu"
        ratios[mr]+=" 1"
        peak[mr]=$peak_kb
        for query in users kpis; do
            for peer in "${peers[@]}"; do
                key=$peer-$query
                warm "$folder/$name"
                run_peer "$peer" "$query" "$name"
                all[$key]+=" $seconds"
                cpus[$key]+=" $cpu"
                ratios[$key]+=" $(calculate 'b / a' "a=$base" "b=$seconds")"
                peak[$key]=$peak_kb
                verdict[$key]=$(python3 "$top/scripts/peers/check.py" \
                    "$folder/$name.truth.json" "$folder/stdout") || true
            done
        done
    done
    check "$name" "$folder/$name.mrs"
    verdict[mr]='as the truth'
    for key in mr $(printf '%s\n' "${!all[@]}" | grep -v '^mr$' | sort -t- -k2,2r -k1,1); do
        # Lists of numbers.
        # shellcheck disable=SC2086
        awk -v l="$1" -v k="$key" -v b="$bytes" -v s="$(median ${all[$key]})" \
            -v r="$(median ${ratios[$key]})" -v kb="${peak[$key]}" \
            -v c="$(median ${cpus[$key]})" -v v="${verdict[$key]}" 'BEGIN {
                printf "%-9s %-15s%9.2f%9.2f%9.0f%9.2f%10.0f  %s\n",
                    l, k, s, c, b / 1e6 / s, r, kb / 1024, v }'
    done
}

need_packages "${packages_build[@]}" "${packages_bench[@]}"
build "$top/build" -- all tests/gen_events
mkdir -p "$folder" "$installed"
install simdjson build_simdjson
install duckdb install_node_peer duckdb @duckdb/node-api
install chdb install_node_peer chdb chdb
cat <<END

mr map and its peers; $threads threads; medians of $runs rounds; figures compared with
the truth.  "users" is events and exact users of each day and type; "kpis" is
churn and sessions of each day as well.  mr does both at once and also checks
every line to its end, lists what it refuses with reasons, keeps sketches, and
writes and syncs a state that can be merged; the peers do none of that, and
skip bad lines without a word.

END
printf '%-9s %-15s%9s%9s%9s%9s%10s  %s\n' lake program seconds 'CPU, s' MB/s 'mr = 1' \
    'peak MiB' figures
for one; do
    case $one in
    thin-gz | thin-zst | fat-gz | fat-zst) compare "$one" ;;
    *) die "there is no lake '$one'" ;;
    esac
done
