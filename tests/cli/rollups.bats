#!/usr/bin/env bats
# Rollups, users' sources, the users table: what is kept and what is refused.

load helper

# One event a line: TYPE TIME USER.
lines() {
    while read -r type time user; do
        printf '{"data":{"id":"i","type":"%s","attributes":{"user_id":"%s"}},"meta":{"created_at":%s}}\n' \
            "$type" "$user" "$time"
    done
}

@test "groups past max_groups are one row, and their users count once there" {
    printf 'rollups:\n  - {name: small, by: [type], users: both, max_groups: 2}\n' >s.yaml
    mkdir lake
    # By XXH64 of the groups' texts (02 and the letter, as the xxhsum program
    # has it) they ascend c d b a e, so c and d are kept.
    lines >lake/one.json <<'END'
a 1000 u
b 2000 u
c 3000 u
d 4000 v
e 5000 w
a 6000 w
END
    mr map -q --spec s.yaml -o s.mrs lake
    mr reduce -q -o out s.mrs >/dev/null
    [ "$(grep -c further out/small.csv)" -eq 1 ]
    grep -qx 'c,1,1,1' out/small.csv
    grep -qx 'd,1,1,1' out/small.csv
    # Three types with four events of u and w.
    [[ $(grep further out/small.csv) == '(further),4,2,2'* ]]
    [ "$(wc -l <out/small.csv)" -eq 4 ]
}

@test "the head of a column is one, whatever it is called" {
    cat >s.yaml <<'END'
rollups:
  - {name: r, by: [{'a,b': type}], users: both, events_as: 'c,d', users_as: 'e,"f'}
END
    echo 'a 1000 u' | lines >one.json
    mr map -q --spec s.yaml -o s.mrs one.json
    mr reduce -q -o out s.mrs >/dev/null
    [ "$(head -n 1 out/r.csv)" = '"a,b","c,d","e,""f","e,""f_estimate"' ]
}

@test "groups of a partition that was not read to its end decide nothing" {
    local i kept=
    printf 'rollups:\n  - {name: small, by: [type], max_groups: 1}\n' >s.yaml
    mkdir lake
    for i in a b c d e f g h; do
        echo "$i 1000 u" | lines | gzip >"lake/$i.json.gz"
    done
    mr map -q --spec s.yaml -o all.mrs lake
    mr reduce -q -o out all.mrs >/dev/null
    kept=$(sed -n '2s/,.*//p' out/small.csv)
    # The one that was kept does not count.
    {
        zcat "lake/$kept.json.gz"
        awk -v t="$kept" 'BEGIN {
            srand(1)
            for (i = 0; i < 60000; i++)
                print t, i, rand()
        }' | lines
    } | gzip >whole.gz
    head -c $(($(wc -c <whole.gz) / 2)) whole.gz >"lake/$kept.json.gz"
    run mr map -q -j 1 --spec s.yaml -o part.mrs lake
    [ "$status" -eq 3 ]
    mv "lake/$kept.json.gz" broken.gz
    mr map -q --spec s.yaml -o rest.mrs lake
    run mr reduce -q -o part part.mrs
    [ "$status" -eq 3 ]
    mr reduce -q -o rest rest.mrs
    cut -d , -f 1-3 part/small.csv | diff - <(cut -d , -f 1-3 rest/small.csv)
    [ "$(wc -l <rest/small.csv)" -eq 3 ]
    # Nor has it taken anything away, once it is whole.
    cp whole.gz "lake/$kept.json.gz"
    mr map -q --spec s.yaml -o whole.mrs lake
    cd lake
    mr map -q --spec ../s.yaml -o ../repair.mrs "$kept.json.gz"
    cd ..
    mr reduce -q --merged both.mrs part.mrs repair.mrs
    cmp both.mrs whole.mrs
}

@test "half a million groups of a partition that was not read to its end: 7" {
    printf 'rollups:\n  - {name: many, by: [{id: data.id}], max_groups: 600000}\n' >s.yaml
    mkdir lake
    many() {
        seq "$2" | sed "s/.*/{\"data\":{\"id\":\"$1&\",\"type\":\"t\",\"attributes\":{}},\"meta\":{\"created_at\":1000}}/"
    }
    many a 700000 | gzip -1 >whole.gz
    head -c $(($(wc -c <whole.gz) - 20)) whole.gz >lake/broken.json.gz
    many b 500000 | gzip -1 >lake/b.json.gz
    many c 500000 | gzip -1 >lake/c.json.gz
    run mr map -q -j 1 --spec s.yaml -o part.mrs lake
    [ "$status" -eq 7 ]
    [[ $output == *"rollup 'many' has more than 600000 groups"*"leave out the partitions"* ]]
    [ ! -e part.mrs ]
    rm lake/broken.json.gz
    mr map -q -j 1 --spec s.yaml -o rest.mrs lake
    [ -e rest.mrs ]
}

@test "one digest under two folders that a rollup counts by: 6, by map and by reduce" {
    printf 'rollups:\n  - {name: places, by: [path.site]}\n' >s.yaml
    mkdir -p a/site=x a/site=y b/other=1/site=x
    echo 'a 1000 u' | lines | tee a/site=x/f.json a/site=y/f.json >b/other=1/site=x/g.json
    run mr map -q --spec s.yaml -o s.mrs a
    [ "$status" -eq 6 ]
    [[ $output == *"rollup 'places'"*"folder 'site'"*"site=x/f.json"*"site=y/f.json"* ]]
    [ ! -e s.mrs ]
    mr map -q --spec s.yaml -o x.mrs a/site=x/f.json
    mr map -q --spec s.yaml -o y.mrs a/site=y/f.json
    mr map -q --spec s.yaml -o z.mrs b
    run mr reduce -q x.mrs y.mrs
    [ "$status" -eq 6 ]
    [[ $output == *"rollup 'places'"*"keep one of the two"* ]]
    run mr reduce -q --merged m.mrs y.mrs x.mrs
    [ "$status" -eq 6 ]
    [ ! -e m.mrs ]
    # Names that agree in that folder are one partition, as ever.
    mr reduce -q -o out x.mrs z.mrs >/dev/null
    [[ $(sed -n 2p out/places.csv) == x,1,1* ]]
}

@test "files without events may lie in any folders that a rollup counts by" {
    printf 'rollups:\n  - {name: places, by: [path.site]}\n' >s.yaml
    mkdir -p lake/site=x lake/site=y
    : >lake/site=x/none.json
    : >lake/site=y/none.json
    echo 'no event' | tee lake/site=x/bad.json >lake/site=y/bad.json
    echo 'a 1000 u' | lines >lake/site=y/f.json
    mr map -q --spec s.yaml -o s.mrs lake
    mr map -q --spec s.yaml -o x.mrs lake/site=x
    mr map -q --spec s.yaml -o y.mrs lake/site=y
    mr reduce -q -o out --merged m.mrs x.mrs y.mrs >/dev/null
    cmp s.mrs m.mrs
    [ "$(cat out/places.csv)" = "path.site,events,users
y,1,1" ]
}

@test "many states of one spec, which they share once open" {
    local i
    for i in {1..40}; do
        echo "a ${i}000 u$i" | lines >"$i.json"
        mr map -q -o "$i.mrs" "$i.json"
    done
    run mr reduce -q --format csv ./*.mrs
    [ "$status" -eq 0 ]
    [[ ${lines[1]} == 1970-01-01,40,0,40,* ]]
}

@test "ranges of a column that the spec does not name so are told of" {
    local column
    printf 'user_id,age\nann,20\n' >users.csv
    event 1000 ann >a.json
    for column in Age 2; do
        cat >s.yaml <<END
users_table: {file: users.csv, ranges: {$column: [18-49]}}
rollups: [{name: r, by: [users.age]}]
END
        run --separate-stderr mr map --spec s.yaml -o s.mrs a.json
        [ "$status" -eq 0 ]
        grep -qx "mr: note: users table 'users.csv': the ranges of '$column' are of no account, as the spec has no users.$column" <<<"$stderr"
    done
    sed -i 's/{2:/{age:/' s.yaml
    run --separate-stderr mr map --spec s.yaml -o s.mrs a.json
    [[ $stderr != *note* ]]
}

@test "what a users table has that does not count is told where it is read" {
    local verb
    printf 'id: data.id\nusers_table: {file: users.csv, ranges: {age: [18-49]}}\n' >s.yaml
    printf 'rollups:\n  - {name: r, by: [users.country, users.age]}\n' >>s.yaml
    printf 'rows: [user, users.country]\n' >>s.yaml
    printf 'user_id,country,age,x\nann,IE,20,1\nann,IE,20,2\nann,FR,20,1\n,DE,20,1\nbob,IE,99,1\ncy,IE,a,1\n' >users.csv
    mkdir lake
    echo 'a 1000 ann' | lines >lake/a.json
    echo 'a 2000 ann' | lines >lake/b.json
    for verb in 'map -o s.mrs' 'map --beside -o out' 'map --claim -o shared' rows plan; do
        # shellcheck disable=SC2086
        run --separate-stderr mr $verb --spec s.yaml lake
        echo "$verb: $stderr"
        [ "$status" -eq 0 ]
        [ "$(grep -c '^mr: note: ' <<<"$stderr")" -eq 3 ]
        grep -qx "mr: note: users table 'users.csv': 2 of 6 rows are left out, as the user had a row before; of these, 1 says something else in columns that the spec uses" <<<"$stderr"
        grep -qx "mr: note: users table 'users.csv': 1 of 6 rows is left out, without a user's id" <<<"$stderr"
        grep -qx "mr: note: users table 'users.csv': 2 values of 'age' are in none of its ranges, and count as none" <<<"$stderr"
    done
    run --separate-stderr mr rows -q --spec s.yaml lake
    [ -z "$stderr" ]
    printf 'user_id,country,age\nann,IE,20\nbob,,\n' >users.csv
    run --separate-stderr mr map --spec s.yaml -o t.mrs lake
    [ "$status" -eq 0 ]
    [[ $stderr != *note:* ]]
}

@test "groups and types are not told by the ids' column, called by its number" {
    local by
    printf 'who,what,when,kind\nalice,buy,2024-02-28T10:00:00Z,x\n' >one.csv
    printf 'uid,country\nalice,DE\n' >users.csv
    for by in '"1"' url.host url.path1; do
        printf 'format: csv\ntype: what\nuser: who\ntime: when\ntime_format: iso8601\nid: ""\nurl: "1"\nrollups: [{name: r, by: [%s]}]\n' \
            "$by" >s.yaml
        run -3 mr map -q --spec s.yaml -o s.mrs one.csv
        [[ $output == *"cannot read 'one.csv': columns '1' and 'who' are one, which has the users' ids, and no state may hold those; take another column"* ]]
        mr reduce -q -o out s.mrs >/dev/null || [ $? -eq 3 ]
        run ! grep -rq alice out
    done
    sed -i 's/^type: .*/type: "1"/; s/^rollups: .*//' s.yaml
    run -3 mr map -q --spec s.yaml -o s.mrs one.csv
    [[ $output == *"columns '1' and 'who' are one"* ]]
    # The users table's, which is the spec's as a whole.
    sed -i 's/^type: .*/type: what/' s.yaml
    printf 'users_table: {file: users.csv, id: uid}\nrollups: [{name: r, by: [users.1]}]\n' >>s.yaml
    run -2 mr map -q --spec s.yaml -o t.mrs one.csv
    [[ $output == *"columns '1' and 'uid' are one"* ]]
    [ ! -e t.mrs ]
    # Other columns may be called by their numbers, and rows may have ids.
    sed -i 's/users.1/users.2, "4"/' s.yaml
    echo 'rows: [{who: ".1"}, {id: users.1}]' >>s.yaml
    mr map -q --spec s.yaml -o t.mrs one.csv
    mr reduce -q -o out t.mrs >/dev/null
    grep -qx 'DE,x,1,1' out/r.csv
    [ "$(mr rows -q --spec s.yaml one.csv)" = $'who,id\nalice,alice' ]
}
