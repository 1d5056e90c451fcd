#ifndef GEN_H
#define GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The event generator, in six parts:
 *
 *   gen_plan.c    who does what when: users, sessions, event types, and what
 *                 is wrong with some of it; a pure function of the options
 *   gen_truth.c   the figures of a plan, counted from user numbers and times
 *   gen_text.c    an event of the plan as a line of JSON
 *   gen_schema.c  what the events of a type have as attributes
 *   gen_write.c   files: plain, gzip, zstd
 *   gen_events.c  options, threads, files
 *
 * A user's events follow from the seed and the user's number alone, so any
 * part of the work can be done by any thread, or by another process, or twice.
 */

#define GEN_MS_PER_DAY INT64_C(86400000)
#define GEN_MS_PER_HOUR INT64_C(3600000)
/* Late events lie at most this many days behind. */
#define GEN_LATE_DAYS 2
/* Most events of one user; keeps a user's plan in memory. */
#define GEN_USER_EVENTS_MAX (UINT64_C(1) << 20)

enum gen_format { GEN_PLAIN, GEN_GZ, GEN_ZST, GEN_MIXED };

struct gen_options {
    uint64_t seed, events, users, types, days, event_bytes;
    uint64_t files; /* 0: one file for each type and hour */
    uint64_t bad, duplicates, late, no_user; /* per mille */
    uint64_t too_long;                       /* lines above 16 MiB */
    uint64_t member_bytes; /* text in one gzip member or zstd frame; 0: all */
    uint64_t threads, part, parts, portions;
    uint64_t level;     /* 0: the format's default */
    uint64_t odd_shape; /* per cent of events with members of their own */
    int64_t start_ms;
    enum gen_format format;
    const char *out, *truth, *each; /* each: a command, or NULL */
    bool to_stdout;
};

/* Print a message to standard error and end the program. */
_Noreturn void gen_die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
void *gen_alloc(size_t n, size_t size); /* zeroed; never returns NULL */

/** Growing bytes. */
struct gen_buffer {
    char *p;
    size_t n, cap;
};

/** Make room for n more bytes. */
void gen_buffer_room(struct gen_buffer *b, size_t n);

/* What follows puts bytes where there is room for them already. */

static inline void gen_put(struct gen_buffer *b, const void *p, size_t n)
{
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void gen_put_text(struct gen_buffer *b, const char *s)
{
    gen_put(b, s, strlen(s));
}

void gen_put_number(struct gen_buffer *b, uint64_t x);
/** The high 4 or all 8 bytes of x, as 8 or 16 hexadecimal digits. */
void gen_put_hex(struct gen_buffer *b, uint64_t x, int n_bytes);
/** A version 4 UUID.  No bit of high is lost. */
void gen_put_uuid(struct gen_buffer *b, uint64_t high, uint64_t low);

/** A bijective mix of 64 bits: the finalizer of splitmix64 (Steele, Lea,
 * Flood, "Fast splittable pseudorandom number generators", 2014). */
static inline uint64_t gen_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/** The next number of a sequence. */
static inline uint64_t gen_next(uint64_t *state)
{
    return gen_mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

/** A number in [0, n), from the high half of x. */
static inline uint64_t gen_below(uint64_t x, uint64_t n)
{
    return (x >> 32) * n >> 32;
}

/** The k-th independent random number of an event (or of anything hashed). */
static inline uint64_t gen_draw(uint64_t hash, uint64_t k)
{
    return gen_mix(hash + (k + 1) * UINT64_C(0xd1342543de82ef95));
}

/* What a line that is no event looks like, by the reason it is refused for.
 * gen_text.c has the text. */
enum gen_reason {
    GEN_JSON,
    GEN_TOO_LONG,
    GEN_TOO_DEEP,
    GEN_MISSING_ID,
    GEN_MALFORMED_ID,
    GEN_MISSING_TYPE,
    GEN_MALFORMED_TYPE,
    GEN_MISSING_ATTRIBUTES,
    GEN_MALFORMED_ATTRIBUTES,
    GEN_MISSING_TIME,
    GEN_MALFORMED_TIME,
    GEN_MALFORMED_USER,
    GEN_REASONS
};
extern const char *const gen_reason_text[GEN_REASONS];

struct gen_event {
    int64_t time_ms;      /* since the first day's midnight */
    uint64_t hash;        /* stands for the event */
    uint32_t user, index; /* the index-th event of a user */
    uint32_t type;
    bool no_user;
    bool twice;         /* a second copy lies in another file */
    bool blank;         /* a blank line comes before it */
    bool bad;           /* a bad line comes before it */
    bool too_long;      /* and one above 16 MiB */
    uint8_t late_hours; /* how far behind the folder is */
    bool misfiled;      /* under another type's folder */
};

struct gen_plan {
    const struct gen_options *o;
    uint64_t total_weight;
    uint32_t *type_table; /* draws types by their popularity */
    uint64_t type_mask;
};

void gen_plan_init(struct gen_plan *plan, const struct gen_options *o);
void gen_plan_release(struct gen_plan *plan);

/** Number of events of a user (copies not counted). */
uint64_t gen_plan_count(const struct gen_plan *plan, uint64_t user);

/** Times of a user's events into *times, grown to *cap as needed; return
 * their number.  Not in order of time. */
size_t gen_plan_user(
    const struct gen_plan *plan, uint64_t user, int64_t **times, size_t *cap);

/** Everything else of a user's index-th event, at time_ms. */
void gen_plan_event(const struct gen_plan *plan, uint64_t user, uint64_t index,
    int64_t time_ms, struct gen_event *event_out);

/** Which bad line comes before a bad event: its reason, and a variant. */
enum gen_reason gen_plan_reason(const struct gen_event *e);

/*
 * Where an event lies.  With --files: a file number, and the folder's day, or
 * -1 where files stand in no such folder.  Else a number for each hour and
 * type, the hour first.  copy tells the second copy of an event.
 */
uint64_t gen_plan_n_files(const struct gen_plan *plan);
uint64_t gen_plan_file(
    const struct gen_plan *plan, const struct gen_event *e, bool copy);
int64_t gen_plan_file_day(const struct gen_plan *plan, uint64_t file);
int64_t gen_plan_file_hour(const struct gen_plan *plan, uint64_t file);
/** The folder's type, or -1. */
int64_t gen_plan_file_type(const struct gen_plan *plan, uint64_t file);
/** Times of events that may lie in the files from first to before end. */
void gen_plan_window(const struct gen_plan *plan, uint64_t first, uint64_t end,
    int64_t *from_ms, int64_t *to_ms);
/** The first file of portion i, counted from 0; that of portion `portions` is
 * the number of files. */
uint64_t gen_plan_portion(const struct gen_plan *plan, uint64_t i);

struct gen_truth_day {
    uint64_t events, without_user, users, sessions;
    uint64_t active, inactive, churned, reactivated;
};

struct gen_truth {
    struct gen_truth_day *day;
    uint64_t *type_events, *type_users; /* [day * types + type] */
    uint64_t *stamp;                    /* last user and day of a type */
    uint64_t reason[GEN_REASONS];
    uint64_t blank, other_day, other_type, users;
    bool *seen;
    struct gen_event *event;
    size_t cap;
};

void gen_truth_init(struct gen_truth *t, const struct gen_options *o);
void gen_truth_release(struct gen_truth *t);

/** Count one user's events.  The order of the events becomes that of time. */
void gen_truth_user(struct gen_truth *t, const struct gen_plan *plan,
    struct gen_event *e, size_t n);
void gen_truth_merge(struct gen_truth *into, const struct gen_truth *from,
    const struct gen_options *o);
/** Write the truth as JSON to a file. */
void gen_truth_write(const struct gen_truth *t, const struct gen_options *o,
    uint64_t n_files, uint64_t text_bytes, const char *path);

struct gen_schemas; /* of all types; read-only once made */

/** other_bytes[type]: about how long a line is besides these members. */
struct gen_schemas *gen_schemas_new(
    const struct gen_options *o, const uint32_t *other_bytes);
void gen_schemas_free(struct gen_schemas *schemas);
/** Number of members an event may have. */
unsigned gen_schema_members(
    const struct gen_schemas *schemas, const struct gen_event *e);
/** Append an event's i-th member: at most three times event_bytes + 16384 in
 * all.  False when the event leaves it out; what was appended is void. */
bool gen_schema_put(const struct gen_schemas *schemas,
    const struct gen_event *e, unsigned i, struct gen_buffer *b);

struct gen_text; /* templates and schemas; read-only once made */

struct gen_text *gen_text_new(const struct gen_options *o);
void gen_text_free(struct gen_text *text);
/** Append an event's lines, each ended by "\n" or "\r\n". */
void gen_text_event(const struct gen_text *text, const struct gen_event *e,
    bool copy, bool crlf, struct gen_buffer *b);
/** A file being written, packed or not; each thread keeps one and uses it
 * for file after file. */
struct gen_sink;

struct gen_sink *gen_sink_new(const struct gen_options *o);
void gen_sink_free(struct gen_sink *sink);
/** Begin the file at path.  member_bytes of text go into one member. */
void gen_sink_open(struct gen_sink *sink, const char *path,
    enum gen_format format, uint64_t member_bytes);
void gen_sink_write(struct gen_sink *sink, const char *p, size_t n);
void gen_sink_close(struct gen_sink *sink);

/** Name of a type, as UTF-8. */
void gen_type_name(uint64_t type, char *out, size_t size);

#endif
