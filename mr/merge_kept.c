#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

/* Merging what is kept of events beside figures: ids, and users' numbers of
 * events.  Both are streams, of which no more is in memory than a piece. */

#include "mr/merge_private.h"

#include <stdio.h>
#include <stdlib.h>

/* Shared partitions that a message names. */
#define NAMED 3

/* ---- ids ---- */

static void free_ids(struct mr_merged_ids *ids)
{
    mr_id_stream_free(ids->stream);
    for (size_t i = 0; ids->part != NULL && i < ids->n; i++)
        mr_id_stream_free(ids->part[i]);
    free(ids->part);
    *ids = (struct mr_merged_ids){.stream = NULL};
}

/* Free it in any case. */
static enum mr_status open_ids(
    const struct mr_merge *m, struct mr_merged_ids *ids, struct mr_error *err)
{
    struct mr_idset_rule rule = mr_state_id_rule(m->head.spec);
    enum mr_status status = MR_OK;

    *ids = (struct mr_merged_ids){.n = m->n};
    ids->part = calloc(m->n, sizeof(struct mr_id_stream *));
    if (ids->part == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < m->n && status == MR_OK; i++)
        status = mr_state_ids(m->state[i], &ids->part[i], err);
    if (status == MR_OK)
        status = mr_id_stream_merge(&rule,
            (struct mr_id_stream *const *)ids->part, m->n, &ids->stream, err);
    return status;
}

/* ---- segments: which states are added up ---- */

static bool has_users(const struct mr_partition *p)
{
    for (size_t i = 0; i < p->n_cells; i++)
        if (p->cell[i].events > p->cell[i].without_user)
            return true;
    return false;
}

/* The digests of a state's partitions that have events of users. */
static enum mr_status list_parts(
    const struct mr_coverage *c, struct mr_segment_parts *parts)
{
    struct mr_digest *digest = malloc((c->n_partitions + 1) * sizeof(*digest));

    parts->digest = digest;
    parts->n = 0;
    if (digest == NULL)
        return MR_NOMEM;
    for (size_t i = 0; i < c->n_partitions; i++)
        if (has_users(&c->partition[i]))
            digest[parts->n++] = c->partition[i].digest;
    return MR_OK;
}

/* Name the partitions that two states have in common. */
static enum mr_status refuse_overlap(const struct mr_merge_source *source,
    size_t a, size_t b, const struct mr_segment_parts *parts,
    struct mr_error *err)
{
    const struct mr_coverage *c = source[a].coverage;
    char names[512] = "";
    size_t n = 0, length = 0, k = 0;

    for (size_t i = 0; i < c->n_partitions; i++) {
        const struct mr_digest *digest = &c->partition[i].digest;

        while (k < parts[b].n &&
               memcmp(parts[b].digest[k].b, digest->b, MR_DIGEST_BYTES) < 0)
            k++;
        if (k == parts[b].n ||
            memcmp(parts[b].digest[k].b, digest->b, MR_DIGEST_BYTES) != 0 ||
            !has_users(&c->partition[i]))
            continue;
        if (n++ < NAMED && length < sizeof(names))
            length += (size_t)snprintf(names + length, sizeof(names) - length,
                "%s'%.120s'", n > 1 ? ", " : "", c->partition[i].name[0]);
    }
    mr_fail(err, MR_MISMATCH, MR_NOWHERE,
        "map each partition into one state only; or leave one of the two out",
        "its segments cannot be added to those of '%s': both hold %s%s",
        source[b].path, names, n > NAMED ? " and more" : "");
    mr_error_subject(err, "cannot merge", source[a].path);
    return MR_MISMATCH;
}

enum mr_status mr_merge_choose_segments(const struct mr_merge_source *source,
    size_t n, bool *wanted_out, struct mr_error *err)
{
    struct mr_segment_parts *parts = calloc(n, sizeof(*parts));
    enum mr_status status = parts != NULL ? MR_OK : MR_NOMEM;
    size_t a = 0, b = 0;

    for (size_t i = 0; i < n && status == MR_OK; i++)
        status = list_parts(source[i].coverage, &parts[i]);
    if (status == MR_OK)
        status = mr_segments_choose(parts, n, wanted_out, &a, &b);
    if (status == MR_MISMATCH)
        status = refuse_overlap(source, a, b, parts, err);
    else if (status != MR_OK)
        status = mr_fail_nomem(err);
    for (size_t i = 0; parts != NULL && i < n; i++)
        free((void *)(uintptr_t)parts[i].digest);
    free(parts);
    return status;
}

/* Find out of which of the merge's states segments are added up. */
static enum mr_status choose_states(
    const struct mr_merge *m, bool *wanted, struct mr_error *err)
{
    struct mr_merge_source *source = calloc(m->n, sizeof(*source));
    enum mr_status status;

    if (source == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < m->n; i++)
        source[i] = (struct mr_merge_source){mr_state_path(m->state[i]),
            &mr_state_get_head(m->state[i])->coverage};
    status = mr_merge_choose_segments(source, m->n, wanted, err);
    free(source);
    return status;
}

static void free_segments(struct mr_merged_segments *s)
{
    mr_segment_stream_free(s->stream);
    for (size_t i = 0; s->part != NULL && i < s->n; i++)
        mr_segment_stream_free(s->part[i]);
    free(s->part);
    *s = (struct mr_merged_segments){.stream = NULL};
}

/* Free it in any case. */
static enum mr_status open_segments(const struct mr_merge *m,
    struct mr_merged_segments *s, struct mr_error *err)
{
    bool *wanted = calloc(m->n, sizeof(*wanted));
    enum mr_status status = MR_OK;

    *s = (struct mr_merged_segments){.n = 0};
    s->part = calloc(m->n, sizeof(struct mr_segment_stream *));
    if (wanted == NULL || s->part == NULL)
        status = mr_fail_nomem(err);
    else if (m->segments != NULL)
        memcpy(wanted, m->segments, m->n * sizeof(*wanted));
    else
        status = choose_states(m, wanted, err);
    for (size_t i = 0; i < m->n && status == MR_OK; i++) {
        if (!wanted[i])
            continue;
        status = mr_state_segments(m->state[i], &s->part[s->n], err);
        s->n += status == MR_OK;
    }
    if (status == MR_OK &&
        mr_segment_stream_merge((struct mr_segment_stream *const *)s->part,
            s->n, &s->stream) != MR_OK)
        status = mr_fail_nomem(err);
    free(wanted);
    return status;
}

/* ---- segments: attributes of users ---- */

/* A state's users, gone through in order. */
struct walk {
    const struct mr_state *state;
    const uint32_t *cell_of;
    struct mr_unpacker *unpacker;
    struct mr_user_block block;
    size_t next_block;
    size_t at; /* in the block */
};

/* Looks up users, who come in ascending order. */
struct finder {
    const struct mr_merge *m;
    struct walk *walk; /* of each state */
    enum mr_status status;
    struct mr_error *err;
};

static bool has_member(const struct mr_user_set *set, size_t position)
{
    uint32_t low = 0, high = set->n;

    if (set->words != NULL)
        return set->words[position / 64] >> (position % 64) & 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (set->list[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set->n && set->list[low] == position;
}

/* Go to a user, or to the first behind; false if it is not there. */
static bool walk_to(struct finder *f, struct walk *w, uint64_t user)
{
    while (w->at == w->block.n || w->block.hash[w->block.n - 1] < user) {
        if (w->next_block == mr_state_n_blocks(w->state))
            return false;
        f->status = mr_state_block(
            w->state, w->next_block++, w->unpacker, &w->block, f->err);
        if (f->status != MR_OK)
            return false;
        w->at = 0;
    }
    while (w->block.hash[w->at] < user)
        w->at++;
    return w->block.hash[w->at] == user;
}

/* The attributes of a user whom a state has. */
static void read_attributes(
    const struct finder *f, const struct walk *w, uint32_t *group)
{
    const struct mr_cells *cells = &f->m->cells;

    for (size_t k = w->block.n_sets; k-- > 0;) {
        const struct mr_user_set *set = &w->block.sets[k];
        uint32_t number = w->cell_of[set->cell];
        const struct mr_span *text;

        if (number < cells->n_cells)
            break;
        text = &cells->figure[number - cells->n_cells];
        if (text->p[0] == MR_TEXT_ATTRIBUTE && has_member(set, w->at))
            group[text->p[1] - 1] = number - (uint32_t)cells->n_cells + 1;
    }
}

static void find_groups(void *context, uint64_t user, uint32_t *group)
{
    struct finder *f = context;

    memset(group, 0, f->m->head.spec->n_segments_by * sizeof(*group));
    for (size_t i = 0; i < f->m->n && f->status == MR_OK; i++)
        if (walk_to(f, &f->walk[i], user))
            read_attributes(f, &f->walk[i], group);
}

static enum mr_status finder_init(
    struct finder *f, const struct mr_merge *m, struct mr_error *err)
{
    *f = (struct finder){.m = m, .err = err};
    f->walk = calloc(m->n, sizeof(*f->walk));
    if (f->walk == NULL)
        return mr_fail_nomem(err);
    for (size_t i = 0; i < m->n; i++) {
        f->walk[i].state = m->state[i];
        f->walk[i].cell_of = m->cell_of[i];
        if (mr_unpacker_new(&f->walk[i].unpacker) != MR_OK)
            return mr_fail_nomem(err);
    }
    return MR_OK;
}

static void finder_release(struct finder *f)
{
    for (size_t i = 0; f->walk != NULL && i < f->m->n; i++)
        mr_unpacker_free(f->walk[i].unpacker);
    free(f->walk);
}

/* ---- both ---- */

void mr_merged_kept_free(struct mr_merged_kept *kept)
{
    free_segments(&kept->segments);
    free_ids(&kept->ids);
}

enum mr_status mr_merged_kept_open(const struct mr_merge *m,
    struct mr_merged_kept *kept, struct mr_state_writer *writer,
    struct mr_error *err)
{
    const struct mr_spec *spec = m->head.spec;
    enum mr_status status = MR_OK;

    memset(kept, 0, sizeof(*kept));
    if (spec->max_ids > 0)
        status = open_ids(m, &kept->ids, err);
    if (status == MR_OK && spec->n_segments > 0)
        status = open_segments(m, &kept->segments, err);
    mr_state_writer_keep(writer, kept->ids.stream, kept->segments.stream);
    return status;
}

/* ---- figures ---- */

enum mr_status mr_merge_count_ids(const struct mr_merge *m,
    struct mr_idset_index *index_out, struct mr_error *err)
{
    struct mr_merged_ids ids;
    enum mr_status status = open_ids(m, &ids, err);

    *index_out = (struct mr_idset_index){.n_days = 0};
    if (status == MR_OK)
        status = mr_idset_write(ids.stream, NULL, NULL, index_out, err);
    free_ids(&ids);
    return status;
}

enum mr_status mr_merge_count_segments(const struct mr_merge *m,
    struct mr_segment_counts *counts_out, struct mr_error *err)
{
    const struct mr_spec *spec = m->head.spec;
    struct mr_segment_groups groups = {
        .n = spec->n_segments_by, .of = find_groups};
    struct mr_merged_segments s;
    struct finder finder = {.walk = NULL};
    enum mr_status status = open_segments(m, &s, err);

    if (status == MR_OK && groups.n > 0)
        status = finder_init(&finder, m, err);
    groups.context = &finder;
    if (status == MR_OK)
        status = mr_segments_count(
            s.stream, spec, groups.n > 0 ? &groups : NULL, counts_out, err);
    if (status == MR_OK && finder.status != MR_OK)
        status = finder.status;
    finder_release(&finder);
    free_segments(&s);
    return status;
}
