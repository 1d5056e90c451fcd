#ifndef MR_FORECAST_H
#define MR_FORECAST_H

#include "mr/place.h"
#include "mr/source.h"
#include "mr/state.h"

/*
 * What there is to map, and what it will take: by a sample of the inputs,
 * which is mapped for real.  Time follows bytes.  Users do not: others come
 * back, or new ones come, so their number is told as a range, and so is what
 * depends on it.  forecast.c has the numbers, forecast_text.c their text.
 */

/** What mapping a sample has shown. */
struct mr_sample {
    uint64_t inputs, bytes; /* stored */
    double seconds;         /* from the listing to the state's last sync */
    /* What was begun took too long: inputs and bytes are those passed by then,
     * and nothing of what follows is known. */
    bool is_cut;
    uint64_t text_bytes, events, rejected, failures;
    unsigned reason;    /* the commonest one of the rejected, and */
    uint64_t of_reason; /* the lines that it is of */
    uint64_t users, days, types, cells; /* cells: of a day and a type */
    uint64_t state_bytes;
    struct mr_state *state; /* or NULL; the forecast's */
};

struct mr_range64 {
    uint64_t least, most;
};

struct mr_forecast_part {
    uint64_t partitions, bytes;
};

struct mr_forecast {
    uint64_t partitions, bytes; /* all inputs, stored */
    unsigned threads;
    struct mr_places places; /* by the inputs' names, sorted */
    struct mr_sample sample;
    struct mr_forecast_part *part; /* of --shard 1/n_parts, 2/n_parts, ... */
    unsigned n_parts;
    /* Made by mr_forecast_estimate; known unless the sample is empty or was
     * cut. */
    bool is_known;
    double bytes_per_second; /* 0: nothing could be sampled */
    struct mr_range64 users, memory, state_bytes;
};

void mr_forecast_release(struct mr_forecast *f);

/**
 * mr_forecast_choose(listing, budget, least, chosen, n): Choose inputs for a
 * sample: whole ones, spread over the listing, each as likely as any other,
 * the same for the same listing.  At least `least` of them, where there are so
 * many, then more as long as they fit into the budget of stored bytes; those
 * of no bytes (pipes, say) never.  chosen has room for listing->n indexes and
 * gets them ascending; *n_out their number; the result is their bytes.  O(n).
 */
uint64_t mr_forecast_choose(const struct mr_listing *listing, uint64_t budget,
    size_t least, size_t *chosen_out, size_t *n_out);

/**
 * mr_forecast_estimate(f): From listing and sample to the estimates.
 *
 * Users are at least those of the sample; at most, as many more as there are
 * more bytes.  The same holds for the bytes of the state.  Memory is what the
 * manual says that map uses, of these users, whatever the spec has counted
 * besides: for each user 40 bytes at least and 56 at most; for each day and
 * type of the names, or of the sample if that has more, 16 KiB; for each user
 * of a day and type a bit of all users or 4 bytes, whichever is less, there
 * being at most as many as events; 300 bytes a partition; 4 to 10 MiB a thread;
 * and at most 64 MiB of events that wait.  Where the sample is the whole, least
 * and most of users and state are the same.
 */
void mr_forecast_estimate(struct mr_forecast *f);

/** mr_forecast_seconds(f, bytes): How long mapping so many will take here. */
double mr_forecast_seconds(const struct mr_forecast *f, uint64_t bytes);

/** Append the forecast for people, or as JSON (docs/mr.1, PLANS).  MR_NOMEM
 * leaves out as it was. */
MR_MUST_CHECK enum mr_status mr_forecast_table(
    const struct mr_forecast *f, struct mr_buffer *out);
MR_MUST_CHECK enum mr_status mr_forecast_json(
    const struct mr_forecast *f, struct mr_buffer *out);

#endif
