# mr rows: what is printed of events, and when.

load helper

clicks() {
    cat <<'END'
{"event_id":"e1","timestamp":"02/02/2017 20:22:00","url":"http://hipages.com/articles","user":{"id":564561},"action":"page_view"}
{"event_id":"e2","timestamp":"02/02/2017 20:23:00","url":"hipages.com/connect/sfobusiness?x=1","user":{"id":564561},"action":"button_click"}
END
}

@test "clickstream's rows are the flat table of its columns" {
    clicks >clicks.json
    mr rows -q --spec clickstream clicks.json >rows.csv
    cat >expected <<'END'
user_id,time_stamp,url_level1,url_level2,url_level3,activity
564561,02/02/2017 20:22:00,hipages.com,articles,,page_view
564561,02/02/2017 20:23:00,hipages.com,connect,sfobusiness,button_click
END
    cmp rows.csv expected
    mr rows -q --format tsv --spec clickstream clicks.json >rows.tsv
    grep -qxF $'564561\t02/02/2017 20:22:00\thipages.com\tarticles\t\\N\tpage_view' rows.tsv
}

@test "a spec without rows has id, time, type, user and its rollups' fields" {
    event '2024-03-01 10:00' ann >a.json
    mr rows -q a.json >rows
    [ "$(sed -n 1p rows)" = 'id,time,type,user' ]
    [ "$(sed -n 2p rows)" = 'e-1709287200000-ann,2024-03-01T10:00:00.000Z,click,ann' ]
    cat >two.yaml <<'END'
rollups:
  - {name: a, by: [hour, {time: data.id}, type]}
  - {name: b, by: [hour, day, {time: path.shop}]}
END
    mkdir shop=7
    mv a.json shop=7
    mr rows -q --spec two.yaml shop=7 >rows
    [ "$(sed -n 1p rows)" = 'id,time,type,user,hour,time_2,day,time_3' ]
    [[ $(sed -n 2p rows) == *',2024030110,e-1709287200000-ann,2024-03-01,7' ]]
}

@test "no value and an empty one are told apart" {
    cat >s.yaml <<'END'
attributes: ''
id: ''
type: '=t'
time: t
user: u
rows: [u, {x: v}]
END
    printf '%s\n' '{"t":1,"u":"","v":null}' '{"t":1,"v":false}' '{"t":1,"u":1,"v":[1]}' >e.json
    [ "$(mr rows -q --spec s.yaml e.json)" = $'u,x\n"",\n,false\n1,' ]
    [ "$(mr rows -q --spec s.yaml --format tsv e.json)" = $'u\tx\n\t\\N\n\\N\tfalse\n1\t\\N' ]
    [ "$(mr rows -q --spec s.yaml --format jsonl e.json)" = '{"u":"","x":null}
{"u":null,"x":false}
{"u":1,"x":null}' ]
}

@test "a partition that cannot be read to its end prints nothing" {
    mkdir lake
    events 20000 | gzip >lake/a.json.gz
    head -c 100000 lake/a.json.gz >lake/b.json.gz
    echo nonsense | gzip | head -c 20 >lake/c.json.gz
    events 5 30001 >lake/d.json
    for threads in 1 2 7; do
        run --separate-stderr mr rows -j $threads -o "out$threads.csv" --rejects bad lake
        [ "$status" -eq 3 ]
        [[ $stderr == *"cannot read 'b.json.gz' at byte"*"truncated gzip"* ]]
        [[ $stderr == *'PARTIAL: 2 partitions'* ]]
        [ "$(wc -l <"out$threads.csv")" -eq 20006 ]
        [ ! -s bad ]
    done
    cmp out1.csv out2.csv
    cmp out1.csv out7.csv
}

@test "an archive with a damaged member prints the others" {
    need tar
    mkdir in
    events 3 >in/a.json
    events 20000 7 | gzip | head -c 50000 >in/b.json.gz
    events 2 50001 >in/c.json
    tar cf in.tar -C in a.json b.json.gz c.json
    run --separate-stderr mr rows in.tar
    [ "$status" -eq 3 ]
    [ "${#lines[@]}" -eq 6 ]
    [[ ${lines[5]} == e50002,* ]]
}

@test "rows that do not fit into memory come in order all the same" {
    mkdir lake
    events 120000 >lake/a.json
    events 1000 200001 | gzip >lake/b.json.gz
    mkdir tmp
    TMPDIR=$PWD/tmp mr rows -q -j 3 lake >rows
    [ -z "$(ls -A tmp)" ]
    cut -d, -f1 rows | tail -n +2 >ids
    cmp ids <(seq -f 'e%.0f' 1 120000; seq -f 'e%.0f' 200001 201000)
    # The temporary files are made where they are wanted.
    run --separate-stderr env TMPDIR="$PWD/nowhere" "$MR" rows lake
    [ "$status" -eq 5 ]
    [[ $stderr == *nowhere* ]]
}

@test "the same bytes are printed once, by the first of their names" {
    mkdir lake
    events 3 >lake/a.json
    cp lake/a.json lake/c.json
    events 1 7 >lake/b.json
    run --separate-stderr mr rows -j 2 lake
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 5 ]
    [[ ${lines[4]} == e7,* ]]
    [[ $stderr == *'1 partition left out'* ]]
}

@test "rejected lines go to a file, and too many of them are told" {
    { event '2024-03-01 10:00' ann; echo nope; } >a.json
    run --separate-stderr mr rows --rejects bad.jsonl --max-bad 10 a.json
    [ "$status" -eq 4 ]
    [ "${#lines[@]}" -eq 2 ]
    [[ $stderr == *"'mr rows --rejects FILE'"* ]]
    grep -q '"reason":"json","partition":"a.json","line":2,' bad.jsonl
}

@test "an output file appears whole or not at all" {
    mkdir lake
    small_lake lake
    echo before >rows.csv
    run mr rows --spec nothing.yaml -o rows.csv lake
    [ "$status" -eq 2 ]
    [ "$(cat rows.csv)" = before ]
    mr rows -q -o rows.csv lake >out
    [ ! -s out ]
    [ "$(wc -l <rows.csv)" -eq 7 ]
    [ -z "$(find . -name '.mr-tmp*')" ]
}

@test "a reader that goes away ends it quietly" {
    events 50000 >a.json
    for i in 1 2 3 4 5 6; do events 2000 $((i * 100000)) >"b$i.json"; done
    {
        code=0
        mr rows ./*.json 2>err || code=$?
        echo "$code" >code
    } | head -n 1 >first
    [ "$(cat first)" = 'id,time,type,user' ]
    [ "$(cat code)" -eq 141 ]
    [ ! -s err ]
}

@test "columns are found by the header of each partition" {
    cat >s.yaml <<'END'
format: csv
id: ''
type: kind
time: at
time_format: epoch_s
user: who
rows: [kind, user, {when: {field: time, format: '%Y-%m-%d %H:%M'}}, note]
END
    printf '\n\nat,kind,who,note\n0,a,x,"1,5"\n' >1.csv
    printf 'note,who,kind,at\r\n"say ""so""",y,b,60' >2.csv
    printf 'who,kind,at\nz,c,120\n' >3.csv
    run --separate-stderr mr rows --spec s.yaml 1.csv 2.csv 3.csv
    [ "$status" -eq 3 ]
    [ "$output" = 'kind,user,when,note
a,x,1970-01-01 00:00,"1,5"
b,y,1970-01-01 00:01,"say ""so"""' ]
    [[ $stderr == *note* ]]
}

@test "formats and their names" {
    event '2024-03-01 10:00' ann >a.json
    run mr rows --format json a.json
    [ "$status" -eq 2 ]
    [[ $output == *'one of csv|tsv|jsonl'* ]]
    run mr reduce --format jsonl a.json
    [ "$status" -eq 2 ]
    [ "$(mr rows -q --format jsonl - <a.json)" = \
        '{"id":"e-1709287200000-ann","time":"2024-03-01T10:00:00.000Z","type":"click","user":"ann"}' ]
}

@test "an empty field of CSV is no value, quoted or not, as docs/csv.md says" {
    printf 'attributes: ""\nid: ""\ntype: t\ntime: at\nuser: u\nrows: [type, time, user, c]\nrollups: [{name: by_c, by: [c]}]\n' >json.yaml
    printf 'format: csv\nid: ""\ntype: type\ntime: time\ntime_format: iso8601\nuser: user\nrollups: [{name: by_c, by: [c]}]\n' >csv.yaml
    printf '{"t":"x","at":1000,"u":"ann"%s}\n' ',"c":""' ',"c":null' '' >events.json
    mr rows -q --spec json.yaml events.json >rows.csv
    [ "$(cut -d, -f4 rows.csv | paste -sd' ')" = 'c ""  ' ]
    mr map -q --spec json.yaml -o json.mrs events.json
    mr map -q --spec csv.yaml -o csv.mrs rows.csv
    mr reduce -q -o json json.mrs
    mr reduce -q -o csv csv.mrs
    [ "$(paste -sd' ' json/by_c.csv)" = 'c,events,users ,2,1 "",1,1' ]
    [ "$(paste -sd' ' csv/by_c.csv)" = 'c,events,users ,3,1' ]
    printf 'type,time,user,c\n,2024-03-01,ann,\n"",2024-03-01,ann,\nx,,ann,\n' >empty.csv
    mr map -q --spec csv.yaml --rejects rejects -o empty.mrs empty.csv
    [ "$(jq -r .reason rejects | paste -sd' ')" = 'malformed:type malformed:type malformed:time' ]
    grep -q '^| an empty field | no value, quoted or not,' "$MR_SOURCE/docs/csv.md"
}

@test "local times that clocks show twice or never" {
    cat >s.yaml <<'YAML'
id: ''
type: '=t'
attributes: ''
time: t
time_format: iso8601
time_zone: America/New_York
zone: America/New_York
user: u
rows: [time, hour, {s: {field: time, format: '%s'}}]
YAML
    printf '{"t":"%s"}\n' 2024-11-03T01:30:00 2024-11-03T01:30:00-05:00 \
        2024-03-10T02:30 20241103 2024-11-03T23:59:60Z >e.json
    [ "$(mr rows -q --spec s.yaml e.json | tail -n +2)" = \
"2024-11-03T01:30:00.000-04:00,2024110301,1730611800
2024-11-03T01:30:00.000-05:00,2024110301,1730615400
2024-03-10T03:30:00.000-04:00,2024031003,1710055800
2024-11-03T00:00:00.000-04:00,2024110300,1730606400
2024-11-03T19:00:00.000-05:00,2024110319,1730678400" ]
    printf '{"t":"%s"}\n' 2024-11-03T24:00 2024-W44-7 2024-308 2024-11-03T10 >bad.json
    run --separate-stderr mr rows --spec s.yaml bad.json
    [[ $stderr == *"4 rejected"* ]]
}
