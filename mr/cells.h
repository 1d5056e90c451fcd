#ifndef MR_CELLS_H
#define MR_CELLS_H

#include "mr/coverage.h"
#include "mr/types.h"

/*
 * Numbers for cells, which are pairs of a day and a type, and for figures,
 * whose day is MR_DAY_END, while mapping: in
 * order of first sight, then, once all are known, in the order of a state.
 * One thread at a time.
 */

struct mr_cellbook {
    struct mr_cell *cell; /* by number; type is the table's number */
    size_t n, cap;
    uint32_t *number_of; /* open-addressed: number + 1 */
    size_t mask;
    const bool *used; /* by number; NULL: all of them */
    uint32_t *final;  /* sorted: number in the state by number here */
    /* Sorted: types, without the byte of their kind; figures, with it; and
     * cells of days and types.  Texts are still the table's. */
    struct mr_span *type, *figure;
    size_t n_types, n_figures;
    struct mr_cell *sorted;
    size_t n_sorted;
};

/* All zero is the empty book. */
void mr_cellbook_release(struct mr_cellbook *b);

/** mr_cellbook_number(b, day, type, number): The number of a cell, new or
 * known. */
MR_MUST_CHECK enum mr_status mr_cellbook_number(
    struct mr_cellbook *b, int32_t day, uint32_t type, uint32_t *number_out);

/** mr_cellbook_find(b, day, type): The number of a known cell. */
uint32_t mr_cellbook_find(
    const struct mr_cellbook *b, int32_t day, uint32_t type);

/** mr_cellbook_join(b, types): Give those figures a number that stand for
 * groups which types has not kept.  Before used is set, and sorting. */
MR_MUST_CHECK enum mr_status mr_cellbook_join(
    struct mr_cellbook *b, const struct mr_types *types);

/** mr_cellbook_sort(b, types): Fill final, type, figure and sorted: the used
 * cells by day and type, and texts in byte order.  A cell may
 * be unused because all its events turned out not to count; its final number
 * means nothing.  Groups that types has not kept have one final number.  More
 * cells may follow, and another sorting, which fills all anew. */
MR_MUST_CHECK enum mr_status mr_cellbook_sort(
    struct mr_cellbook *b, const struct mr_types *types);

#endif
