#ifndef MR_GROUPKEY_H
#define MR_GROUPKEY_H

#include "mr/spec.h"

/*
 * A group of a rollup as one text, which stands among a state's types.
 *
 * The first byte, MR_GROUP_KIND + the rollup's number in the spec, tells it
 * from an event's type.  Of each value in the rollup's order follow its length
 * plus one as a varint and its bytes; of a value that there is none of, a
 * zero.  An empty value is not the same as none.  The first byte alone means
 * all further groups, those past max_groups.
 *
 * Neither a value nor the text grows beyond measure.  A value of more than
 * mr_group_value_max(n) bytes, n being the number of the rollup's values, is
 * cut after the last character that leaves room for the mark, U+2026 (an
 * ellipsis), within so many bytes.  So values that have those bytes in common
 * are one group, which its mark tells; and the limit depends on nothing but
 * the spec, so that a value is cut alike in all groups.
 */

#define MR_GROUP_KIND 16u
/* Most bytes of a value, where there are few. */
#define MR_GROUP_VALUE_MAX 256

/** mr_group_value_max(n): Most bytes of each of n values, 1 to
 * MR_ROLLUP_FIELDS_MAX: 256 for up to three; 253, 202, 168, 144, 125 for
 * four to eight, so that no text is above MR_TYPE_MAX_BYTES. */
static inline size_t mr_group_value_max(unsigned n)
{
    /* A length takes two bytes. */
    size_t room = (MR_TYPE_MAX_BYTES - 1) / n - 2;

    return room < MR_GROUP_VALUE_MAX ? room : MR_GROUP_VALUE_MAX;
}

/** mr_group_encode(rollup, value, n, out): Write the text of the group of n
 * values, 1 to MR_ROLLUP_FIELDS_MAX, UTF-8; p is NULL where there is no value.
 * Return its length. */
size_t mr_group_encode(unsigned rollup, const struct mr_span *value, unsigned n,
    uint8_t out[MR_TYPE_MAX_BYTES]);

/** What a text that does not begin with an event type's kind says. */
enum mr_group_what {
    MR_GROUP_BAD,    /* nothing: it is not what mr_group_encode writes */
    MR_GROUP_VALUES, /* the group of some values */
    MR_GROUP_FURTHER /* all further groups */
};

/** mr_group_decode(text, n, value): Read a text of a rollup of n values, its
 * first byte not looked at; the values stand in it.  Any bytes may be given:
 * a value that is too long, or no UTF-8, one too few or something behind the
 * last are MR_GROUP_BAD, and value is then unchanged. */
enum mr_group_what mr_group_decode(
    struct mr_span text, unsigned n, struct mr_span *value_out);

#endif
