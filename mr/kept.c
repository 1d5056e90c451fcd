#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/kept.h"

/* Ids handed on at a time. */
#define IDS 1024

void mr_kept_release(struct mr_kept *kept)
{
    mr_spool_release(&kept->ids);
    mr_spool_release(&kept->events);
}

enum mr_status mr_kept_note(const struct mr_plan *plan,
    const struct mr_event *event, int32_t day, struct mr_batch *batch)
{
    enum mr_status status = MR_OK;

    if (plan->spec.max_ids > 0) {
        struct mr_kept_id id = {mr_hash64(event->id.p, event->id.n), day};

        status = mr_buffer_add(&batch->ids, &id, sizeof(id));
    }
    if (status == MR_OK && plan->spec.n_segments > 0 && event->has_user) {
        struct mr_segment_event e = {
            event->user, day, mr_segment_type(&plan->types, event->type)};

        if (e.type != MR_SEGMENT_SEEN || plan->types.keeps_seen)
            status = mr_buffer_add(&batch->events, &e, sizeof(e));
    }
    return status;
}

enum mr_status mr_kept_add(struct mr_kept *kept, const struct mr_batch *batch,
    const struct mr_plan *plan, struct mr_error *err)
{
    const char *folder = plan->temporary;
    struct mr_span ids = {batch->ids.p, batch->ids.n};
    struct mr_span events = {batch->events.p, batch->events.n};
    enum mr_status status = mr_spool_add(&kept->ids, ids, folder, err);

    return status != MR_OK ? status
                           : mr_spool_add(&kept->events, events, folder, err);
}

enum mr_status mr_kept_take(struct mr_kept *into, struct mr_kept *from,
    const struct mr_plan *plan, struct mr_error *err)
{
    const char *folder = plan->temporary;
    enum mr_status status =
        mr_spool_append(&into->ids, &from->ids, folder, err);

    return status != MR_OK
               ? status
               : mr_spool_append(&into->events, &from->events, folder, err);
}

enum mr_status mr_keeper_open(
    struct mr_keeper *k, const struct mr_plan *plan, struct mr_error *err)
{
    const struct mr_spec *spec = &plan->spec;
    struct mr_idset_rule rule = {spec->max_ids, spec->exact_ids};
    struct mr_segment_types types;
    enum mr_status status = MR_OK;

    *k = (struct mr_keeper){.ids = NULL};
    if (spec->max_ids > 0)
        status =
            mr_idset_new(&rule, plan->temporary, MR_IDSET_MEMORY, &k->ids, err);
    if (status != MR_OK || spec->n_segments == 0)
        return status;
    mr_segment_types_of(spec, &types);
    if (mr_segments_new(types.keeps_seen, &k->segments) != MR_OK)
        return mr_fail_nomem(err);
    return MR_OK;
}

void mr_keeper_release(struct mr_keeper *k)
{
    mr_idset_free(k->ids);
    mr_segments_free(k->segments);
    *k = (struct mr_keeper){.ids = NULL};
}

/* Bytes come in stretches that both kinds of record divide. */
_Static_assert(MR_SPOOL_PIECE % 16 == 0, "a record is not cut");
_Static_assert(sizeof(struct mr_kept_id) == 16, "a record is not cut");
_Static_assert(sizeof(struct mr_segment_event) == 16, "a record is not cut");

static enum mr_status take_ids(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    const struct mr_kept_id *id = (const void *)bytes.p;
    size_t n = bytes.n / sizeof(*id), taken;
    struct mr_keeper *k = context;
    enum mr_status status = MR_OK;
    uint64_t hash[IDS];

    for (size_t i = 0; i < n && status == MR_OK; i += taken) {
        for (taken = 0;
             taken < IDS && i + taken < n && id[i + taken].day == id[i].day;
             taken++)
            hash[taken] = id[i + taken].hash;
        status = mr_idset_add(k->ids, (int32_t)id[i].day, hash, taken, err);
    }
    return status;
}

/* Going through the events of several partitions. */
struct taking {
    struct mr_keeper *k;
    const struct mr_kept_share *share; /* the next one */
    uint64_t left;                     /* bytes of the one before */
    bool is_new;                       /* which was not there before */
};

static enum mr_status take_events(
    void *context, struct mr_span bytes, struct mr_error *err)
{
    struct taking *t = context;
    enum mr_status status = MR_OK;

    while (bytes.n > 0 && status == MR_OK) {
        size_t n = bytes.n < t->left ? bytes.n : (size_t)t->left;

        if (n == 0) {
            t->left = t->share->bytes;
            status = mr_segments_claim(
                t->k->segments, &t->share->digest, &t->is_new);
            t->share++;
            continue;
        }
        if (t->is_new)
            status = mr_segments_add(t->k->segments, (const void *)bytes.p,
                n / sizeof(struct mr_segment_event));
        bytes.p += n;
        bytes.n -= n;
        t->left -= n;
    }
    return status != MR_OK ? mr_fail_nomem(err) : MR_OK;
}

enum mr_status mr_keeper_add(struct mr_keeper *k, struct mr_kept *kept,
    const struct mr_kept_share *share, struct mr_error *err)
{
    struct taking t = {.k = k, .share = share};
    enum mr_status status = MR_OK;

    if (k->ids != NULL)
        status = mr_spool_drain(&kept->ids, take_ids, k, err);
    if (status == MR_OK && k->segments != NULL)
        status = mr_spool_drain(&kept->events, take_events, &t, err);
    return status;
}
