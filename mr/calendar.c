#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/calendar.h"

#include "mr/bytes.h"

/*
 * The civil calendar repeats after 400 years of 146,097 days.  Counting years
 * from 1 March puts the leap day at a year's end, where it disturbs nothing:
 * the first day of the m-th month from March is then (153 m + 2) / 5.
 * 719,468 days lie between 0000-03-01 and 1970-01-01.
 */
#define DAYS_TO_1970 719468
#define DAYS_OF_ERA 146097

static int32_t days_from_civil(int y, int m, int d)
{
    int year = (m <= 2 ? y - 1 : y) + 400; /* never negative */
    int era = year / 400 - 1, of_era = year % 400;
    int of_year = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;

    return era * DAYS_OF_ERA + of_era * 365 + of_era / 4 - of_era / 100 +
           of_year - DAYS_TO_1970;
}

static void put_digits(char *out, int value, int n)
{
    while (n-- > 0) {
        out[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

void mr_day_to_civil(int32_t day, int *y_out, int *m_out, int *d_out)
{
    /* An era more, and so no negative number, for the year 0, too. */
    int z = day + DAYS_TO_1970 + DAYS_OF_ERA;
    int era = z / DAYS_OF_ERA, of_era = z % DAYS_OF_ERA;
    int year =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year + year / 4 - year / 100);
    int month = (5 * of_year + 2) / 153; /* from March = 0 */

    *d_out = of_year - (153 * month + 2) / 5 + 1;
    *m_out = month < 10 ? month + 3 : month - 9;
    *y_out = year + 400 * (era - 1) + (month >= 10);
}

void mr_day_format(int32_t day, char out[MR_DAY_TEXT])
{
    int y, m, d;

    mr_day_to_civil(day, &y, &m, &d);
    put_digits(out + 8, d, 2);
    put_digits(out + 5, m, 2);
    put_digits(out, y, 4);
    out[4] = out[7] = '-';
    out[10] = '\0';
}

bool mr_day_from_civil(int y, int m, int d, int32_t *day_out)
{
    static const int month_days[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);

    if (y < 0 || y > 9999 || m < 1 || m > 12 || d < 1 ||
        d > month_days[m - 1] + (m == 2 && leap))
        return false;
    *day_out = days_from_civil(y, m, d);
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* n digits as a number, or -1. */
static int get_digits(const char *p, size_t n)
{
    int value = 0;

    for (; n > 0; n--, p++) {
        if (!is_digit(*p))
            return -1;
        value = value * 10 + (*p - '0');
    }
    return value;
}

bool mr_day_parse(const char *text, size_t n, int32_t *day_out)
{
    size_t dash = n == 10;

    if (n != 8 && n != 10)
        return false;
    if (dash && (text[4] != '-' || text[7] != '-'))
        return false;
    return mr_day_from_civil(get_digits(text, 4),
        get_digits(text + 4 + dash, 2), get_digits(text + 6 + 2 * dash, 2),
        day_out);
}

/* A JSON number in parts: text[whole .. point) and text[frac .. frac_end)
 * are its digits. */
struct number {
    bool minus;
    size_t whole, point, frac, frac_end;
    int64_t exponent; /* held within +-EXPONENT_CAP */
};

/* Far beyond what any line can hold digits for. */
#define EXPONENT_CAP (INT64_C(1) << 40)

static size_t skip_digits(const char *text, size_t i, size_t n)
{
    while (i < n && is_digit(text[i]))
        i++;
    return i;
}

/* Read "e+12" from i to the very end. */
static bool split_exponent(
    const char *text, size_t i, size_t n, struct number *out)
{
    bool minus;

    i++;
    minus = i < n && text[i] == '-';
    if (i < n && (text[i] == '-' || text[i] == '+'))
        i++;
    if (i == n || skip_digits(text, i, n) != n)
        return false;
    for (; i < n; i++) {
        if (out->exponent < EXPONENT_CAP)
            out->exponent = out->exponent * 10 + (text[i] - '0');
    }
    if (minus)
        out->exponent = -out->exponent;
    return true;
}

static bool split_number(const char *text, size_t n, struct number *out)
{
    size_t i = 0;

    *out = (struct number){0};
    out->minus = n > 0 && text[0] == '-';
    i = out->whole = out->minus;
    i = out->point = skip_digits(text, i, n);
    if (i == out->whole || (text[out->whole] == '0' && i > out->whole + 1))
        return false; /* no digit, or a leading zero */
    out->frac = out->frac_end = i;
    if (i < n && text[i] == '.') {
        out->frac = i + 1;
        i = out->frac_end = skip_digits(text, i + 1, n);
        if (out->frac == out->frac_end)
            return false;
    }
    if (i < n && (text[i] == 'e' || text[i] == 'E'))
        return split_exponent(text, i, n, out);
    return i == n;
}

/* The number's digits, whole part and fraction in a row. */
static int digit_at(const char *text, const struct number *number, size_t i)
{
    size_t n_whole = number->point - number->whole;

    return text[i < n_whole ? number->whole + i
                            : number->frac + (i - n_whole)] -
           '0';
}

/* The epoch milliseconds of a number, cut; -1 when out of range. */
static int64_t cut_number(const char *text, const struct number *number)
{
    size_t n_whole = number->point - number->whole;
    size_t n = n_whole + (number->frac_end - number->frac), i = 0;
    int64_t places, value = 0;

    while (i < n && digit_at(text, number, i) == 0)
        i++;
    if (i == n)
        return 0;
    if (number->minus)
        return -1;
    /* The digits from i on that stand before the shifted point. */
    places = (int64_t)n_whole + number->exponent - (int64_t)i;
    for (; places > 0; places--, i++) {
        value = value * 10 + (i < n ? digit_at(text, number, i) : 0);
        if (value >= MR_TIME_END_MS)
            return -1;
    }
    return value;
}

/* The number that eight bytes are the digits of; the first is the lowest
 * byte.  Neighbours are put together three times: tens, hundreds, ten
 * thousands. */
static uint64_t eight_digits(uint64_t x)
{
    x = (x & UINT64_C(0x0F0F0F0F0F0F0F0F)) * (10 * 256 + 1) >> 8;
    x = (x & UINT64_C(0x00FF00FF00FF00FF)) * ((UINT64_C(100) << 16) + 1) >> 16;
    return (x & UINT64_C(0x0000FFFF0000FFFF)) * ((UINT64_C(10000) << 32) + 1) >>
           32;
}

/* Whether all of eight bytes are digits. */
static bool are_digits(uint64_t x)
{
    return ((x & UINT64_C(0xF0F0F0F0F0F0F0F0)) |
               ((x + UINT64_C(0x0606060606060606)) &
                   UINT64_C(0xF0F0F0F0F0F0F0F0)) >>
                   4) == UINT64_C(0x3333333333333333);
}

/* What nearly every line holds: nine to fifteen digits and nothing else.  Of
 * the last eight, those that the first eight have, too, become 0. */
static inline bool short_integer(const char *text, size_t n, int64_t *value_out)
{
    static const uint32_t power[] = {
        0, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    uint64_t head, tail, seen;

    if (n <= 8 || n >= 16 || text[0] == '0')
        return false;
    head = mr_get_u64((const uint8_t *)text);
    tail = mr_get_u64((const uint8_t *)text + n - 8);
    seen = (UINT64_C(1) << (8 * (16 - n))) - 1;
    if (!are_digits(head) || !are_digits(tail))
        return false;
    *value_out = (int64_t)(eight_digits(head) * power[n - 8] +
                           eight_digits(tail & ~seen));
    return true;
}

/* Any number, digit by digit. */
static bool parse_number(
    const char *text, size_t n, int exponent, int64_t *time_ms_out)
{
    struct number number;
    int64_t value;

    if (!split_number(text, n, &number))
        return false;
    number.exponent += exponent;
    value = cut_number(text, &number);
    if (value < 0)
        return false;
    *time_ms_out = value;
    return true;
}

bool mr_time_parse_ms(const char *text, size_t n, int64_t *time_ms_out)
{
    int64_t value;

    if (!short_integer(text, n, &value))
        return parse_number(text, n, 0, time_ms_out);
    if (value >= MR_TIME_END_MS)
        return false;
    *time_ms_out = value;
    return true;
}

bool mr_time_parse(
    const char *text, size_t n, int exponent, int64_t *time_ms_out)
{
    size_t cut = exponent < 0 ? (size_t)-exponent : 0;
    int64_t value;

    if (n <= cut || skip_digits(text, n - cut, n) != n ||
        !short_integer(text, n - cut, &value))
        return parse_number(text, n, exponent, time_ms_out);
    for (; exponent > 0; exponent--)
        value *= 10;
    if (value >= MR_TIME_END_MS)
        return false;
    *time_ms_out = value;
    return true;
}
