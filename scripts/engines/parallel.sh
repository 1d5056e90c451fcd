#!/usr/bin/env bash
# Map the parts of a lake on several machines by GNU parallel over ssh, and
# reduce them on this one.
#
#     parallel.sh -H HOST,HOST... -n PARTS -o OUT [-s SPEC] INPUT...
#
# HOST is what ssh takes, or ":" for this machine.  A machine works at one part
# at a time, so that with some parts a machine (-n 8 for two) the faster ones
# take more of them; the part of a machine that fails goes to another one.
# OUT and INPUT are paths that all machines have in common.  OUT/states gets
# the states, OUT/kpis the figures, standard output the table.  The exit status
# is that of "mr reduce", or of "mr plan" where that fails.  Run again, it does
# what is missing.
set -euo pipefail
# shellcheck source=scripts/engines/common.sh
. "$(dirname "$0")/common.sh"

read_options n:H:o:s:h "$@"
[ -n "$hosts" ] || die 'which machines? give -H HOST,HOST...'
only=${hosts//[!,]/}

plan_all
map_part "{}/$parts"
seq "$parts" | parallel --quote --sshlogin "$hosts" --jobs 1 \
    --retries $((${#only} + 2)) --workdir "$PWD" \
    --joblog "$out/logs/parallel" "${command[@]}" >"$out/logs/map" ||
    printf '%s: %d parts failed; see %s\n' "${0##*/}" $? \
        "$out/logs/parallel" >&2
reduce_parts
"${command[@]}"
