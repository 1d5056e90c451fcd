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

#include "mr/spec.h"

static const char lake_text[] = "format: json\n"
                                "zone: UTC\n"
                                "id: data.id\n"
                                "type: data.type\n"
                                "attributes: data.attributes\n"
                                "time: meta.created_at\n"
                                "user: data.attributes.user_id\n"
                                "session_gap_ms: 1800000\n"
                                "max_line_bytes: 16777216\n"
                                "max_depth: 1024\n"
                                "sketch_bits: 14\n";

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

static void test_lake(void **state)
{
    struct mr_spec spec, loaded;
    struct mr_error err;

    (void)state;
    assert_int_equal(mr_spec_builtin("lake", &spec, &err), MR_OK);
    assert_text(&spec, lake_text);
    assert_int_equal(mr_spec_load("lake", &loaded, &err), MR_OK);
    assert_text(&loaded, lake_text);
    assert_int_equal(load(lake_text, &loaded, &err), MR_OK);
    assert_text(&loaded, lake_text);
    assert_int_equal(mr_spec_builtin("pond", &spec, &err), MR_USAGE);
    assert_non_null(strstr(err.advice, "'lake'"));
}

/* What is left out is the lake spec's; order and style are free. */
static void test_load(void **state)
{
    struct mr_spec spec;
    struct mr_error err;

    (void)state;
    assert_int_equal(load("# ours\n---\nsketch_bits: 12   # small\n"
                          "'user': \"actor.id\"\nattributes:\n"
                          "type: kind\nmax_depth: 65536\n...\n",
                         &spec, &err),
        MR_OK);
    assert_text(&spec, "format: json\n"
                       "zone: UTC\n"
                       "id: data.id\n"
                       "type: kind\n"
                       "attributes: \"\"\n"
                       "time: meta.created_at\n"
                       "user: actor.id\n"
                       "session_gap_ms: 1800000\n"
                       "max_line_bytes: 16777216\n"
                       "max_depth: 65536\n"
                       "sketch_bits: 12\n");
    assert_int_equal(
        load("{session_gap_ms: 0, max_line_bytes: 1}", &spec, &err), MR_OK);
    assert_int_equal(spec.session_gap_ms, 0);
    assert_int_equal(spec.max_line_bytes, 1);
}

static void test_refused_settings(void **state)
{
    (void)state;
    assert_refused("sesion_gap_ms: 5\n",
        "line 1, column 1: unknown key 'sesion_gap_ms'", "'session_gap_ms'");
    assert_refused(
        "id: a\nuser_id: b\n", "line 2, column 1: unknown key", "user");
    assert_refused("typ: b\n", "unknown key 'typ'", "'type'");
    assert_refused("<<: {id: a}\n", "unknown key '<<'", "'id'");
    assert_refused("sketch_bits: 3\n", "line 1, column 14: '3': out of range",
        "from 4 to 18");
    assert_refused("sketch_bits: 19\n", "out of range", "from 4 to 18");
    assert_refused("max_depth: 0\n", "out of range", "from 1 to 65536");
    assert_refused("max_depth: 65537\n", "out of range", "from 1 to 65536");
    assert_refused(
        "max_line_bytes: 1073741825\n", "out of range", "1073741824");
    assert_refused("session_gap_ms: 86400001\n", "out of range", "86400000");
    assert_refused("max_depth: 4294967297\n", "out of range", "");
    assert_refused("max_depth: 99999999999999999999\n", "whole number", "");
    assert_refused("max_depth: -1\n", "whole number", "whole number");
    assert_refused("max_depth: 1e3\n", "whole number", "");
    assert_refused("max_depth: \"12\"\n", "a string, not a number", "");
    assert_refused(
        "max_depth: [12]\n", "a value must be a single", "key: value");
    assert_refused("max_depth:\n", "whole number", "");
    assert_refused("zone: Europe/Berlin\n", "not supported", "'UTC'");
    assert_refused("format: csv\n", "not supported", "'json'");
    assert_refused(
        "id: a\nid: a\n", "line 2, column 1: 'id' stands here a", "keep one");
}

static void test_refused_paths(void **state)
{
    char line[400];

    (void)state;
    assert_refused("id: \"\"\n", "empty", "data.id");
    assert_refused("id:\n", "empty", "data.id");
    assert_refused("id: a..b\n", "between dots", "");
    assert_refused("id: .a\n", "between dots", "");
    assert_refused("id: a.\n", "between dots", "");
    assert_refused("id: ~\n", "not a string", "");
    assert_refused("id: Null\n", "not a string", "");
    assert_refused("id: yes\n", "not a string", "");
    assert_refused("id: 12\n", "not a string", "");
    assert_refused("id: -1.5e3\n", "not a string", "");
    assert_refused("id: \"a\\tb\"\n", "control character", "");
    assert_refused("id: \"a\\0b\"\n", "control character", "");
    assert_refused("id: \"a\\Lb\"\n", "control character", "");
    assert_refused("id: a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q\n", "16 keys", "");
    snprintf(line, sizeof(line), "id: %0300d\n", 0);
    line[4] = 'x';
    assert_refused(line, "longer than 256", "");
}

static void test_refused_yaml(void **state)
{
    struct mr_spec spec;
    struct mr_error err;

    (void)state;
    assert_refused("", "the file is empty", "key: value");
    assert_refused("# nothing\n", "the file is empty", "");
    assert_refused("- id\n", "a spec is a mapping", "");
    assert_refused("id: [a\n", "a value must be a single", "");
    assert_refused("id: \"a\n", "not YAML", "");
    assert_refused("id: a\n---\nid: b\n", "one document", "");
    assert_refused("id: &x a\n", "anchors and tags", "");
    assert_refused("&x id: a\n", "anchors and tags", "");
    assert_refused("&x\nid: a\n", "anchors and tags", "");
    assert_refused("!!map\nid: a\n", "anchors and tags", "");
    assert_refused("id: !!str a\n", "anchors and tags", "");
    assert_refused("id: *x\n", "aliases", "");
    assert_refused("? [a]\n: b\n", "a key must be a single", "");
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
    struct mr_spec spec, again, loaded;
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
        if (load_bytes((char *)b.p, b.n, &loaded, &err) != MR_OK)
            fail_msg("path '%s': %s", paths[i], err.cause);
        assert_string_equal(loaded.field[MR_FIELD_USER], paths[i]);
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

/* Anything but the canonical text is refused, also by one byte. */
static void test_parse_is_strict(void **state)
{
    static const char *const swaps[][2] = {{"json\n", "json \n"},
        {"id: data.id\n", "id: \"data.id\"\n"}, {"14\n", "014\n"},
        {"14\n", "3\n"}, {"UTC", "CET"}, {"id: data.id", "id:  data.id"},
        {"id: data.id\n", ""}, {"14\n", "14"}, {"14\n", "14\n\n"},
        {"14\n", "14\nx: y\n"}, {"data.attributes\n", "\n"},
        {"data.attributes\n", "\"\\q\"\n"}, {"data.attributes\n", "\"\\\"\n"},
        {"data.attributes\n", "a\x80\n"}, {"data.attributes\n", "\"a\x80\"\n"},
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
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_refused_settings),
        cmocka_unit_test(test_refused_paths),
        cmocka_unit_test(test_refused_yaml),
        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_longest_path),
        cmocka_unit_test(test_parse_is_strict),
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_reasons),
    };

    return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
