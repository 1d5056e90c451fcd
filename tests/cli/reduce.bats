# What mr reduce prints and writes, and what it does with states that are
# damaged, doubled, or not for each other.
# shellcheck disable=SC2030,SC2031,SC2154

load helper

# A lake of three days in three states, shared by all tests.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return 1
    export TERM=dumb
    local d
    for d in 1 2 3; do
        mkdir -p "lake/day=2024-03-0$d"
        {
            echo "bad $d"
            seq $((d * 300)) $((d * 300 + 800)) | awk -v d="$d" '{
                printf "{\"data\":{\"id\":\"e%d\",\"type\":\"t%d\",\"attributes\":" \
                    "{\"user_id\":%d}},\"meta\":{\"created_at\":%d000}}\n",
                    $1, $1 % 7, $1, 1709251200 + (d - 1) * 86400 + $1 * 40
            }'
            [ "$d" -ne 2 ] || echo '{}'
        } >"lake/day=2024-03-0$d/a.json"
        "$MR" map -q -o "$d.mrs" "lake/day=2024-03-0$d"
    done
    "$MR" map -q -o whole.mrs lake
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    export TERM=dumb
    ln -s "$BATS_FILE_TMPDIR"/*.mrs "$BATS_FILE_TMPDIR/lake" .
}

@test "the KPIs are those of the lake" {
    # Day d has users 300 d to 300 d + 800, one event each.
    figures whole.mrs | cut -d, -f1-4,6-10 >daily
    diff daily - <<'EOF'
day,events,events_without_user,users,active,inactive,churned,reactivated,sessions
2024-03-01,801,0,801,,,,,801
2024-03-02,801,0,801,501,0,300,300,801
2024-03-03,801,0,801,501,300,300,300,801
EOF
}

@test "merging gives the same bytes in any order, grouping and repetition" {
    mr reduce -q --merged a.mrs 1.mrs 2.mrs 3.mrs >/dev/null
    cmp a.mrs whole.mrs
    mr reduce -q --merged b.mrs 3.mrs 1.mrs >/dev/null
    mr reduce -q --merged c.mrs b.mrs 2.mrs 3.mrs whole.mrs >/dev/null
    cmp c.mrs whole.mrs
    mr reduce -q --merged d.mrs . >/dev/null
    cmp d.mrs whole.mrs
    # Onto one of its own inputs.
    cp --remove-destination "$BATS_FILE_TMPDIR/1.mrs" own.mrs
    mr reduce -q -j 1 --merged own.mrs own.mrs 2.mrs 3.mrs >/dev/null
    cmp own.mrs whole.mrs
    figures 1.mrs 2.mrs 3.mrs >a
    figures whole.mrs | cmp - a
}

@test "the formats and the files agree with one another" {
    local file format
    mr reduce -q -o kpis whole.mrs >table
    [ "$(cd kpis && echo *)" = 'daily.csv daily_by_type.csv kpis.json partitions.csv rejects.csv' ]
    mr reduce -q --format csv whole.mrs | cmp - kpis/daily.csv
    mr reduce -q --format json whole.mrs | cmp - kpis/kpis.json
    [ "$(head -1 kpis/daily_by_type.csv | cut -d, -f1-5)" = day,type,events,users,users_estimate ]
    [ "$(wc -l <kpis/daily_by_type.csv)" -eq 22 ]
    sort -c kpis/daily_by_type.csv || [ "$(head -1 kpis/daily_by_type.csv | cut -c1-3)" = day ]
    [ "$(sed 1d kpis/rejects.csv | sort | xargs)" = 'json,3 missing:data.id,1' ]
    for file in lake/*/a.json; do
        grep "^${file#lake/}," kpis/partitions.csv |
            grep -qE ",read,,,$(stat -c %s "$file"),"
    done
    # Every figure of the CSV is in the table.
    for day in 2024-03-01 2024-03-02 2024-03-03; do
        [ "$(grep "^$day " table | xargs)" = "$(grep "^$day," kpis/daily.csv |
            cut -d, -f1-10 | sed 's/,,/,-,/g; s/,,/,-,/g; s/,/ /g')" ]
    done
}

@test "kpis.json is JSON, marks what is exact, and holds the CSVs' numbers" {
    mr reduce -q -o kpis whole.mrs >/dev/null
    python3 - <<'PY'
import csv, json
kpis = json.load(open("kpis/kpis.json", encoding="utf-8"))

def rows(name):
    with open("kpis/" + name, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))

def same(row, entry):
    for key, text in row.items():
        if key == "status":
            continue
        want = None if text == "" else text
        got = entry[key]
        assert (None if got is None else str(got)) == want, (key, row, entry)

assert kpis["schema"] == "mr-kpis" and kpis["schema_version"] == 1
for name, daily in (("daily.csv", "days"), ("daily_by_type.csv", "days_by_type")):
    table = rows(name)
    assert len(table) == len(kpis[daily]) > 0
    for row, entry in zip(table, kpis[daily]):
        same(row, entry)
for figure in rows("daily.csv")[0]:
    if figure in ("day", "status"):
        continue
    kind = kpis["figures"][figure]["kind"]
    assert kind == ("estimate" if figure == "users_estimate" else "exact")
assert 0 < kpis["figures"]["users_estimate"]["standard_error"] < 0.05
assert kpis["status"] == "complete"
assert kpis["users_of_all_days"] == 1401
PY
}

@test "--day chooses rows, and changes no figure in any file" {
    mr reduce -q -o all whole.mrs >/dev/null
    mr reduce -q -o one --day 2024-03-02 --format csv whole.mrs >printed
    cmp printed one/daily.csv
    [ "$(sed 1d printed)" = "$(grep ^2024-03-02 all/daily.csv)" ]
    cmp <(sed 1d one/daily_by_type.csv) <(grep ^2024-03-02 all/daily_by_type.csv)
    cmp one/partitions.csv all/partitions.csv
    cmp one/rejects.csv all/rejects.csv
    mr reduce -q --day 2024-03-02..2024-03-03 --format csv whole.mrs |
        cmp - <(grep -v ^2024-03-01 all/daily.csv)
    mr reduce -q --day 1970-01-01..2199-12-31 --format csv whole.mrs |
        cmp - all/daily.csv
}

@test "--new, --rolling and --retention add columns, a file and a table" {
    mr reduce -q -o plain whole.mrs >plain.table
    mr reduce -q -o more --new --rolling --retention 2 whole.mrs >table
    # Of the days' users 300 d to 300 d + 800 the last 300 are new.
    cut -d, -f12- more/daily.csv | diff - <(
        printf '%s\n' new_users,users_7d,users_28d,stickiness ,,, 300,,, 300,,,
    )
    cut -d, -f1-11 more/daily.csv | cmp - plain/daily.csv
    diff more/retention.csv - <<'EOF'
first_day,users,day_0,day_1,day_2,status
2024-03-02,300,300,300,,complete
2024-03-03,300,300,,,complete
EOF
    grep -qx 'first day   users  day 1  day 2' table
    grep -qx '2024-03-02    300    300      -' table
    [ "$(cd more && echo *)" = "$(cd plain && echo *) retention.csv" ]
    # Each on its own.
    [ "$(figures --new whole.mrs | head -1 | cut -d, -f11-)" = status,new_users ]
    [ "$(figures --rolling whole.mrs | head -1 | cut -d, -f11-)" = status,users_7d,users_28d,stickiness ]
    figures --retention 2 whole.mrs | cmp - plain/daily.csv
    # Days that are chosen are first days, too; their figures stay.
    mr reduce -q -o one --retention 2 --day 2024-03-02 whole.mrs >/dev/null
    diff one/retention.csv <(grep -v ^2024-03-03 more/retention.csv)
}

@test "--day without rows: the head line alone, and a note" {
    run --separate-stderr mr reduce --format csv --day 2023-01-01 whole.mrs
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    [ "$stderr" = 'mr: note: no row for 2023-01-01; the states have events from 2024-03-01 to 2024-03-03' ]
    run --separate-stderr mr reduce --format csv --day 2023-01-01..2023-02-01 1.mrs
    [ "$stderr" = 'mr: note: no row for 2023-01-01..2023-02-01; the states have events from 2024-03-01 to 2024-03-01' ]
}

@test "states of unlike specs: 6, and each field that differs" {
    local state
    printf 'session_gap_ms: 60000\nsketch_bits: 12\n' >a.yaml
    printf 'user: data.attributes.account\nmax_depth: 10\n' >b.yaml
    mr map -q --spec a.yaml -o a.mrs lake
    mr map -q --spec b.yaml -o b.mrs lake
    run mr reduce -o kpis --merged m.mrs a.mrs b.mrs
    [ "$status" -eq 6 ]
    [[ $output == "mr: cannot merge 'b.mrs': its spec is not that of 'a.mrs': "*"; map all partitions with one spec, or reduce these states apart" ]]
    [[ $output == *'user: data.attributes.account here, data.attributes.user_id there'* ]]
    [[ $output == *'session_gap_ms: 1800000 here, 60000 there'* ]]
    [[ $output == *'max_depth: 10 here, 1024 there'* ]]
    [[ $output == *'sketch_bits: 14 here, 12 there'* ]]
    [[ $output != *'zone'* && $output != *'data.id'* ]]
    [ ! -e kpis ] && [ ! -e m.mrs ]
    # The same said in other words is the same.
    printf '# By hand.\nsketch_bits: 14\nformat: json\n' >c.yaml
    mr map -q --spec c.yaml -o c.mrs lake
    cmp c.mrs whole.mrs
}

# damaged FILE SENTENCE: Refused by reduce and inspect with exit 6.
damaged() {
    run mr reduce -o kpis --merged m.mrs "$1" 1.mrs
    echo "status $status, said: $output"
    [ "$status" -eq 6 ]
    # shellcheck disable=SC2053
    [[ $output == "mr: cannot use '$1'"*": "$2 ]]
    [ ! -e kpis ] && [ ! -e m.mrs ]
    run mr inspect "$1"
    [ "$status" -eq 6 ]
}

@test "what is no state: 6" {
    : >empty.mrs
    damaged empty.mrs 'it is no state file, or cut short in its header: it has only 0 bytes; *'
    yes 'some text' | head -n 100 >text.mrs
    damaged text.mrs "it is no state file: its header does not begin as one's; give files that mr map wrote"
    head -c 5000 /dev/urandom >random.mrs
    damaged random.mrs "it is no state file: its header does not begin as one's; give files that mr map wrote"
    head -c 100000 /dev/zero >nul.mrs
    damaged nul.mrs "it is no state file: its header does not begin as one's; give files that mr map wrote"
    gzip -c whole.mrs >packed.mrs
    damaged packed.mrs "it is no state file: its header does not begin as one's; give files that mr map wrote"
}

@test "a state cut short or followed by more: 6, with the byte" {
    local size n where
    size=$(stat -L -c %s whole.mrs)
    for n in 64 100 383 384 385 $((size / 2)) $((size - 1)); do
        head -c "$n" whole.mrs >cut.mrs
        case $n in
        64 | 100 | 383) where='its header' ;;
        384 | 385) where='section USER' ;;
        $((size - 1))) where='section SKET' ;;
        *) where='section ????' ;;
        esac
        damaged cut.mrs "it is cut short in $where: only $n of $size bytes are there; wait until it has been copied, or copy it again from where it was made"
    done
    cat whole.mrs 1.mrs >more.mrs
    damaged more.mrs '*bytes follow its end; copy it again from where it was made'
}

@test "a changed bit anywhere in a state is found: 6, with the section" {
    local size at i
    size=$(stat -L -c %s whole.mrs)
    for at in 8 12 16 31 32 40 63 64 100 383; do
        cp whole.mrs bad.mrs
        flip bad.mrs "$at"
        run mr reduce bad.mrs
        [ "$status" -eq 6 ]
        [[ $output == "mr: cannot use 'bad.mrs' at byte "* ]]
    done
    for ((i = 0; i < 40; i++)); do
        at=$((384 + (size - 384) * i / 40))
        cp whole.mrs bad.mrs
        flip bad.mrs "$at" $((1 << i % 8))
        run mr reduce -j $((1 + i % 3)) bad.mrs 1.mrs
        [ "$status" -eq 6 ]
        [[ $output =~ ^mr:\ cannot\ use\ \'bad.mrs\'\ at\ byte\ [0-9]+:\ (block\ [0-9]+\ of\ )?section\ [A-Z]{4}\ is\ damaged:\ its\ checksum\ differs\;\ copy\ it\ again\ from\ where\ it\ was\ made$ ]]
    done
}

@test "damage in what is not read of a superseded state: 0, but 6 by mr inspect" {
    cp whole.mrs bad.mrs
    flip bad.mrs "$(od -An -tu8 -j $((64 + 8)) -N 8 bad.mrs | tr -d ' ')"
    mr reduce -q --format csv whole.mrs >want
    # Of equal ones the first path stays, and is read.
    run mr reduce bad.mrs whole.mrs
    [ "$status" -eq 6 ]
    mv bad.mrs x-bad.mrs
    run --separate-stderr mr reduce --format csv whole.mrs x-bad.mrs
    [ "$status" -eq 0 ]
    [ "$output" = "$(cat want)" ]
    [[ $stderr == *'1 superseded state is left out'* ]]
    run mr inspect x-bad.mrs
    [ "$status" -eq 6 ]
    [[ $output == *"'x-bad.mrs'"*'section USER is damaged'* ]]
    # What is read of every state is checked in any.
    flip x-bad.mrs -1
    run mr reduce whole.mrs x-bad.mrs
    [ "$status" -eq 6 ]
    grep -q 'users, ids of duplicates or events of segments of a state' "$MR_SOURCE/docs/faults.md"
}

# restamp FILE: Make the checksum of the header right again.
restamp() {
    local n sum
    n=$(od -An -tu4 -j 12 -N 4 "$1")
    sum=$({
        head -c 56 "$1"
        tail -c +65 "$1" | head -c $((n * 40))
    } | xxhsum -H1 | cut -c1-16)
    printf '%b' "$(fold -w 2 <<<"$sum" | tac | sed 's/^/\\x/' | tr -d '\n')" |
        dd of="$1" bs=1 seek=56 conv=notrunc status=none
}

@test "a state of a newer version: 6, and which versions there are" {
    need xxhsum
    # The checksum is computed right: of an unchanged file it is the same.
    cp whole.mrs new.mrs
    restamp new.mrs
    cmp new.mrs whole.mrs
    printf '\x03' | dd of=new.mrs bs=1 seek=8 conv=notrunc status=none
    restamp new.mrs
    run mr reduce new.mrs
    [ "$status" -eq 6 ]
    [ "$output" = "mr: cannot use 'new.mrs' at byte 8: its header has format version 3, and this mr reads version 2; use a newer mr" ]
}

@test "a forged table, with its checksum right, is refused all the same" {
    need xxhsum
    local entry at
    # Each field of each section's entry: id, flags, offset, lengths, sum.
    for entry in 0 1 2 3 4 5 6 7; do
        for at in 0 4 8 16 24 31 32; do
            cp whole.mrs bad.mrs
            flip bad.mrs $((64 + entry * 40 + at)) 64
            restamp bad.mrs
            run mr reduce bad.mrs
            [ "$status" -eq 6 ] || {
                echo "entry $entry, byte $at: $status, $output"
                false
            }
            [[ $output == "mr: cannot use 'bad.mrs'"* ]]
        done
    done
}

@test "without states there is nothing to reduce: 2" {
    mkdir empty
    run mr reduce empty
    [ "$status" -eq 2 ]
    [ "$output" = "mr: cannot look for states in 'empty': there is no state file (*.mrs) in this folder or below it; run mr map first" ]
    run mr reduce lake
    [ "$status" -eq 2 ]
    run mr reduce whole.mrs nowhere.mrs
    [ "$status" -eq 2 ]
    [ "$output" = "mr: cannot look for states in 'nowhere.mrs': no such file or folder; check the path, or name a folder that holds states" ]
    mkdir dangling
    ln -s nowhere.mrs dangling/link.mrs
    run mr reduce dangling
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot use 'dangling/link.mrs': No such file or directory; check that it is there, and rerun" ]
    mkfifo pipe
    for state in pipe /dev/null; do
        run mr reduce "$state"
        [ "$status" -eq 2 ]
        [ "$output" = "mr: cannot use '$state': it is not a regular file; copy it to a file first" ]
    done
    run mr inspect empty
    [ "$status" -eq 2 ]
}

@test "a state without permission: 5" {
    [ "$(id -u)" -ne 0 ] || need setpriv
    mkdir shut
    cp whole.mrs shut/s.mrs
    chmod 000 shut/s.mrs
    run powerless "$MR" reduce shut
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot use 'shut/s.mrs': Permission denied; check its permissions" ]
    chmod 000 shut
    run powerless "$MR" reduce shut
    chmod 755 shut
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot look for states in 'shut': Permission denied; check its permissions" ]
}

@test "the same state twice counts once, and what others have is left out" {
    figures whole.mrs >once
    run --separate-stderr mr reduce --format csv whole.mrs ./whole.mrs whole.mrs
    [ "$status" -eq 0 ]
    cmp once - <<<"$output"
    mkdir shared
    cp whole.mrs shared/one.mrs
    cp whole.mrs shared/two.mrs
    cp 1.mrs shared
    run --separate-stderr mr reduce --format csv shared
    cmp once - <<<"$output"
    [ "$stderr" = "mr: note: 2 superseded states are left out: others have all that they have; 'mr inspect' tells which" ]
    # What is printed and written does not tell whether there were any.
    mr reduce -q -o with shared >/dev/null
    mr reduce -q -o without whole.mrs >/dev/null
    diff -r with without
    # Of two that have something in common each counts.
    mr reduce -q --merged 12.mrs 1.mrs 2.mrs >/dev/null
    mr reduce -q --merged 23.mrs 2.mrs 3.mrs >/dev/null
    run --separate-stderr mr reduce --format csv 12.mrs 23.mrs 2.mrs
    cmp once - <<<"$output"
    [ "${stderr_lines[0]}" = "mr: note: 1 superseded state is left out: others have all that it has; 'mr inspect' tells which" ]
    [ "${stderr_lines[1]}" = 'mr: note: a partition was met again in another state 1 time; each counts once' ]
    [ "${#stderr_lines[@]}" -eq 2 ]
}

@test "one name with two contents is noted, and both count" {
    cp -r "$BATS_FILE_TMPDIR/lake" other
    event 1709337600000 ann >>other/day=2024-03-02/a.json
    mr map -q -o other.mrs other
    run --separate-stderr mr reduce --format csv whole.mrs other.mrs
    [ "$status" -eq 0 ]
    [[ $stderr == *'mr: note: 1 name'*' of different bytes, all of which were counted'* ]]
    [ "$(sed -n 3p <<<"$output" | cut -d, -f2)" -eq $((801 + 802)) ]
}

@test "where nothing can be written: 5, no room: 7, and no KPIs are printed" {
    [ "$(id -u)" -ne 0 ] || need setpriv
    mkdir shut folder.mrs
    chmod 555 shut
    : >file
    for option in '-o shut' '-o shut/deeper' '--merged shut/m.mrs' '-o file' \
        '--merged nowhere/m.mrs' '--merged folder.mrs'; do
        # shellcheck disable=SC2086
        run --separate-stderr powerless "$MR" reduce $option whole.mrs
        [ "$status" -eq 5 ]
        [ "$output" = '' ]
        [[ $stderr == "mr: cannot write '${option#* }': "* ]]
    done
    # The file is told, not just the folder that it would be in.
    mkdir -p kpis/rejects.csv
    run --separate-stderr mr reduce -o kpis whole.mrs
    [ "$status" -eq 5 ]
    [ "$stderr" = "mr: cannot write 'kpis/rejects.csv': rename: Is a directory; choose another name" ]
    run bash -c 'ulimit -f 1; "$MR" reduce --merged m.mrs whole.mrs'
    [ "$status" -eq 7 ]
    [ "$output" = "mr: cannot write 'm.mrs': File too large; write elsewhere, or raise the limit of file size (ulimit -f)" ]
    [ "$(find . -name '.mr-tmp*')" = '' ] && [ ! -e m.mrs ]
}

@test "more states than files may be open" {
    mkdir many
    local i
    for i in $(seq 60); do
        event $((1709251200000 + i)) "u$i" >one.json
        mr map -q -o many one.json >/dev/null
    done
    run bash -c 'ulimit -Sn 40; "$MR" reduce -q --format csv many'
    [ "$status" -eq 0 ]
    [ "$(sed -n 2p <<<"$output" | cut -d, -f2,4)" = 60,60 ]
    run bash -c 'ulimit -n 40; "$MR" reduce -q --format csv many'
    [ "$status" -eq 0 ]
    [ "$(sed -n 2p <<<"$output" | cut -d, -f2,4)" = 60,60 ]
    # Where the system does not allow even some, the message says so.
    run bash -c 'ulimit -n 8; "$MR" reduce -q --format csv many'
    [ "$status" -eq 5 ]
    [[ $output == "mr: cannot use 'many/"*".mrs': Too many open files; raise the limit of open files (ulimit -n), or merge some first" ]]
}

@test "--quiet says nothing, and standard output is data only" {
    cp whole.mrs copy.mrs
    local format
    for format in table csv json; do
        run --separate-stderr mr reduce -q --format $format whole.mrs copy.mrs
        [ "$status" -eq 0 ]
        [ "$stderr" = '' ]
        [[ $output != *mr:* ]]
    done
}

@test "the table fits terminals of 40, 80 and 120 columns" {
    need script
    local width
    mr reduce -q whole.mrs >full
    for width in 40 80 120; do
        script -qec "stty cols $width; '$MR' reduce -q whole.mrs" /dev/null \
            </dev/null | tr -d '\r' >table
        [ "$(awk -v w=$width '/^(day|2024)/ && length($0) > w' table)" = '' ]
        # Every figure is there, whichever the part it stands in.
        for day in 2024-03-01 2024-03-02 2024-03-03; do
            [ "$(awk -v d=$day '$1 == d { for (i = 2; i <= NF; i++) print $i }' table | xargs)" = \
                "$(awk -v d=$day '$1 == d { for (i = 2; i <= NF; i++) print $i }' full | xargs)" ]
        done
    done
    cmp table full
}

@test "what came from events cannot steer the terminal" {
    printf '{"data":{"id":"a","type":"esc\\u001b[31m\\u009b\\n","attributes":{}},"meta":{"created_at":1709251200000}}\n' >a.json
    mr map -q -o s.mrs a.json
    local command
    for command in 'reduce' 'reduce --format csv' 'reduce --format json' \
        'inspect' 'inspect --format json'; do
        # shellcheck disable=SC2086
        run mr $command s.mrs
        [ "$status" -eq 0 ]
        absent grep -qP '[\x00-\x09\x0b-\x1f\x7f]' <<<"$output"
    done
    mr reduce -q -o kpis s.mrs >/dev/null
    python3 - <<'PY'
import csv
with open("kpis/daily_by_type.csv", newline="", encoding="utf-8") as f:
    assert [r["type"] for r in csv.DictReader(f)] == ["esc\x1b[31m\x9b\n"]
PY
}

@test "tables of an earlier run in the folder are told of" {
    small_lake lake
    mr map -q -o s.mrs lake
    run mr reduce -o k --retention 1 s.mrs
    [ "$status" -eq 0 ]
    [[ $output != *'not of this run'* ]]
    run mr reduce -o k s.mrs
    [ "$status" -eq 0 ]
    [[ $output == *"note: 'k/retention.csv' is not of this run: remove what is of an earlier one"* ]]
    touch k/a.csv k/b.txt
    run mr reduce -o k s.mrs
    [[ $output == *"note: 'k/a.csv' and others there are not of this run"* ]]
    run mr reduce -q -o k s.mrs
    [[ $output != *'not of this run'* ]]
    rm k/a.csv k/retention.csv
    run mr reduce -o k s.mrs
    [[ $output != *'not of this run'* ]]
}

@test "of users tables that differ the difference is told" {
    local k
    event '2024-03-01 10:00' ann >t.json
    for k in 1 2; do
        printf 'id,plan\nann,free%s\n' "$k" >"t$k.csv"
        cat >"t$k.yaml" <<YAML
format: json
id: data.id
type: data.type
time: meta.created_at
time_format: epoch_ms
user: data.attributes.user_id
users_table: {file: t$k.csv, id: id, csv: {header: true}}
YAML
        mr map -q --spec "t$k.yaml" -o "t$k.mrs" t.json
    done
    run -6 mr reduce t1.mrs t2.mrs
    [[ $output == *'users_table: ... digest: "'*'} here, ... digest: "'*'} there; map all partitions with one spec, or reduce these states apart' ]]
}

@test "a merged state needs a name that ends as states do" {
    event '2024-03-01 10:00' ann >m.json
    mr map -q -o m.mrs m.json
    local name
    for name in foo foo.mrs/ foo.csv ''; do
        run -2 mr reduce --merged "$name" m.mrs
        [[ $output == *"'--merged' cannot be '$name'"* ]]
        [ ! -e "${name%/}" ]
    done
}

@test "no duplicates, give or take a half, are 0 without a sign" {
    local id
    printf 'duplicates: {max_ids: 2}\n' >s.yaml
    # The hashes of 7, 10 and 4 are 0.095, 0.294 and 0.567 of 2^64, so that
    # 1 / 0.294 = 3.4 ids are estimated of three.
    for id in 7 10 4; do
        printf '{"data":{"id":"%s","type":"t","attributes":{}},"meta":{"created_at":1}}\n' $id
    done >e.json
    mr map -q --spec s.yaml -o s.mrs e.json
    mr reduce -q -o out s.mrs >/dev/null
    grep -qx '1,1970-01-01,3,3,0,0,0,estimate,complete' out/duplicates.csv
    grep -q '"duplicates": 0, "low": 0, "high": 0, "kind": "estimate"' out/kpis.json
}
