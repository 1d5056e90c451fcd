# shellcheck shell=bash
# shellcheck disable=SC2034
# Shared by the engines beside it; sourced, never run.
#
# All of them do the same: list what a complete run covers, map the parts on
# as many machines as there are, reduce what has come of it.  A part that fails
# stops nothing: what it should have read is in the manifest and in no state,
# so that the result is PARTIAL and names it.

die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 2
}

# usage: The comment at the script's head.
usage() {
    awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"
}

# read_options LETTERS ARGUMENT...: Set parts, hosts, out, spec and inputs;
# LETTERS, in the form of getopts, are what the engine takes.
read_options() {
    local letter letters=$1
    shift
    parts='' hosts='' out='' spec=lake
    while getopts "$letters" letter; do
        case $letter in
        n) parts=$OPTARG ;;
        H) hosts=$OPTARG ;;
        o) out=$OPTARG ;;
        s) spec=$OPTARG ;;
        h)
            usage
            exit
            ;;
        *) die 'see -h' ;;
        esac
    done
    shift $((OPTIND - 1))
    inputs=("$@")
    [[ $parts =~ ^[1-9][0-9]*$ ]] || die 'how many parts? give -n PARTS'
    [ -n "$out" ] || die 'where does the result go? give -o OUT'
    [ $# -gt 0 ] || die 'what is to be mapped? give an INPUT'
    mkdir -p "$out/states" "$out/logs"
}

# What a complete run covers, and a forecast of it.
plan_all() {
    mr plan --quiet --spec "$spec" --shards "$parts" \
        --manifest "$out/manifest.csv" "${inputs[@]}" >"$out/logs/plan"
}

# What a machine runs for a part, as arguments of sh: the command that follows.
# An exit status of 3 says that some file cannot be read to its end; trying
# again would not help.
# shellcheck disable=SC2016
part=(sh -c '"$@" || exit $(($? == 3 ? 0 : $?))' sh)

# map_part SHARD: Set command to the map of one part.
map_part() {
    command=("${part[@]}" mr map --quiet --spec "$spec" --shard "$1"
        -o "$out/states" "${inputs[@]}")
}

# Set command to the reduction of all parts.
reduce_parts() {
    command=(mr reduce -o "$out/kpis" --manifest "$out/manifest.csv"
        "$out/states")
}
