# The manual's examples do what they say.

load helper

@test "every command of the manual's EXAMPLES runs" {
    local n=0 command
    "$MR_BUILD/tests/gen_events" --seed 7 --events 2000 --users 50 --types 3 \
        --start 2024-03-01 --days 2 --format gz --bad 20 --out lake
    mkdir bin
    ln -s "$MR" bin/mr
    PATH=$PWD/bin:$PATH
    while read -r command; do
        echo "running: $command"
        bash -euo pipefail -c "$command" >out
        n=$((n + 1))
    done < <(sed -nE 's/^\.Dl \$ //p' "$MR_SOURCE/docs/mr.1")
    [ "$n" -ge 8 ]
    # The two halves, and then the whole again, are one lake.
    mr reduce --format csv shared >a
    mr reduce --format csv march.mrs | cmp - a
}

@test "the manual names every file that reduce writes" {
    local file
    "$MR_BUILD/tests/gen_events" --events 500 --users 50 --types 3 --out lake
    cat >spec.yaml <<'END'
user: [data.attributes.user_id, data.id]
users_table: {file: users.csv}
rollups: [{name: by_type, by: [type]}]
duplicates: {}
segments: {none: {x: '>=1'}}
END
    echo user_id >users.csv
    mr plan -q --manifest manifest.csv lake >/dev/null
    mr map -q --spec spec.yaml -o s.mrs lake
    mr reduce -q -o kpis --manifest manifest.csv --retention 1 s.mrs
    [ "$(find kpis -type f | wc -l)" -eq 12 ]
    rm kpis/by_type.csv
    grep -qx '\.It Ar NAME Ns Pa .csv' "$MR_SOURCE/docs/mr.1"
    for file in kpis/*; do
        grep -qx "\.It Pa ${file##*/}" "$MR_SOURCE/docs/mr.1"
    done
}

@test "the manual gives every exit status" {
    local code
    for code in 0 1 2 3 4 5 6 7 128+N; do
        grep -qx "\.It $code" "$MR_SOURCE/docs/mr.1"
    done
}

@test "the manual has every reason that a line is rejected for" {
    local reason
    { echo '{'; printf '%200s\n' ''; printf '[%.0s' {1..9}; echo; } >a.json
    printf '%s\n' id,type,time,user '"a"b,c,d,e' ',,,' a >a.csv
    echo '{max_line_bytes: 100, max_depth: 5}' >json.yaml
    echo '{format: csv, id: id, type: type, time: time, user: user}' >csv.yaml
    mr map -q --spec json.yaml -o json.mrs a.json
    mr map -q --spec csv.yaml -o csv.mrs a.csv
    mr reduce -q -o json json.mrs
    mr reduce -q -o csv csv.mrs
    cut -d, -f1 json/rejects.csv csv/rejects.csv | sed '/^reason$/d; s/:.*//' |
        sort -u >reasons
    [ "$(xargs <reasons)" = 'csv json malformed missing too-deep too-long' ]
    while read -r reason; do
        grep -qE "^\\.It Sy $reason(\\\\&:.*)?\$" "$MR_SOURCE/docs/mr.1"
    done <reasons
}
