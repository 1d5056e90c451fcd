#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mr/derive.h"
#include "mr/groupkey.h"
#include "mr/text.h"

/*
 * Any bytes as a URL, and as the text of a group of as many values as the
 * first byte says.  The parts of a URL are stretches of it or of its scratch
 * memory, and a URL that is written anew from them has the same.  A group's
 * text that is accepted is what its values are written as.
 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

static void *memory(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);

    demand(p != NULL);
    return p;
}

static bool is_within(struct mr_span part, struct mr_span text)
{
    uintptr_t p = (uintptr_t)part.p, from = (uintptr_t)text.p;

    return p >= from && p + part.n <= from + text.n;
}

/* Every byte as %XX. */
static uint8_t *encode(uint8_t *p, struct mr_span part)
{
    static const char digit[] = "0123456789abcdef";

    for (size_t i = 0; i < part.n; i++) {
        *p++ = '%';
        *p++ = (uint8_t)digit[part.p[i] >> 4];
        *p++ = (uint8_t)digit[part.p[i] & 15];
    }
    return p;
}

static void compare_parts(struct mr_span a, struct mr_span b)
{
    demand((a.p == NULL) == (b.p == NULL) && mr_span_compare(a, b) == 0);
}

static void write_anew(const struct mr_url *url, size_t size)
{
    uint8_t *text = memory(3 * size + 2 + MR_URL_STEPS), *p = text;
    uint8_t *scratch;
    struct mr_url again;

    *p++ = '/';
    *p++ = '/';
    if (url->host.n > 0 && url->host.p[0] == '[') {
        memcpy(p, url->host.p, url->host.n);
        p += url->host.n;
    } else {
        p = encode(p, url->host);
    }
    for (unsigned i = 0; i < url->n_steps; i++) {
        *p++ = '/';
        p = encode(p, url->step[i]);
    }
    scratch = memory((size_t)(p - text));
    mr_url_read((struct mr_span){text, (size_t)(p - text)}, scratch, &again);
    compare_parts(url->host, again.host);
    demand(url->n_steps == again.n_steps);
    for (unsigned i = 0; i < url->n_steps; i++)
        compare_parts(url->step[i], again.step[i]);
    free(text);
    free(scratch);
}

static void read_url(struct mr_span text)
{
    struct mr_span scratch = {memory(text.n), text.n};
    struct mr_url url;
    bool plain = mr_text_is_utf8(text) &&
                 (text.n == 0 || memchr(text.p, 0, text.n) == NULL);

    memset((uint8_t *)(uintptr_t)scratch.p, 0, scratch.n);
    mr_url_read(text, (uint8_t *)(uintptr_t)scratch.p, &url);
    demand(url.n_steps <= MR_URL_STEPS);
    demand(url.host.p == NULL || is_within(url.host, text) ||
           is_within(url.host, scratch));
    for (unsigned i = 0; i < url.n_steps; i++)
        demand(url.step[i].n > 0 && (is_within(url.step[i], text) ||
                                        is_within(url.step[i], scratch)));
    if (plain)
        write_anew(&url, text.n);
    free((uint8_t *)(uintptr_t)scratch.p);
}

static void read_group(struct mr_span text, unsigned n)
{
    struct mr_span value[MR_ROLLUP_FIELDS_MAX];
    uint8_t again[MR_TYPE_MAX_BYTES];
    enum mr_group_what what = mr_group_decode(text, n, value);

    if (what == MR_GROUP_FURTHER)
        demand(text.n == 1);
    if (what != MR_GROUP_VALUES)
        return;
    demand(text.n <= MR_TYPE_MAX_BYTES);
    demand(mr_group_encode(0, value, n, again) == text.n);
    demand(memcmp(again + 1, text.p + 1, text.n - 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mr_span text = {data + 1, size - 1};

    if (size == 0)
        return 0;
    read_url(text);
    read_group(text, data[0] % MR_ROLLUP_FIELDS_MAX + 1);
    return 0;
}
