# What is said where, and what is answered: standard output, standard error,
# exit status.

load helper

@test "map prints the path of the state on standard output, and nothing else" {
    small_lake lake
    mr map -o out lake >stdout 2>stderr
    [ "$(wc -l <stdout)" -eq 1 ]
    [ -f "$(cat stdout)" ]
    [[ $(cat stdout) == out/*.mrs ]]
    mr map -o named.mrs lake >stdout 2>stderr
    [ "$(cat stdout)" = named.mrs ]
}

@test "map without -o writes below ./mr-state" {
    small_lake lake
    run --separate-stderr mr map lake
    [ "$status" -eq 0 ]
    [[ $output =~ ^(\./)?mr-state/[^/]+\.mrs$ ]]
    [ -f "$output" ]
}

@test "map's summary adds up: lines = events + rejected + blank" {
    small_lake lake
    mr map -o s.mrs lake 2>stderr >/dev/null
    grep -qF '2 partitions, 8 lines = 6 events + 1 rejected + 1 blank' stderr
    grep -qF '3 users, 2 types, 2 days' stderr
}

@test "of one thing there is no plural" {
    mkdir -p one/day=2024-02-29
    event '2024-03-01' ann >one/day=2024-02-29/a.json
    run -0 mr map -o a.mrs one
    [[ $output == *'1 partition, 1 line = 1 event + 0 rejected + 0 blank'*'1 user, 1 type, 1 day'*'1 event lies in a folder'* ]]
    echo x >>one/day=2024-02-29/a.json
    mr map -q -o b.mrs one
    run -0 mr reduce a.mrs
    [[ $output == *'from 1 state'$'\n'*'= 1 event + 0'*' 1 event of another day, 0 of'* ]]
    run -0 mr reduce a.mrs b.mrs
    [[ $output == *' 1 name stands for two or more contents; all are counted'* ]]
    run -0 mr inspect a.mrs
    [[ $output == *'= 1 event + 0'*' 1, 1 membership, 1 session'$'\n'* ]]
    run -0 mr plan one
    [[ $output == *' 1 of 1 partition, '*': 1 event, 1 rejected line, 1 user'$'\n'* ]]
}

@test "nothing but errors is said with --quiet" {
    small_lake lake
    [ -z "$(mr map --quiet -o s.mrs lake 2>&1 >/dev/null)" ]
    [ -z "$(mr reduce --quiet s.mrs 2>&1 >/dev/null)" ]
    [ -z "$(mr inspect -q s.mrs 2>&1 >/dev/null)" ]
    run mr map -q -o s.mrs nowhere
    [ "$status" -eq 2 ]
    [[ $output == mr:*nowhere* ]]
}

@test "standard error gets no progress line and no escape when it is a file" {
    small_lake lake
    TERM=xterm mr map -o s.mrs lake >/dev/null 2>stderr
    TERM=xterm mr reduce s.mrs >stdout 2>>stderr
    absent grep -qP '[\r\x1b]' stderr
    absent grep -qP '\x1b' stdout
}

@test "colour is for terminals without NO_COLOR" {
    script -qec true /dev/null </dev/null >/dev/null 2>&1 ||
        skip 'no pseudo-terminals here'
    small_lake lake
    mr map -q -o s.mrs lake
    NO_COLOR=1 TERM=xterm script -qec "$MR reduce s.mrs" /dev/null </dev/null >out
    absent grep -qP '\x1b\[[0-9;]*m' out
    TERM=dumb script -qec "$MR reduce s.mrs" /dev/null </dev/null >out
    absent grep -qP '\x1b' out
}

@test "a partition that cannot be read: 3, listed with cause and byte" {
    small_lake lake
    truncate -s -9 lake/day=2024-03-01/a.json.gz
    run --separate-stderr mr map -q -o s.mrs lake
    [ "$status" -eq 3 ]
    [ "$output" = s.mrs ]
    [[ $stderr == *"mr: cannot read 'day=2024-03-01/a.json.gz' at byte "*": "*"; fetch it again and rerun"* ]]
    [[ $stderr == *"PARTIAL: 1 partition could not be read"* ]]
    run mr reduce s.mrs
    [ "$status" -eq 3 ]
    [[ $output == *PARTIAL* ]]
    run --separate-stderr mr reduce --format csv s.mrs
    [ "$status" -eq 3 ]
    [[ $stderr == *"cannot read 'day=2024-03-01/a.json.gz'"* ]]
    [[ $output != *PARTIAL* ]]
}

@test "at most twenty failures are listed, and the rest is counted" {
    mkdir bad
    for i in $(seq 25); do
        printf '\x1f\x8b\x08' >"bad/$i.json.gz"
    done
    small_lake lake
    run --separate-stderr mr map -o s.mrs bad lake
    [ "$status" -eq 3 ]
    [ "$(grep -c "cannot read '" <<<"$stderr")" -eq 20 ]
    [[ $stderr == *"and 5 more that cannot be read"* ]]
    [[ $stderr == *"PARTIAL: 25 partitions"* ]]
}

@test "--max-bad: 4 when more lines are rejected, and the state is there" {
    {
        for i in $(seq 9999); do
            printf '\n'
        done
        for i in $(seq 93); do
            event $((1709294400000 + i)) u
        done
        for i in $(seq 7); do
            echo '{'
        done
    } >lines.json
    # 7 of 100: blank lines do not count, and the limit itself is allowed.
    for limit in 7 7.0 7.000001 100; do
        mr map -q --max-bad "$limit" -o s.mrs lines.json
    done
    rm s.mrs
    for limit in 6.999999 0 0.5; do
        run --separate-stderr mr map --max-bad "$limit" -o s.mrs lines.json
        [ "$status" -eq 4 ]
        [[ $stderr == *"7 of 100 lines were rejected"* ]]
        [ "$output" = s.mrs ]
        [ -f s.mrs ]
    done
}

@test "too many bad lines win over PARTIAL" {
    printf '\x1f\x8b\x08' >cut.json.gz
    printf '{\n' >bad.json
    run mr map --max-bad 0 -o s.mrs cut.json.gz bad.json
    [ "$status" -eq 4 ]
    [[ $output == *PARTIAL* ]]
}

@test "--max-bad 0 accepts a lake without bad lines" {
    event '2024-03-01' ann >a.json
    mr map -q --max-bad 0 -o s.mrs a.json
}

@test "what cannot be written to standard output is an error: 5" {
    [ -w /dev/full ] || skip 'no /dev/full'
    small_lake lake
    mr map -q -o s.mrs lake >/dev/null
    for command in 'map -q -o s.mrs lake' 'reduce s.mrs' 'inspect s.mrs' \
        'help map' --version; do
        # shellcheck disable=SC2016
        run --separate-stderr bash -c '"$MR" $1 >/dev/full' - "$command"
        [ "$status" -eq 5 ]
        [[ $stderr == *'cannot write standard output: No space left on device'* ]]
    done
}

@test "a reader that goes away ends the program in silence, as by SIGPIPE" {
    small_lake lake
    mr map -q -o s.mrs lake >/dev/null
    run bash -c '{ sleep 0.3; "$MR" reduce -q s.mrs; echo "status $?" >&2; } | true'
    [ "$output" = 'status 141' ]
}

@test "the first signal stops the run and publishes nothing" {
    small_lake lake
    mkfifo pipe
    "$MR" map -o s.mrs - <pipe >stdout 2>stderr &
    pid=$!
    # Lines without end: the run would go on for ever.
    { while event 1709294400000 ann; do :; done } >pipe 2>/dev/null &
    writer=$!
    sleep 0.5
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    kill "$writer" 2>/dev/null || true
    [ "$status" -eq 143 ]
    [ ! -e s.mrs ]
    [ ! -s stdout ]
    grep -q '^mr: stopped' stderr
    # Nor is a half-written file left behind.
    [ "$(find . -type f -not -path './lake/*' | sort | xargs)" = './stderr ./stdout' ]
}

@test "names cannot steer the terminal" {
    name=$'evil\e]0;title\a\u009b31m\u202egz.json.gz'
    printf '\x1f\x8b\x08' >"$name"
    event '2024-03-01' ann >good.json
    run --separate-stderr mr map -o s.mrs "$name" good.json
    [ "$status" -eq 3 ]
    [[ $stderr == *'evil?]0;title'* ]]
    mr inspect s.mrs >tables
    mr reduce -q s.mrs >>tables || [ $? -eq 3 ]
    [ "$(grep -c 'evil?]0;title' tables)" -eq 2 ]
    absent grep -qP '[\x00-\x09\x0b-\x1f\x7f\x{80}-\x{9f}\x{202e}]' tables
    absent grep -qP '[\x00-\x09\x0b-\x1f\x7f\x{80}-\x{9f}\x{202e}]' <<<"$stderr"
}

@test "reduce prints the KPIs, the same from every grouping" {
    small_lake lake
    mr map -q -o a.mrs lake/day=2024-03-01
    mr map -q -o b.mrs lake/day=2024-03-02
    mr map -q -o ab.mrs lake
    mr reduce --format csv a.mrs b.mrs >one
    mr reduce --format csv ab.mrs >two
    cmp one two
    head -1 one | grep -qE '^day,events,events_without_user,users,users_estimate,active,inactive,churned,reactivated,sessions(,|$)'
    sed -n 2p one | grep -qE '^2024-03-01,3,0,2,2,,,,,2(,|$)'
    # ann is active; bob churned; cy came; the 31 minutes part ann's sessions.
    sed -n 3p one | grep -qE '^2024-03-02,3,0,2,2,1,0,1,1,3(,|$)'
}

@test "reduce --day leaves out rows and changes no figure" {
    small_lake lake
    mr map -q -o s.mrs lake
    mr reduce --format csv s.mrs >all
    mr reduce --format csv --day 2024-03-02 s.mrs >one
    [ "$(wc -l <one)" -eq 2 ]
    [ "$(tail -1 all)" = "$(tail -1 one)" ]
    mr reduce --format csv --day 2024-03-01..2024-03-02 s.mrs | cmp - all
    run mr reduce --day 2024-02-30 s.mrs
    [ "$status" -eq 2 ]
}

@test "a state that is damaged: 6; one that is not there: 2" {
    small_lake lake
    mr map -q -o s.mrs lake
    head -c 100 s.mrs >cut.mrs
    run mr reduce cut.mrs
    [ "$status" -eq 6 ]
    [[ $output == "mr: "*"cut.mrs"* ]]
    run mr inspect cut.mrs
    [ "$status" -eq 6 ]
    run mr reduce nowhere.mrs
    [ "$status" -eq 2 ]
    [[ $output == "mr: "*"nowhere.mrs"* ]]
}

# kept COMMAND...: It is refused, says why, and changes no file.
kept() {
    local before
    before=$(sha256sum -- *.json *.csv *.yaml)
    run "$MR" "$@"
    [ "$status" -eq 2 ] || {
        echo "mr $*: exit $status: $output"
        return 1
    }
    [[ $output == *"cannot write '"*"': it is "*"; name another file for --"* ]]
    [ "$(sha256sum -- *.json *.csv *.yaml)" = "$before" ]
}

@test "no output is a file that is read, by whatever path" {
    event 1709294400000 ann >a.json
    event 1709294400000 bob >b.json
    printf 'uid,country\nann,DE\n' >users.csv
    printf 'users_table: {file: users.csv, id: uid}\nrollups: [{name: c, by: [{country: users.country}]}]\n' >sp.yaml
    mr spec check sp.yaml
    ln a.json hard.json
    kept map --rejects a.json -o q.mrs a.json b.json
    kept map --rejects ./a.json -o s --shard 1/2 .
    kept map --rejects "$PWD/b.json" -o s --shard 1/2 .
    kept map --rejects sp.yaml --spec sp.yaml -o q.mrs a.json
    kept map --rejects users.csv --spec sp.yaml -o q.mrs a.json
    kept map --rejects q.mrs -o q.mrs a.json
    kept map --rejects ./q.mrs -o q.mrs a.json
    kept rows -o a.json a.json
    kept rows -o hard.json a.json
    kept rows -o b.json .
    kept rows --rejects a.json a.json
    kept rows --rejects q -o q a.json
    kept rows -o sp.yaml --spec sp.yaml a.json
    kept plan --manifest a.json a.json
    kept plan --manifest sp.yaml --spec sp.yaml a.json
    kept plan --manifest users.csv --spec sp.yaml a.json
    kept init -o a.json a.json
    echo a.json >list.csv
    echo @list.csv >outer.csv
    kept map --rejects list.csv -o q.mrs @list.csv
    kept map --rejects ./list.csv -o q.mrs @outer.csv
    kept rows -o outer.csv @outer.csv
    kept plan --manifest list.csv @list.csv
    kept init -o list.csv @list.csv
    [ ! -e q ]
    [ ! -e q.mrs ]
    # One that nobody reads is replaced as ever.
    run "$MR" rows -q -o b.json a.json
    [ "$status" -eq 0 ]
    run "$MR" map -q --rejects r.json -o q.mrs a.json
    [ "$status" -eq 0 ]
    run "$MR" map -q --rejects r.json -o q.mrs a.json
    [ "$status" -eq 0 ]
}
