#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/groupkey.h"

#include "mr/text.h"

#define MARK "\xe2\x80\xa6" /* U+2026 */
#define MARK_BYTES (sizeof MARK - 1)

_Static_assert(MR_GROUP_VALUE_MAX + 1 < 1 << 14, "a length takes two bytes");
_Static_assert((MR_TYPE_MAX_BYTES - 1) / MR_ROLLUP_FIELDS_MAX > 2 + MARK_BYTES,
    "the mark has room");

/* Bytes of a value to keep before the mark. */
static size_t cut_length(struct mr_span value, size_t max)
{
    size_t n = max - MARK_BYTES;

    /* The byte behind the cut begins a character. */
    while (n > 0 && (value.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static uint8_t *put_value(uint8_t *p, struct mr_span value, size_t max)
{
    size_t n = value.n;

    if (value.p == NULL) {
        *p = 0;
        return p + 1;
    }
    if (n <= max) {
        p += mr_put_varint(p, n + 1);
        if (n > 0)
            memcpy(p, value.p, n);
        return p + n;
    }
    n = cut_length(value, max);
    p += mr_put_varint(p, n + MARK_BYTES + 1);
    memcpy(p, value.p, n);
    memcpy(p + n, MARK, MARK_BYTES);
    return p + n + MARK_BYTES;
}

size_t mr_group_encode(unsigned rollup, const struct mr_span *value, unsigned n,
    uint8_t out[MR_TYPE_MAX_BYTES])
{
    size_t max = mr_group_value_max(n);
    uint8_t *p = out;

    *p++ = (uint8_t)(MR_GROUP_KIND + rollup);
    for (unsigned i = 0; i < n; i++)
        p = put_value(p, value[i], max);
    return (size_t)(p - out);
}

enum mr_group_what mr_group_decode(
    struct mr_span text, unsigned n, struct mr_span *value_out)
{
    struct mr_reader r = {text.p, text.n, false};
    struct mr_span value[MR_ROLLUP_FIELDS_MAX];
    size_t max = mr_group_value_max(n);

    (void)mr_read_u8(&r);
    if (!r.bad && r.n == 0)
        return MR_GROUP_FURTHER;
    for (unsigned i = 0; i < n; i++) {
        uint64_t length = mr_read_varint(&r);

        if (r.bad || length > max + 1)
            return MR_GROUP_BAD;
        value[i] = (struct mr_span){NULL, 0};
        if (length > 0)
            value[i] = mr_read_bytes(&r, length - 1);
        if (r.bad || !mr_text_is_utf8(value[i]))
            return MR_GROUP_BAD;
    }
    if (r.n > 0)
        return MR_GROUP_BAD;
    memcpy(value_out, value, n * sizeof *value);
    return MR_GROUP_VALUES;
}
