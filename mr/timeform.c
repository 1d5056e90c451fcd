#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/timeform.h"

#include <stdio.h>
#include <strings.h>

#define MS_PER_MINUTE INT64_C(60000)
#define MS_PER_HOUR INT64_C(3600000)
#define N_MONTHS 12
#define N_WEEKDAYS 7

static const char *const months[N_MONTHS] = {"January", "February", "March",
    "April", "May", "June", "July", "August", "September", "October",
    "November", "December"};
static const char *const weekdays[N_WEEKDAYS] = {"Sunday", "Monday", "Tuesday",
    "Wednesday", "Thursday", "Friday", "Saturday"};

/* What has been read of a time. */
struct parts {
    int year, month, day, year_day; /* year_day 0: month and day are given */
    int hour, minute, second, ms;
    int weekday; /* -1: not given */
    bool half_day, afternoon, has_offset, has_epoch;
    int64_t offset_ms, epoch_s;
};

struct cursor {
    const char *p, *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool take(struct cursor *c, char wanted)
{
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

/* A number of min to max digits, as many as there are. */
static bool take_digits(struct cursor *c, int min, int max, int *value_out)
{
    int value = 0, n = 0;

    for (; n < max && c->p < c->end && is_digit(*c->p); n++)
        value = value * 10 + (*c->p++ - '0');
    *value_out = value;
    return n >= min;
}

/* Digits behind a point, to ms. */
static bool take_fraction(struct cursor *c, int *ms_out)
{
    const char *from = c->p;
    int unit = 100, ms = 0;

    for (; c->p < c->end && is_digit(*c->p); c->p++) {
        ms += unit * (*c->p - '0');
        unit /= 10;
    }
    *ms_out = ms;
    return c->p > from;
}

/* Z, or an offset from UTC. */
static bool take_offset(struct cursor *c, struct parts *t)
{
    int hours, minutes = 0, seconds = 0;
    bool minus, colon;

    t->has_offset = true;
    if (take(c, 'Z') || take(c, 'z'))
        return true;
    minus = take(c, '-');
    if ((!minus && !take(c, '+')) || !take_digits(c, 2, 2, &hours))
        return false;
    colon = take(c, ':');
    if (colon || (c->p < c->end && is_digit(*c->p))) {
        if (!take_digits(c, 2, 2, &minutes))
            return false;
        if (colon ? take(c, ':') : c->p < c->end && is_digit(*c->p))
            if (!take_digits(c, 2, 2, &seconds))
                return false;
    }
    t->offset_ms =
        hours * MS_PER_HOUR + minutes * MS_PER_MINUTE + seconds * 1000;
    if (minus)
        t->offset_ms = -t->offset_ms;
    return hours < 24 && minutes < 60 && seconds < 60;
}

/* From parts to a time; false when there is none such. */
static bool put_together(
    const struct mr_timeform *form, const struct parts *t, int64_t *time_ms_out)
{
    int64_t time_ms;
    int32_t day, next;

    if (t->has_epoch) {
        time_ms = t->epoch_s * 1000 + t->ms;
    } else {
        if (t->hour > 23 || t->minute > 59 || t->second > 60)
            return false;
        if (!mr_day_from_civil(t->year, t->year_day ? 1 : t->month,
                t->year_day ? 1 : t->day, &day))
            return false;
        if (t->year_day) {
            day += t->year_day - 1;
            if (!mr_day_from_civil(t->year, 12, 31, &next) || day > next)
                return false;
        }
        /* 1970-01-01, day 0, was a Thursday. */
        if (t->weekday >= 0 &&
            ((day + 4) % N_WEEKDAYS + N_WEEKDAYS) % N_WEEKDAYS != t->weekday)
            return false;
        time_ms = day * MR_MS_PER_DAY + t->hour * MS_PER_HOUR +
                  t->minute * MS_PER_MINUTE + t->second * 1000 + t->ms;
        time_ms = t->has_offset ? time_ms - t->offset_ms
                                : mr_zone_to_utc(form->zone, time_ms);
    }
    if (time_ms < 0 || time_ms >= MR_TIME_END_MS)
        return false;
    *time_ms_out = time_ms;
    return true;
}

/* --- ISO 8601 ------------------------------------------------------------- */

/* Eight bytes less those of a template with 0 for digits: each a number up to
 * 9 where the template has a digit, else 0.  False when one is not.  No sum
 * of two bytes goes beyond a byte unless the byte itself is one to refuse. */
static bool fits(uint64_t x, uint64_t room)
{
    return ((x | (x + room)) & UINT64_C(0x8080808080808080)) == 0;
}

/* The byte of x at i, as a number of two digits with the one behind it. */
static int two_digits(uint64_t x, int i)
{
    x >>= 8 * i;
    return (int)(x & 0xff) * 10 + (int)(x >> 8 & 0xff);
}

/* What nearly all have: YYYY-MM-DDThh:mm:ss, of which 19 bytes are there. */
static bool iso_usual(const char *text, struct parts *t)
{
    /* 0x7f less the most that a byte may be. */
    const uint64_t date_room = UINT64_C(0x7f76767f76767676);
    const uint64_t time_room = UINT64_C(0x76767f76767f7676);
    const uint8_t *p = (const uint8_t *)text;
    uint64_t date = mr_get_u64(p) ^ mr_get_u64((const uint8_t *)"0000-00-");
    uint64_t time =
        mr_get_u64(p + 11) ^ mr_get_u64((const uint8_t *)"00:00:00");

    if (!fits(date, date_room) || !fits(time, time_room) ||
        !is_digit(text[8]) || !is_digit(text[9]) ||
        (text[10] != 'T' && text[10] != ' ' && text[10] != 't'))
        return false;
    t->year = two_digits(date, 0) * 100 + two_digits(date, 2);
    t->month = two_digits(date, 5);
    t->day = (text[8] - '0') * 10 + (text[9] - '0');
    t->hour = two_digits(time, 0);
    t->minute = two_digits(time, 3);
    t->second = two_digits(time, 6);
    return true;
}

/* All others, up to the seconds: *seconds_out says whether there are any, and
 * the cursor stands at the end after a date alone. */
static bool iso_general(struct cursor *c, struct parts *t, bool *seconds_out)
{
    bool extended;

    *seconds_out = false;
    if (!take_digits(c, 4, 4, &t->year))
        return false;
    extended = take(c, '-');
    if (!take_digits(c, 2, 2, &t->month) || (extended && !take(c, '-')) ||
        !take_digits(c, 2, 2, &t->day))
        return false;
    if (c->p == c->end)
        return true;
    if ((!take(c, 'T') && !take(c, ' ') && !take(c, 't')) ||
        !take_digits(c, 2, 2, &t->hour) || (extended && !take(c, ':')) ||
        !take_digits(c, 2, 2, &t->minute))
        return false;
    *seconds_out = extended ? take(c, ':') : c->p < c->end && is_digit(*c->p);
    return !*seconds_out || take_digits(c, 2, 2, &t->second);
}

static bool parse_iso(const struct mr_timeform *form, const char *text,
    size_t n, int64_t *time_ms_out)
{
    struct parts t = {.weekday = -1};
    struct cursor c = {text, text + n};
    bool seconds = n >= 19 && iso_usual(text, &t);

    if (seconds)
        c.p += 19;
    else if (!iso_general(&c, &t, &seconds))
        return false;
    if (seconds && (take(&c, '.') || take(&c, ',')) &&
        !take_fraction(&c, &t.ms))
        return false;
    if (c.p < c.end && !take_offset(&c, &t))
        return false;
    return c.p == c.end && put_together(form, &t, time_ms_out);
}

/* --- patterns, compiled ----------------------------------------------------
 */

/* Directives that stand for others. */
static const char *expansion(char what)
{
    switch (what) {
    case 'F':
        return "%Y-%m-%d";
    case 'T':
        return "%H:%M:%S";
    case 'D':
        return "%m/%d/%y";
    case 'R':
        return "%H:%M";
    default:
        return NULL;
    }
}

static enum mr_status refuse(
    struct mr_error *err, const char *advice, const char *cause, char a, char b)
{
    char text[120];

    snprintf(text, sizeof(text), cause, a, b);
    return mr_fail(err, MR_USAGE, MR_NOWHERE, advice, "%s", text);
}

/* Whether a letter is that of one of the codes. */
static bool is_code(const char *codes, char letter)
{
    for (; codes[1] != letter; codes += 3)
        if (codes[2] == '\0')
            return false;
    return true;
}

/* Whether a pattern ends within a directive or has an unknown one. */
static enum mr_status check_directives(
    const char *pattern, const char *codes, struct mr_error *err)
{
    char advice[sizeof(err->advice)];
    size_t i;

    if (strlen(pattern) > MR_NAME_MAX_BYTES)
        return mr_fail(err, MR_USAGE, MR_NOWHERE, NULL,
            "a pattern of times has at most %d bytes", MR_NAME_MAX_BYTES);
    for (i = 0; pattern[i] != '\0'; i++) {
        if (pattern[i] != '%')
            continue;
        i++;
        if (pattern[i] == '\0')
            return mr_fail(err, MR_USAGE, MR_NOWHERE,
                "write %% for a percent sign",
                "the pattern of times ends with a single %%");
        if (is_code(codes, pattern[i]))
            continue;
        snprintf(advice, sizeof(advice), "known are %s", codes);
        return mr_fail(err, MR_USAGE, MR_NOWHERE, advice,
            "the pattern of times has %%%c, which is not known here",
            pattern[i] > ' ' && pattern[i] < 0x7f ? pattern[i] : '?');
    }
    return MR_OK;
}

/* What a directive is about: two of one kind are one too many. */
static char subject(char what)
{
    switch (what) {
    case 'y':
        return 'Y';
    case 'b':
    case 'B':
        return 'm';
    case 'e':
        return 'd';
    case 'I':
        return 'H';
    case 'A':
        return 'a';
    case 'Z':
        return 'z';
    default:
        return what;
    }
}

static bool is_number(const struct mr_timeform_step *step)
{
    if (step->what == '\'')
        return is_digit((char)step->value);
    return strchr("YymdejHIMSfs", step->what) != NULL;
}

static void add_step(struct mr_timeform *form, char what, uint8_t value)
{
    form->step[form->n_steps++] = (struct mr_timeform_step){what, value};
}

/* A checked pattern in steps. */
static void add_steps(struct mr_timeform *form, const char *pattern)
{
    for (; *pattern != '\0'; pattern++) {
        const char *longer;

        if (is_space(*pattern)) {
            add_step(form, ' ', 0);
        } else if (*pattern != '%') {
            add_step(form, '\'', (uint8_t)*pattern);
        } else if (*++pattern == '%') {
            add_step(form, '\'', '%');
        } else if (*pattern == 'n' || *pattern == 't') {
            add_step(form, ' ', 0);
        } else if ((longer = expansion(*pattern)) != NULL) {
            add_steps(form, longer);
        } else {
            add_step(form, *pattern, 1);
        }
        /* Blanks in a row are one run of white space. */
        if (form->n_steps > 1 && form->step[form->n_steps - 1].what == ' ' &&
            form->step[form->n_steps - 2].what == ' ')
            form->n_steps--;
    }
}

/* Numbers beside numbers have all their digits, or cannot be told apart. */
static enum mr_status set_widths(struct mr_timeform *form, struct mr_error *err)
{
    unsigned i;

    for (i = 0; i < form->n_steps; i++) {
        struct mr_timeform_step *step = &form->step[i];
        bool after = i > 0 && is_number(step - 1);
        bool before = i + 1 < form->n_steps && is_number(step + 1);

        if (step->what == '\'' || step->what == ' ')
            continue;
        if (before && strchr("sfz", step->what) != NULL)
            return refuse(err, "put something between them",
                "nothing tells where %%%c ends, as digits follow it",
                step->what, 0);
        if (after || before)
            step->value = step->what == 'j' ? 3 : 2;
    }
    return MR_OK;
}

/* Where a directive of a kind stands; '\0': it does not. */
static char find_subject(const struct mr_timeform *form, char wanted)
{
    unsigned i;

    for (i = 0; i < form->n_steps; i++)
        if (form->step[i].what != '\'' && form->step[i].what != ' ' &&
            subject(form->step[i].what) == wanted)
            return form->step[i].what;
    return '\0';
}

static enum mr_status check_twice(
    const struct mr_timeform *form, struct mr_error *err)
{
    unsigned i, j;

    for (i = 0; i < form->n_steps; i++) {
        char what = form->step[i].what;

        for (j = 0; j < i && what != '\'' && what != ' '; j++)
            if (form->step[j].what != '\'' && form->step[j].what != ' ' &&
                subject(form->step[j].what) == subject(what))
                return refuse(err, "leave one of them out",
                    "%%%c and %%%c in one pattern say the same thing twice",
                    form->step[j].what, what);
    }
    return MR_OK;
}

/* %s is all of a time but its fraction. */
static enum mr_status check_epoch(
    const struct mr_timeform *form, struct mr_error *err)
{
    unsigned i;

    for (i = 0; i < form->n_steps; i++)
        if (strchr("'sf ", form->step[i].what) == NULL)
            return refuse(err, "leave one of them out",
                "%%%c cannot stand in one pattern with %%%c, which is the "
                "whole time",
                form->step[i].what, 's');
    return MR_OK;
}

static enum mr_status check_date(
    const struct mr_timeform *form, struct mr_error *err)
{
    const char *lack = "a pattern of times needs a full date, and %%%c is "
                       "missing";
    char year_day = find_subject(form, 'j');
    char month = find_subject(form, 'm'), day = find_subject(form, 'd');

    if (!find_subject(form, 'Y'))
        return refuse(err, "add %Y, or %y", lack, 'Y', 0);
    if (year_day && (month || day))
        return refuse(err, "leave one of them out",
            "%%%c and %%%c in one pattern say the same thing twice", year_day,
            month ? month : day);
    if (!year_day && !month)
        return refuse(err, "add %m, %b or %B", lack, 'm', 0);
    if (!year_day && !day)
        return refuse(err, "add %d or %e", lack, 'd', 0);
    return MR_OK;
}

/* No part of a time without the one that is above it. */
static enum mr_status check_clock(
    const struct mr_timeform *form, struct mr_error *err)
{
    static const char needs[][2] = {
        {'M', 'H'}, {'S', 'M'}, {'f', 'S'}, {'p', 'H'}};
    const char *lack = "%%%c says nothing without %%%c";
    char hour = find_subject(form, 'H');
    size_t i;

    for (i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
        if (find_subject(form, needs[i][0]) && !find_subject(form, needs[i][1]))
            return refuse(err, "add it", lack, needs[i][0], needs[i][1]);
    if (hour == 'I' && !find_subject(form, 'p'))
        return refuse(err, "add %p, or use %H", lack, 'I', 'p');
    if (hour == 'H' && find_subject(form, 'p'))
        return refuse(
            err, "use %I for hours up to 12, or leave %p out", lack, 'p', 'I');
    return MR_OK;
}

enum mr_status mr_timeform_init(struct mr_timeform *form,
    enum mr_time_kind kind, const char *pattern, const struct mr_zone *zone,
    struct mr_error *err)
{
    struct mr_timeform made = {.kind = kind, .zone = zone};
    enum mr_status status = MR_OK;

    if (kind == MR_TIME_PATTERN) {
        status = check_directives(pattern, MR_TIMEFORM_READ, err);
        if (status != MR_OK)
            return status;
        add_steps(&made, pattern);
        status = check_twice(&made, err);
        if (status == MR_OK && find_subject(&made, 's'))
            status = check_epoch(&made, err);
        else if (status == MR_OK && (status = check_date(&made, err)) == MR_OK)
            status = check_clock(&made, err);
        if (status == MR_OK)
            status = set_widths(&made, err);
    }
    if (status == MR_OK)
        *form = made;
    return status;
}

/* --- patterns, run ---------------------------------------------------------
 */

/* One of some names, whole or cut to three letters; its number. */
static bool take_name(struct cursor *c, const char *const *names, int n,
    bool whole, int *number_out)
{
    int i;

    for (i = 0; i < n; i++) {
        size_t length = whole ? strlen(names[i]) : 3;

        if ((size_t)(c->end - c->p) >= length &&
            strncasecmp(c->p, names[i], length) == 0) {
            c->p += length;
            *number_out = i;
            return true;
        }
    }
    return false;
}

static bool take_epoch(struct cursor *c, struct parts *t)
{
    const char *from = c->p;

    t->has_epoch = true;
    for (; c->p < c->end && is_digit(*c->p); c->p++)
        if (t->epoch_s < MR_TIME_END_MS / 1000)
            t->epoch_s = t->epoch_s * 10 + (*c->p - '0');
    return c->p > from;
}

/* Steps that are no numbers. */
static bool run_text(
    struct cursor *c, const struct mr_timeform_step *step, struct parts *t)
{
    static const char *const halves[] = {"AM", "PM"};
    static const char *const utc[] = {"UTC", "GMT", "Z"};
    const char *from = c->p;
    int which = 0;

    switch (step->what) {
    case '\'':
        return take(c, (char)step->value);
    case ' ':
        while (c->p < c->end && is_space(*c->p))
            c->p++;
        return c->p > from;
    case 'b':
    case 'B':
        if (!take_name(c, months, N_MONTHS, step->what == 'B', &t->month))
            return false;
        t->month++;
        return true;
    case 'a':
    case 'A':
        return take_name(
            c, weekdays, N_WEEKDAYS, step->what == 'A', &t->weekday);
    case 'p':
        if (!take_name(c, halves, 2, true, &which))
            return false;
        t->afternoon = which == 1;
        return true;
    case 'z':
        return take_offset(c, t);
    default: /* 'Z' */
        t->has_offset = true;
        return take_name(c, utc, 3, true, &which);
    }
}

/* A day whose first digit may be a blank, which counts as one. */
static bool take_blank_day(struct cursor *c, int min, int *day_out)
{
    if (take(c, ' '))
        return take_digits(c, 1, min == 2 ? 1 : 2, day_out);
    return take_digits(c, min, 2, day_out);
}

static bool run_step(
    struct cursor *c, const struct mr_timeform_step *step, struct parts *t)
{
    int min = step->value;

    switch (step->what) {
    case 'Y':
        return take_digits(c, 4, 4, &t->year);
    case 'y':
        if (!take_digits(c, 2, 2, &t->year))
            return false;
        t->year += t->year < 69 ? 2000 : 1900;
        return true;
    case 'm':
        return take_digits(c, min, 2, &t->month);
    case 'd':
        return take_digits(c, min, 2, &t->day);
    case 'e':
        return take_blank_day(c, min, &t->day);
    case 'j':
        return take_digits(c, min, 3, &t->year_day) && t->year_day > 0;
    case 'H':
        return take_digits(c, min, 2, &t->hour);
    case 'I':
        t->half_day = true;
        return take_digits(c, min, 2, &t->hour) && t->hour > 0 && t->hour < 13;
    case 'M':
        return take_digits(c, min, 2, &t->minute);
    case 'S':
        return take_digits(c, min, 2, &t->second);
    case 'f':
        return take_fraction(c, &t->ms);
    case 's':
        return take_epoch(c, t);
    default:
        return run_text(c, step, t);
    }
}

static bool parse_pattern(const struct mr_timeform *form, const char *text,
    size_t n, int64_t *time_ms_out)
{
    struct parts t = {.weekday = -1};
    struct cursor c = {text, text + n};
    unsigned i;

    for (i = 0; i < form->n_steps; i++)
        if (!run_step(&c, &form->step[i], &t))
            return false;
    if (c.p != c.end)
        return false;
    if (t.half_day)
        t.hour = t.hour % 12 + (t.afternoon ? 12 : 0);
    return put_together(form, &t, time_ms_out);
}

bool mr_timeform_read(const struct mr_timeform *form, const char *text,
    size_t n, bool is_json_number, int64_t *time_ms_out)
{
    switch (form->kind) {
    case MR_TIME_EPOCH_S:
        return mr_time_parse(text, n, 3, time_ms_out);
    case MR_TIME_EPOCH_MS:
        return mr_time_parse_ms(text, n, time_ms_out);
    case MR_TIME_EPOCH_US:
        return mr_time_parse(text, n, -3, time_ms_out);
    case MR_TIME_EPOCH_NS:
        return mr_time_parse(text, n, -6, time_ms_out);
    case MR_TIME_ISO8601:
        return !is_json_number && parse_iso(form, text, n, time_ms_out);
    case MR_TIME_PATTERN:
        return parse_pattern(form, text, n, time_ms_out);
    }
    return false;
}

/* --- writing ----------------------------------------------------------------
 */

/* A local time and room for text. */
struct writer {
    int year, month, day;
    int32_t number; /* of the day */
    int64_t of_day_ms, offset_ms, time_ms;
    char *p;
    size_t n, cap; /* n goes on counting where there is no room */
};

static void put(struct writer *w, char c)
{
    if (w->n < w->cap)
        w->p[w->n] = c;
    w->n++;
}

static void put_text(struct writer *w, const char *text, size_t n)
{
    for (; n > 0; n--)
        put(w, *text++);
}

/* A number of a set width, with zeros or blanks before it. */
static void put_number(struct writer *w, int64_t value, int width, char pad)
{
    char digits[20];
    int n = 0;

    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (; width > n; width--)
        put(w, pad);
    while (n > 0)
        put(w, digits[--n]);
}

/* +hh, mm, and ss where there are seconds. */
static void put_offset(struct writer *w, bool colons)
{
    int64_t s = (w->offset_ms < 0 ? -w->offset_ms : w->offset_ms) / 1000;

    put(w, w->offset_ms < 0 ? '-' : '+');
    put_number(w, s / 3600, 2, '0');
    if (colons)
        put(w, ':');
    put_number(w, s / 60 % 60, 2, '0');
    if (s % 60 == 0)
        return;
    if (colons)
        put(w, ':');
    put_number(w, s % 60, 2, '0');
}

/* Parts of the clock. */
static void put_clock(struct writer *w, char what)
{
    int64_t hour = w->of_day_ms / MS_PER_HOUR;

    switch (what) {
    case 'H':
        put_number(w, hour, 2, '0');
        break;
    case 'I':
        put_number(w, (hour + 11) % 12 + 1, 2, '0');
        break;
    case 'p':
        put_text(w, hour < 12 ? "AM" : "PM", 2);
        break;
    case 'M':
        put_number(w, w->of_day_ms / MS_PER_MINUTE % 60, 2, '0');
        break;
    case 'S':
        put_number(w, w->of_day_ms / 1000 % 60, 2, '0');
        break;
    case 'f':
        put_number(w, w->of_day_ms % 1000, 3, '0');
        break;
    case 's':
        put_number(w, w->time_ms / 1000, 1, '0');
        break;
    default: /* 'z' */
        put_offset(w, false);
    }
}

static void put_name(struct writer *w, const char *name, bool whole)
{
    put_text(w, name, whole ? strlen(name) : 3);
}

static void put_date(struct writer *w, char what)
{
    /* The day may be -1. */
    int weekday = (w->number + 4 + N_WEEKDAYS) % N_WEEKDAYS;
    int32_t first = 0;

    switch (what) {
    case 'Y':
        put_number(w, w->year, 4, '0');
        break;
    case 'y':
        put_number(w, w->year % 100, 2, '0');
        break;
    case 'm':
        put_number(w, w->month, 2, '0');
        break;
    case 'd':
        put_number(w, w->day, 2, '0');
        break;
    case 'e':
        put_number(w, w->day, 2, ' ');
        break;
    case 'j':
        (void)mr_day_from_civil(w->year, 1, 1, &first);
        put_number(w, w->number - first + 1, 3, '0');
        break;
    case 'b':
    case 'B':
        put_name(w, months[w->month - 1], what == 'B');
        break;
    case 'a':
    case 'A':
        put_name(w, weekdays[weekday], what == 'A');
        break;
    default:
        put_clock(w, what);
    }
}

/* False: no directive that can be written. */
static bool put_pattern(struct writer *w, const char *pattern)
{
    for (; *pattern != '\0'; pattern++) {
        const char *longer;

        if (*pattern != '%') {
            put(w, *pattern);
            continue;
        }
        pattern++;
        if (*pattern == '\0' || !is_code(MR_TIMEFORM_WRITTEN, *pattern))
            return false;
        longer = expansion(*pattern);
        if (longer != NULL)
            (void)put_pattern(w, longer);
        else if (*pattern == '%')
            put(w, '%');
        else if (*pattern == 'n' || *pattern == 't')
            put(w, *pattern == 'n' ? '\n' : '\t');
        else
            put_date(w, *pattern);
    }
    return true;
}

enum mr_status mr_timeform_check(const char *pattern, struct mr_error *err)
{
    return check_directives(pattern, MR_TIMEFORM_WRITTEN, err);
}

size_t mr_timeform_format(const char *pattern, const struct mr_zone *zone,
    int64_t time_ms, char *out, size_t cap)
{
    struct writer w = {.time_ms = time_ms, .p = out, .cap = cap};
    int64_t local_ms;
    bool sound;

    w.offset_ms = mr_zone_offset_ms(zone, time_ms);
    local_ms = time_ms + w.offset_ms;
    w.number = (int32_t)(local_ms / MR_MS_PER_DAY);
    w.of_day_ms = local_ms % MR_MS_PER_DAY;
    if (w.of_day_ms < 0) {
        w.of_day_ms += MR_MS_PER_DAY;
        w.number--;
    }
    mr_day_to_civil(w.number, &w.year, &w.month, &w.day);
    sound = put_pattern(&w, pattern[0] ? pattern : "%FT%T.%f");
    if (pattern[0] == '\0' && w.offset_ms == 0)
        put(&w, 'Z');
    else if (pattern[0] == '\0')
        put_offset(&w, true);
    put(&w, '\0');
    if (sound && w.n <= cap)
        return w.n - 1;
    if (cap > 0)
        out[0] = '\0';
    return 0;
}
