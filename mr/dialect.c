#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/dialect.h"

/* Records that a dialect is judged by. */
#define JUDGED 200

/* Where a quoted field ends: behind its closing quote, or the text's end. */
static size_t quoted_end(const struct mr_csv_rules *rules, struct mr_span text,
    struct mr_dialect_field *field)
{
    size_t i = 1;

    while (i < text.n) {
        if (rules->backslash && text.p[i] == '\\') {
            field->escaped = true;
            i += 2;
        } else if (text.p[i] != (uint8_t)rules->quote) {
            i++;
        } else if (!rules->backslash && i + 1 < text.n &&
                   text.p[i + 1] == (uint8_t)rules->quote) {
            field->escaped = true;
            i += 2;
        } else {
            break;
        }
    }
    if (i > text.n)
        i = text.n;
    field->text = (struct mr_span){text.p + 1, i - 1};
    return i < text.n ? i + 1 : i;
}

/* Take a field and what ends it off the text; whether that was a delimiter. */
static bool take_field(const struct mr_csv_rules *rules, struct mr_span *rest,
    struct mr_dialect_field *field)
{
    size_t start = 0, n = 0;
    bool goes_on;

    *field = (struct mr_dialect_field){.quoted = false};
    while (rules->skip_spaces && start < rest->n && rest->p[start] == ' ')
        start++;
    rest->p += start;
    rest->n -= start;
    if (rules->quote != 0 && rest->n > 0 &&
        rest->p[0] == (uint8_t)rules->quote) {
        field->quoted = true;
        n = quoted_end(rules, *rest, field);
        field->spoiled = n < rest->n && rest->p[n] != '\n' &&
                         rest->p[n] != '\r' &&
                         rest->p[n] != (uint8_t)rules->delimiter;
    }
    while (n < rest->n && rest->p[n] != '\n' &&
           rest->p[n] != (uint8_t)rules->delimiter)
        n++;
    if (!field->quoted)
        field->text = (struct mr_span){rest->p, n};
    goes_on = n < rest->n && rest->p[n] != '\n';
    if (!goes_on && !field->quoted && n > 0 && rest->p[n - 1] == '\r')
        field->text.n--;
    n += n < rest->n;
    rest->p += n;
    rest->n -= n;
    return goes_on;
}

bool mr_dialect_next(const struct mr_csv_rules *rules, struct mr_span *rest,
    struct mr_dialect_record *record_out)
{
    struct mr_dialect_field beyond;

    while (rest->n > 0) {
        bool goes_on = true;

        record_out->n = 0;
        while (goes_on) {
            bool fits = record_out->n < MR_DIALECT_COLUMNS;

            goes_on = take_field(rules, rest,
                fits ? &record_out->field[record_out->n] : &beyond);
            record_out->n += fits;
        }
        if (record_out->n > 1 || record_out->field[0].text.n > 0 ||
            record_out->field[0].quoted)
            return true;
    }
    return false;
}

/* ---- telling ---- */

/* What a reading of the text comes to. */
struct reading {
    size_t columns;        /* of most records */
    size_t records, alike; /* of these, with as many columns */
    size_t quoted, spoiled;
    size_t spaced; /* fields that begin with a space */
    size_t fields;
};

static struct reading read_as(const struct mr_csv_rules *rules,
    struct mr_span text, struct mr_dialect_record *record)
{
    static const size_t beyond = MR_DIALECT_COLUMNS + 1;
    size_t count[MR_DIALECT_COLUMNS + 1] = {0};
    struct reading r = {.columns = 0};

    while (r.records < JUDGED && mr_dialect_next(rules, &text, record)) {
        r.records++;
        count[record->n]++;
        for (size_t i = 0; i < record->n; i++) {
            const struct mr_dialect_field *f = &record->field[i];

            r.fields++;
            r.quoted += f->quoted;
            r.spoiled += f->spoiled;
            r.spaced +=
                i > 0 && !f->quoted && f->text.n > 0 && f->text.p[0] == ' ';
        }
    }
    for (size_t i = 1; i < beyond; i++) {
        if (count[i] > r.alike) {
            r.columns = i;
            r.alike = count[i];
        }
    }
    return r;
}

/* Whether quotes in quotes are written behind a backslash: such are there,
 * and more than doubled ones. */
static bool has_backslashes(struct mr_span text, char quote, char delimiter)
{
    size_t slashes = 0, doubled = 0;

    for (size_t i = 1; i + 2 < text.n; i++) {
        uint8_t before = text.p[i - 1], after = text.p[i + 1];
        bool ends = after == (uint8_t)delimiter || after == '\n';

        if (text.p[i] != (uint8_t)quote)
            continue;
        slashes += before == '\\' && !ends;
        /* Not an empty field. */
        doubled += after == (uint8_t)quote && before != (uint8_t)delimiter &&
                   before != '\n' && before != ' ';
    }
    return slashes > doubled;
}

/* The best reading of a text with a delimiter: with quotes if they stand where
 * quotes may.  False if lines are not parted alike. */
static bool tell_quote(struct mr_span text, char delimiter,
    struct mr_dialect_record *record, struct mr_csv_rules *rules,
    struct reading *r)
{
    static const char quotes[] = {'"', '\'', 0};

    for (size_t q = 0; q < sizeof(quotes); q++) {
        *rules = (struct mr_csv_rules){
            .delimiter = delimiter, .quote = quotes[q], .skip_spaces = true};
        rules->backslash =
            rules->quote != 0 && has_backslashes(text, rules->quote, delimiter);
        *r = read_as(rules, text, record);
        if (r->columns > 1 && 10 * r->alike >= 9 * r->records &&
            (rules->quote == 0 || r->quoted > 20 * r->spoiled))
            return true;
    }
    return false;
}

bool mr_dialect_tell(struct mr_span text, struct mr_dialect_record *record,
    struct mr_csv_rules *rules_out)
{
    static const char delimiters[] = {',', '\t', ';', '|'};
    struct reading best = {.columns = 1}, plain;
    struct mr_csv_rules rules;

    for (size_t d = 0; d < sizeof(delimiters); d++) {
        struct reading r;

        if (!tell_quote(text, delimiters[d], record, &rules, &r) ||
            r.columns <= best.columns)
            continue;
        best = r;
        *rules_out = rules;
    }
    if (best.columns < 2)
        return false;
    /* Where no field is quoted, fields that need it may come later. */
    if (rules_out->quote == 0 && rules_out->delimiter != '\t') {
        rules = *rules_out;
        rules.quote = '"';
        if (read_as(&rules, text, record).quoted == 0)
            rules_out->quote = '"';
    }
    /* Spaces were skipped so that quotes behind them were seen. */
    rules = *rules_out;
    rules.skip_spaces = false;
    plain = read_as(&rules, text, record);
    rules_out->skip_spaces = plain.columns != best.columns ||
                             plain.quoted < best.quoted ||
                             2 * plain.spaced > plain.fields - plain.records;
    return true;
}
