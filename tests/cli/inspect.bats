# What mr inspect tells of states.
# shellcheck disable=SC2154

load helper

# json FILTER: A Python expression over the JSON that inspect prints of all
# arguments, d.
json() {
    local expression=$1
    shift
    mr inspect --format json "$@" 2>/dev/null |
        python3 -c "import json, sys; d = json.load(sys.stdin)
for s in d['states']: s.setdefault('totals', {})
sys.exit(not ($expression))"
}

@test "the table tells spec, counts, days and sections" {
    small_lake lake
    mr map -q -o s.mrs lake
    run --separate-stderr mr inspect s.mrs
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    [[ $output == 's.mrs'* ]]
    [[ $output == *'spec        lake (built-in)'* ]]
    [[ $output == *'days        2, 2024-03-01 to 2024-03-02'* ]]
    [[ $output == *'lines       8 = 6 events + 1 rejected + 1 blank'* ]]
    [[ $output == *'users       3, '*' 5 sessions'* ]]
    [[ $output == *'rejected    1 json'* ]]
    [[ $output =~ 2024-03-02\ +2\ +3\ +0\ +2\ +3 ]]
    for section in USER UIDX SPEC TYPE CELL PART FAIL SKET; do
        [[ $output =~ $section\ +[0-9]+\ +[0-9]+\ +[0-9]+\.[0-9]% ]]
    done
    [[ $output != *PARTIAL* ]]
}

@test "JSON tells the same" {
    small_lake lake
    mr map -q -o s.mrs lake
    json 'd["schema"] == 1 and len(d["states"]) == 1' s.mrs
    json 'd["states"][0]["totals"]["events"] == 6' s.mrs
    json 'd["states"][0]["totals"]["users"] == 3' s.mrs
    json 'd["states"][0]["types"] == ["click", "view"]' s.mrs
    json 'd["states"][0]["spec"]["builtin"] == "lake"' s.mrs
    json 'd["states"][0]["status"] == "complete"' s.mrs
    json 'd["states"][0]["rejected"] == {"json": 1}' s.mrs
    json '[x["users"] for x in d["states"][0]["days"]] == [2, 2]' s.mrs
    json 'd["states"][0]["bytes"] == '"$(stat -c %s s.mrs)" s.mrs
    json 'd["states"][0]["bytes"] == 384 + sum(
        x["stored_bytes"] for x in d["states"][0]["sections"])' s.mrs
}

@test "fields of one path have one reason, as reduce has it" {
    printf 'id: kind\ntype: kind\nattributes: ""\ntime: t\n' >s.yaml
    # The id is empty; the type is too long for one.
    {
        echo '{"kind":"","t":1}'
        printf '{"kind":"%01025d","t":1}\n' 0
    } >e.json
    mr map -q --spec s.yaml -o s.mrs e.json
    mr inspect --format json s.mrs >s.json
    [ "$(grep -o '"malformed:kind": [0-9]*' s.json)" = '"malformed:kind": 2' ]
    run mr inspect s.mrs
    [ "$(grep -c malformed:kind <<<"$output")" -eq 1 ]
    mr reduce -q -o out s.mrs >/dev/null
    [ "$(tail -n 1 out/rejects.csv)" = malformed:kind,2 ]
}

@test "a name is compared with the content" {
    small_lake lake
    mr map -q -o states lake
    json '[s["name"] for s in d["states"]] == ["agrees"]' states
    cp states/*.mrs s.mrs
    json '[s["name"] for s in d["states"]] == ["other"]' s.mrs
    mv states/*.mrs states/00000000000000000000000000000000.mrs
    json '[s["name"] for s in d["states"]] == ["differs"]' states
    mr inspect states | grep -q "SAYS OTHERWISE"
}

@test "another spec is written out" {
    small_lake lake
    echo 'session_gap_ms: 60000' >short.yaml
    mr map -q --spec short.yaml -o s.mrs lake
    mr inspect s.mrs | grep -q '^  *session_gap_ms: 60000$'
    json 'd["states"][0]["spec"]["builtin"] is None' s.mrs
}

@test "failures are named with byte and reason" {
    small_lake lake
    gzip -c lake/*/a.json.gz | head -c 40 >"lake/day=2024-03-01/cut.json.gz"
    run mr map -q -o s.mrs lake
    [ "$status" -eq 3 ]
    run --separate-stderr mr inspect s.mrs
    [ "$status" -eq 0 ]
    [[ $output == *PARTIAL* ]]
    [[ $output == *'day=2024-03-01/cut.json.gz at byte 40: truncated'* ]]
    json 'd["states"][0]["failed"][0]["offset"] == 40' s.mrs
}

@test "a damaged state does not hide the others: 6" {
    small_lake lake
    mr map -q -o b.mrs lake
    cp b.mrs a.mrs
    printf 'x' | dd of=a.mrs bs=1 seek=390 conv=notrunc status=none
    run --separate-stderr mr inspect a.mrs b.mrs
    [ "$status" -eq 6 ]
    [[ $stderr == *"cannot use 'a.mrs' at byte 384: block 0 of section USER is damaged"* ]]
    [[ $output == *'a.mrs: NOT SOUND'* ]]
    [[ $output == *'sound to the last'* ]]
    json '[s["sound"] for s in d["states"]] == [False, True]' a.mrs b.mrs
}
