#ifndef MR_CSV_H
#define MR_CSV_H

#include "mr/csv_rules.h"
#include "mr/fields.h"

/*
 * Fields of delimiter-separated values: RFC 4180, and what real files do
 * otherwise (mr/csv_rules.h).  Read as JSON is: a reader is set on a block of
 * whole records, as mr_lines_next gives them, and gives one record after the
 * other.  Nothing is allocated per record.
 *
 * A record ends at a line feed that is not quoted, with a CR before it or
 * none, or with the text, where a CR may stand last, too.  It is valid if all
 * of it is UTF-8 without NUL, and every field that begins with a quote ends
 * with one.  A quote within a field that does not begin with one is a
 * character like any other.  What stands behind a closing quote spoils the
 * record, and is read on as if it were not quoted; so the record after it is
 * found.  A record may have fewer fields than others, or more.
 */

/* The last column that can be wanted. */
#define MR_CSV_COLUMNS_MAX MR_CSV_KEPT_MAX

/** The wanted columns.  Plain data; any number of readers share one. */
struct mr_csv_plan {
    struct mr_csv_rules rules;
    uint64_t max_line_bytes;
    size_t n_wanted;
    uint32_t column[MR_FIELDS_MAX]; /* from 1 on; 0: in no record */
    uint32_t last;                  /* the greatest of them */
};

/**
 * mr_csv_plan_init(plan, rules, columns, n, max_line_bytes, err): Want n
 * columns by their numbers, from 1 on, in digits; what is empty is never
 * found.  MR_USAGE for anything else, above MR_CSV_COLUMNS_MAX, or too many.
 */
MR_MUST_CHECK enum mr_status mr_csv_plan_init(struct mr_csv_plan *plan_out,
    const struct mr_csv_rules *rules, const char *const *columns, size_t n,
    uint64_t max_line_bytes, struct mr_error *err);

/** A cursor over records; about 515 KiB, of which usual text touches some 30.
 * One thread. */
struct mr_csv_reader;

MR_MUST_CHECK enum mr_status mr_csv_reader_new(
    struct mr_csv_reader **reader_out, struct mr_error *err);
void mr_csv_reader_free(struct mr_csv_reader *reader);

/** What mr_csv_header has found. */
struct mr_csv_header {
    bool found;     /* else the block has empty lines only */
    size_t bytes;   /* of the block, up to and with the header row's end */
    uint64_t blank; /* empty lines before it */
};

/**
 * mr_csv_header(reader, rules, columns, n, max_line_bytes, block, header,
 * plan, err): Want n columns by their names in the header row, the first row
 * of a partition that is not empty; block is the partition's first, or if
 * that had empty lines only, the next.  Names are compared as they are
 * without quotes; of two alike the first counts.  A name that is not there
 * but is a number is a column's number; what is empty is never found.
 * MR_FORMAT, and the partition cannot be read, if a column is missing or the
 * row is not valid.  plan is set only if the row was found.  The reader is
 * free for another block afterwards.
 */
MR_MUST_CHECK enum mr_status mr_csv_header(struct mr_csv_reader *reader,
    const struct mr_csv_rules *rules, const char *const *columns, size_t n,
    uint64_t max_line_bytes, struct mr_span block,
    struct mr_csv_header *header_out, struct mr_csv_plan *plan_out,
    struct mr_error *err);

/**
 * mr_csv_reader_set(reader, plan, block): Begin on a block of whole records;
 * only the last may lack its end.  The plan must stay as it is until the last
 * record has been read, and the block, of less than 4 GiB, until it has been
 * used; no byte beyond it is read.
 */
void mr_csv_reader_set(struct mr_csv_reader *reader,
    const struct mr_csv_plan *plan, struct mr_span block);

/**
 * mr_csv_next(reader, record): The next record, its verdict and its values by
 * the index of the column in the plan.  MR_LINE_BLANK is a line without a
 * byte; MR_LINE_INVALID is as above; MR_LINE_TOO_LONG one of more than
 * max_line_bytes, quoted line feeds counted and its end not; none is too
 * deep.  A value's kind is MR_KIND_STRING, its text being between the quotes,
 * and escaped if quotes or backslashes must be taken out; an empty field is an
 * empty string.  It is MR_KIND_NULL for one of the rules' words where that is
 * not quoted, and MR_KIND_NONE where the record has too few fields.
 */
void mr_csv_next(struct mr_csv_reader *reader, struct mr_record *record_out);

/**
 * mr_csv_unescape(rules, text, out, cap): Write the text of a value that is
 * marked as escaped to out[cap] as it is meant; return its length.  The result
 * is never longer than the text; when cap is shorter than the result, only
 * whole characters that fit are written, but the full length is returned.
 */
size_t mr_csv_unescape(const struct mr_csv_rules *rules, struct mr_span text,
    uint8_t *out, size_t cap);

#endif
