#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mr/timeform.h"

/*
 * print_times: Answer questions about times, one a line, for another program
 * to compare.  Words are parted by tabs:
 *
 *     offset ZONE MS          the offset, local day and hour
 *     span ZONE MS            start and end of the day's stretch, and hour's
 *     utc ZONE MS             a local time's
 *     parse ZONE FORM TEXT    the time in ms, or "no"; FORM is iso8601 or a
 *                             pattern
 *     format ZONE FORM MS     the text
 *     digest ZONE FILE        of a file, whatever the zone's name
 */

enum { WORDS = 4 };

static int fail(const struct mr_error *err, const char *word)
{
    char text[1200];

    mr_error_format(err, text, sizeof(text));
    fprintf(stderr, "print_times: %s: %s\n", word, text);
    return 2;
}

static int ask_text(const struct mr_zone *zone, char *const *word)
{
    bool is_pattern = strchr(word[2], '%') != NULL;
    struct mr_timeform form;
    struct mr_error err;
    char text[MR_TIMEFORM_TEXT];
    int64_t time_ms;

    if (strcmp(word[0], "format") == 0) {
        (void)mr_timeform_format(is_pattern ? word[2] : "", zone,
            strtoll(word[3], NULL, 10), text, sizeof(text));
        puts(text);
        return 0;
    }
    if (mr_timeform_init(&form, is_pattern ? MR_TIME_PATTERN : MR_TIME_ISO8601,
            word[2], zone, &err) != MR_OK)
        return fail(&err, word[2]);
    if (mr_timeform_parse(&form, word[3], strlen(word[3]), false, &time_ms))
        printf("%" PRId64 "\n", time_ms);
    else
        puts("no");
    return 0;
}

static int ask_digest(const char *path)
{
    static uint8_t bytes[MR_ZONE_FILE_MAX];
    char text[MR_DIGEST_TEXT];
    struct mr_digest digest;
    struct mr_zone *zone;
    struct mr_error err;
    FILE *f = fopen(path, "rb");
    size_t n;

    if (f == NULL) {
        perror(path);
        return 2;
    }
    n = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    if (mr_zone_decode((struct mr_span){bytes, n}, &zone, &err) != MR_OK)
        return fail(&err, path);
    digest = mr_zone_digest(zone);
    mr_digest_format(&digest, text);
    puts(text);
    mr_zone_free(zone);
    return 0;
}

static int ask(const struct mr_zone *zone, char *const *word)
{
    int64_t value = strtoll(word[2], NULL, 10);
    struct mr_zone_span day, hour;

    if (strcmp(word[0], "digest") == 0)
        return ask_digest(word[2]);
    if (strcmp(word[0], "parse") == 0 || strcmp(word[0], "format") == 0)
        return ask_text(zone, word);
    if (strcmp(word[0], "utc") == 0) {
        printf("%" PRId64 "\n", mr_zone_to_utc(zone, value));
        return 0;
    }
    mr_zone_day_span(zone, value, &day);
    mr_zone_hour_span(zone, value, &hour);
    if (strcmp(word[0], "span") == 0)
        printf("%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
            day.start_ms, day.end_ms, hour.start_ms, hour.end_ms);
    else
        printf("%" PRId64 " %" PRId32 " %" PRId32 "\n",
            mr_zone_offset_ms(zone, value), hour.day, hour.hour);
    return 0;
}

int main(void)
{
    static char line[4096], name[256];
    struct mr_zone *zone = NULL;
    struct mr_error err;
    int bad = 0;

    while (bad == 0 && fgets(line, sizeof(line), stdin) != NULL) {
        static char none[] = "";
        char *word[WORDS] = {none, none, none, none}, *rest = line;
        int i;

        line[strcspn(line, "\n")] = '\0';
        for (i = 0; i < WORDS && rest != NULL; i++)
            word[i] = strsep(&rest, "\t");
        if (zone == NULL || strcmp(word[1], name) != 0) {
            mr_zone_free(zone);
            zone = NULL;
            snprintf(name, sizeof(name), "%s", word[1]);
            if (mr_zone_load(name, &zone, &err) != MR_OK)
                bad = fail(&err, name);
        }
        if (bad == 0)
            bad = ask(zone, word);
    }
    mr_zone_free(zone);
    return bad;
}
