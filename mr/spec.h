#ifndef MR_SPEC_H
#define MR_SPEC_H

#include "mr/bytes.h"
#include "mr/csv_rules.h"
#include "mr/hash.h"

/*
 * A spec says how to read events and which figures to keep.  Two states fit
 * together exactly when their specs' canonical texts are equal, so that text
 * (and not the YAML it came from, nor the spec's name) stands in every state
 * and its digest in the state's header.
 */

/* How events are written. */
enum mr_input_format {
    MR_INPUT_JSON,        /* a JSON value a line */
    MR_INPUT_JSON_VALUES, /* JSON values one after another */
    MR_INPUT_JSON_ARRAY,  /* the elements of one array */
    MR_INPUT_CSV,
    MR_INPUT_TSV
};

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
    MR_REASON_JSON, /* named "csv" where the format is CSV or TSV */
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
/* Longest name of a rollup, segment, column, zone; longest time pattern. */
#define MR_NAME_MAX_BYTES 64
/* Most of each in a spec. */
#define MR_USERS_FIELDS_MAX 8 /* in a user's identity chain */
#define MR_ROLLUPS_MAX 16
#define MR_ROLLUP_FIELDS_MAX 8
#define MR_SEGMENTS_MAX 8
#define MR_CONDITIONS_MAX 8 /* of a segment */
#define MR_RANGES_MAX 16
#define MR_ROWS_MAX 32
#define MR_MAX_GROUPS UINT32_C(1000000)

typedef char mr_name[MR_NAME_MAX_BYTES + 1];
typedef char mr_path[MR_PATH_MAX_BYTES + 1];

/** Where times are written and read. */
enum mr_time_kind {
    MR_TIME_EPOCH_S,
    MR_TIME_EPOCH_MS,
    MR_TIME_EPOCH_US,
    MR_TIME_EPOCH_NS,
    MR_TIME_ISO8601,
    MR_TIME_PATTERN /* strptime's */
};

/** A field that figures are kept by, or a column of rows: what it is called
 * there, and where its value comes from. */
enum mr_source_kind {
    MR_FROM_PATH, /* a path, or a column of CSV */
    MR_FROM_ID,   /* rows only, as USER and TIME */
    MR_FROM_TYPE,
    MR_FROM_USER,
    MR_FROM_TIME,
    MR_FROM_HOUR,   /* 2017020220 */
    MR_FROM_DAY,    /* 2017-02-02 */
    MR_FROM_HOST,   /* url.host */
    MR_FROM_STEP,   /* url.path1 to url.path9: number */
    MR_FROM_FOLDER, /* path.KEY: text */
    MR_FROM_TABLE   /* users.COLUMN: text */
};

struct mr_column {
    mr_name name; /* the column's head */
    enum mr_source_kind from;
    unsigned number;
    mr_path text;
    mr_name format; /* rows: of times; empty: ISO 8601 */
};

/** Which user figures a rollup keeps; bits. */
#define MR_USERS_EXACT 1u
#define MR_USERS_ESTIMATE 2u

struct mr_rollup {
    mr_name name;
    struct mr_column by[MR_ROLLUP_FIELDS_MAX];
    unsigned n_by; /* at least 1 */
    unsigned users;
    mr_name events_as, users_as; /* an estimate's column: with _estimate */
    uint32_t max_groups;
};

enum mr_comparison { MR_AT_LEAST, MR_ABOVE, MR_EQUAL, MR_BELOW, MR_AT_MOST };

/** Users with so many events of each of some types. */
struct mr_segment {
    mr_name name;
    unsigned n_conditions; /* at least 1; types ascending, no two alike */
    struct {
        mr_path type;
        enum mr_comparison comparison;
        uint32_t count;
    } condition[MR_CONDITIONS_MAX];
};

/** A range of whole numbers, both ends in it. */
struct mr_range {
    uint32_t low, high;
};

struct mr_users_table {
    bool given;
    char file[1024]; /* as found from the spec's folder; not in the text */
    mr_name id;      /* the column of user ids */
    struct mr_csv_rules csv;
    mr_name ranged; /* the column that ranges are of; empty: none */
    struct mr_range range[MR_RANGES_MAX]; /* ascending, not overlapping */
    unsigned n_ranges;
    /* Set once the table has been read (mr/usertable.h), and part of the
     * canonical text: what a state depends on. */
    struct mr_digest digest;
    uint64_t n_users;
};

/** Plain data: copied by assignment, owns nothing; about 100 KiB, so not for
 * the stack of deep calls. */
struct mr_spec {
    enum mr_input_format format;
    mr_path records; /* MR_INPUT_JSON_ARRAY; empty: the document */
    struct mr_csv_rules csv;
    /* Dotted paths, as "data.attributes.user_id", or columns: names, or
     * numbers from 1 on; NUL-terminated.  Empty ID and ATTRIBUTES: nothing
     * of the kind is required.  TYPE may be "=" and a type that all events
     * have.  USER is the first of the chain. */
    mr_path field[MR_FIELD_COUNT];
    mr_path user[MR_USERS_FIELDS_MAX]; /* no two alike */
    unsigned n_users;                  /* at least 1 */
    bool tagged; /* identity: a user is an id and its path */
    enum mr_time_kind time_kind;
    mr_name time_pattern;
    mr_name time_zone, zone;
    /* Of the zones' data, which differ from system to system and year to
     * year; set once they have been loaded (mr/zone.h), and part of the text
     * where the zone is not UTC. */
    struct mr_digest time_zone_digest, zone_digest;
    mr_path url;
    uint64_t session_gap_ms; /* default 1,800,000 */
    uint64_t max_line_bytes; /* default 16 MiB */
    uint32_t max_depth;      /* default 1024 */
    uint32_t sketch_bits;    /* HyperLogLog precision p; default 14 */
    struct mr_users_table users_table;
    struct mr_rollup rollup[MR_ROLLUPS_MAX];
    unsigned n_rollups;
    uint64_t max_ids; /* of a day, exact up to it; 0: no duplicates counted */
    bool exact_ids;   /* keep all */
    struct mr_segment segment[MR_SEGMENTS_MAX]; /* ascending by name */
    unsigned n_segments;
    struct mr_column segments_by[MR_ROLLUP_FIELDS_MAX]; /* MR_FROM_TABLE */
    unsigned n_segments_by;
    struct mr_column rows[MR_ROWS_MAX]; /* not in the text */
    unsigned n_rows;
};

/** mr_spec_builtin(name, spec, err): The built-in spec of that name ("lake"
 * is the default; mr/spec_builtin.h has them all).  MR_USAGE, naming the
 * nearest, for any other. */
MR_MUST_CHECK enum mr_status mr_spec_builtin(
    const char *name, struct mr_spec *spec_out, struct mr_error *err);

/**
 * mr_spec_load(name_or_path, spec, err): A built-in name, or else the path
 * of a YAML file (at most 1 MiB).  Keys and defaults are those of
 * mr/spec_keys.def.  Unknown keys, wrong types, numbers out of range and
 * settings that contradict one another are MR_USAGE with the line and
 * column, what was expected and, of names, the nearest known one.  So are a
 * path that cannot be opened as it stands (MR_IO where the disk or the share
 * is at fault) and a zone that this system does not know; of others the errors
 * of mr_zone_load.  That the users table is there is not looked at.
 */
MR_MUST_CHECK enum mr_status mr_spec_load(
    const char *name_or_path, struct mr_spec *spec_out, struct mr_error *err);

/**
 * mr_spec_text(spec, out): Append the canonical text: one "key: value" line
 * per setting in a fixed order, every default written out, valid YAML; what
 * is nested stands on its line in flow.  Rows are not in it, and of the users
 * table the digest and number of users instead of the file.  But for such a
 * table mr_spec_load would read it back to the same spec.
 */
MR_MUST_CHECK enum mr_status mr_spec_text(
    const struct mr_spec *spec, struct mr_buffer *out);

/** mr_spec_digest(spec, digest): XXH3-128 of the canonical text, as in a
 * state's header. */
MR_MUST_CHECK enum mr_status mr_spec_digest(
    const struct mr_spec *spec, struct mr_digest *digest_out);

/**
 * mr_spec_parse(text, spec, err): Read a canonical text from a state.  The
 * bytes are not trusted: anything but exactly what mr_spec_text would write
 * for the parsed spec is MR_FORMAT, and so is more than 1 MiB.
 */
MR_MUST_CHECK enum mr_status mr_spec_parse(
    struct mr_span text, struct mr_spec *spec_out, struct mr_error *err);

/** mr_spec_difference(a, b, out): Append one line "key: A here, B there" for
 * each setting that differs, in canonical order; nothing when equal.  What long
 * values begin and end with alike is left out, with "..." in its place. */
MR_MUST_CHECK enum mr_status mr_spec_difference(
    const struct mr_spec *a, const struct mr_spec *b, struct mr_buffer *out);

/** mr_spec_has_figures(spec): Whether events are counted by more than their day
 * and type: by rollups, by the source of users' ids, or by a users table. */
bool mr_spec_has_figures(const struct mr_spec *spec);

/** mr_spec_text_problem(text, n): Why no setting of a spec can be that text,
 * as it is no UTF-8 or has characters that YAML takes for the end of a line or
 * does not allow; NULL if one can. */
const char *mr_spec_text_problem(const char *text, size_t n);

/** mr_spec_reason(spec, reason, out, size): The text of a reject reason, as
 * "missing:data.id".  Always NUL-terminated. */
void mr_spec_reason(
    const struct mr_spec *spec, unsigned reason, char *out, size_t size);

/* "malformed:" and a path. */
#define MR_REASON_TEXT (MR_PATH_MAX_BYTES + 16)

struct mr_reason {
    char text[MR_REASON_TEXT];
    uint64_t lines;
};

/** mr_spec_fail_ids(err, status, column, ids): That a column which types or
 * groups would be told by is the one of the users' ids, called otherwise. */
enum mr_status mr_spec_fail_ids(struct mr_error *err, enum mr_status status,
    const char *column, const char *ids);

/** mr_spec_reasons(spec, lines, list): Of the lines that were rejected, by
 * reason, list those reasons that occurred, ascending by text, no two alike:
 * two fields of a spec may share a path, and with it their reasons' text.
 * Return their number. */
size_t mr_spec_reasons(const struct mr_spec *spec,
    const uint64_t lines[MR_REASON_COUNT],
    struct mr_reason list[MR_REASON_COUNT]);

#endif
