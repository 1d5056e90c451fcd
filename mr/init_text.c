#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/init_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

#include "mr/text.h"

/* Comments begin in this column. */
#define COMMENT_COLUMN 30

/* The spec so far.  After a failure nothing more is added. */
struct writer {
    struct mr_buffer *out;
    size_t line; /* where the line at hand begins */
    enum mr_status status;
    struct mr_init_result *result;
};

static void put(struct writer *w, const char *format, ...) MR_PRINTF(2, 3);
static void put(struct writer *w, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (w->status == MR_OK)
        w->status = mr_buffer_add(w->out, text, strlen(text));
}

static void end_line(struct writer *w)
{
    put(w, "\n");
    w->line = w->out->n;
}

static void comment(struct writer *w)
{
    while (w->status == MR_OK && w->out->n - w->line < COMMENT_COLUMN - 1)
        put(w, " ");
    put(w, " # ");
}

/* Text from the samples, in a comment: what is not printable is masked, so
 * that it ends no line. */
static void put_masked(struct writer *w, const char *text)
{
    size_t n = strlen(text);

    /* What was cut may have been cut within a character. */
    while (
        n > 0 && !mr_text_is_utf8((struct mr_span){(const uint8_t *)text, n}))
        n--;
    if (w->status == MR_OK)
        w->status =
            mr_text_masked(w->out, (struct mr_span){(const uint8_t *)text, n});
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

static void put_scalar(struct writer *w, const char *text)
{
    if (is_plain(text)) {
        put(w, "%s", text);
        return;
    }
    put(w, "'");
    for (; *text != '\0'; text++)
        put(w, *text == '\'' ? "''" : "%c", *text);
    put(w, "'");
}

/* ---- keys ---- */

static void put_lacking(
    struct writer *w, const char *key, const char *what, const char *example)
{
    struct mr_init_result *r = w->result;
    size_t n = strlen(r->lacking);

    put(w, "%s: ''", key);
    comment(w);
    put(w, "FILL IN %s, as %s", what, example);
    end_line(w);
    (void)snprintf(
        r->lacking + n, sizeof(r->lacking) - n, "%s%s", n > 0 ? ", " : "", key);
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (unsigned)(100 * part / whole);
}

static void put_csv(struct writer *w, const struct mr_init_shape *shape)
{
    const struct mr_csv_rules *csv = &shape->csv;
    bool is_tsv = shape->format == MR_INPUT_TSV;

    put(w, "csv:");
    end_line(w);
    put(w, "  delimiter: %s", csv->delimiter == '\t' ? "\"\\t\"" : "");
    if (csv->delimiter != '\t')
        put(w, "'%c'", csv->delimiter);
    end_line(w);
    put(w, "  quote: %s",
        csv->quote == '"'    ? "'\"'"
        : csv->quote == '\'' ? "\"'\""
                             : "''");
    if (csv->quote == 0 && !is_tsv) {
        comment(w);
        put(w, "no field is quoted");
    }
    end_line(w);
    if (csv->backslash) {
        put(w, "  escape: backslash");
        end_line(w);
    }
    put(w, "  header: %s", csv->header ? "true" : "false");
    comment(w);
    put(w, csv->header ? "the first row names the columns"
                       : "columns go by number, from 1 on");
    end_line(w);
    if (csv->skip_spaces) {
        put(w, "  skip_spaces: true");
        end_line(w);
    }
    if (csv->n_nulls == 0)
        return;
    put(w, "  nulls: [");
    for (unsigned i = 0; i < csv->n_nulls; i++) {
        put(w, i > 0 ? ", '" : "'");
        put(w, "%s'", csv->null[i]);
    }
    put(w, "]");
    comment(w);
    put(w, "words that mean \"no value\"");
    end_line(w);
}

static void put_format(struct writer *w, const struct mr_init_shape *shape)
{
    static const char *const names[] = {
        "json", "json-values", "json-array", "csv", "tsv"};
    static const char *const meanings[] = {"a value a line",
        "values one after another", "the elements of an array", NULL, NULL};

    put(w, "format: %s", names[shape->format]);
    if (meanings[shape->format] != NULL) {
        comment(w);
        put(w, "%s", meanings[shape->format]);
    }
    end_line(w);
    if (shape->format == MR_INPUT_JSON_ARRAY) {
        put(w, "records: ");
        put_scalar(w, shape->records);
        comment(w);
        put(w, shape->records[0] == '\0' ? "the document is the array"
                                         : "the member that is the array");
        end_line(w);
    }
    if (shape->format == MR_INPUT_CSV || shape->format == MR_INPUT_TSV)
        put_csv(w, shape);
}

static void put_id(struct writer *w, const struct mr_guess_field *f)
{
    put(w, "id: ");
    put_scalar(w, f == NULL ? "" : f->name);
    comment(w);
    if (f == NULL)
        put(w, "no field has another text in each record; none is required");
    else if (f->n_seen == f->n)
        put(w, "another text in each record");
    else
        put(w, "%zu different texts in %" PRIu64 " records", f->n_seen, f->n);
    end_line(w);
}

static void put_type(struct writer *w, const struct mr_guess_field *f)
{
    if (f == NULL) {
        put_lacking(w, "type", "the field of the event's type",
            "action, or one type for all events, as '=page_view'");
        return;
    }
    put(w, "type: ");
    put_scalar(w, f->name);
    comment(w);
    put(w, "%zu: ", f->n_seen);
    for (unsigned i = 0; i < f->n_shown && i < 3; i++) {
        put(w, "%s", i > 0 ? ", " : "");
        put_masked(w, f->shown[i]);
    }
    put(w, f->n_seen > 3 ? ", ..." : "");
    end_line(w);
}

static void put_time(struct writer *w, const struct mr_guess_choice *c)
{
    if (c->time == NULL) {
        put_lacking(w, "time", "the field of the event's time", "created_at");
        put(w, "time_format: iso8601");
        comment(w);
        put(w, "or epoch_s, epoch_ms, a pattern as '%%d/%%m/%%Y %%H:%%M:%%S'");
        end_line(w);
        return;
    }
    put(w, "time: ");
    put_scalar(w, c->time->name);
    comment(w);
    put(w, "as ");
    put_masked(w, c->time->shown[0]);
    end_line(w);
    if (c->other_format != NULL) {
        put(w, "# The times do not say whether the day or the month comes "
               "first.  If it is");
        end_line(w);
        put(w, "# the month, change the next line to '%s'.", c->other_format);
        end_line(w);
    }
    put(w, "time_format: ");
    put_scalar(w, c->time_format);
    end_line(w);
    if (strncmp(c->time_format, "epoch", 5) != 0) {
        put(w, "time_zone: UTC");
        comment(w);
        put(w, "of times that carry none");
        end_line(w);
    }
    put(w, "zone: UTC");
    comment(w);
    put(w, "where days begin and end");
    end_line(w);
}

static void put_users(struct writer *w, const struct mr_guess *guess,
    const struct mr_guess_choice *c)
{
    uint64_t most = 0;

    if (c->n_users == 0) {
        put_lacking(w, "user", "the field of the user's id",
            "user_id, or a list, as [user_id, cookie]");
        return;
    }
    put(w, c->n_users > 1 ? "user: [" : "user: ");
    for (unsigned i = 0; i < c->n_users; i++) {
        put(w, "%s", i > 0 ? ", " : "");
        put_scalar(w, c->user[i]->name);
        if (c->user[i]->n > most)
            most = c->user[i]->n;
    }
    put(w, "%s", c->n_users > 1 ? "]" : "");
    comment(w);
    if (c->n_users > 1)
        put(w, "the first that is not empty; ");
    put(w, "in %u %% of the records%s", percent(most, guess->records),
        c->n_users > 1 ? " or more" : "");
    if (!c->user[0]->named)
        put(w, "; a guess: no column has a name");
    end_line(w);
}

static void put_url(struct writer *w, const struct mr_guess_field *f)
{
    if (f == NULL)
        return;
    put(w, "url: ");
    put_scalar(w, f->name);
    comment(w);
    put(w, "for url.host and url.path1 to url.path9 in rollups and rows");
    end_line(w);
}

static void put_opening(struct writer *w, const struct mr_guess *guess,
    const struct mr_init_shape *shape)
{
    put(w, "# Proposed by mr init, from %" PRIu64 " record%s: ", guess->records,
        mr_text_plural(guess->records));
    put_masked(w, shape->source);
    end_line(w);
    put(w, "# Look it through, then: mr map --spec THIS_FILE INPUT...");
    end_line(w);
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
    struct writer w = {.out = out, .result = result_out};

    put_opening(&w, guess, shape);
    if (shape->known != NULL) {
        put(&w, "# It is the built-in spec '%s': --spec %s does the same.",
            shape->known->name, shape->known->name);
        end_line(&w);
        if (w.status == MR_OK)
            w.status = mr_buffer_add(
                out, shape->known->yaml, strlen(shape->known->yaml));
    } else {
        put_format(&w, shape);
        put_id(&w, choice->id);
        put_type(&w, choice->type);
        if (!guess->is_csv) {
            put(&w, "attributes: ''");
            comment(&w);
            put(&w, "no object is required");
            end_line(&w);
        }
        put_time(&w, choice);
        put_users(&w, guess, choice);
        put_url(&w, choice->url);
    }
    result_out->time_line = find_line(out, "time_format:");
    return w.status;
}
