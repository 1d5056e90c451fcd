#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "mr/text.h"

#define HEADER "partition,bytes"
#define WRITE_AGAIN "write it again with 'mr plan --manifest'"

/* ---- writing ---- */

static enum mr_status check_listing(
    const struct mr_listing *listing, struct mr_error *err)
{
    enum mr_status status = MR_OK;

    if (listing->n_unlisted > 0) {
        status = mr_fail(err, MR_IO, MR_NOWHERE,
            "make it readable, or name inputs without it: a manifest lists all",
            "%s", listing->unlisted[0].cause);
        mr_error_subject(err, "cannot list", listing->unlisted[0].name);
    }
    for (size_t i = 0; i < listing->n && status == MR_OK; i++) {
        const struct mr_input *in = &listing->inputs[i];

        if (strcmp(in->path, "-") == 0)
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "name the files themselves",
                "standard input cannot stand in a manifest");
        if (strlen(in->name) > MR_MANIFEST_NAME_MAX_BYTES)
            return mr_fail(err, MR_LIMIT, MR_NOWHERE, "shorten it",
                "a name of more than %d bytes: '%.80s...'",
                MR_MANIFEST_NAME_MAX_BYTES, in->name);
    }
    return status;
}

/* Which input a digest has been taken of, to be compared with the next. */
struct taken {
    const struct mr_input *input;
    struct mr_digest digest;
};

static enum mr_status take_digest(const struct mr_input *in,
    const atomic_int *stop, struct taken *taken, struct mr_error *err)
{
    enum mr_status status;

    if (taken->input == in)
        return MR_OK;
    status = mr_source_digest(in->path, stop, &taken->digest, err);
    if (status != MR_OK && status != MR_STOPPED)
        mr_error_subject(err, "cannot read", in->path);
    taken->input = status == MR_OK ? in : NULL;
    return status;
}

/* Two files of one name and size are one row where they have the same bytes.
 * Of what has no size, as a pipe, nothing is read. */
static enum mr_status compare_bytes(const struct mr_input *in,
    const atomic_int *stop, struct taken *taken, bool *same_out,
    struct mr_error *err)
{
    struct mr_digest before;
    enum mr_status status;

    *same_out = in[-1].size == in->size;
    if (!*same_out || in->size == 0)
        return MR_OK;
    status = take_digest(&in[-1], stop, taken, err);
    before = taken->digest;
    if (status == MR_OK)
        status = take_digest(in, stop, taken, err);
    if (status == MR_OK)
        *same_out = memcmp(&before, &taken->digest, sizeof(before)) == 0;
    return status;
}

/* A row tells of one content: of two files with one name and different ones
 * nobody could tell later that one of them is missing. */
static enum mr_status check_names(const struct mr_listing *listing,
    const atomic_int *stop, struct mr_error *err)
{
    struct taken taken = {.input = NULL};
    enum mr_status status = MR_OK;
    bool same = true;

    for (size_t i = 1; i < listing->n && status == MR_OK && same; i++) {
        const struct mr_input *in = &listing->inputs[i];

        if (strcmp(in[-1].name, in->name) != 0)
            continue;
        status = compare_bytes(in, stop, &taken, &same, err);
        if (status != MR_OK || same)
            continue;
        status = mr_fail(err, MR_USAGE, MR_NOWHERE,
            "give their folders different 'key=value' names, or plan, map and "
            "reduce the folders each apart",
            "its partition name is also that of '%.200s', which has other "
            "content",
            in->path);
        mr_error_subject(err, "cannot list", in[-1].path);
    }
    return status;
}

enum mr_status mr_manifest_text(const struct mr_listing *listing,
    const atomic_int *stop, struct mr_buffer *out, struct mr_error *err)
{
    enum mr_status status = check_listing(listing, err);
    size_t start = out->n;
    uint64_t sum = 0;

    if (status == MR_OK)
        status = check_names(listing, stop, err);
    if (status != MR_OK)
        return status;
    status = mr_text_printf(out, HEADER "\n");
    for (size_t i = 0; i < listing->n && status == MR_OK; i++) {
        const struct mr_input *in = &listing->inputs[i];

        if (i > 0 && strcmp(in[-1].name, in->name) == 0)
            continue;
        sum += in->size;
        status = mr_text_csv(out, mr_text_span(in->name));
        if (status == MR_OK)
            status = mr_text_printf(out, ",%" PRIu64 "\n", in->size);
    }
    if (status == MR_OK)
        status = mr_text_printf(out, ",%" PRIu64 "\n", sum);
    if (status == MR_OK && out->n - start > MR_MANIFEST_MAX_BYTES)
        status = mr_fail(err, MR_LIMIT, MR_NOWHERE,
            "plan parts of it, a manifest each", "a manifest of %zu bytes",
            out->n - start);
    else if (status != MR_OK)
        status = mr_fail_nomem(err);
    if (status != MR_OK)
        out->n = start;
    return status;
}

/* ---- reading ---- */

/* Where the reading of a text stands. */
struct cursor {
    char *p, *end;
    uint64_t line; /* from 1 on: of the row at hand */
    struct mr_error *err;
};

static enum mr_status bad(struct cursor *c, const char *what)
{
    return mr_fail(c->err, MR_FORMAT, MR_NOWHERE, WRITE_AGAIN,
        "line %" PRIu64 ": %s", c->line, what);
}

/* The name in quotes at c->p, which becomes text without them; c->p goes
 * behind the closing one.  Lines within count when the row is done. */
static enum mr_status read_quoted(
    struct cursor *c, const char **name_out, uint64_t *lines)
{
    char *from = c->p + 1, *to = from, *begin = from;

    for (;; from++) {
        if (from == c->end)
            return bad(c, "a name's quote does not end");
        if (*from == '"' && (from + 1 == c->end || *++from != '"'))
            break;
        *lines += *from == '\n';
        *to++ = *from;
    }
    if (from == c->end || *from != ',')
        return bad(c, "no comma follows the name");
    c->p = from;
    *to = '\0';
    *name_out = begin;
    return to == begin ? bad(c, "a name in quotes that is empty") : MR_OK;
}

/* The name of a row, ended by a NUL in its place; c->p goes behind the comma
 * after it. */
static enum mr_status read_name(
    struct cursor *c, const char **name_out, uint64_t *lines)
{
    char *begin = c->p;
    enum mr_status status = MR_OK;

    if (*begin == '"') {
        status = read_quoted(c, name_out, lines);
    } else {
        while (c->p < c->end && strchr(",\"\r\n", *c->p) == NULL)
            c->p++;
        if (c->p == c->end || *c->p != ',')
            return bad(c, "it is not a name, a comma and a number");
        *name_out = begin;
        *c->p = '\0';
    }
    if (status == MR_OK && c->p - begin > MR_MANIFEST_NAME_MAX_BYTES)
        return bad(c, "a name that is too long");
    c->p++;
    return status;
}

/* A number and the row's end. */
static enum mr_status read_bytes(struct cursor *c, uint64_t *bytes_out)
{
    const char *begin = c->p;
    uint64_t bytes = 0;

    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
        uint64_t digit = (uint64_t)(*c->p - '0');

        if (bytes > (UINT64_MAX - digit) / 10)
            return bad(c, "a number of bytes above 2^64");
        bytes = 10 * bytes + digit;
    }
    if (c->p == begin)
        return bad(c, "no number of bytes follows the name");
    if (c->p < c->end && *c->p == '\r')
        c->p++;
    if (c->p == c->end)
        return bad(c, "it has no end; the file has been cut");
    if (*c->p != '\n')
        return bad(c, "more follows the number of bytes");
    c->p++;
    *bytes_out = bytes;
    return MR_OK;
}

static enum mr_status keep_entry(struct cursor *c, struct mr_manifest *m,
    size_t *cap, const struct mr_manifest_entry *e)
{
    int order = m->n > 0 ? strcmp(m->entry[m->n - 1].name, e->name) : -1;
    struct mr_manifest_entry *entry = m->entry;

    if (order >= 0)
        return mr_fail(c->err, MR_FORMAT, MR_NOWHERE, WRITE_AGAIN,
            order == 0 ? "line %" PRIu64 ": the name '%.80s' stands there twice"
                       : "line %" PRIu64 ": the name '%.80s' does not ascend",
            c->line, e->name);
    if (e->bytes > UINT64_MAX - m->bytes)
        return bad(c, "a sum of bytes above 2^64");
    if (m->n == *cap) {
        *cap = *cap > 0 ? *cap + *cap / 2 : 256;
        entry = realloc(entry, *cap * sizeof(*entry));
        if (entry == NULL)
            return mr_fail_nomem(c->err);
        m->entry = entry;
    }
    entry[m->n++] = *e;
    m->bytes += e->bytes;
    return MR_OK;
}

static enum mr_status read_header(struct cursor *c)
{
    size_t n = sizeof(HEADER) - 1;

    if ((size_t)(c->end - c->p) < n || memcmp(c->p, HEADER, n) != 0)
        return bad(c, "it is not '" HEADER "', so this is no manifest");
    c->p += n;
    if (c->p < c->end && *c->p == '\r')
        c->p++;
    if (c->p == c->end || *c->p != '\n')
        return bad(c, "it is not '" HEADER "', so this is no manifest");
    c->p++;
    c->line = 2;
    return MR_OK;
}

/* All rows; the last has no name, and the sum. */
static enum mr_status read_rows(struct cursor *c, struct mr_manifest *m)
{
    enum mr_status status = read_header(c);
    size_t cap = 0;

    while (status == MR_OK) {
        struct mr_manifest_entry e = {NULL, 0};
        uint64_t lines = 1;

        if (c->p == c->end)
            return bad(c, "the last row, with the sum of bytes, is missing: "
                          "the file has been cut");
        status = read_name(c, &e.name, &lines);
        if (status == MR_OK)
            status = read_bytes(c, &e.bytes);
        if (status == MR_OK && e.name[0] == '\0') {
            if (e.bytes != m->bytes)
                return bad(c, "the sum of bytes is not that of the rows");
            c->line += lines;
            return c->p == c->end ? MR_OK : bad(c, "more follows the last row");
        }
        if (status == MR_OK)
            status = keep_entry(c, m, &cap, &e);
        c->line += lines;
    }
    return status;
}

enum mr_status mr_manifest_parse(struct mr_manifest *m, struct mr_error *err)
{
    char nothing = '\0';
    struct cursor c = {.p = m->text.n > 0 ? (char *)m->text.p : &nothing,
        .line = 1,
        .err = err};
    const char *nul = m->text.n > 0 ? memchr(c.p, '\0', m->text.n) : NULL;

    c.end = c.p + m->text.n;
    if (nul != NULL)
        return mr_fail(err, MR_FORMAT, (uint64_t)(nul - c.p), WRITE_AGAIN,
            "it is not text: it holds a NUL byte");
    return read_rows(&c, m);
}

enum mr_status mr_manifest_read(
    const char *path, struct mr_manifest *m, struct mr_error *err)
{
    enum mr_status status;

    *m = (struct mr_manifest){.n = 0};
    if (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
        status = mr_fail(err, MR_USAGE, MR_NOWHERE,
            "check the path; 'mr plan --manifest' writes one", "no such file");
    else
        status = mr_source_load(path, MR_MANIFEST_MAX_BYTES, &m->text, err);
    if (status == MR_OK)
        status = mr_manifest_parse(m, err);
    if (status != MR_OK)
        mr_error_subject(err, "cannot use manifest", path);
    return status;
}

void mr_manifest_release(struct mr_manifest *m)
{
    free(m->entry);
    mr_buffer_release(&m->text);
    *m = (struct mr_manifest){.n = 0};
}

const struct mr_manifest_entry *mr_manifest_find(
    const struct mr_manifest *m, const char *name, size_t n)
{
    size_t low = 0, high = m->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *at = m->entry[middle].name;
        int order = strncmp(name, at, n);

        if (order == 0 && at[n] == '\0')
            return &m->entry[middle];
        /* A name that goes on comes after. */
        if (order <= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
