#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/mr.h"
#include "mr/spec_private.h"

#include "tests/unit/random.h"

static const char lake_text[] = "format: json\n"
                                "records: \"\"\n"
                                "csv: {}\n"
                                "id: data.id\n"
                                "type: data.type\n"
                                "attributes: data.attributes\n"
                                "time: meta.created_at\n"
                                "time_format: epoch_ms\n"
                                "time_zone: UTC\n"
                                "zone: UTC\n"
                                "user: data.attributes.user_id\n"
                                "identity: shared\n"
                                "url: \"\"\n"
                                "session_gap_ms: 1800000\n"
                                "max_line_bytes: 16777216\n"
                                "max_depth: 1024\n"
                                "sketch_bits: 14\n"
                                "users_table: null\n"
                                "rollups: []\n"
                                "duplicates: null\n"
                                "segments: {}\n"
                                "segments_by: []\n";

/* What a file of rows must say at least. */
#define COLUMNS "id: a\ntype: b\ntime: c\nuser: d\n"
/* ... and one of numbered columns, as its first line. */
#define NUMBERED                                                               \
    "{format: csv, csv: {header: false}, id: 1, type: 2, time: 3, user: 4,\n"

/* Load a spec from a temporary file that holds n bytes. */
static enum mr_status load_bytes(
    const char *bytes, size_t n, struct mr_spec *spec, struct mr_error *err)
{
    const char *folder = getenv("TMPDIR");
    enum mr_status status;
    char path[400];
    ssize_t written;
    int fd;

    snprintf(path, sizeof(path), "%s/mr-spec-XXXXXX", folder ? folder : "/tmp");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    written = write(fd, bytes, n);
    assert_int_equal(written, n);
    close(fd);
    memset(err, 0, sizeof(*err));
    status = mr_spec_load(path, spec, err);
    if (status != MR_OK)
        assert_string_equal(err->path, path);
    unlink(path);
    return status;
}

static enum mr_status load(
    const char *text, struct mr_spec *spec, struct mr_error *err)
{
    return load_bytes(text, strlen(text), spec, err);
}

static void assert_text(const struct mr_spec *spec, const char *want)
{
    struct mr_buffer b = {0};

    assert_int_equal(mr_spec_text(spec, &b), MR_OK);
    assert_int_equal(b.n, strlen(want));
    assert_memory_equal(b.p, want, b.n);
    mr_buffer_release(&b);
}

/* Refused, with these words in the cause and the advice. */
static void assert_refused(
    const char *text, const char *cause, const char *advice)
{
    struct mr_spec spec, before;
    struct mr_error err;

    memset(&spec, 0x11, sizeof(spec));
    before = spec;
    assert_int_equal(load(text, &spec, &err), MR_USAGE);
    assert_int_equal(err.status, MR_USAGE);
    assert_memory_equal(&spec, &before, sizeof(spec));
    if (!strstr(err.cause, cause))
        fail_msg("cause is '%s', not '%s'", err.cause, cause);
    if (!strstr(err.advice, advice))
        fail_msg("advice is '%s', not '%s'", err.advice, advice);
}

static struct mr_spec loaded(const char *text)
{
    struct mr_spec spec;
    struct mr_error err;

    if (load(text, &spec, &err) != MR_OK)
        fail_msg("%s; %s", err.cause, err.advice);
    return spec;
}

static void test_lake(void **state)
{
    struct mr_spec spec, again;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, &err), MR_OK);
    assert_text(&spec, lake_text);
    assert_int_equal(mr_spec_load("lake", &again, &err), MR_OK);
    assert_text(&again, lake_text);
    again = loaded(lake_text);
    assert_text(&again, lake_text);
    again = loaded("{}");
    assert_text(&again, lake_text);
    assert_int_equal(mr_spec_builtin("lakes", &spec, &err), MR_USAGE);
    assert_non_null(strstr(err.advice, "'lake'"));
}

/* The defaults that the manual gives are those that there are. */
static void test_defaults_in_the_table(void **state)
{
    static const struct {
        const char *group, *name, *preset;
    } key[] = {
#define SPEC_KEY(group, id, name, form, least, most, preset, meaning)          \
    {#group, name, preset},
#include "mr/spec_keys.def"
#undef SPEC_KEY
    };
    struct mr_buffer b = {0};
    struct mr_spec spec;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
        char line[100];

        if (strcmp(key[i].group, "TOP") != 0)
            continue;
        snprintf(line, sizeof(line), "%s: %s\n", key[i].name, key[i].preset);
        assert_int_equal(mr_buffer_add(&b, line, strlen(line)), MR_OK);
    }
    assert_int_equal(mr_buffer_add(&b, "", 1), MR_OK);
    spec = loaded((char *)b.p);
    assert_text(&spec, lake_text);
    mr_buffer_release(&b);
}

/* What is left out is the lake spec's; order and style are free. */
static void test_load(void **state)
{
    struct mr_spec spec = loaded("# ours\n---\nsketch_bits: 12   # small\n"
                                 "'user': \"actor.id\"\nattributes:\n"
                                 "type: kind\nmax_depth: 65536\nid: ''\n...\n");

    (void)state;
    assert_string_equal(spec.field[MR_FIELD_ID], "");
    assert_string_equal(spec.field[MR_FIELD_TYPE], "kind");
    assert_string_equal(spec.field[MR_FIELD_ATTRIBUTES], "");
    assert_string_equal(spec.field[MR_FIELD_TIME], "meta.created_at");
    assert_string_equal(spec.field[MR_FIELD_USER], "actor.id");
    assert_string_equal(spec.user[0], "actor.id");
    assert_int_equal(spec.n_users, 1);
    assert_int_equal(spec.max_depth, 65536);
    assert_int_equal(spec.sketch_bits, 12);
    spec = loaded("{session_gap_ms: 0, max_line_bytes: 1}");
    assert_int_equal(spec.session_gap_ms, 0);
    assert_int_equal(spec.max_line_bytes, 1);
}

static void test_formats(void **state)
{
    struct mr_spec spec = loaded("format: json-array\nrecords: a.Records\n");

    (void)state;
    assert_int_equal(spec.format, MR_INPUT_JSON_ARRAY);
    assert_string_equal(spec.records, "a.Records");
    spec = loaded("format: json-values\n");
    assert_int_equal(spec.format, MR_INPUT_JSON_VALUES);
    spec = loaded("format: csv\n" COLUMNS);
    assert_int_equal(spec.format, MR_INPUT_CSV);
    assert_int_equal(spec.csv.delimiter, ',');
    assert_int_equal(spec.csv.quote, '"');
    assert_true(spec.csv.header && !spec.csv.backslash);
    assert_false(spec.csv.skip_spaces);
    assert_int_equal(spec.csv.n_nulls, 0);
    assert_string_equal(spec.field[MR_FIELD_ATTRIBUTES], "");
    spec = loaded("format: tsv\nid: 7\ntype: \"127\"\ntime: 1\nuser: 65535\n");
    assert_int_equal(spec.format, MR_INPUT_TSV);
    assert_int_equal(spec.csv.delimiter, '\t');
    assert_int_equal(spec.csv.quote, '\0');
    assert_false(spec.csv.header);
    assert_string_equal(spec.field[MR_FIELD_ID], "7");
    assert_string_equal(spec.field[MR_FIELD_TYPE], "127");
    assert_string_equal(spec.user[0], "65535");
    spec = loaded("csv: {delimiter: \"\\x01\", quote: \"'\", escape: backslash,"
                  " header: true, skip_spaces: true,\n"
                  " nulls: [NULL, \\N, -, 'x y']}\n"
                  "format: tsv\n" COLUMNS);
    assert_int_equal(spec.csv.delimiter, 1);
    assert_int_equal(spec.csv.quote, '\'');
    assert_true(spec.csv.backslash && spec.csv.header && spec.csv.skip_spaces);
    assert_int_equal(spec.csv.n_nulls, 4);
    assert_string_equal(spec.csv.null[0], "-");
    assert_string_equal(spec.csv.null[1], "NULL");
    assert_string_equal(spec.csv.null[2], "\\N");
    assert_string_equal(spec.csv.null[3], "x y");
    assert_string_equal(spec.field[MR_FIELD_TIME], "c");
}

static void test_times_and_users(void **state)
{
    static const char *const words[] = {
        "epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "iso8601"};
    struct mr_spec spec;
    char text[100];
    unsigned i;

    (void)state;
    for (i = 0; i < 5; i++) {
        snprintf(text, sizeof(text), "time_format: %s\n", words[i]);
        spec = loaded(text);
        assert_int_equal(spec.time_kind, i);
    }
    spec = loaded("time_format: '%d/%m/%Y %H:%M:%S'\n"
                  "time_zone: America/Argentina/Buenos_Aires\n"
                  "zone: Etc/GMT+1\nidentity: tagged\n"
                  "user: [user_id, a.b, network_userid]\ntype: '=page_view'\n"
                  "url: page.url\n");
    assert_int_equal(spec.time_kind, MR_TIME_PATTERN);
    assert_string_equal(spec.time_pattern, "%d/%m/%Y %H:%M:%S");
    assert_string_equal(spec.time_zone, "America/Argentina/Buenos_Aires");
    assert_string_equal(spec.zone, "Etc/GMT+1");
    assert_true(spec.tagged);
    assert_int_equal(spec.n_users, 3);
    assert_string_equal(spec.user[0], "user_id");
    assert_string_equal(spec.user[2], "network_userid");
    assert_string_equal(spec.field[MR_FIELD_USER], "user_id");
    assert_string_equal(spec.field[MR_FIELD_TYPE], "=page_view");
    assert_string_equal(spec.url, "page.url");
}

/* One of everything. */
static const char full[] =
    "format: csv\n"
    "csv: {header: false, quote: \"'\", nulls: [\\N]}\n"
    "id: 1\ntype: 2\ntime: 3\nuser: [4, 5]\nidentity: tagged\nurl: 6\n"
    "time_format: iso8601\ntime_zone: Europe/Berlin\nzone: Asia/Kolkata\n"
    "users_table:\n"
    "  file: sub/users.csv\n"
    "  id: uid\n"
    "  csv: {delimiter: ';'}\n"
    "  ranges: {age: [50-80, 18-49, 0-0, 4294967295-4294967295]}\n"
    "rollups:\n"
    "  - name: hourly\n"
    "    by: [{time bucket: hour}, day, {site: url.host}, {p9: url.path9},\n"
    "         {k: path.date}, users.age, {c: 7}, type]\n"
    "    users: both\n"
    "    events_as: 'n'\n"
    "    users_as: u\n"
    "    max_groups: 1000000\n"
    "  - {name: small, by: [8], users: estimate}\n"
    "duplicates: {max_ids: 5, exact: true}\n"
    "segments:\n"
    "  valuable: {VIEW: '>=5', CLICK: '>10', \"no\": '=0',\n"
    "    a b: '<4294967295', z: '<=1'}\n"
    "  all: {VIEW: '>0'}\n"
    "segments_by: [users.country, {a: users.age}]\n"
    "rows:\n"
    "  - user\n"
    "  - time_stamp: {field: time, format: '%d/%m/%Y'}\n"
    "  - {t2: {field: time}}\n"
    "  - {t3: {field: time, format: iso8601}}\n"
    "  - x: 9\n"
    "  - id\n";

static void test_table(void **state)
{
    struct mr_spec spec = loaded(full);

    (void)state;
    assert_true(spec.users_table.given);
    assert_non_null(strstr(spec.users_table.file, "/sub/users.csv"));
    assert_string_equal(spec.users_table.id, "uid");
    assert_int_equal(spec.users_table.csv.delimiter, ';');
    assert_true(spec.users_table.csv.header);
    assert_string_equal(spec.users_table.ranged, "age");
    assert_int_equal(spec.users_table.n_ranges, 4);
    assert_int_equal(spec.users_table.range[0].high, 0);
    assert_int_equal(spec.users_table.range[1].low, 18);
    assert_int_equal(spec.users_table.range[1].high, 49);
    assert_int_equal(spec.users_table.range[2].low, 50);
    assert_int_equal(spec.users_table.range[3].low, UINT32_MAX);
}

static void test_rollups(void **state)
{
    struct mr_spec spec = loaded(full);
    const struct mr_rollup *r = spec.rollup;

    (void)state;
    assert_int_equal(spec.n_rollups, 2);
    assert_string_equal(r->name, "hourly");
    assert_int_equal(r->n_by, 8);
    assert_string_equal(r->by[0].name, "time bucket");
    assert_int_equal(r->by[0].from, MR_FROM_HOUR);
    assert_string_equal(r->by[1].name, "day");
    assert_int_equal(r->by[1].from, MR_FROM_DAY);
    assert_int_equal(r->by[2].from, MR_FROM_HOST);
    assert_int_equal(r->by[3].from, MR_FROM_STEP);
    assert_int_equal(r->by[3].number, 9);
    assert_int_equal(r->by[4].from, MR_FROM_FOLDER);
    assert_string_equal(r->by[4].text, "date");
    assert_int_equal(r->by[5].from, MR_FROM_TABLE);
    assert_string_equal(r->by[5].text, "age");
    assert_string_equal(r->by[5].name, "users.age");
    assert_int_equal(r->by[6].from, MR_FROM_PATH);
    assert_string_equal(r->by[6].text, "7");
    assert_int_equal(r->by[7].from, MR_FROM_TYPE);
    assert_int_equal(r->users, MR_USERS_EXACT | MR_USERS_ESTIMATE);
    assert_string_equal(r->events_as, "n");
    assert_string_equal(r->users_as, "u");
    assert_int_equal(r->max_groups, 1000000);
    r++;
    assert_string_equal(r->by[0].name, "8");
    assert_int_equal(r->users, MR_USERS_ESTIMATE);
    assert_string_equal(r->events_as, "events");
    assert_string_equal(r->users_as, "users");
    assert_int_equal(r->max_groups, 100000);
}

static void test_segments_and_rows(void **state)
{
    struct mr_spec spec = loaded(full);
    const struct mr_segment *s = spec.segment;

    (void)state;
    assert_int_equal(spec.max_ids, 5);
    assert_true(spec.exact_ids);
    assert_int_equal(spec.n_segments, 2);
    assert_string_equal(s[0].name, "all");
    assert_int_equal(s[1].n_conditions, 5);
    assert_string_equal(s[1].condition[0].type, "CLICK");
    assert_int_equal(s[1].condition[0].comparison, MR_ABOVE);
    assert_int_equal(s[1].condition[0].count, 10);
    assert_string_equal(s[1].condition[1].type, "VIEW");
    assert_int_equal(s[1].condition[1].comparison, MR_AT_LEAST);
    assert_int_equal(s[1].condition[2].comparison, MR_BELOW);
    assert_int_equal(s[1].condition[2].count, UINT32_MAX);
    assert_string_equal(s[1].condition[3].type, "no");
    assert_int_equal(s[1].condition[3].comparison, MR_EQUAL);
    assert_int_equal(s[1].condition[4].comparison, MR_AT_MOST);
    assert_int_equal(spec.n_segments_by, 2);
    assert_string_equal(spec.segments_by[1].name, "a");
    assert_string_equal(spec.segments_by[1].text, "age");

    assert_int_equal(spec.n_rows, 6);
    assert_int_equal(spec.rows[0].from, MR_FROM_USER);
    assert_string_equal(spec.rows[1].name, "time_stamp");
    assert_int_equal(spec.rows[1].from, MR_FROM_TIME);
    assert_string_equal(spec.rows[1].format, "%d/%m/%Y");
    assert_string_equal(spec.rows[2].format, "");
    assert_string_equal(spec.rows[3].format, "");
    assert_string_equal(spec.rows[4].text, "9");
    assert_int_equal(spec.rows[5].from, MR_FROM_ID);
}

static void test_small_figures(void **state)
{
    struct mr_spec spec = loaded("duplicates: {}\n"
                                 "users_table: {file: /abs/u.csv}\n"
                                 "rollups: [{name: a, by: [.type, ..x]}]\n"
                                 "format: csv\n" COLUMNS);

    (void)state;
    assert_int_equal(spec.max_ids, 1000000);
    assert_false(spec.exact_ids);
    assert_string_equal(spec.users_table.file, "/abs/u.csv");
    assert_string_equal(spec.users_table.id, "user_id");
    assert_int_equal(spec.rollup[0].by[0].from, MR_FROM_PATH);
    assert_string_equal(spec.rollup[0].by[0].name, "type");
    assert_string_equal(spec.rollup[0].by[0].text, "type");
    assert_string_equal(spec.rollup[0].by[1].text, ".x");
    assert_int_equal(spec.rollup[0].users, MR_USERS_EXACT);
    spec = loaded("users_table: null\nduplicates: null\n");
    assert_false(spec.users_table.given);
    assert_int_equal(spec.max_ids, 0);
}

/* A text, and words of the cause and the advice that it is refused with. */
struct refusal {
    const char *text, *cause, *advice;
};

static void assert_all_refused(const struct refusal *r, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        assert_refused(r[i].text, r[i].cause, r[i].advice);
}
#define ASSERT_ALL_REFUSED(list)                                               \
    assert_all_refused(list, sizeof(list) / sizeof((list)[0]))

static void test_refused_settings(void **state)
{
    static const struct refusal list[] = {
        {"sesion_gap_ms: 5\n", "line 1, column 1: unknown key 'sesion_gap_ms'",
            "'session_gap_ms'"},
        {"id: a\nuser_id: b\n", "line 2, column 1: unknown key", "user"},
        {"typ: b\n", "unknown key 'typ'", "'type'"},
        {"<<: {id: a}\n", "unknown key '<<'", "'id'"},
        {"sketch_bits: 3\n", "line 1, column 14: '3': out of range",
            "'sketch_bits' must be a whole number from 4 to 18"},
        {"sketch_bits: 19\n", "out of range", "from 4 to 18"},
        {"max_depth: 0\n", "out of range", "from 1 to 65536"},
        {"max_depth: 65537\n", "out of range", "from 1 to 65536"},
        {"max_line_bytes: 1073741825\n", "out of range", "1073741824"},
        {"session_gap_ms: 86400001\n", "out of range", "86400000"},
        {"max_depth: 4294967297\n", "out of range", ""},
        {"max_depth: 99999999999999999999\n", "whole number", ""},
        {"max_depth: -1\n", "whole number", "whole number"},
        {"max_depth: 1e3\n", "whole number", ""},
        {"max_depth: \"12\"\n", "a string, not a number", ""},
        {"max_depth: [12]\n",
            "line 1, column 12: 'max_depth': not a single value", ""},
        {"max_depth:\n", "whole number", ""},
        {"format: cvs\n",
            "line 1, column 9: 'cvs': not known; the nearest is 'csv'",
            "'format' must be json, json-values, json-array, csv or tsv"},
        {"identity: share\n", "nearest is 'shared'", "tagged"},
        {"time_format: iso\n", "nearest is 'iso8601'", "a pattern"},
        {"time_format: epoch\n", "nearest is 'epoch_s'", ""},
        {"time_format: ['%Y']\n", "not a single value", ""},
        {"time_format: '%Q'\n",
            "line 1, column 14: 'time_format': the pattern of times has %Q",
            "known are %Y %y"},
        {"time_format: '%d/%m'\n", "line 1, column 14: 'time_format': a", "%Y"},
        {"time_format: '%'\n", "line 1, column 14: 'time_format': the", "%%"},
        {"zone: Mars/Phobos\n", "line 1, column 7: no zone 'Mars/Phobos'",
            "Europe/Madrid"},
        {"time_format: iso8601\ntime_zone: Mars/Phobos\n",
            "line 2, column 12: no zone 'Mars/Phobos'", "Europe/Madrid"},
        {"time_zone: +01:00\n", "no zone's name", "Europe/Berlin"},
        {"zone: ../../etc/passwd\n", "no zone's name", ""},
        {"zone: /etc/passwd\n", "no zone's name", ""},
        {"zone: ''\n", "empty", ""},
        {"id: a\nid: a\n", "line 2, column 1: 'id' stands here a", "keep one"},
        {"digest: 1\n", "unknown key 'digest'", ""},
        {"time_zone: Europe/Berlin\n",
            "line 1, column 12: times since 1970 have no zone", "'zone'"},
    };

    (void)state;
    ASSERT_ALL_REFUSED(list);
}

static void test_refused_paths(void **state)
{
    static const struct refusal list[] = {
        {"type: \"\"\n", "empty", "data.type"},
        {"user:\n", "empty", "data.attributes.user_id"},
        {"id: a..b\n", "between dots", ""},
        {"id: .a\n", "between dots", ""},
        {"id: a.\n", "between dots", ""},
        {"id: ~\n", "not a string", ""},
        {"id: Null\n", "not a string", ""},
        {"id: yes\n", "not a string", ""},
        {"id: 12\n", "not a string", ""},
        {"id: -1.5e3\n", "not a string", ""},
        {"id: \"a\\tb\"\n", "control character", ""},
        {"id: \"a\\0b\"\n", "control character", ""},
        {"id: \"a\\Lb\"\n", "control character", ""},
        {"id: a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q\n", "16 keys", ""},
        {"type: =\n", "no type behind the '='", ""},
        {"user: []\n", "line 1, column 7: 'user': empty", ""},
        {"user: [a,b,c,d,e,f,g,h,i]\n", "more than 8", ""},
        {"user: [a, b, a]\n", "column 14: 'a': a second time", ""},
        {"user: [a, [b]]\n", "column 11: 'user': not a single", ""},
        {"user: {a: b}\n", "not a single value", ""},
    };
    char line[400];

    (void)state;
    ASSERT_ALL_REFUSED(list);
    snprintf(line, sizeof(line), "id: %0300d\n", 0);
    line[4] = 'x';
    assert_refused(line, "longer than 256", "");
}

static void test_refused_rows(void **state)
{
    static const struct refusal list[] = {
        {"csv: {header: false}\n",
            "line 1, column 6: 'csv' is for the formats csv and tsv, and this "
            "is json",
            "'format: csv'"},
        {"csv: [a]\n", "is for the formats csv and tsv", ""},
        {"format: csv\ncsv: [a]\n" COLUMNS, "no mapping", ""},
        {"records: a\n",
            "line 1, column 10: 'records' is for the format json-array, and "
            "this is json",
            "json-array"},
        {"format: json-array\nrecords: a..b\n", "between dots", ""},
        {"format: csv\nid: a\ntype: b\ntime: c\n",
            "line 1, column 9: with csv and tsv 'user' must be given",
            "'user: '"},
        {"format: csv\nattributes: a\n" COLUMNS,
            "rows of csv and tsv have no objects", "leave 'attributes' out"},
        {"format: csv\ncsv: {delimeter: ';'}\n" COLUMNS,
            "line 2, column 7: unknown key 'delimeter'", "'delimiter'"},
        {"format: csv\ncsv: {delimiter: ';;'}\n" COLUMNS, "a single byte", ""},
        {"format: csv\ncsv: {delimiter: '\"'}\n" COLUMNS, "cannot part fields",
            ""},
        {"format: csv\ncsv: {delimiter: \"\\0\"}\n" COLUMNS,
            "cannot part fields", ""},
        {"format: csv\ncsv: {delimiter: \xc2\xa7}\n" COLUMNS,
            "not a single byte", ""},
        {"format: csv\ncsv: {quote: '|'}\n" COLUMNS, "no quote", ""},
        {"format: csv\ncsv: {escape: doubel}\n" COLUMNS, "'double'", ""},
        {"format: tsv\ncsv: {escape: backslash}\n" COLUMNS,
            "line 2, column 15: 'escape' is about quotes, and there are none",
            ""},
        {"format: csv\ncsv: {header: yes}\n" COLUMNS,
            "line 2, column 15: 'yes': neither true nor false",
            "true or false"},
        {"format: csv\ncsv: {header: 'true'}\n" COLUMNS,
            "neither true nor false", ""},
        {"format: csv\ncsv: {delimiter: ' ', skip_spaces: true}\n" COLUMNS,
            "so they cannot be skipped", ""},
        {"format: csv\ncsv: {nulls: [a, b, a]}\n" COLUMNS, "second time", ""},
        {"format: csv\ncsv: {nulls: ['']}\n" COLUMNS, "empty", ""},
        {"format: csv\ncsv: {nulls: [12345678901234567]}\n" COLUMNS,
            "longer than 16 bytes", ""},
        {"format: csv\ncsv: {nulls: [1,2,3,4,5,6,7,8,9]}\n" COLUMNS,
            "more than 8", ""},
        {"format: csv\ncsv: {nulls: a}\n" COLUMNS, "no list", ""},
        {"format: csv\nid: 0\ntype: b\ntime: c\nuser: d\n",
            "line 2, column 5: '0': columns are numbered from 1", ""},
        {"format: csv\nid: 65536\ntype: b\ntime: c\nuser: d\n",
            "columns are numbered from 1 to 65535", ""},
        {"format: csv\nid: \"01\"\ntype: b\ntime: c\nuser: d\n",
            "columns are numbered from 1 to 65535", ""},
        {NUMBERED "url: page}",
            "line 2, column 6: 'page': a name, but without a header row", ""},
    };

    (void)state;
    ASSERT_ALL_REFUSED(list);
}

static void test_refused_table(void **state)
{
    static const struct refusal list[] = {
        {"users_table: {}\n",
            "line 1, column 14: 'users_table': 'file' is missing", "users.csv"},
        {"users_table: users.csv\n", "no mapping", "{file: "},
        {"users_table: {fiel: a}\n", "line 1, column 15: unknown key 'fiel'",
            "'file'"},
        {"users_table: {file: a, users: 5}\n", "unknown key", ""},
        {"users_table: {file: a, csv: {heador: true}}\n",
            "column 30: unknown key 'heador'", "'header'"},
        {"users_table: {file: a, csv: {header: false}}\n",
            "without a header row 'id' must be given", ""},
        {"users_table: {file: a, id: b, csv: {header: false}}\n",
            "column 28: 'b': a name, but without a header row", ""},
        {"users_table: {file: a, ranges: {a: [1-2], b: [3-4]}}\n",
            "more than 1", ""},
        {"users_table: {file: a, ranges: {a: 1-2}}\n", "no list", ""},
        {"users_table: {file: a, ranges: {a: []}}\n", "empty", ""},
        {"users_table: {file: a, ranges: {a: [1-2, 2-3]}}\n",
            "line 1, column 42: '2-3': overlaps another range", ""},
        {"users_table: {file: a, ranges: {a: [5-6, 1-9]}}\n",
            "'1-9': overlaps another range", ""},
        {"users_table: {file: a, ranges: {a: [9-1]}}\n",
            "'9-1': no range of two numbers", "18-49"},
        {"users_table: {file: a, ranges: {a: [18]}}\n",
            "no range of two numbers", ""},
        {"users_table: {file: a, ranges: {a: [1-4294967296]}}\n",
            "no range of two numbers", ""},
        {"users_table: {file: a, ranges: {a: [-1]}}\n",
            "no range of two numbers", ""},
    };

    (void)state;
    ASSERT_ALL_REFUSED(list);
}

static void test_refused_rollups(void **state)
{
    static const struct refusal list[] = {
        {"rollups: {}\n", "'rollups': no list", ""},
        {"rollups: [a]\n", "no mapping", ""},
        {"rollups: [{by: [day]}]\n",
            "line 1, column 11: the rollup's 'name' is missing", "by_country"},
        {"rollups: [{name: a}]\n", "the rollup's 'by' is missing", ""},
        {"rollups: [{name: a, by: []}]\n", "empty", "1 to 8 fields"},
        {"rollups: [{name: a, by: [b,c,d,e,f,g,h,i,j]}]\n", "more than 8", ""},
        {"rollups:\n  - name: a\n    by: [day]\n    event_as: n\n",
            "line 4, column 5: unknown key 'event_as'", "'events_as'"},
        {"rollups: [{name: a b, by: [day]}]\n", "other than letters",
            "'name' must be 1 to 64 letters"},
        {"rollups: [{name: daily_by_type, by: [day]}]\n",
            "line 1, column 18: reduce writes another file of the name "
            "'daily_by_type.csv'",
            "choose another"},
        {"rollups: [{name: Segments, by: [day]}]\n",
            "another file of the name 'segments.csv'", ""},
        {"rollups: [{name: a, by: [day]}, {name: A, by: [day]}]\n",
            "line 1, column 40: a second rollup of the name 'A'", ""},
        {"rollups: [{name: a, by: [day, {day: type}]}]\n",
            "line 1, column 31: 'by': a second column of the name 'day'", ""},
        {"rollups: [{name: a, by: [{events: type}]}]\n",
            "two columns of the name 'events'", "another name"},
        {"rollups:\n  - {name: r, by: [{events: type}], events_as: hits}\n",
            "kpis.json has a key of the name 'events'", "another name"},
        {"rollups:\n  - {name: r, by: [{users_estimate: type}], users: both, "
         "users_as: visitors}\n",
            "kpis.json has a key of the name 'users_estimate'", ""},
        {"rollups: [{name: a, by: [{u: day}], users_as: u}]\n",
            "two columns of the name 'u'", ""},
        {"rollups: [{name: a, by: [u_estimate], users_as: u, users: both}]\n",
            "two columns of the name 'u_estimate'", ""},
        {"rollups: [{name: a, by: [day], users: exac}]\n", "nearest is 'exact'",
            "estimate or both"},
        {"rollups: [{name: a, by: [day], max_groups: 0}]\n", "out of range",
            "from 1 to 1000000"},
        {"rollups: [{name: a, by: [day], max_groups: 1000001}]\n",
            "out of range", ""},
        {"rollups: [{name: a, by: [url.host]}]\n",
            "line 1, column 26: 'url.host': 'url' does not say where", ""},
        {"url: u\nrollups: [{name: a, by: [url.path10]}]\n",
            "of a URL there are url.host and", ""},
        {"url: u\nrollups: [{name: a, by: [url.path0]}]\n",
            "of a URL there are url.host and", ""},
        {"rollups: [{name: a, by: [users.age]}]\n",
            "'users.age': there is no 'users_table'", ""},
        {"rollups: [{name: a, by: [user]}]\n",
            "'user': for rows only; with a dot before it", ""},
        {"rollups: [{name: a, by: [time]}]\n", "rows only", ""},
        {"rollups: [{name: a, by: [id]}]\n", "rows only", ""},
        {"rollups: [{name: a, by: [path.]}]\n", "empty", ""},
        {"rollups: [{name: a, by: [path.a/b]}]\n", "folder's key", ""},
        {"rollups: [{name: a, by: [a..b]}]\n", "between dots", ""},
        {"rollups: [{name: a, by: [{x: day, y: day}]}]\n",
            "a column is a field, or one {name: field}", ""},
        {"rollups: [{name: a, by: [{x: {field: time}}]}]\n",
            "not a single value", ""},
        {NUMBERED "rollups: [{name: a, by: [page]}]}",
            "line 2, column 26: 'page': a name, but without a header", ""},
    };
    char text[400];

    (void)state;
    ASSERT_ALL_REFUSED(list);
    snprintf(text, sizeof(text), "rollups: [{name: a, by: [x%070d]}]\n", 0);
    assert_refused(text, "longer than 64 bytes; give it a name", "");
    snprintf(text, sizeof(text), "rollups: [{name: x%064d, by: [day]}]\n", 0);
    assert_refused(text, "longer than 64 bytes", "");
}

static void test_refused_figures(void **state)
{
    static const struct refusal list[] = {
        {"rollups: [{name: r, by: [{further_groups: type}]}]\n",
            "kpis.json has a key of the name 'further_groups'", ""},
        {"duplicates: true\n", "no mapping", "or null"},
        {"duplicates:\n", "no mapping", ""},
        {"duplicates: {max_id: 5}\n", "line 1, column 14: unknown key 'max_id'",
            "'max_ids'"},
        {"duplicates: {max_ids: 0}\n", "out of range", "from 2 to"},
        {"duplicates: {exact: 1}\n", "neither true nor false", ""},
        {"id: ''\nduplicates: {}\n",
            "line 2, column 13: duplicates are told by events' ids",
            "set 'id'"},
        {"segments: [a]\n", "no mapping", ""},
        {"segments: {a: {}}\n", "column 15: 'segments': empty", ""},
        {"segments: {a b: {V: '>1'}}\n", "other than letters", ""},
        {"segments: {a: {V: '>1'}, a: {W: '>1'}}\n",
            "line 1, column 26: 'a': a second segment", ""},
        {"segments: {a: {V: '>1', V: '<9'}}\n",
            "line 1, column 25: 'V': a second condition", ""},
        {"segments: {a: {V: 5}}\n",
            "line 1, column 19: '5': begins with none of >=", ""},
        {"segments: {a: {V: '=>5'}}\n", "begins with none of", ""},
        {"segments: {a: {V: '>=x'}}\n", "no whole number", ""},
        {"segments: {a: {V: '>= 5'}}\n", "no whole number", ""},
        {"segments: {a: {V: '>='}}\n", "no whole number", ""},
        {"segments: {a: {V: '>4294967296'}}\n", "2^32", ""},
        {"segments: {a: {V: '<0'}}\n", "no number is below 0", ""},
        {"segments: {a: {'': '<1'}}\n", "empty", ""},
        {"segments_by: [users.age]\n",
            "line 1, column 14: 'segments_by' are columns of the users table",
            "users_table"},
        {"users_table: {file: a}\nsegments_by: [users.age]\n",
            "line 2, column 14: 'segments_by' parts segments", "'segments'"},
        {"users_table: {file: a}\nsegments: {a: {V: '>1'}}\n"
         "segments_by: [type]\n",
            "line 3, column 15: 'type': no column of the users table", ""},
        {"rows: [user, {user: id}]\n", "second column", ""},
        {"rows: [{a: {field: type, format: '%Y'}}]\n",
            "line 1, column 34: only the field time has a format", ""},
        {"rows: [{a: {feild: time}}]\n", "unknown key", "'field'"},
        {"rows: [{a: {format: '%Y'}}]\n", "'field' is missing", ""},
        {"rows: [{t: {field: time, format: '%G-W%V'}}]\n",
            "line 1, column 34: 'format': the pattern of times has %G",
            "known are %Y %y"},
        {"rows: [{t: {field: time, format: '%H:%Z'}}]\n", "has %Z", "%z %a"},
        {"rows: [{t: {field: time, format: '%5Y'}}]\n", "has %5", "%z"},
        {"rows: [{t: {field: time, format: '%'}}]\n",
            "line 1, column 34: 'format': the pattern of times ends", "%%"},
        {"rows: [{a: {field: time, format: iso}}]\n",
            "neither iso8601 nor a pattern", ""},
        {"id: ''\nrows: [id]\n", "events have no id", ""},
        {"rows: [{yes: id}]\n", "not a string", ""},
    };

    (void)state;
    ASSERT_ALL_REFUSED(list);
}

static void test_refused_ids(void **state)
{
    static const struct refusal list[] = {
        {"rollups: [{name: a, by: [data.attributes.user_id]}]\n",
            "column 26: 'data.attributes.user_id': it is the user's id, which "
            "no state may hold",
            ""},
        {"user: [a, b.c]\nrollups: [{name: a, by: [day, {who: b.c}]}]\n",
            "line 2, column 37: 'b.c': it is the user's id", ""},
        {"user: a\nrollups: [{name: a, by: [.a]}]\n", "'.a': it is the user's",
            ""},
        {"user: [a, b]\nurl: b\nrollups: [{name: a, by: [url.path1]}]\n",
            "'url.path1': it is the user's id", ""},
        {"users_table: {file: f}\nrollups: [{name: a, by: [users.user_id]}]\n",
            "'users.user_id': it is the user's id", ""},
        {"users_table: {file: a, id: u}\nsegments: {a: {V: '>1'}}\n"
         "segments_by: [users.u]\n",
            "line 3, column 15: 'users.u': it is the user's id", ""},
        {"type: a\nuser: [b, a]\n",
            "line 1, column 7: 'a' is the type and the user's id, which no "
            "state may hold",
            "another field"},
        {"user: data.type\n",
            "line 1, column 7: 'data.type' is the type and the user's id", ""},
    };

    (void)state;
    ASSERT_ALL_REFUSED(list);
}

static void test_refused_yaml(void **state)
{
    struct mr_spec spec;
    struct mr_error err;

    (void)state;
    assert_refused("", "the file is empty", "key: value");
    assert_refused("# nothing\n", "the file is empty", "");
    assert_refused("- id\n", "a spec is a mapping", "");
    assert_refused("id: [a\n", "not YAML", "");
    assert_refused("id: [a]\n", "not a single value", "");
    assert_refused("a: [[[[[[[[[[1]]]]]]]]]]\n", "nested too deeply", "");
    assert_refused("user: [&x a]\n", "column 8: anchors and tags", "");
    assert_refused("user: &x [a]\n", "anchors and tags", "");
    assert_refused("csv: !t {}\n", "anchors and tags", "");
    assert_refused("user: [a, *x]\n", "aliases", "");
    assert_refused("id: \"a\n", "not YAML", "");
    assert_refused("id: a\n---\nid: b\n", "one document", "");
    assert_refused("id: &x a\n", "anchors and tags", "");
    assert_refused("&x id: a\n", "anchors and tags", "");
    assert_refused("&x\nid: a\n", "anchors and tags", "");
    assert_refused("!!map\nid: a\n", "anchors and tags", "");
    assert_refused("id: !!str a\n", "anchors and tags", "");
    assert_refused("id: *x\n", "aliases", "");
    assert_refused("? [a]\n: b\n", "a key must be a single", "");
    assert_refused("csv: {[a]: b}\n", "a key must be a single", "");
    assert_refused("id: a\xff\n", "not YAML", "UTF-8");
    assert_int_equal(load_bytes("id: a\0b\n", 8, &spec, &err), MR_USAGE);
}

static void test_refused_files(void **state)
{
    struct mr_spec spec;
    struct mr_error err = {0};
    char *large = malloc((1 << 20) + 2);

    (void)state;
    assert_int_equal(
        mr_spec_load("/nonexistent/spec.yaml", &spec, &err), MR_USAGE);
    assert_string_equal(err.path, "/nonexistent/spec.yaml");
    assert_string_equal(err.action, "cannot use spec");
    assert_non_null(strstr(err.cause, "No such file"));
    assert_non_null(strstr(err.advice, "'lake'"));
    assert_int_equal(mr_spec_load("/", &spec, &err), MR_USAGE);
    assert_non_null(large);
    memset(large, '\n', (1 << 20) + 2);
    memcpy(large, "id: b\n#", 7);
    assert_int_equal(load_bytes(large, 1 << 20, &spec, &err), MR_OK);
    assert_string_equal(spec.field[MR_FIELD_ID], "b");
    assert_int_equal(load_bytes(large, (1 << 20) + 1, &spec, &err), MR_USAGE);
    assert_non_null(strstr(err.cause, "1 MiB"));
    free(large);
}

static struct mr_span span_of(const char *text)
{
    return (struct mr_span){(const uint8_t *)text, strlen(text)};
}

/* Paths of every kind survive the canonical text, read by either reader. */
static void test_round_trip(void **state)
{
    static const char *const paths[] = {"a", "data.id", "a b.c d", " a ",
        "\"q\".\\", "null", "Yes", "12", "-", "#x", "a: b", "a #b",
        "\xc3\xa4.\xe2\x82\xac.\xf0\x9f\x98\x80", "_", "x-1.y_2", "'", "@a",
        "{}", "[a].b", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", "\xee\x80\x80", "%",
        "!a", "&a", "*a", "|", ">", "a\xc2\xa0z"};
    struct mr_spec spec, again, from_file;
    struct mr_error err;
    size_t i;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, &err), MR_OK);
    spec.max_depth = 7;
    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct mr_buffer b = {0};

        memset(spec.field[MR_FIELD_USER], 0, sizeof(spec.field[0]));
        strcpy(spec.field[MR_FIELD_USER], paths[i]);
        assert_int_equal(mr_spec_text(&spec, &b), MR_OK);
        assert_int_equal(
            mr_spec_parse((struct mr_span){b.p, b.n}, &again, &err), MR_OK);
        assert_string_equal(again.field[MR_FIELD_USER], paths[i]);
        assert_int_equal(again.max_depth, 7);
        if (load_bytes((char *)b.p, b.n, &from_file, &err) != MR_OK)
            fail_msg("path '%s': %s", paths[i], err.cause);
        assert_string_equal(from_file.field[MR_FIELD_USER], paths[i]);
        mr_buffer_release(&b);
    }
}

/* The longest path, each byte of it escaped, has room. */
static void test_longest_path(void **state)
{
    struct mr_buffer b = {0};
    struct mr_spec spec, again;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, &err), MR_OK);
    memset(spec.field[MR_FIELD_ID], '"', MR_PATH_MAX_BYTES);
    assert_int_equal(mr_spec_text(&spec, &b), MR_OK);
    assert_int_equal(
        mr_spec_parse((struct mr_span){b.p, b.n}, &again, &err), MR_OK);
    assert_string_equal(again.field[MR_FIELD_ID], spec.field[MR_FIELD_ID]);
    mr_buffer_release(&b);
}

/* The canonical text of a spec comes back by both readers. */
static void assert_comes_back(const struct mr_spec *spec)
{
    struct mr_buffer text = {0}, again = {0};
    struct mr_spec parsed;
    struct mr_error err;

    assert_int_equal(mr_spec_text(spec, &text), MR_OK);
    if (mr_spec_parse((struct mr_span){text.p, text.n}, &parsed, &err) != MR_OK)
        fail_msg("%s\n%.*s", err.cause, (int)text.n, (char *)text.p);
    assert_int_equal(mr_spec_text(&parsed, &again), MR_OK);
    assert_int_equal(again.n, text.n);
    assert_memory_equal(again.p, text.p, text.n);
    again.n = 0;
    assert_int_equal(mr_spec_difference(spec, &parsed, &again), MR_OK);
    assert_int_equal(again.n, 0);
    /* Digests of what else was read are of states only, and a state's pattern
     * need be none that times can be read by. */
    if (spec->time_kind != MR_TIME_PATTERN && !spec->users_table.given &&
        strcmp(spec->zone, "UTC") == 0 && strcmp(spec->time_zone, "UTC") == 0) {
        if (load_bytes((char *)text.p, text.n, &parsed, &err) != MR_OK)
            fail_msg("%s\n%.*s", err.cause, (int)text.n, (char *)text.p);
        assert_int_equal(mr_spec_difference(spec, &parsed, &again), MR_OK);
        assert_int_equal(again.n, 0);
    }
    mr_buffer_release(&text);
    mr_buffer_release(&again);
}

static void test_builtins(void **state)
{
    const struct mr_builtin_spec *builtin, *found;
    struct mr_spec spec, again;
    struct mr_error err;
    size_t i;

    (void)state;
    for (i = 0; (builtin = mr_builtin_spec(i)) != NULL; i++) {
        assert_int_equal(mr_spec_builtin(builtin->name, &spec, &err), MR_OK);
        again = loaded(builtin->yaml);
        assert_memory_equal(&spec, &again, sizeof(spec));
        assert_comes_back(&spec);
        assert_int_equal(
            mr_builtin_spec_find(builtin->name, &found, &err), MR_OK);
        assert_ptr_equal(found, builtin);
        assert_null(strchr(builtin->description, '\n'));
    }
    assert_int_equal(i, 5);
    assert_string_equal(mr_builtin_spec(0)->name, "lake");
    assert_int_equal(
        mr_builtin_spec_find("snowplow-pageview", &found, &err), MR_USAGE);
    assert_non_null(strstr(err.advice, "'snowplow-pageviews'"));
    assert_int_equal(mr_spec_check("clickstream", &err), MR_OK);
    assert_int_equal(mr_spec_check("/nonexistent", &err), MR_USAGE);
}

static void test_full_text(void **state)
{
    static const char want[] =
        "format: csv\n"
        "records: \"\"\n"
        "csv: {delimiter: \",\", quote: \"'\", escape: double, header: false, "
        "skip_spaces: false, nulls: [\"\\\\N\"]}\n"
        "id: \"1\"\n"
        "type: \"2\"\n"
        "attributes: \"\"\n"
        "time: \"3\"\n"
        "time_format: iso8601\n"
        "time_zone: \"Europe/Berlin 101112131415161718191a1b1c1d1e1f\"\n"
        "zone: \"Asia/Kolkata 202122232425262728292a2b2c2d2e2f\"\n"
        "user: [\"4\", \"5\"]\n"
        "identity: tagged\n"
        "url: \"6\"\n"
        "session_gap_ms: 1800000\n"
        "max_line_bytes: 16777216\n"
        "max_depth: 1024\n"
        "sketch_bits: 14\n"
        "users_table: {id: uid, csv: {delimiter: \";\", quote: \"\\\"\", "
        "escape: double, header: true, skip_spaces: false, nulls: []}, "
        "ranges: {age: [0-0, 18-49, 50-80, 4294967295-4294967295]}, "
        "digest: \"000102030405060708090a0b0c0d0eff\", users: 12}\n"
        "rollups: [{name: hourly, by: [{\"time bucket\": hour}, {day: day}, "
        "{site: url.host}, {p9: url.path9}, {k: path.date}, "
        "{users.age: users.age}, {c: \"7\"}, {type: type}], users: both, "
        "events_as: \"n\", users_as: u, max_groups: 1000000}, "
        "{name: small, by: [{\"8\": \"8\"}], users: estimate, "
        "events_as: events, users_as: users, max_groups: 100000}]\n"
        "duplicates: {max_ids: 5, exact: true}\n"
        "segments: {all: {VIEW: \">0\"}, valuable: {CLICK: \">10\", "
        "VIEW: \">=5\", \"a b\": \"<4294967295\", \"no\": \"=0\", "
        "z: \"<=1\"}}\n"
        "segments_by: [{users.country: users.country}, {a: users.age}]\n";
    struct mr_spec spec = loaded(full);
    unsigned i;

    (void)state;
    for (i = 0; i < 15; i++)
        spec.users_table.digest.b[i] = (uint8_t)i;
    spec.users_table.digest.b[15] = 0xFF;
    for (i = 0; i < 16; i++) {
        spec.time_zone_digest.b[i] = (uint8_t)(0x10 + i);
        spec.zone_digest.b[i] = (uint8_t)(0x20 + i);
    }
    spec.users_table.n_users = 12;
    assert_text(&spec, want);
    assert_comes_back(&spec);
}

/* --- random specs ------------------------------------------------------ */

/* A text of up to most characters that YAML has its own mind about. */
static void any_text(char *out, unsigned most)
{
    static const char *const part[] = {"a", "Z", "0", "9", "_", "-", " ", "\"",
        "'", "\\", "#", ":", ": ", " #", ",", "[", "]", "{", "}", "*", "&", "!",
        "%", "@", "`", "|", ">", "?", "=", "~", "null", "yes", "\xc3\xa4",
        "\xe2\x82\xac"};
    unsigned n = 1 + any(most);

    out[0] = '\0';
    while (n-- > 0)
        strcat(out, part[any(sizeof(part) / sizeof(part[0]))]);
}

static void any_name(char *out, unsigned number)
{
    sprintf(out, "%c%u", "aN_-0"[any(5)], number);
}

static void any_path(const struct mr_spec *spec, mr_path out)
{
    char part[100];
    unsigned n = any(3);

    memset(out, 0, sizeof(mr_path));
    if (mr_spec_has_columns(spec) && (!spec->csv.header || any(2))) {
        sprintf(out, "%u", 1 + (unsigned)any(65535));
        return;
    }
    any_text(out, 10);
    if (mr_spec_has_columns(spec)) {
        strcat(out, any(2) ? "x" : ".");
        return;
    }
    while (n-- > 0) {
        any_text(part, 10);
        strcat(strcat(out, "."), part);
    }
}

static void any_csv(struct mr_csv_rules *csv, bool quoted)
{
    unsigned i;

    csv->delimiter = "\x01\t,;|a"[any(6)];
    csv->quote = quoted ? "\"'"[any(2)] : '\0';
    csv->backslash = quoted && any(2);
    csv->header = any(2);
    csv->skip_spaces = any(2);
    csv->n_nulls = any(MR_CSV_NULLS_MAX + 1);
    for (i = 0; i < csv->n_nulls; i++)
        sprintf(csv->null[i], "%c\\%c", (char)('a' + i), "\"N"[any(2)]);
}

/* No two of an order that is given have the same name. */
static void any_column(
    const struct mr_spec *spec, struct mr_column *column, unsigned number)
{
    static const enum mr_source_kind kinds[] = {MR_FROM_PATH, MR_FROM_TYPE,
        MR_FROM_HOUR, MR_FROM_DAY, MR_FROM_HOST, MR_FROM_STEP, MR_FROM_FOLDER,
        MR_FROM_TABLE};
    static const char *const alike[] = {
        "type", "url.host", "users.a", "path.b", "hour", "url.x"};

    any_text(column->name, 8);
    sprintf(column->name + strlen(column->name), "%u", number);
    column->from = kinds[any(spec->users_table.given ? 8 : 7)];
    if (column->from == MR_FROM_STEP)
        column->number = 1 + any(9);
    if (column->from == MR_FROM_FOLDER || column->from == MR_FROM_TABLE)
        any_name(column->text, any(1000));
    if (column->from == MR_FROM_TABLE)
        column->text[0] = 'c'; /* or it could be a number */
    if (column->from == MR_FROM_PATH)
        any_path(spec, column->text);
    if (column->from == MR_FROM_PATH && !mr_spec_has_columns(spec) && any(2))
        strcpy(column->text, alike[any(6)]);
}

static void any_figures(struct mr_spec *spec)
{
    unsigned i, j;

    spec->n_rollups = any(MR_ROLLUPS_MAX + 1);
    for (i = 0; i < spec->n_rollups; i++) {
        struct mr_rollup *r = &spec->rollup[i];

        any_name(r->name, i);
        r->name[0] = 'r';
        r->n_by = 1 + any(MR_ROLLUP_FIELDS_MAX);
        for (j = 0; j < r->n_by; j++)
            any_column(spec, &r->by[j], j);
        r->users = 1 + any(3);
        strcpy(r->events_as, "e e");
        strcpy(r->users_as, any(2) ? "null" : "u");
        r->max_groups = 1 + any(MR_MAX_GROUPS);
    }
    spec->max_ids = any(2) ? 0 : 2 + any(99999999);
    spec->exact_ids = spec->max_ids > 0 && any(2);
    spec->n_segments = any(MR_SEGMENTS_MAX + 1);
    for (i = 0; i < spec->n_segments; i++) {
        struct mr_segment *s = &spec->segment[i];

        sprintf(s->name, "s%u", i);
        s->n_conditions = 1 + any(MR_CONDITIONS_MAX);
        for (j = 0; j < s->n_conditions; j++) {
            any_text(s->condition[j].type + 1, 20);
            s->condition[j].type[0] = (char)('b' + j);
            s->condition[j].comparison = (enum mr_comparison)any(5);
            s->condition[j].count = 1 + any(UINT32_MAX - 1);
        }
    }
}

static void any_spec(struct mr_spec *spec)
{
    static const char *const zones[] = {"UTC", "Europe/Berlin", "Etc/GMT-14"};
    struct mr_users_table *table = &spec->users_table;
    unsigned i;

    memset(spec, 0, sizeof(*spec));
    spec->format = (enum mr_input_format)any(5);
    if (mr_spec_has_columns(spec))
        any_csv(&spec->csv, any(2));
    if (spec->format == MR_INPUT_JSON_ARRAY && any(2))
        any_path(spec, spec->records);
    for (i = 0; i < MR_FIELD_USER; i++)
        any_path(spec, spec->field[i]);
    if (any(2) || spec->field[MR_FIELD_TYPE][0] == '=')
        any_text(strcpy(spec->field[MR_FIELD_TYPE], "=") + 1, 20);
    if (mr_spec_has_columns(spec))
        memset(spec->field[MR_FIELD_ATTRIBUTES], 0, sizeof(mr_path));
    spec->n_users = 1 + any(MR_USERS_FIELDS_MAX);
    for (i = 0; i < spec->n_users; i++)
        sprintf(spec->user[i], "%u", i + 1);
    memcpy(spec->field[MR_FIELD_USER], spec->user[0], sizeof(mr_path));
    spec->tagged = any(2);
    spec->time_kind = (enum mr_time_kind)any(6);
    if (spec->time_kind == MR_TIME_PATTERN)
        any_text(strcpy(spec->time_pattern, "%") + 1, 12);
    strcpy(
        spec->time_zone, zones[spec->time_kind < MR_TIME_ISO8601 ? 0 : any(3)]);
    strcpy(spec->zone, zones[any(3)]);
    any_path(spec, spec->url);
    spec->session_gap_ms = any(86400001);
    spec->max_line_bytes = 1 + any(1073741824);
    spec->max_depth = 1 + any(65536);
    spec->sketch_bits = 4 + any(15);
    table->given = any(2);
    if (table->given) {
        any_csv(&table->csv, true);
        table->csv.header = true;
        any_text(table->id, 5);
        strcat(table->id, "x");
        table->n_ranges = any(MR_RANGES_MAX + 1);
        if (table->n_ranges > 0)
            strcpy(table->ranged, "age of");
        for (i = 0; i < table->n_ranges; i++)
            table->range[i] = (struct mr_range){10 * i, 10 * i + any(10)};
        table->n_users = any(UINT32_MAX);
        for (i = 0; i < MR_DIGEST_BYTES; i++)
            table->digest.b[i] = (uint8_t)any(256);
    }
    any_figures(spec);
}

static void test_random_specs(void **state)
{
    struct mr_spec spec, other;
    struct mr_buffer b = {0};
    unsigned round;

    (void)state;
    any_spec(&other);
    for (round = 0; round < rounds(1000); round++) {
        any_spec(&spec);
        assert_comes_back(&spec);
        assert_int_equal(mr_spec_difference(&spec, &other, &b), MR_OK);
        assert_true(b.n > 0);
        b.n = 0;
    }
    mr_buffer_release(&b);
}

/* A text that was read differs by one byte from a canonical one: it is
 * refused, or it is another canonical one. */
static void test_damaged_texts(void **state)
{
    struct mr_buffer text = {0}, again = {0};
    struct mr_spec spec = loaded(full);
    struct mr_error err;
    unsigned round;

    (void)state;
    assert_int_equal(mr_spec_text(&spec, &text), MR_OK);
    for (round = 0; round < rounds(3000); round++) {
        size_t at = any((unsigned)text.n);
        uint8_t was = text.p[at];

        text.p[at] = any(3) ? (uint8_t)(32 + any(95)) : (uint8_t)any(256);
        if (mr_spec_parse((struct mr_span){text.p, text.n}, &spec, &err) ==
            MR_OK) {
            again.n = 0;
            assert_int_equal(mr_spec_text(&spec, &again), MR_OK);
            assert_int_equal(again.n, text.n);
            assert_memory_equal(again.p, text.p, text.n);
        } else {
            assert_int_equal(err.status, MR_FORMAT);
        }
        text.p[at] = was;
    }
    mr_buffer_release(&text);
    mr_buffer_release(&again);
}

/* Anything but the canonical text is refused, also by one byte. */
static void test_parse_is_strict(void **state)
{
    static const char *const swaps[][2] = {{"json\n", "json \n"},
        {"id: data.id\n", "id: \"data.id\"\n"}, {"14\n", "014\n"},
        {"14\n", "3\n"}, {"UTC", "?"}, {"id: data.id", "id:  data.id"},
        {"id: data.id\n", ""}, {"y: []\n", "y: []"}, {"y: []\n", "y: []\n\n"},
        {"14\n", "14\nx: y\n"}, {"y: []\n", "y: []\nrows: []\n"},
        {"csv: {}", "csv: { }"}, {"rollups: []", "rollups: [] "},
        {": null", ": ~"}, {"y: []\n", "y: []\n# x\n"},
        {"null", "{id: a, file: b}"}, {"null", "{id: a, users: 1}"},
        {"null", "{id: a, digest: \"00\", users: 1}"},
        {"data.attributes\n", "\n"}, {"data.attributes\n", "\"\\q\"\n"},
        {"data.attributes\n", "\"\\\"\n"}, {"data.attributes\n", "a\x80\n"},
        {"data.attributes\n", "\"a\x80\"\n"},
        {"data.attributes\n", "\"\xed\xa0\x80\"\n"},
        {"data.attributes\n", "\"\xc0\xaf\"\n"}, {"UTC\n", "UTC\r\n"}};
    struct mr_spec spec, before;
    struct mr_error err;
    size_t i;

    (void)state;
    memset(&spec, 0x11, sizeof(spec));
    before = spec;
    for (i = 0; i < sizeof(swaps) / sizeof(swaps[0]); i++) {
        const char *at = strstr(lake_text, swaps[i][0]);
        char text[1000];

        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - lake_text),
            lake_text, swaps[i][1], at + strlen(swaps[i][0]));
        if (mr_spec_parse(span_of(text), &spec, &err) != MR_FORMAT)
            fail_msg("accepted: %s", text);
        assert_memory_equal(&spec, &before, sizeof(spec));
    }
    for (i = 0; i < strlen(lake_text); i++) {
        struct mr_span cut = {(const uint8_t *)lake_text, i};

        assert_int_equal(mr_spec_parse(cut, &spec, &err), MR_FORMAT);
    }
    assert_int_equal(mr_spec_parse(span_of(lake_text), &spec, &err), MR_OK);
}

static void test_difference(void **state)
{
    static const char want[] = "attributes: data.attributes here, \"\" there\n"
                               "user: data.attributes.user_id here, u there\n"
                               "sketch_bits: 14 here, 12 there\n";
    struct mr_buffer b = {0};
    struct mr_spec a, other;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &a, &err), MR_OK);
    other = a;
    assert_int_equal(mr_spec_difference(&a, &other, &b), MR_OK);
    assert_int_equal(b.n, 0);
    other.field[MR_FIELD_ATTRIBUTES][0] = '\0';
    strcpy(other.field[MR_FIELD_USER], "u");
    other.sketch_bits = 12;
    assert_int_equal(mr_spec_difference(&a, &other, &b), MR_OK);
    assert_int_equal(b.n, strlen(want));
    assert_memory_equal(b.p, want, b.n);
    mr_buffer_release(&b);
}

static void test_reasons(void **state)
{
    static const char *const want[] = {"json", "too-long", "too-deep",
        "missing:data.id", "malformed:data.id", "missing:data.type",
        "malformed:data.type", "missing:data.attributes",
        "malformed:data.attributes", "missing:meta.created_at",
        "malformed:meta.created_at", "missing:data.attributes.user_id",
        "malformed:data.attributes.user_id"};
    struct mr_spec spec;
    struct mr_error err;
    char text[64];
    unsigned i;

    (void)state;
    assert_int_equal(sizeof(want) / sizeof(want[0]), MR_REASON_COUNT);
    assert_int_equal(mr_spec_builtin("lake", &spec, &err), MR_OK);
    for (i = 0; i < MR_REASON_COUNT; i++) {
        mr_spec_reason(&spec, i, text, sizeof(text));
        assert_string_equal(text, want[i]);
    }
    mr_spec_reason(&spec, MR_REASON_MISSING(MR_FIELD_ID), text, 6);
    assert_string_equal(text, "missi");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lake),
        cmocka_unit_test(test_defaults_in_the_table),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_times_and_users),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_rollups),
        cmocka_unit_test(test_segments_and_rows),
        cmocka_unit_test(test_small_figures),
        cmocka_unit_test(test_refused_settings),
        cmocka_unit_test(test_refused_paths),
        cmocka_unit_test(test_refused_rows),
        cmocka_unit_test(test_refused_table),
        cmocka_unit_test(test_refused_rollups),
        cmocka_unit_test(test_refused_figures),
        cmocka_unit_test(test_refused_ids),
        cmocka_unit_test(test_refused_yaml),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_longest_path),
        cmocka_unit_test(test_builtins),
        cmocka_unit_test(test_full_text),
        cmocka_unit_test(test_random_specs),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_parse_is_strict),
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
