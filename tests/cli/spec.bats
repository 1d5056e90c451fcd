# Specs as docs/spec.md shows them.

load helper

# example N: The N-th YAML block of docs/spec.md.
example() {
    awk -v n="$1" '/^```/ { inside = /yaml/; i += inside; next }
        inside && i == n' "$MR_SOURCE/docs/spec.md"
}

@test "the built-in spec is the one that the document writes out" {
    small_lake lake
    example 1 >lake.yaml
    [ "$(wc -l <lake.yaml)" -eq 11 ]
    mr map -q -o a.mrs lake
    mr map -q --spec lake -o b.mrs lake
    mr map -q --spec lake.yaml -o c.mrs lake
    cmp a.mrs b.mrs
    cmp a.mrs c.mrs
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
