#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/claims.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mr/calendar.h"
#include "mr/text.h"

/* ---- the text of a claim ---- */

#define FIRST_LINE "mr claim 1"
#define LAST_LINE "end"

/* Bytes that stand for themselves; all others are written %XX. */
static bool is_plain(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '%';
}

static enum mr_status add_text(
    struct mr_buffer *out, const char *key, const char *text, size_t most)
{
    enum mr_status status = mr_text_printf(out, "%s ", key);

    for (size_t i = 0; i < most && text[i] != '\0' && status == MR_OK; i++) {
        uint8_t c = (uint8_t)text[i];

        status = is_plain(c) ? mr_buffer_add(out, &c, 1)
                             : mr_text_printf(out, "%%%02X", (unsigned)c);
    }
    return status == MR_OK ? mr_buffer_add(out, "\n", 1) : status;
}

static enum mr_status add_digest(
    struct mr_buffer *out, const char *key, const struct mr_digest *digest)
{
    char text[MR_DIGEST_TEXT];

    mr_digest_format(digest, text);
    return mr_text_printf(out, "%s %s\n", key, text);
}

#define TIME_LATEST INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

void mr_claim_time(int64_t time_s, char out[MR_CLAIM_TIME_TEXT])
{
    int64_t t = time_s < 0 ? 0 : time_s > TIME_LATEST ? TIME_LATEST : time_s;
    unsigned second = (unsigned)(t % 86400);
    char day[MR_DAY_TEXT];

    mr_day_format((int32_t)(t / 86400), day);
    snprintf(out, MR_CLAIM_TIME_TEXT, "%.10sT%02u:%02u:%02uZ", day,
        second / 3600 % 24, second / 60 % 60, second % 60);
}

enum mr_status mr_claim_format(
    const struct mr_claim *claim, struct mr_buffer *out)
{
    const struct mr_claimant *by = &claim->by;
    char time[MR_CLAIM_TIME_TEXT];

    mr_claim_time(claim->time_s, time);
    if (mr_text_printf(out, "%s\nrun %s\n", FIRST_LINE, by->run) != MR_OK ||
        add_text(out, "host", by->host, MR_CLAIMANT_TEXT) != MR_OK ||
        add_text(out, "user", by->user, MR_CLAIMANT_TEXT) != MR_OK ||
        mr_text_printf(out, "pid %" PRIu64 "\ntime %s\n", by->pid, time) !=
            MR_OK ||
        add_digest(out, "spec", &claim->spec) != MR_OK ||
        add_digest(out, "listing", &claim->listing) != MR_OK ||
        add_text(out, "first", claim->first, MR_CLAIM_MAX_NAME) != MR_OK ||
        add_text(out, "last", claim->last, MR_CLAIM_MAX_NAME) != MR_OK)
        return MR_NOMEM;
    return mr_text_printf(out,
        "partitions %" PRIu64 "\nbytes %" PRIu64 "\n%s\n", claim->partitions,
        claim->bytes, LAST_LINE);
}

/* Unchecked text, and what was first found wrong with it. */
struct scan {
    struct mr_span text;
    size_t at;
    enum mr_status status;
    struct mr_error *err;
};

static void refuse(struct scan *s, size_t at, const char *cause)
{
    if (s->status == MR_OK)
        s->status = mr_fail(s->err, MR_FORMAT, at, NULL, "%s", cause);
}

/* The rest of the line "KEY VALUE" that comes next, empty if it does not.
 * Of a line without a value the key is all. */
static struct mr_span next_line(struct scan *s, const char *key)
{
    const uint8_t *p = s->text.p + s->at;
    size_t n = strlen(key), left = s->text.n - s->at;
    const uint8_t *end = left == 0 ? NULL : memchr(p, '\n', left);
    struct mr_span value = {p, 0};

    if (s->status != MR_OK)
        return value;
    if (end == NULL) {
        refuse(s, s->text.n, "it is cut short");
        return value;
    }
    if ((size_t)(end - p) < n || memcmp(p, key, n) != 0) {
        refuse(s, s->at, "another line is expected here");
        return value;
    }
    value = (struct mr_span){p + n, (size_t)(end - p) - n};
    s->at += n + value.n + 1;
    return value;
}

/* A line that is the same in all claims. */
static void take_fixed(struct scan *s, const char *line)
{
    size_t at = s->at;

    if (next_line(s, line).n != 0)
        refuse(s, at, "another line is expected here");
}

static size_t offset_of(const struct scan *s, struct mr_span value)
{
    return (size_t)(value.p - s->text.p);
}

static int hexadecimal(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that begins at p[0..n) and its length there, 0 for none. */
static size_t unescape(const uint8_t *p, size_t n, uint8_t *byte)
{
    int high, low;

    if (is_plain(p[0])) {
        *byte = p[0];
        return 1;
    }
    if (n < 3 || p[0] != '%')
        return 0;
    high = hexadecimal(p[1]);
    low = hexadecimal(p[2]);
    if (high < 0 || low < 0)
        return 0;
    *byte = (uint8_t)(high << 4 | low);
    /* One text, one form; and texts have no NUL. */
    return *byte == 0 || is_plain(*byte) ? 0 : 3;
}

/* 1 to most bytes of text and a NUL. */
static void take_text(struct scan *s, const char *key, size_t most, char *out)
{
    struct mr_span value = next_line(s, key);
    size_t n = 0, used;

    out[0] = '\0';
    for (size_t i = 0; i < value.n && s->status == MR_OK; i += used) {
        uint8_t byte = 0;

        used = unescape(value.p + i, value.n - i, &byte);
        if (used == 0)
            refuse(s, offset_of(s, value) + i, "a byte that cannot stand here");
        else if (n == most)
            refuse(s, offset_of(s, value) + i, "it is too long");
        else
            out[n++] = (char)byte;
    }
    if (n == 0)
        refuse(s, offset_of(s, value), "a text is expected here");
    out[n] = '\0';
}

static char *take_name(struct scan *s, const char *key)
{
    char name[MR_CLAIM_MAX_NAME + 1], *copy;

    take_text(s, key, MR_CLAIM_MAX_NAME, name);
    copy = s->status == MR_OK ? strdup(name) : NULL;
    if (s->status == MR_OK && copy == NULL)
        s->status = mr_fail_nomem(s->err);
    return copy;
}

/* Decimal digits without leading zeros. */
static uint64_t take_number(struct scan *s, const char *key, uint64_t least)
{
    struct mr_span value = next_line(s, key);
    uint64_t number = 0;
    bool good = value.n > 0 && (value.n == 1 || value.p[0] != '0');

    for (size_t i = 0; i < value.n && good; i++) {
        unsigned digit = (unsigned)value.p[i] - '0';

        good = digit <= 9 && number <= (UINT64_MAX - digit) / 10;
        number = number * 10 + digit;
    }
    if (s->status == MR_OK && (!good || number < least))
        refuse(s, offset_of(s, value), "a number is expected here");
    return number;
}

static void take_digest(
    struct scan *s, const char *key, struct mr_digest *digest_out)
{
    struct mr_span value = next_line(s, key);

    if (s->status == MR_OK &&
        !mr_digest_parse((const char *)value.p, value.n, digest_out))
        refuse(s, offset_of(s, value), "a digest is expected here");
}

/* Two digits below limit at p, or -1. */
static int two_digits(const uint8_t *p, int limit)
{
    int v;

    if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
        return -1;
    v = (p[0] - '0') * 10 + p[1] - '0';
    return v < limit ? v : -1;
}

static int64_t take_time(struct scan *s)
{
    struct mr_span v = next_line(s, "time ");
    int32_t day = 0;
    int hour, minute, second;

    if (s->status != MR_OK)
        return 0;
    if (v.n == MR_CLAIM_TIME_TEXT - 1 &&
        mr_day_parse((const char *)v.p, 10, &day) && day >= 0 &&
        v.p[10] == 'T' && v.p[13] == ':' && v.p[16] == ':' && v.p[19] == 'Z') {
        hour = two_digits(v.p + 11, 24);
        minute = two_digits(v.p + 14, 60);
        second = two_digits(v.p + 17, 60);
        if (hour >= 0 && minute >= 0 && second >= 0)
            return INT64_C(86400) * day + hour * 3600 + minute * 60 + second;
    }
    refuse(s, offset_of(s, v), "a time YYYY-MM-DDTHH:MM:SSZ is expected here");
    return 0;
}

static void take_run(struct scan *s, struct mr_claimant *by)
{
    struct mr_digest id;
    size_t at = s->at;

    take_digest(s, "run ", &id);
    if (s->status == MR_OK)
        memcpy(by->run, s->text.p + at + strlen("run "), MR_RUN_TEXT - 1);
    by->run[MR_RUN_TEXT - 1] = '\0';
}

void mr_claim_release(struct mr_claim *claim)
{
    free(claim->first);
    free(claim->last);
    *claim = (struct mr_claim){0};
}

enum mr_status mr_claim_parse(
    struct mr_span text, struct mr_claim *claim_out, struct mr_error *err)
{
    struct scan s = {.text = text, .err = err};
    struct mr_claim c = {0};

    if (text.n > MR_CLAIM_MAX_BYTES)
        refuse(&s, MR_CLAIM_MAX_BYTES, "it is longer than any claim");
    take_fixed(&s, FIRST_LINE);
    take_run(&s, &c.by);
    take_text(&s, "host ", MR_CLAIMANT_TEXT - 1, c.by.host);
    take_text(&s, "user ", MR_CLAIMANT_TEXT - 1, c.by.user);
    c.by.pid = take_number(&s, "pid ", 1);
    c.time_s = take_time(&s);
    take_digest(&s, "spec ", &c.spec);
    take_digest(&s, "listing ", &c.listing);
    c.first = take_name(&s, "first ");
    c.last = take_name(&s, "last ");
    if (s.status == MR_OK && strcmp(c.first, c.last) > 0)
        refuse(&s, s.at, "the last name comes before the first");
    c.partitions = take_number(&s, "partitions ", 1);
    c.bytes = take_number(&s, "bytes ", 0);
    take_fixed(&s, LAST_LINE);
    if (s.status == MR_OK && s.at != text.n)
        refuse(&s, s.at, "something follows its end");
    if (s.status != MR_OK) {
        mr_claim_release(&c);
        return s.status;
    }
    *claim_out = c;
    return MR_OK;
}

/* ---- folders of claims ---- */

/* A file; one that is no claim is looked at again each time, since it may be
 * one that is still being copied. */
struct entry {
    char *path;
    bool is_claim;
    bool is_noted;
    unsigned read; /* the number of the reading that met it last */
    struct mr_claim claim;
};

struct mr_claims {
    void (*note)(void *context, const char *sentence);
    void *context;
    struct entry **entry; /* ascending by path */
    size_t n;
    unsigned reads;
    /* Of those that are claims: ascending by first name, then path; and of
     * the claims up to each one the last name that comes last. */
    const struct entry **sorted;
    const char **reach;
    size_t n_claims;
};

static void free_entry(struct entry *e)
{
    free(e->path);
    mr_claim_release(&e->claim);
    free(e);
}

enum mr_status mr_claims_new(void (*note)(void *context, const char *sentence),
    void *context, struct mr_claims **claims_out)
{
    struct mr_claims *claims = calloc(1, sizeof(*claims));

    if (claims == NULL)
        return MR_NOMEM;
    claims->note = note;
    claims->context = context;
    *claims_out = claims;
    return MR_OK;
}

void mr_claims_free(struct mr_claims *claims)
{
    if (claims == NULL)
        return;
    for (size_t i = 0; i < claims->n; i++)
        free_entry(claims->entry[i]);
    free(claims->entry);
    free(claims->sorted);
    free(claims->reach);
    free(claims);
}

static void note(const struct mr_claims *claims, const char *path,
    struct mr_error *why, const char *advice)
{
    char sentence[1200];

    if (claims->note == NULL)
        return;
    if (advice != NULL)
        snprintf(why->advice, sizeof(why->advice), "%s", advice);
    mr_error_subject(why, "cannot use claim", path);
    mr_error_format(why, sentence, sizeof(sentence));
    claims->note(claims->context, sentence);
}

/* All of a small regular file.  *errno_out is 0, or that of a failed call. */
static enum mr_status read_small(const char *path,
    uint8_t text[MR_CLAIM_MAX_BYTES + 1], size_t *n_out, int *errno_out,
    struct mr_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat info;
    ssize_t got = -1;
    size_t n = 0;

    *errno_out = 0;
    if ((fd < 0 && errno != ELOOP) || (fd >= 0 && fstat(fd, &info) != 0)) {
        *errno_out = errno;
    } else if (fd < 0 || !S_ISREG(info.st_mode)) { /* ELOOP: a link */
        if (fd >= 0)
            close(fd);
        return mr_fail(
            err, MR_FORMAT, MR_NOWHERE, NULL, "it is no regular file");
    } else {
        do {
            got = read(fd, text + n, MR_CLAIM_MAX_BYTES + 1 - n);
            n += got > 0 ? (size_t)got : 0;
        } while (n <= MR_CLAIM_MAX_BYTES &&
                 (got > 0 || (got < 0 && errno == EINTR)));
        *errno_out = got < 0 ? errno : 0;
    }
    if (fd >= 0)
        close(fd);
    if (*errno_out != 0)
        return mr_fail_errno(err, *errno_out, NULL, NULL);
    *n_out = n;
    return MR_OK;
}

/* A claim's file, which becomes an entry whatever is in it; NULL for one that
 * is gone by now. */
static enum mr_status read_entry(const struct mr_claims *claims,
    const char *path, bool is_noted, struct entry **entry_out)
{
    uint8_t text[MR_CLAIM_MAX_BYTES + 1];
    struct entry *e = calloc(1, sizeof(*e));
    struct mr_error why = {0};
    size_t n = 0;
    int number = 0;
    enum mr_status status;

    if (e == NULL || (e->path = strdup(path)) == NULL) {
        free(e);
        return MR_NOMEM;
    }
    status = read_small(path, text, &n, &number, &why);
    if (status == MR_OK)
        status = mr_claim_parse((struct mr_span){text, n}, &e->claim, &why);
    if (status == MR_NOMEM || number == ENOENT) {
        free_entry(e);
        *entry_out = NULL;
        return number == ENOENT ? MR_OK : MR_NOMEM;
    }
    e->is_claim = status == MR_OK;
    e->is_noted = status != MR_OK;
    if (e->is_noted && !is_noted)
        note(claims, path, &why, "it is left out; remove it if it stays so");
    *entry_out = e;
    return MR_OK;
}

static int by_path(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;

    return strcmp((*x)->path, (*y)->path);
}

static struct entry *find_entry(
    const struct mr_claims *claims, const char *path)
{
    size_t low = 0, high = claims->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, claims->entry[middle]->path);

        if (order == 0)
            return claims->entry[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int by_first(const void *a, const void *b)
{
    const struct entry *const *x = a, *const *y = b;
    int c = strcmp((*x)->claim.first, (*y)->claim.first);

    return c != 0 ? c : strcmp((*x)->path, (*y)->path);
}

/* Take over n entries in place of those that are there. */
static enum mr_status settle(
    struct mr_claims *claims, struct entry **entry, size_t n)
{
    const struct entry **sorted = malloc((n + 1) * sizeof(*sorted));
    const char **reach = malloc((n + 1) * sizeof(*reach));
    size_t n_claims = 0;

    if (sorted == NULL || reach == NULL) {
        free(sorted);
        free(reach);
        return MR_NOMEM;
    }
    if (n > 0)
        qsort(entry, n, sizeof(*entry), by_path);
    for (size_t i = 0; i < n; i++)
        if (entry[i]->is_claim)
            sorted[n_claims++] = entry[i];
    if (n_claims > 0)
        qsort(sorted, n_claims, sizeof(*sorted), by_first);
    for (size_t i = 0; i < n_claims; i++) {
        const char *last = sorted[i]->claim.last;

        reach[i] =
            i > 0 && strcmp(reach[i - 1], last) > 0 ? reach[i - 1] : last;
    }
    for (size_t i = 0; i < claims->n; i++)
        if (claims->entry[i]->read != claims->reads)
            free_entry(claims->entry[i]);
    free(claims->entry);
    free(claims->sorted);
    free(claims->reach);
    claims->entry = entry;
    claims->n = n;
    claims->sorted = sorted;
    claims->reach = reach;
    claims->n_claims = n_claims;
    return MR_OK;
}

/* One reading of a folder: what claims will have after it. */
struct reading {
    struct mr_claims *claims;
    const char *folder;
    struct entry **entry;
    size_t n, cap;
};

static enum mr_status keep(struct reading *r, struct entry *e)
{
    if (r->n == r->cap) {
        size_t cap = 2 * r->cap + 64;
        struct entry **grown = realloc(r->entry, cap * sizeof(*grown));

        if (grown == NULL)
            return MR_NOMEM;
        r->entry = grown;
        r->cap = cap;
    }
    r->entry[r->n++] = e;
    return MR_OK;
}

static enum mr_status meet(struct reading *r, const char *name)
{
    struct entry *known, *e = NULL;
    struct mr_buffer path = {0};
    enum mr_status status;

    if (name[0] == '.' || !mr_text_ends(name, MR_CLAIM_SUFFIX))
        return MR_OK;
    status = mr_text_printf(&path, "%s/%s", r->folder, name);
    if (status == MR_OK)
        status = mr_buffer_add(&path, "", 1);
    known = status == MR_OK ? find_entry(r->claims, (char *)path.p) : NULL;
    if (known != NULL && known->read == r->claims->reads)
        e = NULL; /* a folder that changes may list a name twice */
    else if (known != NULL && known->is_claim)
        e = known;
    else if (status == MR_OK)
        status = read_entry(
            r->claims, (char *)path.p, known != NULL && known->is_noted, &e);
    mr_buffer_release(&path);
    if (status != MR_OK || e == NULL)
        return status;
    status = keep(r, e);
    if (status == MR_OK)
        e->read = r->claims->reads;
    else if (e != known)
        free_entry(e);
    return status;
}

/* What was read of other folders stays. */
static enum mr_status keep_others(struct reading *r)
{
    size_t n = strlen(r->folder);
    enum mr_status status = MR_OK;

    for (size_t i = 0; i < r->claims->n && status == MR_OK; i++) {
        struct entry *e = r->claims->entry[i];

        if (strncmp(e->path, r->folder, n) == 0 && e->path[n] == '/')
            continue;
        status = keep(r, e);
        e->read = r->claims->reads;
    }
    return status;
}

static void give_up(struct reading *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (find_entry(r->claims, r->entry[i]->path) != r->entry[i])
            free_entry(r->entry[i]);
    free(r->entry);
}

static enum mr_status list_folder(struct reading *r, struct mr_error *err)
{
    DIR *dir = opendir(r->folder);
    enum mr_status status = MR_OK;
    struct dirent *found;
    struct mr_error why = {0};
    size_t before = r->n;
    int number = dir == NULL ? errno : 0;

    if (dir == NULL && number == ENOENT)
        return MR_OK;
    while (dir != NULL && status == MR_OK && r->n - before < MR_CLAIMS_MAX &&
           (errno = 0, found = readdir(dir)) != NULL)
        status = meet(r, found->d_name);
    if (dir != NULL) {
        number = status == MR_OK && r->n - before < MR_CLAIMS_MAX ? errno : 0;
        closedir(dir);
    }
    if (status != MR_OK)
        return mr_fail_nomem(err);
    if (r->n - before == MR_CLAIMS_MAX) {
        (void)mr_fail(&why, MR_LIMIT, MR_NOWHERE, NULL,
            "there are %d of them, and others are left out", MR_CLAIMS_MAX);
        note(r->claims, r->folder, &why, "remove those of runs that are over");
    }
    if (number == 0)
        return MR_OK;
    status = mr_fail_errno(
        err, number, "see whether the share is still there, and rerun", NULL);
    mr_error_subject(err, "cannot look for claims in", r->folder);
    return status;
}

enum mr_status mr_claims_read(
    struct mr_claims *claims, const char *share, struct mr_error *err)
{
    size_t n = strlen(share);
    struct mr_buffer folder = {0};
    struct reading r = {.claims = claims};
    enum mr_status status;

    while (n > 1 && share[n - 1] == '/')
        n--;
    if (mr_buffer_add(&folder, share, n) != MR_OK ||
        mr_text_printf(&folder, "/%s", MR_CLAIMS_FOLDER) != MR_OK ||
        mr_buffer_add(&folder, "", 1) != MR_OK) {
        mr_buffer_release(&folder);
        return mr_fail_nomem(err);
    }
    r.folder = (const char *)folder.p;
    claims->reads++;
    status = keep_others(&r) == MR_OK ? MR_OK : mr_fail_nomem(err);
    if (status == MR_OK)
        status = list_folder(&r, err);
    if (status == MR_OK && settle(claims, r.entry, r.n) != MR_OK)
        status = mr_fail_nomem(err);
    if (status != MR_OK)
        give_up(&r);
    mr_buffer_release(&folder);
    return status;
}

size_t mr_claims_count(const struct mr_claims *claims)
{
    return claims->n_claims;
}

const struct mr_claim *mr_claims_get(const struct mr_claims *claims, size_t i)
{
    return &claims->sorted[i]->claim;
}

/* How many claims begin at or before a name. */
static size_t count_begun(const struct mr_claims *claims, const char *name)
{
    size_t low = 0, high = claims->n_claims;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(claims->sorted[middle]->claim.first, name) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct mr_claim *mr_claims_by(const struct mr_claims *claims,
    const struct mr_digest *spec, const char *name, size_t *at)
{
    size_t i = *at == 0 ? count_begun(claims, name) : *at - 1;

    while (i > 0 && strcmp(claims->reach[i - 1], name) >= 0) {
        const struct mr_claim *claim = &claims->sorted[--i]->claim;

        if (strcmp(claim->last, name) >= 0 &&
            memcmp(claim->spec.b, spec->b, MR_DIGEST_BYTES) == 0) {
            *at = i + 1;
            return claim;
        }
    }
    *at = 1;
    return NULL;
}
