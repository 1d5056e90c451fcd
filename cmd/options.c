#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "cmd/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    KIND_FLAG,
    KIND_TEXT,
    KIND_NUMBER,
    KIND_SHARD,
    KIND_PERCENT,
    KIND_DAYS,
    KIND_FORMAT,
    KIND_WORD
};

struct verb_row {
    enum verb verb;
    const char *name, *operands, *summary, *operands_help;
};

struct option_row {
    enum verb verb;
    size_t offset; /* of its member in struct options */
    const char *name;
    char letter;
    const char *argument;
    enum kind kind;
    unsigned min, max;
    const char *help;
};

#define VERB(id, name, operands, summary, explained)                           \
    {VERB_##id, name, operands, summary, explained},
#define OPTION(verb, member, name, letter, argument, kind, min, max, help, more)
static const struct verb_row verb_table[] = {
#include "cmd/options.def"
};
#undef VERB
#undef OPTION

#define VERB(id, name, operands, summary, explained)
#define OPTION(                                                                \
    verb, member, name, letter, argument, kind, min, max, help, more)          \
    {VERB_##verb, offsetof(struct options, member), name, letter, argument,    \
        KIND_##kind, min, max, help},
static const struct option_row option_table[] = {
#include "cmd/options.def"
};
#undef VERB
#undef OPTION

#define N_VERBS (sizeof(verb_table) / sizeof(verb_table[0]))
#define N_OPTIONS (sizeof(option_table) / sizeof(option_table[0]))

/* A command line half read. */
struct parser {
    int argc, next;
    char **argv;
    struct options *options;
    char *message;
};

static const struct verb_row *find_verb(enum verb verb)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (verb_table[i].verb == verb)
            return &verb_table[i];
    return NULL;
}

/* Begin every complaint with the verb and end it with where to read on. */
static bool complain(struct parser *p, const char *format, ...) MR_PRINTF(2, 3);
static bool complain(struct parser *p, const char *format, ...)
{
    const struct verb_row *verb = find_verb(p->options->verb);
    char body[OPTIONS_MESSAGE - 80];
    va_list args;

    va_start(args, format);
    vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    snprintf(p->message, OPTIONS_MESSAGE, "%s%s%s%s see 'mr %s%s--help'",
        verb != NULL ? verb->name : "", verb != NULL ? ": " : "", body,
        body[strlen(body) - 1] == '?' ? "" : ";",
        verb != NULL ? verb->name : "", verb != NULL ? " " : "");
    return false;
}

/*
 * How many slips turn an unknown word of n bytes into a known one: letters
 * added, left out, changed, or swapped with their neighbour (the optimal
 * string alignment distance; Damerau 1964).  Too long a word is far from all.
 */
#define WORD_MAX 24
static unsigned distance(const char *word, size_t n, const char *known)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    size_t m = strlen(known);

    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = (unsigned)(i + j);
                continue;
            }
            d[i][j] = d[i - 1][j - 1] + (word[i - 1] != known[j - 1]);
            if (d[i - 1][j] + 1 < d[i][j])
                d[i][j] = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < d[i][j])
                d[i][j] = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && word[i - 1] == known[j - 2] &&
                word[i - 2] == known[j - 1] && d[i - 2][j - 2] < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[n][m];
}

/* A prefix of two letters or more, or up to a third of the letters wrong. */
static bool is_like(const char *word, size_t n, const char *known)
{
    return (n >= 2 && strncmp(word, known, n) == 0) ||
           3 * distance(word, n, known) <= strlen(known) + 1;
}

static bool unknown_option(struct parser *p, const char *word, size_t n)
{
    const struct option_row *best = NULL;

    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option_row *row = &option_table[i];

        if (row->verb != VERB_ANY && row->verb != p->options->verb)
            continue;
        if (is_like(word, n, row->name) &&
            (best == NULL ||
                distance(word, n, row->name) < distance(word, n, best->name)))
            best = row;
    }
    if (best == NULL)
        return complain(p, "unknown option '--%.*s'", (int)n, word);
    return complain(p, "unknown option '--%.*s'; did you mean '--%s'?", (int)n,
        word, best->name);
}

static bool parse_number(const char *text, const char **end_out, unsigned min,
    unsigned max, unsigned *value_out)
{
    unsigned long value = 0;
    const char *s = text;

    for (; *s >= '0' && *s <= '9'; s++) {
        value = 10 * value + (unsigned long)(*s - '0');
        if (value > max)
            return false;
    }
    if (s == text || value < min)
        return false;
    *value_out = (unsigned)value;
    *end_out = s;
    return true;
}

static bool parse_shard(
    const char *text, unsigned max, struct option_shard *shard_out)
{
    struct option_shard shard = {.is_auto = strncmp(text, "auto", 4) == 0};
    const char *s = text + 4;

    if (!shard.is_auto) {
        if (!parse_number(text, &s, 1, max, &shard.k))
            return false;
        shard.l = shard.k;
        if (*s == '-' && !parse_number(s + 1, &s, 1, max, &shard.l))
            return false;
    }
    if ((!shard.is_auto || *s != '\0') &&
        (*s != '/' || !parse_number(s + 1, &s, 1, max, &shard.n)))
        return false;
    if (*s != '\0' || shard.k > shard.l || shard.l > shard.n)
        return false;
    *shard_out = shard;
    return true;
}

static bool parse_percent(
    const char *text, unsigned max, struct option_percent *percent_out)
{
    uint32_t unit = OPTION_PERCENT_SCALE;
    unsigned whole;
    const char *s;
    uint32_t value;

    if (!parse_number(text, &s, 0, max, &whole))
        return false;
    value = (uint32_t)whole * OPTION_PERCENT_SCALE;
    if (*s == '.') {
        if (s[1] == '\0')
            return false;
        for (s++; *s >= '0' && *s <= '9' && unit > 1; s++) {
            unit /= 10;
            value += unit * (uint32_t)(*s - '0');
        }
    }
    if (*s != '\0' || value > max * (uint32_t)OPTION_PERCENT_SCALE)
        return false;
    percent_out->given = true;
    percent_out->millionths = value;
    return true;
}

/* The shape of a day; whether there is such a day, the library knows. */
static bool is_day(const char *text, size_t n)
{
    static const char shape[] = "dddd-dd-dd";

    if (n != sizeof(shape) - 1)
        return false;
    for (size_t i = 0; i < n; i++)
        if (shape[i] == '-' ? text[i] != '-' : text[i] < '0' || text[i] > '9')
            return false;
    return true;
}

static bool parse_days(const char *text, struct option_days *days_out)
{
    const char *dots = strstr(text, "..");
    size_t n = dots != NULL ? (size_t)(dots - text) : strlen(text);
    const char *last = dots != NULL ? dots + 2 : text;

    if (!is_day(text, n) || !is_day(last, strlen(last)) ||
        strncmp(text, last, n) > 0)
        return false;
    memcpy(days_out->first, text, n);
    memcpy(days_out->last, last, n);
    return true;
}

static bool parse_format(
    const char *text, const char *words, enum mr_format *format_out)
{
    static const struct {
        const char *word;
        enum mr_format format;
    } known[] = {{"table", MR_FORMAT_TABLE}, {"csv", MR_FORMAT_CSV},
        {"json", MR_FORMAT_JSON}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(text, known[i].word) != 0 ||
            strstr(words, known[i].word) == NULL)
            continue;
        *format_out = known[i].format;
        return true;
    }
    return false;
}

/* The place of a word in a list, as 1 for tsv in csv|tsv|jsonl. */
static bool parse_word(const char *text, const char *words, unsigned *place_out)
{
    size_t n = strlen(text);

    for (unsigned i = 0;; i++) {
        size_t m = strcspn(words, "|");

        if (n == m && strncmp(text, words, n) == 0) {
            *place_out = i;
            return true;
        }
        if (words[m] == '\0')
            return false;
        words += m + 1;
    }
}

/* What a value of the row must be, for the complaint about a text that is
 * none. */
static void describe(
    const struct option_row *row, const char *text, char *out, size_t size)
{
    switch (row->kind) {
    case KIND_NUMBER:
        snprintf(out, size, "a whole number from %u to %u", row->min, row->max);
        break;
    case KIND_SHARD:
        snprintf(out, size,
            "K/N or K-L/N with 1 <= K <= L <= N <= %u, as 1/2 or 1-3/4, or "
            "auto or auto/N",
            row->max);
        break;
    case KIND_PERCENT:
        snprintf(out, size,
            "a percentage from 0 to %u with at most six decimals", row->max);
        break;
    case KIND_DAYS:
        snprintf(out, size,
            "a day as 2024-03-01, or two as 2024-03-01..2024-03-07, the "
            "earlier first");
        break;
    case KIND_FORMAT:
    case KIND_WORD:
        snprintf(out, size, "one of %s", row->argument);
        break;
    case KIND_FLAG:
    case KIND_TEXT:
        snprintf(out, size, "%s%s", row->argument,
            strcmp(text, "-") == 0 ? "; of that name it is './-'" : "");
        break;
    }
}

static bool store(
    struct parser *p, const struct option_row *row, const char *text)
{
    void *member = (char *)p->options + row->offset;
    const char *end = "";
    char wanted[128];
    bool good = false;

    switch (row->kind) {
    case KIND_FLAG:
        *(bool *)member = good = true;
        break;
    case KIND_TEXT:
        /* What other programs take for standard input or output. */
        *(const char **)member = text;
        good = text[0] != '\0' && strcmp(text, "-") != 0;
        break;
    case KIND_NUMBER:
        good = parse_number(text, &end, row->min, row->max, member) &&
               *end == '\0';
        break;
    case KIND_SHARD:
        good = parse_shard(text, row->max, member);
        break;
    case KIND_PERCENT:
        good = parse_percent(text, row->max, member);
        break;
    case KIND_DAYS:
        good = parse_days(text, member);
        break;
    case KIND_FORMAT:
        good = parse_format(text, row->argument, member);
        break;
    case KIND_WORD:
        good = parse_word(text, row->argument, member);
        break;
    }
    if (good)
        return true;
    describe(row, text, wanted, sizeof(wanted));
    return complain(
        p, "'--%s' cannot be '%s': it must be %s", row->name, text, wanted);
}

static const struct option_row *find_option(
    const struct parser *p, const char *name, size_t n, char letter)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option_row *row = &option_table[i];

        if (row->verb != VERB_ANY && row->verb != p->options->verb)
            continue;
        if (name != NULL
                ? strlen(row->name) == n && memcmp(row->name, name, n) == 0
                : row->letter == letter)
            return row;
    }
    return NULL;
}

/* The value of an option whose own argument did not bring one. */
static bool store_next(struct parser *p, const struct option_row *row)
{
    if (p->next == p->argc)
        return complain(
            p, "'--%s' wants a value: %s", row->name, row->argument);
    return store(p, row, p->argv[p->next++]);
}

static bool parse_long(struct parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t n = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct option_row *row = find_option(p, word, n, 0);

    if (row == NULL)
        return unknown_option(p, word, n);
    if (row->kind == KIND_FLAG) {
        if (equals != NULL)
            return complain(p, "'--%s' takes no value", row->name);
        return store(p, row, "");
    }
    return equals != NULL ? store(p, row, equals + 1) : store_next(p, row);
}

static bool parse_letters(struct parser *p, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const struct option_row *row = find_option(p, NULL, 0, *letters);

        if (row == NULL)
            return complain(p, "unknown option '-%c'", *letters);
        if (row->kind != KIND_FLAG)
            return letters[1] != '\0' ? store(p, row, letters + 1)
                                      : store_next(p, row);
        if (!store(p, row, ""))
            return false;
    }
    return true;
}

/* The first operand names the verb; "help" is --help in that place. */
static bool parse_verb(struct parser *p, const char *word)
{
    const struct verb_row *best = NULL;
    size_t n = strlen(word);

    if (strcmp(word, "help") == 0) {
        p->options->help = true;
        return true;
    }
    for (size_t i = 0; i < N_VERBS; i++) {
        const struct verb_row *row = &verb_table[i];

        if (strcmp(row->name, word) == 0) {
            p->options->verb = row->verb;
            return true;
        }
        if (is_like(word, n, row->name) &&
            (best == NULL ||
                distance(word, n, row->name) < distance(word, n, best->name)))
            best = row;
    }
    if (best == NULL)
        return complain(p, "unknown command '%s'", word);
    return complain(
        p, "unknown command '%s'; did you mean '%s'?", word, best->name);
}

/* An empty one is what a shell makes of "$LAKE" without a LAKE. */
static bool add_operand(struct parser *p, char *word)
{
    struct options *o = p->options;

    if (word[0] == '\0')
        return complain(p,
            "an operand is empty, as that of a shell's variable that is not "
            "set: give %s",
            find_verb(o->verb)->operands);
    o->operand[o->n_operands++] = word;
    return true;
}

bool options_parse(int argc, char **argv, struct options *options_out,
    char message_out[OPTIONS_MESSAGE])
{
    struct options *o = options_out;
    struct parser p = {argc, 1, argv, o, message_out};
    bool more_options = true;
    bool good = true;

    memset(o, 0, sizeof(*o));
    o->operand = argv;
    while (good && p.next < argc) {
        char *arg = argv[p.next++];

        if (!more_options || arg[0] != '-' || arg[1] == '\0') {
            /* Operands gather at the front of argv, behind the reader. */
            if (o->verb == VERB_ANY)
                good = parse_verb(&p, arg);
            else
                good = add_operand(&p, arg);
        } else if (strcmp(arg, "--") == 0) {
            more_options = false;
        } else {
            good = arg[1] == '-' ? parse_long(&p, arg + 2)
                                 : parse_letters(&p, arg + 1);
        }
    }
    if (!good || o->help || o->version)
        return good;
    if (o->verb == VERB_ANY)
        return complain(&p, "no command given");
    if (o->n_operands == 0)
        return complain(
            &p, "nothing to work on: %s", find_verb(o->verb)->operands);
    return true;
}

bool options_percent_exceeded(
    struct option_percent limit, uint64_t part, uint64_t whole)
{
    /* part / whole > millionths / scale, without a product that could
     * overflow: whole = q * scale + r. */
    const uint64_t scale = UINT64_C(100) * OPTION_PERCENT_SCALE;
    uint64_t most = whole / scale * limit.millionths +
                    whole % scale * limit.millionths / scale;

    return limit.given && part > most;
}

#define HELP_INDENT 26
#define HELP_WIDTH 79

/* Fill text into the column from indent on, where the line is already. */
static void put_filled(FILE *out, size_t indent, const char *text)
{
    size_t at = indent;

    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (at > indent && at + 1 + n > HELP_WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, n, out);
        at += n;
        text += n + strspn(text + n, " ");
    }
    fputc('\n', out);
}

/* A term and what it means: beside it, or below it when it is long. */
static void put_entry(FILE *out, const char *term, const char *text)
{
    size_t n = 2 + strlen(term);

    fprintf(out, "  %s", term);
    if (n + 2 <= HELP_INDENT)
        fprintf(out, "%*s", (int)(HELP_INDENT - n), "");
    else
        fprintf(out, "\n%*s", HELP_INDENT, "");
    put_filled(out, HELP_INDENT, text);
}

static void put_options(FILE *out, enum verb verb)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const struct option_row *row = &option_table[i];
        char letter[] = {'-', row->letter, ',', ' ', '\0'};
        char term[64];

        if (row->verb != verb)
            continue;
        snprintf(term, sizeof(term), "%s--%s%s%s",
            row->letter != 0 ? letter : "    ", row->name,
            row->kind != KIND_FLAG ? " " : "", row->argument);
        put_entry(out, term, row->help);
    }
}

static void put_verb(FILE *out, const struct verb_row *row)
{
    fprintf(out, "usage: mr %s [OPTION]... %s\n\n%c%s.\n", row->name,
        row->operands, toupper((unsigned char)row->summary[0]),
        row->summary + 1);
    put_filled(out, 0, row->operands_help);
    fputc('\n', out);
    put_options(out, row->verb);
}

static void put_program(FILE *out)
{
    fprintf(out, "usage: mr COMMAND [OPTION]... OPERAND...\n\n");
    for (size_t i = 0; i < N_VERBS; i++) {
        char term[64];

        snprintf(term, sizeof(term), "%s %s", verb_table[i].name,
            verb_table[i].operands);
        put_entry(out, term, verb_table[i].summary);
    }
    fputc('\n', out);
}

char *options_help(enum verb verb)
{
    const struct verb_row *row = find_verb(verb);
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    if (out == NULL)
        return NULL;
    if (row != NULL)
        put_verb(out, row);
    else
        put_program(out);
    put_options(out, VERB_ANY);
    fprintf(out, "\n%s'man mr' tells the rest.\n",
        row != NULL ? ""
                    : "'mr help COMMAND' lists the options of a command; ");
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
