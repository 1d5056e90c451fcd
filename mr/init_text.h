#ifndef MR_INIT_TEXT_H
#define MR_INIT_TEXT_H

#include "mr/guess.h"
#include "mr/mr.h"
#include "mr/spec.h"

/** How the records of samples are written. */
struct mr_init_shape {
    enum mr_input_format format;
    mr_path records;                     /* of MR_INPUT_JSON_ARRAY */
    struct mr_csv_rules csv;             /* of CSV and TSV */
    size_t columns;                      /* of CSV and TSV: the most of a row */
    const char *source;                  /* the first partition's name */
    const struct mr_builtin_spec *known; /* reads them; or NULL */
};

/** mr_init_text(guess, choice, shape, out, result): Append the spec as YAML
 * with comments, and say in result what is lacking.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_init_text(const struct mr_guess *guess,
    const struct mr_guess_choice *choice, const struct mr_init_shape *shape,
    struct mr_buffer *out, struct mr_init_result *result_out);

#endif
