#ifndef MR_SPEC_PRIVATE_H
#define MR_SPEC_PRIVATE_H

#include "mr/spec.h"
#include "mr/spec_builtin.h"

/* What the files of the spec share. */

enum mr_spec_key {
#define SPEC_KEY(group, id, name, form, least, most, preset, meaning)          \
    MR_KEY_##id,
#include "mr/spec_keys.def"
#undef SPEC_KEY
    MR_KEY_COUNT
};

/* The mapping that a key stands in.  STATE: in users_table, but only in the
 * text of a state. */
enum mr_spec_group {
    MR_KEYS_TOP,
    MR_KEYS_CSV,
    MR_KEYS_TABLE,
    MR_KEYS_STATE,
    MR_KEYS_ROLLUP,
    MR_KEYS_DUPLICATES,
    MR_KEYS_COLUMN
};

struct mr_spec_key_row {
    enum mr_spec_group group;
    const char *name, *form;
    uint64_t least, most;
};
extern const struct mr_spec_key_row mr_spec_keys[MR_KEY_COUNT];

/* --- YAML as a tree ---------------------------------------------------- */

enum mr_yaml_kind { MR_YAML_SCALAR, MR_YAML_LIST, MR_YAML_MAPPING };

/* A value, where it stands, and what is in it: of a list its values, of a
 * mapping key, value, key, value; keys are scalars. */
struct mr_yaml_node {
    enum mr_yaml_kind kind;
    bool plain;            /* without quotes */
    unsigned line, column; /* from 1 */
    char *text;            /* NUL-terminated, but may have NULs in it */
    size_t n;              /* bytes of text; of the others their values */
    struct mr_yaml_node *first, *last, *next;
    struct mr_yaml_node *older; /* all nodes, to be freed */
};

struct mr_yaml {
    struct mr_yaml_node *root; /* a mapping */
    struct mr_yaml_node *newest;
};

/* Largest file or text that is read. */
#define MR_SPEC_MAX_BYTES (1 << 20)
/* Deepest nesting, and most values: far more than any spec has. */
#define MR_YAML_DEPTH 8
#define MR_YAML_VALUES 20000

/** mr_yaml_read(text, yaml, err): Read one document that is a mapping.
 * Anchors, aliases, tags, further documents: MR_USAGE with line and column.
 * Release it in any case. */
MR_MUST_CHECK enum mr_status mr_yaml_read(
    struct mr_span text, struct mr_yaml *yaml_out, struct mr_error *err);
void mr_yaml_release(struct mr_yaml *yaml);

/** mr_yaml_fail(err, node, advice, cause, ...): MR_USAGE, with the cause
 * behind the node's line and column. */
enum mr_status mr_yaml_fail(struct mr_error *err,
    const struct mr_yaml_node *node, const char *advice, const char *cause, ...)
    MR_PRINTF(4, 5);

/* --- words ------------------------------------------------------------- */

/** mr_is_yaml_word(text, n): Whether YAML readers take it for something other
 * than text, as null or yes. */
bool mr_is_yaml_word(const char *text, size_t n);

/** mr_spec_nearest(text, n, known, n_known): The word that takes the least
 * letters to change; the first of several. */
const char *mr_spec_nearest(
    const char *text, size_t n, const char *const *known, size_t n_known);

/* What is wrong with a dotted path of JSON, a column of CSV, the name of a
 * file, a zone; NULL when nothing is. */
const char *mr_spec_path_problem(const char *path);
const char *mr_spec_column_problem(const char *column, bool header);
const char *mr_spec_name_problem(const char *name);
const char *mr_spec_zone_problem(const char *zone);

/** mr_spec_source(text, column): Set from, number and text of a column from
 * the name of a field.  Return NULL, or what is wrong with it. */
const char *mr_spec_source(const char *text, struct mr_column *column);

/** mr_spec_digits(text, n, value): Decimal digits as a number below 10^15;
 * false for anything else. */
bool mr_spec_digits(const char *text, size_t n, uint64_t *value_out);

/* Words for the values of enumerations, by number. */
extern const char *const mr_input_format_words[5];
extern const char *const mr_time_words[5];
extern const char *const mr_comparison_words[5];

/** Whether rows are those of CSV or TSV. */
static inline bool mr_spec_has_columns(const struct mr_spec *spec)
{
    return spec->format == MR_INPUT_CSV || spec->format == MR_INPUT_TSV;
}

/** mr_spec_is_user(spec, path): Whether a user's id may stand there. */
bool mr_spec_is_user(const struct mr_spec *spec, const char *path);

/* --- reading ----------------------------------------------------------- */

/** A spec as it is being read. */
struct mr_spec_loader {
    struct mr_spec *spec;
    const char *folder;
    bool is_canonical;
    /* What the file says, by key; NULL where it says nothing. */
    const struct mr_yaml_node *value[MR_KEY_COUNT];
    struct mr_error *err;
};

/** mr_spec_refuse(l, key, node, problem, ...): MR_USAGE: the node cannot be
 * the key's value for this reason. */
enum mr_status mr_spec_refuse(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, const char *problem, ...) MR_PRINTF(4, 5);

/** mr_spec_keys_of(l, node, key, group): Fill l->value with the values of a
 * mapping, which is that of key; what was there of the group is forgotten. */
MR_MUST_CHECK enum mr_status mr_spec_keys_of(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, enum mr_spec_key key,
    enum mr_spec_group group);

/* What mr_spec_take_text takes beside plain text that is one in YAML. */
#define MR_TEXT_EMPTY 1u   /* nothing */
#define MR_TEXT_INTEGER 2u /* digits without quotes */
#define MR_TEXT_ANY 4u     /* words and numbers without quotes */

/* The values of the nodes, which are those of key (and may not be NULL).
 * Texts are printable UTF-8 and NUL-terminated in out[size]. */
MR_MUST_CHECK enum mr_status mr_spec_take_text(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, unsigned flags,
    char *out, size_t size);
MR_MUST_CHECK enum mr_status mr_spec_take_number(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, uint64_t *value_out);
MR_MUST_CHECK enum mr_status mr_spec_take_truth(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, bool *value_out);
MR_MUST_CHECK enum mr_status mr_spec_take_word(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node,
    const char *const *words, size_t n_words, unsigned *value_out);
/** A list or mapping of at least least and at most most values or pairs. */
MR_MUST_CHECK enum mr_status mr_spec_take_many(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node,
    enum mr_yaml_kind kind, size_t least, size_t most);
/** A path of the events, or a column where they have such; flags as of
 * mr_spec_take_text. */
MR_MUST_CHECK enum mr_status mr_spec_take_path(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, unsigned flags,
    mr_path out);
/** A mapping of rules for CSV. */
MR_MUST_CHECK enum mr_status mr_spec_take_csv(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, bool is_tsv,
    struct mr_csv_rules *rules_out);

/* The settings that stand for further figures, once all of how events are
 * read is known: users_table, rollups, duplicates, segments, segments_by,
 * rows. */
MR_MUST_CHECK enum mr_status mr_spec_load_table(struct mr_spec_loader *l);
MR_MUST_CHECK enum mr_status mr_spec_load_figures(struct mr_spec_loader *l);

/** mr_spec_read(text, folder, is_canonical, spec, err): Read a spec's YAML.
 * folder is where files are that it names: "" or a path that ends in '/'.
 * Only a canonical text tells of the users table what was in it, and not its
 * file.  MR_USAGE with line and column for what is wrong; spec is unchanged
 * then. */
MR_MUST_CHECK enum mr_status mr_spec_read(struct mr_span text,
    const char *folder, bool is_canonical, struct mr_spec *spec_out,
    struct mr_error *err);

#endif
