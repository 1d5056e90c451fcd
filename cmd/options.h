#ifndef OPTIONS_H
#define OPTIONS_H

#include "mr/mr.h"

/*
 * The command line as a structure.  What there is to say stands in
 * options.def; this unit reads arguments by it and writes help from it.
 */

enum verb {
    VERB_ANY,
    VERB_MAP,
    VERB_REDUCE,
    VERB_INSPECT,
    VERB_SPEC,
    VERB_ROWS,
    VERB_INIT,
    VERB_PLAN,
    VERB_COUNT
};

/** Parts k to l of n; n is 0 when not asked for.  While is_auto k and l are
 * not known, and n only if it was given: see cmd/shard.h. */
struct option_shard {
    unsigned k, l, n;
    bool is_auto;
};
#define SHARDS_MAX 65535

/** A share in millionths of a percent, so that "0.57" is exactly that. */
struct option_percent {
    bool given;
    uint32_t millionths;
};
#define OPTION_PERCENT_SCALE 1000000

/** YYYY-MM-DD each, the first not after the last; empty when not given. */
struct option_days {
    char first[11], last[11];
};

struct options {
    enum verb verb; /* VERB_ANY when none was named */
    bool quiet, help, version;
    /* NULL when not given. */
    const char *spec, *output, *rejects, *merged, *manifest;
    unsigned threads, shards, checkpoint; /* 0 when not given */
    struct option_shard shard;
    struct option_percent max_bad;
    struct option_days days;
    bool beside, claim;
    bool new_users, rolling;
    unsigned retention; /* 0 when not given */
    enum mr_format format;
    unsigned rows_kind; /* enum mr_rows_kind */
    char **operand;     /* within the argv that was parsed */
    size_t n_operands;
};

#define OPTIONS_MESSAGE 512

/**
 * options_parse(argc, argv, options, message): Read the command line.
 * Options and operands may be mixed; "--" ends options; argv is reordered.
 * Return false, with a sentence that names the culprit and the help to turn
 * to, when it cannot be understood.  O(argc).
 */
bool options_parse(int argc, char **argv, struct options *options_out,
    char message_out[OPTIONS_MESSAGE]);

/** options_help(verb): The help of a verb, or of the program (VERB_ANY), for
 * the caller to free; NULL without memory. */
char *options_help(enum verb verb);

/** options_percent_exceeded(limit, part, whole): Whether part of whole is
 * more than the limit; exact for all numbers. */
bool options_percent_exceeded(
    struct option_percent limit, uint64_t part, uint64_t whole);

#endif
