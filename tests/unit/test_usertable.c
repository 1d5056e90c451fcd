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
#include <zlib.h>

#include <cmocka.h>

#include "mr/text.h"
#include "mr/usertable.h"
#include "tests/unit/random.h"

static struct mr_spec spec;
static struct mr_error err;
static struct mr_usertable *table;
static char text[4000000]; /* of a file */

/* A spec that takes columns, NULL behind the last, from several places. */
static void want(const char *id, const char *const *columns)
{
    memset(&spec, 0, sizeof spec);
    spec.max_line_bytes = 1 << 20;
    spec.users_table.given = true;
    strcpy(spec.users_table.id, id);
    spec.users_table.csv =
        (struct mr_csv_rules){.delimiter = ',', .quote = '"', .header = true};
    spec.n_rollups = 2;
    for (unsigned i = 0; columns[i] != NULL; i++) {
        struct mr_rollup *rollup = &spec.rollup[i % 2];
        struct mr_column *c = i < 8    ? &rollup->by[rollup->n_by++]
                              : i < 12 ? &spec.segments_by[spec.n_segments_by++]
                                       : &spec.rows[spec.n_rows++];

        c->from = MR_FROM_TABLE;
        strcpy(c->text, columns[i]);
    }
    /* A column of something else, and one that is named again. */
    spec.rows[spec.n_rows].from = MR_FROM_PATH;
    strcpy(spec.rows[spec.n_rows++].text, "nowhere");
    if (columns[0] != NULL)
        spec.rows[spec.n_rows++] = spec.rollup[0].by[0];
}

static enum mr_status load(const void *bytes, size_t n)
{
    const char *base = getenv("TMPDIR");
    enum mr_status status;
    FILE *f;
    int fd;

    snprintf(spec.users_table.file, sizeof spec.users_table.file,
        "%s/mr-users-XXXXXX", base ? base : "/tmp");
    fd = mkstemp(spec.users_table.file);
    assert_true(fd >= 0);
    f = fdopen(fd, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    table = NULL;
    status = mr_usertable_load(&spec, &table, &err);
    assert_int_equal(unlink(spec.users_table.file), 0);
    if (status == MR_OK) {
        struct mr_digest digest = mr_digest_bytes(bytes, n);

        assert_memory_equal(&table->digest, &digest, sizeof digest);
    } else {
        assert_null(table);
        assert_int_equal(err.status, status);
        assert_string_equal(err.path, spec.users_table.file);
        assert_true(err.cause[0] != '\0');
    }
    return status;
}

static enum mr_status load_text(const char *s)
{
    return load(s, strlen(s));
}

static const uint8_t *user(const char *id)
{
    uint64_t hash = mr_hash64(id, strlen(id));

    mr_usertable_prefetch(table, hash);
    return mr_usertable_find(table, hash);
}

/* What a user has in a column; NULL for nothing. */
static void assert_value(const char *id, const char *name, const char *value)
{
    int column = mr_usertable_column(table, name);
    unsigned number;
    struct mr_span found;

    assert_true(column >= 0);
    number = mr_usertable_number(user(id), (unsigned)column);
    found = mr_usertable_text(table, (unsigned)column, number);
    if (value == NULL) {
        assert_int_equal(number, 0);
        assert_null(found.p);
        return;
    }
    assert_int_equal(found.n, strlen(value));
    assert_memory_equal(found.p, value, found.n);
}

static const char *const country_age[] = {"country", "age", NULL};

static void users_have_values(void **state)
{
    (void)state;
    want("user_id", country_age);
    assert_int_equal(
        load_text("age,user_id,name,country\n"
                  "30,u1,Ann,DE\n31,u2,\"Bo\nb, \"\"x\"\"\",FR\n,u3,,DE\n"),
        MR_OK);
    assert_int_equal(table->n_columns, 2);
    assert_int_equal(table->counts.rows, 3);
    assert_int_equal(table->counts.users, 3);
    assert_int_equal(table->counts.repeated + table->counts.without_id +
                         table->counts.differing + table->counts.outside,
        0);
    assert_value("u1", "country", "DE");
    assert_value("u1", "age", "30");
    assert_value("u2", "country", "FR");
    assert_value("u3", "country", "DE");
    assert_value("u3", "age", NULL);
    assert_non_null(user("u3"));
    assert_null(user("u4"));
    assert_value("u4", "country", NULL);
    assert_int_equal(mr_usertable_column(table, "name"), -1);
    mr_usertable_free(table);
    mr_usertable_free(NULL);
}

static void no_column_need_be_wanted(void **state)
{
    static const char *const nothing[] = {NULL};

    (void)state;
    want("id", nothing);
    assert_int_equal(load_text("id\na\nb\na"), MR_OK);
    assert_int_equal(table->n_columns, 0);
    assert_int_equal(table->counts.users, 2);
    assert_int_equal(table->counts.repeated, 1);
    assert_int_equal(table->counts.differing, 0);
    assert_non_null(user("b"));
    assert_null(user("id"));
    mr_usertable_free(table);

    assert_int_equal(load_text("id\n"), MR_OK);
    assert_int_equal(table->counts.users, 0);
    assert_null(user("a"));
    mr_usertable_free(table);

    spec.users_table.csv.header = false;
    strcpy(spec.users_table.id, "1");
    assert_int_equal(load_text(""), MR_OK);
    assert_int_equal(table->counts.rows, 0);
    mr_usertable_free(table);
}

static void real_files_are_read(void **state)
{
    static const char *const by_number[] = {"3", "1", NULL};

    (void)state;
    /* A mark, CRLF, blank lines, ragged rows, null words, no last end. */
    want("user_id", country_age);
    spec.users_table.csv.n_nulls = 2;
    strcpy(spec.users_table.csv.null[0], "\\N");
    strcpy(spec.users_table.csv.null[1], "-");
    assert_int_equal(
        load_text("\xef\xbb\xbf\r\nuser_id,country,age\r\n\r\nu1,-,\\N\r\n"
                  "u2,\"-\",1,more\r\nu3\r\n-,DE,7\r\n\"\",DE,7\r\n"
                  "\"u4\",\"D\"\"E\",\"\""),
        MR_OK);
    assert_int_equal(table->counts.rows, 6);
    assert_int_equal(table->counts.users, 4);
    assert_int_equal(table->counts.without_id, 2);
    assert_value("u1", "country", NULL);
    assert_value("u1", "age", NULL);
    assert_value("u2", "country", "-");
    assert_value("u2", "age", "1");
    assert_value("u3", "country", NULL);
    assert_non_null(user("u3"));
    assert_value("u4", "country", "D\"E");
    assert_value("u4", "age", NULL);
    mr_usertable_free(table);

    /* The header is far from the start. */
    want("user_id", country_age);
    memset(text, '\n', 600000);
    strcpy(text + 600000, "age,country,user_id\n1,DE,u1\n");
    assert_int_equal(load_text(text), MR_OK);
    assert_int_equal(table->counts.rows, 1);
    assert_value("u1", "country", "DE");
    mr_usertable_free(table);
    strcpy(text + 600000, "age,country,user_id\n1,DE,\"u1\n");
    assert_int_equal(load_text(text), MR_FORMAT);
    assert_non_null(strstr(err.cause, "line 600002: "));

    /* No header, another dialect. */
    want("2", by_number);
    spec.users_table.csv = (struct mr_csv_rules){.delimiter = ';',
        .quote = '\'',
        .backslash = true,
        .skip_spaces = true};
    assert_int_equal(
        load_text("'a;\\'1'; 'u1'; x\nb;  u2;'y'\n;u\\3\n"), MR_OK);
    assert_value("u1", "1", "a;'1");
    assert_value("u1", "3", "x");
    assert_value("u2", "1", "b");
    assert_value("u2", "3", "y");
    assert_value("u\\3", "1", NULL);
    assert_value("u\\3", "3", NULL);
    mr_usertable_free(table);

    /* A number where there is a header, too. */
    want("2", by_number);
    assert_int_equal(load_text("x,y,z\n7,8,9\n"), MR_OK);
    assert_value("8", "1", "7");
    assert_value("8", "3", "9");
    mr_usertable_free(table);

    /* The ids' column by its number: groups are not told by it. */
    want("z", by_number);
    assert_int_equal(load_text("x,y,z\n7,8,9\n"), MR_USAGE);
    assert_non_null(strstr(err.cause, "columns '3' and 'z' are one"));
    want("y", by_number);
    assert_int_equal(load_text("x,y,z\n7,8,9\n"), MR_OK);
    mr_usertable_free(table);
}

static void ranges_are_values(void **state)
{
    static const struct {
        const char *value, *want;
    } rows[] = {{"17", NULL}, {"18", "18-49"}, {"49", "18-49"}, {"50", "50-80"},
        {"80", "50-80"}, {"81", NULL}, {"25-34", "18-49"}, {"18-49", "18-49"},
        {" 25 - 34 ", "18-49"}, {"45-54", NULL}, {"34-25", NULL}, {"x", NULL},
        {"25-", NULL}, {"-25", NULL}, {"25.5", NULL}, {"25-30-40", NULL},
        {"025", "18-49"}, {"4294967295", NULL}, {"4294967296", NULL},
        {"18446744073709551641", NULL}, {"60-100", NULL}};
    size_t n = sizeof rows / sizeof *rows, outside = 0;

    (void)state;
    strcpy(text, "country,user_id,age\n");
    want("user_id", country_age);
    strcpy(spec.users_table.ranged, "age");
    spec.users_table.n_ranges = 3;
    spec.users_table.range[0] = (struct mr_range){3, 3};
    spec.users_table.range[1] = (struct mr_range){18, 49};
    spec.users_table.range[2] = (struct mr_range){50, 80};
    for (size_t i = 0; i < n; i++) {
        sprintf(text + strlen(text), "30,u%zu,%s\n", i, rows[i].value);
        outside += rows[i].want == NULL;
    }
    strcat(text, "30,v,\n30,w,3\n");
    assert_int_equal(load_text(text), MR_OK);
    for (size_t i = 0; i < n; i++) {
        char id[30];

        sprintf(id, "u%zu", i);
        assert_value(id, "age", rows[i].want);
        assert_value(id, "country", "30");
    }
    assert_value("v", "age", NULL);
    assert_value("w", "age", "3-3");
    assert_int_equal(table->counts.outside, outside);
    /* All ranges have numbers, in their order. */
    assert_memory_equal(mr_usertable_text(table, 1, 3).p, "50-80", 5);
    mr_usertable_free(table);
}

static void the_first_row_counts(void **state)
{
    (void)state;
    want("user_id", country_age);
    assert_int_equal(
        load_text("user_id,country,age\nu,DE,1\nu,FR,1\nu,DE,1\nu,DE\nv,FR,2"),
        MR_OK);
    assert_int_equal(table->counts.rows, 5);
    assert_int_equal(table->counts.users, 2);
    assert_int_equal(table->counts.repeated, 3);
    assert_int_equal(table->counts.differing, 2);
    assert_value("u", "country", "DE");
    assert_value("u", "age", "1");
    mr_usertable_free(table);
}

/* Of a hash that marks a free slot elsewhere. */
static void a_hash_may_be_zero(void **state)
{
    static const char id[] = "V2*hj1*@adn1";

    (void)state;
    assert_int_equal(mr_hash64(id, strlen(id)), 0);
    want("user_id", country_age);
    assert_int_equal(load_text("user_id,country,age\nu,DE,1\n"), MR_OK);
    assert_null(user(id));
    mr_usertable_free(table);
    for (unsigned more = 0; more < 5000; more += 2500) {
        char *p = text;

        p += sprintf(p, "user_id,country,age\n%s,DE,1\n%s,FR,1\n", id, id);
        for (unsigned i = 0; i < more; i++)
            p += sprintf(p, "%u,GB,2\n", i);
        assert_int_equal(load_text(text), MR_OK);
        assert_int_equal(table->counts.users, more + 1);
        assert_int_equal(table->counts.differing, 1);
        assert_value(id, "country", "DE");
        mr_usertable_free(table);
    }
}

static void assert_cause(const char *cause)
{
    if (strstr(err.cause, cause) == NULL)
        fail_msg("'%s' for '%s'", err.cause, cause);
}

static void faults_are_told_by_line(void **state)
{
    static const struct {
        const char *text, *cause;
        enum mr_status status;
    } faults[] = {
        {"", "no row names the columns", MR_FORMAT},
        {"\n\r\n", "no row names the columns", MR_FORMAT},
        {"id,country,age\n", "no column 'user_id'", MR_FORMAT},
        {"user_id,age\nu,1\n", "no column 'country'", MR_FORMAT},
        {"user_id,country,age\nu,DE,1\n\"v\"x,DE,1\n", "line 3: ", MR_FORMAT},
        {"user_id,country,age\n\n\"a\nb\",DE,1\nv,\"DE,1\n",
            "line 5: ", MR_FORMAT},
        {"user_id,country,age\nu,DE,1\nv,\xff,1\n", "line 3: ", MR_FORMAT},
        {"user_id,\"country,age\n", "not valid CSV", MR_FORMAT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        want("user_id", country_age);
        assert_int_equal(load_text(faults[i].text), faults[i].status);
        assert_cause(faults[i].cause);
    }
    /* Far behind, and behind quoted line feeds. */
    strcpy(text, "user_id,country,age\n");
    for (size_t i = 0, n = strlen(text); i < 100000; i++)
        n += (size_t)sprintf(text + n, "u%zu,\"D\n\nE\",1\n", i);
    strcat(text, "v,\"DE\"x,1\n");
    want("user_id", country_age);
    assert_int_equal(load_text(text), MR_FORMAT);
    assert_cause("line 300002: ");
}

static void spec_faults_are_told(void **state)
{
    static const char *const by_number[] = {"3", NULL};
    char names[40][8];
    const char *many[41] = {NULL};

    (void)state;
    want("2", by_number);
    spec.users_table.csv.header = false;
    assert_int_equal(load_text("\na,b\na,b,c\n"), MR_USAGE);
    assert_cause("line 2: no column 3");
    assert_int_equal(load_text("a,b,c\na\n"), MR_OK);
    assert_int_equal(table->counts.without_id, 1);
    mr_usertable_free(table);
    strcpy(spec.users_table.id, "user_id");
    assert_int_equal(load_text("a,b,c\n"), MR_USAGE);
    assert_cause("'user_id'");

    for (unsigned i = 0; i < 40; i++) {
        sprintf(names[i], "c%u", i);
        many[i] = names[i];
        if (i + 1 == MR_USERTABLE_COLUMNS_MAX ||
            i + 1 == MR_USERTABLE_COLUMNS_MAX + 1) {
            char *p = text + sprintf(text, "id");

            for (unsigned k = 0; k <= i; k++)
                p += sprintf(p, ",c%u", k);
            strcpy(p, "\nu,0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,"
                      "q,r,s,t,u,v\n");
            want("id", many);
            assert_int_equal(load_text(text),
                i + 1 > MR_USERTABLE_COLUMNS_MAX ? MR_USAGE : MR_OK);
            if (table == NULL)
                break;
            assert_value("u", "c0", "0");
            assert_value("u", "c30", "u");
            mr_usertable_free(table);
        }
    }
    assert_cause("columns");

    want("id", country_age);
    strcpy(spec.users_table.file, "/nowhere/users.csv");
    assert_int_equal(mr_usertable_load(&spec, &table, &err), MR_IO);
    assert_string_equal(err.path, "/nowhere/users.csv");
    assert_int_equal(mr_usertable_load(&spec, &table, NULL), MR_IO);
}

static void limits_hold(void **state)
{
    static const char *const country[] = {"country", NULL};
    char *p = text;

    (void)state;
    p += sprintf(p, "user_id,country\n");
    for (unsigned i = 0; i < 65535; i++)
        p += sprintf(p, "u%u,c%u\n", i, i);
    want("user_id", country);
    assert_int_equal(load_text(text), MR_OK);
    assert_value("u0", "country", "c0");
    assert_value("u65534", "country", "c65534");
    mr_usertable_free(table);
    sprintf(p, "u,c1\nu,c65535\n");
    assert_int_equal(load_text(text), MR_LIMIT);
    assert_cause("line 65538: more than 65535 values of 'country'");

    for (int n = 256; n <= 257; n++) {
        char value[300];

        sprintf(value, "%0*d", n, 7);
        sprintf(text, "user_id,country\nu,%s\n", value);
        assert_int_equal(load_text(text), n == 256 ? MR_OK : MR_FORMAT);
        if (n == 256) {
            assert_value("u", "country", value);
            mr_usertable_free(table);
        }
    }
    assert_cause("line 2: a value of 'country' of 257 bytes");

    /* A row that is longer than the spec lets lines be. */
    spec.max_line_bytes = 100000;
    memset(text, 'x', 200000);
    strcpy(text + 200000, "\n");
    memcpy(text, "user_id,country\nu,DE\n", 21);
    assert_int_equal(load_text(text), MR_FORMAT);
    assert_cause("line 3: too long a row");
    memset(text, 'x', 300000);
    strcpy(text + 300000, "\n");
    assert_int_equal(load_text(text), MR_FORMAT);
}

static void packed_files_are_read(void **state)
{
    static const char plain[] = "user_id,country,age\nu,DE,1\n";
    uint8_t packed[200];
    z_stream z = {.next_out = packed, .avail_out = sizeof packed};
    uint8_t in[sizeof plain], tar[1024] = {0};
    unsigned sum = 0;

    (void)state;
    memcpy(in, plain, sizeof plain);
    z.next_in = in;
    z.avail_in = sizeof plain - 1;
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, 0), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    want("user_id", country_age);
    assert_int_equal(load(packed, z.total_out), MR_OK);
    assert_value("u", "country", "DE");
    mr_usertable_free(table);
    assert_int_equal(load(packed, z.total_out - 3), MR_FORMAT);
    assert_int_equal(deflateEnd(&z), Z_OK);

    /* An archive of one empty file is none that says who is meant. */
    memcpy(tar, "a.csv", 5);
    memcpy(tar + 100, "0000644\0000000000\0000000000\00000000000000", 35);
    memcpy(tar + 136, "00000000000\0        0", 21);
    memcpy(tar + 257, "ustar\00000", 8);
    for (unsigned i = 0; i < 512; i++)
        sum += tar[i];
    sprintf((char *)tar + 148, "%06o", sum);
    tar[155] = ' ';
    assert_int_equal(load(tar, sizeof tar), MR_USAGE);
    assert_cause("archive");
}

/* Many users, twice or more, against plain arrays. */
static void growing_loses_nobody(void **state)
{
    enum { USERS = 30000 };
    static int first[USERS];

    (void)state;
    for (unsigned round = 3; round > 0; round--) {
        unsigned rows = round * 30000, users = 0, repeated = 0;
        char *p = text;

        memset(first, 0, sizeof first);
        p += sprintf(p, "user_id,x,country,age\n");
        for (unsigned i = 0; i < rows; i++) {
            unsigned u = (unsigned)any(USERS), c = 1 + (unsigned)any(999);

            p += sprintf(
                p, any(2) ? "id%u,,%u,%u\n" : "id%u,,\"%u\",%u\n", u, c, c % 7);
            users += first[u] == 0;
            repeated += first[u] != 0;
            if (first[u] == 0)
                first[u] = (int)c;
        }
        want("user_id", country_age);
        assert_int_equal(load_text(text), MR_OK);
        assert_int_equal(table->counts.users, users);
        assert_int_equal(table->counts.repeated, repeated);
        for (unsigned u = 0; u < USERS; u++) {
            char id[20], value[20];

            sprintf(id, "id%u", u);
            sprintf(value, "%d", first[u]);
            assert_int_equal(user(id) != NULL, first[u] != 0);
            assert_value(id, "country", first[u] ? value : NULL);
            sprintf(value, "%d", first[u] % 7);
            assert_value(id, "age", first[u] ? value : NULL);
        }
        /* As much memory as was promised. */
        assert_in_range(table->n_slots * table->slot_bytes, users * 15,
            users * (15 + 2 * 4));
        mr_usertable_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_have_values),
        cmocka_unit_test(no_column_need_be_wanted),
        cmocka_unit_test(real_files_are_read),
        cmocka_unit_test(ranges_are_values),
        cmocka_unit_test(the_first_row_counts),
        cmocka_unit_test(a_hash_may_be_zero),
        cmocka_unit_test(faults_are_told_by_line),
        cmocka_unit_test(spec_faults_are_told),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(packed_files_are_read),
        cmocka_unit_test(growing_loses_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
