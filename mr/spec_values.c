#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mr/text.h"

/* Single values of a spec's YAML, and what is said where they are wrong. */

/* Copy at most 40 bytes of foreign text for a message. */
static const char *shown(const char *text, size_t n, char out[48])
{
    size_t i, kept = n > 40 ? 40 : n;

    while (kept < n && kept > 0 && ((unsigned char)text[kept] & 0xC0) == 0x80)
        kept--; /* not half a character */
    for (i = 0; i < kept; i++)
        out[i] =
            (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    snprintf(out + kept, 48 - kept, "%s", n > kept ? "..." : "");
    return out;
}

/* "'sketch_bits' must be a whole number from 4 to 18" */
static void describe(enum mr_spec_key key, char *out, size_t size)
{
    const struct mr_spec_key_row *row = &mr_spec_keys[key];

    if (row->most > 0)
        snprintf(out, size, "'%s' must be %s from %" PRIu64 " to %" PRIu64,
            row->name, row->form, row->least, row->most);
    else
        snprintf(out, size, "'%s' must be %s", row->name, row->form);
}

enum mr_status mr_spec_refuse(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, const char *problem, ...)
{
    char expected[192], why[192], text[48];
    va_list args;

    va_start(args, problem);
    vsnprintf(why, sizeof(why), problem, args);
    va_end(args);
    describe(key, expected, sizeof(expected));
    if (node->kind == MR_YAML_SCALAR)
        return mr_yaml_fail(l->err, node, expected, "'%s': %s",
            shown(node->text, node->n, text), why);
    return mr_yaml_fail(
        l->err, node, expected, "'%s': %s", mr_spec_keys[key].name, why);
}

static bool is_in(const struct mr_spec_loader *l, enum mr_spec_key key,
    enum mr_spec_group group)
{
    return mr_spec_keys[key].group == group ||
           (mr_spec_keys[key].group == MR_KEYS_STATE &&
               group == MR_KEYS_TABLE && l->is_canonical);
}

/* Which key of the group a node names. */
static enum mr_status find_key(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, enum mr_spec_group group,
    enum mr_spec_key *key_out)
{
    const char *known[MR_KEY_COUNT];
    char advice[96], text[48];
    size_t n = 0;
    int key;

    for (key = 0; key < MR_KEY_COUNT; key++) {
        if (!is_in(l, (enum mr_spec_key)key, group))
            continue;
        known[n++] = mr_spec_keys[key].name;
        if (strlen(known[n - 1]) != node->n ||
            memcmp(known[n - 1], node->text, node->n) != 0)
            continue;
        *key_out = (enum mr_spec_key)key;
        return MR_OK;
    }
    snprintf(advice, sizeof(advice), "the nearest known key is '%s'",
        mr_spec_nearest(node->text, node->n, known, n));
    return mr_yaml_fail(l->err, node, advice, "unknown key '%s'",
        shown(node->text, node->n, text));
}

enum mr_status mr_spec_keys_of(struct mr_spec_loader *l,
    const struct mr_yaml_node *node, enum mr_spec_key key,
    enum mr_spec_group group)
{
    const struct mr_yaml_node *child;
    enum mr_spec_key found = MR_KEY_COUNT;
    enum mr_status status;
    int i;

    for (i = 0; i < MR_KEY_COUNT; i++) {
        if (is_in(l, (enum mr_spec_key)i, group))
            l->value[i] = NULL;
    }
    if (node->kind != MR_YAML_MAPPING)
        return mr_spec_refuse(l, key, node, "no mapping");
    for (child = node->first; child; child = child->next->next) {
        status = find_key(l, child, group, &found);
        if (status != MR_OK)
            return status;
        if (l->value[found])
            return mr_yaml_fail(l->err, child, "keep one of the two",
                "'%s' stands here a second time", mr_spec_keys[found].name);
        l->value[found] = child->next;
    }
    return MR_OK;
}

/* Whether an unquoted scalar is no text to YAML: a word or a number. */
static bool is_other_type(const char *text, size_t n)
{
    size_t i;

    if (n == 0 || mr_is_yaml_word(text, n))
        return n != 0;
    if ((text[0] >= 'a' && text[0] <= 'z') ||
        (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '_')
        return false;
    for (i = 0; i < n; i++) {
        if (text[i] == '\0' || !strchr("0123456789+-._eExX", text[i]))
            return false;
    }
    return strpbrk(text, "0123456789") != NULL;
}

enum mr_status mr_spec_take_text(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, unsigned flags, char *out, size_t size)
{
    const char *problem;
    uint64_t number;

    if (node->kind != MR_YAML_SCALAR)
        return mr_spec_refuse(l, key, node, "not a single value");
    if (node->n >= size)
        return mr_spec_refuse(l, key, node, "longer than %zu bytes", size - 1);
    if (node->n == 0 && !(flags & MR_TEXT_EMPTY))
        return mr_spec_refuse(l, key, node, "empty");
    problem = mr_spec_text_problem(node->text, node->n);
    if (problem)
        return mr_spec_refuse(l, key, node, "%s", problem);
    if (node->plain && !(flags & MR_TEXT_ANY) &&
        !(flags & MR_TEXT_INTEGER &&
            mr_spec_digits(node->text, node->n, &number)) &&
        is_other_type(node->text, node->n))
        return mr_spec_refuse(
            l, key, node, "not a string; put it in quotes if it is a name");
    memset(out, 0, size);
    memcpy(out, node->text, node->n);
    return MR_OK;
}

enum mr_status mr_spec_take_number(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, uint64_t *value_out)
{
    const struct mr_spec_key_row *row = &mr_spec_keys[key];
    uint64_t value;

    if (node->kind != MR_YAML_SCALAR)
        return mr_spec_refuse(l, key, node, "not a single value");
    if (!node->plain)
        return mr_spec_refuse(l, key, node, "a string, not a number");
    if (!mr_spec_digits(node->text, node->n, &value))
        return mr_spec_refuse(l, key, node, "not a whole number");
    if (value < row->least || value > row->most)
        return mr_spec_refuse(l, key, node, "out of range");
    *value_out = value;
    return MR_OK;
}

enum mr_status mr_spec_take_truth(struct mr_spec_loader *l,
    enum mr_spec_key key, const struct mr_yaml_node *node, bool *value_out)
{
    bool is_true = node->kind == MR_YAML_SCALAR && node->plain &&
                   strcmp(node->text, "true") == 0;
    bool is_false = node->kind == MR_YAML_SCALAR && node->plain &&
                    strcmp(node->text, "false") == 0;

    if (!is_true && !is_false)
        return mr_spec_refuse(l, key, node, "neither true nor false");
    *value_out = is_true;
    return MR_OK;
}

enum mr_status mr_spec_take_word(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, const char *const *words, size_t n_words,
    unsigned *value_out)
{
    char text[MR_NAME_MAX_BYTES + 1];
    enum mr_status status =
        mr_spec_take_text(l, key, node, MR_TEXT_ANY, text, sizeof(text));
    unsigned i;

    if (status != MR_OK)
        return status;
    for (i = 0; i < n_words; i++) {
        if (strcmp(text, words[i]) != 0)
            continue;
        *value_out = i;
        return MR_OK;
    }
    return mr_spec_refuse(l, key, node, "not known; the nearest is '%s'",
        mr_spec_nearest(text, strlen(text), words, n_words));
}

enum mr_status mr_spec_take_many(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, enum mr_yaml_kind kind, size_t least,
    size_t most)
{
    size_t n = kind == MR_YAML_MAPPING ? node->n / 2 : node->n;

    if (node->kind != kind)
        return mr_spec_refuse(
            l, key, node, kind == MR_YAML_MAPPING ? "no mapping" : "no list");
    if (n < least)
        return mr_spec_refuse(l, key, node, "empty");
    if (n > most)
        return mr_spec_refuse(l, key, node, "more than %zu", most);
    return MR_OK;
}

enum mr_status mr_spec_take_path(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, unsigned flags, mr_path out)
{
    bool columns = mr_spec_has_columns(l->spec);
    const char *problem;
    enum mr_status status = mr_spec_take_text(l, key, node,
        flags | (columns ? MR_TEXT_INTEGER : 0), out, sizeof(mr_path));

    if (status != MR_OK || out[0] == '\0')
        return status;
    problem = columns ? mr_spec_column_problem(out, l->spec->csv.header)
                      : mr_spec_path_problem(out);
    return problem ? mr_spec_refuse(l, key, node, "%s", problem) : MR_OK;
}

/* --- rules of CSV ------------------------------------------------------ */

static enum mr_status take_bytes(
    struct mr_spec_loader *l, struct mr_csv_rules *rules)
{
    const struct mr_yaml_node *delimiter = l->value[MR_KEY_DELIMITER];
    const struct mr_yaml_node *quote = l->value[MR_KEY_QUOTE];

    if (quote) {
        if (quote->kind != MR_YAML_SCALAR || quote->n > 1 ||
            (quote->n == 1 && !strchr("\"'", quote->text[0])))
            return mr_spec_refuse(l, MR_KEY_QUOTE, quote, "no quote");
        rules->quote = quote->text[0];
    }
    if (!delimiter)
        return MR_OK;
    if (delimiter->kind != MR_YAML_SCALAR || delimiter->n != 1)
        return mr_spec_refuse(
            l, MR_KEY_DELIMITER, delimiter, "not a single byte");
    if ((unsigned char)delimiter->text[0] > 0x7F ||
        delimiter->text[0] == '\0' || strchr("\"'\\\r\n", delimiter->text[0]))
        return mr_spec_refuse(
            l, MR_KEY_DELIMITER, delimiter, "this byte cannot part fields");
    rules->delimiter = delimiter->text[0];
    return MR_OK;
}

static enum mr_status take_nulls(
    struct mr_spec_loader *l, struct mr_csv_rules *rules)
{
    const struct mr_yaml_node *list = l->value[MR_KEY_NULLS], *node;
    enum mr_status status = mr_spec_take_many(
        l, MR_KEY_NULLS, list, MR_YAML_LIST, 0, MR_CSV_NULLS_MAX);
    char word[MR_CSV_NULL_MAX_BYTES + 1];
    unsigned i, n = 0;

    if (status != MR_OK)
        return status;
    for (node = list->first; node; node = node->next) {
        status = mr_spec_take_text(
            l, MR_KEY_NULLS, node, MR_TEXT_ANY, word, sizeof(word));
        if (status != MR_OK)
            return status;
        /* In order of bytes, so that the same words are the same rules. */
        for (i = n; i > 0 && strcmp(rules->null[i - 1], word) > 0; i--)
            memcpy(rules->null[i], rules->null[i - 1], sizeof(word));
        if (i > 0 && strcmp(rules->null[i - 1], word) == 0)
            return mr_spec_refuse(l, MR_KEY_NULLS, node, "a second time");
        memcpy(rules->null[i], word, sizeof(word));
        n++;
    }
    rules->n_nulls = n;
    return MR_OK;
}

static enum mr_status check_rules(struct mr_spec_loader *l,
    const struct mr_yaml_node *at, const struct mr_csv_rules *rules)
{
    if (rules->backslash && rules->quote == '\0')
        return mr_yaml_fail(l->err,
            l->value[MR_KEY_ESCAPE] ? l->value[MR_KEY_ESCAPE] : at,
            "set 'quote', or leave 'escape' out",
            "'escape' is about quotes, and there are none");
    if (rules->skip_spaces && rules->delimiter == ' ')
        return mr_yaml_fail(l->err,
            l->value[MR_KEY_SKIP_SPACES] ? l->value[MR_KEY_SKIP_SPACES] : at,
            "leave 'skip_spaces' out",
            "spaces part the fields, so they cannot be skipped");
    return MR_OK;
}

enum mr_status mr_spec_take_csv(struct mr_spec_loader *l, enum mr_spec_key key,
    const struct mr_yaml_node *node, bool is_tsv,
    struct mr_csv_rules *rules_out)
{
    static const char *const escapes[] = {"double", "backslash"};
    struct mr_csv_rules rules = {.delimiter = is_tsv ? '\t' : ',',
        .quote = is_tsv ? '\0' : '"',
        .header = !is_tsv};
    unsigned escape = 0;
    enum mr_status status = MR_OK;

    if (node)
        status = mr_spec_keys_of(l, node, key, MR_KEYS_CSV);
    if (!node || status != MR_OK)
        goto done;
    status = take_bytes(l, &rules);
    if (status == MR_OK && l->value[MR_KEY_ESCAPE])
        status = mr_spec_take_word(
            l, MR_KEY_ESCAPE, l->value[MR_KEY_ESCAPE], escapes, 2, &escape);
    rules.backslash = escape == 1;
    if (status == MR_OK && l->value[MR_KEY_HEADER])
        status = mr_spec_take_truth(
            l, MR_KEY_HEADER, l->value[MR_KEY_HEADER], &rules.header);
    if (status == MR_OK && l->value[MR_KEY_SKIP_SPACES])
        status = mr_spec_take_truth(l, MR_KEY_SKIP_SPACES,
            l->value[MR_KEY_SKIP_SPACES], &rules.skip_spaces);
    if (status == MR_OK && l->value[MR_KEY_NULLS])
        status = take_nulls(l, &rules);
    if (status == MR_OK)
        status = check_rules(l, node, &rules);
done:
    if (status == MR_OK)
        *rules_out = rules;
    return status;
}
