#ifndef MR_DIALECT_H
#define MR_DIALECT_H

#include "mr/bytes.h"
#include "mr/csv_rules.h"

/* How samples of delimiter-separated values are written.  Text that is the
 * beginning of a file, cut behind a line. */

/* Columns that are looked at; further ones of a record are left out. */
#define MR_DIALECT_COLUMNS 1024

struct mr_dialect_field {
    struct mr_span text; /* between the quotes, still escaped */
    bool quoted, escaped;
    bool spoiled; /* something stands behind the closing quote */
};

struct mr_dialect_record {
    struct mr_dialect_field field[MR_DIALECT_COLUMNS];
    size_t n;
};

/** mr_dialect_next(rules, rest, record): Take the next record that is not
 * empty off a text; false at its end. */
bool mr_dialect_next(const struct mr_csv_rules *rules, struct mr_span *rest,
    struct mr_dialect_record *record_out);

/** mr_dialect_tell(text, record, rules): Tell delimiter, quote, escape and
 * spaces; header and null words are left to the caller.  Where no field is
 * quoted, the quote is a double one, but none with tabs.  record is room to
 * work in.  False if no delimiter parts most lines into equally many fields.
 */
bool mr_dialect_tell(struct mr_span text, struct mr_dialect_record *record,
    struct mr_csv_rules *rules_out);

#endif
