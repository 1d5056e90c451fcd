#!/usr/bin/env bats
# The examples of docs/kpis.md: what they show is what comes out.

load helper

# Each block of code goes to the file that was named last before it.
examples() {
    awk -v folder="$1" '
        /^```$/ && inside { inside = 0; close(file); next }
        inside { print > file; next }
        /^```(csv|yaml)$/ { inside = name != ""; file = folder "/" name; name = ""; next }
        { rest = $0
          while (match(rest, /`[a-z_]+\.(csv|yaml)`/)) {
              name = substr(rest, RSTART + 1, RLENGTH - 2)
              rest = substr(rest, RSTART + RLENGTH)
          } }
    ' "$2"
}

@test "rollups, sources of ids and unknown users are as docs/kpis.md has them" {
    mkdir doc out
    awk '/^## Rollups/ { on = 1; next } /^## / { on = 0 } on' \
        "$MR_SOURCE/docs/kpis.md" >section
    examples doc section
    (cd doc && mr map -q --spec shop.yaml -o ../s.mrs events.csv)
    mr reduce -q -o out s.mrs >/dev/null
    local name n=0
    for name in pages top identity unknown_users daily; do
        diff "doc/$name.csv" "out/$name.csv"
        n=$((n + 1))
    done
    [ "$n" -eq 5 ]
}
