#ifndef MR_JSONPEEK_H
#define MR_JSONPEEK_H

#include "mr/fields.h"

/* Going through a text that may be JSON, or the beginning of some, without
 * judging it.  Nothing beyond the text is read, whatever it is. */

/** mr_peek_skip(text): The text without white space before it. */
struct mr_span mr_peek_skip(struct mr_span text);

/** mr_peek_length(text): The length of the value that a text begins with; 0
 * if it does not end in it. */
size_t mr_peek_length(struct mr_span text);

/** mr_peek_kind(value): By its first byte; MR_KIND_NONE for what is no value.
 */
enum mr_kind mr_peek_kind(struct mr_span value);

/** mr_peek_open(text, open, rest): Whether a text begins with open, a bracket
 * or a brace; rest is what stands behind it. */
bool mr_peek_open(struct mr_span text, char open, struct mr_span *rest_out);

/** mr_peek_key(rest, key): Take the next key, still escaped and without its
 * quotes, and its colon off the inside of an object; rest then begins with
 * the value.  False at the end, or if there is none. */
bool mr_peek_key(struct mr_span *rest, struct mr_span *key_out);

/** mr_peek_element(rest, value): Take the next value off the inside of an
 * array, of an object behind a key, or of values one after another, with a
 * comma before it if there is one.  False at the end, and where the value
 * does not end in the text. */
bool mr_peek_element(struct mr_span *rest, struct mr_span *value_out);

#endif
