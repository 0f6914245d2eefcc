/* Blocks of queries or keys in the order in which they are to be executed: light to heavy, because
 * runtimes hand out work in shrinking portions, and heads that share keys side by side. */
#include "schedule/work_list.h"

#include <string.h>

/* What the blocks of a list are blocks of. */
typedef struct grid {
    const clattn__problem *problem;
    bool queries, whole;
    int64_t length; /* of the axis */
    int64_t block, period;
    int64_t heads, batches;
    int64_t per_period; /* blocks of a whole period */
    int64_t blocks;
} grid;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static grid grid_of(const clattn__problem *problem, const clattn__tiling *tiling)
{
    grid of = {.problem = problem, .block = tiling->block};
    of.queries = tiling->axis == CLATTN__OVER_QUERIES;
    of.length = problem->extent[of.queries ? CLATTN__N_Q : CLATTN__N_KV];
    of.heads =
        problem->extent[tiling->axis == CLATTN__OVER_KEYS ? CLATTN__N_KV_HEAD : CLATTN__N_HEAD];
    of.batches = tiling->all_batches ? 1 : problem->extent[CLATTN__BATCH];
    if (tiling->all_heads)
        of.heads = 1;
    of.whole = tiling->axis == CLATTN__OVER_HEADS;
    if (of.whole) { /* one block, whatever the lengths are */
        of.length = of.block = of.period = of.per_period = of.blocks = 1;
        return of;
    }
    of.period = tiling->period && tiling->period < of.length ? tiling->period : of.length;
    if (of.period < 1)
        of.period = 1;
    of.per_period = clattn__divide_up(of.period, of.block);
    of.blocks =
        of.length / of.period * of.per_period + clattn__divide_up(of.length % of.period, of.block);
    return of;
}

static uint64_t count_tiles(const clattn__tiling *tiling)
{
    return (uint64_t)tiling->batches * (uint64_t)clattn__divide_up(tiling->rows, tiling->block) *
           (uint64_t)clattn__divide_up(tiling->columns, tiling->column_block);
}

/* Items that share columns are neighbours, so that these stay in the cache. */
static void fill_tiles(const clattn__tiling *tiling, clattn_work_item *items)
{
    int32_t number = 0;
    for (int64_t batch = 0; batch < tiling->batches; batch++)
        for (int64_t j = 0; j < tiling->columns; j += tiling->column_block)
            for (int64_t i = 0; i < tiling->rows; i += tiling->block)
                *items++ = (clattn_work_item){
                    .batch = (int32_t)batch,
                    .q_begin = (int32_t)i,
                    .q_end = (int32_t)smaller(i + tiling->block, tiling->rows),
                    .k_begin = (int32_t)j,
                    .k_end = (int32_t)smaller(j + tiling->column_block, tiling->columns),
                    .number = number++,
                };
}

uint64_t clattn__work_list_count(const clattn__problem *problem, const clattn__tiling *tiling)
{
    if (tiling->axis == CLATTN__OVER_TILES)
        return count_tiles(tiling);
    const grid of = grid_of(problem, tiling);
    return (uint64_t)of.batches * (uint64_t)of.heads * (uint64_t)of.blocks;
}

/* Where block `index` begins and ends on its axis. */
static void place_block(const grid *of, int64_t index, int64_t *begin, int64_t *end)
{
    const int64_t start = index / of->per_period * of->period;
    *begin = start + index % of->per_period * of->block;
    *end = smaller(smaller(*begin + of->block, start + of->period), of->length);
}

static int64_t clamp_key(const grid *of, int64_t key)
{
    return key < 0 ? 0 : smaller(key, of->problem->extent[CLATTN__N_KV]);
}

static clattn_work_item item_of(const grid *of, int64_t index)
{
    const clattn__problem *problem = of->problem;
    clattn_work_item item = {0};
    int64_t begin, end;
    if (of->whole) {
        item.q_end = (int32_t)problem->extent[CLATTN__N_Q];
        item.k_end = (int32_t)problem->extent[CLATTN__N_KV];
        return item;
    }
    place_block(of, index, &begin, &end);
    if (of->queries) {
        int64_t offset = problem->offset;
        if (problem->bottom_right)
            offset += problem->extent[CLATTN__N_KV] - problem->extent[CLATTN__N_Q];
        item.q_begin = (int32_t)begin;
        item.q_end = (int32_t)end;
        item.k_begin = (int32_t)clamp_key(of, begin + offset - problem->left);
        item.k_end = (int32_t)clamp_key(of, end + offset + problem->right);
    } else {
        item.k_begin = (int32_t)begin;
        item.k_end = (int32_t)end;
    }
    return item;
}

/* What decides the order of the blocks; those of keys cost the same. */
static int64_t cost_of(const grid *of, int64_t index)
{
    if (!of->queries)
        return 0;
    const clattn_work_item item = item_of(of, index);
    return item.k_end - item.k_begin;
}

/* Items of all heads for the blocks begin .. end - 1; returns where the next ones go. */
static clattn_work_item *add_blocks(const grid *of, const clattn__tiling *tiling, int64_t begin,
                                    int64_t end, clattn_work_item *items)
{
    for (int64_t batch = 0; batch < of->batches; batch++)
        for (int64_t head = 0; head < of->heads; head++)
            for (int64_t index = begin; index < end; index++) {
                *items = item_of(of, index);
                items->batch = tiling->all_batches ? -1 : (int32_t)batch;
                items->head = tiling->all_heads ? -1 : (int32_t)head;
                items++;
            }
    return items;
}

/* Costs rise, stay, and fall again along the axis: what both bounds leave grows until the first
 * meets the end of the keys. So the lightest block that is left is always the first or the last. */
void clattn__work_list_fill(const clattn__problem *problem, const clattn__tiling *tiling,
                            clattn_work_item *items)
{
    if (tiling->axis == CLATTN__OVER_TILES) {
        fill_tiles(tiling, items);
        return;
    }
    const grid of = grid_of(problem, tiling);
    clattn_work_item *const list = items;
    int64_t first = 0, last = of.blocks - 1;
    while (first <= last) {
        const int64_t cost = cost_of(&of, first);
        int64_t end = first;
        if (cost > cost_of(&of, last)) {
            items = add_blocks(&of, tiling, last, last + 1, items);
            last--;
            continue;
        }
        while (end <= last && cost_of(&of, end) == cost)
            end++;
        items = add_blocks(&of, tiling, first, end, items);
        first = end;
    }
    for (int64_t i = 0; i < items - list; i++)
        list[i].number = (int32_t)i;
}
