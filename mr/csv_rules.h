#ifndef MR_CSV_RULES_H
#define MR_CSV_RULES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * How a file of delimiter-separated values is written: RFC 4180, and what
 * real files do otherwise.  Plain data, shared by the spec, the reader of
 * events and the users table.
 */

/* Words that stand for no value, and the longest of them, in bytes. */
#define MR_CSV_NULLS_MAX 8
#define MR_CSV_NULL_MAX_BYTES 16

struct mr_csv_rules {
    char delimiter;   /* ASCII; none of quote, backslash, CR, LF */
    char quote;       /* '"' or '\''; 0: nothing is quoted */
    bool backslash;   /* \x within quotes is x; else a quote is doubled */
    bool header;      /* the first row names the columns */
    bool skip_spaces; /* those before a field are no part of it */
    unsigned n_nulls; /* ascending, no two alike */
    char null[MR_CSV_NULLS_MAX][MR_CSV_NULL_MAX_BYTES + 1];
};

#endif
