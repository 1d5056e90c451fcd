#ifndef MR_ROWS_KIND_H
#define MR_ROWS_KIND_H

/** How rows are written. */
enum mr_rows_kind {
    /* RFC 4180, with LF: no value is an empty field, empty text is "". */
    MR_ROWS_CSV,
    /* As PostgreSQL's COPY reads text: no value is \N; a tab, line feed, CR or
     * backslash is written \t, \n, \r, \\. */
    MR_ROWS_TSV,
    /* An object a line: no value is null; numbers, true and false that stand
     * in a record so are written so, all else is a string. */
    MR_ROWS_JSONL
};

#endif
