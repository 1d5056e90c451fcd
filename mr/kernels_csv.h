/*
 * The part of kernels_template.h that is about CSV, included by it once for
 * each level.
 *
 * Where every quote opens a field, closes it or is doubled, what stands
 * behind an odd number of quotes is quoted, a doubled one being a quoted
 * stretch that ends and one that begins.  So parity is tried first, and if a
 * quote of the 64 bytes stands where none should, they are walked mark by
 * mark.  Both know of the text before just what it left as the "place".
 */

#ifndef OWN_APPEND_OFFSETS
static inline TARGET size_t LEVEL(append_offsets)(
    uint32_t *list, size_t n, uint64_t set, size_t base)
{
    return append_offsets_each(list, n, set, base);
}
#endif

/* Where fields may begin: behind a stop, and behind spaces that are skipped
 * there.  begun is the block's carry, before and behind it. */
static inline TARGET uint64_t LEVEL(csv_starts)(
    uint64_t stop, uint64_t space, uint64_t *begun_inout)
{
    uint64_t starts = stop << 1 | (*begun_inout ^ 1);
    uint64_t sum;
    /* Adding a run's first bit carries through it. */
    bool open = __builtin_add_overflow(space, starts & space, &sum);

    /* The last byte is no space and a stop at once. */
    *begun_inout = (uint64_t)open ^ 1 ^ stop >> 63;
    return (starts | sum) & ~space;
}

/* The stops of a block. */
static inline __attribute__((always_inline)) TARGET struct csv_found LEVEL(
    find_csv)(BLOCK b, const struct mr_csv_rules *rules, struct mr_csv_carry *c)
{
    struct csv_marks m = {.newline = LEVEL(equal)(b, '\n')};
    struct mr_token_carry escape = {.escaped = c->escaped};
    uint64_t begun = c->begun;
    uint64_t quote, quoted, opening, closing, closed, cr, starts, bad;

    m.stop = m.newline | LEVEL(equal)(b, (uint8_t)rules->delimiter);
    if (rules->quote == 0)
        return (struct csv_found){m.stop, m.newline, 0};
    quote = m.quote = LEVEL(equal)(b, (uint8_t)rules->quote);
    m.cr = LEVEL(equal)(b, '\r');
    if (rules->skip_spaces)
        m.space = LEVEL(equal)(b, ' ') & ~m.stop;
    if (rules->backslash) {
        m.backslash = LEVEL(equal)(b, '\\');
        /* Where nothing is quoted a backslash escapes nothing, but a quote
         * behind it begins no field either. */
        quote &= ~LEVEL(find_escaped)(m.backslash, &starts, &escape);
    }
    quoted = LEVEL(prefix_xor)(quote) ^ c->quoted;
    opening = quote & quoted;
    closing = quote & ~quoted;
    closed = closing << 1 | c->closed;
    cr = m.cr & closed;
    starts = LEVEL(csv_starts)(m.stop & ~quoted, m.space & ~quoted, &begun);
    if (!rules->backslash)
        starts |= closed;
    bad = (opening & ~starts) | (closed & ~(m.stop | cr | opening)) |
          ((cr << 1 | c->closed_cr) & ~m.newline);
    if (__builtin_expect(bad != 0, 0))
        return walk_csv(&m, rules->backslash, c);
    c->begun = begun;
    c->quoted = 0 - (quoted >> 63);
    c->escaped = escape.escaped & c->quoted;
    c->closed = closing >> 63;
    c->closed_cr = cr >> 63;
    return (struct csv_found){m.stop & ~quoted, m.newline & ~quoted, 0};
}

/* Append the stops of the first n_block bytes of a block, whose first byte is
 * at p and at offset base of the text. */
static inline __attribute__((always_inline)) TARGET void LEVEL(take_stops)(
    const struct mr_csv_rules *rules, struct mr_csv_stops *t,
    struct mr_csv_carry *c, const uint8_t *p, size_t base, size_t n_block)
{
    BLOCK b = LEVEL(load)(p);
    uint64_t nul = LEVEL(equal)(b, 0);
    uint64_t high = LEVEL(range)(b, 0x80, 0xFF);
    struct csv_found found = LEVEL(find_csv)(b, rules, c);
    uint64_t range = UINT64_MAX >> (64 - n_block);
    uint64_t ends;

    if (__builtin_expect((nul | high | c->lead) != 0, 0)) {
        struct mr_token_carry utf8 = {.lead = c->lead, .last = c->last};
        /* A record's first byte continues nothing, whatever the one before
         * has demanded across its end. */
        uint64_t first = found.end << 1 | (c->last == '\n');
        uint64_t suspect = nul | (first & LEVEL(range)(b, 0x80, 0xBF)) |
                           LEVEL(check_utf8)(b, p[63], &utf8);

        c->lead = utf8.lead;
        c->last = utf8.last;
        t->n_suspect = LEVEL(append_offsets)(
            t->suspect, t->n_suspect, suspect & range, base);
    }
    for (ends = found.end & range; ends; ends &= ends - 1) {
        uint64_t before = found.stop & (ends ^ (ends - 1)) >> 1;

        t->end[t->n_ends++] =
            (uint32_t)(t->n + (size_t)__builtin_popcountll(before));
    }
    t->n = LEVEL(append_offsets)(t->pos + 1, t->n, found.stop & range, base);
    if (__builtin_expect((found.bad & range) != 0, 0))
        t->n_bad =
            LEVEL(append_offsets)(t->bad, t->n_bad, found.bad & range, base);
}

static TARGET void LEVEL(csv_stops)(const struct mr_csv_rules *rules,
    struct mr_csv_stops *t, const uint8_t *text, size_t at, size_t n_text)
{
    bool last = n_text - at <= MR_CSV_SCAN_BYTES;
    size_t n = last ? n_text : at + MR_CSV_SCAN_BYTES;
    struct mr_csv_carry c = t->carry;
    uint8_t tail[64];

    t->n_ends = t->n_bad = t->n_suspect = 0;
    for (; n - at >= 64; at += 64) {
        /* Behind the text's end it does nothing. */
        __builtin_prefetch(
            (const void *)((uintptr_t)(text + at) + PREFETCH_BYTES));
        LEVEL(take_stops)(rules, t, &c, text + at, at, 64);
    }
    if (last) {
        memset(tail, '\n', sizeof tail);
        if (n > at)
            memcpy(tail, text + at, n - at);
        LEVEL(take_stops)(rules, t, &c, tail, at, n - at + 1);
    }
    t->carry = c;
}

static TARGET size_t LEVEL(csv_ends)(const struct mr_csv_rules *rules,
    struct mr_csv_carry *carry, const uint8_t *text, size_t n,
    size_t *first_out)
{
    struct mr_csv_carry c = *carry;
    size_t first = 0, last = 0, at;
    uint8_t tail[64];

    for (at = 0; at < n; at += 64) {
        const uint8_t *p = text + at;
        uint64_t range = UINT64_MAX;
        uint64_t end;

        if (n - at < 64) {
            memset(tail, '\n', sizeof tail);
            p = memcpy(tail, p, n - at);
            range >>= 64 - (n - at);
        }
        __builtin_prefetch((const void *)((uintptr_t)p + PREFETCH_BYTES));
        end = LEVEL(find_csv)(LEVEL(load)(p), rules, &c).end & range;
        if (end == 0)
            continue;
        if (first == 0)
            first = at + (size_t)__builtin_ctzll(end) + 1;
        last = at + 64 - (size_t)__builtin_clzll(end);
    }
    *carry = c;
    *first_out = first;
    return last;
}
