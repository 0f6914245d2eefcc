/* Work item lists: which work-group does what. Pure functions of problem and tiling. */
#ifndef CLATTN_SCHEDULE_WORK_LIST_H
#define CLATTN_SCHEDULE_WORK_LIST_H

#include "common/arguments.h"
#include "problem/problem.h"

typedef enum clattn__axis {
    CLATTN__OVER_QUERIES, /* items are blocks of queries of one query head; k range = visible keys
                           */
    CLATTN__OVER_KEYS     /* items are blocks of keys of one key/value head; q range unused (0) */
} clattn__axis;

typedef struct clattn__tiling {
    clattn__axis axis;
    int64_t block;   /* queries or keys of an item, at least 1 */
    bool empty_rows; /* OVER_QUERIES: also list blocks that see no key (their rows are set to 0) */
} clattn__tiling;

/* Number of items; may exceed what one launch can have. */
uint64_t clattn__work_list_count(const clattn__problem *problem, const clattn__tiling *tiling);

/* Writes clattn__work_list_count items, row 0 and partial -1. Order: within the list ascending in
 * cost (keys seen), ties by batch, head, block; heads that share keys stay together. */
void clattn__work_list_fill(const clattn__problem *problem, const clattn__tiling *tiling,
                            clattn_work_item *items);

#endif
