# What mr map leaves behind: the state, the rejected lines, and nothing else.
# shellcheck disable=SC2154

load helper

# reject_lake: lines.json, one line in nine of it bad, some blank, some ended
# by CR LF; and in expected.tsv, by awk alone, the reason, number, offset and
# text of each bad one.
reject_lake() {
    events 12000 | LC_ALL=C awk '
        NR % 9 == 1 { $0 = sprintf("no JSON %d", NR) }
        NR % 90 == 1 { $0 = sprintf("{\"bad\":%d}", NR) }
        NR % 50 == 2 { $0 = "" }
        NR % 120 == 5 { $0 = sprintf("[\"%*s\"]", NR % 1000, "long") }
        { printf "%s%s\n", $0, NR % 7 ? "" : "\r" }' >lines.json
    LC_ALL=C awk '
        { bytes = length($0) + 1; sub(/\r$/, "") }
        /^no JSON/ { print "json\t" NR "\t" at "\t" $0 }
        /^\{"bad"/ || /^\[/ { print "missing:data.id\t" NR "\t" at "\t" $0 }
        { at += bytes }' at=0 lines.json >expected.tsv
    [ "$(wc -l <expected.tsv)" -gt 1300 ]
}

# rejects_of FILE: As lines like those of expected.tsv, after the partition.
rejects_of() {
    case $1 in
        *.gz) gzip -dc "$1" ;;
        *.zst) zstd -qdc "$1" ;;
        *) cat "$1" ;;
    esac | python3 -c '
import base64, json, sys
for line in sys.stdin.buffer:
    r = json.loads(line)
    assert list(r)[:4] == ["reason", "partition", "line", "offset"], line
    text = r["text"].encode() if "text" in r else base64.b64decode(r["base64"])
    row = [r["partition"], r["reason"], str(r["line"]), str(r["offset"])]
    sys.stdout.buffer.write("\t".join(row).encode() + b"\t" + text + b"\n")
'
}

@test "every rejected line is written, whatever the packing and the threads" {
    reject_lake
    # One stream; streams cut at lines' ends; frames that cut lines in two.
    cp lines.json plain
    gzip -c lines.json >one.gz
    zstd -qc lines.json >one.zst
    split -b 100000 lines.json piece.
    for piece in piece.*; do gzip -c "$piece"; done >many.gz
    for piece in piece.*; do zstd -qc "$piece"; done >many.zst
    rm piece.*
    split -b 10009 lines.json piece.
    for piece in piece.*; do zstd -qc "$piece"; done >tiny.zst
    rm piece.*
    tar -cf all.tar plain many.gz tiny.zst
    local threads file
    for file in plain one.gz one.zst many.gz many.zst tiny.zst; do
        mr map -j 1 -o s.mrs --rejects r.jsonl "$file" 2>said
        rejects_of r.jsonl >rows
        sed "s/^/$file\t/" expected.tsv | cmp - rows
        grep -qF "+ $(wc -l <rows) rejected +" said
        for threads in 1 2 7; do
            mr map -q -j $threads -o s.mrs --rejects t.jsonl "$file"
            cmp t.jsonl r.jsonl
            mr map -q -j $threads -o s.mrs --rejects t.jsonl.gz "$file"
            gzip -dc t.jsonl.gz | cmp - r.jsonl
            mr map -q -j $threads -o s.mrs --rejects t.jsonl.zst "$file"
            zstd -qdc t.jsonl.zst | cmp - r.jsonl
        done
    done
    for threads in 1 2 7; do
        mr map -j $threads -o s.mrs --rejects r.jsonl all.tar 2>said
        grep -qF "+ $((3 * $(wc -l <expected.tsv))) rejected +" said
        rejects_of r.jsonl >rows
        for file in plain many.gz tiny.zst; do
            grep "^all.tar/$file"$'\t' rows >some
            sed "s,^,all.tar/$file\t," expected.tsv | cmp - some
        done
    done
}

@test "a rejected line that is no UTF-8 is written in base64, byte for byte" {
    printf 'bad \xff\xfe line\n\t{"a":1} \r\n\0\n' >a.json
    mr map -q -o s.mrs --rejects r.jsonl a.json
    python3 - <<'PY'
import base64, json
rows = [json.loads(line) for line in open("r.jsonl", encoding="utf-8")]
assert base64.b64decode(rows[0]["base64"]) == b"bad \xff\xfe line", rows
assert rows[0]["reason"] == "json" and "text" not in rows[0], rows
assert rows[1]["reason"] == "missing:data.id" and rows[1]["offset"] == 12, rows
assert rows[2]["text"] == "\0" and rows[2]["line"] == 3, rows
PY
}

@test "there is a file of rejects when there are none" {
    events 5 >a.json
    local out
    for out in r.jsonl r.jsonl.gz r.jsonl.zst; do
        mr map -q -o s.mrs --rejects "$out" a.json
        [ -z "$(rejects_of "$out")" ]
        [ -f "$out" ]
    done
}

@test "rejects of what counts for nothing are not written" {
    reject_lake
    gzip -c lines.json | head -c -20 >cut.gz
    run -3 mr map -o s.mrs --rejects r.jsonl cut.gz
    [ -f r.jsonl ] && [ ! -s r.jsonl ]
    # Nor twice for what counts once.
    local threads
    cp lines.json copy.json
    tar -cf all.tar copy.json lines.json
    for threads in 1 2 7; do
        mr map -j $threads -o s.mrs --rejects r.jsonl all.tar lines.json \
            copy.json 2>said
        grep -qF '3 partitions left out' said
        grep -qF "+ $(wc -l <r.jsonl) rejected +" said
        rejects_of r.jsonl | cut -f 2- | cmp - expected.tsv
    done
}

@test "--max-bad: just at the limit is 0, just above it is 4" {
    { events 997 && echo 1 && echo 2 && echo 3; } >a.json
    mr map -q -o s.mrs --max-bad 0.3 a.json
    run mr map -q -o s.mrs --max-bad 0.299999 a.json
    [ "$status" -eq 4 ]
    [[ $output == *"mr: 3 of 1000 lines were rejected (0.300 %), more than --max-bad 0.299999; 'mr map --rejects FILE' shows them"* ]]
    # The state is as good as any.
    [ "$(figures s.mrs | sed -n 2p | cut -d, -f2)" -eq 997 ]
}

@test "a repaired partition completes a PARTIAL result" {
    small_lake lake
    mr map -q -o whole.mrs lake
    cp -r lake broken
    truncate -s -9 broken/day=2024-03-01/a.json.gz
    run -3 mr map -q -o states broken
    run -3 mr reduce -q states
    cp lake/day=2024-03-01/a.json.gz broken/day=2024-03-01
    mr map -q -o states broken/day=2024-03-01
    [ "$(find states -name '*.mrs' | wc -l)" -eq 2 ]
    mr reduce -q --merged merged.mrs states >/dev/null
    cmp merged.mrs whole.mrs
    # The other way round: what has been read stays read.
    run -3 mr map -q -o late.mrs broken/day=2024-03-02 'broken/day=2024-03-0[1]' \
        <(head -c 30 lake/day=2024-03-01/a.json.gz)
    truncate -s -9 broken/day=2024-03-01/a.json.gz
    run -3 mr map -q -o late.mrs broken
    mr reduce -q --merged merged.mrs whole.mrs late.mrs >/dev/null
    cmp merged.mrs whole.mrs
}

@test "the parts of --shard are the whole, and nearly equal" {
    mkdir lake
    local i k n
    for i in $(seq 60); do
        events $((i * 10)) $((i * 1000)) >"lake/$i.json"
    done
    mr map -q -o whole.mrs lake
    for n in 2 3 7; do
        for k in $(seq "$n"); do
            mr map -q --shard "$k/$n" -o "part-$k.mrs" lake
        done
        mr reduce -q --merged merged.mrs part-*.mrs >/dev/null
        cmp merged.mrs whole.mrs
        # No part has more than a file's worth more than another.
        for k in $(seq "$n"); do
            mr reduce -q -o kpis "part-$k.mrs" >/dev/null
            awk -F, '$3 == "read" { sum += $6 } END { print sum }' \
                kpis/partitions.csv
        done >bytes
        [ "$(wc -l <bytes)" -eq "$n" ]
        awk 'NR == 1 || $1 < least { least = $1 } $1 > most { most = $1 }
            END { exit most - least > 63000 }' bytes
        rm part-*.mrs
    done
    # The last of more parts than files is empty, and no mistake.
    run mr map --shard 100/100 -o none.mrs lake
    [ "$status" -eq 0 ]
    [[ $output == *'0 partitions, 0 lines'* ]]
}

@test "a state is named after its content in a folder, made if missing" {
    small_lake lake
    mr map -q -o new/and/deep lake >first
    mr map -q -j 1 -o new/and/deep lake/* >second
    cmp first second
    [[ $(cat first) =~ ^new/and/deep/[0-9a-f]{32}\.mrs$ ]]
    [ "$(find new -type f)" = "$(cat first)" ]
}

@test "where nothing can be written: said before anything is read" {
    [ "$(id -u)" -ne 0 ] || need setpriv
    small_lake lake
    mkdir shut folder.mrs
    chmod 555 shut
    : >file
    local out
    for out in shut/s.mrs shut/deeper shut; do
        run powerless "$MR" map -o "$out" lake
        [ "$status" -eq 5 ]
        [[ $output == "mr: cannot write '$out': "*"Permission denied; check the folder's permissions, or write elsewhere" ]]
    done
    run mr map -o file/s.mrs lake
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot write 'file/s.mrs': Not a directory; choose another name" ]
    run mr map -o file lake
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot write 'file': make folder: Not a directory; choose another name" ]
    run mr map -o nowhere/s.mrs lake
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot write 'nowhere/s.mrs': No such file or directory; make the folder first" ]
    run mr map -o folder.mrs lake
    [ "$status" -eq 5 ]
    [ "$output" = "mr: cannot write 'folder.mrs': Is a directory; choose another name" ]
    run powerless "$MR" map -o s.mrs --rejects shut/r.jsonl lake
    [ "$status" -eq 5 ]
    [[ $output == "mr: cannot write 'shut/r.jsonl': Permission denied; "* ]]
    run mr map -o s.mrs --rejects folder.mrs lake
    [ "$status" -eq 5 ]
    [ ! -e s.mrs ]
    [ "$(find . -name '.mr-tmp*')" = '' ]
}

@test "devices and links are never replaced by a file: 2" {
    small_lake lake
    ln -s elsewhere link.mrs
    mkfifo pipe
    local out
    for out in link.mrs pipe; do
        run mr map -o s.mrs --rejects "$out" lake
        [ "$status" -eq 2 ]
        [ "$output" = "mr: cannot write '$out': it exists and is not a regular file; choose another name" ]
    done
    run mr map -o link.mrs lake
    [ "$status" -eq 2 ]
    [ -L link.mrs ] && [ -p pipe ] && [ ! -e s.mrs ]
}

@test "no room for the state or the rejects: 7, and nothing is left" {
    mkdir lake
    events 20000 >lake/a.json
    yes '{' | head -n 100000 >lake/b.json
    # Files of at most 16 KiB stand for a disk that is full.
    run bash -c 'ulimit -f 16; "$MR" map -q -o s.mrs lake/a.json'
    [ "$status" -eq 7 ]
    [ "$output" = "mr: cannot write 's.mrs': File too large; write elsewhere, or raise the limit of file size (ulimit -f)" ]
    run bash -c 'ulimit -f 16; "$MR" map -q -o s.mrs --rejects r.jsonl lake/b.json'
    [ "$status" -eq 7 ]
    [[ $output == "mr: cannot use '.': temporary file: File too large; free some space there"* ]]
    [ "$(find . -type f | sort | xargs)" = './lake/a.json ./lake/b.json' ]
    # What stood there before still does.
    events 1 >one.json
    mr map -q -o s.mrs one.json
    cp s.mrs before.mrs
    run bash -c 'ulimit -f 16; "$MR" map -q -o s.mrs lake/a.json'
    [ "$status" -eq 7 ]
    cmp s.mrs before.mrs
}

@test "a disk that is full: 7, and nothing is left" {
    mkdir disk
    mount -t tmpfs -o size=16k none disk 2>/dev/null || skip 'cannot mount'
    events 20000 >a.json
    run mr map -q -o disk a.json
    local said=$output left
    left=$(ls -A disk)
    umount disk
    [ "$status" -eq 7 ]
    [ "$said" = "mr: cannot write 'disk': No space left on device; free some space there, or write elsewhere" ]
    [ "$left" = '' ]
}

# signalled SIGNAL SECONDS INPUT: Map it, with events without end on standard
# input, and send the signal after a while; print the exit status as a shell
# would.
signalled() {
    event 1709294400000 ann >line
    python3 - "$@" <<'PY'
import os, signal, subprocess, sys, time
number = getattr(signal, "SIG" + sys.argv[1])
endless = subprocess.Popen(["yes", open("line").read().strip()],
                           stdout=subprocess.PIPE)
with open("stdout", "w") as out, open("stderr", "w") as err:
    process = subprocess.Popen(
        [os.environ["MR"], "map", "-o", "s.mrs", "--rejects", "r.jsonl",
         sys.argv[3]], stdin=endless.stdout, stdout=out, stderr=err,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    time.sleep(float(sys.argv[2]))
    process.send_signal(number)
    begin = time.time()
    code = process.wait(timeout=60)
endless.kill()
assert time.time() - begin < 5
print(code if code >= 0 else 128 - code)
PY
}

@test "a signal ends a run soon, with its number and nothing left behind" {
    local name
    for name in INT:130 TERM:143 HUP:129; do
        [ "$(signalled "${name%:*}" 0.3 -)" -eq "${name#*:}" ]
        grep -q '^mr: stopped by signal .*; run it again$' stderr
        [ ! -s stdout ]
        [ "$(find . -type f | sort | xargs)" = './line ./stderr ./stdout' ]
    done
}

@test "a signal at any moment leaves a whole state or none" {
    events 20000 >large.json
    local i code
    for i in 0.02 0.03 0.04 0.05 0.06 0.07 0.08 0.09 0.1 0.12 0.14; do
        rm -f s.mrs r.jsonl
        code=$(signalled TERM "$i" large.json)
        [ "$(find . -name '.mr-tmp*')" = '' ]
        if [ -e s.mrs ]; then
            [ "$(figures s.mrs | sed -n 2p | cut -d, -f2)" -eq 20000 ]
        else
            [ "$code" -eq 143 ]
        fi
    done
}

@test "what a killed run leaves is skipped by every walk" {
    small_lake lake
    mr map -q -o states lake >/dev/null
    cp states/*.mrs states/.mr-tmp-aaaaaaaaaa
    truncate -s 100 states/.mr-tmp-aaaaaaaaaa
    mr reduce -q states >/dev/null
    cp states/.mr-tmp-aaaaaaaaaa lake
    mr map -q -o again.mrs lake
    cmp again.mrs states/*.mrs
}

@test "a file of this run that is not complete is none of a killed one" {
    small_lake lake
    mkdir states
    run -0 mr map -o states --rejects states/rejects.jsonl lake
    [[ $output != *.mr-tmp-* ]]
    cp states/*.mrs states/.mr-tmp-aaaaaaaaaa
    run -0 mr map -o states --rejects states/rejects.jsonl lake
    [[ $output == *"note: 'states' has 1 file .mr-tmp-* of runs that were killed"* ]]
}

@test "closed standard files are no trap" {
    small_lake lake
    mr map -q -o s.mrs lake
    run bash -c '"$MR" map -o t.mrs --rejects r.jsonl lake <&- 2>&-'
    [ "$status" -eq 0 ]
    [ "$output" = t.mrs ]
    cmp s.mrs t.mrs
    [ "$(wc -l <r.jsonl)" -eq 1 ]
    run bash -c '"$MR" map -q -o u.mrs --rejects r.jsonl lake >&-'
    [ "$status" -eq 5 ]
    [[ $output == 'mr: cannot write standard output: Bad file descriptor; it is closed: send it to a file, a pipe or /dev/null, and rerun'* ]]
    cmp s.mrs u.mrs
    [ "$(wc -l <r.jsonl)" -eq 1 ]
}

@test "what cannot be read is told though another file has its name" {
    local verb
    mkdir -p lake/eu/date=2024-03-01 lake/us/date=2024-03-01
    events 50 | gzip | head -c 300 >lake/eu/date=2024-03-01/p.json.gz
    events 50 100 | gzip >lake/us/date=2024-03-01/p.json.gz
    for verb in 'map -o s.mrs' 'map -o states' 'map --claim -o claimed' \
        'rows -o rows.csv' 'map --beside'; do
        # shellcheck disable=SC2086
        run mr $verb lake
        echo "$verb: $status: $output"
        [ "$status" -eq 3 ]
        [[ $output == *"cannot read 'lake/eu/date=2024-03-01/p.json.gz or lake/us/date=2024-03-01/p.json.gz' at byte "*'truncated gzip member; the state does not tell'* ]]
        [[ $output == *'PARTIAL: 1 partition could not be read'* ]]
    done
    # Nor does it help that the other one was read by an earlier run.
    run mr map -o states lake
    [ "$status" -eq 3 ]
    [[ $output == *'PARTIAL: 1 partition could not be read'* ]]
    run mr map -o s.mrs lake
    [[ $output == *"note: 'lake/eu/date=2024-03-01/p.json.gz' and 'lake/us/date=2024-03-01/p.json.gz' have one partition name: "* ]]
    # With names of their own each is known by it.
    mv lake/eu lake/region=eu
    mv lake/us lake/region=us
    run mr map -o t.mrs lake
    [ "$status" -eq 3 ]
    [[ $output == *"cannot read 'region=eu/date=2024-03-01/p.json.gz' at byte "* ]]
    [[ $output != *'one partition name'* ]]
    run mr reduce t.mrs
    [ "$status" -eq 3 ]
}
