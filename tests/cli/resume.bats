#!/usr/bin/env bats
# Checkpoints of mr map, and going on after a run that was cut short.

load helper

# four_files: a.json to d.json, and what one undisturbed run makes of them.
four_files() {
    local i=0 name
    for name in a b c d; do
        events 500 $((1 + 400 * i++)) >"$name.json"
    done
    mr map -q -o whole.mrs a.json b.json c.json d.json >/dev/null
}

# merged_is_whole DIR: What is there, merged, is what one run gives.
merged_is_whole() {
    mr reduce -q --merged merged.mrs "$1" >/dev/null
    cmp merged.mrs whole.mrs
}

# wait_for COMMAND...: Until it succeeds, for ten seconds.
wait_for() {
    local i
    for ((i = 0; i < 200; i++)); do
        if "$@"; then
            return 0
        fi
        sleep 0.05
    done
    return 1
}

# has_taken PID: Whether no signal waits for a process.
has_taken() {
    absent grep -qsE '^(Sig|Shd)Pnd:.*[1-9a-f]' "/proc/$1/status"
}

# deliver SIGNAL PID: Send it to a process that a pipe keeps waiting.  It must
# have been taken before the pipe ends: what has been read by then is whole.
deliver() {
    kill -s "$1" "$2"
    [ "$1" = KILL ] || wait_for has_taken "$2"
    sleep 0.1
}

# has_state DIR: Whether there is one.
has_state() {
    compgen -G "$1/*.mrs" >/dev/null
}

# begin SIGNAL: Map the four files, of which c.json and d.json are pipes, and
# send the signal once a checkpoint has been written, which is while d.json
# gives nothing yet.  The exit status is then in $status.
begin() {
    mv c.json c
    mv d.json d
    mkfifo c.json d.json
    "$MR" map --checkpoint 1 -j 1 -o out a.json b.json c.json d.json \
        >stdout 2>stderr &
    local pid=$!
    exec 5<>c.json 6<>d.json
    cat c >c.json
    # The checkpoint is due before the file ends.
    sleep 1.2
    absent has_state out
    exec 5>&-
    wait_for has_state out
    deliver "$1" "$pid"
    # While a pipe gives nothing, nobody acts on a signal.
    exec 6>&-
    status=0
    wait "$pid" || status=$?
    rm c.json d.json
    mv c c.json
    mv d d.json
}

@test "a run that is killed costs what came after its last checkpoint" {
    four_files
    begin KILL
    [ "$status" -eq 137 ]
    [ "$(find out -name '*.mrs' | wc -l)" -eq 1 ]
    run mr reduce --format csv out
    [ "$status" -eq 3 ]
    [[ $output == *'partial'* ]]
    run mr inspect out
    [[ $output == *'d.json: not read yet; run mr map again'* ]]
    run mr reduce out
    [[ ${lines[0]} == 'PARTIAL: 1 partition has not been read yet and counts in no figure' ]]
    # A pipe's size is unknown: c.json is read again, and counts once.
    run --separate-stderr mr map -o out a.json b.json c.json d.json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    [[ $stderr == *'of the files were read before, and are in 1 state there already'* ]]
    mr reduce -q "${lines[@]}" >/dev/null
    merged_is_whole out
}

@test "a signal publishes what has been read, and the next run goes on" {
    four_files
    local name
    for name in INT:130 TERM:143 HUP:129; do
        rm -rf out
        # Started in the background, a program ignores SIGINT.
        set -m
        begin "${name%:*}"
        set +m
        [ "$status" -eq "${name#*:}" ]
        [ "$(find out -type f)" = "$(cat stdout)" ]
        grep -qxF "mr: stopped by signal $((status - 128)); what has been read is in '$(cat stdout)', and 1 file is left: run the same command again to go on" stderr
        mr map -q -o out a.json b.json c.json d.json >/dev/null
        merged_is_whole out
    done
}

@test "a signal before anything has been read leaves nothing" {
    mkfifo a.json
    set -m
    "$MR" map -o out a.json >stdout 2>stderr &
    local pid=$! status=0
    set +m
    exec 5<>a.json
    wait_for test -d out
    deliver TERM "$pid"
    exec 5>&-
    wait "$pid" || status=$?
    [ "$status" -eq 143 ]
    [ ! -s stdout ]
    [ "$(cat stderr)" = 'mr: stopped by signal 15; run it again' ]
    [ "$(find out -type f)" = '' ]
}

@test "what is there already is told, and nothing is written" {
    four_files
    mkdir out
    run --separate-stderr mr map -o out a.json b.json
    [ "$status" -eq 0 ]
    first=$output
    run --separate-stderr mr map -o out c.json a.json d.json b.json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    [ "${lines[0]}" = "$first" ]
    [[ $stderr == *'4 partitions, 2000 lines = 2000 events'* ]]
    [[ $stderr == *'2 of the files were read before, and are in 1 state there already'* ]]
    both=$output
    before=$(find out | sort)
    run --separate-stderr mr map -o out a.json b.json c.json d.json
    [ "$status" -eq 0 ]
    [ "$(sort <<<"$output")" = "$(sort <<<"$both")" ]
    [[ $stderr == *'4 partitions, 2000 lines = 2000 events'* ]]
    [[ $stderr == *'nothing is left to read, and nothing was written'* ]]
    [ "$(find out | sort)" = "$before" ]
    merged_is_whole out
    # Only what is asked for is told of.
    run --separate-stderr mr map -o out a.json
    [ "$output" = "$first" ]
    [[ $stderr == *'1 partition, 500 lines = 500 events'* ]]
}

@test "bad lines of files that are there already count with --max-bad" {
    { events 1; echo 'no JSON'; } >a.json
    events 1 5 >b.json
    mr map -q -o out a.json
    run mr map -q -o out --max-bad 40 a.json b.json
    [ "$status" -eq 0 ]
    run mr map -q -o out --max-bad 30 a.json b.json
    [ "$status" -eq 4 ]
    [[ $output == *'1 of 3 lines were rejected'* ]]
}

@test "with --rejects all is read" {
    { events 1; echo 'no JSON'; } >a.json
    mr map -q -o out a.json
    run --separate-stderr mr map -o out --rejects r.jsonl a.json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $stderr != *'read before'* ]]
    [ "$(wc -l <r.jsonl)" -eq 1 ]
    [ "$(find out -type f | wc -l)" -eq 1 ]
}

@test "a single file has neither checkpoints nor anything left out" {
    four_files
    mr map -q -o out.mrs a.json b.json >/dev/null
    mr map -q -o out.mrs a.json b.json c.json d.json >/dev/null
    cmp out.mrs whole.mrs
    run mr map --checkpoint 5 -o out.mrs a.json
    [ "$status" -eq 2 ]
    [ "$output" = "mr: there are no checkpoints of a single file, 'out.mrs'; name a folder for the output" ]
}

@test "a damaged state in the folder is noted and not used" {
    four_files
    state=$(mr map -q -o out a.json b.json)
    # In the users, which opening a state does not read.
    flip "$state" 100
    run --separate-stderr mr map -o out a.json b.json c.json d.json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $stderr == *"mr: note: cannot use '$state'"* ]]
    [[ $stderr != *'read before'* ]]
    cmp "$output" whole.mrs
    run mr reduce out
    [ "$status" -eq 6 ]
    rm "$state"
    merged_is_whole out
    : >out/empty.mrs
    run --separate-stderr mr map -o out a.json b.json c.json d.json
    [ "$status" -eq 0 ]
    [[ $stderr == *"mr: note: cannot use 'out/empty.mrs'"* ]]
    [[ $stderr == *'4 of the files were read before'* ]]
}

@test "states of another spec are noted and not used" {
    four_files
    echo 'session_gap_ms: 5' >other.yaml
    mr map -q --spec other.yaml -o out a.json
    run --separate-stderr mr map -o out a.json b.json c.json d.json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $stderr == *"mr: note: 1 state in 'out', '"*"' first, is of another spec and not used"* ]]
    cmp "$output" whole.mrs
}

@test "where the folder cannot be looked through, all is read, and that is told" {
    [ "$(id -u)" -ne 0 ] || need setpriv
    four_files
    mr map -q -o out a.json
    mkdir out/shut
    chmod 000 out/shut
    run --separate-stderr powerless "$MR" map -o out a.json b.json c.json d.json
    chmod 755 out/shut
    [ "$status" -eq 0 ]
    [[ $stderr == *"mr: note: files that were read before are not looked for, and read again: "*"'out/shut': Permission denied; check its permissions"* ]]
    cmp "$output" whole.mrs
    # A folder that is not there yet has nothing to tell of.
    run --separate-stderr mr map -o new a.json
    [ "$status" -eq 0 ]
    [[ $stderr != *'looked for'* ]]
}

@test "a file that has changed under its name is read, and noted" {
    four_files
    mr map -q -o out a.json b.json >/dev/null
    events 500 5000 >b.json
    run --separate-stderr mr map -o out a.json b.json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    [[ $stderr == *"mr: note: 1 partition, 'b.json' first, is of other bytes than under the same name in 'out'"* ]]
    # Of the same size, too.
    sed 's/"t1"/"u1"/' a.json >changed
    [ "$(stat -c %s a.json)" -eq "$(stat -c %s changed)" ]
    mv changed a.json
    run --separate-stderr mr map -o out a.json
    [[ $stderr == *"'a.json' first"* ]]
    [[ $stderr != *'read before'* ]]
}

@test "what comes through a pipe is no changed file" {
    events 50 >a.json
    events 50 100 >b.json
    mkfifo pipe
    local name
    for name in a a b; do
        cat $name.json >pipe &
        run --separate-stderr mr map -o out pipe
        [ "$status" -eq 0 ]
        [[ $stderr != *'other bytes'* ]]
    done
    mr map -q -o out a.json >/dev/null
    : >a.json
    run --separate-stderr mr map -o out a.json
    [[ $stderr == *"'a.json' first, is of other bytes"* ]]
}

@test "a file that cannot be read now is no changed one, and is noted" {
    four_files
    gzip a.json b.json
    mr map -q -o out a.json.gz b.json.gz c.json d.json >/dev/null
    truncate -s -5 b.json.gz
    run --separate-stderr mr map -o out a.json.gz b.json.gz
    [ "$status" -eq 3 ]
    [[ $stderr == *"mr: note: 1 partition, 'b.json.gz' first, could not be read, but 'out' has what was read under the same name before: reduce counts that, and is not PARTIAL for it"* ]]
    [[ $stderr != *'other bytes'* ]]
    mr reduce -q out >/dev/null
}

@test "a signal before anything was compared calls nothing changed" {
    four_files
    mr map -q -o out a.json b.json c.json d.json >/dev/null
    mkfifo A.json
    "$MR" map -j 1 -o out A.json a.json b.json c.json d.json \
        >stdout 2>stderr &
    local pid=$! status=0
    exec 5>A.json
    deliver TERM "$pid"
    exec 5>&-
    wait "$pid" || status=$?
    [ "$status" -eq 143 ]
    grep -q 'stopped by signal 15' stderr
    absent grep -q 'other bytes' stderr
}

@test "a file that could not be read is tried again, and made good" {
    four_files
    gzip b.json
    cp b.json.gz whole.gz
    truncate -s -5 b.json.gz
    run mr map -q -o out a.json b.json.gz
    [ "$status" -eq 3 ]
    cp whole.gz b.json.gz
    run --separate-stderr mr map -o out a.json b.json.gz
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    mr map -q -o whole.mrs a.json b.json.gz >/dev/null
    merged_is_whole out
}

@test "archives are read again, and count once" {
    four_files
    tar cf all.tar a.json b.json
    mr map -q -o out all.tar c.json >/dev/null
    run --separate-stderr mr map -o out all.tar c.json d.json
    [[ $stderr != *"other bytes"* ]]
    [ "$status" -eq 0 ]
    [[ $stderr == *'1 of the files was read before'* ]]
    mr map -q -o whole.mrs all.tar c.json d.json >/dev/null
    merged_is_whole out
}

@test "runs into one folder at a time do no harm" {
    four_files
    local i pids=()
    mkdir lake
    for i in {1..20}; do
        events 2000 $((i * 1500)) | gzip >"lake/$i.json.gz"
    done
    mr map -q -o whole.mrs lake
    for i in 1 2 3 4; do
        "$MR" map -q -j "$i" -o out lake >"paths$i" 2>"said$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i"
    done
    merged_is_whole out
    # All of them end with the same state, so its name is the same.
    [ "$(find out -type f | wc -l)" -eq 1 ]
    for i in 1 2 3 4; do
        [ "$(cat "paths$i")" = "$(echo out/*.mrs)" ]
    done
}

@test "temporary files of killed runs are told of, and stay" {
    four_files
    mr map -q -o out a.json >/dev/null
    head -c 100 whole.mrs >out/.mr-tmp-aaaaaaaaaa
    run --separate-stderr mr map -o out a.json b.json c.json d.json
    [ "$status" -eq 0 ]
    [[ $stderr == *"mr: note: 'out' has 1 file .mr-tmp-* of runs that were killed, or are at work"* ]]
    [ -e out/.mr-tmp-aaaaaaaaaa ]
    merged_is_whole out
}

@test "what was not read yet does not keep a state from being superseded" {
    four_files
    begin KILL
    local checkpoint
    checkpoint=$(echo out/*.mrs)
    # By one state that has all.
    run --separate-stderr mr reduce --format csv "$checkpoint" whole.mrs
    [ "$status" -eq 0 ]
    [ "$stderr" = "mr: note: 1 superseded state is left out: others have all that it has; 'mr inspect' tells which" ]
    figures whole.mrs | cmp - <(echo "$output")
    [ "$(mr inspect --format json "$checkpoint" whole.mrs | jq -c '[.states[].superseded_by]')" = '["whole.mrs",null]' ]
    # Also where a file that it had yet to read could not be read since.
    gzip -c d.json | head -c 100 >d.gz
    mv d.gz d.json
    mr map -q -o damaged.mrs a.json b.json c.json d.json >/dev/null || [ $? -eq 3 ]
    run --separate-stderr mr reduce --merged merged.mrs "$checkpoint" damaged.mrs
    [ "$status" -eq 3 ]
    [[ $stderr == *'1 superseded state is left out'* ]]
    cmp merged.mrs damaged.mrs
    # But not by one that knows nothing of the file.
    mr map -q -o part.mrs a.json b.json c.json >/dev/null
    run mr reduce -q "$checkpoint" part.mrs
    [ "$status" -eq 3 ]
    [ "$(mr inspect --format json "$checkpoint" part.mrs | jq -c '[.states[].superseded_by]')" = "[null,\"$checkpoint\"]" ]
}
