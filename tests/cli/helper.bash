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
