# mr map --claim: what it goes with, and what is said of the shared folder.
# What machines do together is in tests/claims_check.py.

load helper

# refused STATUS COMPLAINT ARGUMENT...: One line, and nothing is left behind.
refused() {
    local wanted=$1 complaint=$2
    shift 2
    run mr map --claim "$@"
    [ "$status" -eq "$wanted" ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == "mr: $complaint" ]] || {
        echo "said: $output"
        false
    }
}

@test "a claim needs a folder that others see, and files that they see" {
    small_lake lake
    mr spec show lake >segments.yaml
    echo "segments: {some: {view: '>=1'}}" >>segments.yaml
    local needs="map: --claim needs --output DIR, the folder that all machines write to; see 'mr map --help'"
    refused 2 "$needs" lake
    refused 2 "machines cannot share by claims what goes to one file, 's.mrs'; name a folder for the output" \
        -o s.mrs lake
    refused 2 "map: --claim shares the partitions out by itself; leave out --shard" \
        --shard 1/2 -o shared lake
    refused 2 "map: --rejects does not go with --claim, which reads a part of the partitions only; leave out one of them" \
        --rejects r.jsonl -o shared lake
    [ "$(ls)" = "$(printf 'lake\nsegments.yaml')" ]
    refused 2 "standard input cannot be claimed: others do not see it; name files, or leave out --claim" \
        -o shared lake - <lake/day=2024-03-01/a.json.gz
    run mr map --claim -o shared --spec segments.yaml lake
    [ "$status" -eq 2 ]
    [[ $output == "mr: the spec has segments, and states with segments must not overlap, "*"; share the work out with --shard" ]]
    [ -z "$(ls -A shared)" ]
}

@test "a shared folder that cannot be written is refused at once" {
    small_lake lake
    mkdir shared
    : >shared/.mr-claims
    refused 5 "cannot write 'shared/.mr-claims': make folder: Not a directory; choose another name" \
        -o shared lake
    [ "$(ls -A shared)" = .mr-claims ]
    rm shared/.mr-claims
    chmod a-w shared
    run powerless "$MR" map --claim -o shared lake
    chmod u+w shared
    [ "$status" -eq 5 ]
    [[ $output == *"cannot write 'shared"*"Permission denied"* ]]
    [ -z "$(ls -A shared)" ]
}

@test "one machine alone needs no more than without claims" {
    small_lake lake
    mr map -q -o one.mrs lake
    run --separate-stderr mr map --claim -o shared lake
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    cmp one.mrs "${lines[0]}"
    [[ $stderr != *note:* ]]
    [ -z "$(ls -A shared/.mr-claims)" ]
    # Nothing is left, and nothing is written.
    run --separate-stderr mr map --claim -o shared lake
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    cmp one.mrs "${lines[0]}"
    [[ $stderr == *"nothing is left to read, and nothing was written"* ]]
    [ "$(find shared -type f | wc -l)" -eq 1 ]
    # States of a run without claims count, too.
    rm -r shared
    mr map -q -o shared lake/day=2024-03-01
    run --separate-stderr mr map --claim -o shared lake
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 2 ]
    mr reduce -q --merged merged.mrs shared
    cmp one.mrs merged.mrs
}

@test "what cannot be listed is told, whatever is left to read" {
    small_lake lake
    ln -s nowhere lake/gone.json
    mr map -q -o one.mrs lake || [ "$?" -eq 3 ]
    run mr map -q --claim -o shared lake
    [ "$status" -eq 3 ]
    rm shared/*.mrs
    rm lake/gone.json
    mr map -q -o shared lake
    ln -s nowhere lake/gone.json
    run mr map --claim -o shared lake
    [ "$status" -eq 3 ]
    [[ $output == *"cannot read 'gone.json': No such file or directory"* ]]
    run mr reduce -q --merged merged.mrs shared
    [ "$status" -eq 3 ]
    cmp one.mrs merged.mrs
}

@test "of one name and size the first published counts" {
    mkdir -p here/day=2024-03-01 there/day=2024-03-01
    event '2024-03-01 10:00' ann >here/day=2024-03-01/a.json
    event '2024-03-01 10:00' bob >there/day=2024-03-01/a.json
    mr map -q --claim -o shared here
    run --separate-stderr mr map --claim -o shared there
    [ "$status" -eq 0 ]
    [[ $stderr == *"nothing is left to read"* ]]
    # Without claims bytes are compared: both count, and that is said.
    mr map -q -o shared there
    run --separate-stderr mr reduce shared
    [ "$status" -eq 0 ]
    [[ $output == *"2 read"* ]]
    # With another size it is read.
    rm -r shared
    event '2024-03-01 10:00' robert >there/day=2024-03-01/a.json
    mr map -q --claim -o shared here
    run --separate-stderr mr map --claim -o shared there
    [ "$status" -eq 0 ]
    [[ $stderr == *"other bytes than under the same name in 'shared'"* ]]
    [ "$(find shared -name '*.mrs' | wc -l)" -eq 2 ]
}

@test "the claim that its page shows is one" {
    mkdir -p lake shared/.mr-claims
    events 10 >lake/a.json
    sed -n 's/^    //; /^mr claim 1$/,/^end$/p' "$MR_SOURCE/docs/claims.md" \
        >shared/.mr-claims/page.claim
    [ "$(wc -l <shared/.mr-claims/page.claim)" -eq 13 ]
    sed 's/^pid /pid -/' shared/.mr-claims/page.claim \
        >shared/.mr-claims/other.claim
    run --separate-stderr mr map --claim -o shared lake
    [ "$status" -eq 0 ]
    [[ $stderr == *"cannot use claim 'shared/.mr-claims/other.claim' at byte "* ]]
    [[ $stderr != *page.claim* ]]
}
