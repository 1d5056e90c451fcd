#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <stdio.h>
#include <string.h>

/* The specs that come with the program: what a user's own file would say. */

static const struct mr_builtin_spec builtins[] = {
    {"lake", "JSON Lines with data.id, data.type and meta.created_at",
        "# Events of a lake: a JSON value a line.  This is the default; a "
        "file\n"
        "# needs only the keys that differ from it.\n"
        "format: json\n"
        "id: data.id\n"
        "type: data.type\n"
        "attributes: data.attributes   # an object that must be there\n"
        "time: meta.created_at\n"
        "time_format: epoch_ms\n"
        "zone: UTC                     # where days begin\n"
        "user: data.attributes.user_id\n"
        "session_gap_ms: 1800000       # 30 minutes\n"
        "max_line_bytes: 16777216\n"
        "max_depth: 1024\n"
        "sketch_bits: 14\n"},
    {"snowplow-pageviews", "page views of Snowplow, six quoted CSV columns",
        "# Page views of Snowplow as CSV without a header: event_id, "
        "timestamp,\n"
        "# user_fingerprint, domain_userid, network_userid, page.\n"
        "format: csv\n"
        "csv: {header: false}\n"
        "id: 1\n"
        "type: '=page_view'            # no column says so\n"
        "time: 2\n"
        "time_format: iso8601          # 2016-01-31 23:59:59, too\n"
        "# The fingerprint, which is often empty; then the cookies.\n"
        "user: [3, 4, 5]\n"
        "url: 6\n"},
    {"snowplow-enriched", "Snowplow's enriched events, 131 columns of TSV",
        "# Snowplow's enriched events: TSV without a header or quotes.  Other\n"
        "# columns: app_id 1, collector_tstamp 4, domain_sessionid 124.\n"
        "format: tsv\n"
        "id: 7                         # event_id\n"
        "type: 127                     # event_name\n"
        "time: 125                     # derived_tstamp\n"
        "time_format: iso8601\n"
        "# user_id, user_fingerprint, domain_userid, network_userid\n"
        "user: [13, 15, 16, 18]\n"
        "url: 30                       # page_url\n"},
    {"clickstream", "clicks with URLs as JSON Lines, day-first times",
        "# Clicks on web pages: a JSON value a line.\n"
        "format: json\n"
        "id: event_id\n"
        "type: action\n"
        "attributes: ''\n"
        "time: timestamp\n"
        "# The times do not say whether the day or the month comes first.  If "
        "it\n"
        "# is the month, this is '%m/%d/%Y %H:%M:%S'.\n"
        "time_format: '%d/%m/%Y %H:%M:%S'\n"
        "user: user.id\n"
        "url: url\n"
        "rollups:\n"
        "  - name: activity_hourly\n"
        "    by:\n"
        "      - time_bucket: hour\n"
        "      - url_level1: url.host\n"
        "      - url_level2: url.path1\n"
        "      - activity: type\n"
        "    events_as: activity_count\n"
        "    users_as: user_count\n"
        "rows:\n"
        "  - user_id: user\n"
        "  - time_stamp: {field: time, format: '%d/%m/%Y %H:%M:%S'}\n"
        "  - url_level1: url.host\n"
        "  - url_level2: url.path1\n"
        "  - url_level3: url.path2\n"
        "  - activity: type\n"},
    {"interactions", "CSV in single quotes: event, user, type, time",
        "# Events as CSV without a header, in single quotes, with a blank "
        "after\n"
        "# each comma: event id, user id, event type, time.  If the columns of "
        "a\n"
        "# file stand in another order, change these four numbers.\n"
        "format: csv\n"
        "csv: {quote: \"'\", header: false, skip_spaces: true}\n"
        "id: 1\n"
        "user: 2\n"
        "type: 3\n"
        "time: 4\n"
        "time_format: iso8601\n"},
};
#define N_BUILTINS (sizeof(builtins) / sizeof(builtins[0]))

const struct mr_builtin_spec *mr_builtin_spec(size_t i)
{
    return i < N_BUILTINS ? &builtins[i] : NULL;
}

enum mr_status mr_builtin_spec_find(const char *name,
    const struct mr_builtin_spec **found_out, struct mr_error *err)
{
    const char *known[N_BUILTINS];
    char advice[128];
    size_t i;

    for (i = 0; i < N_BUILTINS; i++) {
        known[i] = builtins[i].name;
        if (strcmp(name, known[i]) != 0)
            continue;
        *found_out = &builtins[i];
        return MR_OK;
    }
    snprintf(advice, sizeof(advice),
        "the nearest is '%s'; 'mr spec list' names all",
        mr_spec_nearest(name, strlen(name), known, N_BUILTINS));
    return mr_fail(
        err, MR_USAGE, MR_NOWHERE, advice, "no built-in spec '%.64s'", name);
}

enum mr_status mr_spec_builtin(
    const char *name, struct mr_spec *spec_out, struct mr_error *err)
{
    const struct mr_builtin_spec *found = NULL;
    enum mr_status status = mr_builtin_spec_find(name, &found, err);

    if (status != MR_OK)
        return status;
    return mr_spec_read(
        (struct mr_span){(const uint8_t *)found->yaml, strlen(found->yaml)}, "",
        false, spec_out, err);
}
