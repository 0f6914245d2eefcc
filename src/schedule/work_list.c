/* Blocks of queries or keys in the order in which they are to be executed: light to heavy, because
 * runtimes hand out work in shrinking portions, and heads that share keys side by side. */
#include "schedule/work_list.h"

#include <string.h>

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Keys that block `index` of queries sees: those of its last query. */
static int64_t keys_seen(const clattn__problem *problem, int64_t block, int64_t index)
{
    const int64_t n_kv = problem->extent[CLATTN__N_KV];
    if (!problem->causal)
        return n_kv;
    const int64_t last = smaller((index + 1) * block, problem->extent[CLATTN__N_Q]) - 1;
    const int64_t seen = last + problem->causal_offset + 1;
    return seen < 0 ? 0 : smaller(seen, n_kv);
}

/* What the blocks of a list are blocks of. */
typedef struct grid {
    int64_t length; /* of the axis */
    int64_t heads;
    int64_t blocks;
    int64_t first; /* blocks before see no key and are left out */
} grid;

static grid grid_of(const clattn__problem *problem, const clattn__tiling *tiling)
{
    const bool queries = tiling->axis == CLATTN__OVER_QUERIES;
    grid of;
    of.length = problem->extent[queries ? CLATTN__N_Q : CLATTN__N_KV];
    of.heads = problem->extent[queries ? CLATTN__N_HEAD : CLATTN__N_KV_HEAD];
    of.blocks = (of.length + tiling->block - 1) / tiling->block;
    of.first = 0;
    while (queries && !tiling->empty_rows && of.first < of.blocks &&
           keys_seen(problem, tiling->block, of.first) == 0)
        of.first++;
    return of;
}

uint64_t clattn__work_list_count(const clattn__problem *problem, const clattn__tiling *tiling)
{
    const grid of = grid_of(problem, tiling);
    return (uint64_t)problem->extent[CLATTN__BATCH] * (uint64_t)of.heads *
           (uint64_t)(of.blocks - of.first);
}

static clattn_work_item item_of(const clattn__problem *problem, const clattn__tiling *tiling,
                                const grid *of, int64_t index)
{
    const int64_t begin = index * tiling->block;
    const int64_t end = smaller(begin + tiling->block, of->length);
    clattn_work_item item = {.partial = -1};
    if (tiling->axis == CLATTN__OVER_QUERIES) {
        item.q_begin = (int32_t)begin;
        item.q_end = (int32_t)end;
        item.k_end = (int32_t)keys_seen(problem, tiling->block, index);
    } else {
        item.k_begin = (int32_t)begin;
        item.k_end = (int32_t)end;
    }
    return item;
}

/* The first block after `index` that costs more than it does. */
static int64_t end_of_equals(const clattn__problem *problem, const clattn__tiling *tiling,
                             const grid *of, int64_t index)
{
    if (tiling->axis == CLATTN__OVER_KEYS)
        return of->blocks;
    const int64_t cost = keys_seen(problem, tiling->block, index);
    while (index < of->blocks && keys_seen(problem, tiling->block, index) == cost)
        index++;
    return index;
}

void clattn__work_list_fill(const clattn__problem *problem, const clattn__tiling *tiling,
                            clattn_work_item *items)
{
    const grid of = grid_of(problem, tiling);
    for (int64_t begin = of.first, end; begin < of.blocks; begin = end) {
        end = end_of_equals(problem, tiling, &of, begin);
        for (int64_t batch = 0; batch < problem->extent[CLATTN__BATCH]; batch++)
            for (int64_t head = 0; head < of.heads; head++)
                for (int64_t index = begin; index < end; index++) {
                    *items = item_of(problem, tiling, &of, index);
                    items->batch = (int32_t)batch;
                    items->head = (int32_t)head;
                    items++;
                }
    }
}
