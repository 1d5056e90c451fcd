# What there is to map, how it is shared out, and what of it is covered in the
# end: mr plan, --shard, --manifest.

load helper

# refused COMPLAINT ARGUMENT...: Exit 2, and one line that begins so.
refused() {
    local complaint=$1
    shift
    run -2 --separate-stderr mr "$@"
    # shellcheck disable=SC2154
    [[ $stderr == "mr: $complaint"* ]] || {
        echo "said: $stderr"
        false
    }
    # shellcheck disable=SC2154
    [ "${#stderr_lines[@]}" -eq 1 ]
}

# hourly_lake FOLDER: Two types in all hours of a day, one file an hour.
hourly_lake() {
    local h type
    for type in click view; do
        for h in $(seq -w 0 23); do
            mkdir -p "$1/type=$type/date=2024-03-01/hour=$h"
            event "2024-03-01 $h:30" "u$h" "$type" \
                >"$1/type=$type/date=2024-03-01/hour=$h/a.json"
        done
    done
}

# names FILE...: The partitions that states have read.
names() {
    local out
    out=$(mktemp -d -p .)
    mr reduce -q -o "$out" "$@" >/dev/null || [ $? -eq 3 ]
    awk -F, '$3 == "read" { print $1 }' "$out/partitions.csv"
}

# status_column CSV: The words in the column "status" of a file.
status_column() {
    python3 -c '
import csv, sys
print(*sorted({x["status"] for x in csv.DictReader(open(sys.argv[1]))}))' "$1"
}

# --- sharing out -----------------------------------------------------------

@test "several parts for a fast machine and the rest are the whole" {
    hourly_lake lake
    mr map -q -o whole.mrs lake
    mr map -q --shard 1-3/4 -o fast.mrs lake
    mr map -q --shard 4/4 -o slow.mrs lake
    mr reduce -q --merged merged.mrs fast.mrs slow.mrs >/dev/null
    cmp merged.mrs whole.mrs
    [ "$(names fast.mrs | wc -l)" -eq 36 ]
    [ "$(names slow.mrs | wc -l)" -eq 12 ]
    # And they are the parts of those numbers.
    for k in 1 2 3; do
        mr map -q --shard "$k/4" -o "$k.mrs" lake
    done
    mr reduce -q --merged three.mrs 1.mrs 2.mrs 3.mrs >/dev/null
    cmp three.mrs fast.mrs
    mr map -q --shard 1-4/4 -o all.mrs lake
    cmp all.mrs whole.mrs
}

@test "parts are the same however inputs are named, ordered and mounted" {
    hourly_lake lake
    cp -r lake elsewhere
    local k
    for k in 1 2 3; do
        mr map -q --shard "$k/3" -o a.mrs lake
        mr map -q --shard "$k/3" -o b.mrs ./elsewhere//type=view "$PWD/elsewhere/type=click"
        find elsewhere -type f | sort -r >list
        mr map -q --shard "$k/3" -o c.mrs @list
        cmp a.mrs b.mrs
        cmp a.mrs c.mrs
    done
}

@test "each scheduler's variables give the part" {
    hourly_lake lake
    local k n=3
    for k in 1 2 3; do
        mr map -q --shard "$k/$n" -o want.mrs lake
        # Slurm: ids from 1 on, from 0 on, in steps.
        SLURM_ARRAY_TASK_ID=$k SLURM_ARRAY_TASK_COUNT=$n SLURM_ARRAY_TASK_MIN=1 \
            SLURM_ARRAY_TASK_MAX=3 mr map -q --shard auto -o got.mrs lake
        cmp want.mrs got.mrs
        SLURM_ARRAY_TASK_ID=$((k - 1)) SLURM_ARRAY_TASK_COUNT=$n SLURM_ARRAY_TASK_MIN=0 \
            SLURM_ARRAY_TASK_MAX=2 mr map -q --shard auto/3 -o got.mrs lake
        cmp want.mrs got.mrs
        SLURM_ARRAY_TASK_ID=$((5 + 4 * k)) SLURM_ARRAY_TASK_COUNT=$n SLURM_ARRAY_TASK_MIN=9 \
            SLURM_ARRAY_TASK_MAX=17 SLURM_ARRAY_TASK_STEP=4 \
            mr map -q --shard auto -o got.mrs lake
        cmp want.mrs got.mrs
        OMPI_COMM_WORLD_RANK=$((k - 1)) OMPI_COMM_WORLD_SIZE=$n \
            mr map -q --shard auto -o got.mrs lake
        cmp want.mrs got.mrs
        AWS_BATCH_JOB_ARRAY_INDEX=$((k - 1)) AWS_BATCH_JOB_ARRAY_SIZE=$n \
            mr map -q --shard auto -o got.mrs lake
        cmp want.mrs got.mrs
        AWS_BATCH_JOB_ARRAY_INDEX=$((k - 1)) mr map -q --shard auto/3 -o got.mrs lake
        cmp want.mrs got.mrs
        JOB_COMPLETION_INDEX=$((k - 1)) mr map -q --shard auto/3 -o got.mrs lake
        cmp want.mrs got.mrs
    done
    # An array of one task, which is all.
    SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=1 SLURM_ARRAY_TASK_MIN=7 \
        SLURM_ARRAY_TASK_MAX=7 mr map -q --shard auto -o got.mrs lake
    mr map -q -o want.mrs lake
    cmp want.mrs got.mrs
    # Without --shard auto the variables are nobody's.
    OMPI_COMM_WORLD_RANK=x JOB_COMPLETION_INDEX=1 mr map -q -o got.mrs lake
    cmp want.mrs got.mrs
}

@test "what a scheduler does not tell, or two of them do, is refused" {
    local auto="map: '--shard auto'"
    refused "$auto finds no SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, " map --shard auto x
    refused "$auto finds no SLURM_ARRAY_TASK_ID, " map --shard auto/4 x
    export SLURM_ARRAY_TASK_ID=2
    refused "$auto finds SLURM_ARRAY_TASK_COUNT not set" map --shard auto x
    export SLURM_ARRAY_TASK_COUNT=3
    refused "$auto finds SLURM_ARRAY_TASK_MIN not set" map --shard auto x
    export SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=5
    # 1, 3 and 5, or 1, 2 and 5: this task's place cannot be told.
    refused "$auto cannot tell which of 3 tasks" map --shard auto x
    SLURM_ARRAY_TASK_MAX=6 refused "$auto cannot tell which of 3 tasks" map --shard auto x
    SLURM_ARRAY_TASK_COUNT=0 refused "$auto cannot tell which of 0 tasks" map --shard auto x
    SLURM_ARRAY_TASK_ID=0 refused "$auto cannot tell which of 3 tasks" map --shard auto x
    SLURM_ARRAY_TASK_MAX=0 refused "$auto cannot tell which of 3 tasks" map --shard auto x
    SLURM_ARRAY_TASK_ID=7 refused "$auto finds SLURM_ARRAY_TASK_ID beyond the last of 3" map --shard auto x
    SLURM_ARRAY_TASK_MAX=3 refused "$auto finds 3 parts in SLURM_ARRAY_TASK_COUNT, but 'auto/4' asks for 4" \
        map --shard auto/4 x
    export SLURM_ARRAY_TASK_MAX=3
    OMPI_COMM_WORLD_RANK=1 refused "$auto finds both SLURM_ARRAY_TASK_ID and OMPI_COMM_WORLD_RANK set" \
        map --shard auto x
    local value
    for value in '' x -1 +1 1.5 ' 1' 0x1 99999999999999999999; do
        SLURM_ARRAY_TASK_ID=$value refused "$auto finds SLURM_ARRAY_TASK_ID to be '$value', which is no number" \
            map --shard auto x
    done
    unset "${!SLURM_ARRAY_@}"
    OMPI_COMM_WORLD_RANK=0 refused "$auto finds OMPI_COMM_WORLD_SIZE not set" map --shard auto x
    OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=2 \
        refused "$auto finds OMPI_COMM_WORLD_RANK beyond the last of 2 parts" map --shard auto x
    OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=65536 \
        refused "$auto finds OMPI_COMM_WORLD_SIZE to be 65536" map --shard auto x
    AWS_BATCH_JOB_ARRAY_INDEX=0 refused "$auto finds AWS_BATCH_JOB_ARRAY_SIZE not set; write --shard auto/N" \
        map --shard auto x
    AWS_BATCH_JOB_ARRAY_INDEX=0 AWS_BATCH_JOB_ARRAY_SIZE=2 \
        refused "$auto finds 2 parts in AWS_BATCH_JOB_ARRAY_SIZE, but" map --shard auto/3 x
    JOB_COMPLETION_INDEX=0 refused "$auto finds JOB_COMPLETION_INDEX, but no variable tells" map --shard auto x
    JOB_COMPLETION_INDEX=3 refused "$auto finds JOB_COMPLETION_INDEX beyond the last of 3 parts" \
        map --shard auto/3 x
    # Help needs no scheduler.
    mr map --shard auto --help >/dev/null
}

@test "--shard is checked for its form" {
    local value
    for value in 2-1/3 1-4/3 0-1/2 1-/2 -2/3 1-2 1--2/3 1-2-3/4 auto/ auto/0 auto/65536 auto/x \
        autox Auto auto/2/3 1/auto; do
        refused "map: '--shard' cannot be '$value': it must be K/N or K-L/N with" map --shard "$value" x
    done
}

# --- plan ------------------------------------------------------------------

@test "a plan tells partitions, bytes, days, types and parts" {
    hourly_lake lake
    mkdir -p lake/type=click/date=2024-03-02
    event '2024-03-02 00:30' ann >lake/type=click/date=2024-03-02/b.json
    mr plan --shards 4 --format json lake >plan.json
    mr plan --shards 4 lake >plan
    python3 - <<'PY'
import glob, json, os
plan = json.load(open("plan.json", encoding="utf-8"))
size = {x: os.path.getsize(x) for x in glob.glob("lake/**/*.json", recursive=True)}
assert plan["schema"] == "mr-plan" and plan["schema_version"] == 1
assert plan["partitions"] == len(size) == 49
assert plan["bytes"] == sum(size.values())
for key, what, others in (("days", "date=", "types"), ("types", "type=", "days")):
    field = key[:-1]
    want = {}
    for path, bytes in size.items():
        value, = (x[len(what):] for x in path.split("/") if x.startswith(what))
        n, b = want.get(value, (0, 0))
        want[value] = n + 1, b + bytes
    got = {x[field]: (x["partitions"], x["bytes"]) for x in plan[key]}
    assert got == want, (got, want)
assert {x["day"]: x["types"] for x in plan["days"]} == {"2024-03-01": 2, "2024-03-02": 1}
assert {x["type"]: x["days"] for x in plan["types"]} == {"click": 2, "view": 1}
shards = plan["shards"]
assert [x["shard"] for x in shards] == ["1/4", "2/4", "3/4", "4/4"]
assert sum(x["partitions"] for x in shards) == 49
assert sum(x["bytes"] for x in shards) == plan["bytes"]
# So small a lake is its own sample.
sample, estimate = plan["sample"], plan["estimate"]
assert sample["partitions"] == 49 and sample["bytes"] == plan["bytes"]
assert sample["events"] == 49 and sample["rejected"] == 0 and sample["users"] == 25
assert sample["days"] == ["2024-03-01", "2024-03-02"] and sample["types"] == ["click", "view"]
assert estimate["users"] == {"least": 25, "most": 25}
assert estimate["state_bytes"]["least"] == estimate["state_bytes"]["most"]
assert estimate["seconds"] > 0
assert 0 < estimate["memory_bytes"]["least"] <= estimate["memory_bytes"]["most"]
PY
    grep -q '^partitions  49, ' plan
    grep -q '^days        2 by folder names$' plan
    grep -q '^types       2 by folder names$' plan
    grep -q '^sample      49 of 49 partitions' plan
    grep -qE '^1/4 +1[23] ' plan
    # The parts are those that map takes.
    mr map -q --shard 2/4 -o part.mrs lake
    [ "$(names part.mrs | wc -l)" = "$(python3 -c '
import json; print(json.load(open("plan.json"))["shards"][1]["partitions"])')" ]
}

@test "a plan leaves nothing behind, and follows TMPDIR" {
    small_lake lake
    mkdir tmp
    TMPDIR=$PWD/tmp mr plan lake >/dev/null
    [ -z "$(ls -A tmp)" ]
    [ "$(ls)" = "$(printf 'lake\ntmp')" ]
    TMPDIR=$PWD/none run --separate-stderr mr plan lake
    [ "$status" -eq 5 ]
    [[ $stderr == *"cannot make a folder in '$PWD/none'"*TMPDIR* ]]
}

@test "names that tell nothing leave days and types to the sample" {
    mkdir plain
    event '2024-03-01 10:00' ann >plain/a.json
    event '2024-03-02 10:00' bob view >plain/@b.json
    mr plan plain >plan
    grep -q '^days        2 in the sample$' plan
    grep -q '^types       2 in the sample$' plan
    small_lake days
    [ "$(mr plan days | awk '$1 == "2024-03-01" { print $2, $4 }')" = '1 -' ]
    # A file whose name begins with '@' is one, not a list.
    cd plain
    mr plan --format json . | python3 -c '
import json, sys
plan = json.load(sys.stdin)
assert plan["sample"]["partitions"] == 2 and plan["sample"]["events"] == 2
assert [x["day"] for x in plan["days"]] == [None]
assert [x["type"] for x in plan["types"]] == [None]'
}

@test "what the estimate of memory leaves out is told" {
    local more="and what the spec's users table, rollups, duplicates and segments take"
    small_lake lake
    run -0 mr plan lake
    [[ $output == *'for one machine that maps all'* && $output != *"$more"* ]]
    echo 'duplicates: {}' >spec.yaml
    run -0 mr plan --spec spec.yaml lake
    [[ $output == *"for one machine that maps all"$'\n'"            $more"$'\n'* ]]
}

@test "a large lake is sampled within a few seconds, spread over its files" {
    local i
    mkdir lake
    events 20000 >one
    for i in $(seq -w 30); do
        ln one "lake/$i.json"
    done
    mr plan --format json -j 1 lake >plan.json
    python3 - <<'PY'
import json
plan = json.load(open("plan.json"))
sample = plan["sample"]
assert 0 < sample["partitions"] <= 30
assert sample["seconds"] < 10
assert sample["events"] <= 20000 * sample["partitions"]
want = plan["bytes"] / sample["bytes"] * sample["seconds"]
assert abs(plan["estimate"]["seconds"] - want) <= 0.01 * want + 0.002
PY
}

@test "a plan with what cannot be planned" {
    run --separate-stderr mr plan -
    [ "$status" -eq 2 ]
    [[ $stderr == *'standard input cannot be planned; name files or folders'* ]]
    run mr plan none
    [ "$status" -eq 2 ]
    mkdir lake
    ln -s nowhere lake/link
    # Alone, it leaves nothing to tell but that.
    run --separate-stderr mr plan lake
    [ "$status" -eq 3 ]
    [[ $output == *'partitions  0, 0 bytes'*'sample      none'* ]]
    [[ $stderr == *"cannot read 'link': No such file or directory"*PARTIAL* ]]
    event '2024-03-01 10:00' ann >lake/a.json
    run --separate-stderr mr plan lake
    [ "$status" -eq 3 ]
    [[ $output == *'partitions  1, '* ]]
    [[ $stderr == *"cannot read 'link': No such file or directory"*PARTIAL* ]]
    # A manifest must not lack it in silence.
    run --separate-stderr mr plan --manifest m.csv lake
    [ "$status" -eq 5 ]
    [[ $stderr == *"cannot list 'link': No such file or directory; "* ]]
    [ ! -e m.csv ]
    # The wrong spec is noticed.
    rm lake/link
    printf 'a,b\n1,2\n' >lake/a.json
    run --separate-stderr mr plan lake
    [ "$status" -eq 0 ]
    [[ $stderr == *"note: no line of the sample is an event: is it the right --spec? The reason of 2 of 2 rejected lines is 'json'; map --rejects FILE shows the lines, and 'mr init' proposes a spec"* ]]
    [ "$(grep -c 'is an event' <<<"$stderr")" -eq 1 ]
    # Empty files: there is nothing to sample.
    : >lake/a.json
    mr plan lake | grep -q '^sample      none'
    mr plan --format json lake | python3 -c '
import json, sys
plan = json.load(sys.stdin)
assert plan["partitions"] == 1 and plan["estimate"]["seconds"] is None'
}

# --- manifest --------------------------------------------------------------

@test "a manifest lists names and bytes, in order, and their sum" {
    mkdir -p 'lake/date=2024-03-01' lake/odd
    event '2024-03-01 10:00' ann >'lake/date=2024-03-01/b.json'
    : >'lake/date=2024-03-01/a "quoted", name.json'
    event '2024-03-01 10:00' bob >$'lake/odd/new\nline'
    mr plan -q --manifest m.csv lake >/dev/null
    python3 - <<'PY'
import csv, os
rows = list(csv.reader(open("m.csv", newline="", encoding="utf-8")))
files = {"date=2024-03-01/b.json": "lake/date=2024-03-01/b.json",
         'date=2024-03-01/a "quoted", name.json': 'lake/date=2024-03-01/a "quoted", name.json',
         "odd/new\nline": "lake/odd/new\nline"}
want = sorted([n, str(os.path.getsize(p))] for n, p in files.items())
assert rows[0] == ["partition", "bytes"]
assert rows[1:-1] == want, rows
assert rows[-1] == ["", str(sum(int(x[1]) for x in want))]
PY
    # The same lake elsewhere has the same manifest.
    cp -r lake copy
    mr plan -q --manifest n.csv copy >/dev/null
    cmp m.csv n.csv
    mr map -q -o s.mrs lake
    mr reduce --manifest m.csv s.mrs | grep -q '^manifest    3 of 3 partitions, 100.0% of '
}

@test "two files of one partition name are one row only if they are alike" {
    local eu=q/eu/date=2024-02-29/p.json us=q/us/date=2024-02-29/p.json
    mkdir -p "${eu%/*}" "${us%/*}"
    event '2024-02-29 10:00' ann >"$eu"
    cp "$eu" "$us"
    mr plan -q --manifest m.csv q >/dev/null
    [ "$(grep -c p.json m.csv)" -eq 1 ]
    rm m.csv
    # Of one size, then of two: both are named.
    event '2024-02-29 10:00' bob >"$us"
    for _ in 1 2; do
        refused "cannot list '$eu': its partition name is also that of '$us', which has other content; give their folders different 'key=value' names, or plan, map and reduce the folders each apart" \
            plan --manifest m.csv q
        [ ! -e m.csv ]
        event '2024-02-29 11:00' cy >>"$us"
    done
    # What the advice says helps.
    mv q/eu q/region=eu
    mv q/us q/region=us
    mr plan -q --manifest m.csv q >/dev/null
    [ "$(grep -c p.json m.csv)" -eq 2 ]
}

@test "a plan that is stopped writes no manifest" {
    mkdir lake
    events 400000 >lake/a.json
    TMPDIR=$PWD mr plan --manifest m.csv lake >/dev/null 2>&1 &
    local pid=$!
    # The sample's folder tells that it has begun.
    for _ in $(seq 200); do
        compgen -G ".mr-tmp-plan-*" >/dev/null && break
        sleep 0.005
    done
    kill -TERM "$pid" || skip 'the plan was over too soon'
    local code=0
    wait "$pid" || code=$?
    [ "$code" -eq 143 ]
    [ ! -e m.csv ]
    # One whose sample cannot be taken does: it is what a run is judged by.
    run -5 env TMPDIR="$PWD/none" "$MR" plan --manifest m.csv lake
    [ "$(grep -c a.json m.csv)" -eq 1 ]
}

@test "without a manifest's partition the result is partial everywhere" {
    hourly_lake lake
    mr plan -q --manifest m.csv lake >/dev/null
    rm lake/type=view/date=2024-03-01/hour=0[56]/a.json
    cat >spec.yaml <<'YAML'
format: json
id: data.id
type: data.type
time: meta.created_at
time_format: epoch_ms
user: data.attributes.user_id
rollups:
  - {name: by_hour, by: [type, hour], users: exact}
segments:
  some: {click: '>=1'}
duplicates: {max_ids: 1000}
YAML
    mr map -q --spec spec.yaml -o s.mrs lake
    run -3 --separate-stderr mr reduce -o kpis --manifest m.csv --retention 2 s.mrs
    [[ ${lines[0]} == 'PARTIAL: 2 partitions of the manifest are in no state and count in no figure' ]]
    [[ ${lines[-1]} == "${lines[0]}" ]]
    [[ $output == *'partitions  46 read, 2 not read, from 1 state'* ]]
    [[ $output == *'manifest    46 of 48 partitions, 95.8% of '* ]]
    [[ $output == *'covered     2024-03-01 view: 22 of 24 partitions, 91.6% of '* ]]
    absent grep -q 'click:' <<<"$output"
    [[ $output == *'not read    type=view/date=2024-03-01/hour=05/a.json: in the manifest, in no state'* ]]
    # As table, CSV and JSON; each file that has figures.
    [ "$stderr" = 'mr: PARTIAL: 2 partitions of the manifest are in no state' ]
    for file in daily daily_by_type by_hour segments duplicates; do
        [ "$(status_column "kpis/$file.csv")" = partial ]
    done
    # Only one day: there is nobody to come back.
    [[ $(cat kpis/retention.csv) == first_day,*,status ]]
    head -1 kpis/rejects.csv | grep -qx 'reason,lines,status'
    cat >want <<EOF
day,type,partitions,partitions_read,bytes,bytes_read,status
2024-03-01,click,24,24,$(cat lake/type=click/*/*/* | wc -c),$(cat lake/type=click/*/*/* | wc -c),complete
2024-03-01,view,24,22,$(($(tail -1 m.csv | cut -d, -f2) - $(cat lake/type=click/*/*/* | wc -c))),$(cat lake/type=view/*/*/* | wc -c),partial
EOF
    diff want kpis/coverage.csv
    [ "$(grep -c ',failed,,"in the manifest, in no state",' kpis/partitions.csv)" -eq 2 ]
    python3 - <<'PY'
import json
kpis = json.load(open("kpis/kpis.json"))
assert kpis["status"] == "partial"
m = kpis["coverage"]["manifest"]
assert (m["partitions"], m["partitions_read"], m["missing"], m["changed"], m["not_in_manifest"]) == (48, 46, 2, 0, 0)
assert [(x["type"], x["status"]) for x in m["days_and_types"]] == [("click", "complete"), ("view", "partial")]
assert [x["reason"] for x in kpis["coverage"]["failures"]] == ["in the manifest, in no state"] * 2
PY
    # Printed as CSV or JSON, people are told which.
    run -3 --separate-stderr mr reduce --format csv --manifest m.csv s.mrs
    [[ $stderr == *"missing 'type=view/date=2024-03-01/hour=05/a.json': in the manifest, in no state; map it, then reduce again"* ]]
}

@test "a manifest that all is there of changes nothing but what tells of it" {
    hourly_lake lake
    mr plan -q --manifest m.csv lake >/dev/null
    mr map -q -o s.mrs lake
    mr reduce -q -o with --manifest m.csv --merged a.mrs s.mrs >/dev/null
    mr reduce -q -o without --merged b.mrs s.mrs >/dev/null
    cmp a.mrs b.mrs
    for file in daily.csv daily_by_type.csv partitions.csv rejects.csv; do
        cmp "with/$file" "without/$file"
    done
    [ ! -e without/coverage.csv ]
    [ "$(status_column with/coverage.csv)" = complete ]
}

@test "the merged state is that of the states, whatever the manifest lists" {
    hourly_lake lake
    mr plan -q --manifest m.csv lake >/dev/null
    rm lake/type=view/date=2024-03-01/hour=05/a.json
    mr map -q -o s.mrs lake
    run -3 mr reduce -q --manifest m.csv --merged merged.mrs s.mrs
    cmp merged.mrs s.mrs
}

@test "reduce at any moment: a failure of its own keeps its cause" {
    small_lake lake
    mr plan -q --manifest m.csv lake >/dev/null
    truncate -s -9 lake/day=2024-03-01/a.json.gz
    run -3 mr map -q -o s.mrs lake
    run -3 --separate-stderr mr reduce --manifest m.csv s.mrs
    [[ $output == *'PARTIAL: 1 partition could not be read and counts in no figure'* ]]
    absent grep -q 'in no state' <<<"$output"
    [[ $output == *'manifest    1 of 2 partitions'* ]]
}

@test "a partition of another size than the manifest's makes a result partial" {
    small_lake lake
    mr plan -q --manifest m.csv lake >/dev/null
    event '2024-03-02 20:00' dan | zstd -q >>lake/day=2024-03-02/b.json.zst
    mr map -q -o s.mrs lake
    run -3 --separate-stderr mr reduce -o kpis --manifest m.csv s.mrs
    [[ ${lines[0]} == 'PARTIAL: 1 partition is not as large as in the manifest' ]]
    [[ $output == *'partitions  2 read, 0 not read'* ]]
    [[ $output == *'differs     day=2024-03-02/b.json.zst: not as in the manifest: '*' bytes were read, it lists '* ]]
    [ "$(status_column kpis/daily.csv)" = partial ]
    # It has been read, and counts.
    grep -q '^day=2024-03-02/b.json.zst,.*,read,' kpis/partitions.csv
    grep -q '^2024-03-02,4,' kpis/daily.csv
}

@test "partitions that the manifest does not have are noted and count" {
    small_lake lake
    mr plan -q --manifest m.csv lake/day=2024-03-01 >/dev/null
    mr map -q -o s.mrs lake
    run -0 --separate-stderr mr reduce --format csv --manifest m.csv s.mrs
    [[ $stderr == *"1 partition was read that the manifest does not have, the first being 'day=2024-03-02/b.json.zst'; it is counted all the same"* ]]
    mr reduce -q --format csv s.mrs | diff - <(echo "$output")
}

@test "an archive is covered by its name, and its members are no strangers" {
    small_lake lake
    tar cf all.tar lake/*/*
    tar cf plain.tar -C lake/day=2024-03-01 a.json.gz
    mr plan -q --manifest m.csv all.tar plain.tar lake/day=2024-03-02 >/dev/null
    mr map -q -o s.mrs all.tar plain.tar lake/day=2024-03-02
    run -0 --separate-stderr mr reduce --manifest m.csv s.mrs
    [[ $output == *'manifest    3 of 3 partitions, 100.0% of '* ]]
    # A member's name begins with the archive's, unless folders name it.
    mr plan -q --manifest m.csv plain.tar >/dev/null
    mr map -q -o s.mrs plain.tar
    run -0 --separate-stderr mr reduce --manifest m.csv s.mrs
    [ -z "$stderr" ]
    truncate -s 600 plain.tar
    run -3 mr map -q -o s.mrs plain.tar
    run -3 --separate-stderr mr reduce --manifest m.csv s.mrs
    [[ $output == *'manifest    0 of 1 partition, 0.0% of '* ]]
}

@test "an archive without members is covered, and no empty file" {
    mkdir lake empty
    small_lake lake/part
    python3 -c 'import zipfile; zipfile.ZipFile("lake/none.zip", "w").close()'
    tar -cf lake/folder.tar empty
    : >lake/empty.json
    mr plan -q --manifest m.csv lake >/dev/null
    mr map -q -o s.mrs lake
    mr reduce -o kpis --manifest m.csv s.mrs
    grep -q '^folder.tar,[0-9a-f]*,read,.*,2$' kpis/partitions.csv
    grep -q '^empty.json,[0-9a-f]*,read,.*,1$' kpis/partitions.csv
    mr map --beside -q -o tree lake >/dev/null
    run --separate-stderr mr map --beside -o tree lake
    [[ $stderr == '5 states were up to date, 0 made, '* ]]
    mr reduce --manifest m.csv --merged t.mrs tree >/dev/null
    cmp s.mrs t.mrs
    # One that is cut to nothing on its way is missing all the same.
    : >lake/none.zip
    mr map -q -o cut.mrs lake
    run -3 --separate-stderr mr reduce --manifest m.csv cut.mrs
    [[ $output == *'differs     none.zip: not as in the manifest: 0 bytes were read, it lists 22'* ]]
}

@test "a manifest that is none, or damaged, is refused by its line" {
    small_lake lake
    mr map -q -o s.mrs lake
    mr plan -q --manifest m.csv lake >/dev/null
    refused "cannot use manifest 'none.csv': no such file" reduce --manifest none.csv s.mrs
    local n
    n=$(wc -c <m.csv)
    for i in 0 10 20 $((n - 1)); do
        head -c "$i" m.csv >cut.csv
        run --separate-stderr mr reduce --manifest cut.csv s.mrs
        [ "$status" -eq 6 ]
        [[ $stderr == "mr: cannot use manifest 'cut.csv': line "* ]]
        [ -z "$output" ]
    done
    awk 'NR == 2 { held = $0; next } { print } NR == 3 { print held }' m.csv >order.csv
    run -6 --separate-stderr mr reduce --manifest order.csv s.mrs
    [[ $stderr == *"line 3: the name 'day=2024-03-01/a.json.gz' does not ascend"* ]]
    # Nothing of a name steers the terminal.
    printf 'partition,bytes\n\033[31mb,1\n\033[31ma,1\n,2\n' >hostile.csv
    run -6 --separate-stderr mr reduce --manifest hostile.csv s.mrs
    [[ $stderr == *"the name '?[31ma' does not ascend"* ]]
}

# --- holes without a manifest ----------------------------------------------

@test "a manifest is not written over by what reduce writes" {
    local options
    small_lake lake
    mr map -q -o s.mrs lake >/dev/null
    mkdir kpis
    mr plan -q --manifest plan.csv lake >/dev/null
    cp plan.csv kpis/partitions.csv
    ln plan.csv plan.mrs
    for options in '-o kpis --manifest kpis/partitions.csv' \
        '-o ./kpis --manifest kpis/../kpis/partitions.csv' \
        '--merged plan.mrs --manifest plan.csv'; do
        # shellcheck disable=SC2086
        run --separate-stderr mr reduce $options s.mrs
        [ "$status" -eq 2 ]
        [ "$output" = '' ]
        [[ $stderr == "mr: cannot write '"*"': it is the manifest; name another file for "* ]]
        cmp plan.csv kpis/partitions.csv
        [ "$(ls kpis)" = partitions.csv ]
    done
    # Beside the tables it is none of an earlier run.
    mv kpis/partitions.csv kpis/plan.csv
    run -0 --separate-stderr mr reduce -o ./kpis --manifest kpis/plan.csv s.mrs
    [ -z "$stderr" ]
    run -0 --separate-stderr mr reduce -o kpis s.mrs
    [[ $stderr == *"note: 'kpis/coverage.csv' and others there are not of this run"* ]]
}

@test "without a manifest holes in the hours of a type are noted" {
    hourly_lake lake
    mr map -q -o whole.mrs lake
    run -0 --separate-stderr mr reduce whole.mrs
    [ -z "$stderr" ]
    # The data may begin and end within their first and last hours.
    rm lake/type=view/date=2024-03-01/hour=00/a.json lake/type=click/date=2024-03-01/hour=23/a.json
    mr map -q -o edges.mrs lake
    run -0 --separate-stderr mr reduce edges.mrs
    [ -z "$stderr" ]
    rm lake/type=view/date=2024-03-01/hour=05/a.json
    mr map -q -o hole.mrs lake
    run -0 --separate-stderr mr reduce hole.mrs
    [ "$stderr" = "mr: note: type 'view' has no partition of 1 of the 22 hours between 2024-03-01 00 and 2024-03-01 23, by the folders' names, the first being 2024-03-01 05: is a file missing?" ]
    # What is listed needs no guess.
    mr plan -q --manifest m.csv lake >/dev/null
    run -0 --separate-stderr mr reduce --manifest m.csv hole.mrs
    [ -z "$stderr" ]
    # A type that comes now and then has no holes.
    rm lake/type=view/date=2024-03-01/hour=1*/a.json
    mr map -q -o rare.mrs lake
    run -0 --separate-stderr mr reduce rare.mrs
    [ -z "$stderr" ]
}
