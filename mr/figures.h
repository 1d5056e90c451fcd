#ifndef MR_FIGURES_H
#define MR_FIGURES_H

#include "mr/batch.h"
#include "mr/derive.h"
#include "mr/event.h"
#include "mr/types.h"
#include "mr/usertable.h"
#include "mr/zone.h"

/*
 * What a spec has events counted by besides day and type: the field that the
 * user's id came from, where there are several; the type again, of users who
 * are not in the users table; the group of each rollup.
 */

/* Folders whose values are wanted (path.KEY). */
#define MR_FOLDERS_MAX 16

/** What the folders of a partition's name say of its events. */
struct mr_folder_hint {
    bool has_day, has_type;
    int32_t day; /* of any year: events of that day may be impossible */
    uint32_t type;
    /* Of the plan's keys; p is NULL where there is no such folder. */
    struct mr_span value[MR_FOLDERS_MAX];
};

/** Where a value comes from: index is that of the field in a record, of the
 * key among the folders, of the column in the users table, or the number of
 * a step. */
struct mr_figure_field {
    enum mr_source_kind from;
    unsigned index;
};

/** Read-only while threads use it; what it points at is the caller's. */
struct mr_figures_plan {
    const struct mr_spec *spec;
    const struct mr_event_plan *events;
    const struct mr_usertable *table; /* or NULL */
    const struct mr_zone *zone;
    unsigned url; /* index of the field in a record */
    struct mr_figure_field field[MR_ROLLUPS_MAX][MR_ROLLUP_FIELDS_MAX];
    unsigned attribute[MR_ROLLUP_FIELDS_MAX]; /* columns of segments_by */
    const char *folder[MR_FOLDERS_MAX];       /* keys */
    unsigned n_folders;
};

/** One thread's tools. */
struct mr_figures {
    const struct mr_figures_plan *plan;
    struct mr_type_cache *types; /* not owned */
    struct mr_buffer scratch;
    struct mr_zone_span hour;
    char hour_text[MR_HOUR_TEXT], day_text[MR_DAY_TEXT];
    struct mr_url url; /* of the event at hand */
    bool has_url;
};

/** There is nothing to fail; release it all the same. */
void mr_figures_init(struct mr_figures *f, const struct mr_figures_plan *plan,
    struct mr_type_cache *types);
void mr_figures_release(struct mr_figures *f);

/** mr_figures_begin(f, record, room): Begin with a record: before the values
 * of its fields are asked for.  room is the length of all values of the record
 * that will be, each as often as it is; the URL's need not be counted. */
MR_MUST_CHECK enum mr_status mr_figures_begin(
    struct mr_figures *f, const struct mr_record *record, size_t room);

/** mr_figures_value(f, field, record, event, hint, value): The text of a
 * field; p is NULL where there is none, and of the fields that rows alone can
 * have.  It is good until mr_figures_begin.  MR_NOMEM. */
MR_MUST_CHECK enum mr_status mr_figures_value(struct mr_figures *f,
    const struct mr_figure_field *field, const struct mr_record *record,
    const struct mr_event *event, const struct mr_folder_hint *hint,
    struct mr_span *value_out);

/** mr_figures_count(f, record, event, hint, batch): Count an event of a
 * record, which mr_batch_event has counted, by everything the plan has.
 * MR_NOMEM; MR_LIMIT when there are too many different groups. */
MR_MUST_CHECK enum mr_status mr_figures_count(struct mr_figures *f,
    const struct mr_record *record, const struct mr_event *event,
    const struct mr_folder_hint *hint, struct mr_batch *batch);

#endif
