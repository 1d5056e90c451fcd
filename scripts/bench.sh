#!/usr/bin/env bash
# How fast mr is, beside unpacking the same files and doing nothing else, and
# how much memory it takes.  docs/benchmarks.md explains the figures.
#
#     scripts/bench.sh [OPTION]... [PART]...
#
# PART is one of speed, single, small, forms, linear, memory, reduce, billion;
# without any, all but billion run.
#
#     -d FOLDER   keeps the made-up lakes for the next time (build/bench-data)
#     -m MB       JSON in a lake of speed, single and linear's least (1000)
#     -r RUNS     pairs of runs that medians are of (5)
#     -j THREADS  of mr and of unpacking (2)
#     -t TYPES    event types in lakes of speed (8: 384 files)
#     -f FILES    of 20 KB, for small (100000)
#     -u USERS    of memory's larger lake, and of reduce and billion (10000000)
#     -e N        events of each of them, for memory and reduce (20)
#     -n EVENTS   of billion (1000000000)
#     -p N        portions that billion's lake is made and mapped in (2)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

folder=$top/build/bench-data
megabytes=1000
runs=5
threads=2
types=8
files=100000
users=10000000
per_user=20
events=1000000000
portions=2
while getopts d:m:r:j:t:f:u:e:n:p: option; do
    case $option in
    d) folder=$OPTARG ;;
    m) megabytes=$OPTARG ;;
    r) runs=$OPTARG ;;
    j) threads=$OPTARG ;;
    t) types=$OPTARG ;;
    f) files=$OPTARG ;;
    u) users=$OPTARG ;;
    e) per_user=$OPTARG ;;
    n) events=$OPTARG ;;
    p) portions=$OPTARG ;;
    *) die 'usage: bench.sh [OPTION]... [PART]...; the options stand in the script' ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- speed single small forms linear memory reduce

# shellcheck source=scripts/bench-lib.sh
. "$top/scripts/bench-lib.sh"

# truth NAME EXPRESSION: A figure of a lake's truth, t.
truth() {
    python3 -c 'import json, sys
t = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$folder/$1.truth.json" "$2"
}

# pairs: Run the commands in the arrays one and two in turn, so that a machine
# that slows down slows both.  Sets medians of their seconds, one_s and two_s,
# of their processor time as a share of threads times seconds, one_cpu and
# two_cpu, and of the ratio of two to one; the second's peak; and what the
# first printed last, text_bytes.
pairs() {
    local one_all=() two_all=() one_cpus=() two_cpus=() ratios=() i
    "${one[@]}" >/dev/null
    for ((i = 0; i < runs; i++)); do
        timed "${one[@]}"
        text_bytes=$(sed -nE 's/.*"text_bytes": ([0-9]+).*/\1/p' "$folder/stdout")
        one_all+=("$seconds")
        one_cpus+=("$(cpu_share)")
        timed "${two[@]}"
        two_all+=("$seconds")
        two_cpus+=("$(cpu_share)")
        ratios+=("$(calculate 'b / a' "a=${one_all[-1]}" "b=$seconds")")
    done
    one_s=$(median "${one_all[@]}")
    two_s=$(median "${two_all[@]}")
    one_cpu=$(median "${one_cpus[@]}")
    two_cpu=$(median "${two_cpus[@]}")
    ratio=$(median "${ratios[@]}")
}

cpu_share() {
    calculate '100 * c / (j * s)' "c=$cpu" "j=$threads" "s=$seconds"
}

map_to() {
    printf '%s\n' "$mr" map -q -j "$threads" -o "$1"
}

# --- speed -----------------------------------------------------------------

speed_row() {
    local name=$1 n_files
    n_files=$(find "$folder/$name" -type f | wc -l)
    warm "$folder/$name"
    one=("$tests/bench_unpack" -j "$threads" "$folder/$name")
    mapfile -t two < <(map_to "$folder/$name.mrs")
    two+=("$folder/$name")
    pairs
    check "$name" "$folder/$name.mrs"
    awk -v name="${name%-*}" -v n="$n_files" -v b="$text_bytes" -v u="$one_s" \
        -v m="$two_s" -v r="$ratio" -v s="$two_cpu" -v kb="$peak_kb" \
        'BEGIN { printf "%-12s%7d%9.0f%13.0f%10.0f%8.2f%11.1f%10.0f\n",
            name, n, b / 1e6, b / 1e6 / u, b / 1e6 / m, r, s, kb / 1024 }'
}

# How dense the JSON of a plain lake is, by some of its files.
bytes_per_token() {
    local tokens sample=$folder/sample
    find "$folder/$1" -type f | sort | awk 'NR % 47 == 1' |
        xargs -d '\n' cat >"$sample"
    tokens=$("$tests/bench_stages" "$sample" |
        awk '$2 == "tokens" && !n { n = $NF } END { print n }')
    calculate 'sprintf("%.1f", n / t)' "n=$(stat -c %s "$sample")" "t=$tokens"
}

run_speed() {
    local shape format options
    room $((megabytes * 3 / 1000 + 1))
    for format in gz zst plain; do
        for shape in thin fat; do
            mapfile -t options < <("$shape" "$megabytes")
            lake "$shape-$format-$megabytes" "${options[@]}" --days 2 \
                --types "$types" --format "$format"
        done
    done
    cat <<END

Speed: mr map against unpacking the same files (plain ones: against reading
them and counting newlines); $threads threads; medians of $runs pairs.
END
    printf '%-12s%7s%9s%13s%10s%8s%11s%10s\n' lake files 'JSON MB' \
        'unpack MB/s' 'map MB/s' ratio 'map CPU %' 'peak MiB'
    for format in gz zst plain; do
        for shape in thin fat; do
            speed_row "$shape-$format-$megabytes"
        done
    done
    cat <<END
Thin events are about 400 bytes, $(bytes_per_token "thin-plain-$megabytes") bytes a JSON token; fat ones about
10 KB, $(bytes_per_token "fat-plain-$megabytes") bytes a token.  Files are of one type and one hour.  The ratio is of
wall times of whole processes, what is written and synced included; CPU is
processor time as a share of threads times wall time.  All figures of each
state were compared with the truth.
END
}

# --- forms of events ---------------------------------------------------------

# as_form FORM FROM TO: The same events otherwise: CSV with a header row, an
# array of JSON for each file, or indented values of JSON.
as_form() {
    python3 -c 'import csv, json, os, sys
form, source, to = sys.argv[1:]
def write(events, out):
    if form == "array":
        out.write("[" + ",\n".join(json.dumps(event) for event in events) + "]")
    elif form == "values":
        out.writelines(json.dumps(event, indent=2) + "\n" for event in events)
    else:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["id", "type", "time", "user"])
        for event in events:
            data = event["data"]
            rows.writerow([data["id"], data["type"], event["meta"]["created_at"],
                           data["attributes"]["user_id"]])
for folder, _, names in os.walk(source):
    place = os.path.join(to, os.path.relpath(folder, source))
    os.makedirs(place, exist_ok=True)
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8-sig") as lines, \
                open(os.path.join(place, name), "w") as out:
            write(map(json.loads, lines), out)' "$@"
}

# forms_row FORM BASE N: The form beside JSON Lines, whose lake BASE is.
forms_row() {
    local form=$1 base=$2 n=$3 name=${2/-json-/-$1-}
    if [ ! -e "$folder/$name.done" ]; then
        say "making $folder/$name"
        rm -rf "${folder:?}/$name"
        as_form "$form" "$folder/$base" "$folder/$name"
        touch "$folder/$name.done"
    fi
    warm "$folder/$base" "$folder/$name"
    mapfile -t one < <(map_to "$folder/$base.mrs")
    mapfile -t two < <(map_to "$folder/$name.mrs")
    one+=("$folder/$base")
    two+=(--spec "$folder/$form.yaml" "$folder/$name")
    pairs
    check "$base" "$folder/$base.mrs"
    rm -rf "$folder/$form-kpis"
    "$mr" reduce -q -o "$folder/$form-kpis" "$folder/$name.mrs" >/dev/null
    cmp "$folder/kpis/daily.csv" "$folder/$form-kpis/daily.csv"
    cmp "$folder/kpis/daily_by_type.csv" "$folder/$form-kpis/daily_by_type.csv"
    awk -v form="$form" -v n="$n" -v a="$one_s" -v b="$two_s" -v r="$ratio" \
        -v bytes="$(find "$folder/$name" -type f -printf '%s\n' |
            awk '{ n += $1 } END { print n }')" \
        'BEGIN { printf "%-8s%9.0f%12.3f%14.2f%12.3f%14.2f\n", form, bytes / 1e6,
            b, n / b / 1e6, a, r }'
}

run_forms() {
    local name=rows-json-$megabytes form n
    n=$((megabytes * 6250))
    room $((megabytes * 5 / 1000 + 1))
    lake "$name" --event-bytes 160 --events "$n" --users 100000 --days 2 \
        --types "$types" --format plain
    printf 'format: csv\nid: id\ntype: type\ntime: time\nuser: user\n' >"$folder/csv.yaml"
    echo 'format: json-array' >"$folder/array.yaml"
    echo 'format: json-values' >"$folder/values.yaml"
    cat <<END

Forms: $n small events, unpacked, as CSV with a header row (id, type, time and
user alone), as an array of JSON a file, and as indented values of JSON, each beside
JSON Lines; $threads threads; medians of $runs pairs.
END
    printf '%-8s%9s%12s%14s%12s%14s\n' form MB seconds 'million/s' 'lines, s' \
        'lines = 1'
    for form in csv array values; do
        forms_row "$form" "$name" "$n"
    done
    printf 'The daily figures of all are the same, and those of the truth.\n'
}

# --- single files, small files ---------------------------------------------

run_single() {
    local format name options
    room $((megabytes / 1000 + 1))
    mapfile -t options < <(thin "$megabytes")
    for format in gz zst; do
        lake "single-$format-$megabytes" "${options[@]}" --types "$types" \
            --files 1 --format "$format"
    done
    cat <<END

A single file: mr map with $threads threads against one thread that unpacks it.
END
    printf '%-12s%9s%13s%10s%8s\n' file 'JSON MB' 'unpack MB/s' 'map MB/s' ratio
    for format in gz zst; do
        name=single-$format-$megabytes
        one=("$tests/bench_unpack" -j 1 "$folder/$name")
        mapfile -t two < <(map_to "$folder/$name.mrs")
        two+=("$folder/$name")
        pairs
        check "$name" "$folder/$name.mrs"
        awk -v name="${name%-*}" -v b="$text_bytes" -v u="$one_s" -v m="$two_s" \
            -v r="$ratio" 'BEGIN { printf "%-12s%9.0f%13.0f%10.0f%8.2f\n",
                name, b / 1e6, b / 1e6 / u, b / 1e6 / m, r }'
    done
}

run_small() {
    local format few many few_bytes many_bytes
    room $((files * 40 / 1000000 + 1))
    for format in gz zst; do
        for n in 60 "$files"; do
            lake "files-$n-$format-$files" --event-bytes 400 --users 100000 \
                --events $((files * 50)) --types "$types" --files "$n" \
                --format "$format"
        done
    done
    cat <<END

Small files: $files of about 20 KB of JSON against 60 with the same events;
mr map, $threads threads.
END
    printf '%-7s%13s%7s%11s%7s%22s\n' format '60 files, s' 'CPU %' 'many, s' \
        'CPU %' 'many/60, per byte'
    for format in gz zst; do
        few=files-60-$format-$files
        many=files-$files-$format-$files
        mapfile -t one < <(map_to "$folder/$few.mrs")
        one+=("$folder/$few")
        mapfile -t two < <(map_to "$folder/$many.mrs")
        two+=("$folder/$many")
        "${two[@]}" >/dev/null
        pairs
        check "$few" "$folder/$few.mrs"
        check "$many" "$folder/$many.mrs"
        few_bytes=$(truth "$few" 't["totals"]["text_bytes"]')
        many_bytes=$(truth "$many" 't["totals"]["text_bytes"]')
        awk -v f="$format" -v a="$one_s" -v b="$two_s" -v r="$ratio" \
            -v m="$few_bytes" -v n="$many_bytes" -v c="$one_cpu" -v d="$two_cpu" \
            'BEGIN { printf "%-7s%13.2f%7.1f%11.2f%7.1f%22.2f\n",
                f, a, c, b, d, r * m / n }'
    done
}

# --- growth ----------------------------------------------------------------

# growth TITLE EVENTS EVENTS: Time the commands in one and two, and print what
# each of so many events costs.
growth() {
    pairs
    awk -v name="$1" -v m="$2" -v n="$3" -v a="$one_s" -v b="$two_s" \
        -v r="$ratio" 'BEGIN {
            printf "%-16s%11d%12d%9.2f%9.2f%9.1f%9.1f%10.1f\n", name, m, n, a,
                b, 1e9 * a / m, 1e9 * b / n, 100 * r * m / n }'
}

run_linear() {
    local times name least events
    room $((megabytes * 21 / 5 / 1000 + 1))
    for times in 1 4 16; do
        lake "linear-$times-$megabytes" --event-bytes 400 --users 20000 \
            --events $((megabytes * 2500 * times)) --types "$types" --days 2 \
            --format zst
    done
    cat <<END

Growth: 20,000 users with 1, 4 and 16 times the events; mr map, $threads threads;
medians of $runs pairs.
END
    printf '%-16s%23s%18s%18s%10s\n' pair 'events' 'seconds' 'ns/event' 'ratio, %'
    least=linear-1-$megabytes
    events=$(truth "$least" 't["totals"]["events"]')
    mapfile -t one < <(map_to "$folder/$least.mrs")
    one+=("$folder/$least")
    for times in 4 16; do
        name=linear-$times-$megabytes
        mapfile -t two < <(map_to "$folder/$name.mrs")
        two+=("$folder/$name")
        "${two[@]}" >/dev/null
        growth "1 x and $times x" "$events" "$(truth "$name" 't["totals"]["events"]')"
        check "$name" "$folder/$name.mrs"
    done
    check "$least" "$folder/$least.mrs"
    name=linear-4-$megabytes
    mapfile -t one < <(map_to "$folder/2024-02-28.mrs")
    one+=("$folder/$name"/type=*/date=2024-02-28)
    mapfile -t two < <(map_to "$folder/2024-02-29.mrs")
    two+=("$folder/$name"/type=*/date=2024-02-29)
    growth '4 x, both days' "$(truth "$name" 't["days"][0]["events"]')" \
        "$(truth "$name" 't["days"][1]["events"]')"
    check "$name" "$folder"/2024-02-2[89].mrs
}

# --- many users ------------------------------------------------------------

# The lake of so many users that memory and reduce work on.
users_lake() {
    lake "users-$1-$per_user" --event-bytes 150 --users "$1" --types 200 \
        --days 2 --events $(($1 * per_user)) --format zst
}

run_memory() {
    local n j name user_days first least=0 least_days=0
    room $((users * per_user / 25000000 + 1))
    say "$((users * per_user)) events are mapped at 2 and at 16 threads"
    cat <<END

Memory: mr map, 200 types, 2 days, $per_user events a user.
END
    printf '%10s%9s%9s%11s%18s%12s\n' users threads seconds 'peak MiB' \
        'B/(user and day)' 'state, MB'
    for n in $((users / 10)) "$users"; do
        users_lake "$n"
        name=users-$n-$per_user
        user_days=$(truth "$name" 'sum(x["users"] for x in t["days"])')
        first=
        warm "$folder/$name"
        for j in 2 16; do
            timed "$mr" map -q -j "$j" -o "$folder/$name.mrs" "$folder/$name"
            [ -n "$first" ] || first=$peak_kb
            awk -v n="$n" -v j="$j" -v s="$seconds" -v kb="$peak_kb" \
                -v d="$user_days" -v b="$(stat -c %s "$folder/$name.mrs")" \
                'BEGIN { printf "%10d%9d%9.1f%11.0f%18.1f%12.1f\n",
                    n, j, s, kb / 1024, kb * 1024 / d, b / 1e6 }'
        done
        printf '16 threads take %s times what 2 take.\n' \
            "$(calculate 'sprintf("%.2f", b / a)' "a=$first" "b=$peak_kb")"
        check "$name" "$folder/$name.mrs"
        [ "$least" -gt 0 ] || { least=$first least_days=$user_days; }
    done
    printf 'Each further user and day takes %s bytes, with 2 threads.\n' \
        "$(calculate 'sprintf("%.1f", 1024 * (b - a) / (e - d))' "a=$least" \
            "b=$first" "d=$least_days" "e=$user_days")"
}

# information STATE: Bytes that no coding of its user sets and sessions can
# do without, and the pairs of a user and a (day, type).
information() {
    rm -rf "$folder/kpis"
    "$mr" reduce -q -o "$folder/kpis" "$1" >/dev/null
    "$mr" inspect --format json "$1" >"$folder/inspect.json"
    python3 - "$folder" <<'END'
import csv, json, math, sys
folder = sys.argv[1]
totals = json.load(open(folder + "/inspect.json"))["states"][0]["totals"]
n, sessions = totals["users"], totals["sessions"]
def log2_choose(n, k):
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)
rows = csv.DictReader(open(folder + "/kpis/daily_by_type.csv", newline=""))
sets = [int(x["users"]) for x in rows]
# A set of n hashes of 64 bits; which of the n are in each (day, type); of a
# session its start in two days and its length below some half hour, in
# milliseconds, as if both were even.
bits = 64 * n - math.lgamma(n + 1) / math.log(2)
bits += sum(log2_choose(n, k) for k in sets)
bits += sessions * (math.log2(2 * 86400000) + math.log2(1800000))
print(int(bits / 8), sum(sets))
END
}

reduce_row() {
    local label=$1 bytes=0 state plain=$folder/states-by-other-names
    shift
    rm -rf "$plain"
    mkdir -p "$plain"
    for state; do
        bytes=$((bytes + $(stat -c %s "$state")))
        # By its own name a state is no input.
        ln "$state" "$plain/$(basename "$state" .mrs)"
    done
    one=("$tests/bench_unpack" -j "$threads" "$plain")
    two=("$mr" reduce -q -j "$threads" "$@")
    pairs
    rm -rf "$plain"
    awk -v l="$label" -v b="$bytes" -v u="$one_s" -v m="$two_s" -v r="$ratio" \
        -v kb="$peak_kb" 'BEGIN { printf "%-12s%12.0f%12.2f%12.2f%8.2f%11.0f\n",
            l, b / 1e6, u, m, r, kb / 1024 }'
}

run_reduce() {
    local name=users-$users-$per_user parts k states=$folder/states-$users-$per_user
    local least pairs_held bytes
    room $((users * per_user / 25000000 + 1))
    users_lake "$users"
    mkdir -p "$states"
    for parts in 2 8; do
        for ((k = 1; k <= parts; k++)); do
            timed "$mr" map -q -j "$threads" --shard "$k/$parts" \
                -o "$states/$k-of-$parts.mrs" "$folder/$name"
        done
    done
    check "$name" "$states"/?-of-2.mrs
    check "$name" "$states"/?-of-8.mrs
    cat <<END

Reduce: states of $users users, 200 types, 2 days, $((users * per_user)) events in all;
mr reduce against reading and unpacking the states; $threads threads; medians of
$runs pairs.
END
    printf '%-12s%12s%12s%12s%8s%11s\n' states 'states, MB' 'unpack, s' \
        'reduce, s' ratio 'peak MiB'
    reduce_row '2 halves' "$states"/?-of-2.mrs
    for k in 2 4 8; do
        reduce_row "$k eighths" "$states"/[1-"$k"]-of-8.mrs
    done
    for k in 1-of-2 1-of-8; do
        read -r least pairs_held < <(information "$states/$k.mrs")
        bytes=$(stat -c %s "$states/$k.mrs")
        awk -v k="$k" -v b="$bytes" -v p="$pairs_held" -v l="$least" \
            'BEGIN { printf "State %s: %.2f bytes a user and (day, type) pair, %.2f times the information.\n",
                k, b / p, b / l }'
    done
    printf 'Information: user hashes, sets, and sessions to the millisecond, coded ideally.\n'
}

# --- a thousand million events ---------------------------------------------

run_billion() {
    local name=billion work=$folder/billion-work gb total=0 start=$EPOCHREALTIME
    gb=$((events * 36 / 1000000000 / portions + 2))
    say "$events events: about $((events * 3 / 120000000 + 1)) minutes and $gb GB of disk"
    room "$gb"
    rm -rf "$work" "${folder:?}/$name" "$folder/$name.truth.json"
    mkdir -p "$work/states"
    cat >"$work/portion" <<END
set -e
start=\$EPOCHREALTIME
/usr/bin/time -o '$work/time' -f '%U %S %M' '$mr' map -q -j $threads \\
    -o '$work/states/'\$PORTION.mrs '$folder/$name' >/dev/null
end=\$EPOCHREALTIME
awk -v k=\$PORTION -v a=\$start -v b=\$end -v bytes="\$(
    find '$folder/$name' -type f -printf '%s\\n' | awk '{ n += \$1 } END { print n }')" \\
    -v state="\$(stat -c %s '$work/states/'\$PORTION.mrs)" \\
    '{ printf "map %-8d%10.1f%12.1f%11.0f%14.0f%12.1f\\n", k, b - a, \$1 + \$2,
        \$3 / 1024, bytes / 1e6, state / 1e6 }' '$work/time' >>'$work/table'
find '$folder/$name' -mindepth 1 -delete
END
    "$tests/gen_events" --seed 1 --threads "$jobs" --events "$events" \
        --users "$users" --types 200 --days 2 --event-bytes 150 --format zst \
        --level 1 --portions "$portions" --each "exec bash '$work/portion'" \
        --out "$folder/$name"
    total=$(calculate 'b - a' "a=$start" "b=$EPOCHREALTIME")
    timed "$mr" reduce -q -j "$threads" --merged "$work/merged.mrs" "$work/states"
    cat <<END

$events events of about 150 bytes, $users users, 200 types, 2 days, $portions portions;
$threads threads.
END
    printf '%-12s%10s%12s%11s%14s%12s\n' '' seconds 'CPU, s' 'peak MiB' \
        'packed, MB' 'state, MB'
    cat "$work/table"
    awk -v s="$seconds" -v c="$cpu" -v kb="$peak_kb" \
        -v b="$(stat -c %s "$work/merged.mrs")" 'BEGIN {
            printf "%-12s%10.1f%12.1f%11.0f%14s%12.1f\n", "reduce", s, c, kb / 1024, "", b / 1e6 }'
    awk -v n="$events" -v t="$total" -v b="$(truth "$name" 't["totals"]["text_bytes"]')" \
        '$1 == "map" { s += $3 } END {
            printf "All maps: %.1f s, %.2f million events/s, %.0f MB/s of JSON.", s, n / s / 1e6, b / s / 1e6
            printf "  Making the events took %.0f s.\n", t - s }' "$work/table"
    check "$name" "$work/states"
    printf 'Exact: %s\n' "$(cat "$folder/checked")"
    rmdir "$folder/$name"
}

need_packages "${packages_build[@]}" "${packages_bench[@]}"
build "$top/build" -- all tests/gen_events tests/bench_unpack tests/bench_stages
mkdir -p "$folder"
for part; do
    declare -F "run_$part" >/dev/null || die "there is no part '$part'"
    "run_$part"
done
