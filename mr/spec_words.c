#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <string.h>
#include <strings.h>

#include "mr/text.h"

/* What the texts of a spec may be. */

#define COLUMNS_MAX 65535

bool mr_is_yaml_word(const char *text, size_t n)
{
    static const char *const words[] = {
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "~"};
    size_t i;

    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strlen(words[i]) == n && strncasecmp(words[i], text, n) == 0)
            return true;
    }
    return false;
}

/* The Levenshtein distance of two words; b is one of our own. */
#define KNOWN_MAX 32
static size_t edit_distance(const char *a, size_t n, const char *b)
{
    size_t row[KNOWN_MAX + 1], m = strlen(b), i, j;

    if (m > KNOWN_MAX)
        m = KNOWN_MAX;
    for (j = 0; j <= m; j++)
        row[j] = j;
    for (i = 1; i <= n; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

const char *mr_spec_nearest(
    const char *text, size_t n, const char *const *known, size_t n_known)
{
    const char *best = known[0];
    size_t i, least = SIZE_MAX;

    if (n > 64) /* no slip of the pen; what begins it will do */
        n = 64;
    for (i = 0; i < n_known; i++) {
        size_t distance = edit_distance(text, n, known[i]);

        if (distance < least) {
            least = distance;
            best = known[i];
        }
    }
    return best;
}

/* Characters that YAML takes for line breaks or does not allow at all: the
 * control characters, U+2028, U+2029, U+FEFF, U+FFFE and U+FFFF. */
static bool is_unprintable(const uint8_t *p, size_t length)
{
    static const char rare[][4] = {"\xE2\x80\xA8", "\xE2\x80\xA9",
        "\xEF\xBB\xBF", "\xEF\xBF\xBE", "\xEF\xBF\xBF"};
    size_t i;

    if (length == 1)
        return p[0] < 0x20 || p[0] == 0x7F;
    if (length == 2)
        return p[0] == 0xC2 && p[1] < 0xA0;
    for (i = 0; length == 3 && i < sizeof(rare) / sizeof(rare[0]); i++) {
        if (memcmp(p, rare[i], 3) == 0)
            return true;
    }
    return false;
}

const char *mr_spec_text_problem(const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t i, length;

    for (i = 0; i < n; i += length) {
        length = mr_text_character(p + i, n - i);
        if (length == 0)
            return "not UTF-8";
        if (is_unprintable(p + i, length))
            return "control character";
    }
    return NULL;
}

const char *mr_spec_path_problem(const char *path)
{
    size_t key_bytes = 0, depth = 1;
    const char *p;

    if (path[0] == '\0')
        return "empty";
    for (p = path; *p != '\0'; p++) {
        if (*p != '.') {
            key_bytes++;
            continue;
        }
        if (key_bytes == 0)
            break;
        key_bytes = 0;
        depth++;
    }
    if (key_bytes == 0)
        return "a key between dots is empty";
    return depth > MR_PATH_MAX_DEPTH ? "more than 16 keys deep" : NULL;
}

bool mr_spec_digits(const char *text, size_t n, uint64_t *value_out)
{
    uint64_t value = 0;
    size_t i;

    if (n == 0 || n > 15)
        return false;
    for (i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *value_out = value;
    return true;
}

const char *mr_spec_column_problem(const char *column, bool header)
{
    uint64_t number;

    if (column[0] == '\0')
        return "empty";
    if (column[strspn(column, "0123456789")] == '\0') {
        if (!mr_spec_digits(column, strlen(column), &number) ||
            column[0] == '0' || number > COLUMNS_MAX)
            return "columns are numbered from 1 to 65535";
        return NULL;
    }
    return header ? NULL
                  : "a name, but without a header row columns go by number";
}

const char *mr_spec_name_problem(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    return name[strspn(name, allowed)] == '\0'
               ? NULL
               : "a character other than letters, digits, '_' and '-'";
}

/* Whether there is such a zone is known where zones are read; that its name
 * leads nowhere else is made sure here. */
const char *mr_spec_zone_problem(const char *zone)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_+-";

    return zone[0] == '/' || zone[strspn(zone, allowed)] != '\0'
               ? "no zone's name"
               : NULL;
}

static const char *set_source(
    struct mr_column *column, enum mr_source_kind from, const char *text)
{
    size_t n = strlen(text);

    column->from = from;
    if (n == 0)
        return "empty";
    if (n > (from == MR_FROM_PATH ? MR_PATH_MAX_BYTES : MR_NAME_MAX_BYTES))
        return from == MR_FROM_PATH ? "longer than 256 bytes"
                                    : "longer than 64 bytes";
    memcpy(column->text, text, n);
    return NULL;
}

const char *mr_spec_source(const char *text, struct mr_column *column)
{
    static const struct {
        const char *word;
        enum mr_source_kind from;
    } known[] = {{"id", MR_FROM_ID}, {"type", MR_FROM_TYPE},
        {"user", MR_FROM_USER}, {"time", MR_FROM_TIME}, {"hour", MR_FROM_HOUR},
        {"day", MR_FROM_DAY}, {"url.host", MR_FROM_HOST}};
    size_t i;

    column->number = 0;
    memset(column->text, 0, sizeof(column->text));
    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(text, known[i].word) != 0)
            continue;
        column->from = known[i].from;
        return NULL;
    }
    if (strncmp(text, "url.path", 8) == 0 && text[8] >= '1' && text[8] <= '9' &&
        text[9] == '\0') {
        column->from = MR_FROM_STEP;
        column->number = (unsigned)(text[8] - '0');
        return NULL;
    }
    if (strncmp(text, "url.", 4) == 0)
        return "of a URL there are url.host and url.path1 to url.path9; with "
               "a dot before it, it is a path";
    if (strncmp(text, "path.", 5) == 0)
        return strpbrk(text, "/=")
                   ? "no folder's key has a '/' or '='"
                   : set_source(column, MR_FROM_FOLDER, text + 5);
    if (strncmp(text, "users.", 6) == 0)
        return set_source(column, MR_FROM_TABLE, text + 6);
    return set_source(column, MR_FROM_PATH, text[0] == '.' ? text + 1 : text);
}
