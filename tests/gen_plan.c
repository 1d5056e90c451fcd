#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gen.h"

#include <stdlib.h>

/*
 * Users are ranked by activity.  The least active half has weight 1, the
 * next quarter 2, and so on up to 256 for the first 1/256: near to Zipf's law
 * over eight octaves, with a flat head so that nobody clicks all day long.
 * Everything is done in whole numbers, so that counts add up exactly.
 */
#define TIERS 8

/* One type is this many times rarer than the first at most. */
#define TYPE_SPREAD 512

/* How far behind its time an event's folder is at most, and a copy's behind
 * that. */
#define LATE_HOURS 24
#define COPY_HOURS 5

enum { DRAW_TYPE, DRAW_NO_USER, DRAW_TWICE, DRAW_LATE, DRAW_BAD, DRAW_FILE };

static uint64_t weight_before(uint64_t users, uint64_t rank)
{
    uint64_t sum = 0, from = 0;

    for (int tier = TIERS; tier >= 0; tier--) {
        uint64_t to = users >> tier, end = rank < to ? rank : to;

        if (end > from)
            sum += (end - from) << tier;
        from = to;
    }
    return sum;
}

static uint64_t events_before(const struct gen_plan *plan, uint64_t rank)
{
    return (uint64_t)((unsigned __int128)plan->o->events *
                      weight_before(plan->o->users, rank) / plan->total_weight);
}

uint64_t gen_plan_count(const struct gen_plan *plan, uint64_t user)
{
    return events_before(plan, user + 1) - events_before(plan, user);
}

void gen_plan_init(struct gen_plan *plan, const struct gen_options *o)
{
    uint64_t size = 65536, types = o->types, sum = 0, at = 0, given = 0;

    while (size < 4 * types)
        size *= 2;
    plan->o = o;
    plan->total_weight = weight_before(o->users, o->users);
    if (gen_plan_count(plan, 0) > GEN_USER_EVENTS_MAX)
        gen_die("%llu events are too many for %llu users",
            (unsigned long long)o->events, (unsigned long long)o->users);
    plan->type_mask = size - 1;
    plan->type_table = gen_alloc(size, sizeof *plan->type_table);
    /* Type i has weight about 1 / (i + 1), never below 1 / TYPE_SPREAD. */
    for (uint64_t i = 0; i < types; i++)
        sum += 1 + TYPE_SPREAD / (i + 1);
    for (uint64_t i = 0; i < types; i++) {
        given += 1 + TYPE_SPREAD / (i + 1);
        for (uint64_t end = given * size / sum; at < end; at++)
            plan->type_table[at] = (uint32_t)i;
    }
}

void gen_plan_release(struct gen_plan *plan)
{
    free(plan->type_table);
}

/* Whether a user means to come on a day. */
static bool is_in_the_mood(uint64_t user_hash, uint64_t day, uint64_t weight)
{
    uint64_t percent = 45;

    for (; weight > 1; weight /= 2)
        percent += 5;
    return gen_below(gen_draw(user_hash, 1000 + day), 100) < percent;
}

static int64_t session_start(const struct gen_plan *plan, uint64_t user_hash,
    uint64_t weight, uint64_t *state)
{
    uint64_t day = 0, x;
    int64_t ms;

    for (int tries = 0; tries < 32; tries++) {
        day = gen_below(gen_next(state), plan->o->days);
        if (is_in_the_mood(user_hash, day, weight))
            break;
    }
    x = gen_next(state);
    switch (x & 15) {
    case 0: /* short of midnight */
        ms = GEN_MS_PER_DAY - 1 - (int64_t)gen_below(x, 1800000);
        break;
    case 1:
    case 2: /* at any time */
        ms = (int64_t)gen_below(x, (uint64_t)GEN_MS_PER_DAY);
        break;
    default: /* rather in the middle of the day */
        ms = (int64_t)(gen_below(x, (uint64_t)GEN_MS_PER_DAY) +
                       gen_below(gen_next(state), (uint64_t)GEN_MS_PER_DAY)) /
             2;
    }
    return (int64_t)day * GEN_MS_PER_DAY + ms;
}

/* From seconds to minutes, now and then exactly what still joins two events
 * to one session, or one millisecond more. */
static int64_t next_gap(uint64_t *state)
{
    uint64_t x = gen_next(state);

    switch (x & 511) {
    case 0:
        return 1800000;
    case 1:
        return 1800001;
    case 2:
        return 0;
    default:
        break;
    }
    if ((x >> 9 & 15) < 10)
        return 300 + (int64_t)gen_below(x, 15000);
    if ((x >> 9 & 15) < 15)
        return 15000 + (int64_t)gen_below(x, 180000);
    return 180000 + (int64_t)gen_below(x, 1500000);
}

static uint64_t session_length(uint64_t *state, uint64_t left)
{
    uint64_t x = gen_next(state), n = 1 + gen_below(x, 8);

    if ((x & 3) == 0)
        n += gen_below(gen_next(state), 40);
    return n < left ? n : left;
}

static uint64_t user_weight(uint64_t users, uint64_t user)
{
    int tier = TIERS;

    while (user >= users >> tier)
        tier--;
    return UINT64_C(1) << tier;
}

static uint64_t hash_user(const struct gen_plan *plan, uint64_t user)
{
    return gen_draw(gen_mix(plan->o->seed + 1), user);
}

/* The lake ends with its last day: move a session that would go beyond. */
static void pull_back(int64_t *times, uint64_t n, int64_t last_ms)
{
    int64_t over = times[n - 1] - last_ms;

    if (over <= 0)
        return;
    for (uint64_t i = 0; i < n; i++)
        times[i] = times[i] > over ? times[i] - over : 0;
}

size_t gen_plan_user(
    const struct gen_plan *plan, uint64_t user, int64_t **times, size_t *cap)
{
    uint64_t n = gen_plan_count(plan, user), done = 0;
    uint64_t hash = hash_user(plan, user), state = hash;
    uint64_t weight = user_weight(plan->o->users, user);
    int64_t end_ms = (int64_t)plan->o->days * GEN_MS_PER_DAY;

    if (n > *cap) {
        free(*times);
        *cap = n + n / 2;
        *times = gen_alloc(*cap, sizeof **times);
    }
    while (done < n) {
        uint64_t length = session_length(&state, n - done);
        int64_t t = session_start(plan, hash, weight, &state);

        for (uint64_t i = 0; i < length; i++) {
            (*times)[done + i] = t;
            t += next_gap(&state);
        }
        pull_back(*times + done, length, end_ms - 1);
        done += length;
    }
    return (size_t)n;
}

static bool happens(uint64_t draw, uint64_t per_mille)
{
    return per_mille > 0 && gen_below(draw, 1000) < per_mille;
}

void gen_plan_event(const struct gen_plan *plan, uint64_t user, uint64_t index,
    int64_t time_ms, struct gen_event *e)
{
    const struct gen_options *o = plan->o;
    uint64_t hash = gen_mix(hash_user(plan, user) + index), x;

    *e = (struct gen_event){.time_ms = time_ms,
        .hash = hash,
        .user = (uint32_t)user,
        .index = (uint32_t)index};
    e->type = plan->type_table[gen_draw(hash, DRAW_TYPE) & plan->type_mask];
    if (o->no_user)
        e->no_user = happens(gen_draw(hash, DRAW_NO_USER), o->no_user);
    if (o->duplicates)
        e->twice = happens(gen_draw(hash, DRAW_TWICE), o->duplicates);
    if (o->bad) {
        x = gen_draw(hash, DRAW_BAD);
        e->bad = happens(x, o->bad);
        e->blank = happens(x << 32, (o->bad + 3) / 4);
    }
    if (o->late) {
        x = gen_draw(hash, DRAW_LATE);
        if (happens(x, o->late)) {
            e->late_hours = (uint8_t)(1 + x % (x & 256 ? 3 : LATE_HOURS));
            e->misfiled = (x >> 9 & 7) == 0;
        }
    }
    e->too_long = user == 0 && index < o->too_long;
}

enum gen_reason gen_plan_reason(const struct gen_event *e)
{
    /* Every other bad line is bad JSON, as there are most ways to that. */
    uint64_t x = gen_draw(e->hash, DRAW_BAD + 100);

    if (x & 1)
        return GEN_JSON;
    return GEN_TOO_DEEP + gen_below(x, GEN_REASONS - GEN_TOO_DEEP);
}

static bool has_day_folders(const struct gen_options *o)
{
    return o->files >= o->days;
}

uint64_t gen_plan_n_files(const struct gen_plan *plan)
{
    const struct gen_options *o = plan->o;

    if (o->files)
        return o->files;
    return o->types * (o->days + GEN_LATE_DAYS) * 24;
}

/* File i of a flat layout belongs to day i * days / files. */
static uint64_t flat_file(const struct gen_options *o, uint64_t day, uint64_t x)
{
    uint64_t from, to;

    if (!has_day_folders(o))
        return gen_below(x, o->files);
    if (day >= o->days)
        day = o->days - 1;
    from = (day * o->files + o->days - 1) / o->days;
    to = ((day + 1) * o->files + o->days - 1) / o->days;
    return from + gen_below(x, to - from);
}

uint64_t gen_plan_file(
    const struct gen_plan *plan, const struct gen_event *e, bool copy)
{
    const struct gen_options *o = plan->o;
    uint64_t hour = (uint64_t)(e->time_ms / GEN_MS_PER_HOUR), x, type;

    hour += e->late_hours;
    if (copy)
        hour += 1 + gen_below(gen_draw(e->hash, DRAW_FILE + 1), COPY_HOURS);
    if (o->files) {
        x = gen_draw(e->hash, copy ? DRAW_FILE + 2 : DRAW_FILE);
        return flat_file(o, hour / 24, x);
    }
    type = e->misfiled ? (e->type + 1) % o->types : e->type;
    return hour * o->types + type;
}

void gen_plan_window(const struct gen_plan *plan, uint64_t first, uint64_t end,
    int64_t *from_ms, int64_t *to_ms)
{
    const struct gen_options *o = plan->o;
    int64_t behind =
        (o->late ? LATE_HOURS : 0) + (o->duplicates ? COPY_HOURS : 0);

    *from_ms = 0;
    *to_ms = INT64_MAX;
    if (o->files || first == end)
        return;
    *from_ms = ((int64_t)(first / o->types) - behind) * GEN_MS_PER_HOUR;
    *to_ms = ((int64_t)((end - 1) / o->types) + 1) * GEN_MS_PER_HOUR;
}

uint64_t gen_plan_portion(const struct gen_plan *plan, uint64_t i)
{
    const struct gen_options *o = plan->o;
    uint64_t n = gen_plan_n_files(plan);

    if (i == o->portions)
        return n;
    if (o->files)
        return n * i / o->portions;
    return o->days * 24 * i / o->portions * o->types;
}

int64_t gen_plan_file_day(const struct gen_plan *plan, uint64_t file)
{
    const struct gen_options *o = plan->o;

    if (o->files)
        return has_day_folders(o) ? (int64_t)(file * o->days / o->files) : -1;
    return (int64_t)(file / o->types / 24);
}

int64_t gen_plan_file_hour(const struct gen_plan *plan, uint64_t file)
{
    return plan->o->files ? -1 : (int64_t)(file / plan->o->types % 24);
}

int64_t gen_plan_file_type(const struct gen_plan *plan, uint64_t file)
{
    if (plan->o->files)
        return -1;
    return (int64_t)(file % plan->o->types);
}
