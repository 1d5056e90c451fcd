# Specs as docs/spec.md shows them, and mr spec.

load helper

# example N: The N-th YAML block of docs/spec.md.
example() {
    awk -v n="$1" '/^```/ { inside = /yaml/; i += inside; next }
        inside && i == n' "$MR_SOURCE/docs/spec.md"
}

@test "the default spec is the one that the document writes out" {
    small_lake lake
    example 1 >lake.yaml
    mr map -q -o a.mrs lake
    mr map -q --spec lake -o b.mrs lake
    mr map -q --spec lake.yaml -o c.mrs lake
    mr spec show lake >shown.yaml
    mr map -q --spec shown.yaml -o d.mrs lake
    cmp a.mrs b.mrs
    cmp a.mrs c.mrs
    cmp a.mrs d.mrs
}

@test "the document's other spec reads other events" {
    example 2 >other.yaml
    cat >events.json <<'END'
{"event_id":"1","name":"open","at":1709294400000,"account":{"id":7}}
{"event_id":"2","name":"open","at":"1709294400000","account":{"id":"7"}}
{"event_id":"3","name":"open","at":1709294400000}
{"event_id":"4","at":1709294400000,"account":{"id":8}}
END
    run --separate-stderr mr map --spec other.yaml -o s.mrs events.json
    [ "$status" -eq 0 ]
    [[ $stderr == *'4 lines = 3 events + 1 rejected + 0 blank'* ]]
    mr reduce --format csv s.mrs | sed -n 2p | grep -q '^2024-03-01,3,1,1,1,'
}

@test "an id that nobody asks for may be missing" {
    example 2 | sed "s/^id: .*/id: ''/" >other.yaml
    echo '{"name":"open","at":1709294400000,"account":{"id":7}}' >events.json
    mr map -q --spec other.yaml -o s.mrs events.json
    mr reduce --format csv s.mrs | sed -n 2p | grep -q '^2024-03-01,1,0,1,1,'
}

@test "every example of the document is right" {
    local n=1
    printf 'user_id,country,age\nann,IE,33\n' >users.csv
    while example "$n" >example.yaml && [ -s example.yaml ]; do
        run mr spec check example.yaml
        echo "example $n: $output"
        [ "$status" -eq 0 ]
        n=$((n + 1))
    done
    [ "$n" -gt 7 ]
}

@test "the document's examples of the built-in specs are these" {
    local name n=0
    for name in $(mr spec list | cut -d' ' -f1); do
        mr spec show "$name" >shown
        grep -q "^## $name\$" "$MR_SOURCE/docs/spec.md"
        awk -v name="$name" '/^## / { here = $2 == name }
            /^```/ { inside = here && /yaml/ && !seen++; next }
            inside' "$MR_SOURCE/docs/spec.md" | diff - shown
        n=$((n + 1))
    done
    [ "$n" -eq 5 ]
}

@test "the document and the manual name every key" {
    local key n=0
    while read -r key; do
        grep -q "\`$key\`" "$MR_SOURCE/docs/spec.md" ||
            { echo "spec.md lacks $key"; false; }
        grep -q "^\.It Cm $key\$" "$MR_SOURCE/docs/mr-spec.5" ||
            { echo "mr-spec.5 lacks $key"; false; }
        n=$((n + 1))
    done < <(awk '/^SPEC_KEY\(STATE/ { next } /^SPEC_KEY\(/ { split($0, a, "\""); print a[2] }' \
        "$MR_SOURCE/mr/spec_keys.def")
    [ "$n" -gt 40 ]
}

@test "built-in specs are listed, shown and right" {
    local name
    run mr spec list
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 5 ]
    [[ ${lines[0]} == 'lake '* ]]
    for name in lake snowplow-pageviews snowplow-enriched clickstream \
        interactions; do
        [[ $output == *"$name"* ]]
        mr spec show "$name" >"$name.yaml"
        grep -q '^#' "$name.yaml"
        [ "$(mr spec check "$name.yaml" "$name")" = "$name.yaml: ok
$name: ok" ]
    done
}

@test "mr spec check tells of each file what is wrong with it: 2" {
    echo 'id: event_id' >good.yaml
    printf 'id: event_id\nsesion_gap_ms: 5\n' >bad.yaml
    printf 'rollups:\n  - name: daily\n    by: [type]\n' >taken.yaml
    run --separate-stderr mr spec check bad.yaml good.yaml taken.yaml none.yaml
    [ "$status" -eq 2 ]
    [ "$output" = 'good.yaml: ok' ]
    [ "${#stderr_lines[@]}" -eq 3 ]
    [ "${stderr_lines[0]}" = "mr: cannot use spec 'bad.yaml': line 2, column 1: unknown key 'sesion_gap_ms'; the nearest known key is 'session_gap_ms'" ]
    [ "${stderr_lines[1]}" = "mr: cannot use spec 'taken.yaml': line 2, column 11: reduce writes another file of the name 'daily.csv'; choose another name" ]
    [[ ${stderr_lines[2]} == *"none.yaml"*"No such file"*"mr spec list"* ]]
}

@test "mr spec check refuses what mr map would: 2, or 5 without the users table" {
    local setting n=0
    small_lake lake
    while IFS= read -r setting; do
        printf 'format: json\n%b\n' "$setting" >own.yaml
        run --separate-stderr mr spec check own.yaml
        echo "$setting: $status, $stderr"
        [ "$status" -eq 2 ]
        [ -z "$output" ]
        [[ $stderr == "mr: cannot use spec 'own.yaml': line "*', column '*'; '* ]]
        [ "${#stderr_lines[@]}" -eq 1 ]
        checked=$stderr
        run --separate-stderr mr map --spec own.yaml -o s.mrs lake
        [ "$status" -eq 2 ]
        [ "$stderr" = "$checked" ]
        n=$((n + 1))
    done <<'END'
zone: Mars/Phobos
time_format: iso8601\ntime_zone: Mars/Phobos
time_format: "%Q"
time_format: "%d/%m"
time_format: '%'
END
    [ "$n" -eq 5 ]
    echo 'users_table: {file: no.csv}' >own.yaml
    echo 'users_table: {file: some.csv, id: uid}' >other.yaml
    echo 'user_id' >some.csv
    run --separate-stderr mr spec check own.yaml
    [ "$status" -eq 5 ]
    [[ $stderr == "mr: cannot read 'no.csv': No such file"* ]]
    checked=$stderr
    run --separate-stderr mr map --spec own.yaml -o s.mrs lake
    [ "$status" -eq 5 ]
    [ "$stderr" = "$checked" ]
    run --separate-stderr mr spec check other.yaml
    [ "$status" -eq 6 ]
    [[ $stderr == *"'some.csv'"*uid* ]]
    [ ! -e s.mrs ]
}

@test "mr spec check counts the fields of all rows: 2" {
    local i fields=
    for i in $(seq 1 30); do fields+=" f$i,"; done
    for i in 1 2 3 4 5 6 7 8 9; do
        [ "$i" -gt 1 ] || echo 'rollups:'
        echo "  - {name: r$i, by: [a$i, b$i, c$i, d$i, e$i, g$i, h$i]}"
    done >own.yaml
    echo "rows: [${fields%,}]" >>own.yaml
    run --separate-stderr mr spec check own.yaml
    echo "$stderr"
    [ "$status" -eq 2 ]
    [[ $stderr == "mr: cannot use spec 'own.yaml': "*'different fields'* ]]
}

@test "a code of times that is not known is refused where it stands: 2" {
    local code
    small_lake lake
    for code in G V u Z c U k l P 5Y Ey Q N ''; do
        printf 'rows:\n  - day\n  - t: {field: time, format: "%%F %%%s"}\n' \
            "$code" >own.yaml
        [ "$code" != z% ] || sed -i 's/%z%/%z%J/' own.yaml
        run --separate-stderr mr spec check own.yaml
        echo "$code: $stderr"
        [ "$status" -eq 2 ]
        [ -z "$output" ]
        [[ $stderr == "mr: cannot use spec 'own.yaml': line 3, column 30: "*'pattern of times'* ]]
        run --separate-stderr mr rows --spec own.yaml lake
        [ "$status" -eq 2 ]
        [ -z "$output" ]
    done
    sed -i 's/format.*/format: "%G"}/' own.yaml
    run mr spec check own.yaml
    [[ $output == *'has %G, which is not known here; known are %Y '*' %%' ]]
}

@test "the document and the manual have all codes of times" {
    local codes code known
    printf 'rows: [{t: {field: time, format: "%%G"}}]\n' >own.yaml
    run mr spec check own.yaml
    known=${output##*known are }
    for code in $known; do
        grep -qF "\`$code\`" "$MR_SOURCE/docs/spec.md"
    done
    codes=$(tr '\n' ' ' <"$MR_SOURCE/docs/mr-spec.5")
    [[ $codes == *"No codes but $known are known."* ]]
    grep -qF "No codes but $known are known." "$MR_SOURCE/docs/spec.md"
    grep -qF "No codes but ${known/%z/%z %Z} are known." "$MR_SOURCE/docs/spec.md"
}

@test "mr spec without a question it knows: 2" {
    local arguments
    for arguments in 'list x' 'show' 'show a b' 'check' 'frob' 'show lakes'; do
        # shellcheck disable=SC2086
        run --separate-stderr mr spec $arguments
        [ "$status" -eq 2 ]
        [ -z "$output" ]
    done
    [[ $stderr == *"no built-in spec 'lakes'"*"'lake'"* ]]
}

@test "a users table and tagged identities contradict each other: 2" {
    small_lake lake
    printf 'id,country\nann,IE\n' >users.csv
    printf 'user: [a, b]\nidentity: tagged\nusers_table: {file: users.csv, id: id}\n' >own.yaml
    run mr map --spec own.yaml -o s.mrs lake
    [ "$status" -eq 2 ]
    [[ $output == *"'own.yaml'"*"users table"*"identity"* ]]
    [ ! -e s.mrs ]
    run mr spec check own.yaml
    [ "$status" -eq 2 ]
    [[ $output == *"'own.yaml'"*"users table"*"identity"* ]]
}

@test "a spec that is wrong is refused with line and column: 2" {
    printf 'id: event_id\nsesion_gap_ms: 5\n' >bad.yaml
    small_lake lake
    run mr map --spec bad.yaml -o s.mrs lake
    [ "$status" -eq 2 ]
    [[ $output == *"bad.yaml"*"session_gap_ms"* ]]
    [ ! -e s.mrs ]
    run mr map --spec nowhere.yaml -o s.mrs lake
    [ "$status" -eq 2 ]
    [[ $output == *lake* ]]
}

@test "states of unlike specs are not merged, and the difference is told: 6" {
    small_lake lake
    echo 'session_gap_ms: 5' >short.yaml
    mr map -q -o a.mrs lake
    mr map -q --spec short.yaml -o b.mrs lake
    run mr reduce a.mrs b.mrs
    [ "$status" -eq 6 ]
    [[ $output == *session_gap_ms*1800000* ]]
}

@test "rows are no part of a state" {
    small_lake lake
    echo 'rows: [user, time]' >rows.yaml
    mr map -q -o a.mrs lake
    mr map -q --spec rows.yaml -o b.mrs lake
    cmp a.mrs b.mrs
}

@test "of all fields the type alone is said by '='" {
    printf '%s\n' "id: '=i'" "type: '=t'" "attributes: '=a'" "time: '=m'" \
        'time_format: iso8601' "user: '=u'" >s.yaml
    echo '{"=i":"1","=a":{},"=m":"2024-03-01","=u":"ann"}' >a.json
    run -0 mr rows -q --spec s.yaml a.json
    [ "$output" = $'id,time,type,user\n1,2024-03-01T00:00:00.000Z,t,ann' ]
}

@test "a spec by which no line is an event is noted, with the reason" {
    local note="mr: note: no line is an event: is it the right --spec? The reason of 2 of 3 rejected lines is 'missing:data.id'"
    printf '%s\n' '{"a": 1}' 'no JSON' '{"a": 2}' >a.json
    local verb
    for verb in 'map -o s.mrs' 'map --beside' rows; do
        # shellcheck disable=SC2086
        run -0 --separate-stderr mr $verb a.json
        # shellcheck disable=SC2154
        [[ ${stderr_lines[*]} == *"$note; map --rejects FILE shows the lines"* ]]
        # shellcheck disable=SC2086
        run -0 --separate-stderr mr $verb -q a.json
        [ -z "$stderr" ]
    done
    # What has been written need not be asked for.
    run -0 --separate-stderr mr rows --rejects bad a.json
    [[ ${stderr_lines[*]} == *"$note; the lines are in 'bad'"* ]]
    # One event is enough, and no lines at all are no reason.
    event '2024-03-01 10:00' ann >>a.json
    : >empty.json
    for verb in a.json empty.json; do
        run -0 --separate-stderr mr map -o s.mrs "$verb"
        [[ $stderr != *'is an event'* ]]
    done
}
