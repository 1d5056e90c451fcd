# mr init: what it proposes works unchanged.

load helper

# proposed FILE...: The spec that init proposes is right, and reads every record
# of the files as an event; it stands in spec.yaml.
proposed() {
    mr init -q -o spec.yaml "$@"
    mr spec check spec.yaml
    mr map -q --spec spec.yaml --max-bad 0 -o state.mrs "$@"
    mr reduce -q --format csv state.mrs >daily.csv
}

# says KEY VALUE: The spec has this line, whatever comment stands behind it.
says() {
    sed 's/  *#.*//' spec.yaml | grep -qxF -- "$1: $2" || {
        cat spec.yaml
        return 1
    }
}

@test "the shape of the default spec is recognised" {
    small_lake lake
    run --separate-stderr mr init lake
    [ "$status" -eq 0 ]
    [[ $output == *"built-in spec 'lake'"* ]]
    [[ $stderr == *"built-in spec 'lake'"* ]]
    echo "$output" >spec.yaml
    mr map -q --spec spec.yaml -o a.mrs lake
    mr map -q -o b.mrs lake
    cmp a.mrs b.mrs
}

@test "JSON Lines with names that others use" {
    cat >a.json <<'END'
{"eventId":"a-1","eventName":"open","ts":1709294400,"actor":{"user":{"id":"u1"}},"page":{"url":"https://x.org/a"}}
{"eventId":"a-2","eventName":"close","ts":1709294401,"actor":{"user":{"id":"u2"}}}
{"eventId":"a-3","eventName":"open","ts":1709294402,"anonymous_id":"zz","id":7}
END
    gzip a.json
    proposed a.json.gz
    says id eventId
    says type eventName
    says time ts
    says time_format epoch_s
    says user '[actor.user.id, anonymous_id]'
    says url page.url
    [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,3,0,3 ]
}

@test "epochs are told by their magnitude" {
    local unit zeros=
    for unit in s ms us ns; do
        printf '{"id":"%s","type":"x","time":1709294400'"$zeros"',"user":"u"}\n' 1 2 >t.json
        proposed t.json
        says time_format "epoch_$unit"
        [ "$(sed -n 2p daily.csv | cut -d, -f1-2)" = 2024-03-01,2 ]
        printf '{"id":"%s","type":"x","time":"1709294400'"$zeros"'","user":"u"}\n' 1 2 >t.json
        proposed t.json
        says time_format "epoch_$unit"
        zeros+=000
    done
}

@test "CSV with a header, of another delimiter, with NULL words" {
    cat >c.csv <<'END'
Event ID;Action;Time Stamp;User-Id;note
e1;view;2024-03-01 10:00:00;u1;"a; ""b"""
e2;click;2024-03-01 10:00:01;NULL;"two
lines"
e3;view;2024-03-01 10:00:02;\N;-
e4;view;2024-03-01 10:00:03;u1;
END
    proposed c.csv
    says format csv
    says '  delimiter' "';'"
    says '  quote' "'\"'"
    says '  header' true
    says '  nulls' "['-', 'NULL', '\\N']"
    says id "'Event ID'"
    says user "'User-Id'"
    [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,4,2,1 ]
}

@test "a header with a column that has no name, or the name of another" {
    # As data frames write their index.
    cat >i.csv <<'END'
,event_id,event,timestamp,user_id
0,e1,view,2024-03-01 10:00:00,u1
1,e2,click,2024-03-01 10:01:00,u2
2,e3,view,2024-03-01 10:02:00,u1
END
    sed 's/[^,]*/"&"/g' i.csv >q.csv
    # A delimiter at each line's end; a join, of which the first counts.
    sed 's/^[^,]*,//; s/$/,/' i.csv >e.csv
    sed 's/^[^,]*,//; 1s/$/,event_id/; 2,$s/$/,7/' i.csv >j.csv
    for file in i.csv q.csv e.csv j.csv; do
        proposed $file
        says '  header' true
        says id event_id
        says type event
        says time timestamp
        says user user_id
        [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,3,0,2 ]
    done
    # A row of values, of which some are missing, names nothing.
    sed '1s/.*/4,e4,view,,/' i.csv >n.csv
    mr init -q -o spec.yaml n.csv || [ $? -eq 1 ]
    says '  header' false
    # Nor does one with words of which one might be a name.
    printf '%s\n' ,page,x ,page,y ,view,x ,view,z >w.csv
    mr init -q -o spec.yaml w.csv || [ $? -eq 1 ]
    says '  header' false
}

@test "names that a spec cannot say" {
    # As spreadsheets break lines in a head.
    cat >l.csv <<'END'
event_id,action,"event
time",user_id
e1,view,2024-03-01 10:00:00,u1
e2,click,2024-03-01 10:01:00,u2
END
    proposed l.csv
    says time 3
    says user user_id
    [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,2,0,2 ]
    # A byte order mark from the middle of files that were put together.
    printf '%s\n' $'event_id,action,\ufeffat,user_id' \
        'e1,view,2024-03-01 10:00:00,u1' 'e2,click,2024-03-01 10:01:00,u2' >m.csv
    proposed m.csv
    says time 3
    [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,2,0,2 ]
    # That would be one type for all events.
    printf '{"=":{"type":"%s"},"time":5000000000,"uid":7}\n' x y >t.json
    mr init -q -o spec.yaml t.json || [ $? -eq 1 ]
    says type "''"
}

@test "CSV without a header: columns by what stands in them" {
    awk 'BEGIN { for (i = 0; i < 40; i++)
        printf "u%d,2024-03-01T10:%02d:00Z,%s,%s-%d,https://a.b/c%d\n",
            i % 7, i, i % 3 ? "view" : "click", "k", i, i }' >n.csv
    proposed n.csv
    says '  header' false
    says id 4
    says type 3
    says time 2
    says time_format iso8601
    says user 1
    says url 5
    [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,40,0,7 ]
}

@test "rows that begin with a bracket are no JSON" {
    awk 'BEGIN { for (i = 10; i < 50; i++)
        printf "{%04x-a1},%s,2024-03-01 10:%02d:00,u%d\n",
            i, i % 3 ? "view" : "click", i, i % 7 }' >g.csv
    proposed g.csv
    says format csv
    says type 2
    says time 3
    printf '%s\n' '[event_id]	[action]	[time]	[user]' \
        'e1	a	2024-03-01	u' 'e2	b	2024-03-01	v' >b.tsv
    mr init -q -o spec.yaml b.tsv || [ $? -eq 1 ]
    says format tsv
    says '  header' true
}

@test "TSV, single quotes, backslashes, blanks behind commas" {
    printf 'type\tuser_id\ttime\nx\tu1\t2024-03-01\ny\tu2\t2024-03-02\n' >t.tsv
    proposed t.tsv
    says format tsv
    says type type
    cat >s.csv <<'END'
kind, uid, at, text
'open', 'u1', '2024-03-01 10:00', 'it\'s, so'
'open', 'u2', '2024-03-01 11:00', 'a\'b'
END
    proposed s.csv
    says '  quote' "\"'\""
    says '  escape' backslash
    says '  skip_spaces' true
    [ "$(sed -n 2p daily.csv | cut -d, -f1-4)" = 2024-03-01,2,0,2 ]
}

@test "other arrangements of JSON are told" {
    printf '{"id":"%s","type":"x","at":"2024-01-01T00:00:00Z","uid":7}' 1 2 3 >v.json
    mr init -q -o spec.yaml v.json
    says format json-values
    mr spec check spec.yaml
    { echo '{"meta":{"n":2},"Records":['; printf '{"id":"1","type":"x",\n"at":"2024-01-01T00:00:00Z","uid":7},{"id":"2","type":"x","at":"2024-01-02"}\n]}'; } >r.json
    mr init -q -o spec.yaml r.json
    says format json-array
    says records Records
    says time at
    mr spec check spec.yaml
    echo '[ {"id":"1","type":"x","at":"2024-01-01T00:00:00Z","uid":7} ]' >a.json
    mr init -q -o spec.yaml a.json
    says format json-array
    says records "''"
    # One event that has a list of its own.
    echo '{"id":"1","type":"x","at":"2024-01-01T00:00:00Z","uid":7,"items":[{"n":1}]}' >l.json
    proposed l.json
    says format json
}

@test "times that say neither day nor month first are told of" {
    printf '{"id":"%s","type":"x","time":"0%s/03/2024 10:00:00","user":"u"}\n' 1 1 2 2 >d.json
    run --separate-stderr mr init -o spec.yaml d.json
    [ "$status" -eq 0 ]
    line=$(sed -n 's/.*change line \([0-9]*\) to.*/\1/p' <<<"$stderr")
    [[ $(sed -n "${line}p" spec.yaml) == "time_format: '%d/%m/%Y %H:%M:%S'" ]]
    [[ $stderr == *"'%m/%d/%Y %H:%M:%S'" ]]
    grep -q "^# the month, change the next line to '%m/%d/%Y %H:%M:%S'" spec.yaml
    # Values that do say it.
    sed -i '1s,01/03,21/03,' d.json
    run --separate-stderr mr init -o spec.yaml d.json
    [ -z "$stderr" ]
    says time_format "'%d/%m/%Y %H:%M:%S'"
    sed -i 's,\(..\)/03/2024,03/\1/2024,' d.json
    run --separate-stderr mr init -o spec.yaml d.json
    [ -z "$stderr" ]
    says time_format "'%m/%d/%Y %H:%M:%S'"
    proposed d.json
}

@test "times with a zone of their own, as programs print them" {
    local form time
    while IFS='|' read -r form time; do
        printf '{"id":"%s","type":"x","time":"'"$time"'","user":"u"}\n' 1 2 3 >d.json
        proposed d.json
        says time_format "'$form'"
        # All of them are the same moment.
        [ "$(mr rows -q --spec spec.yaml d.json | sed -n 2p)" = 1,2024-02-28T09:05:06.000Z,x,u ]
    done <<'END'
%Y-%m-%d %H:%M:%S %z|2024-02-28 10:05:06 +0100
%Y-%m-%d %H:%M:%S.%f %z|2024-02-28 10:05:06.000 +01:00
%Y-%m-%d %H:%M:%S %Z|2024-02-28 09:05:06 UTC
%d/%b/%Y:%H:%M:%S %z|28/Feb/2024:10:05:06 +0100
%a, %d %b %Y %H:%M:%S %z|Wed, 28 Feb 2024 08:05:06 -0100
%a, %d %b %Y %H:%M:%S %Z|Wed, 28 Feb 2024 09:05:06 GMT
%a %b %d %H:%M:%S %z %Y|Wed Feb 28 09:05:06 +0000 2024
%a %b %d %H:%M:%S %Z %Y|Wed Feb 28 09:05:06 UTC 2024
END
}

@test "clickstream is recognised, and its times are told of" {
    for i in 1 2 3; do
        echo '{"event_id":"e'$i'","timestamp":"02/02/2017 20:22:0'$i'","url":"http://hipages.com/articles","user":{"id":5},"action":"page_view"}'
    done >c.json
    run --separate-stderr mr init -o spec.yaml c.json
    [ "$status" -eq 0 ]
    [[ $stderr == *'whether the day or the month'* ]]
    [[ $stderr == *"'clickstream'"* ]]
    line=$(sed -n 's/.*change line \([0-9]*\) to.*/\1/p' <<<"$stderr")
    [[ $(sed -n "${line}p" spec.yaml) == time_format:* ]]
    mr rows -q --spec spec.yaml c.json >a
    mr rows -q --spec clickstream c.json >b
    cmp a b
}

@test "the other shapes that are known" {
    awk 'BEGIN { for (i = 0; i < 30; i++)
        printf "\"%08x\",\"2016-01-31 23:59:%02d\",\"\",\"a%x\",\"b%x\",\"http://x.org/%d\"\n",
            i * 7919 + 1000000, i, i, i % 9, i }' >p.csv
    mr init -q p.csv | grep -q "'snowplow-pageviews'"
    awk 'BEGIN { for (i = 0; i < 30; i++) printf "%s\x27%d\x27, \x27%d\x27, \x27%s\x27, \x272021-03-01 10:00:%02d\x27",
            i ? "\n" : "", i, i % 9, i % 2 ? "VIEW" : "CLICK", i }' >i.csv
    mr init -q i.csv | grep -q "'interactions'"
    awk 'BEGIN { text[1] = "site"; for (i = 0; i < 9; i++) {
        text[7] = "ev-" i; text[13] = "u" i % 3; text[30] = "https://x.org/" i
        text[125] = "2021-03-01 10:00:0" i ".123"
        text[127] = i % 2 ? "page_view" : "page_ping"
        for (c = 1; c <= 131; c++) printf "%s%s", text[c], c < 131 ? "\t" : "\n" } }' >e.tsv
    mr init -q e.tsv | grep -q "'snowplow-enriched'"
}

@test "as many columns as a known shape has do not make one of it" {
    awk 'BEGIN { for (i = 0; i < 40; i++)
        printf "e%06d,2024-03-01 10:%02d:00,u%d,%s,%d.5,https://x.org/%d\n",
            i * 7, i, i % 9, i % 3 ? "view" : "cart", i, i % 5 }' >p.csv
    proposed p.csv
    says type 4
    says user 3
    says url 6
    # No type can be told, but there is no URL, either.
    awk 'BEGIN { for (i = 0; i < 40; i++)
        printf "e%06d,2024-03-01 10:%02d:00,u%d,k%d,%d.5,%d\n",
            i * 7, i, i % 9, i % 8, i, i % 5 }' >q.csv
    run -1 --separate-stderr mr init q.csv
    [[ $output == *"type: ''"* ]]
}

@test "what cannot be told is to be filled in" {
    printf 'a,b\n1,2\n' >n.csv
    run --separate-stderr mr init -o spec.yaml n.csv
    [ "$status" -eq 1 ]
    [[ $stderr == *'cannot tell from these records: type, time, user'* ]]
    [ "$(grep -c 'FILL IN' spec.yaml)" -eq 3 ]
    run mr spec check spec.yaml
    [ "$status" -eq 2 ]
    echo 'just words' >z
    run mr init z
    [ "$status" -eq 2 ]
    [[ $output == *"'z' is neither JSON nor"* ]]
    : >empty
    run mr init empty
    [ "$status" -eq 2 ]
    [[ $output == *'there is nothing in'* ]]
    # What cannot even be looked at may well have something in it.
    mkdir lake
    ln -s nowhere lake/link
    run mr init lake empty
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot read 'link': No such file or directory; make it readable, or name another file that has events in it" ]
    event '2024-03-01 10:00' ann >lake/a.json
    mr init -q lake >/dev/null
}

@test "a file that cannot be read is left out, unless there is no other" {
    small_lake lake
    printf '\x1f\x8b\x08' >lake/a.gz
    run --separate-stderr mr init lake
    [ "$status" -eq 0 ]
    [[ $output == *"built-in spec 'lake'"* ]]
    [[ $stderr == *"mr: note: cannot read 'lake/a.gz' at byte 3: truncated gzip member; "* ]]
    cp lake/a.gz b.gz
    run --separate-stderr mr init lake/a.gz b.gz
    [ "$status" -eq 6 ]
    [ -z "$output" ]
    [[ $stderr == *"mr: cannot read 'b.gz' at byte 3: truncated gzip member; "* ]]
    run mr init b.gz
    [ "$status" -eq 6 ]
    [ "${#lines[@]}" -eq 1 ]
    # Members before the damage of an archive are as good.
    events 9 >one.json
    events 9 10 >two.json
    tar -cf both.tar one.json two.json
    truncate -s 3000 both.tar
    run --separate-stderr mr init both.tar
    [ "$status" -eq 0 ]
    [[ $stderr == *"mr: note: cannot read 'both.tar/two.json' at byte "* ]]
}

@test "text of a file ends no comment and steers no terminal" {
    printf '{"id":"%s","type":"a\\nzone: X","time":1709294400,"user":"\\u001b[1m"}\n' 1 2 >a.json
    proposed a.json
    absent grep -q '^zone: X' spec.yaml
    absent grep -q $'\e' spec.yaml
    # What YAML takes for the end of a line, or does not allow.
    printf '{"id":"%s","type":"a\u2028zone: X","time":1709294400,"user":"u"}\n' 1 2 >a.json
    proposed a.json
    printf '{"id":"%s","type":"\ufeffa","time":1709294400,"user":"u"}\n' 1 2 >a.json
    proposed a.json
}

@test "only the beginning of large files is read" {
    events 200000 >a.json
    proposed a.json
    head -c 3000000 /dev/zero | gzip >zeros.gz
    run mr init zeros.gz
    [ "$status" -eq 2 ]
}
