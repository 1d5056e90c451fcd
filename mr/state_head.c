#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/state_private.h"

#include <stdlib.h>

#include "mr/calendar.h"
#include "mr/derive.h"
#include "mr/groupkey.h"
#include "mr/text.h"

/*
 * The sections of a state's head as bytes, each writer beside its reader.
 * Lists that ascend are stored as differences minus one, so most disorder
 * cannot even be written down; the readers check what is left of it.
 */

/* Fewest bytes of a partition, a failure. */
#define PARTITION_BYTES_MIN (MR_DIGEST_BYTES + 11)
#define FAILURE_BYTES_MIN 4

/* An array of n elements, never NULL for want of elements. */
static void *array_of(uint64_t n, size_t size)
{
    return n < SIZE_MAX / size - 1 ? calloc((size_t)n + 1, size) : NULL;
}

/* TYPE. */

static enum mr_status encode_types(
    const struct mr_state_head *head, struct mr_buffer *out)
{
    enum mr_status status = mr_buffer_add_varint(out, head->n_types);
    size_t i;

    for (i = 0; status == MR_OK && i < head->n_types; i++)
        status = mr_buffer_add_string(out, head->type[i].p, head->type[i].n);
    return status;
}

/* Read count texts, strictly ascending and each as is_sound wants it, into
 * an array of spans of bytes, which get all of r. */
static enum mr_status decode_texts(struct mr_reader *r,
    bool (*is_sound)(struct mr_span text), struct mr_buffer *bytes,
    struct mr_span **text_out, size_t *n_out)
{
    uint64_t n = mr_read_varint(r);
    struct mr_span *text;

    if (r->bad || n > r->n / 2)
        return MR_FORMAT;
    /* The section's bytes become the head's; texts are spans of them. */
    if (mr_buffer_add(bytes, r->p, r->n) != MR_OK)
        return MR_NOMEM;
    r->p = bytes->p;
    *text_out = text = array_of(n, sizeof(*text));
    if (!text)
        return MR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        text[i] = mr_read_string(r);
        if (r->bad || !is_sound(text[i]) ||
            (i > 0 && mr_span_compare(text[i - 1], text[i]) >= 0))
            return MR_FORMAT;
    }
    *n_out = (size_t)n;
    return MR_OK;
}

static bool is_type(struct mr_span text)
{
    return text.n >= 1 && text.n <= MR_TYPE_MAX_BYTES;
}

static enum mr_status decode_types(
    struct mr_state_head *head, struct mr_reader *r, const char **why)
{
    *why = "its types are malformed, or do not ascend";
    return decode_texts(
        r, is_type, &head->type_bytes, &head->type, &head->n_types);
}

/* CELL. */

static enum mr_status encode_cells(
    const struct mr_state_head *head, struct mr_buffer *out)
{
    enum mr_status status = mr_buffer_add_varint(out, head->n_cells);
    uint32_t day = 0;
    size_t i;

    for (i = 0; status == MR_OK && i < head->n_cells; i++) {
        const struct mr_cell *cell = &head->cell[i];

        status = mr_buffer_add_varint(out, (uint32_t)cell->day - day);
        if (status == MR_OK)
            status = mr_buffer_add_varint(out, cell->type);
        day = (uint32_t)cell->day;
    }
    return status;
}

static enum mr_status decode_cells(
    struct mr_state_head *head, struct mr_reader *r, const char **why)
{
    uint64_t n = mr_read_varint(r), later, type, day = 0;
    size_t i;

    *why = "its cells are malformed";
    if (r->bad || n > r->n / 2 || n > UINT32_MAX)
        return MR_FORMAT;
    head->cell = array_of(n, sizeof(*head->cell));
    if (!head->cell)
        return MR_NOMEM;
    head->n_cells = (size_t)n;
    for (i = 0; i < n; i++) {
        later = mr_read_varint(r);
        type = mr_read_varint(r);
        if (r->bad || later >= (uint64_t)MR_DAY_END - day ||
            type >= head->n_types)
            return MR_FORMAT;
        if (i > 0 && later == 0 && type <= head->cell[i - 1].type) {
            *why = "its cells do not ascend";
            return MR_FORMAT;
        }
        day += later;
        head->cell[i] = (struct mr_cell){(int32_t)day, (uint32_t)type};
    }
    return MR_OK;
}

/* PART. */

static enum mr_status add_text(struct mr_buffer *out, const char *text)
{
    return mr_buffer_add_string(out, text, strlen(text));
}

/* Counts of cells from number first on. */
static enum mr_status encode_cell_counts(const struct mr_cell_count *cell,
    size_t n, uint64_t first, struct mr_buffer *out)
{
    enum mr_status status = mr_buffer_add_varint(out, n);

    for (size_t i = 0; status == MR_OK && i < n; i++) {
        status = mr_buffer_add_varint(out, cell[i].cell - first);
        if (status == MR_OK)
            status = mr_buffer_add_varint(out, cell[i].events);
        if (status == MR_OK)
            status = mr_buffer_add_varint(out, cell[i].without_user);
        first = (uint64_t)cell[i].cell + 1;
    }
    return status;
}

/* Write numbers where there is room for them; return their end. */
static uint8_t *put_counts(const struct mr_partition *p, uint8_t *out)
{
    uint64_t next = 0;
    size_t i;

    out += mr_put_varint(out, p->n_reasons);
    for (i = 0; i < p->n_reasons; i++) {
        out += mr_put_varint(out, p->reason[i].reason);
        out += mr_put_varint(out, p->reason[i].lines);
    }
    out += mr_put_varint(out, p->n_cells);
    for (i = 0; i < p->n_cells; i++) {
        const struct mr_cell_count *cell = &p->cell[i];

        out += mr_put_varint(out, cell->cell - next);
        out += mr_put_varint(out, cell->events);
        out += mr_put_varint(out, cell->without_user);
        next = (uint64_t)cell->cell + 1;
    }
    return out;
}

/* There can be very many: room is made once for all the numbers of one. */
static enum mr_status encode_partition(
    const struct mr_partition *p, struct mr_buffer *out)
{
    const uint64_t number[] = {p->stored_bytes, p->text_bytes, p->lines,
        p->blank, p->other_day, p->other_type};
    const size_t n_numbers = sizeof(number) / sizeof(*number);
    enum mr_status status =
        mr_buffer_add(out, p->digest.b, sizeof(p->digest.b));
    uint8_t *end;
    size_t i;

    if (status == MR_OK)
        status = mr_buffer_add_varint(out, p->n_names);
    for (i = 0; status == MR_OK && i < p->n_names; i++)
        status = add_text(out, p->name[i]);
    if (status == MR_OK)
        status = mr_buffer_reserve(out,
            out->n + MR_VARINT_MAX *
                         (n_numbers + 2 + 2 * p->n_reasons + 3 * p->n_cells));
    if (status != MR_OK)
        return status;
    end = out->p + out->n;
    for (i = 0; i < n_numbers; i++)
        end += mr_put_varint(end, number[i]);
    out->n = (size_t)(put_counts(p, end) - out->p);
    return MR_OK;
}

static enum mr_status encode_partitions(
    const struct mr_state_head *head, struct mr_buffer *out)
{
    const struct mr_coverage *c = &head->coverage;
    enum mr_status status = mr_buffer_add_varint(out, c->n_partitions);
    size_t i;

    for (i = 0; status == MR_OK && i < c->n_partitions; i++) {
        mr_coverage_prefetch(c, i);
        status = encode_partition(&c->partition[i], out);
    }
    return status;
}

/* A text without NULs, to be kept as a string. */
static enum mr_status read_text(
    struct mr_reader *r, size_t n_min, char **text_out)
{
    struct mr_span text = mr_read_string(r);
    char *copy;

    if (r->bad || text.n < n_min ||
        (text.n > 0 && memchr(text.p, '\0', text.n)))
        return MR_FORMAT;
    copy = malloc(text.n + 1);
    if (!copy)
        return MR_NOMEM;
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *text_out = copy;
    return MR_OK;
}

static enum mr_status decode_names(
    struct mr_partition *p, struct mr_reader *r, const char **why)
{
    uint64_t n = mr_read_varint(r);
    enum mr_status status;

    if (r->bad || n < 1 || n > r->n / 2)
        return MR_FORMAT;
    p->name = array_of(n, sizeof(*p->name));
    if (!p->name)
        return MR_NOMEM;
    for (; p->n_names < n; p->n_names++) {
        status = read_text(r, 1, &p->name[p->n_names]);
        if (status != MR_OK)
            return status;
        if (p->n_names > 0 &&
            strcmp(p->name[p->n_names - 1], p->name[p->n_names]) >= 0) {
            *why = "the names of a partition do not ascend";
            p->n_names++;
            return MR_FORMAT;
        }
    }
    return MR_OK;
}

static enum mr_status decode_reasons(
    struct mr_partition *p, struct mr_reader *r, uint64_t *rejected)
{
    uint64_t n = mr_read_varint(r), reason, lines;
    size_t i;

    if (r->bad || n > MR_REASON_COUNT)
        return MR_FORMAT;
    p->reason = array_of(n, sizeof(*p->reason));
    if (!p->reason)
        return MR_NOMEM;
    p->n_reasons = (size_t)n;
    for (i = 0; i < n; i++) {
        reason = mr_read_varint(r);
        lines = mr_read_varint(r);
        if (r->bad || reason >= MR_REASON_COUNT || lines < 1 ||
            (i > 0 && reason <= p->reason[i - 1].reason) ||
            __builtin_add_overflow(*rejected, lines, rejected))
            return MR_FORMAT;
        p->reason[i] = (struct mr_reason_count){(uint32_t)reason, lines};
    }
    return MR_OK;
}

/* Read counts of cells from number first up to, and without, end, behind the
 * p->n_cells there are; n_out becomes their number, and events grows. */
static enum mr_status decode_cell_counts(struct mr_partition *p,
    struct mr_reader *r, uint64_t first, uint64_t end, size_t *n_out,
    uint64_t *events)
{
    uint64_t n = mr_read_varint(r), gap;
    struct mr_cell_count *cell;

    if (r->bad || n > r->n / 3)
        return MR_FORMAT;
    cell = realloc(p->cell, (p->n_cells + (size_t)n + 1) * sizeof(*cell));
    if (!cell)
        return MR_NOMEM;
    p->cell = cell;
    cell += p->n_cells;
    for (size_t i = 0; i < n; i++, cell++) {
        gap = mr_read_varint(r);
        cell->events = mr_read_varint(r);
        cell->without_user = mr_read_varint(r);
        if (r->bad || gap >= end - first || cell->events < 1 ||
            cell->without_user > cell->events ||
            __builtin_add_overflow(*events, cell->events, events))
            return MR_FORMAT;
        cell->cell = (uint32_t)(first + gap);
        first += gap + 1;
    }
    *n_out = (size_t)n;
    return MR_OK;
}

static enum mr_status decode_partition(struct mr_partition *p,
    struct mr_reader *r, size_t n_cells, const char **why)
{
    struct mr_span digest = mr_read_bytes(r, MR_DIGEST_BYTES);
    uint64_t rejected = 0, events = 0, lines;
    enum mr_status status;

    if (r->bad)
        return MR_FORMAT;
    memcpy(p->digest.b, digest.p, digest.n);
    status = decode_names(p, r, why);
    if (status != MR_OK)
        return status;
    p->stored_bytes = mr_read_varint(r);
    p->text_bytes = mr_read_varint(r);
    p->lines = mr_read_varint(r);
    p->blank = mr_read_varint(r);
    p->other_day = mr_read_varint(r);
    p->other_type = mr_read_varint(r);
    status = decode_reasons(p, r, &rejected);
    if (status == MR_OK)
        status = decode_cell_counts(p, r, 0, n_cells, &p->n_cells, &events);
    if (status != MR_OK)
        return status;
    if (__builtin_add_overflow(events, rejected, &lines) ||
        __builtin_add_overflow(lines, p->blank, &lines) || lines != p->lines ||
        p->other_day > events || p->other_type > events) {
        *why = "the counts of a partition do not add up";
        return MR_FORMAT;
    }
    return MR_OK;
}

static enum mr_status decode_partitions(
    struct mr_state_head *head, struct mr_reader *r, const char **why)
{
    struct mr_coverage *c = &head->coverage;
    uint64_t n = mr_read_varint(r);
    enum mr_status status = MR_OK;

    *why = "its partitions are malformed";
    if (r->bad || n > r->n / PARTITION_BYTES_MIN)
        return MR_FORMAT;
    c->partition = array_of(n, sizeof(*c->partition));
    if (!c->partition)
        return MR_NOMEM;
    c->cap_partitions = (size_t)n;
    while (c->n_partitions < n) {
        struct mr_partition *p = &c->partition[c->n_partitions++];

        status = decode_partition(p, r, head->n_cells, why);
        if (status != MR_OK)
            return status;
        if (c->n_partitions > 1 &&
            memcmp(p[-1].digest.b, p->digest.b, MR_DIGEST_BYTES) >= 0) {
            *why = "its partitions do not ascend";
            return MR_FORMAT;
        }
    }
    *why = "the counts of its partitions are too large";
    return mr_coverage_fits(c) ? MR_OK : MR_FORMAT;
}

/* FAIL. */

static enum mr_status encode_failures(
    const struct mr_state_head *head, struct mr_buffer *out)
{
    const struct mr_coverage *c = &head->coverage;
    enum mr_status status = mr_buffer_add_varint(out, c->n_failures);
    size_t i;

    for (i = 0; status == MR_OK && i < c->n_failures; i++) {
        const struct mr_failure *f = &c->failure[i];

        status = add_text(out, f->name);
        if (status == MR_OK) /* MR_NOWHERE becomes 0 */
            status = mr_buffer_add_varint(out, f->offset + 1);
        if (status == MR_OK)
            status = add_text(out, f->cause);
    }
    return status;
}

static enum mr_status decode_failures(
    struct mr_state_head *head, struct mr_reader *r, const char **why)
{
    struct mr_coverage *c = &head->coverage;
    uint64_t n = mr_read_varint(r);
    enum mr_status status;

    *why = "its failures are malformed";
    if (r->bad || n > r->n / FAILURE_BYTES_MIN)
        return MR_FORMAT;
    c->failure = array_of(n, sizeof(*c->failure));
    if (!c->failure)
        return MR_NOMEM;
    c->cap_failures = (size_t)n;
    while (c->n_failures < n) {
        struct mr_failure *f = &c->failure[c->n_failures++];

        status = read_text(r, 1, &f->name);
        if (status != MR_OK)
            return status;
        f->offset = mr_read_varint(r) - 1;
        status = read_text(r, 0, &f->cause);
        if (status != MR_OK)
            return status;
        if (c->n_failures > 1 && strcmp(f[-1].name, f->name) >= 0) {
            *why = "its failures do not ascend";
            return MR_FORMAT;
        }
    }
    /* Partitions and failures ascend; should settling still drop some
     * failures, then because their names have been read. */
    status = mr_coverage_settle(c);
    if (status == MR_OK && c->n_failures != n) {
        *why = "a failure has the name of a partition that was read";
        status = MR_FORMAT;
    }
    return status;
}

/* SKET. */

static bool is_empty_sketch(const struct mr_hll *h)
{
    return !h || (!h->dense && h->n == 0);
}

/* Those of the cells from first up to, and without, end. */
static enum mr_status encode_sketches(const struct mr_state_head *head,
    size_t first, size_t end, struct mr_buffer *out)
{
    enum mr_status status = MR_OK;

    for (size_t i = first; status == MR_OK && i < end; i++) {
        const struct mr_hll *h = head->sketch[i];
        uint8_t has_users = !is_empty_sketch(h);

        status = mr_buffer_add(out, &has_users, 1);
        if (status == MR_OK && has_users)
            status = mr_hll_encode(h, out);
    }
    return status;
}

static enum mr_status decode_sketch(
    struct mr_state_head *head, size_t i, struct mr_reader *r)
{
    unsigned has_users = mr_read_u8(r);
    enum mr_status status;

    if (r->bad || has_users > 1)
        return MR_FORMAT;
    if (!has_users)
        return MR_OK;
    head->sketch[i] = calloc(1, sizeof(**head->sketch));
    if (!head->sketch[i])
        return MR_NOMEM;
    status = mr_hll_decode(head->sketch[i], r, head->spec->sketch_bits);
    if (status == MR_OK && is_empty_sketch(head->sketch[i]))
        status = MR_FORMAT;
    return status;
}

static enum mr_status decode_sketches(
    struct mr_state_head *head, struct mr_reader *r, const char **why)
{
    enum mr_status status = MR_OK;

    *why = "its sketches are malformed";
    if (head->n_cells > r->n)
        return MR_FORMAT;
    head->sketch = array_of(head->n_cells, sizeof(*head->sketch));
    if (!head->sketch)
        return MR_NOMEM;
    for (size_t i = 0; i < head->n_cells && status == MR_OK; i++)
        status = decode_sketch(head, i, r);
    return status;
}

/* FIGU: figures, then their counts in each partition, then their sketches. */

static enum mr_status encode_figures(
    const struct mr_state_head *head, struct mr_buffer *out)
{
    const struct mr_coverage *c = &head->coverage;
    enum mr_status status = mr_buffer_add_varint(out, head->n_figures);
    size_t i;

    for (i = 0; status == MR_OK && i < head->n_figures; i++)
        status =
            mr_buffer_add_string(out, head->figure[i].p, head->figure[i].n);
    for (i = 0; status == MR_OK && i < c->n_partitions; i++) {
        const struct mr_partition *p = &c->partition[i];

        status = encode_cell_counts(
            p->cell + p->n_cells, p->n_figures, head->n_cells, out);
    }
    return status == MR_OK ? encode_sketches(head, head->n_cells,
                                 mr_head_numbers(head), out)
                           : status;
}

/* Whether a text's kind is known, and its length one of that kind's. */
static bool is_figure(struct mr_span text)
{
    return text.n >= 1 && text.p[0] != MR_TEXT_TYPE &&
           text.n <= 1 + MR_TYPE_MAX_BYTES;
}

/* Whether a spec has what a text says. */
static bool spec_has(const struct mr_spec *spec, struct mr_span text)
{
    struct mr_span value[MR_ROLLUP_FIELDS_MAX];
    unsigned rollup = text.p[0] - (unsigned)MR_TEXT_ROLLUP;

    if (text.p[0] == MR_TEXT_IDENTITY) {
        for (unsigned i = 0; spec->n_users > 1 && i < spec->n_users; i++)
            if (mr_span_compare(mr_text_span(spec->user[i]),
                    (struct mr_span){text.p + 1, text.n - 1}) == 0)
                return true;
        return false;
    }
    if (text.p[0] == MR_TEXT_UNKNOWN)
        return spec->users_table.given && text.n > 1;
    if (text.p[0] == MR_TEXT_ATTRIBUTE)
        return text.n > 2 && text.p[1] >= 1 && text.p[1] <= spec->n_segments_by;
    return text.p[0] >= MR_TEXT_ROLLUP && rollup < spec->n_rollups &&
           mr_group_decode(text, spec->rollup[rollup].n_by, value) !=
               MR_GROUP_BAD;
}

static bool are_of_spec(const struct mr_state_head *head)
{
    for (size_t i = 0; i < head->n_figures; i++)
        if (!spec_has(head->spec, head->figure[i]))
            return false;
    return mr_head_odd_rollup(head) == head->spec->n_rollups;
}

/* Whether an event is counted by one of the two figures at most. */
static bool are_apart(struct mr_span a, struct mr_span b)
{
    return a.p[0] == b.p[0] &&
           (a.p[0] != MR_TEXT_ATTRIBUTE || a.p[1] == b.p[1]);
}

/* Whether a partition has no more of figures that are apart, which follow one
 * another, than of all its events. */
static bool counts_fit(
    const struct mr_state_head *head, const struct mr_partition *p)
{
    const struct mr_cell_count *count = p->cell + p->n_cells;
    uint64_t all = 0, left = 0;

    for (size_t k = 0; k < p->n_cells; k++)
        all += p->cell[k].events;
    for (size_t k = 0; k < p->n_figures; k++) {
        size_t figure = count[k].cell - head->n_cells;

        if (k == 0 ||
            !are_apart(head->figure[count[k - 1].cell - head->n_cells],
                head->figure[figure]))
            left = all;
        if (count[k].events > left)
            return false;
        left -= count[k].events;
    }
    return true;
}

static enum mr_status decode_figure_counts(
    struct mr_state_head *head, struct mr_reader *r)
{
    for (size_t i = 0; i < head->coverage.n_partitions; i++) {
        struct mr_partition *p = &head->coverage.partition[i];
        uint64_t events = 0;
        enum mr_status status = decode_cell_counts(
            p, r, head->n_cells, mr_head_numbers(head), &p->n_figures, &events);

        if (status != MR_OK)
            return status;
        if (!counts_fit(head, p))
            return MR_FORMAT;
    }
    return MR_OK;
}

unsigned mr_head_odd_rollup(const struct mr_state_head *head)
{
    size_t end;

    for (size_t first = 0; first < head->n_figures; first = end) {
        unsigned kind = head->figure[first].p[0];
        bool has_further = head->figure[first].n == 1;
        size_t n, most;

        for (end = first;
             end < head->n_figures && head->figure[end].p[0] == kind; end++)
            continue;
        if (kind < MR_TEXT_ROLLUP)
            continue;
        n = end - first - has_further;
        most = head->spec->rollup[kind - MR_TEXT_ROLLUP].max_groups;
        if (n > most || (has_further && n < most))
            return kind - MR_TEXT_ROLLUP;
    }
    return head->spec->n_rollups;
}

/* Whether two names have the same value, or none, in the folders of a key. */
static enum mr_status compare_folders(const char *a, const char *b,
    const char *key, struct mr_buffer *scratch, bool *same_out)
{
    bool has_a = false, has_b = false;
    enum mr_status status = mr_folder_value(a, key, &scratch[0], &has_a);

    if (status == MR_OK)
        status = mr_folder_value(b, key, &scratch[1], &has_b);
    *same_out = has_a == has_b &&
                mr_span_compare((struct mr_span){scratch[0].p, scratch[0].n},
                    (struct mr_span){scratch[1].p, scratch[1].n}) == 0;
    return status;
}

/* The names of a partition, by one folder. */
static enum mr_status check_names(const struct mr_partition *p,
    const struct mr_rollup *rollup, const char *key, struct mr_buffer *scratch,
    struct mr_error *err)
{
    for (size_t i = 1; i < p->n_names; i++) {
        bool same;

        if (compare_folders(p->name[0], p->name[i], key, scratch, &same) !=
            MR_OK)
            return mr_fail_nomem(err);
        if (!same)
            return mr_fail(err, MR_MISMATCH, MR_NOWHERE,
                "keep one of the two, or take that folder out of the rollup, "
                "and map again",
                "rollup '%s' takes values from folder '%s', which differs in "
                "two names of the same bytes: '%.80s' and '%.80s'",
                rollup->name, key, p->name[0], p->name[i]);
    }
    return MR_OK;
}

enum mr_status mr_head_check_folders(
    const struct mr_state_head *head, struct mr_error *err)
{
    const struct mr_coverage *c = &head->coverage;
    struct mr_buffer scratch[2] = {{0}, {0}};
    enum mr_status status = MR_OK;

    for (unsigned r = 0; r < head->spec->n_rollups; r++) {
        const struct mr_rollup *rollup = &head->spec->rollup[r];

        for (unsigned k = 0; k < rollup->n_by; k++)
            for (size_t i = 0; rollup->by[k].from == MR_FROM_FOLDER &&
                               i < c->n_partitions && status == MR_OK;
                 i++)
                if (c->partition[i].n_names > 1 && c->partition[i].n_cells > 0)
                    status = check_names(&c->partition[i], rollup,
                        rollup->by[k].text, scratch, err);
    }
    mr_buffer_release(&scratch[0]);
    mr_buffer_release(&scratch[1]);
    return status;
}

static enum mr_status decode_figures(
    struct mr_state_head *head, struct mr_reader *r, const char **why)
{
    struct mr_hll **sketch;
    enum mr_status status;

    *why = "its texts are malformed, or do not ascend";
    status = decode_texts(
        r, is_figure, &head->figure_bytes, &head->figure, &head->n_figures);
    if (status != MR_OK)
        return status;
    *why = "its counts or sketches are malformed";
    /* Room first: what releases the head goes by the number of figures. */
    sketch = realloc(
        head->sketch, (mr_head_numbers(head) + 1) * sizeof(*head->sketch));
    if (!sketch) {
        head->n_figures = 0;
        return MR_NOMEM;
    }
    head->sketch = sketch;
    for (size_t i = head->n_cells; i < mr_head_numbers(head); i++)
        sketch[i] = NULL;
    if (!are_of_spec(head)) {
        *why = "its texts are not of its spec's figures";
        return MR_FORMAT;
    }
    status = decode_figure_counts(head, r);
    for (size_t i = head->n_cells; i < mr_head_numbers(head) && status == MR_OK;
         i++)
        status = decode_sketch(head, i, r);
    return status;
}

/* All of them. */

enum mr_status mr_head_encode(const struct mr_state_head *head,
    enum mr_chunk chunk, struct mr_buffer *out)
{
    switch (chunk) {
    case MR_CHUNK_SPEC:
        return mr_spec_text(head->spec, out);
    case MR_CHUNK_TYPE:
        return encode_types(head, out);
    case MR_CHUNK_CELL:
        return encode_cells(head, out);
    case MR_CHUNK_PART:
        return encode_partitions(head, out);
    case MR_CHUNK_FAIL:
        return encode_failures(head, out);
    case MR_CHUNK_SKET:
        return encode_sketches(head, 0, head->n_cells, out);
    case MR_CHUNK_FIGU:
        return encode_figures(head, out);
    default: /* blocks and their indexes */
        break;
    }
    return MR_USAGE;
}

enum mr_status mr_head_decode(struct mr_state_head *head, enum mr_chunk chunk,
    struct mr_span plain, const char **why)
{
    struct mr_reader r = {plain.p, plain.n, false};
    enum mr_status status = MR_USAGE;

    if (chunk == MR_CHUNK_TYPE)
        status = decode_types(head, &r, why);
    else if (chunk == MR_CHUNK_CELL)
        status = decode_cells(head, &r, why);
    else if (chunk == MR_CHUNK_PART)
        status = decode_partitions(head, &r, why);
    else if (chunk == MR_CHUNK_FAIL)
        status = decode_failures(head, &r, why);
    else if (chunk == MR_CHUNK_SKET)
        status = decode_sketches(head, &r, why);
    else if (chunk == MR_CHUNK_FIGU)
        status = decode_figures(head, &r, why);
    if (status == MR_OK && r.n > 0) {
        *why = "bytes follow its end";
        status = MR_FORMAT;
    }
    return status;
}

/* What some partition has in a cell. */
#define HAS_EVENTS 1
#define HAS_USERS 2

static const char *check_cells(
    const struct mr_state_head *head, const uint8_t *has)
{
    size_t i;

    for (i = 0; i < mr_head_numbers(head); i++) {
        if ((has[i] & HAS_EVENTS) == 0)
            return "a cell has no events";
        if (((has[i] & HAS_USERS) != 0) == is_empty_sketch(head->sketch[i]))
            return "a cell's sketch does not fit its events";
    }
    return NULL;
}

static const char *check_types(const struct mr_state_head *head, uint8_t *used)
{
    size_t i;

    for (i = 0; i < head->n_cells; i++)
        used[head->cell[i].type] = 1;
    for (i = 0; i < head->n_types; i++) {
        if (!used[i])
            return "a type has no cell";
    }
    return NULL;
}

enum mr_status mr_head_check(const struct mr_state_head *head, const char **why)
{
    const struct mr_coverage *c = &head->coverage;
    uint8_t *has = array_of(mr_head_numbers(head), 1);
    uint8_t *used = array_of(head->n_types, 1);
    enum mr_status status = MR_NOMEM;
    size_t i, j;

    if (!has || !used)
        goto done;
    for (i = 0; i < c->n_partitions; i++) {
        const struct mr_partition *p = &c->partition[i];

        mr_coverage_prefetch(c, i);
        for (j = 0; j < p->n_cells + p->n_figures; j++) {
            const struct mr_cell_count *cell = &p->cell[j];

            has[cell->cell] |= cell->events > cell->without_user
                                   ? HAS_EVENTS | HAS_USERS
                                   : HAS_EVENTS;
        }
    }
    *why = check_types(head, used);
    if (!*why)
        *why = check_cells(head, has);
    status = *why ? MR_MISMATCH : MR_OK;
done:
    free(has);
    free(used);
    return status;
}
