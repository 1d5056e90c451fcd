# shellcheck shell=bash
# Shared by the command line's tests.  $MR is the program.

bats_require_minimum_version 1.5.0

setup() {
    cd "$BATS_TEST_TMPDIR" || return 1
    export TERM=dumb
}

# mr ARGUMENT...: The program under test.
mr() {
    "$MR" "$@"
}

# absent COMMAND...: It must fail; "!" alone would not end a test.
absent() {
    if "$@"; then
        return 1
    fi
}

# event TIME USER [TYPE]: One line.  TIME is in ms, or a date for date(1).
event() {
    local ms=$1
    [[ $ms =~ ^[0-9]+$ ]] || ms=$(date -u -d "$ms" +%s)000
    printf '{"data":{"id":"e-%s-%s","type":"%s","attributes":{"user_id":"%s"}},"meta":{"created_at":%s}}\n' \
        "$ms" "$2" "${3:-click}" "$2" "$ms"
}

# small_lake FOLDER: Two days, three users: ann and bob on the first; ann, who
# comes back, and cy on the second.
small_lake() {
    mkdir -p "$1/day=2024-03-01" "$1/day=2024-03-02"
    {
        event '2024-03-01 10:00' ann
        event '2024-03-01 10:20' ann view
        event '2024-03-01 11:00' bob
    } | gzip >"$1/day=2024-03-01/a.json.gz"
    {
        event '2024-03-02 09:00' ann
        echo 'no JSON at all'
        echo
        event '2024-03-02 09:31' ann view
        event '2024-03-02 12:00' cy
    } | zstd -q >"$1/day=2024-03-02/b.json.zst"
}

# events COUNT [FIRST]: That many lines, a second apart, each by a user of its
# own, in five types, from number FIRST (1) on.
events() {
    awk -v n="$1" -v first="${2:-1}" 'BEGIN {
        for (i = first; i < first + n; i++)
            printf "{\"data\":{\"id\":\"e%d\",\"type\":\"t%d\",\"attributes\":" \
                "{\"user_id\":%d}},\"meta\":{\"created_at\":%.0f}}\n",
                i, i % 5, i, 1709251200000 + i * 1000
    }'
}

# flip FILE BYTE [BITS]: Change one byte (from the end if BYTE is negative) by
# exclusive or with BITS (1).
flip() {
    local at=$2 byte
    [ "$at" -ge 0 ] || at=$(($(stat -c %s "$1") + at))
    byte=$(od -An -tu1 -j "$at" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ ${3:-1})))" |
        dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

# figures STATE...: The daily KPIs as CSV.
figures() {
    mr reduce -q --format csv "$@"
}

# powerless COMMAND...: With permissions that count, even for root.
powerless() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    else
        setpriv --bounding-set=-all --inh-caps=-all "$@"
    fi
}

# need COMMAND...: Skip the test where one is missing.
need() {
    local command
    for command in "$@"; do
        command -v "$command" >/dev/null || skip "no $command"
    done
}
