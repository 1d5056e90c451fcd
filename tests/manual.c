#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mr/timeform.h"

/*
 * Fill the manual from the tables of the command line and of a spec's keys.
 * Reads docs/mr.1 or docs/mr-spec.5 from standard input and writes it to
 * standard output; whatever stands between
 *
 *     .\" begin synopsis VERB    .\" begin options VERB    .\" begin keys GROUP
 *     .\" end                    .\" end                    .\" end
 *
 * is replaced by what cmd/options.def or mr/spec_keys.def says.  A manual that
 * is up to date comes out as it went in: that is the test, and "make manual"
 * the repair.
 */

struct row {
    const char *verb; /* as options.def writes it */
    const char *name;
    char letter;
    const char *argument;
    const char *help, *more;
};

struct verb {
    const char *id, *name, *operands;
};

#define VERB(id, name, operands, summary, explained) {#id, name, operands},
#define OPTION(verb, member, name, letter, argument, kind, min, max, help, more)
static const struct verb verbs[] = {
#include "cmd/options.def"
};
#undef VERB
#undef OPTION

#define VERB(id, name, operands, summary, explained)
#define OPTION(                                                                \
    verb, member, name, letter, argument, kind, min, max, help, more)          \
    {#verb, name, letter, argument, help, more},
static const struct row rows[] = {
#include "cmd/options.def"
};
#undef VERB
#undef OPTION

struct key {
    const char *group; /* as spec_keys.def writes it */
    const char *name, *form;
    unsigned long least, most;
    const char *preset, *meaning;
};

#define SPEC_KEY(group, id, name, form, least, most, preset, meaning)          \
    {#group, name, form, least, most, preset, meaning},
static const struct key keys[] = {
#include "mr/spec_keys.def"
};
#undef SPEC_KEY

#define N_KEYS (sizeof(keys) / sizeof(keys[0]))
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* Text for mdoc, where a hyphen that people type is not any hyphen.  Return
 * the number of bytes written. */
static size_t put_escaped(const char *text, size_t n, bool begins)
{
    size_t at = n;

    /* At the start of a line these two would be a request. */
    if (begins && n > 0 && (text[0] == '\'' || text[0] == '.'))
        at += (size_t)printf("\\&");
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '-' || text[i] == '\\') {
            putchar('\\');
            at++;
        }
        putchar(text[i] == '\\' ? 'e' : text[i]);
    }
    return at;
}

/* Sentences, each beginning a line as mdoc wants it, and filled. */
static void put_sentences(const char *text)
{
    size_t at = 0;

    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (at > 0 && at + 1 + n > 76) {
            putchar('\n');
            at = 0;
        }
        if (at > 0)
            at += (size_t)printf(" ");
        at += put_escaped(text, n, at == 0);
        text += n;
        if (text[0] == ' ' && text[1] == ' ') {
            putchar('\n');
            at = 0;
        }
        text += strspn(text, " ");
    }
    if (at > 0)
        putchar('\n');
}

/* "-o", "--output" and the argument: '|' parts alternatives. */
static void put_flags(const struct row *row, const char *macro, bool both)
{
    fputs(macro, stdout);
    if (row->letter != 0)
        printf(" Fl %c", row->letter);
    if (row->letter != 0 && both)
        fputs(" ,", stdout);
    if (row->letter == 0 || both)
        printf(" Fl Fl %s", row->name);
    if (row->argument[0] != '\0') {
        fputs(" Ar ", stdout);
        put_escaped(row->argument, strlen(row->argument), false);
    }
    putchar('\n');
}

static void put_options(const char *id)
{
    bool any = false;

    for (size_t i = 0; i < N_ROWS; i++) {
        const struct row *row = &rows[i];
        char text[1024];

        if (strcmp(row->verb, id) != 0)
            continue;
        if (!any)
            puts(".Bl -tag -width Ds");
        any = true;
        put_flags(row, ".It", true);
        snprintf(text, sizeof(text), "%c%s.  %s",
            toupper((unsigned char)row->help[0]), row->help + 1, row->more);
        put_sentences(text);
    }
    if (any)
        puts(".El");
}

static void put_synopsis(const char *id)
{
    for (size_t i = 0; i < N_VERBS; i++) {
        if (strcmp(verbs[i].id, id) != 0)
            continue;
        printf(".Nm\n.Cm %s\n", verbs[i].name);
        for (size_t j = 0; j < N_ROWS; j++)
            if (strcmp(rows[j].verb, id) == 0)
                put_flags(&rows[j], ".Op", false);
        puts(".Op Fl q");
        printf(".Ar ");
        put_escaped(verbs[i].operands, strlen(verbs[i].operands), false);
        putchar('\n');
    }
}

/* What it means, what it must be, and what it is if it is left out. */
static void put_keys(const char *group)
{
    puts(".Bl -tag -width Ds");
    for (size_t i = 0; i < N_KEYS; i++) {
        const struct key *key = &keys[i];
        char text[1024], range[64] = "";

        if (strcmp(key->group, group) != 0)
            continue;
        if (key->most > 0)
            snprintf(range, sizeof(range), " from %lu to %lu", key->least,
                key->most);
        printf(".It Cm %s\n", key->name);
        snprintf(text, sizeof(text), "%s  Value: %s%s%s%s.", key->meaning,
            key->form, range,
            key->preset[0] != '\0' ? "; default: " : "; it must be given",
            key->preset);
        put_sentences(text);
    }
    puts(".El");
}

int main(void)
{
    char line[1024], what[16], id[16];
    bool skipping = false;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strcmp(line, ".\\\" end\n") == 0)
            skipping = false;
        if (!skipping)
            fputs(line, stdout);
        if (sscanf(line, ".\\\" begin %15s %15s", what, id) != 2)
            continue;
        skipping = true;
        if (strcmp(what, "synopsis") == 0)
            put_synopsis(id);
        else if (strcmp(what, "keys") == 0)
            put_keys(id);
        else
            put_options(id);
    }
    return fflush(stdout) != 0 || ferror(stdin);
}
