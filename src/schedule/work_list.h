/* Work item lists: which work-group does what. Pure functions of problem and tiling. */
#ifndef CLATTN_SCHEDULE_WORK_LIST_H
#define CLATTN_SCHEDULE_WORK_LIST_H

#include "common/arguments.h"
#include "problem/problem.h"

typedef enum clattn__axis {
    CLATTN__OVER_QUERIES,   /* items are blocks of queries of one query head; k range: what bounds
                               leave of the keys, lengths aside */
    CLATTN__OVER_KEYS,      /* items are blocks of keys of one key/value head; q range unused (0) */
    CLATTN__OVER_HEAD_KEYS, /* items are blocks of keys of one query head */
    CLATTN__OVER_HEADS,     /* items are whole query heads, with all queries and keys */
    CLATTN__OVER_TILES      /* items are rectangles of matrices: q range of rows, k of columns */
} clattn__axis;

typedef struct clattn__tiling {
    clattn__axis axis;
    int64_t block;    /* queries or keys of an item, at least 1 */
    int64_t period;   /* no item reaches over a multiple of it; 0: none */
    bool all_heads;   /* one item for all heads: its head is -1 */
    bool all_batches; /* one item for all batch entries: its batch is -1 */
    /* CLATTN__OVER_TILES: `batches` matrices, `block` rows by `column_block` columns an item. */
    int64_t batches, rows, columns, column_block;
} clattn__tiling;

/* a / b, rounded up; a is 0 or more, b 1 or more. */
static inline int64_t clattn__divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Number of items; may exceed what one launch can have. */
uint64_t clattn__work_list_count(const clattn__problem *problem, const clattn__tiling *tiling);

/* Writes clattn__work_list_count items, row 0, numbered. Order: ascending in cost (keys that
 * the bounds leave; with a period only nearly), ties by batch, head, block; heads that share keys
 * stay together. */
void clattn__work_list_fill(const clattn__problem *problem, const clattn__tiling *tiling,
                            clattn_work_item *items);

#endif
