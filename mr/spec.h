#ifndef MR_SPEC_H
#define MR_SPEC_H

#include "mr/bytes.h"
#include "mr/hash.h"

/*
 * A spec says how to read events and which figures to keep.  Two states fit
 * together exactly when their specs' canonical texts are equal, so that text
 * (and not the YAML it came from, nor the spec's name) stands in every state
 * and its digest in the state's header.
 */

/* The fields every spec names, in the order in which a line is checked. */
enum mr_field {
    MR_FIELD_ID,
    MR_FIELD_TYPE,
    MR_FIELD_ATTRIBUTES,
    MR_FIELD_TIME,
    MR_FIELD_USER,
    MR_FIELD_COUNT
};

/*
 * Reject reasons, numbered: the three of the line as a whole, then
 * missing:FIELD and malformed:FIELD for each field in order.
 */
enum {
    MR_REASON_JSON,
    MR_REASON_TOO_LONG,
    MR_REASON_TOO_DEEP,
    MR_REASON_FIELDS, /* the first of the pairs */
    MR_REASON_COUNT = MR_REASON_FIELDS + 2 * MR_FIELD_COUNT
};
#define MR_REASON_MISSING(f) (MR_REASON_FIELDS + 2 * (f))
#define MR_REASON_MALFORMED(f) (MR_REASON_FIELDS + 2 * (f) + 1)

/* Longest event type that is kept; a longer one is malformed. */
#define MR_TYPE_MAX_BYTES 1024
/* Longest dotted field path of a spec, and deepest. */
#define MR_PATH_MAX_BYTES 256
#define MR_PATH_MAX_DEPTH 16

struct mr_spec {
    /* Dotted paths, as "data.attributes.user_id"; NUL-terminated.  An empty
     * path for MR_FIELD_ATTRIBUTES means that nothing of the kind is
     * required; the others are never empty. */
    char field[MR_FIELD_COUNT][MR_PATH_MAX_BYTES + 1];
    uint64_t session_gap_ms; /* default 1,800,000 */
    uint64_t max_line_bytes; /* default 16 MiB */
    uint32_t max_depth;      /* default 1024 */
    uint32_t sketch_bits;    /* HyperLogLog precision p; default 14 */
};

/** mr_spec_builtin(name, spec, err): The built-in spec of that name ("lake").
 * MR_USAGE, naming the known ones, for any other. */
MR_MUST_CHECK enum mr_status mr_spec_builtin(
    const char *name, struct mr_spec *spec_out, struct mr_error *err);

/**
 * mr_spec_load(name_or_path, spec, err): A built-in name, or else the path
 * of a YAML file (libyaml; at most 1 MiB).  Keys and defaults are those of
 * mr_spec_text; keys left out keep the lake spec's values.  Unknown keys,
 * wrong types and numbers out of range are MR_USAGE with the line and
 * column, what was expected and the nearest known key; a file that cannot
 * be read is MR_USAGE too.
 */
MR_MUST_CHECK enum mr_status mr_spec_load(
    const char *name_or_path, struct mr_spec *spec_out, struct mr_error *err);

/**
 * mr_spec_text(spec, out): Append the canonical text: one "key: value" line
 * per setting in a fixed order, every default written out, valid YAML that
 * mr_spec_load would read back to the same spec.
 */
MR_MUST_CHECK enum mr_status mr_spec_text(
    const struct mr_spec *spec, struct mr_buffer *out);

/**
 * mr_spec_parse(text, spec, err): Read a canonical text from a state.  The
 * bytes are not trusted: anything but exactly what mr_spec_text would write
 * for the parsed spec is MR_FORMAT.
 */
MR_MUST_CHECK enum mr_status mr_spec_parse(
    struct mr_span text, struct mr_spec *spec_out, struct mr_error *err);

/** mr_spec_difference(a, b, out): Append one line "key: A here, B there" for
 * each setting that differs, in canonical order; nothing when equal. */
MR_MUST_CHECK enum mr_status mr_spec_difference(
    const struct mr_spec *a, const struct mr_spec *b, struct mr_buffer *out);

/** mr_spec_reason(spec, reason, out, size): The text of a reject reason, as
 * "missing:data.id".  Always NUL-terminated. */
void mr_spec_reason(
    const struct mr_spec *spec, unsigned reason, char *out, size_t size);

#endif
