#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A TZif file lists the changes up to some year; what comes after follows
 * from a rule, a POSIX TZ string, at its end.  Few changes lie between 1970
 * and 2200 (some 460 where clocks are still changed twice a year), so all of
 * them are worked out once and put into one list, of which a grid of half
 * years says where to look.
 */

#define MS_PER_HOUR INT64_C(3600000)
#define S_PER_DAY INT64_C(86400)
/* Three days on both sides hold whatever a local time of 1970 or 2199 needs,
 * as offsets are below 26 hours (RFC 8536 section 3.2). */
#define START_S (-3 * S_PER_DAY)
#define END_S (MR_TIME_END_MS / 1000 + 3 * S_PER_DAY)
#define OFFSET_MIN_S (-89999)
#define OFFSET_MAX_S 93599
/* Years whose rules tell about all of that time, and how it is before. */
#define FIRST_YEAR 1968
#define LAST_YEAR 2201
/* Nearly ten times what any zone has. */
#define CHANGES_MAX 4096
#define GRID_SHIFT 34 /* of ms: 199 days */
#define GRID_CELLS (((uint64_t)(END_S - START_S) * 1000 >> GRID_SHIFT) + 1)

#define ADVICE "install the system's time zone data (tzdata) again"

struct change {
    int64_t at_ms;     /* the offset holds from here to the next change */
    int64_t offset_ms; /* local minus UTC */
};

struct mr_zone {
    struct mr_digest digest;
    uint32_t n;                /* changes */
    uint16_t grid[GRID_CELLS]; /* which one holds at a cell's beginning */
    /* The first is at INT64_MIN; one at INT64_MAX stands after the last. */
    struct change change[];
};

/* --- the list ---------------------------------------------------------- */

struct list {
    size_t n; /* at least 1 */
    struct change change[CHANGES_MAX];
};

/* Append a change; they come in order of time.  False: too many. */
static bool list_add(struct list *list, int64_t at_s, int64_t offset_s)
{
    struct change *last = &list->change[list->n - 1];

    if (at_s >= END_S)
        return true;
    if (at_s <= START_S || last->at_ms == at_s * 1000) {
        last->offset_ms = offset_s * 1000;
        if (list->n > 1 && last[-1].offset_ms == last->offset_ms)
            list->n--;
        return true;
    }
    if (last->offset_ms == offset_s * 1000)
        return true;
    if (list->n == CHANGES_MAX)
        return false;
    last[1].at_ms = at_s * 1000;
    last[1].offset_ms = offset_s * 1000;
    list->n++;
    return true;
}

static enum mr_status zone_new(
    const struct list *list, struct mr_zone **zone_out, struct mr_error *err)
{
    size_t bytes = (list->n + 1) * sizeof(struct change), i, last = 0;
    struct mr_zone *zone = malloc(sizeof(*zone) + bytes);
    uint8_t *text = malloc(16 * list->n);

    if (zone == NULL || text == NULL) {
        free(zone);
        free(text);
        return mr_fail_nomem(err);
    }
    zone->n = (uint32_t)list->n;
    memcpy(zone->change, list->change, bytes - sizeof(struct change));
    zone->change[list->n] = (struct change){INT64_MAX, 0};
    for (i = 0; i < GRID_CELLS; i++) {
        int64_t start = START_S * 1000 + ((int64_t)i << GRID_SHIFT);

        while (zone->change[last + 1].at_ms <= start)
            last++;
        zone->grid[i] = (uint16_t)last;
    }
    for (i = 0; i < list->n; i++) {
        mr_put_u64(text + 16 * i, (uint64_t)list->change[i].at_ms);
        mr_put_u64(text + 16 * i + 8, (uint64_t)list->change[i].offset_ms);
    }
    zone->digest = mr_digest_bytes(text, 16 * list->n);
    free(text);
    *zone_out = zone;
    return MR_OK;
}

/* --- the rule for later years: a POSIX TZ string ------------------------- */

/* A day of each year, and seconds from its local midnight. */
struct rule_day {
    char kind; /* 'M'; 'J': 1 to 365, no 29 February; '0': from 0, all days */
    int month, week, day;
    int64_t time_s;
};

struct rule {
    int64_t standard_s, summer_s; /* offsets */
    bool changes;
    struct rule_day start, end; /* of summer time */
};

struct cursor {
    const uint8_t *p, *end;
};

static bool take(struct cursor *c, char wanted)
{
    if (c->p == c->end || *c->p != (uint8_t)wanted)
        return false;
    c->p++;
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool take_number(struct cursor *c, int min, int max, int *value_out)
{
    int value = 0;

    if (c->p == c->end || !is_digit(*c->p))
        return false;
    for (; c->p < c->end && is_digit(*c->p); c->p++) {
        value = value * 10 + (*c->p - '0');
        if (value > max)
            return false;
    }
    *value_out = value;
    return value >= min;
}

/* A name of three letters or more, or others in angle brackets. */
static bool take_name(struct cursor *c)
{
    bool quoted = take(c, '<');
    const uint8_t *from = c->p;

    while (c->p < c->end &&
           (is_letter(*c->p) ||
               (quoted && (is_digit(*c->p) || *c->p == '+' || *c->p == '-'))))
        c->p++;
    return c->p - from >= 3 && (!quoted || take(c, '>'));
}

/* [+-]hh[:mm[:ss]] in seconds; times of a rule may have a week's hours. */
static bool take_time(struct cursor *c, int max_hours, int64_t *seconds_out)
{
    bool minus = take(c, '-');
    int hours, minutes = 0, seconds = 0;
    int64_t value;

    if (!minus)
        (void)take(c, '+');
    if (!take_number(c, 0, max_hours, &hours))
        return false;
    if (take(c, ':')) {
        if (!take_number(c, 0, 59, &minutes))
            return false;
        if (take(c, ':') && !take_number(c, 0, 59, &seconds))
            return false;
    }
    value = hours * 3600 + minutes * 60 + seconds;
    *seconds_out = minus ? -value : value;
    return true;
}

static bool take_day(struct cursor *c, struct rule_day *out)
{
    bool good;

    *out = (struct rule_day){.kind = '0', .time_s = 7200};
    if (!take(c, ','))
        return false;
    if (take(c, 'M')) {
        out->kind = 'M';
        good = take_number(c, 1, 12, &out->month) && take(c, '.') &&
               take_number(c, 1, 5, &out->week) && take(c, '.') &&
               take_number(c, 0, 6, &out->day);
    } else if (take(c, 'J')) {
        out->kind = 'J';
        good = take_number(c, 1, 365, &out->day);
    } else {
        good = take_number(c, 0, 365, &out->day);
    }
    return good && (!take(c, '/') || take_time(c, 167, &out->time_s));
}

/* Offsets of the string count westward. */
static bool parse_rule(struct mr_span text, struct rule *rule)
{
    struct cursor c = {text.p, text.p + text.n};

    *rule = (struct rule){0};
    if (!take_name(&c) || !take_time(&c, 24, &rule->standard_s))
        return false;
    rule->standard_s = -rule->standard_s;
    if (c.p == c.end)
        return true;
    rule->changes = true;
    if (!take_name(&c) || c.p == c.end)
        return false;
    rule->summer_s = -3600 - rule->standard_s;
    if (*c.p != ',' && !take_time(&c, 24, &rule->summer_s))
        return false;
    rule->summer_s = -rule->summer_s;
    return take_day(&c, &rule->start) && take_day(&c, &rule->end) &&
           c.p == c.end;
}

static int32_t first_of(int year, int month)
{
    int32_t day = 0;

    (void)mr_day_from_civil(
        month == 13 ? year + 1 : year, month == 13 ? 1 : month, 1, &day);
    return day;
}

/* The moment of a rule's day in a year, under the offset before it. */
static int64_t rule_moment(
    const struct rule_day *when, int year, int64_t offset_s)
{
    int32_t day = first_of(year, when->kind == 'M' ? when->month : 1);

    if (when->kind == 'M') {
        /* 1970-01-01, day 0, was a Thursday. */
        int32_t past = first_of(year, when->month + 1);

        day += (when->day - (day + 4) % 7 + 7) % 7 + (when->week - 1) * 7;
        if (day >= past)
            day -= 7;
    } else if (when->kind == 'J') {
        bool leap = first_of(year, 3) - first_of(year, 2) == 29;

        day += when->day - 1 + (leap && when->day >= 60);
    } else {
        day += when->day;
    }
    return day * S_PER_DAY + when->time_s - offset_s;
}

/* The changes that the rule asks for, in order of time, in seconds.  Where
 * summer time ends as the next year's begins, it holds on. */
static size_t rule_changes(const struct rule *rule,
    struct change out[2 * (LAST_YEAR - FIRST_YEAR + 1)])
{
    size_t n = 0, i;
    int year;

    for (year = FIRST_YEAR; rule->changes && year <= LAST_YEAR; year++) {
        const struct change both[2] = {
            {rule_moment(&rule->start, year, rule->standard_s), rule->summer_s},
            {rule_moment(&rule->end, year, rule->summer_s), rule->standard_s}};

        for (i = 0; i < 2; i++) {
            size_t at = n++;

            for (; at > 0 && out[at - 1].at_ms > both[i].at_ms; at--)
                out[at] = out[at - 1];
            out[at] = both[i];
        }
    }
    return n;
}

/* Add what the rule asks for after the last change that the file lists
 * (INT64_MIN: it lists none).  NULL, or what is wrong. */
static const char *add_rule(
    struct list *list, const struct rule *rule, int64_t last_s)
{
    struct change change[2 * (LAST_YEAR - FIRST_YEAR + 1)];
    size_t n = rule_changes(rule, change), i = 0;
    int64_t offset_s = rule->standard_s;

    for (; i < n && change[i].at_ms <= last_s; i++)
        offset_s = change[i].offset_ms;
    if (last_s > START_S && last_s < END_S &&
        list->change[list->n - 1].offset_ms != offset_s * 1000)
        return "the rule for later years does not fit the last change";
    if (last_s <= START_S)
        (void)list_add(list, START_S, offset_s);
    for (; i < n; i++)
        if (!list_add(list, change[i].at_ms, change[i].offset_ms))
            return "more changes of the clock than a zone has";
    return NULL;
}

/* --- the file ------------------------------------------------------------ */

/* RFC 8536 section 3.1. */
#define HEADER_BYTES 44
#define TYPE_BYTES 6

struct header {
    uint8_t version;
    uint32_t n_ut, n_std, n_leap, n_times, n_types, n_chars;
};

/* A data block's parts. */
struct block {
    const uint8_t *times, *kinds, *types, *names, *end;
};

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* A signed number of 4 or 8 bytes. */
static int64_t get_time(const uint8_t *p, size_t width)
{
    if (width == 4)
        return (int32_t)get_u32(p);
    return (int64_t)((uint64_t)get_u32(p) << 32 | get_u32(p + 4));
}

/* NULL, or what is wrong.  No count is above the file's size. */
static const char *read_header(struct mr_span file, struct header *out)
{
    static const char magic[] = "TZif";

    if (file.n < HEADER_BYTES)
        return "too short for a TZif header";
    if (memcmp(file.p, magic, 4) != 0)
        return "not a TZif file";
    out->version = file.p[4];
    if (out->version != 0 && (out->version < '2' || out->version > '4'))
        return "an unknown version of TZif";
    out->n_ut = get_u32(file.p + 20);
    out->n_std = get_u32(file.p + 24);
    out->n_leap = get_u32(file.p + 28);
    out->n_times = get_u32(file.p + 32);
    out->n_types = get_u32(file.p + 36);
    out->n_chars = get_u32(file.p + 40);
    if (out->n_ut > file.n || out->n_std > file.n || out->n_leap > file.n ||
        out->n_times > file.n || out->n_types > file.n || out->n_chars > file.n)
        return "a count in the header is larger than the file";
    return NULL;
}

/* Find the parts of the block behind a header.  NULL, or what is wrong. */
static const char *find_block(struct mr_span file, const struct header *h,
    size_t width, struct block *out)
{
    const uint8_t *p = file.p + HEADER_BYTES;
    size_t n = h->n_times * (width + 1) + (size_t)h->n_types * TYPE_BYTES +
               h->n_chars + h->n_leap * (width + 4) + h->n_std + h->n_ut;

    if (n > file.n - HEADER_BYTES)
        return "shorter than its header says";
    out->times = p;
    out->kinds = out->times + h->n_times * width;
    out->types = out->kinds + h->n_times;
    out->names = out->types + (size_t)h->n_types * TYPE_BYTES;
    out->end = p + n;
    return NULL;
}

/* What RFC 8536 section 3.2 demands of a block's values.  NULL, or what is
 * wrong. */
static const char *check_block(
    const struct header *h, const struct block *b, size_t width)
{
    size_t i;

    if (h->n_leap != 0)
        return "it counts leap seconds, which events' times do not";
    if (h->n_types == 0 || h->n_types > 256 || h->n_chars == 0 ||
        (h->n_ut != 0 && h->n_ut != h->n_types) ||
        (h->n_std != 0 && h->n_std != h->n_types))
        return "the counts in the header do not fit one another";
    for (i = 0; i < h->n_types; i++) {
        const uint8_t *type = b->types + i * TYPE_BYTES;
        int64_t offset_s = get_time(type, 4);

        if (offset_s < OFFSET_MIN_S || offset_s > OFFSET_MAX_S)
            return "an offset is beyond 26 hours";
        if (type[4] > 1 || type[5] >= h->n_chars ||
            memchr(b->names + type[5], 0, h->n_chars - type[5]) == NULL)
            return "a type of local time is malformed";
    }
    for (i = 0; i < h->n_times; i++) {
        if (b->kinds[i] >= h->n_types)
            return "a change has a type that there is none of";
        if (i > 0 && get_time(b->times + i * width, width) <=
                         get_time(b->times + (i - 1) * width, width))
            return "changes are not in order";
    }
    return NULL;
}

static int64_t type_offset(const struct block *b, size_t type)
{
    return get_time(b->types + type * TYPE_BYTES, 4);
}

/* Lines around the rule: a line feed, the TZ string, a line feed. */
static const char *read_footer(
    struct mr_span footer, bool *given_out, struct rule *rule_out)
{
    struct mr_span text = {footer.p + 1, footer.n - 2};

    if (footer.n < 2 || footer.p[0] != '\n' || footer.p[footer.n - 1] != '\n')
        return "no line with the rule for later years at its end";
    *given_out = text.n > 0;
    if (text.n > 0 && !parse_rule(text, rule_out))
        return "the rule for later years is malformed";
    return NULL;
}

/* Read all that counts of the file into the list.  NULL, or what is wrong,
 * with the offset of the block that it is in. */
static const char *read_file(
    struct mr_span file, struct list *list, size_t *offset_out)
{
    struct header h = {0};
    struct block b = {0};
    struct rule rule = {0};
    const uint8_t *start = file.p;
    size_t width = 4, i;
    bool ruled = false;
    const char *why = read_header(file, &h);

    *offset_out = 0;
    if (why != NULL || (why = find_block(file, &h, 4, &b)) != NULL)
        return why;
    if (h.version != 0) {
        /* The same again with 64 bits; the first block is for old readers. */
        uint8_t version = h.version;

        file = (struct mr_span){b.end, (size_t)(start + file.n - b.end)};
        *offset_out = (size_t)(b.end - start);
        width = 8;
        why = read_header(file, &h);
        if (why == NULL && h.version != version)
            why = "its two headers are of different versions";
        if (why != NULL || (why = find_block(file, &h, width, &b)) != NULL)
            return why;
    }
    why = check_block(&h, &b, width);
    if (why != NULL)
        return why;
    file = (struct mr_span){b.end, (size_t)(file.p + file.n - b.end)};
    if (width == 4 && file.n != 0)
        return "more bytes than its header says";
    if (width == 8) {
        why = read_footer(file, &ruled, &rule);
        if (why != NULL) {
            *offset_out = (size_t)(file.p - start);
            return why;
        }
    }
    list->n = 1;
    list->change[0] = (struct change){INT64_MIN, type_offset(&b, 0) * 1000};
    for (i = 0; i < h.n_times; i++)
        if (!list_add(list, get_time(b.times + i * width, width),
                type_offset(&b, b.kinds[i])))
            return "more changes of the clock than a zone has";
    if (!ruled)
        return NULL;
    return add_rule(list, &rule,
        i == 0 ? INT64_MIN : get_time(b.times + (i - 1) * width, width));
}

enum mr_status mr_zone_decode(
    struct mr_span file, struct mr_zone **zone_out, struct mr_error *err)
{
    struct list *list = malloc(sizeof(*list));
    enum mr_status status;
    const char *why;
    size_t offset;

    if (list == NULL)
        return mr_fail_nomem(err);
    why = file.n > MR_ZONE_FILE_MAX ? "larger than any zone" : NULL;
    offset = 0;
    if (why == NULL)
        why = read_file(file, list, &offset);
    if (why == NULL)
        status = zone_new(list, zone_out, err);
    else
        status = mr_fail(err, MR_FORMAT, offset, ADVICE, "%s", why);
    free(list);
    return status;
}

/* --- by name -------------------------------------------------------------- */

/* Names are as "America/Argentina/Buenos_Aires": no part of one is empty or
 * begins with a dot, so that none leads out of the folder. */
static bool is_name(const char *name)
{
    size_t i, n = strlen(name);
    char before = '/';

    if (n > MR_ZONE_NAME_MAX || strcmp(name, "localtime") == 0 ||
        strcmp(name, "posixrules") == 0)
        return false;
    for (i = 0; i < n; i++) {
        uint8_t c = (uint8_t)name[i];

        if (!is_letter(c) && !is_digit(c) && strchr("_+-./", c) == NULL)
            return false;
        if (before == '/' && (c == '/' || c == '.'))
            return false;
        before = name[i];
    }
    return before != '/';
}

static enum mr_status no_zone(
    const char *name, const char *cause, struct mr_error *err)
{
    return mr_fail(err, MR_USAGE, MR_NOWHERE,
        "give a name of the IANA time zone data base, as Europe/Madrid, or UTC",
        "no zone '%.80s': %s", name, cause);
}

/* Up to MR_ZONE_FILE_MAX + 1 bytes. */
static enum mr_status read_open(
    int fd, struct mr_buffer *out, struct mr_error *err)
{
    ssize_t n = 1;

    if (mr_buffer_reserve(out, MR_ZONE_FILE_MAX + 1) != MR_OK)
        return mr_fail_nomem(err);
    while (out->n <= MR_ZONE_FILE_MAX && n > 0) {
        n = read(fd, out->p + out->n, MR_ZONE_FILE_MAX + 1 - out->n);
        if (n < 0 && errno != EINTR)
            return mr_fail_errno(err, errno, NULL, NULL);
        out->n += n > 0 ? (size_t)n : 0;
        n = n < 0 ? 1 : n;
    }
    return MR_OK;
}

static enum mr_status load_file(const char *name, const char *path,
    struct mr_zone **zone_out, struct mr_error *err)
{
    struct mr_buffer bytes = {0};
    struct stat st;
    enum mr_status status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return no_zone(name, "there is no such file in " MR_ZONE_FOLDER, err);
    if (fd < 0)
        return mr_fail_errno(err, errno, NULL, NULL);
    if (fstat(fd, &st) != 0)
        status = mr_fail_errno(err, errno, NULL, NULL);
    else if (!S_ISREG(st.st_mode))
        status = no_zone(name, "that is no file in " MR_ZONE_FOLDER, err);
    else
        status = read_open(fd, &bytes, err);
    close(fd);
    if (status == MR_OK)
        status =
            mr_zone_decode((struct mr_span){bytes.p, bytes.n}, zone_out, err);
    mr_buffer_release(&bytes);
    return status;
}

static enum mr_status utc_new(struct mr_zone **zone_out, struct mr_error *err)
{
    struct list *list = malloc(sizeof(*list));
    enum mr_status status;

    if (list == NULL)
        return mr_fail_nomem(err);
    list->n = 1;
    list->change[0] = (struct change){INT64_MIN, 0};
    status = zone_new(list, zone_out, err);
    free(list);
    return status;
}

enum mr_status mr_zone_load(
    const char *name, struct mr_zone **zone_out, struct mr_error *err)
{
    char path[sizeof(MR_ZONE_FOLDER) + 1 + MR_ZONE_NAME_MAX];
    enum mr_status status;

    if (strcmp(name, "UTC") == 0)
        return utc_new(zone_out, err);
    if (!is_name(name))
        return no_zone(name, "that is no name of a zone", err);
    snprintf(path, sizeof(path), "%s/%s", MR_ZONE_FOLDER, name);
    status = load_file(name, path, zone_out, err);
    if (status != MR_OK && status != MR_USAGE)
        mr_error_subject(err, "cannot read time zone", path);
    return status;
}

void mr_zone_free(struct mr_zone *zone)
{
    free(zone);
}

struct mr_digest mr_zone_digest(const struct mr_zone *zone)
{
    return zone->digest;
}

/* --- looking up ----------------------------------------------------------- */

/* The change that a time comes after. */
static const struct change *find(const struct mr_zone *zone, int64_t time_ms)
{
    const struct change *c = zone->change;

    if (time_ms > START_S * 1000) {
        uint64_t cell = (uint64_t)(time_ms - START_S * 1000) >> GRID_SHIFT;

        c += zone->grid[cell < GRID_CELLS ? cell : GRID_CELLS - 1];
        while (c[1].at_ms <= time_ms)
            c++;
    }
    return c;
}

int64_t mr_zone_offset_ms(const struct mr_zone *zone, int64_t time_ms)
{
    return find(zone, time_ms)->offset_ms;
}

/* The change that skips a local time which is never shown. */
static const struct change *find_gap(
    const struct mr_zone *zone, int64_t local_ms)
{
    const struct change *c = find(zone, local_ms - OFFSET_MAX_S * 1000);

    for (c++; c < zone->change + zone->n; c++)
        if (local_ms >= c->at_ms + c[-1].offset_ms &&
            local_ms < c->at_ms + c->offset_ms)
            return c;
    return NULL;
}

int64_t mr_zone_to_utc(const struct mr_zone *zone, int64_t local_ms)
{
    /* The first that fits.  This one begins before any offset could lead. */
    const struct change *c = find(zone, local_ms - OFFSET_MAX_S * 1000);
    int64_t time_ms = local_ms - c->offset_ms;

    while (time_ms < c->at_ms || time_ms >= c[1].at_ms) {
        if (c[1].at_ms > local_ms - OFFSET_MIN_S * 1000)
            return local_ms - find_gap(zone, local_ms)[-1].offset_ms;
        c++;
        time_ms = local_ms - c->offset_ms;
    }
    return time_ms;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The number of the local unit that a time is in, and the stretch around it
 * for which that does not change. */
static int64_t find_stretch(const struct mr_zone *zone, int64_t time_ms,
    int64_t unit_ms, struct mr_zone_span *span)
{
    const struct change *first = find(zone, time_ms), *last = first;
    int64_t number = floor_div(time_ms + first->offset_ms, unit_ms);
    int64_t from = number * unit_ms, to = from + unit_ms;

    while (from - first->offset_ms <= first->at_ms && first > zone->change &&
           first->at_ms - 1 + first[-1].offset_ms >= from &&
           first->at_ms - 1 + first[-1].offset_ms < to)
        first--;
    while (to - last->offset_ms >= last[1].at_ms &&
           last[1].at_ms + last[1].offset_ms >= from &&
           last[1].at_ms + last[1].offset_ms < to)
        last++;
    span->start_ms = from - first->offset_ms;
    if (span->start_ms < first->at_ms)
        span->start_ms = first->at_ms;
    span->end_ms = to - last->offset_ms;
    if (span->end_ms > last[1].at_ms)
        span->end_ms = last[1].at_ms;
    return number;
}

void mr_zone_day_span(
    const struct mr_zone *zone, int64_t time_ms, struct mr_zone_span *span_out)
{
    span_out->day =
        (int32_t)find_stretch(zone, time_ms, MR_MS_PER_DAY, span_out);
    span_out->hour = 0;
}

void mr_zone_hour_span(
    const struct mr_zone *zone, int64_t time_ms, struct mr_zone_span *span_out)
{
    int64_t hours = find_stretch(zone, time_ms, MS_PER_HOUR, span_out);

    span_out->day = (int32_t)floor_div(hours, 24);
    span_out->hour = (int32_t)(hours - (int64_t)span_out->day * 24);
}

void mr_zone_range(
    const struct mr_zone *zone, int64_t *first_ms_out, int64_t *end_ms_out)
{
    const struct change *c;
    int64_t first = 0, end = MR_TIME_END_MS;

    for (c = zone->change; c < zone->change + zone->n; c++) {
        int64_t a = -c->offset_ms, b = MR_TIME_END_MS - c->offset_ms;

        /* Up to a it is before day 0, from b on after the last. */
        a = a > c[1].at_ms ? c[1].at_ms : a;
        b = b < c->at_ms ? c->at_ms : b;
        if (a > c->at_ms && a > first)
            first = a;
        if (b < c[1].at_ms && b < end)
            end = b;
    }
    *first_ms_out = first;
    *end_ms_out = end;
}
