#!/usr/bin/env bash
# Test what docs/architecture.md promises of the tree: who may include what,
# who may call what, names of global symbols, lengths of functions and lines.
#
#     scripts/check-layers.sh [LIBRARY]
#
# LIBRARY (default: mr/libmr.a of $MR_BUILD, or of ./build) is looked through
# for the names of its symbols.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
library=${1:-${MR_BUILD:-build}/mr/libmr.a}
bad=0

# One line a rank, from the base up.  A header includes only headers that
# stand before it; a source file none of a rank above its own.
ranks=(
    "status machine bytes text writer hash calendar zone csv_rules ascending digestset kernels
     kernels_csv kernels_template kernels_wide kernels_x86 kernels_arm"
    "source source_list publish claimant claims claimrun manifest spill
     arena stream
     stream_private stream_gzip stream_isal stream_zstd stream_archive lines"
    "rows_kind spec spec_builtin spec_private spec_words spec_yaml spec_values
     spec_load spec_figures timeform fields fields_private fields_plan shapes
     fields_json json_check jsonwalk jsonvalues jsonpeek csv dialect derive place
     guess
     groupkey usertable event"
    "hyperloglog pool bitmap userblock sessions users types batch coverage
     cells cellsets aggregate aggregate_private aggregate_seal
     idset idset_private idset_merge idset_block idset_figures
     segments segments_private segments_merge segments_block segments_count"
    "state state_private state_block state_head state_read state_write statelist
     superseded"
    "kpi merge merge_private merge_head merge_write merge_count merge_kept gather covered claimed report
     report_private report_coverage report_figures report_kept report_grid report_retention"
    "mr outputs result spool rejects figures plan cutter kept found rows_format mapper resume
     sharing work work_private work_job work_group map map_private map_state beside
     rows rows_private rows_job reduce inspect init_text init forecast forecast_text"
)
declare -A rank place
n=0
for r in "${!ranks[@]}"; do
    for unit in ${ranks[r]}; do
        rank[$unit]=$r
        place[$unit]=$((n++))
    done
done

complain() {
    printf '%s\n' "$1"
    bad=1
}

# includes FILE: The files it includes, those in quotes with their folder.
includes() {
    sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]([^">]+)[">].*/\1/p' "$1"
}

# The text of each file without comments and what stands in quotes.
code=$(mktemp -d)
trap 'rm -rf "$code"' EXIT
mkdir "$code/mr"
for file in mr/*.[ch]; do
    perl -0pe 's{("(?:\\.|[^"\\])*")|\x27(?:\\.|[^\x27\\])*\x27|/\*.*?\*/|//[^\n]*}
        {defined $1 ? q("") : q( )}gsex' "$file" >"$code/$file"
done

check_ranks() {
    local file unit included other
    for file in mr/*.[ch]; do
        unit=${file#mr/}
        unit=${unit%.[ch]}
        if [ -z "${rank[$unit]-}" ]; then
            complain "$file: its unit has no rank"
            continue
        fi
        for included in $(includes "$file"); do
            case $included in
            cmd/*) complain "$file: includes $included" ;;
            mr/*.h) ;;
            *) continue ;;
            esac
            other=${included#mr/}
            other=${other%.h}
            [ "$other" != "$unit" ] || continue
            if [ -z "${rank[$other]-}" ]; then
                complain "$file: includes $included, which has no rank"
            elif [ "${rank[$other]}" -gt "${rank[$unit]}" ]; then
                complain "$file: includes $included of a higher rank"
            elif [[ $file == *.h ]] &&
                [ "${place[$other]}" -ge "${place[$unit]}" ]; then
                complain "$file: includes $included, which stands after it"
            fi
        done
    done
}

# Each unit stands in the document's table, in the row of its rank alone.
check_document() {
    local file unit rows
    for file in mr/*.h; do
        unit=${file#mr/}
        unit=${unit%.h}
        [[ $unit != *_private && $unit != kernels_* ]] || continue
        rows=$(grep -E "\`$unit(\.h)?\`" docs/architecture.md |
            grep -oE '^\| [0-9]')
        [ "$rows" = "| ${rank[$unit]-}" ] ||
            complain "$file: not in its rank's row of docs/architecture.md"
    done
}

check_faces() {
    local file included
    # The public header is for those who use or make what it declares.
    for file in mr/*.[ch]; do
        case $file in
        mr/result.[ch] | mr/resume.[ch] | mr/sharing.[ch] | mr/work.[ch] | mr/plan.c | mr/map.[ch] | mr/map_private.h | mr/beside.c | mr/rows_private.h | mr/reduce.c | mr/inspect.c | mr/init.c | mr/forecast.c | mr/init_text.h | mr/mr.h) continue ;;
        esac
        ! includes "$file" | grep -qx 'mr/mr\.h' ||
            complain "$file: includes the public header"
    done
    for file in cmd/*.[ch]; do
        for included in $(includes "$file" | grep -E '^(mr|tests)/'); do
            [ "$included" = mr/mr.h ] ||
                complain "$file: includes $included; cmd/ sees mr/mr.h alone"
        done
    done
    # Before all else a source file includes its own header, so that the
    # header is known to stand alone.
    for file in mr/*.c cmd/*.c; do
        case $file in
        mr/fields_json.c | mr/fields_plan.c) included=mr/fields_private.h ;;
        mr/json_check.c) included=mr/fields.h ;;
        mr/spec.c | mr/spec_*.c) included=mr/spec_private.h ;;
        mr/source_list.c) included=mr/source.h ;;
        mr/aggregate.c | mr/aggregate_*.c) included=mr/aggregate_private.h ;;
        mr/idset_*.c) included=mr/idset_private.h ;;
        mr/segments_*.c) included=mr/segments_private.h ;;
        mr/stream_*.c) included=mr/stream_private.h ;;
        mr/state.c | mr/state_*.c) included=mr/state_private.h ;;
        mr/report.c | mr/report_*.c) included=mr/report_private.h ;;
        mr/forecast.c | mr/forecast_text.c) included=mr/forecast.h ;;
        mr/merge.c | mr/merge_*.c) included=mr/merge_private.h ;;
        mr/work.c | mr/work_*.c) included=mr/work_private.h ;;
        mr/map.c | mr/map_state.c) included=mr/map_private.h ;;
        mr/rows.c | mr/rows_job.c) included=mr/rows_private.h ;;
        mr/beside.c | mr/reduce.c | mr/inspect.c | mr/init.c) included=mr/mr.h ;;
        cmd/main.c | cmd/cmd_*.c) continue ;;
        *) included=${file%.c}.h ;;
        esac
        [ "$(includes "$file" | grep -vx 'config\.h' | head -1)" = "$included" ] ||
            complain "$file: does not include $included first"
    done
}

# fence PATTERN WHAT FILE...: Only the files of mr/ named here may include
# what matches the pattern.
fence_include() {
    local pattern=$1 file
    shift
    for file in mr/*.[ch]; do
        [[ " $* " != *" ${file#mr/} "* ]] || continue
        ! includes "$file" | grep -qE "^($pattern)\$" ||
            complain "$file: includes <$(includes "$file" | grep -E "^($pattern)\$" | head -1)>, which belongs to: $*"
    done
}

# fence_call PATTERN FILE...: The same for calls and words.
fence_call() {
    local pattern=$1 file found
    shift
    for file in mr/*.[ch]; do
        [[ " $* " != *" ${file#mr/} "* ]] || continue
        found=$(grep -oE "(^|[^A-Za-z0-9_.>])($pattern)" "$code/$file" | head -1)
        [ -z "$found" ] ||
            complain "$file: has '$found', which belongs to: ${*:-no file of mr/}"
    done
}

check_fences() {
    fence_include 'omp\.h' map.c map_state.c beside.c rows.c merge.c merge_write.c
    fence_include 'zlib\.h' stream_gzip.c rejects.c
    fence_include 'isa-l.*|igzip.*' stream_gzip.c
    fence_include 'zstd.*\.h' stream_zstd.c state_block.c state_head.c \
        state_read.c state_write.c state.c rejects.c
    fence_include 'archive.*\.h' stream_archive.c
    fence_include 'yaml\.h' spec_yaml.c
    fence_include 'xxh.*\.h' hash.c
    fence_include '[a-z]*intrin\.h|arm_.*\.h' kernels_x86.h kernels_arm.h
    fence_call '#[[:space:]]*pragma[[:space:]]+omp' map.c map_state.c beside.c rows.c gather.c merge.c merge_write.c
    fence_call '_mm[0-9]*_[a-z0-9_]+|__m(128|256|512)i?|v[a-z]+q_[us](8|16|32|64)' \
        kernels_wide.h kernels_x86.h kernels_arm.h
    # Files are opened where they are mapped, listed, loaded or published.
    fence_call '(mmap|open|openat|fopen|creat|mkstemp|rename|renameat)[[:space:]]*\(' \
        source.c source_list.c spec_load.c state.c state_read.c publish.c \
        zone.c claims.c machine.c
    fence_call '(printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|putc|fputc|perror|exit|_exit|abort|getenv|setlocale)[[:space:]]*\('
    fence_call '(stdout|stderr|environ)[^A-Za-z0-9_]'
}

check_names() {
    local name
    [ -e "$library" ] || {
        complain "$library: not built yet, so its symbols cannot be looked at"
        return
    }
    for name in $(nm -g --defined-only "$library" 2>/dev/null |
        awk 'NF == 3 { print $3 }' | grep -vE '^mr_|^__(asan|odr_asan|sanc|start|stop)' | sort -u); do
        complain "$library: the global symbol $name lacks the prefix mr_"
    done
}

check_lengths() {
    local found
    # Bytes that continue a character take no column.
    found=$(LC_ALL=C awk '
        FNR == 1 { start = 0 }
        { gsub(/[\200-\277]/, "") }
        length($0) > 80 && !/https?:/ { print FILENAME ":" FNR ": longer than 80 columns" }
        /^\{/ { start = FNR }
        /^\}/ && start {
            if (FNR - start - 1 > 70)
                print FILENAME ":" start ": a function of " FNR - start - 1 " lines; 70 are the most"
            start = 0
        }' mr/*.[ch] mr/*.def cmd/*.[ch] cmd/*.def tests/*.[ch] tests/*/*.[ch] 2>/dev/null)
    [ -z "$found" ] || complain "$found"
}

# A unit test that no Makefile names would never run.
check_tests() {
    local file
    for file in tests/unit/*.c; do
        grep -q "${file%.c}\b" Makefile.am || complain "$file: not in Makefile.am"
    done
    for file in mr/*.[ch] cmd/*.[ch]; do
        grep -q "$file" Makefile.am || complain "$file: not in Makefile.am"
    done
}

check_ranks
check_document
check_faces
check_fences
check_names
check_lengths
check_tests
exit "$bad"
