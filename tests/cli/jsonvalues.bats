# Events as JSON that is not one value a line: values one after another, the
# elements of an array, the member of a document.

# shellcheck disable=SC2030,SC2031,SC2154
load helper

# spec FORMAT [RECORDS]: The lake's, but of another form of JSON.
spec() {
    mr spec show lake | grep -v '^records:' | sed "s/^format:.*/format: $1/"
    echo "records: ${2-''}"
}

specs() {
    spec json-values | grep -v '^records:' >values.yaml
    spec json-array >array.yaml
    spec json-array 'log.Records' >member.yaml
}

# In an array, with a comma after each line but the last.
array() {
    echo '['
    sed '$!s/$/,/'
    echo ']'
}

# pretty: Each token of the events of helper.bash on a line of its own.
pretty() {
    sed 's/[{,]/&\n  /g; s/}/\n}/g; s/:/ : /g'
}

document() {
    printf '{"before": [{"Records": [1, "]}", -1.5e-7]}], "log": {"Records" : '
    array
    printf ', "Recordz": "\\ud83d\\ude00 \xc3\xa9"}, "n": null}\n'
}

@test "the same events give the same figures in every form" {
    local form
    specs
    events 3000 >json
    tr -d '\n' <json >values-joined
    pretty <json >values-pretty
    (printf '\xef\xbb\xbf' && cat json) >values-marked
    array <json >array-plain
    array <json | pretty >array-pretty
    document <json >member
    gzip -k values-joined array-plain member
    split -l 500 --filter='zstd -q' json >values-frames.zst
    mr map -q -o json.mrs json
    figures json.mrs >expected
    [ "$(wc -l <expected)" -gt 1 ]
    for form in values-* array-* member member.gz; do
        run --separate-stderr mr map --spec "${form%%[-.]*}.yaml" -o s.mrs "$form"
        echo "$form: $stderr"
        [ "$status" -eq 0 ]
        [[ $stderr == *'3000 lines = 3000 events + 0 rejected + 0 blank'* ]]
        figures s.mrs | cmp - expected
    done
}

@test "threads, pipes and rejected lines change nothing in the state" {
    local threads
    specs
    { events 40000 | tr -d '\n' && echo '{"a": [}' && events 20000 50000; } >v
    { events 40000 && echo '{"a": 1 2}' && events 20000 50000; } | array >a
    mr map -q -j 1 --spec values.yaml -o v1.mrs v
    mr map -q -j 1 --spec array.yaml -o a1.mrs a
    for threads in 2 4; do
        mr map -q -j "$threads" --spec values.yaml -o v2.mrs v
        mr map -q -j "$threads" --spec array.yaml --rejects r -o a2.mrs a
        cmp v1.mrs v2.mrs
        cmp a1.mrs a2.mrs
    done
    grep -q '"line":40001,' r
    # shellcheck disable=SC2002 # a pipe it must be
    cat a | mr map -q --spec array.yaml -o a3.mrs -
    figures a3.mrs | cmp - <(figures a1.mrs)
}

@test "what is no event is rejected as it stands, and where it stands" {
    specs
    printf '%s\n' '{"a":tru}{"b":"cut off' '{"c":3,' '{"d":{}{"e":5}, ' \
        '{"f":"x"]}' '  {"g":7} no JSON' '[8' >v
    run --separate-stderr mr map --spec values.yaml --rejects r -o s.mrs v
    [ "$status" -eq 0 ]
    [[ $stderr == *'10 lines = 0 events + 10 rejected + 0 blank'* ]]
    sed -E 's/"partition":"v",//' r >got
    cat >expected <<'END'
{"reason":"json","line":1,"offset":0,"text":"{\"a\":tru}"}
{"reason":"json","line":2,"offset":9,"text":"{\"b\":\"cut off"}
{"reason":"json","line":3,"offset":23,"text":"{\"c\":3,"}
{"reason":"json","line":4,"offset":31,"text":"{\"d\":{}"}
{"reason":"missing:data.id","line":5,"offset":38,"text":"{\"e\":5}"}
{"reason":"json","line":6,"offset":45,"text":","}
{"reason":"json","line":7,"offset":48,"text":"{\"f\":\"x\"]}"}
{"reason":"missing:data.id","line":8,"offset":61,"text":"{\"g\":7}"}
{"reason":"json","line":9,"offset":69,"text":"no JSON"}
{"reason":"json","line":10,"offset":77,"text":"[8"}
END
    diff expected got
    printf '%s\n' '[{"a":tru}, 5, "' '", {"b" ' ': 1}, 1 ' ' 2, [[[]]]]' >a
    sed 's/^max_depth:.*/max_depth: 2/' array.yaml >shallow.yaml
    mr map -q --spec shallow.yaml --rejects r -o s.mrs a
    sed -E 's/"partition":"a",//' r >got
    cat >expected <<'END'
{"reason":"json","line":1,"offset":1,"text":"{\"a\":tru}"}
{"reason":"missing:data.id","line":2,"offset":12,"text":"5"}
{"reason":"json","line":3,"offset":15,"text":"\"\n\""}
{"reason":"missing:data.id","line":4,"offset":20,"text":"{\"b\"  : 1}"}
{"reason":"json","line":5,"offset":32,"text":"1 2"}
{"reason":"too-deep","line":6,"offset":39,"text":"[[[]]]"}
END
    diff expected got
}

@test "a document that is not whole counts for nothing, until it is" {
    specs
    mkdir part=1
    events 100 | document >whole
    head -c -20 whole >part=1/d.json
    run --separate-stderr mr map --spec member.yaml -o bad.mrs part=1
    [ "$status" -eq 3 ]
    [[ $stderr == *"cannot read 'part=1/d.json' at byte $(wc -c <part=1/d.json): the document ends too soon; fetch it again and rerun"* ]]
    [[ $stderr == *'0 lines = 0 events'* ]]
    cp whole part=1/d.json
    mr map -q --spec member.yaml -o good.mrs part=1
    run mr reduce -q --format csv bad.mrs good.mrs
    [ "$status" -eq 0 ]
    figures good.mrs | cmp - <(echo "$output")
}

@test "what a document lacks is said" {
    local cause text
    specs
    while read -r cause text; do
        printf '%s' "$text" >d
        run --separate-stderr mr map --spec member.yaml -o s.mrs d
        echo "$text: $stderr"
        [ "$status" -eq 3 ]
        [[ $stderr == *"cannot read 'd' at byte ${cause//_/ };"* ]]
    done <<'END'
0:_the_document_is_no_object []
1:_the_document_has_no_member_'log.Records' {}
9:_the_document_has_no_member_'log.Records' {"log":{ }}
7:_the_member_'log'_is_no_object {"log":[]}
18:_the_member_'Records'_is_no_array {"log":{"Records":{}}}
21:_the_document_is_not_valid_JSON_there {"log":{"Records":[],}}
23:_there_is_text_behind_the_document's_end {"log":{"Records":[]}} {}
END
}

@test "memory does not grow with a document" {
    local small large
    specs
    command -v python3 >/dev/null || skip "no python3"
    # peak COMMAND...: Its peak of memory in KiB.
    cat >peak.py <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
END
    for n in 2000 400000; do
        { printf '{"x":"' && head -c $((n * 100)) /dev/zero | tr '\0' y &&
            printf '","log":{"Records":' &&
            yes "$(event 1709251200000 ann)" | head -n "$n" | array &&
            printf '}}'; } | gzip -1 >"$n.gz"
    done
    small=$(python3 peak.py "$MR" map -q -j 2 --spec member.yaml -o s.mrs 2000.gz)
    large=$(python3 peak.py "$MR" map -q -j 2 --spec member.yaml -o l.mrs 400000.gz)
    echo "$small KiB, $large KiB"
    [ "$large" -lt $((small + 24000)) ]
    figures l.mrs | sed -n 2p | grep -q '^2024-03-01,400000,0,1,'
}

@test "what is broken is too long or too deep as a line would be" {
    specs
    sed -i 's/^max_depth:.*/max_depth: 3/; s/^max_line_bytes:.*/max_line_bytes: 30/' values.yaml
    {
        printf '[[[[1\n}] \n'
        printf '{"a":\n1}} 123456789 123456789\n 12'
        printf '{"a":\n]123456789 123456789 123456789\n'
    } >v
    mr map -q --spec values.yaml --rejects r -o s.mrs v
    sed -E 's/"partition":"v",//' r >got
    cat >expected <<'END'
{"reason":"too-deep","line":1,"offset":0,"text":"[[[[1\n}]"}
{"reason":"missing:data.id","line":2,"offset":10,"text":"{\"a\": 1}"}
{"reason":"json","line":3,"offset":18,"text":"} 123456789 123456789"}
{"reason":"missing:data.id","line":4,"offset":41,"text":"12"}
{"reason":"too-long","line":5,"offset":43,"text":"{\"a\":\n]123456789 123456789 123456789"}
END
    diff expected got
}
