# Every kind of input that a lake may hold, sound or not: what comes of it, and
# what is said.
# shellcheck disable=SC2030,SC2031,SC2154

load helper

# A second file beside the bad one: what it adds must not change.
setup_file() {
    cd "$BATS_FILE_TMPDIR" || return 1
    export TERM=dumb
    events 2000 >plain.json
    gzip -k plain.json
    zstd -qk plain.json
    events 100 5001 >good.json
    "$MR" map -q -o good.mrs good.json
    "$MR" reduce -q --format csv good.mrs | cut -d, -f1-10 >good.csv
}

# unread NAME PLACE CAUSE ADVICE: Mapping ./NAME beside a sound file is PARTIAL,
# says why in one sentence, and counts the sound file only.
unread() {
    local name=$1 place=$2 cause=$3 advice=$4
    run --separate-stderr mr map -q -o unread.mrs "$name" \
        "$BATS_FILE_TMPDIR/good.json"
    [ "$status" -eq 3 ]
    [ "$output" = unread.mrs ]
    [ "${stderr_lines[0]}" = "mr: cannot read '$name'$place: $cause; $advice" ] || {
        echo "said: ${stderr_lines[0]}"
        false
    }
    [ "${stderr_lines[1]}" = 'mr: PARTIAL: 1 partition could not be read and adds nothing to any figure' ]
    [ "${#stderr_lines[@]}" -eq 2 ]
    run -3 --separate-stderr figures unread.mrs
    cut -d, -f1-10 <<<"$output" | cmp - "$BATS_FILE_TMPDIR/good.csv"
}
again='fetch it again and rerun'

@test "a truncated gzip or zstd file, wherever it is cut, counts for nothing" {
    local size n
    size=$(stat -c %s "$BATS_FILE_TMPDIR/plain.json.gz")
    for n in 2 3 9 10 11 100 $((size / 2)) $((size - 8)) $((size - 1)); do
        head -c "$n" "$BATS_FILE_TMPDIR/plain.json.gz" >cut.json.gz
        unread cut.json.gz " at byte $n" 'truncated gzip member' "$again"
    done
    size=$(stat -c %s "$BATS_FILE_TMPDIR/plain.json.zst")
    for n in 4 5 12 100 $((size / 2)) $((size - 4)) $((size - 1)); do
        head -c "$n" "$BATS_FILE_TMPDIR/plain.json.zst" >cut.json.zst
        unread cut.json.zst " at byte $n" 'truncated zstd frame' "$again"
    done
}

@test "less of a file than its format's first bytes is a bad line, not lost" {
    head -c 1 "$BATS_FILE_TMPDIR/plain.json.gz" >1.gz
    head -c 3 "$BATS_FILE_TMPDIR/plain.json.zst" >3.zst
    run mr map -o s.mrs 1.gz 3.zst
    [ "$status" -eq 0 ]
    [[ $output == *'2 partitions, 2 lines = 0 events + 2 rejected + 0 blank'* ]]
}

@test "a gzip member whose checksum or length is wrong counts for nothing" {
    local size
    size=$(stat -c %s "$BATS_FILE_TMPDIR/plain.json.gz")
    cp "$BATS_FILE_TMPDIR/plain.json.gz" crc.gz
    flip crc.gz -8
    run -3 mr map -q -o s.mrs crc.gz
    [[ $output == *"mr: cannot read 'crc.gz' at byte $((size - 8)): wrong checksum of the gzip member: "*'; fetch it again and rerun'* ]]
    cp "$BATS_FILE_TMPDIR/plain.json.gz" length.gz
    flip length.gz -1
    run -3 mr map -q -o s.mrs length.gz
    [[ $output == *"mr: cannot read 'length.gz' at byte $((size - 4)): wrong length of the gzip member: "*'; fetch it again and rerun'* ]]
    # A second member that is damaged takes the first with it.
    cat "$BATS_FILE_TMPDIR/plain.json.gz" crc.gz >two.gz
    run -3 mr map -o s.mrs two.gz
    [[ $output == *'0 partitions, 0 lines'* ]]
    [[ $output == *"at byte $((2 * size - 8)): wrong checksum"* ]]
}

@test "damaged data inside a gzip or zstd file counts for nothing" {
    local size at
    for kind in gz zst; do
        size=$(stat -c %s "$BATS_FILE_TMPDIR/plain.json.$kind")
        for at in $((size / 3)) $((size / 2)) $((size - 30)); do
            cp "$BATS_FILE_TMPDIR/plain.json.$kind" damaged
            flip damaged "$at" 85
            run -3 mr map -o s.mrs damaged
            [[ $output == *'0 partitions, 0 lines = 0 events'* ]]
            [[ $output == *"mr: cannot read 'damaged' at byte "*'; fetch it again and rerun'* ]]
        done
    done
    cp "$BATS_FILE_TMPDIR/plain.json.zst" sum.zst
    flip sum.zst -1
    unread sum.zst ' at byte 0' \
        'wrong checksum of the zstd frame that begins there' "$again"
}

@test "bytes after the end of a gzip or zstd file are not skipped in silence" {
    local kind
    for kind in gz zst; do
        { cat "$BATS_FILE_TMPDIR/plain.json.$kind" && echo more; } >"more.$kind"
        run -3 mr map -q -o s.mrs "more.$kind"
        [[ $output == *"at byte $(stat -c %s "$BATS_FILE_TMPDIR/plain.json.$kind"): trailing garbage after the "* ]]
    done
}

@test "empty files are read: partitions without lines" {
    : >empty
    : >empty.json.gz
    printf '' | gzip >none.gz
    printf '' | zstd -q >none.zst
    run mr map -o s.mrs empty none.gz none.zst
    [ "$status" -eq 0 ]
    [[ $output == *'3 partitions, 0 lines = 0 events + 0 rejected + 0 blank'* ]]
    run mr map -o s.mrs empty.json.gz
    [ "$status" -eq 0 ]
    [[ $output == *'1 partition, 0 lines = '* ]]
    run figures s.mrs
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    # The same bytes under two names are one partition, here too.
    run mr map -o s.mrs empty empty.json.gz
    [[ $output == *'1 partition left out: the same bytes were counted already'* ]]
}

@test "what is named must be there: 2, and nothing is written" {
    mkdir -p empty/deeper lake/_tmp
    echo '{}' >lake/_tmp/a.json
    echo '{}' >lake/.hidden.json
    local folder
    for folder in empty lake empty/deeper; do
        run mr map -o s.mrs "$folder"
        [ "$status" -eq 2 ]
        [ "$output" = "mr: no input: there is no file under what was named; name files, or folders that hold event files (names that begin with '_' or '.' are skipped)" ]
    done
    local name
    for name in nowhere 'no*' 'lake/[z]' lake/_tmp/a.json/deeper; do
        run mr map -o s.mrs "$name"
        [ "$status" -eq 2 ]
        [ "$output" = "mr: cannot find '$name': no such file or folder; check the path, or name a folder that holds event files" ]
    done
    # A state is there, but nothing to be mapped.
    event '2024-03-01 10:00' ann >a.json
    mkdir states
    mr map -q -o states/a.mrs a.json
    local verb
    for verb in 'map -o s.mrs' rows init plan; do
        # shellcheck disable=SC2086
        run mr $verb states/a.mrs
        [ "$status" -eq 2 ]
        [ "$output" = "mr: no input: what was named is a state, or holds nothing but one (.mrs); states are for 'mr reduce'; name files of events, or folders that hold them" ]
    done
    cp states/a.mrs states/b.mrs
    run mr map -o s.mrs states
    [ "$status" -eq 2 ]
    [[ $output == "mr: no input: what was named has nothing but states (.mrs); states are for 'mr reduce'; "* ]]
    # One that is missing beside one that is not is still a mistake.
    run mr map -o s.mrs "$BATS_FILE_TMPDIR/good.json" nowhere
    [ "$status" -eq 2 ]
    [ ! -e s.mrs ]
    [ "$(find . -name '.mr-tmp*')" = '' ]
}

@test "a folder without files beside files is no mistake" {
    mkdir empty
    mr map -q -o s.mrs empty "$BATS_FILE_TMPDIR/good.json"
    figures s.mrs | cut -d, -f1-10 | cmp - "$BATS_FILE_TMPDIR/good.csv"
}

@test "links to folders are not followed, and told of" {
    mkdir -p lake disk
    cp "$BATS_FILE_TMPDIR/good.json" lake
    events 5 >disk/more.json
    ln -s ../disk lake/b
    local one="note: 'lake/b' is a link to a folder and was not followed"
    run mr map -o s.mrs lake
    [ "$status" -eq 0 ]
    [[ $output == *"$one: name it, too, if what it leads to is to be counted"* ]]
    figures s.mrs | cut -d, -f1-10 | cmp - "$BATS_FILE_TMPDIR/good.csv"
    local command
    for command in plan rows 'map --beside -o tree'; do
        # shellcheck disable=SC2086 # words
        run mr $command lake
        [ "$status" -eq 0 ]
        [[ $output == *"$one"* ]]
    done
    # Named, it is walked; and of several the first is told.
    ln -s ../disk lake/a
    run mr map -o s.mrs lake lake/b
    [[ $output == *"note: 2 links to folders, 'lake/a' first, were not followed"* ]]
    [[ $output == *'2 partitions, '* ]]
    run mr map -q -o s.mrs lake
    [ "$output" = s.mrs ]
    rm lake/good.json
    run mr map -o none.mrs lake
    [ "$status" -eq 2 ]
    [[ $output == *"but 'lake/a' is a link to a folder; links to folders are not followed: name what they lead to" ]]
}

@test "without permission: 3, each file or folder named" {
    [ "$(id -u)" -ne 0 ] || need setpriv
    mkdir -p lake/shut lake/open
    events 5 >lake/open/a.json
    events 5 10 >lake/open/b.json
    events 5 20 >lake/shut/c.json
    chmod 000 lake/open/b.json lake/shut
    run powerless "$MR" map -o s.mrs lake
    chmod 755 lake/shut
    [ "$status" -eq 3 ]
    [[ $output == *'1 partition, 5 lines = 5 events'* ]]
    [[ $output == *"mr: cannot read 'open/b.json': Permission denied; check its permissions"* ]]
    [[ $output == *"mr: cannot read 'shut': Permission denied; see that it can be read and rerun"* ]]
    [[ $output == *'mr: PARTIAL: 2 partitions could not be read and add nothing to any figure'* ]]
    # Neither is there anything to read if INPUT itself is shut.
    chmod 000 lake
    run powerless "$MR" map -o s.mrs lake
    [ "$status" -eq 3 ]
    [[ $output == *"mr: cannot read 'lake': Permission denied"* ]]
    run powerless "$MR" map -o s.mrs lake/open/a.json
    chmod 755 lake
    [ "$status" -eq 3 ]
    [[ $output == *"mr: cannot read 'lake/open/a.json': Permission denied"* ]]
}

@test "formats that are not read are named, with what to do" {
    local samples=$MR_SOURCE/tests/samples
    cp "$samples"/unsupported-* .
    unread unsupported-bzip2.jsonl.bz2 ' at byte 0' 'bzip2 data is not read' \
        'unpack it with bzip2 -d, or repack it with zstd'
    unread unsupported-xz.jsonl.xz ' at byte 0' 'xz data is not read' \
        'unpack it with xz -d, or repack it with zstd'
    unread unsupported-parquet.parquet ' at byte 0' 'Parquet is not read' \
        'export it as JSON Lines'
    unread unsupported-utf16le.jsonl ' at byte 0' 'UTF-16 text is not read' \
        'convert it with iconv -f UTF-16 -t UTF-8'
    unread unsupported-utf16be.jsonl ' at byte 0' 'UTF-16 text is not read' \
        'convert it with iconv -f UTF-16 -t UTF-8'
    unread unsupported-utf32le.jsonl ' at byte 0' 'UTF-32 text is not read' \
        'convert it with iconv -f UTF-32 -t UTF-8'
    unread unsupported-utf32be.jsonl ' at byte 0' 'UTF-32 text is not read' \
        'convert it with iconv -f UTF-32 -t UTF-8'
    unread unsupported-utf16.jsonl.gz ' at byte 0' \
        'UTF-16 text inside gzip is not read' \
        'convert it with iconv -f UTF-16 -t UTF-8'
    unread unsupported-gzip-in-gzip.jsonl.gz ' at byte 0' \
        'gzip data inside gzip is not read' 'unpack it once and rerun'
    unread unsupported-zstd-window.jsonl.zst ' at byte 0' \
        'the zstd frame needs a window of 4096 MiB, above the limit of 2048 MiB' \
        'compress it again with --long=31 or lower'
    # What to do is kept in the state, and so is told by reduce.
    run mr reduce unread.mrs
    [[ $output == *'compress it again with --long=31 or lower'* ]]
}

@test "a file that unpacks to far more than it should is not read" {
    truncate -s 300M nothing
    zstd -q nothing -o bomb.zst
    unread bomb.zst '' \
        'unpacks to more than 64 MiB and to more than 2000 bytes for each stored byte' \
        'if it is what it should be, unpack it first'
}

# lake_of_kinds: plain, gzip and zstd below d, with folders that name days.
lake_of_kinds() {
    mkdir -p d/day=2024-03-01 d/day=2024-03-02
    events 100 >d/day=2024-03-01/a.json
    events 100 101 | gzip >d/day=2024-03-02/b.json.gz
    events 100 201 | zstd -q >d/c.zst
    mr map -q -o d.mrs d
    figures d.mrs >d.csv
    [ "$(sed -n 2p d.csv | cut -d, -f2,4)" = 300,300 ]
}

@test "tar and zip archives count as the files in them" {
    need zip
    lake_of_kinds
    # What a walk passes by is none in archives, either.
    echo hidden | tee d/.hidden >d/_SUCCESS
    mr map -q --beside d/day=2024-03-01 >/dev/null
    tar -cf x.tar d
    tar -czf x.tar.gz d
    tar -c d | zstd -q >x.tar.zst
    tar --format=pax -cf pax.tar d
    tar --format=ustar -cf ustar.tar d
    (cd d && zip -qr ../x.zip .)
    (cd d && zip -q0r ../stored.zip .)
    local archive
    for archive in *.tar x.tar.gz x.tar.zst *.zip; do
        mr map -q -o a.mrs "$archive"
        figures a.mrs | cmp - d.csv
        # A member is the file that it was made of.
        run mr map -o both.mrs "$archive" d
        [ "$status" -eq 0 ]
        [[ $output == *'4 partitions, 300 lines'* ]]
        [[ $output == *'3 partitions left out: the same bytes were counted already'* ]]
        figures both.mrs | cmp - d.csv
        # Members below a key=value folder have the same names as files.
        mr reduce -q -o kpis a.mrs >/dev/null
        grep -q '^day=2024-03-01/a.json,' kpis/partitions.csv
        grep -q "^$archive/.*c.zst," kpis/partitions.csv
    done
}

@test "archives inside archives are refused, and their neighbours counted" {
    need zip
    lake_of_kinds
    tar -czf in.tar.gz d
    (cd d && zip -qr ../in.zip .)
    tar -cf in.tar d
    tar -cf out.tar in.tar in.tar.gz in.zip d/c.zst
    run --separate-stderr mr map -q -o s.mrs out.tar
    [ "$status" -eq 3 ]
    local name
    for name in in.tar in.tar.gz in.zip; do
        [[ $stderr == *"mr: cannot read 'out.tar/$name' at byte 0: archives inside archives are not read; unpack it first"* ]]
    done
    run -3 --separate-stderr figures s.mrs
    [ "$(sed -n 2p <<<"$output" | cut -d, -f2,4)" = 100,100 ]
}

@test "of a truncated archive only whole members count" {
    mkdir d
    events 3000 >d/a.json
    events 3000 4001 >d/b.json
    tar -cf x.tar d/a.json d/b.json
    tar -c d/a.json d/b.json | gzip >x.tar.gz
    tar -c d/a.json d/b.json | zstd -q >x.tar.zst
    local size
    size=$(stat -c %s d/a.json)
    # Within the second member.
    head -c $((size + 5000)) x.tar >cut.tar
    run mr map -o s.mrs cut.tar
    [ "$status" -eq 3 ]
    [[ $output == *'1 partition, 3000 lines = 3000 events'* ]]
    [[ $output == *"mr: cannot read 'cut.tar/d/b.json' at byte "* ]]
    [[ $output == *"mr: cannot read 'cut.tar' at byte "* ]]
    # Between members, where no member knows of it.
    # The whole archive under the same name makes it good.
    mkdir -p fetched
    cp x.tar fetched/cut.tar
    (cd fetched && mr map -q -o ../whole.mrs cut.tar)
    run mr reduce -q s.mrs whole.mrs
    [ "$status" -eq 0 ]
    mr reduce -q --merged both.mrs s.mrs whole.mrs >/dev/null
    cmp both.mrs whole.mrs
    head -c $((512 + (size + 511) / 512 * 512)) x.tar >cut.tar
    run mr map -o s.mrs cut.tar
    [ "$status" -eq 3 ]
    [[ $output == *'1 partition, 3000 lines = 3000 events'* ]]
    [[ $output == *"mr: cannot read 'cut.tar' at byte "*': truncated tar archive: its end mark is missing; fetch it again and rerun'* ]]
    local kind
    for kind in gz zst; do
        head -c -20 "x.tar.$kind" >cut.tar
        run mr map -o s.mrs cut.tar
        [ "$status" -eq 3 ]
        [[ $output == *"mr: cannot read 'cut.tar' at byte "*": truncated "* ]]
    done
}

@test "standard input may be of any kind" {
    need zip
    lake_of_kinds
    tar -cf x.tar d
    tar -czf x.tar.gz d
    tar -c d | zstd -q >x.tar.zst
    (cd d && zip -qr ../x.zip .)
    cat d/day=2024-03-01/a.json >plain
    gunzip -c d/day=2024-03-02/b.json.gz >>plain
    zstd -qdc d/c.zst >>plain
    gzip -k plain
    zstd -qk plain
    local kind
    for kind in x.tar x.tar.gz x.tar.zst x.zip plain plain.gz plain.zst; do
        # Both from a pipe and as a file.
        # shellcheck disable=SC2002
        cat "$kind" | mr map -q -o s.mrs -
        figures s.mrs | cmp - d.csv
        mr map -q -o t.mrs - <"$kind"
        cmp s.mrs t.mrs
    done
    mr map -q -o named.mrs plain.gz
    mr map -q -o s.mrs - <plain.gz
    mr reduce -q -o kpis s.mrs >/dev/null
    grep -q '^-,' kpis/partitions.csv
    # The bytes are what counts: the file and the pipe are one partition.
    run mr reduce --merged m.mrs named.mrs s.mrs
    [[ $output == *'mr: note: a partition was met again in another state 1 time; each counts once'* ]]
}

@test "standard input: empty, cut short, closed, named twice" {
    mr map -q -o s.mrs - </dev/null
    run bash -c 'head -c 300 "$1" | "$MR" map -q -o s.mrs -' - \
        "$BATS_FILE_TMPDIR/plain.json.gz"
    [ "$status" -eq 3 ]
    [[ $output == *"mr: cannot read '-' at byte 300: truncated gzip member; fetch it again and rerun"* ]]
    run bash -c '"$MR" map -q -o s.mrs - <&-'
    [ "$status" -eq 3 ]
    [[ $output == *"mr: cannot read '-': Bad file descriptor"* ]]
    run mr map -o s.mrs - - </dev/null
    [ "$status" -eq 2 ]
    [[ $output == "mr: standard input named twice; name it once, as '-' or as '@-'" ]]
}

@test "files with odd names are read, and their names do no harm" {
    mkdir lake
    cd lake
    events 1 1 >'a b.json'
    events 1 2 >$'new\nline.json'
    events 1 3 >$'esc\033[31mred.json'
    events 1 4 >$'not\xff\xfeutf-8.json'
    events 1 5 >'*.json'
    events 1 6 >'[x].json'
    events 1 7 >'@at.json'
    events 1 8 >-
    events 1 9 >-q
    events 1 10 >$'quote"\'\\,.json'
    mkfifo pipe
    ln -s . loop
    mr map -q -o ../inside.mrs .
    cd .. || return 1
    mr map -q -o outside.mrs lake
    cmp inside.mrs outside.mrs
    [ "$(figures inside.mrs | sed -n 2p | cut -d, -f2)" -eq 10 ]
    mr reduce -q -o kpis inside.mrs >/dev/null
    python3 - <<'PY'
import csv, json
with open("kpis/partitions.csv", newline="", encoding="utf-8",
          errors="surrogateescape") as f:
    names = {row["name"] for row in csv.DictReader(f)}
assert len(names) == 10, names
assert {"a b.json", "new\nline.json", "*.json", "-", "-q",
        "esc\033[31mred.json", "quote\"'\\,.json"} <= names, names
assert len(json.load(open("kpis/kpis.json", encoding="utf-8"))) > 3
PY
    # A pattern that is a file's own name is that file.
    cd lake
    local name
    for name in '*.json' '[x].json' ./- ./@at.json; do
        run mr map -o ../s.mrs -- "$name"
        [[ $output == *'1 partition, 1 line = 1 event + '* ]]
    done
    run mr map -o ../s.mrs '?b*' 'a ?.json'
    [ "$status" -eq 2 ]
    run mr map -o ../s.mrs 'a ?.json' 'esc*'
    [[ $output == *'2 partitions, 2 lines'* ]]
}

@test "an escape in the name of a bad file stays out of the terminal" {
    mkdir lake
    printf '\x1f\x8b\x08' >lake/$'esc\033[31mred\r.json'
    events 1 >lake/a.json
    run -3 mr map -o s.mrs lake
    [[ $output == *"'esc?[31mred?.json'"* ]]
    absent grep -q $'[\r\033]' <<<"$output"
    run -3 mr reduce s.mrs
    [[ $output == *'[31mred'* ]]
    absent grep -q $'[\r\033]' <<<"$output"
    run mr inspect s.mrs
    [[ $output == *'[31mred'* ]]
    absent grep -q $'[\r\033]' <<<"$output"
    run mr map $'esc\033[31mmissing'
    [ "$output" = "mr: cannot find 'esc?[31mmissing': no such file or folder; check the path, or name a folder that holds event files" ]
}

@test "lists: lines, other lists, what is missing" {
    mkdir lake
    events 5 >'lake/a b.json'
    events 5 10 >lake/c.json
    events 5 20 >lake/d.json
    printf 'lake/a b.json\r\n\nlake/c*.json\n@list2' >list
    printf './lake//d.json\nlake/c.json\n' >list2
    mr map -q -o list.mrs @list
    mr map -q -o whole.mrs lake/*
    cmp list.mrs whole.mrs
    mr map -q -o stdin.mrs @- <list
    cmp stdin.mrs whole.mrs
    # A file that a list names and that is gone is a partition not read.
    echo lake/gone.json >>list
    run --separate-stderr mr map -q -o list.mrs @list
    [ "$status" -eq 2 ]
    printf '\nlake/gone.json\n' >>list2
    run --separate-stderr mr map -q -o list.mrs @list2
    [ "$status" -eq 3 ]
    [[ $stderr == *"mr: cannot read 'lake/gone.json': No such file or directory; "* ]]
}

@test "lists that name one another many times are read once each" {
    local i
    events 1 >one.json
    # A thousand to the sixth times, if each were read wherever it is named.
    for i in 1 2 3 4 5 6; do
        yes "@list$((i + 1))" | head -n 1000 >"list$i"
    done
    echo one.json >list7
    timeout 60 "$MR" map -q -o list.mrs @list1
    mr map -q -o one.mrs one.json
    cmp list.mrs one.mrs
}

@test "lists that cannot be used: 2" {
    run mr map @nowhere
    [ "$status" -eq 2 ]
    [ "$output" = "mr: cannot read list 'nowhere': No such file or directory; check that it is there, and rerun" ]
    echo @self >self
    run mr map @self
    [ "$status" -eq 2 ]
    [ "$output" = "mr: cannot read list 'self': lists nested more than 8 deep; does a list name itself?" ]
    printf 'a\0b\n' >nul
    run mr map @nul
    [ "$status" -eq 2 ]
    [[ $output == "mr: cannot read list 'nul' at byte 0: the list is not text"* ]]
    # Events in the place of a list do not fill the memory.
    truncate -s $(((1 << 30) + 1)) long
    for list in @long @-; do
        run mr map "$list" <long
        [ "$status" -eq 2 ]
        [ "$output" = "mr: cannot read list '${list#@}': it has more than 1073741824 bytes; is it the right file?" ]
    done
    run mr map @
    [ "$status" -eq 2 ]
    [ "$output" = "mr: cannot read list '@': No such file or directory; check that it is there, and rerun" ]
    mkdir folder
    run mr map @folder
    [ "$status" -eq 2 ]
    [ "$output" = "mr: cannot read list 'folder': Is a directory; name a file, not a folder" ]
    run mr map @- - </dev/null
    [ "$status" -eq 2 ]
    run mr map @/dev/null
    [ "$status" -eq 2 ]
    [[ $output == 'mr: no input: '* ]]
}

@test "a file given twice, and the same bytes under two names, count once" {
    events 50 >a.json
    cp a.json b.json
    mr map -q -o one.mrs a.json
    # One path, however it is written, is one input.
    run mr map -o s.mrs a.json ./a.json .//a.json
    [[ $output != *'left out'* ]]
    cmp s.mrs one.mrs
    run mr map -o s.mrs a.json b.json
    [[ $output == *'1 partition, 50 lines = 50 events'* ]]
    [[ $output == *'1 partition left out: the same bytes were counted already'* ]]
    [ "$(figures s.mrs)" = "$(figures one.mrs)" ]
    # One path under two names is in a state under both, as it is in the
    # merged ones of machines of which each has named it in one way.
    mkdir -p lake/sub
    mv b.json lake/sub
    mr map -q -o 1.mrs lake
    mr map -q -o 2.mrs lake/sub
    mr reduce -q --merged m.mrs 1.mrs 2.mrs
    run mr map -o s.mrs lake lake/sub
    [[ $output == *'1 partition left out: the same bytes were counted already'* ]]
    cmp s.mrs m.mrs
    # But beside it there is one place.
    run mr map --beside lake lake/sub
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = lake/sub/b.json.mrs ]
    [[ $output == *', 1 made, '* ]]
    # Packed, the bytes are others: two partitions.
    gzip -k a.json
    run mr map -o s.mrs a.json a.json.gz
    [[ $output == *'2 partitions, 100 lines = 100 events'* ]]
}

# stopped_at FILE COMMAND...: Start the command and stop it once it has mapped
# FILE; its number is then in $pid.
stopped_at() {
    local file=$1 i
    shift
    "$@" >stdout 2>stderr &
    pid=$!
    for ((i = 0; i < 20000; i++)); do
        if grep -qs "/$file" "/proc/$pid/maps"; then
            kill -STOP "$pid"
            return 0
        fi
        [ -e "/proc/$pid/maps" ] || break
    done
    kill -CONT "$pid" 2>/dev/null || true
    wait "$pid" || true
    return 1
}

# changed_meanwhile CAUSE COMMAND...: What is said of a file that COMMAND
# changes while it is being read.
changed_meanwhile() {
    local cause=$1 status
    shift
    [ -r /proc/self/maps ] || skip 'no /proc'
    events 100 >large.json
    truncate -s 2G large.json
    stopped_at large.json "$MR" map -j 1 -o s.mrs large.json \
        "$BATS_FILE_TMPDIR/good.json" || skip 'it was too fast'
    "$@"
    kill -CONT "$pid"
    status=0
    wait "$pid" || status=$?
    rm -f large.json
    cat stderr
    [ "$status" -eq 3 ]
    grep -qxF "mr: cannot read 'large.json': $cause; rerun when nothing writes to it any more" stderr
    run -3 --separate-stderr figures s.mrs
    cut -d, -f1-10 <<<"$output" | cmp - "$BATS_FILE_TMPDIR/good.csv"
}

@test "a file cut short while it is read counts for nothing, and no crash" {
    changed_meanwhile 'cut short while it was being read' \
        truncate -s 5000 large.json
}

@test "a file that grows while it is read counts for nothing" {
    changed_meanwhile 'changed while it was being read' \
        truncate -s 2100M large.json
}

@test "a file rewritten in place while it is read counts for nothing" {
    changed_meanwhile 'changed while it was being read' \
        dd if=/dev/zero of=large.json bs=1 count=1 conv=notrunc status=none
}

@test "a file that is gone when its turn comes is not read" {
    mkdir lake
    mkfifo lake/pipe
    : >lake/vanishing.json
    # Both are of size 0, so they are read in order of their names.
    "$MR" map -j 1 -q -o s.mrs lake/pipe lake/vanishing.json >stdout 2>stderr &
    pid=$!
    exec 7>lake/pipe
    rm lake/vanishing.json
    events 3 >&7
    exec 7>&-
    status=0
    wait "$pid" || status=$?
    cat stderr
    [ "$status" -eq 3 ]
    grep -qF "mr: cannot read 'lake/vanishing.json': No such file or directory; check that it is there, and rerun" stderr
    run -3 --separate-stderr figures s.mrs
    [ "$(sed -n 2p <<<"$output" | cut -d, -f2)" -eq 3 ]
}

@test "files cut, grown and removed at random moments never crash a run" {
    local i
    events 30000 >source.json
    gzip -1 -k source.json
    for ((i = 0; i < 12; i++)); do
        mkdir lake
        for name in a b c d e f; do
            cp source.json "lake/$name.json"
            cp source.json.gz "lake/$name.json.gz"
            echo "$name" >>"lake/$name.json"
        done
        "$MR" map -q -j 3 -o s.mrs lake >/dev/null 2>stderr &
        pid=$!
        sleep "0.0$i"
        truncate -s 1000 lake/a.json lake/b.json.gz
        echo more | tee -a lake/c.json >>lake/d.json.gz
        rm lake/e.json lake/f.json.gz
        status=0
        wait "$pid" || status=$?
        rm -r lake
        [ "$status" -eq 0 ] || [ "$status" -eq 3 ]
        # Reading and checking all of the state.
        status=0
        mr inspect -q s.mrs >/dev/null || status=$?
        [ "$status" -eq 0 ] || [ "$status" -eq 3 ]
    done
}

# Of a pipe nobody can look at the directory first: the reader looks for the
# next header where one is no header.
@test "a zip's member whose header is damaged is missed" {
    need zip
    events 9 >a.json
    events 9 10 >b.json
    events 9 19 >c.json
    zip -q0 x.zip a.json b.json c.json
    python3 -c '
zip = bytearray(open("x.zip", "rb").read())
zip[zip.find(b"PK\3\4", 4) + 2] = 0
open("x.zip", "wb").write(zip)'
    local again='; fetch it again and rerun'
    run -3 --separate-stderr mr map -o s.mrs - < <(cat x.zip)
    [[ $stderr == *'2 partitions, 18 lines = 18 events + '* ]]
    [[ $stderr == *"cannot read '-' at byte "*": the zip archive's end mark tells of 3 members, and 2 were found$again"* ]]
}

# Fifty members, each header within the extra field of the one before, and all
# of the same packed bytes behind them.
@test "members of a zip that overlap are not unpacked over and over" {
    python3 -c '
import struct, zlib
text = b"\n" * 1000000
packed = zlib.compress(text, 9)[2:-4]
sizes = struct.pack("<III", zlib.crc32(text), len(packed), len(text))
headers, directory = b"", b""
for i in reversed(range(50)):
    extra = struct.pack("<HH", 0x9999, len(headers)) + headers
    fixed = struct.pack("<HHHHH", 20, 0, 8, 0, 33) + sizes
    headers = (b"PK\3\4" + fixed + struct.pack("<HH", 1, len(extra)) + b"m" +
        extra)
    at = struct.pack("<HHHHHII", 1, 0, 0, 0, 0, 0, 35 * i)
    directory += b"PK\1\2\x14\0" + fixed + at + b"m"
end = struct.pack("<HHHHIIH", 0, 0, 50, 50, len(directory),
    len(headers) + len(packed), 0)
open("x.zip", "wb").write(headers + packed + directory + b"PK\5\6" + end)'
    run -3 --separate-stderr mr map -o s.mrs x.zip
    [[ $stderr == '1 partition, 1000000 lines = '* ]]
    [[ $stderr == *"cannot read 'x.zip' at byte "*': the members of the archive overlap; fetch it again and rerun'* ]]
}

@test "a zip that was cut is told to be cut short or damaged" {
    events 3000 >a.json
    python3 -c '
import zipfile
zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED).write("a.json")'
    head -c 20000 a.zip >cut.zip
    run -3 --separate-stderr mr map -o s.mrs cut.zip
    # shellcheck disable=SC2154
    [[ $stderr == *"cannot read 'cut.zip' at byte 20000: zip archive: cut short or damaged: "*'; fetch it again and rerun'* ]]
    # Between two members or in a header libarchive does not say what is
    # wrong; that is no want of memory, and costs no other file.
    mkdir lake
    cp a.json lake
    cp "$MR_SOURCE"/tests/samples/bad-zip-between.zip lake/b.zip
    cp "$MR_SOURCE"/tests/samples/bad-tar-pax-cut.tar lake/c.tar
    run -3 --separate-stderr mr map -o s.mrs lake
    [[ $stderr == *'3001 lines = 3000 events'* ]]
    [[ $stderr == *"cannot read 'b.zip' at byte 47: truncated zip archive: its end mark is missing; "* ]]
    [[ $stderr == *"cannot read 'c.tar' at byte 520: truncated tar archive: its end mark is missing; "* ]]
}
