# Lines, types and memory at their limits and beyond.
# shellcheck disable=SC2154

load helper

# line TYPE PADDING: One event, with much in it.
line() {
    printf '{"data":{"id":"a","type":"%s","attributes":{"user_id":1,"x":"%s"}},"meta":{"created_at":1709251200000}}\n' \
        "$1" "$2"
}

# letters COUNT: That many letters x.
letters() {
    head -c "$1" /dev/zero | tr '\0' x
}

# summed PARTITIONS LINES EVENTS REJECTED: What map said in $output.
summed() {
    [[ $output == *"$1 partition"*", $2 line"*" = $3 event"*" + $4 rejected + 0 blank"* ]] || {
        echo "said: $output"
        false
    }
}

# reasons FILE: Of each record: reason, line, offset, whether it is cut, and
# the number of bytes kept.
reasons() {
    python3 -c '
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    r = json.loads(line)
    print(r["reason"], r["line"], r["offset"], r.get("cut", False),
          len(r["text"].encode()))
' "$1"
}

@test "a file of NULs is one bad line" {
    head -c 1000000 /dev/zero >1M
    head -c 32000000 /dev/zero >32M
    run mr map -o s.mrs --rejects r.jsonl 1M
    [ "$status" -eq 0 ]
    summed 1 1 0 1
    [ "$(reasons r.jsonl)" = 'json 1 0 False 1000000' ]
    # This one is longer than a line may be.
    run mr map -o s.mrs --rejects r.jsonl 32M
    [ "$status" -eq 0 ]
    summed 1 1 0 1
    [ "$(reasons r.jsonl)" = 'too-long 1 0 True 65536' ]
    # Packed, so many NULs are taken for a bomb only where there are more.
    gzip -k 32M
    run mr map -o s.mrs 32M.gz
    [ "$status" -eq 0 ]
    summed 1 1 0 1
}

@test "a line of 64 MiB is rejected, and the next one counts" {
    {
        line t 1
        printf '{"x":"'
        # Letters that do not pack too well.
        head -c $((48 << 20)) /dev/urandom | base64 -w 0
        printf '"}\n'
        line t 2
    } >long
    [ "$(stat -c %s long)" -gt $((64 << 20)) ]
    gzip -1 -k long
    zstd -q -1 long
    local at kind
    at=$(head -1 long | wc -c)
    for kind in '' .gz .zst; do
        run mr map -q -o s.mrs --rejects r.jsonl "long$kind"
        [ "$status" -eq 0 ]
        [ "$(reasons r.jsonl)" = "too-long 2 $at True 65536" ]
        run mr map -o s.mrs - <"long$kind"
        [ "$status" -eq 0 ]
        summed 1 3 2 1
        # As far as memory goes: the line's length does not matter.
        run bash -c 'ulimit -v 250000; "$MR" --version >/dev/null || exit 99
            cat "$1" | "$MR" map -j 2 -o s.mrs -' - "long$kind"
        [ "$status" -eq 99 ] || [ "$status" -eq 127 ] || summed 1 3 2 1
    done
}

@test "a line may have 16 MiB, and not a byte more" {
    local frame limit=$((16 << 20))
    frame=$(line t '' | wc -c)
    {
        # The line's end is no part of it.
        line t "$(letters 100)"
        printf '{"data":{"id":"a","type":"t","attributes":{"user_id":1,"x":"'
        letters $((limit - frame + 1))
        printf '"}},"meta":{"created_at":1709251200000}}\r\n'
        printf '{"data":{"id":"a","type":"t","attributes":{"user_id":1,"x":"'
        letters $((limit - frame + 2))
        printf '"}},"meta":{"created_at":1709251200000}}\n'
    } >lines
    [ "$(sed -n 2p lines | tr -d '\r\n' | wc -c)" -eq "$limit" ]
    local threads
    for threads in 1 3; do
        run mr map -j $threads -o s.mrs --rejects r.jsonl lines
        summed 1 3 2 1
        [[ $(reasons r.jsonl) == 'too-long 3 '*' True 65536' ]]
    done
}

@test "nesting: 1024 levels are read, 1025 and 10,000 rejected as too deep" {
    local n
    for n in 1024 1025 10000; do
        printf '%*s' "$n" '' | tr ' ' '['
        printf '%*s' "$n" '' | tr ' ' ']'
        echo
    done >deep
    # 10,000 objects in one another, and 10,000 that never close.
    {
        # shellcheck disable=SC2046
        printf '{"a":%.0s' $(seq 10000)
        printf 1
        printf '%*s\n' 10000 '' | tr ' ' '}'
        printf '%*s\n' 10000 '' | tr ' ' '['
    } >>deep
    run mr map -o s.mrs --rejects r.jsonl deep
    [ "$status" -eq 0 ]
    summed 1 5 0 5
    [ "$(reasons r.jsonl | cut -d' ' -f1 | xargs)" = 'missing:data.id too-deep too-deep too-deep too-deep' ]
}

@test "a type may have 1024 bytes; one of 1 MiB is malformed" {
    {
        line "$(letters 1024)" 1
        line "$(letters 1025)" 2
        printf '{"data":{"id":"a","type":"'
        letters $((1 << 20))
        printf '","attributes":{}},"meta":{"created_at":1709251200000}}\n'
    } >types
    run mr map -o s.mrs --rejects r.jsonl types
    [ "$status" -eq 0 ]
    summed 1 3 1 2
    [ "$(reasons r.jsonl | cut -d' ' -f1 | xargs)" = 'malformed:data.type malformed:data.type' ]
    mr reduce -q -o kpis s.mrs >/dev/null
    grep -qE "^2024-03-01,x{1024},1,1,1(,|\$)" kpis/daily_by_type.csv
}

@test "100,000 types take less than 500 MB and a few seconds" {
    local begin=$SECONDS
    awk 'BEGIN {
        for (i = 0; i < 100000; i++)
            printf "{\"data\":{\"id\":\"b%d\",\"type\":\"type %d\",\"attributes\":" \
                "{\"user_id\":%d}},\"meta\":{\"created_at\":1709251200000}}\n",
                i, i, i % 1000
    }' >types
    bash -c 'ulimit -v 500000; "$MR" --version' >/dev/null 2>&1 ||
        skip 'the program does not start with little memory'
    run bash -c 'ulimit -v 500000; "$MR" map -j 2 -o s.mrs types'
    [ "$status" -eq 0 ]
    summed 1 100000 100000 0
    [[ $output == *'1000 users, 100000 types, 1 day'* ]]
    run bash -c 'ulimit -v 500000; "$MR" reduce -j 2 -q -o kpis --merged m.mrs s.mrs'
    [ "$status" -eq 0 ]
    cmp m.mrs s.mrs
    [ "$(wc -l <kpis/daily_by_type.csv)" -eq 100001 ]
    # All by users whom a table does not know.
    printf 'user_id\nnobody\n' >users.csv
    echo 'users_table: {file: users.csv}' >s.yaml
    mr map -q --spec s.yaml -o unknown.mrs types
    timeout 10 "$MR" reduce -q -o kpis unknown.mrs >/dev/null
    [ "$(grep -c ',1,1,1.000000,1,' kpis/unknown_users.csv)" -eq 100000 ]
    [ $((SECONDS - begin)) -lt 60 ]
}

# peak COMMAND...: The most memory it held at a time, in KiB.
peak() {
    python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
' "$@"
}

@test "a file of many frames takes memory for each thread, not for each frame" {
    bash -c 'ulimit -v 500000; "$MR" --version' >/dev/null 2>&1 ||
        skip 'the program does not start with little memory'
    local one two
    # More than a window each, and too much to be taken with the next.
    head -c 600000 /dev/urandom | od -A n -v -t x1 -w50 | tr -d ' ' |
        while read -r x; do
            line t "$x"
        done >text
    zstd -q -3 text -o frame.zst
    for _ in {1..40}; do
        cat frame.zst
    done >frames.zst
    one=$(peak "$MR" map -q -j 1 -o one.mrs frames.zst)
    two=$(peak "$MR" map -q -j 2 -o two.mrs frames.zst)
    cmp one.mrs two.mrs
    echo "$one KiB and $two KiB"
    [ $((two - one)) -lt 25000 ]
}

@test "lines that are too long, in zstd, take no memory while others wait" {
    bash -c 'ulimit -v 500000; "$MR" --version' >/dev/null 2>&1 ||
        skip 'the program does not start with little memory'
    local one two
    echo 'max_line_bytes: 1000' >spec.yaml
    # The noise keeps it below what may be unpacked of a stored byte.
    head -c 10000 /dev/urandom | base64 -w 0 >noise
    for _ in {1..40}; do
        line t 1
        cat noise
        letters 9000000
        echo
    done >text
    zstd -q -1 text
    one=$(peak "$MR" map -q -j 1 --spec spec.yaml -o one.mrs text.zst)
    two=$(peak "$MR" map -q -j 2 --spec spec.yaml -o two.mrs text.zst)
    cmp one.mrs two.mrs
    echo "$one KiB and $two KiB"
    [ $((two - one)) -lt 50000 ]
}

@test "10,000 states are merged in bounded memory, within 64 files" {
    local folder
    bash -c 'ulimit -v 150000; "$MR" --version' >/dev/null 2>&1 ||
        skip 'the program does not start with little memory'
    events 20000 >all.json
    for folder in 0 1 2 3 4 5 6 7 8 9; do
        mkdir -p "tree/$folder"
    done
    split -l 2 -a 4 -d all.json tree/
    for folder in 0 1 2 3 4 5 6 7 8 9; do
        mv tree/"$folder"??? "tree/$folder"
    done
    mr map -q --beside tree >paths
    [ "$(wc -l <paths)" -eq 10000 ]
    mr map -q -o whole.mrs tree
    run bash -c 'ulimit -v 150000; ulimit -n 64
        "$MR" reduce -j 2 -q --merged m.mrs --format csv tree'
    [ "$status" -eq 0 ]
    cmp m.mrs whole.mrs
    figures whole.mrs | cmp - <(echo "$output")
    run bash -c 'ulimit -v 150000; ulimit -n 64; "$MR" reduce -j 2 -q --format csv tree'
    figures whole.mrs | cmp - <(echo "$output")
    # Nothing of it takes longer where all but one are superseded.
    cp whole.mrs tree
    run bash -c 'ulimit -v 150000; ulimit -n 64; "$MR" reduce -j 2 --format csv tree'
    [[ $output == 'mr: note: 10000 superseded states are left out'* ]]
}

@test "without memory: 7 and a sentence, never a wrong figure" {
    mkdir lake
    local i kilobytes
    for i in 1 2 3 4; do
        events 20000 $((i * 20000))
    done >lake/a.json
    gzip -1 -k lake/a.json
    tar -cf lake/b.tar lake/a.json.gz
    zstd -q lake/a.json
    mr map -q -o whole.mrs lake
    figures whole.mrs >whole.csv
    local refused=0
    for ((kilobytes = 44000; kilobytes < 120000; kilobytes += 4000)); do
        rm -f s.mrs
        run bash -c 'ulimit -v "$1"; "$MR" --version >/dev/null 2>&1 || exit 99
            "$MR" map -q -j 2 -o s.mrs lake' - "$kilobytes"
        case $status in
            99) ;;
            0) cmp s.mrs whole.mrs ;;
            7)
                refused=$((refused + 1))
                [ ! -e s.mrs ]
                [[ $output == 'mr: '*'out of memory; free some memory or use fewer threads, and rerun' ]]
                ;;
            1) # libarchive ends the process by itself where its strings find none
                [[ $output == *'Fatal Internal Error in libarchive: Out of memory'* ]]
                [ ! -e s.mrs ]
                ;;
            *)
                echo "at $kilobytes KiB: $status, said: $output"
                false
                ;;
        esac
        run bash -c 'ulimit -v "$1"; "$MR" --version >/dev/null 2>&1 || exit 99
            "$MR" reduce -q -j 2 --format csv whole.mrs' - "$kilobytes"
        case $status in
            99) ;;
            0) cmp - whole.csv <<<"$output" ;;
            7) [[ $output == 'mr: '*'out of memory; free some memory or use fewer threads, and rerun' ]] ;;
            *) false ;;
        esac
    done
    [ "$refused" -gt 0 ] || skip 'the program needs more to start than to run'
}

@test "more threads than can be had are no reason to stop" {
    small_lake lake
    mr map -q -o whole.mrs lake
    mr map -q -j 1024 -o s.mrs lake
    cmp s.mrs whole.mrs
    bash -c 'ulimit -v 1000000; "$MR" --version' >/dev/null 2>&1 ||
        skip 'the program does not start with little memory'
    # Their stacks alone would take 8 GiB.
    run bash -c 'ulimit -v 1000000; "$MR" map -q -j 1024 -o s.mrs lake'
    [ "$status" -eq 0 ] || [ "$status" -eq 7 ]
    [[ $output != *libgomp* ]]
    run bash -c 'ulimit -v 1000000; "$MR" reduce -q -j 1024 whole.mrs'
    [ "$status" -eq 0 ] || [ "$status" -eq 7 ]
    [[ $output != *libgomp* ]]
}

@test "times: the first and the last that count" {
    local ms
    for ms in 0 7258118399999 '"1709251200000"' 1709251200000.999 1.7092512e12; do
        echo "{\"data\":{\"id\":\"a\",\"type\":\"t\",\"attributes\":{}},\"meta\":{\"created_at\":$ms}}"
    done >good
    for ms in -1 7258118400000 '""' null '"2024-03-01"' '" 1"' 1e300; do
        echo "{\"data\":{\"id\":\"a\",\"type\":\"t\",\"attributes\":{}},\"meta\":{\"created_at\":$ms}}"
    done >bad
    run mr map -o s.mrs good
    summed 1 5 5 0
    [ "$(figures s.mrs | cut -d, -f1,2 | sed -n '2p;$p' | xargs)" = '1970-01-01,1 2199-12-31,1' ]
    run mr map -o s.mrs --rejects r.jsonl bad
    summed 1 7 0 7
}
