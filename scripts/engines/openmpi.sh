#!/usr/bin/env bash
# Map the parts of a lake by Open MPI, a part a rank, and reduce them on this
# machine.
#
#     openmpi.sh -n PARTS [-H HOST,HOST...] -o OUT [-s SPEC] INPUT...
#
# Without -H the machines are those that mpirun knows by itself: its host file,
# or the allocation it runs in.  OUT and INPUT are paths that all machines have
# in common.  OUT/states gets the states, OUT/kpis the figures, standard output
# the table.  The exit status is that of "mr reduce", or of "mr plan" where that
# fails.  Run again, it does what is missing.
set -euo pipefail
# shellcheck source=scripts/engines/common.sh
. "$(dirname "$0")/common.sh"

read_options n:H:o:s:h "$@"

plan_all
map_part auto
# A rank that fails would have the others killed: it says so and ends well.
# shellcheck disable=SC2016
mpirun -n "$parts" ${hosts:+--host "$hosts"} --map-by node --bind-to none \
    sh -c '"$@" || echo "rank $OMPI_COMM_WORLD_RANK: exit status $?" >&2' sh \
    "${command[@]}" >"$out/logs/map" ||
    printf '%s: mpirun failed; what there is, is reduced\n' "${0##*/}" >&2
reduce_parts
"${command[@]}"
