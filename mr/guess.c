#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/guess.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "mr/derive.h"
#include "mr/hash.h"
#include "mr/text.h"

/* ---- what is known of names and times ---- */

/* Best first. */
static const char *const id_names[] = {"event_id", "eventid", "id", "uuid",
    "event_uuid", "guid", "message_id", "insert_id", "request_id", "_id", NULL};
static const char *const type_names[] = {"event_type", "event_name",
    "eventtype", "eventname", "event", "type", "action", "activity", "kind",
    "verb", "interaction", "name", NULL};
static const char *const time_names[] = {"event_time", "eventtime",
    "event_timestamp", "timestamp", "time_stamp", "@timestamp", "time", "ts",
    "occurred_at", "created_at", "derived_tstamp", "collector_tstamp", "tstamp",
    "datetime", "date_time", "created", "at", "event_date", "date",
    "received_at", "updated_at", NULL};
static const char *const user_names[] = {"user_id", "userid", "uid",
    "customer_id", "account_id", "member_id", "player_id", "subscriber_id",
    "user", "user_fingerprint", "domain_userid", "network_userid", "visitor_id",
    "anonymous_id", "client_id", "cookie_id", "device_id", "actor_id", NULL};
static const char *const url_names[] = {"url", "page_url", "page_location",
    "uri", "page", "link", "href", "request_uri", NULL};

/* Day first stands before month first. */
static const char *const form_names[] = {"iso8601", "epoch_s", "epoch_ms",
    "epoch_us", "epoch_ns", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y",
    "%d-%m-%Y %H:%M:%S", "%m-%d-%Y %H:%M:%S", "%d-%m-%Y %H:%M",
    "%m-%d-%Y %H:%M", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M", "%d.%m.%Y", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %Z",
    "%a %b %d %H:%M:%S %Y", "%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S.%f %Z",
    "%Y-%m-%d %H:%M:%S %Z", "%Y-%m-%d %H:%M:%S.%f %z", "%Y-%m-%d %H:%M:%S %z",
    "%a %b %d %H:%M:%S %Z %Y", "%a %b %d %H:%M:%S %z %Y"};
#define N_FORMS (sizeof(form_names) / sizeof(form_names[0]))
_Static_assert(N_FORMS <= MR_GUESS_FORMS, "all forms have a counter");
/* Numbers are times of events if they lie between 1990 and 2100. */
#define EPOCH_FIRST_MS INT64_C(631152000000)
#define EPOCH_END_MS INT64_C(4102444800000)
#define FIRST_EPOCH 1
#define LAST_EPOCH 4

/* Shares of a hundred. */
#define MOST 95
#define NEARLY_ALL 99

/* The last parts of a path in the form of the names above: userId and
 * user-id are user_id. */
static void normalise(const char *name, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; name[i] != '\0' && n + 2 < size; i++) {
        unsigned char c = (unsigned char)name[i];

        if (isupper(c) && i > 0 && islower((unsigned char)name[i - 1]))
            out[n++] = '_';
        out[n++] = c == '-' || c == ' ' ? '_' : (char)tolower(c);
    }
    out[n] = '\0';
}

static int place_in(const char *word, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++)
        if (strcmp(word, names[i]) == 0)
            return i;
    return -1;
}

/* How good a name is, 0 being best; -1 for one of another kind.  Of a path
 * the last part counts, or the last two as one: user.id is user_id. */
static int name_place(const char *name, const char *const *names)
{
    char text[MR_PATH_MAX_BYTES + 1];
    char *last, *before;
    int place, both = -1;

    normalise(name, text, sizeof(text));
    last = strrchr(text, '.');
    if (last == NULL)
        return place_in(text, names);
    place = place_in(last + 1, names);
    *last = '_';
    before = strrchr(text, '.');
    both = place_in(before == NULL ? text : before + 1, names);
    return both >= 0 && (place < 0 || both < place) ? both : place;
}

bool mr_guess_knows(const char *name)
{
    return name_place(name, id_names) >= 0 ||
           name_place(name, type_names) >= 0 ||
           name_place(name, time_names) >= 0 ||
           name_place(name, user_names) >= 0 ||
           name_place(name, url_names) >= 0;
}

/* ---- taking values in ---- */

enum mr_status mr_guess_new(
    bool is_csv, struct mr_guess **guess_out, struct mr_error *err)
{
    static const enum mr_time_kind kinds[] = {MR_TIME_ISO8601, MR_TIME_EPOCH_S,
        MR_TIME_EPOCH_MS, MR_TIME_EPOCH_US, MR_TIME_EPOCH_NS};
    struct mr_guess *guess = calloc(1, sizeof(*guess));
    enum mr_status status;

    if (guess == NULL)
        return mr_fail_nomem(err);
    guess->is_csv = is_csv;
    status = mr_zone_load("UTC", &guess->zone, err);
    for (size_t i = 0; i < N_FORMS && status == MR_OK; i++)
        status = mr_timeform_init(&guess->form[i],
            i <= LAST_EPOCH ? kinds[i] : MR_TIME_PATTERN, form_names[i],
            guess->zone, err);
    if (status != MR_OK) {
        mr_guess_free(guess);
        return status;
    }
    *guess_out = guess;
    return MR_OK;
}

void mr_guess_free(struct mr_guess *guess)
{
    if (guess == NULL)
        return;
    for (size_t i = 0; i < guess->n_fields; i++) {
        free(guess->field[i].name);
        free(guess->field[i].seen);
    }
    mr_zone_free(guess->zone);
    mr_buffer_release(&guess->scratch);
    free(guess);
}

enum mr_status mr_guess_find(struct mr_guess *guess, struct mr_span name,
    struct mr_guess_field **field_out)
{
    struct mr_guess_field *field;

    *field_out = NULL;
    for (size_t i = 0; i < guess->n_fields; i++) {
        field = &guess->field[i];
        if (strncmp(field->name, (const char *)name.p, name.n) == 0 &&
            field->name[name.n] == '\0') {
            *field_out = field;
            return MR_OK;
        }
    }
    if (guess->n_fields == MR_GUESS_FIELDS)
        return MR_OK;
    field = &guess->field[guess->n_fields];
    *field = (struct mr_guess_field){.last = UINT64_MAX};
    field->name = strndup((const char *)name.p, name.n);
    if (field->name == NULL)
        return MR_NOMEM;
    field->named = field->name[strspn(field->name, "0123456789")] != '\0';
    guess->n_fields++;
    *field_out = field;
    return MR_OK;
}

/* Whether a value is new. */
static enum mr_status see(
    struct mr_guess_field *field, uint64_t hash, bool *is_new_out)
{
    uint64_t *place;

    if (field->seen == NULL || 2 * field->n_seen > field->mask) {
        size_t n = field->seen == NULL ? 16 : 2 * (field->mask + 1);
        uint64_t *seen = calloc(n, sizeof(*seen));

        if (seen == NULL)
            return MR_NOMEM;
        for (size_t i = 0; field->seen != NULL && i <= field->mask; i++) {
            uint64_t k = field->seen[i];

            while (field->seen[i] != 0 && seen[k & (n - 1)] != 0)
                k++;
            seen[k & (n - 1)] |= field->seen[i];
        }
        free(field->seen);
        field->seen = seen;
        field->mask = n - 1;
    }
    hash += hash == 0;
    for (uint64_t k = hash;; k++) {
        place = &field->seen[k & field->mask];
        if (*place == 0 || *place == hash)
            break;
    }
    *is_new_out = *place == 0;
    field->n_seen += *is_new_out;
    *place = hash;
    return MR_OK;
}

static bool is_time(const struct mr_guess *guess, size_t form,
    struct mr_span text, bool is_number)
{
    int64_t ms;

    if (!mr_timeform_parse(
            &guess->form[form], (const char *)text.p, text.n, is_number, &ms))
        return false;
    return form < FIRST_EPOCH || form > LAST_EPOCH ||
           (ms >= EPOCH_FIRST_MS && ms < EPOCH_END_MS);
}

static bool is_digits(struct mr_span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return text.n > 0;
}

static bool is_number_text(struct mr_span text)
{
    size_t digits = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] >= '0' && text.p[i] <= '9')
            digits++;
        else if (text.p[i] != '.' && text.p[i] != '-')
            return false;
    }
    return digits > 0;
}

bool mr_guess_is_plain(const struct mr_guess *guess, struct mr_span text)
{
    if (is_number_text(text))
        return true;
    for (size_t i = 0; i < N_FORMS; i++)
        if (is_time(guess, i, text, false))
            return true;
    return false;
}

/* Digits, or a run of letters and digits with at least one digit, as ids of
 * users are. */
static bool is_key(struct mr_span text)
{
    size_t digits = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (!isalnum(text.p[i]) && text.p[i] != '-' && text.p[i] != '_')
            return false;
        digits += isdigit(text.p[i]) != 0;
    }
    return digits > 0;
}

static enum mr_status look_at_url(
    struct mr_guess *guess, struct mr_guess_field *field, struct mr_span text)
{
    struct mr_url url;

    if (mr_buffer_reserve(&guess->scratch, text.n + 1) != MR_OK)
        return MR_NOMEM;
    mr_url_read(text, guess->scratch.p, &url);
    field->hosts += url.host.p != NULL;
    field->links += url.host.p != NULL && text.n > 8 &&
                    (memcmp(text.p, "http://", 7) == 0 ||
                        memcmp(text.p, "https://", 8) == 0);
    return MR_OK;
}

enum mr_status mr_guess_value(struct mr_guess *guess,
    struct mr_guess_field *field, enum mr_kind kind, struct mr_span text)
{
    bool is_number = kind == MR_KIND_NUMBER, is_new = false;

    if (field->last == guess->records)
        return MR_OK;
    field->last = guess->records;
    if (kind == MR_KIND_NULL || kind == MR_KIND_NONE) {
        field->null++;
        return MR_OK;
    }
    if (kind == MR_KIND_STRING && text.n == 0) {
        field->empty++;
        return MR_OK;
    }
    field->n++;
    if (kind != MR_KIND_STRING && !is_number) {
        field->others++;
        return MR_OK;
    }
    field->strings += !is_number;
    field->numbers += is_number;
    field->integers += is_number ? !memchr(text.p, '.', text.n) &&
                                       !memchr(text.p, 'e', text.n) &&
                                       !memchr(text.p, 'E', text.n)
                                 : is_digits(text);
    field->keys += is_key(text);
    if (text.n > field->longest)
        field->longest = text.n;
    for (size_t i = 0; i < N_FORMS; i++)
        field->forms[i] += is_time(guess, i, text, is_number);
    if (look_at_url(guess, field, text) != MR_OK ||
        see(field, mr_hash64(text.p, text.n), &is_new) != MR_OK)
        return MR_NOMEM;
    if (is_new && field->n_shown < MR_GUESS_SHOWN)
        (void)snprintf(field->shown[field->n_shown++], sizeof(field->shown[0]),
            "%.*s",
            (int)(text.n < MR_GUESS_SHOWN_BYTES ? text.n
                                                : MR_GUESS_SHOWN_BYTES),
            (const char *)text.p);
    return MR_OK;
}

/* ---- choosing ---- */

static bool at_least(uint64_t part, uint64_t whole, unsigned percent)
{
    return part > 0 && 100 * part >= percent * whole;
}

/* Text that is there in nearly all records. */
static bool is_required_text(
    const struct mr_guess *guess, const struct mr_guess_field *f)
{
    return at_least(f->n, guess->records, MOST) &&
           at_least(f->strings, f->n, NEARLY_ALL);
}

/* The form that most values are times of, or N_FORMS. */
static size_t best_form(const struct mr_guess_field *f)
{
    size_t best = 0;

    for (size_t i = 1; i < N_FORMS; i++)
        if (f->forms[i] > f->forms[best])
            best = i;
    return at_least(f->forms[best], f->n, MOST) ? best : N_FORMS;
}

/* Places without a name come behind all with one. */
#define NO_NAME 1000

static int place_of(
    const struct mr_guess_field *f, const char *const *names, bool *has_name)
{
    int place = f->named ? name_place(f->name, names) : -1;

    *has_name = place >= 0;
    return place >= 0 ? place : NO_NAME;
}

static const struct mr_guess_field *choose_time(
    const struct mr_guess *guess, size_t *form_out)
{
    const struct mr_guess_field *best = NULL;
    int best_place = 0;

    for (size_t i = 0; i < guess->n_fields; i++) {
        const struct mr_guess_field *f = &guess->field[i];
        size_t form = best_form(f);
        bool has_name;
        int place = place_of(f, time_names, &has_name);

        if (form == N_FORMS || !at_least(f->n, guess->records, MOST))
            continue;
        /* A number may be anything. */
        if (!has_name && form >= FIRST_EPOCH && form <= LAST_EPOCH)
            place += NO_NAME;
        if (best == NULL || place < best_place) {
            best = f;
            best_place = place;
            *form_out = form;
        }
    }
    return best;
}

static const struct mr_guess_field *choose_id(
    const struct mr_guess *guess, const struct mr_guess_choice *c)
{
    const struct mr_guess_field *best = NULL;
    int best_place = 0;

    for (size_t i = 0; i < guess->n_fields; i++) {
        const struct mr_guess_field *f = &guess->field[i];
        bool has_name;
        int place = place_of(f, id_names, &has_name);

        if (f == c->time || !is_required_text(guess, f) ||
            best_form(f) < FIRST_EPOCH || name_place(f->name, user_names) >= 0)
            continue;
        if (has_name ? !at_least(f->n_seen, f->n, 90)
                     : f->n_seen < f->n || f->n < 2 ||
                           !at_least(f->keys, f->n, MOST))
            continue;
        if (best == NULL || place < best_place) {
            best = f;
            best_place = place;
        }
    }
    return best;
}

/* A few words that come again and again. */
static bool is_type(
    const struct mr_guess *guess, const struct mr_guess_field *f, bool has_name)
{
    if (!is_required_text(guess, f) || f->longest > 256 ||
        best_form(f) != N_FORMS || at_least(f->integers, f->n, 50))
        return false;
    if (has_name)
        return f->n_seen <= 64 + f->n / 4 &&
               (f->n < 20 || f->n_seen <= f->n / 2 + 1);
    return f->n >= 4 && f->n_seen > 1 && f->n_seen <= 100 &&
           f->n_seen <= f->n / 2 && !at_least(f->hosts, f->n, 50) &&
           !at_least(f->keys, f->n, 50);
}

static const struct mr_guess_field *choose_type(
    const struct mr_guess *guess, const struct mr_guess_choice *c)
{
    const struct mr_guess_field *best = NULL;
    int best_place = 0;

    for (size_t i = 0; i < guess->n_fields; i++) {
        const struct mr_guess_field *f = &guess->field[i];
        bool has_name;
        int place = place_of(f, type_names, &has_name);

        /* With names, one that is no type's says that it is none; and '='
         * before it would make a type of it. */
        if (f == c->time || f == c->id || (f->named && !has_name) ||
            f->name[0] == '=' || !is_type(guess, f, has_name))
            continue;
        if (best == NULL || place < best_place) {
            best = f;
            best_place = place;
        }
    }
    return best;
}

static const struct mr_guess_field *choose_url(
    const struct mr_guess *guess, const struct mr_guess_choice *c)
{
    const struct mr_guess_field *best = NULL;
    int best_place = 0;

    for (size_t i = 0; i < guess->n_fields; i++) {
        const struct mr_guess_field *f = &guess->field[i];
        bool has_name;
        int place = place_of(f, url_names, &has_name);

        if (f == c->time || f == c->id || f == c->type ||
            !at_least(has_name ? f->hosts : f->links, f->n, 90))
            continue;
        if (best == NULL || place < best_place) {
            best = f;
            best_place = place;
        }
    }
    return best;
}

/* What may stand in a user's id. */
static bool is_user(const struct mr_guess_field *f)
{
    return f->n > 0 && f->others == 0 &&
           (f->numbers == 0 || f->strings + f->integers >= f->n);
}

static void choose_users(
    const struct mr_guess *guess, struct mr_guess_choice *c)
{
    /* Best names first, until one is in all records. */
    for (int place = 0; user_names[place] != NULL; place++) {
        for (size_t i = 0; i < guess->n_fields; i++) {
            const struct mr_guess_field *f = &guess->field[i];

            if (c->n_users == MR_USERS_FIELDS_MAX)
                return;
            if (!f->named || name_place(f->name, user_names) != place ||
                !is_user(f) || f == c->type || f == c->time)
                continue;
            c->user[c->n_users++] = f;
            if (f->n == guess->records)
                return;
        }
    }
    for (size_t i = 0; i < guess->n_fields && c->n_users == 0; i++) {
        const struct mr_guess_field *f = &guess->field[i];

        /* Without names: keys, some of them again and again. */
        if (!f->named && f != c->id && f != c->type && f != c->time &&
            f != c->url && is_user(f) && at_least(f->keys, f->n, MOST) &&
            best_form(f) == N_FORMS && f->n_seen > 1 &&
            (f->n_seen < f->n || f->n < 20))
            c->user[c->n_users++] = f;
    }
}

/* The form that differs from another in nothing but the order of day and
 * month, or N_FORMS. */
static size_t twin_of(size_t form)
{
    const char *name = form_names[form];

    for (size_t i = LAST_EPOCH + 1; i < N_FORMS; i++) {
        const char *other = form_names[i];

        if (i != form && name[0] == '%' && other[0] == '%' &&
            strlen(name) == strlen(other) && name[1] == other[4] &&
            name[4] == other[1] && name[2] == other[2] &&
            (name[1] == 'd' || name[1] == 'm') &&
            strcmp(name + 5, other + 5) == 0)
            return i;
    }
    return N_FORMS;
}

void mr_guess_choose(
    const struct mr_guess *guess, struct mr_guess_choice *choice_out)
{
    struct mr_guess_choice c = {.n_users = 0};
    size_t form = N_FORMS, twin;

    c.time = choose_time(guess, &form);
    if (c.time != NULL) {
        c.time_format = form_names[form];
        twin = twin_of(form);
        if (twin < N_FORMS && c.time->forms[twin] == c.time->forms[form])
            c.other_format = form_names[twin];
    }
    c.id = choose_id(guess, &c);
    c.type = choose_type(guess, &c);
    c.url = choose_url(guess, &c);
    choose_users(guess, &c);
    *choice_out = c;
}
