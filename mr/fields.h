#ifndef MR_FIELDS_H
#define MR_FIELDS_H

#include <stdbool.h>

#include "mr/bytes.h"

/*
 * Fields of records: one record a line.  A reader is set on a block of whole
 * lines and gives them one by one; of each it says whether the whole line is
 * valid and where in it the values of the wanted paths stand.  No tree is
 * built and nothing is allocated per line.  fields_json.c is the JSON
 * implementation; its opening comment explains how it works.
 */

enum mr_kind {
    MR_KIND_NONE = 0, /* the record has no such value */
    MR_KIND_STRING,   /* span is between the quotes, still escaped */
    MR_KIND_NUMBER,   /* span is the number's text */
    MR_KIND_OBJECT,   /* span is empty */
    MR_KIND_ARRAY,    /* span is empty */
    MR_KIND_TRUE,
    MR_KIND_FALSE,
    MR_KIND_NULL
};

struct mr_value {
    struct mr_span text;
    enum mr_kind kind;
    bool escaped; /* a string that is not what it stands for: JSON with a
                   * backslash, CSV with doubled quotes or backslashes */
};

enum mr_verdict {
    MR_LINE_VALUE,    /* one valid value; the wanted fields are set */
    MR_LINE_BLANK,    /* nothing but JSON white space (or nothing) */
    MR_LINE_INVALID,  /* not valid JSON, invalid UTF-8 included */
    MR_LINE_TOO_LONG, /* more bytes than the limit, line end not counted */
    MR_LINE_TOO_DEEP, /* nested deeper than the limit */
    MR_LINE_END       /* no line is left */
};

/* Most paths one plan can want, most bytes and most parts of one path. */
#define MR_FIELDS_MAX 32
#define MR_FIELDS_PATH_MAX 1024
#define MR_FIELDS_PARTS_MAX 16
/* Deepest nesting that can be allowed. */
#define MR_JSON_DEPTH_MAX 65536

struct mr_record {
    struct mr_span line; /* without LF, CRLF */
    enum mr_verdict verdict;
    /* By the index of the path in the plan; only for MR_LINE_VALUE. */
    struct mr_value value[MR_FIELDS_MAX];
};

/** The wanted paths and limits, compiled.  Read-only once made: any number
 * of readers and threads share one. */
struct mr_fields_plan;

/**
 * mr_fields_plan_new(paths, n, max_line_bytes, max_depth, plan, err):
 * Compile n dotted paths ("data.attributes.user_id"; members of nested
 * objects; a path may be a prefix of another).  An empty path is never
 * found.  MR_USAGE for an impossible path (an empty part, too long, too many
 * parts or paths) or depth (0, or above MR_JSON_DEPTH_MAX).  The paths are
 * copied.
 */
MR_MUST_CHECK enum mr_status mr_fields_plan_new(const char *const *paths,
    size_t n, uint64_t max_line_bytes, uint32_t max_depth,
    struct mr_fields_plan **plan_out, struct mr_error *err);
void mr_fields_plan_free(struct mr_fields_plan *plan);

/** A cursor over lines; about 250 KiB, of which plain text touches some 50,
 * and 1 MiB for the shapes of lines, touched as they come.  One thread. */
struct mr_fields_reader;

MR_MUST_CHECK enum mr_status mr_fields_reader_new(
    const struct mr_fields_plan *plan, struct mr_fields_reader **reader_out,
    struct mr_error *err);
void mr_fields_reader_free(struct mr_fields_reader *reader);

/**
 * mr_fields_reader_set(reader, block): Begin on a block of whole lines; only
 * the last may lack its line end.  The block's memory must stay as it is
 * until the last record has been used; no byte beyond it is read.
 */
void mr_fields_reader_set(
    struct mr_fields_reader *reader, struct mr_span block);

/**
 * mr_fields_next(reader, record): The next line, its verdict and values, or
 * MR_LINE_END.  Of a key that stands twice in one object the last counts,
 * and with it everything below.  Keys are compared after unescaping.  An
 * empty block has no lines; a final line end begins no further line.
 */
void mr_fields_next(
    struct mr_fields_reader *reader, struct mr_record *record_out);

/**
 * mr_fields_unescape(value, out, cap): Unescape a valid JSON string into
 * out[cap] as UTF-8; return its length.  The result is never longer than the
 * text; when cap is shorter than the result, only whole characters that fit
 * are written, but the full length is returned.
 */
size_t mr_fields_unescape(struct mr_span text, uint8_t *out, size_t cap);

/**
 * mr_json_check(text, max_depth): Judge a whole text as one JSON value by
 * the plain, portable reading of RFC 8259, byte after byte, line feeds
 * counting as white space: MR_LINE_VALUE, _BLANK, _INVALID or _TOO_DEEP
 * (whichever fault stands first in the text; max_depth is cut to
 * MR_JSON_DEPTH_MAX).  Surrogate escapes must come in pairs.  No recursion.
 * This is the reference: the fast path asks it about every line that it
 * finds suspect, and the tests compare the two.
 */
enum mr_verdict mr_json_check(struct mr_span text, uint32_t max_depth);

#endif
