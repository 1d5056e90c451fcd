#!/usr/bin/env bash
# Map the parts of a lake as an array of Slurm jobs, reduce them in a job that
# depends on it, wait for that one and print its table.
#
#     slurm.sh -n PARTS -o OUT [-s SPEC] INPUT...
#
# Each part takes a machine of its own.  OUT and INPUT are paths that all
# machines have in common.  OUT/states gets the states, OUT/kpis the figures,
# OUT/logs what the jobs said.  Partition, account and limits are told by
# sbatch's own variables, as SBATCH_PARTITION.  The exit status is that of "mr
# reduce", or of "mr plan" where that fails.  Run again, it does what is missing.
set -euo pipefail
# shellcheck source=scripts/engines/common.sh
. "$(dirname "$0")/common.sh"

read_options n:o:s:h "$@"

plan_all
map_part auto
array=$(sbatch --parsable --job-name mr-map --array "1-$parts" --exclusive \
    --mem 0 --output "$out/logs/map-%a" --wrap "${command[*]@Q}")
# afterany: after a part that failed, or whose machine was lost, the others
# are worth reducing all the same, and the result says what is missing.  After
# afterok the job would wait for ever.
reduce_parts
status=0
sbatch --wait --parsable --job-name mr-reduce --output "$out/logs/kpis" \
    --error "$out/logs/reduce" --dependency "afterany:${array%%;*}" \
    --wrap "${command[*]@Q}" >"$out/logs/job" || status=$?
cat "$out/logs/kpis"
cat "$out/logs/reduce" >&2
exit "$status"
