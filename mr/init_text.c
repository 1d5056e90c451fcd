#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/init_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include "mr/writer.h"

/* Comments begin in this column. */
#define COMMENT_COLUMN 30

/* The spec so far. */
struct draft {
    struct mr_writer text;
    size_t line; /* where the line at hand begins */
    struct mr_init_result *result;
};

static void end_line(struct draft *d)
{
    MR_PUT(&d->text, "\n");
    d->line = d->text.out->n;
}

static void comment(struct draft *d)
{
    while (d->text.status == MR_OK &&
           d->text.out->n - d->line < COMMENT_COLUMN - 1)
        MR_PUT(&d->text, " ");
    MR_PUT(&d->text, " # ");
}

/* Text from the samples, in a comment: what is not printable is masked, so
 * that it ends no line. */
static void put_masked(struct draft *d, const char *text)
{
    size_t n = strlen(text);

    /* What was cut may have been cut within a character. */
    while (
        n > 0 && !mr_text_is_utf8((struct mr_span){(const uint8_t *)text, n}))
        n--;
    mr_put_masked(&d->text, (struct mr_span){(const uint8_t *)text, n});
}

/* Words that YAML would not take as text. */
static bool is_plain(const char *text)
{
    static const char *const words[] = {
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", NULL};
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

    if (text[strspn(text, "0123456789")] == '\0')
        return text[0] != '\0';
    if (strchr(".0123456789", text[0]) != NULL ||
        text[strspn(text, allowed)] != '\0')
        return false;
    for (size_t i = 0; words[i] != NULL; i++)
        if (strlen(text) == strlen(words[i]) &&
            strncasecmp(text, words[i], strlen(text)) == 0)
            return false;
    return true;
}

static void put_scalar(struct draft *d, const char *text)
{
    if (is_plain(text)) {
        MR_PUT(&d->text, "%s", text);
        return;
    }
    MR_PUT(&d->text, "'");
    for (; *text != '\0'; text++)
        MR_PUT(&d->text, *text == '\'' ? "''" : "%c", *text);
    MR_PUT(&d->text, "'");
}

/* ---- keys ---- */

static void put_lacking(
    struct draft *d, const char *key, const char *what, const char *example)
{
    struct mr_init_result *r = d->result;
    size_t n = strlen(r->lacking);

    MR_PUT(&d->text, "%s: ''", key);
    comment(d);
    MR_PUT(&d->text, "FILL IN %s, as %s", what, example);
    end_line(d);
    (void)snprintf(
        r->lacking + n, sizeof(r->lacking) - n, "%s%s", n > 0 ? ", " : "", key);
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (unsigned)(100 * part / whole);
}

static void put_csv(struct draft *d, const struct mr_init_shape *shape)
{
    const struct mr_csv_rules *csv = &shape->csv;
    bool is_tsv = shape->format == MR_INPUT_TSV;

    MR_PUT(&d->text, "csv:");
    end_line(d);
    MR_PUT(
        &d->text, "  delimiter: %s", csv->delimiter == '\t' ? "\"\\t\"" : "");
    if (csv->delimiter != '\t')
        MR_PUT(&d->text, "'%c'", csv->delimiter);
    end_line(d);
    MR_PUT(&d->text, "  quote: %s",
        csv->quote == '"'    ? "'\"'"
        : csv->quote == '\'' ? "\"'\""
                             : "''");
    if (csv->quote == 0 && !is_tsv) {
        comment(d);
        MR_PUT(&d->text, "no field is quoted");
    }
    end_line(d);
    if (csv->backslash) {
        MR_PUT(&d->text, "  escape: backslash");
        end_line(d);
    }
    MR_PUT(&d->text, "  header: %s", csv->header ? "true" : "false");
    comment(d);
    MR_PUT(&d->text, csv->header ? "the first row names the columns"
                                 : "columns go by number, from 1 on");
    end_line(d);
    if (csv->skip_spaces) {
        MR_PUT(&d->text, "  skip_spaces: true");
        end_line(d);
    }
    if (csv->n_nulls == 0)
        return;
    MR_PUT(&d->text, "  nulls: [");
    for (unsigned i = 0; i < csv->n_nulls; i++) {
        MR_PUT(&d->text, i > 0 ? ", '" : "'");
        MR_PUT(&d->text, "%s'", csv->null[i]);
    }
    MR_PUT(&d->text, "]");
    comment(d);
    MR_PUT(&d->text, "words that mean \"no value\"");
    end_line(d);
}

static void put_format(struct draft *d, const struct mr_init_shape *shape)
{
    static const char *const names[] = {
        "json", "json-values", "json-array", "csv", "tsv"};
    static const char *const meanings[] = {"a value a line",
        "values one after another", "the elements of an array", NULL, NULL};

    MR_PUT(&d->text, "format: %s", names[shape->format]);
    if (meanings[shape->format] != NULL) {
        comment(d);
        MR_PUT(&d->text, "%s", meanings[shape->format]);
    }
    end_line(d);
    if (shape->format == MR_INPUT_JSON_ARRAY) {
        MR_PUT(&d->text, "records: ");
        put_scalar(d, shape->records);
        comment(d);
        MR_PUT(&d->text, shape->records[0] == '\0'
                             ? "the document is the array"
                             : "the member that is the array");
        end_line(d);
    }
    if (shape->format == MR_INPUT_CSV || shape->format == MR_INPUT_TSV)
        put_csv(d, shape);
}

static void put_id(struct draft *d, const struct mr_guess_field *f)
{
    MR_PUT(&d->text, "id: ");
    put_scalar(d, f == NULL ? "" : f->name);
    comment(d);
    if (f == NULL)
        MR_PUT(&d->text,
            "no field has another text in each record; none is required");
    else if (f->n_seen == f->n)
        MR_PUT(&d->text, "another text in each record");
    else
        MR_PUT(&d->text, "%zu different texts in %" PRIu64 " records",
            f->n_seen, f->n);
    end_line(d);
}

static void put_type(struct draft *d, const struct mr_guess_field *f)
{
    if (f == NULL) {
        put_lacking(d, "type", "the field of the event's type",
            "action, or one type for all events, as '=page_view'");
        return;
    }
    MR_PUT(&d->text, "type: ");
    put_scalar(d, f->name);
    comment(d);
    MR_PUT(&d->text, "%zu: ", f->n_seen);
    for (unsigned i = 0; i < f->n_shown && i < 3; i++) {
        MR_PUT(&d->text, "%s", i > 0 ? ", " : "");
        put_masked(d, f->shown[i]);
    }
    MR_PUT(&d->text, f->n_seen > 3 ? ", ..." : "");
    end_line(d);
}

static void put_time(struct draft *d, const struct mr_guess_choice *c)
{
    if (c->time == NULL) {
        put_lacking(d, "time", "the field of the event's time", "created_at");
        MR_PUT(&d->text, "time_format: iso8601");
        comment(d);
        MR_PUT(&d->text,
            "or epoch_s, epoch_ms, a pattern as '%%d/%%m/%%Y %%H:%%M:%%S'");
        end_line(d);
        return;
    }
    MR_PUT(&d->text, "time: ");
    put_scalar(d, c->time->name);
    comment(d);
    MR_PUT(&d->text, "as ");
    put_masked(d, c->time->shown[0]);
    end_line(d);
    if (c->other_format != NULL) {
        MR_PUT(&d->text,
            "# The times do not say whether the day or the month comes "
            "first.  If it is");
        end_line(d);
        MR_PUT(&d->text, "# the month, change the next line to '%s'.",
            c->other_format);
        end_line(d);
    }
    MR_PUT(&d->text, "time_format: ");
    put_scalar(d, c->time_format);
    end_line(d);
    if (strncmp(c->time_format, "epoch", 5) != 0) {
        MR_PUT(&d->text, "time_zone: UTC");
        comment(d);
        MR_PUT(&d->text, "of times that carry none");
        end_line(d);
    }
    MR_PUT(&d->text, "zone: UTC");
    comment(d);
    MR_PUT(&d->text, "where days begin and end");
    end_line(d);
}

static void put_users(struct draft *d, const struct mr_guess *guess,
    const struct mr_guess_choice *c)
{
    uint64_t most = 0;

    if (c->n_users == 0) {
        put_lacking(d, "user", "the field of the user's id",
            "user_id, or a list, as [user_id, cookie]");
        return;
    }
    MR_PUT(&d->text, c->n_users > 1 ? "user: [" : "user: ");
    for (unsigned i = 0; i < c->n_users; i++) {
        MR_PUT(&d->text, "%s", i > 0 ? ", " : "");
        put_scalar(d, c->user[i]->name);
        if (c->user[i]->n > most)
            most = c->user[i]->n;
    }
    MR_PUT(&d->text, "%s", c->n_users > 1 ? "]" : "");
    comment(d);
    if (c->n_users > 1)
        MR_PUT(&d->text, "the first that is not empty; ");
    MR_PUT(&d->text, "in %u %% of the records%s", percent(most, guess->records),
        c->n_users > 1 ? " or more" : "");
    if (!c->user[0]->named)
        MR_PUT(&d->text, "; a guess: no column has a name");
    end_line(d);
}

static void put_url(struct draft *d, const struct mr_guess_field *f)
{
    if (f == NULL)
        return;
    MR_PUT(&d->text, "url: ");
    put_scalar(d, f->name);
    comment(d);
    MR_PUT(&d->text,
        "for url.host and url.path1 to url.path9 in rollups and rows");
    end_line(d);
}

static void put_opening(struct draft *d, const struct mr_guess *guess,
    const struct mr_init_shape *shape)
{
    MR_PUT(&d->text,
        "# Proposed by mr init, from %" PRIu64 " record%s: ", guess->records,
        mr_text_plural(guess->records));
    put_masked(d, shape->source);
    end_line(d);
    MR_PUT(
        &d->text, "# Look it through, then: mr map --spec THIS_FILE INPUT...");
    end_line(d);
}

/* The line that says the form of times, from 1 on. */
static unsigned find_line(const struct mr_buffer *out, const char *key)
{
    size_t n = strlen(key);
    unsigned line = 1;

    for (size_t i = 0; i + n <= out->n; i++) {
        if ((i == 0 || out->p[i - 1] == '\n') &&
            memcmp(out->p + i, key, n) == 0)
            return line;
        line += out->p[i] == '\n';
    }
    return 0;
}

enum mr_status mr_init_text(const struct mr_guess *guess,
    const struct mr_guess_choice *choice, const struct mr_init_shape *shape,
    struct mr_buffer *out, struct mr_init_result *result_out)
{
    struct draft d = {.text = mr_writer_begin(out), .result = result_out};

    put_opening(&d, guess, shape);
    if (shape->known != NULL) {
        MR_PUT(&d.text,
            "# It is the built-in spec '%s': --spec %s does the same.",
            shape->known->name, shape->known->name);
        end_line(&d);
        MR_PUT(&d.text, "%s", shape->known->yaml);
    } else {
        put_format(&d, shape);
        put_id(&d, choice->id);
        put_type(&d, choice->type);
        if (!guess->is_csv) {
            MR_PUT(&d.text, "attributes: ''");
            comment(&d);
            MR_PUT(&d.text, "no object is required");
            end_line(&d);
        }
        put_time(&d, choice);
        put_users(&d, guess, choice);
        put_url(&d, choice->url);
    }
    result_out->time_line = find_line(out, "time_format:");
    return mr_writer_finish(&d.text);
}
