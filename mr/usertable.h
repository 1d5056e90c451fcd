#ifndef MR_USERTABLE_H
#define MR_USERTABLE_H

#include "mr/fields.h"
#include "mr/spec.h"

/*
 * The users table: a CSV file of the users that are known, and of what is
 * known of them.  A user is the hash of the id's text, as in events
 * (mr_hash64), and has a number for each column that the spec takes from the
 * table: 1 and on for its distinct values in the order in which the file
 * brings them, 0 for none.  Of the ranged column the values are the spec's
 * ranges, in their order, as "18-49".
 *
 * Memory: for each user 10 to 15 bytes and, for each column, 2.5 to 3.75;
 * while it grows, the old table beside the new one.  For each distinct value
 * its text and some 10 bytes.
 */

/* Most columns that the fields of a spec may name. */
#define MR_USERTABLE_COLUMNS_MAX (MR_FIELDS_MAX - 1)
/* Most distinct values of a column, and the longest in bytes. */
#define MR_USERTABLE_VALUES_MAX 65535
#define MR_USERTABLE_VALUE_MAX_BYTES 256

struct mr_usertable_counts {
    uint64_t rows;       /* without the header and blank lines */
    uint64_t users;      /* distinct */
    uint64_t repeated;   /* rows of a user met before: the first row counts */
    uint64_t differing;  /* of these, rows that say other than the first */
    uint64_t without_id; /* rows of nobody */
    uint64_t outside;    /* values of the ranged column in none of the ranges */
};

/* The distinct values of a column. */
struct mr_usertable_column;

/** Read-only once made: any number of threads look things up. */
struct mr_usertable {
    uint8_t *slot; /* n_slots and one for hash 0; a hash of 0: empty */
    size_t n_slots, slot_bytes;
    bool has_zero;
    unsigned n_columns;
    struct mr_usertable_column *column;
    struct mr_usertable_counts counts;
    struct mr_digest digest; /* XXH3-128 of the file's bytes, as stored */
};

/**
 * mr_usertable_load(spec, table, err): Read the users table of a spec that
 * has one, and those of its columns that rollups, segments_by and rows name:
 * by what the first row calls them where the file has a header, else, or where
 * that has no such name, by their numbers from 1 on.
 *
 * The file is CSV as spec->users_table.csv says (mr/csv.h), plain or packed
 * with gzip or zstd; blank lines are skipped.  A field that is missing (rows
 * may be ragged), empty or, unquoted, one of the null words is no value.  A
 * ranged value is a whole number, or a range "25-34" with both ends in one
 * range; any other is none, and counted.
 *
 * MR_USAGE for too many columns, an archive, and columns that the first row
 * of a file without header lacks; MR_IO where the file cannot be read or
 * changes meanwhile; MR_FORMAT where its header lacks a column, and, with the
 * line's number (from 1 on), for a row that is not valid CSV or too long, and
 * a value that is too long; MR_LIMIT for too many distinct values, or users.
 * Free the table with mr_usertable_free.
 */
MR_MUST_CHECK enum mr_status mr_usertable_load(const struct mr_spec *spec,
    struct mr_usertable **table_out, struct mr_error *err);
void mr_usertable_free(struct mr_usertable *table);

/** mr_usertable_column(table, name): The index of a column that the spec
 * names so, or -1. */
int mr_usertable_column(const struct mr_usertable *table, const char *name);

/* Where the search for a hash begins. */
static inline size_t mr_usertable_home(
    const struct mr_usertable *table, uint64_t hash)
{
    return (size_t)((hash >> 32) * table->n_slots >> 32);
}

/** mr_usertable_prefetch(table, hash): Fetch what mr_usertable_find wants. */
static inline void mr_usertable_prefetch(
    const struct mr_usertable *table, uint64_t hash)
{
    __builtin_prefetch(
        table->slot + mr_usertable_home(table, hash) * table->slot_bytes);
}

/** mr_usertable_find(table, hash): A user's entry, or NULL. */
const uint8_t *mr_usertable_find(
    const struct mr_usertable *table, uint64_t hash);

/** mr_usertable_number(entry, column): The number of an entry's value in a
 * column; 0 for none, and for a NULL entry. */
static inline unsigned mr_usertable_number(
    const uint8_t *entry, unsigned column)
{
    return entry == NULL ? 0 : mr_get_u16(entry + 2 * (size_t)column);
}

/** mr_usertable_text(table, column, number): The text of a number, in the
 * table's memory; p is NULL for 0. */
struct mr_span mr_usertable_text(
    const struct mr_usertable *table, unsigned column, unsigned number);

#endif
