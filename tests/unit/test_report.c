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

#include <cmocka.h>

#include "mr/report.h"

/*
 * The worked example of docs/kpis.md as the report gets it, with two read
 * partitions and room for failures.  2024-03-01 is day 19783.
 */
#define D1 19783
#define NONE MR_KPI_UNDEFINED

static struct mr_spec spec;
static struct mr_span types[2];
static struct mr_cell cell[4] = {
    {D1, 1}, {D1 + 1, 0}, {D1 + 1, 1}, {D1 + 3, 1}};
static struct mr_cells cells = {
    .type = types, .n_types = 2, .cell = cell, .n_cells = 4};
static struct mr_kpi_day days[4];
static struct mr_kpi_day_type day_types[4];
static struct mr_kpis kpis;
static char a_name[] = "dt=2024-03-01/a.gz", b_name[] = "dt=2024-03-01/b.gz";
static char *first_names[] = {a_name, b_name};
static char quoted_name[] = "a,\"quoted\"\n.gz";
static char *second_names[] = {quoted_name};
static struct mr_cell_count first_cells[] = {{0, 4, 1}, {1, 2, 0}};
static struct mr_cell_count second_cells[] = {{2, 3, 0}, {3, 2, 0}};
static struct mr_reason_count first_reasons[] = {
    {MR_REASON_JSON, 2}, {MR_REASON_MISSING(MR_FIELD_ID), 1}};
static struct mr_partition partitions[2];
static struct mr_failure failures[12];
static struct mr_coverage coverage;
static struct mr_coverage_totals totals;
static struct mr_report report;

/* Failure i, its strings in memory that is no constant. */
static void set_failure(
    size_t i, const char *name, uint64_t offset, const char *cause)
{
    static char names[12][64], causes[12][64];

    snprintf(names[i], sizeof(names[i]), "%s", name);
    snprintf(causes[i], sizeof(causes[i]), "%s", cause);
    failures[i] = (struct mr_failure){names[i], offset, causes[i]};
}

static int setup(void **state)
{
    static const struct mr_kpi_day day_rows[] = {
        {D1, false, 4, 1, 2, 2.00006, 0, 0, 0, 0, 2, NONE, NONE, NONE, NONE},
        {D1 + 1, true, 5, 0, 3, 3.4999, 2, 0, 0, 1, 3, 1, 3, NONE, NONE},
        {D1 + 2, true, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, NONE},
        {D1 + 3, true, 2, 0, 2, 1.5001, 0, 2, 0, 2, 2, 1, 4, 40, 50000},
    };
    static const struct mr_kpi_day_type type_rows[] = {{D1, 1, 4, 2, 2.0001},
        {D1 + 1, 0, 2, 2, 2.0001}, {D1 + 1, 1, 3, 2, 2.0001},
        {D1 + 3, 1, 2, 2, 2.0001}};
    size_t i;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, NULL), MR_OK);
    types[0] = (struct mr_span){(const uint8_t *)"b,uy", 4};
    types[1] = (struct mr_span){(const uint8_t *)"view", 4};
    memcpy(days, day_rows, sizeof(days));
    memcpy(day_types, type_rows, sizeof(day_types));
    kpis = (struct mr_kpis){.day = days,
        .n_days = 4,
        .day_type = day_types,
        .n_day_types = 4,
        .users_estimate_error = 0.008125};
    memset(partitions, 0, sizeof(partitions));
    memset(partitions[0].digest.b, 0xAB, MR_DIGEST_BYTES);
    memset(partitions[1].digest.b, 0xCD, MR_DIGEST_BYTES);
    partitions[0].name = first_names;
    partitions[0].n_names = 2;
    partitions[0].stored_bytes = 1000;
    partitions[0].text_bytes = 4000;
    partitions[0].lines = 10;
    partitions[0].blank = 1;
    partitions[0].other_day = 2;
    partitions[0].cell = first_cells;
    partitions[0].n_cells = 2;
    partitions[0].reason = first_reasons;
    partitions[0].n_reasons = 2;
    partitions[1].name = second_names;
    partitions[1].n_names = 1;
    partitions[1].stored_bytes = 500;
    partitions[1].text_bytes = 600;
    partitions[1].lines = 5;
    partitions[1].cell = second_cells;
    partitions[1].n_cells = 2;
    coverage = (struct mr_coverage){
        .partition = partitions, .n_partitions = 2, .failure = failures};
    totals = (struct mr_coverage_totals){.partitions = 2,
        .stored_bytes = 1500,
        .text_bytes = 4600,
        .lines = 15,
        .events = 11,
        .rejected = 3,
        .blank = 1,
        .events_without_user = 1,
        .other_day = 2};
    totals.reason[MR_REASON_JSON] = 2;
    totals.reason[MR_REASON_MISSING(MR_FIELD_ID)] = 1;
    for (i = 0; i < 12; i++)
        set_failure(
            i, "dt=2024-03-01/\033bad\xff.gz", 91, "truncated gzip member");
    report = (struct mr_report){&spec, &cells, &kpis, &coverage, &totals, 4, 1,
        INT32_MIN, INT32_MAX, NULL, NULL, NULL};
    return 0;
}

static void make_partial(size_t n)
{
    coverage.n_failures = n;
    totals.failures = n;
}

static void assert_report(
    enum mr_status (*make)(const struct mr_report *, struct mr_buffer *),
    const char *want)
{
    struct mr_buffer b = {0};

    assert_int_equal(mr_buffer_add(&b, "kept\n", 5), MR_OK);
    assert_int_equal(make(&report, &b), MR_OK);
    assert_int_equal(mr_buffer_add(&b, "", 1), MR_OK);
    assert_memory_equal(b.p, "kept\n", 5);
    assert_string_equal((char *)b.p + 5, want);
    mr_buffer_release(&b);
}

static void test_daily_csv(void **state)
{
    (void)state;
    assert_report(mr_report_daily_csv,
        "day,events,events_without_user,users,users_estimate,active,inactive,"
        "churned,reactivated,sessions,status\n"
        "2024-03-01,4,1,2,2,,,,,2,complete\n"
        "2024-03-02,5,0,3,3,2,0,0,1,3,complete\n"
        "2024-03-03,0,0,0,0,0,0,3,0,0,complete\n"
        "2024-03-04,2,0,2,2,0,2,0,2,2,complete\n");
    make_partial(1);
    report.day_first = D1 + 1;
    report.day_last = D1 + 2;
    assert_report(mr_report_daily_csv,
        "day,events,events_without_user,users,users_estimate,active,inactive,"
        "churned,reactivated,sessions,status\n"
        "2024-03-02,5,0,3,3,2,0,0,1,3,partial\n"
        "2024-03-03,0,0,0,0,0,0,3,0,0,partial\n");
}

static void test_daily_by_type_csv(void **state)
{
    (void)state;
    report.day_first = D1 + 1;
    assert_report(mr_report_daily_by_type_csv,
        "day,type,events,users,users_estimate,status\n"
        "2024-03-02,\"b,uy\",2,2,2,complete\n"
        "2024-03-02,view,3,2,2,complete\n"
        "2024-03-04,view,2,2,2,complete\n");
}

static void test_partitions_csv(void **state)
{
    (void)state;
    make_partial(2);
    set_failure(0, "zz.gz", MR_NOWHERE, "vanished, \"gone\"");
    set_failure(1, "b", 0, "Permission denied");
    assert_report(mr_report_partitions_csv,
        "name,digest,status,offset,reason,stored_bytes,text_bytes,lines,events,"
        "rejected,blank,other_day,other_type,names\n"
        "\"a,\"\"quoted\"\"\n.gz\",cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd,read,,,"
        "500,600,5,5,0,0,0,0,1\n"
        "b,,failed,0,Permission denied,,,,,,,,,\n"
        "dt=2024-03-01/a.gz,abababababababababababababababab,read,,,"
        "1000,4000,10,6,3,1,2,0,2\n"
        "zz.gz,,failed,,\"vanished, \"\"gone\"\"\",,,,,,,,,\n");
}

static void test_rejects_csv(void **state)
{
    (void)state;
    totals.reason[MR_REASON_TOO_LONG] = 7;
    totals.reason[MR_REASON_MALFORMED(MR_FIELD_ID)] = 5;
    assert_report(mr_report_rejects_csv, "reason,lines\n"
                                         "json,2\n"
                                         "malformed:data.id,5\n"
                                         "missing:data.id,1\n"
                                         "too-long,7\n");
    /* Two fields with one path have one reason. */
    strcpy(spec.field[MR_FIELD_TYPE], "data.id");
    totals.reason[MR_REASON_MALFORMED(MR_FIELD_TYPE)] = 6;
    assert_report(mr_report_rejects_csv, "reason,lines\n"
                                         "json,2\n"
                                         "malformed:data.id,11\n"
                                         "missing:data.id,1\n"
                                         "too-long,7\n");
    /* While something is missing they are no more than a part. */
    make_partial(1);
    assert_report(mr_report_rejects_csv, "reason,lines,status\n"
                                         "json,2,partial\n"
                                         "malformed:data.id,11,partial\n"
                                         "missing:data.id,1,partial\n"
                                         "too-long,7,partial\n");
    make_partial(0);
    memset(totals.reason, 0, sizeof(totals.reason));
    assert_report(mr_report_rejects_csv, "reason,lines\n");
}

static char *text_of(
    enum mr_status (*make)(const struct mr_report *, struct mr_buffer *))
{
    struct mr_buffer b = {0};

    assert_int_equal(make(&report, &b), MR_OK);
    assert_int_equal(mr_buffer_add(&b, "", 1), MR_OK);
    return (char *)b.p;
}

static void assert_holds(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in: %s", part, text);
}

static void test_json(void **state)
{
    char *text;

    (void)state;
    report.day_last = D1 + 1;
    coverage.n_repeated = 3;
    text = text_of(mr_report_json);
    assert_holds(text, "{\n\"schema\": \"mr-kpis\",\n\"schema_version\": 1,\n"
                       "\"status\": \"complete\",\n\"spec\": {\"digest\": \"");
    assert_holds(text, "\", \"text\": \"format: json\\nrecords: ");
    assert_holds(text, "\"states\": 1,\n");
    assert_holds(text, "  \"events\": {\"kind\": \"exact\"},\n");
    assert_holds(text, "  \"users_estimate\": {\"kind\": \"estimate\", "
                       "\"standard_error\": 0.008125},\n");
    assert_holds(text, "\"users_of_all_days\": 4,\n");
    assert_holds(text,
        "\"days\": [\n"
        "  {\"day\": \"2024-03-01\", \"events\": 4, \"events_without_user\": 1,"
        " \"users\": 2, \"users_estimate\": 2, \"active\": null,"
        " \"inactive\": null, \"churned\": null, \"reactivated\": null,"
        " \"sessions\": 2},\n"
        "  {\"day\": \"2024-03-02\", \"events\": 5, \"events_without_user\": 0,"
        " \"users\": 3, \"users_estimate\": 3, \"active\": 2,"
        " \"inactive\": 0, \"churned\": 0, \"reactivated\": 1,"
        " \"sessions\": 3}\n],\n"
        "\"days_by_type\": [\n"
        "  {\"day\": \"2024-03-01\", \"type\": \"view\", \"events\": 4,"
        " \"users\": 2, \"users_estimate\": 2},\n"
        "  {\"day\": \"2024-03-02\", \"type\": \"b,uy\", \"events\": 2,"
        " \"users\": 2, \"users_estimate\": 2},\n");
    assert_holds(text, "\"coverage\": {\n"
                       "  \"partitions\": 2,\n"
                       "  \"failures\": [],\n"
                       "  \"repeated\": 3,\n"
                       "  \"renamed\": 0,\n"
                       "  \"stored_bytes\": 1500,\n"
                       "  \"text_bytes\": 4600,\n"
                       "  \"lines\": 15,\n"
                       "  \"events\": 11,\n"
                       "  \"rejected\": 3,\n"
                       "  \"blank\": 1,\n"
                       "  \"rejects_by_reason\": {\"json\": 2, "
                       "\"missing:data.id\": 1},\n"
                       "  \"events_without_user\": 1,\n"
                       "  \"other_day\": 2,\n"
                       "  \"other_type\": 0\n}\n}\n");
    free(text);
    make_partial(2);
    set_failure(1, "x\"", MR_NOWHERE, "vanished");
    text = text_of(mr_report_json);
    assert_holds(text, "\"status\": \"partial\"");
    assert_holds(text, "  \"failures\": [\n"
                       "    {\"name\": \"dt=2024-03-01/\\u001bbad\xef\xbf\xbd"
                       ".gz\", \"offset\": 91, \"reason\": "
                       "\"truncated gzip member\"},\n"
                       "    {\"name\": \"x\\\"\", \"offset\": null, "
                       "\"reason\": \"vanished\"}\n  ],\n");
    free(text);
}

static enum mr_status wide_table(
    const struct mr_report *r, struct mr_buffer *out)
{
    return mr_report_table(r, 0, false, out);
}

static enum mr_status table_of_80(
    const struct mr_report *r, struct mr_buffer *out)
{
    return mr_report_table(r, 80, false, out);
}

static enum mr_status table_of_30(
    const struct mr_report *r, struct mr_buffer *out)
{
    return mr_report_table(r, 30, false, out);
}

static enum mr_status coloured_table(
    const struct mr_report *r, struct mr_buffer *out)
{
    return mr_report_table(r, 0, true, out);
}

static void test_table(void **state)
{
    (void)state;
    assert_report(wide_table,
        "day         events  no user  users  ~users  active  inactive  churned"
        "  reactivated  sessions\n"
        "2024-03-01       4        1      2       2       -         -        -"
        "            -         2\n"
        "2024-03-02       5        0      3       3       2         0        0"
        "            1         3\n"
        "2024-03-03       0        0      0       0       0         0        3"
        "            0         0\n"
        "2024-03-04       2        0      2       2       0         2        0"
        "            2         2\n"
        "~ is an estimate with a standard error of 0.81%; all other figures are"
        " exact\n"
        "\n"
        "users       4 on all days together\n"
        "partitions  2 read, 0 not read, from 1 state\n"
        "bytes       1500 stored, 4600 unpacked\n"
        "lines       15 = 11 events + 3 rejected + 1 blank\n"
        "rejected    2 json\n"
        "rejected    1 missing:data.id\n"
        "folders     2 events of another day, 0 of another type than their"
        " folder says\n");
}

static void test_narrow_tables(void **state)
{
    static const char want[] =
        "day         events  no user  users  ~users\n"
        "2024-03-02       5        0      3       3\n"
        "\n"
        "day         active  inactive  churned  reactivated  sessions\n"
        "2024-03-02       2         0        0            1         3\n"
        "~ is an estimate";
    char *text;

    (void)state;
    report.day_first = report.day_last = D1 + 1;
    text = text_of(table_of_80);
    assert_int_equal(strncmp(text, want, strlen(want)), 0);
    free(text);
    text = text_of(table_of_30);
    assert_holds(text, "day         events  no user\n"
                       "2024-03-02       5        0\n"
                       "\n"
                       "day         users  ~users\n"
                       "2024-03-02      3       3\n"
                       "\n"
                       "day         active  inactive\n"
                       "2024-03-02       2         0\n"
                       "\n"
                       "day         churned\n"
                       "2024-03-02        0\n"
                       "\n"
                       "day         reactivated\n");
    free(text);
}

/* What is asked for besides, and each of it alone. */
static void test_extras(void **state)
{
    char *text;

    (void)state;
    kpis.extras.rolling = true;
    assert_report(mr_report_daily_csv,
        "day,events,events_without_user,users,users_estimate,active,inactive,"
        "churned,reactivated,sessions,status,users_7d,users_28d,stickiness\n"
        "2024-03-01,4,1,2,2,,,,,2,complete,,,\n"
        "2024-03-02,5,0,3,3,2,0,0,1,3,complete,3,,\n"
        "2024-03-03,0,0,0,0,0,0,3,0,0,complete,3,0,\n"
        "2024-03-04,2,0,2,2,0,2,0,2,2,complete,4,40,0.050000\n");
    kpis.extras.new_users = true;
    text = text_of(mr_report_daily_csv);
    assert_holds(text, ",status,new_users,users_7d,users_28d,stickiness\n");
    assert_holds(text, "\n2024-03-01,4,1,2,2,,,,,2,complete,,,,\n");
    assert_holds(text, ",2,complete,1,4,40,0.050000\n");
    free(text);
    text = text_of(mr_report_json);
    assert_holds(text, "  \"sessions\": {\"kind\": \"exact\"},\n"
                       "  \"new_users\": {\"kind\": \"exact\"},\n"
                       "  \"users_7d\": {\"kind\": \"exact\"},\n"
                       "  \"users_28d\": {\"kind\": \"exact\"},\n"
                       "  \"stickiness\": {\"kind\": \"exact\"},\n"
                       "  \"users_of_all_days\"");
    assert_holds(text, ", \"sessions\": 2, \"new_users\": null, \"users_7d\":"
                       " null, \"users_28d\": null, \"stickiness\": null},\n");
    assert_holds(text, ", \"sessions\": 2, \"new_users\": 1, \"users_7d\": 4,"
                       " \"users_28d\": 40, \"stickiness\": 0.050000}\n],\n");
    free(text);
    kpis.extras.rolling = false;
    text = text_of(mr_report_daily_csv);
    assert_holds(text, ",sessions,status,new_users\n");
    assert_holds(text, ",2,complete,1\n");
    free(text);
    text = text_of(wide_table);
    assert_holds(text, "reactivated  sessions  new\n2024-03-01 ");
    assert_holds(text, "          -         2    -\n2024-03-02 ");
    free(text);
}

static void set_retention(void)
{
    static int32_t first_day[] = {D1 + 1, D1 + 3};
    static uint64_t retained[] = {1, 0, 1, NONE, 12345678901, NONE, NONE, NONE};

    kpis.extras.retention = 3;
    kpis.first_day = first_day;
    kpis.retained = retained;
    kpis.n_first_days = 2;
}

static void test_retention(void **state)
{
    char *text;

    (void)state;
    text = text_of(mr_report_json);
    assert_null(strstr(text, "retention"));
    free(text);
    set_retention();
    make_partial(1);
    assert_report(mr_report_retention_csv,
        "first_day,users,day_0,day_1,day_2,day_3,status\n"
        "2024-03-02,1,1,0,1,,partial\n"
        "2024-03-04,12345678901,12345678901,,,,partial\n");
    text = text_of(mr_report_json);
    assert_holds(text, "  \"retention\": {\"kind\": \"exact\"},\n");
    assert_holds(text,
        "\n],\n\"retention\": [\n"
        "  {\"first_day\": \"2024-03-02\", \"users\": 1, \"day_0\": 1,"
        " \"day_1\": 0, \"day_2\": 1, \"day_3\": null},\n"
        "  {\"first_day\": \"2024-03-04\", \"users\": 12345678901,"
        " \"day_0\": 12345678901, \"day_1\": null, \"day_2\": null,"
        " \"day_3\": null}\n],\n\"coverage\"");
    free(text);
    make_partial(0);
    text = text_of(wide_table);
    assert_holds(text, " figures are exact\n\n"
                       "first day         users  day 1  day 2  day 3\n"
                       "2024-03-02            1      0      1      -\n"
                       "2024-03-04  12345678901      -      -      -\n\n"
                       "users       4 on");
    free(text);
    report.day_last = D1 + 2;
    text = text_of(table_of_30);
    assert_holds(text, "\n\nfirst day   users  day 1\n"
                       "2024-03-02      1      0\n\n"
                       "first day   day 2  day 3\n"
                       "2024-03-02      1      -\n\nusers");
    free(text);
}

/* Columns grow with their figures, up to the largest there are. */
static void test_large_figures(void **state)
{
    char *text;

    (void)state;
    report.day_first = report.day_last = D1 + 1;
    days[1].events = UINT64_MAX;
    days[1].users_estimate = 0x1p64;
    text = text_of(wide_table);
    assert_holds(text, "day                       events  no user  users"
                       "                ~users  active");
    assert_holds(text, "2024-03-02  18446744073709551615        0      3"
                       "  18446744073709551616       2");
    free(text);
}

/* PARTIAL is said first and last; names cannot steer the terminal. */
static void test_partial_table(void **state)
{
    static const char first[] =
        "PARTIAL: 12 partitions could not be read and count in no figure\n\n";
    static const char last[] =
        "not read    dt=2024-03-01/?bad?.gz at byte 91: truncated gzip member\n"
        "not read    and 2 more; partitions.csv lists all\n"
        "PARTIAL: 12 partitions could not be read and count in no figure\n";
    size_t i, n = 0;
    char *text;

    (void)state;
    make_partial(12);
    coverage.n_repeated = 1;
    totals.renamed = 2;
    text = text_of(wide_table);
    assert_int_equal(strncmp(text, first, strlen(first)), 0);
    assert_string_equal(text + strlen(text) - strlen(last), last);
    for (i = 0; text[i]; i++)
        n += strncmp(text + i, "\nnot read    dt=", 16) == 0;
    assert_int_equal(n, 10);
    assert_holds(text, "partitions  2 read, 12 not read");
    assert_holds(text, "\nrepeated    1 ");
    assert_holds(text, "\nrenamed     2 ");
    assert_null(strchr(text, '\033'));
    free(text);
    make_partial(1);
    failures[0].offset = MR_NOWHERE;
    text = text_of(coloured_table);
    assert_int_equal(
        strncmp(text, "\033[1;31mPARTIAL: 1 partition could", 33), 0);
    assert_holds(text, "no figure\033[0m\n");
    assert_holds(text, "?bad?.gz: truncated gzip member\n\033[1;31mPARTIAL");
    free(text);
}

/* Of a manifest with 14 days and types, most of them read in part. */
static struct mr_covered covered;
static struct mr_place_row place_rows[14];

static void make_covered(void)
{
    static const struct mr_place_row rows[] = {
        {false, 0, {NULL, 0}, 2, 10, 2, 10},
        {false, 0, {(const uint8_t *)"a,b", 3}, 3, 1000, 2, 999},
        {true, D1, {NULL, 0}, 1, 0, 0, 0},
        {true, D1, {(const uint8_t *)"\033x", 2}, 4, 400, 1, 100},
    };

    for (size_t i = 0; i < 14; i++)
        place_rows[i] = rows[i < 4 ? i : 3];
    covered = (struct mr_covered){
        .missing = 3,
        .changed = 1,
        .places = {.row = place_rows, .n = 4},
        .total = {.partitions = 10,
            .bytes = 1410,
            .covered = 5,
            .covered_bytes = 1109},
        .unlisted = 7,
    };
    report.covered = &covered;
    make_partial(6);
    set_failure(0, "a", MR_NOWHERE, MR_CAUSE_MISSING);
    set_failure(1, "b", MR_NOWHERE, MR_CAUSE_CHANGED ": more");
}

static void test_coverage(void **state)
{
    char *text;

    (void)state;
    make_covered();
    assert_report(mr_report_coverage_csv,
        "day,type,partitions,partitions_read,bytes,bytes_read,status\n"
        "-,-,2,2,10,10,complete\n"
        "-,\"a,b\",3,2,1000,999,partial\n"
        "2024-03-01,-,1,0,0,0,partial\n"
        "2024-03-01,\033x,4,1,400,100,partial\n");
    text = text_of(mr_report_json);
    assert_holds(text,
        "  \"manifest\": {\"partitions\": 10, \"partitions_read\": 5, "
        "\"bytes\": 1410, \"bytes_read\": 1109,\n"
        "    \"missing\": 3, \"changed\": 1, \"not_in_manifest\": 7,\n"
        "    \"days_and_types\": [\n"
        "      {\"day\": null, \"type\": null, \"partitions\": 2, "
        "\"partitions_read\": 2, \"bytes\": 10, \"bytes_read\": 10, "
        "\"status\": \"complete\"},\n"
        "      {\"day\": null, \"type\": \"a,b\", ");
    assert_holds(text,
        "      {\"day\": \"2024-03-01\", \"type\": \"\\u001bx\", "
        "\"partitions\": 4, \"partitions_read\": 1, \"bytes\": 400, "
        "\"bytes_read\": 100, \"status\": \"partial\"}\n    ]},\n");
    assert_holds(text, "\"status\": \"partial\",\n");
    free(text);
}

static void test_coverage_table(void **state)
{
    static const char first[] =
        "PARTIAL: 2 partitions could not be read and count in no figure\n"
        "PARTIAL: 3 partitions of the manifest are in no state and count in "
        "no figure\n"
        "PARTIAL: 1 partition is not as large as in the manifest\n\n";
    char *text;

    (void)state;
    make_covered();
    text = text_of(wide_table);
    assert_int_equal(strncmp(text, first, strlen(first)), 0);
    assert_holds(text, "\npartitions  2 read, 5 not read, from ");
    /* All that is not there is less than 100.0 %, however near. */
    assert_holds(text,
        "\nmanifest    5 of 10 partitions, 78.6% of 1410 bytes\n"
        "covered     - a,b: 2 of 3 partitions, 99.9% of 1000 bytes\n"
        "covered     2024-03-01 -: 0 of 1 partition, 99.9% of 0 bytes\n"
        "covered     2024-03-01 ?x: 1 of 4 partitions, 25.0% of 400 bytes\n"
        "bytes       ");
    assert_holds(text, "\nnot read    a: in the manifest, in no state\n");
    assert_holds(text, "\ndiffers     b: not as in the manifest: more\n");
    assert_null(strchr(text, '\033'));
    free(text);
    covered.places.n = 14;
    text = text_of(wide_table);
    assert_holds(text, "400 bytes\ncovered     3 more days and types in part; "
                       "coverage.csv lists all\nbytes ");
    free(text);
    /* Two of the others were merely not read yet. */
    set_failure(4, "c", MR_NOWHERE, MR_CAUSE_PENDING);
    set_failure(5, "d", MR_NOWHERE, MR_CAUSE_PENDING);
    text = text_of(wide_table);
    assert_int_equal(strncmp(text,
                         "PARTIAL: 2 partitions have not been read yet and "
                         "count in no figure\nPARTIAL: 3 partitions of ",
                         90),
        0);
    free(text);
    /* By whom it is claimed makes no other cause of it. */
    set_failure(4, "c", MR_NOWHERE, MR_CAUSE_PENDING " (claimed)");
    set_failure(5, "d", MR_NOWHERE, "not read");
    text = text_of(wide_table);
    assert_holds(text, "PARTIAL: 1 partition could not be read and ");
    assert_holds(text, "PARTIAL: 1 partition has not been read yet and ");
    free(text);
    /* All is there. */
    covered.missing = covered.changed = 0;
    covered.places.n = 1;
    covered.total = place_rows[0];
    make_partial(0);
    text = text_of(wide_table);
    assert_holds(text, "\nmanifest    2 of 2 partitions, 100.0% of 10 bytes\n"
                       "bytes ");
    assert_null(strstr(text, "PARTIAL"));
    free(text);
}

#define TYPES 100000

/* To go through all types for each would take a minute. */
static void test_many_types(void **state)
{
    static char text[TYPES][8];
    static struct mr_span type[TYPES], figure[TYPES];
    static struct mr_kpi_day_type rows[2 * TYPES];
    static struct mr_kpi_figure figures[TYPES];
    struct mr_cells many = {
        .type = type, .n_types = TYPES, .figure = figure, .n_figures = TYPES};
    char *csv, *end;

    (void)state;
    for (uint32_t i = 0; i < TYPES; i++) {
        snprintf(text[i], sizeof(text[i]), "\x02%06u", (unsigned)i);
        figure[i] = (struct mr_span){(const uint8_t *)text[i], 7};
        type[i] = (struct mr_span){(const uint8_t *)text[i] + 1, 6};
        figures[i].events = figures[i].users = 1;
        rows[2 * i] = (struct mr_kpi_day_type){.type = i, .events = i + 1};
        rows[2 * i + 1] = (struct mr_kpi_day_type){.type = i, .events = 2};
    }
    kpis.day_type = rows;
    kpis.n_day_types = 2 * TYPES;
    kpis.figure = figures;
    kpis.n_figures = TYPES;
    report.cells = &many;
    csv = text_of(mr_report_unknown_users_csv);
    assert_holds(csv, "\n1,000000,1,3,0.333333,1,complete\n");
    end = strrchr(csv, 'c');
    while (end > csv && end[-1] != '\n')
        end--;
    assert_string_equal(end, "100000,099999,1,100002,0.000010,1,complete\n");
    free(csv);
}

static void test_nothing(void **state)
{
    char *text;

    (void)state;
    kpis.n_days = kpis.n_day_types = 0;
    coverage.n_partitions = 0;
    memset(&totals, 0, sizeof(totals));
    assert_report(mr_report_daily_by_type_csv,
        "day,type,events,users,users_estimate,status\n");
    text = text_of(mr_report_json);
    assert_holds(text, "\"days\": [\n],\n\"days_by_type\": [\n],\n");
    assert_holds(text, "\"rejects_by_reason\": {},\n");
    free(text);
    text = text_of(wide_table);
    assert_holds(text, "lines       0 = 0 events + 0 rejected + 0 blank\n");
    free(text);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_daily_csv),
        TEST(test_daily_by_type_csv),
        TEST(test_partitions_csv),
        TEST(test_rejects_csv),
        TEST(test_json),
        TEST(test_table),
        TEST(test_narrow_tables),
        TEST(test_extras),
        TEST(test_retention),
        TEST(test_large_figures),
        TEST(test_partial_table),
        TEST(test_coverage),
        TEST(test_coverage_table),
        TEST(test_many_types),
        TEST(test_nothing),
    };

    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
