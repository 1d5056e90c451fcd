#ifndef MR_MR_H
#define MR_MR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "mr/claimant.h"
#include "mr/rows_kind.h"
#include "mr/spec_builtin.h"
#include "mr/status.h"

/*
 * The library's public face.  A program runs one of the verbs with an
 * options structure and gets a summary or text back; what it shows of specs
 * is in mr/spec_builtin.h.  Nothing here prints, exits, or reads the
 * environment.
 */

/** Where text goes.  write returns 0, or an errno. */
struct mr_sink {
    int (*write)(void *context, const void *bytes, size_t n);
    void *context;
};

/** How far a run is; called from one thread at a time, a few times a second
 * at most. */
struct mr_progress {
    uint64_t partitions_done, partitions;
    uint64_t bytes_done, bytes; /* stored */
    uint64_t lines;
};

struct mr_observer {
    void (*progress)(void *context, const struct mr_progress *progress);
    /* A remark that is no error: a sentence without newline. */
    void (*note)(void *context, const char *sentence);
    void *context;
    /* Set to non-zero (by a signal handler, say) to end the run soon with
     * MR_STOPPED; may be NULL. */
    const atomic_int *stop;
};

struct mr_totals {
    uint64_t partitions; /* distinct, read to their end */
    uint64_t failures;   /* named partitions that could not be read */
    uint64_t repeated;   /* dropped: the same bytes were counted already */
    uint64_t lines, events, rejected, blank;
    unsigned reason;    /* the commonest one of the rejected (enum in spec.h) */
    uint64_t of_reason; /* lines that were rejected for it */
    uint64_t events_without_user, other_day, other_type;
    uint64_t stored_bytes, text_bytes;
    uint64_t renamed; /* names that stand for two or more contents */
    /* Of the failures: yet to be read when a run ended early; by a manifest,
     * in no state, and read with other sizes. */
    uint64_t pending, missing, changed;
};

/** One partition that could not be read. */
struct mr_failed {
    const char *name;
    uint64_t offset; /* or MR_NOWHERE */
    const char *cause;
    const char *action; /* that failed: "cannot read" */
    const char *advice; /* NULL: as of any file */
};

struct mr_result {
    struct mr_totals totals;
    uint64_t users, days,
        types;       /* distinct users; days and types with events */
    char path[4096]; /* the state file written; empty if none */
    uint64_t state_bytes;
    double seconds;
    /* Of mr_map: inputs that states in the output's folder had already, which
     * totals have but users, days and types have not; and these states,
     * ascending by path. */
    uint64_t found;
    char **state;
    size_t n_states;
    /* After MR_STOPPED: inputs that were not read, nor seem to be there. */
    uint64_t left;
    uint64_t read_bytes; /* of text, by this run */
    /* Partitions that could not be read, ascending by name; the first of
     * them, as many as there are up to MR_FAILED_MAX. */
    struct mr_failed *failed;
    size_t n_failed;
};
#define MR_FAILED_MAX 20

void mr_result_release(struct mr_result *result);

/** mr_spec_check(name_or_path, err): Whether a spec, built-in or a file, is one
 * that events can be read by: the errors that mr_map and mr_rows would give
 * before they look at any input.  The zones and the users table that it names
 * are read. */
MR_MUST_CHECK enum mr_status mr_spec_check(
    const char *name_or_path, struct mr_error *err);

struct mr_map_options {
    const char *spec;   /* name or file; NULL is "lake" */
    char *const *input; /* INPUT arguments as source.h says */
    size_t n_inputs;
    /* A path that ends in ".mrs" is the state file; anything else is the
     * folder, made if missing, that gets <content digest>.mrs.  NULL is
     * "./mr-state". */
    const char *output;
    unsigned threads; /* 0: one for each processor that may be used */
    /* The parts shard to shard_last of shards; 0 shards: everything. */
    unsigned shard, shard_last, shards;
    const char *rejects; /* file for rejected lines, or NULL */
    /* In a folder, a checkpoint is published so long after the start or the
     * last one, or later, so that at most a tenth of the time goes there;
     * 0: a minute. */
    double checkpoint_seconds;
    /* Who this run is to those it shares the input out with, by claims in the
     * folder (mr/sharing.h); NULL: with nobody. */
    const struct mr_claimant *claimant;
    /* The input is a part of what the caller wants to know of: that no line of
     * it is an event is not noted here. */
    bool is_sample;
};

/**
 * mr_map(options, observer, result, err): Partitions to one state file.
 * MR_OK even when partitions could not be read: result->totals.failures
 * counts them.  On failure nothing stands under the output's name, but for the
 * last checkpoint, whose path is result->path then.  Release the result in
 * any case.
 *
 * A checkpoint is the state of all that has been read so far; what has not is
 * in it as failures of the cause MR_CAUSE_PENDING (mr/coverage.h).  It is
 * removed once a later one, or the state itself, has been published.
 * Partitions that states in the folder have already are not read again, unless
 * rejected lines are wanted; where nothing else is left no file is written.
 * With a claimant the run reads what no other run of those that share the
 * folder has published, until nothing is left.
 * After MR_STOPPED what has been read is published as a checkpoint is, and
 * result->path, left, found and states say so; the path is empty if nothing
 * has been read.
 */
MR_MUST_CHECK enum mr_status mr_map(const struct mr_map_options *options,
    const struct mr_observer *observer, struct mr_result *result_out,
    struct mr_error *err);

struct mr_beside_options {
    const char *spec;   /* name or file; NULL is "lake" */
    char *const *input; /* INPUT arguments as source.h says */
    size_t n_inputs;
    /* The folder for the states: that of partition NAME is NAME.mrs in it.
     * NULL: that of FILE is FILE.mrs, beside it. */
    const char *output;
    unsigned threads;                   /* 0: as for a map */
    unsigned shard, shard_last, shards; /* as of mr_map */
};

struct mr_beside_counts {
    uint64_t there;  /* states that were up to date */
    uint64_t made;   /* made anew or for the first time */
    uint64_t failed; /* partitions that could not be read */
};

/**
 * mr_beside(options, sink, observer, counts, result, err): Each file to a
 * state of its own, unless it has one that is up to date: of the same spec
 * and partition name, without failures, modified when the file was, and of as
 * many stored bytes.  (That of an archive does not tell how many.)  A state
 * that is not, or is damaged, is replaced.  A partition that cannot be read
 * has a state that says so.  The paths of all states go to the sink, one a
 * line.  result is about all partitions, as if mapped together, but without
 * users, days and types.  Where a state cannot be written the others are made
 * all the same, and its error is returned, unless memory or room has run out.
 * MR_USAGE also for standard input, and for names that lead out of the output
 * folder or are there twice.  Release the result in any case.
 */
MR_MUST_CHECK enum mr_status mr_beside(const struct mr_beside_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_beside_counts *counts_out, struct mr_result *result_out,
    struct mr_error *err);

struct mr_rows_options {
    const char *spec;   /* name or file; NULL is "lake" */
    char *const *input; /* INPUT arguments as source.h says */
    size_t n_inputs;
    const char *output; /* a file; NULL: the sink */
    enum mr_rows_kind kind;
    unsigned threads;    /* 0: as for a map */
    const char *rejects; /* file for rejected lines, or NULL */
    /* Folder for a file without a name, for what does not fit into memory;
     * NULL is the working folder. */
    const char *temporary;
};

/**
 * mr_rows(options, sink, observer, result, err): Events as rows, in the order
 * of the inputs' names, then of lines; partitions and failures as of mr_map.
 * A partition's rows are passed on once it has been read to its end, those
 * of equal bytes once.  On failure nothing stands under the output's name,
 * but the sink may have been given rows.  Release the result in any case.
 */
MR_MUST_CHECK enum mr_status mr_rows(const struct mr_rows_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_result *result_out, struct mr_error *err);

struct mr_init_options {
    char *const *input; /* INPUT arguments as source.h says */
    size_t n_inputs;
    const char *output; /* a file; NULL: the sink */
};

struct mr_init_result {
    unsigned time_line; /* of the spec: the form of times, from 1 on */
    char lacking[64];   /* keys that nothing could be told of; may be empty */
};

/**
 * mr_init(options, sink, observer, result, err): Propose a spec, with
 * comments, from the first records of some files, of which at most 4 MiB are
 * read.  A file that cannot be read is left out, with a note; its error is
 * returned if no other is left.  MR_USAGE where they have no records, or cannot
 * be told from other text.
 */
MR_MUST_CHECK enum mr_status mr_init(const struct mr_init_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_init_result *result_out, struct mr_error *err);

enum mr_format { MR_FORMAT_TABLE, MR_FORMAT_CSV, MR_FORMAT_JSON };

struct mr_reduce_options {
    char *const *input; /* state files, or folders searched for *.mrs */
    size_t n_inputs;
    const char *output; /* folder for the CSVs and kpis.json, or NULL */
    const char *merged; /* file for the merged state, or NULL */
    /* File that lists what the states have to cover (mr/manifest.h), or NULL.
     * What they do not is a failure in what is printed and written, but for
     * the merged state. */
    const char *manifest;
    const char *day_first, *day_last; /* YYYY-MM-DD, or NULL for all */
    /* Besides: users on their first day; users of 7 and of 28 days; of the
     * users of each first day, who came back up to so many days later. */
    bool new_users, rolling;
    unsigned retention; /* 0: none */
    enum mr_format format;
    unsigned width; /* columns of the terminal for tables, 0: no limit */
    bool colour;    /* tables may use ANSI colours */
    unsigned threads;
    /* Folder for files without names that many states are merged into; NULL
     * is the working folder. */
    const char *temporary;
};

/** mr_reduce(options, sink, observer, result, err): States to one state to
 * KPIs; the daily table goes to the sink in the format asked for. */
MR_MUST_CHECK enum mr_status mr_reduce(const struct mr_reduce_options *options,
    const struct mr_sink *sink, const struct mr_observer *observer,
    struct mr_result *result_out, struct mr_error *err);

struct mr_forecast_options {
    const char *spec;   /* name or file; NULL is "lake" */
    char *const *input; /* INPUT arguments as source.h says, without "-" */
    size_t n_inputs;
    const char *manifest;  /* file for the manifest (mr/manifest.h), or NULL */
    unsigned shards;       /* also tell of so many parts; 0: none */
    unsigned threads;      /* 0: as for a map */
    enum mr_format format; /* table or JSON */
    const char *scratch;   /* folder for the sample's state */
};

/**
 * mr_forecast(options, sink, observer, result, err): Tell what there is to map
 * and, by a sample of it that is mapped within some three seconds, what it
 * will take (mr/forecast.h); then write the manifest, if one is wanted, unless
 * the observer says stop.  What could not be listed is in result's failures.
 * Release the result in any case.
 */
MR_MUST_CHECK enum mr_status mr_forecast(
    const struct mr_forecast_options *options, const struct mr_sink *sink,
    const struct mr_observer *observer, struct mr_result *result_out,
    struct mr_error *err);

struct mr_inspect_options {
    char *const *input;
    size_t n_inputs;
    enum mr_format format; /* table or JSON */
    bool colour;
};

/** mr_inspect(options, sink, observer, result, err): Read every byte of each
 * state, check it, and describe it. */
MR_MUST_CHECK enum mr_status mr_inspect(
    const struct mr_inspect_options *options, const struct mr_sink *sink,
    const struct mr_observer *observer, struct mr_result *result_out,
    struct mr_error *err);

/** mr_mask(text): Overwrite each byte of what could steer a terminal, or is no
 * UTF-8, with '?' (mr_text_shown). */
void mr_mask(char *text);

/** The library's version, as "1.0.0". */
const char *mr_version(void);

#endif
