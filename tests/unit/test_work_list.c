/* Work item lists: every query and key once, in ascending order of cost, for many shapes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/work_list.h"

/* An invented problem; only what lists depend on. */
static clattn__problem problem_of(int64_t batch, int64_t heads, int64_t n_q, int64_t n_kv)
{
    clattn__problem problem;
    memset(&problem, 0, sizeof problem);
    problem.extent[CLATTN__BATCH] = batch;
    problem.extent[CLATTN__N_HEAD] = heads;
    problem.extent[CLATTN__N_KV_HEAD] = heads;
    problem.extent[CLATTN__N_Q] = n_q;
    problem.extent[CLATTN__N_KV] = n_kv;
    problem.left = problem.right = CLATTN__UNLIMITED;
    problem.extent[CLATTN__HEAD_DIM] = problem.extent[CLATTN__VALUE_DIM] = 8;
    return problem;
}

static clattn_work_item *list_of(const clattn__problem *problem, const clattn__tiling *tiling,
                                 uint64_t *count)
{
    *count = clattn__work_list_count(problem, tiling);
    clattn_work_item *items = malloc((size_t)(*count + 1) * sizeof *items);
    cr_assert_not_null(items);
    memset(items, 0x5a, (size_t)(*count + 1) * sizeof *items);
    clattn__work_list_fill(problem, tiling, items);
    const unsigned char *behind = (const unsigned char *)(items + *count);
    for (size_t i = 0; i < sizeof *items; i++)
        cr_assert_eq(behind[i], 0x5a, "wrote beyond the list");
    return items;
}

static const int64_t sizes[] = {0, 1, 2, 5, 47, 48, 49, 96, 97, 131};
#define SIZES (sizeof sizes / sizeof sizes[0])

/* Whether the bounds show key j to query i, from the definition. */
static bool sees(const clattn__problem *problem, int64_t i, int64_t j)
{
    int64_t at = i + problem->offset;
    if (problem->bottom_right)
        at += problem->extent[CLATTN__N_KV] - problem->extent[CLATTN__N_Q];
    return at - problem->left <= j && j <= at + problem->right;
}

/* The item's range of keys has every key that one of its queries sees, and no more around them. */
static void check_range(const clattn__problem *problem, const clattn_work_item *item)
{
    int64_t first = -1, last = -1;
    for (int64_t j = 0; j < problem->extent[CLATTN__N_KV]; j++)
        for (int64_t i = item->q_begin; i < item->q_end; i++)
            if (sees(problem, i, j)) {
                first = first < 0 ? j : first;
                last = j;
            }
    if (first < 0)
        cr_assert(item->k_end <= item->k_begin, "keys that nobody sees");
    else
        cr_assert(item->k_begin == first && item->k_end == last + 1, "keys of an item");
}

/* Each query of each head exactly once, light items first. */
static void check_queries(const clattn__problem *problem, const clattn__tiling *tiling)
{
    uint64_t count;
    clattn_work_item *items = list_of(problem, tiling, &count);
    const int64_t heads = tiling->all_heads ? 1 : problem->extent[CLATTN__N_HEAD];
    const int64_t n_q = problem->extent[CLATTN__N_Q];
    const int64_t rows = problem->extent[CLATTN__BATCH] * heads * n_q;
    const int64_t period = tiling->period ? tiling->period : INT64_MAX;
    int64_t before = INT64_MIN;
    unsigned char *covered = calloc((size_t)rows + 1, 1);
    cr_assert_not_null(covered);
    for (uint64_t n = 0; n < count; n++) {
        const clattn_work_item *item = &items[n];
        const int64_t head = tiling->all_heads ? 0 : item->head;
        cr_assert(item->q_begin < item->q_end && item->q_end - item->q_begin <= tiling->block);
        cr_assert_eq(item->q_begin / period, (item->q_end - 1) / period, "reaches over a period");
        cr_assert_eq(item->row, 0);
        cr_assert_eq(item->number, (int32_t)n);
        cr_assert(!tiling->all_heads || item->head == -1);
        for (int64_t i = item->q_begin; i < item->q_end; i++)
            covered[(item->batch * heads + head) * n_q + i]++;
        check_range(problem, item);
        const int64_t cost = item->k_end - item->k_begin;
        if (tiling->period == 0) /* with one, the last item of each is lighter */
            cr_assert(cost >= before, "order of cost");
        before = cost;
    }
    for (int64_t i = 0; i < rows; i++)
        cr_assert_eq(covered[i], 1, "row %d is listed %d times", (int)i, covered[i]);
    free(covered);
    free(items);
}

/* Sides of windows, offsets. */
static const struct {
    int64_t left, right, offset;
    bool bottom_right;
} bounds[] = {
    {CLATTN__UNLIMITED, CLATTN__UNLIMITED, 0, false},
    {CLATTN__UNLIMITED, 0, 0, false},
    {CLATTN__UNLIMITED, 0, 0, true},
    {20, 0, 0, true},
    {3, 60, -17, false},
    {0, 0, 5, false},
    {CLATTN__UNLIMITED, 0, -INT32_MAX, false},
    {50, CLATTN__UNLIMITED, INT32_MAX, true},
};

Test(work_list, queries)
{
    static const clattn__tiling tilings[] = {
        {CLATTN__OVER_QUERIES, .block = 1},
        {CLATTN__OVER_QUERIES, .block = 7, .all_heads = true},
        {CLATTN__OVER_QUERIES, .block = 48},
        {CLATTN__OVER_QUERIES, .block = 48, .period = 64},
        {CLATTN__OVER_QUERIES, .block = 48, .period = 5},
        {CLATTN__OVER_QUERIES, .block = 200, .period = 1000},
    };
    for (size_t a = 0; a < SIZES; a++)
        for (size_t b = 0; b < SIZES; b++)
            for (size_t c = 0; c < sizeof tilings / sizeof tilings[0]; c++)
                for (size_t mode = 0; mode < sizeof bounds / sizeof bounds[0]; mode++) {
                    clattn__problem problem = problem_of(2, 3, sizes[a], sizes[b]);
                    problem.left = bounds[mode].left;
                    problem.right = bounds[mode].right;
                    problem.offset = bounds[mode].offset;
                    problem.bottom_right = bounds[mode].bottom_right;
                    check_queries(&problem, &tilings[c]);
                }
}

Test(work_list, keys)
{
    for (size_t a = 0; a < SIZES; a++) {
        const clattn__problem problem = problem_of(2, 3, 5, sizes[a]);
        const clattn__tiling tiling = {CLATTN__OVER_KEYS, .block = 48};
        uint64_t count;
        clattn_work_item *items = list_of(&problem, &tiling, &count);
        int64_t covered = 0;
        for (uint64_t n = 0; n < count; n++) {
            cr_assert_eq(items[n].k_begin % 48, 0);
            cr_assert(items[n].k_end > items[n].k_begin && items[n].k_end <= sizes[a]);
            covered += items[n].k_end - items[n].k_begin;
        }
        cr_assert_eq(covered, 2 * 3 * sizes[a]);
        free(items);
    }
}

/* Whole heads, also where there are no queries, keys or batch entries. */
Test(work_list, heads)
{
    const clattn__tiling each = {CLATTN__OVER_HEADS, .block = 1};
    const clattn__tiling together = {CLATTN__OVER_HEADS, .block = 1, .all_batches = true};
    const clattn__tiling all = {CLATTN__OVER_HEADS, .block = 1, .all_heads = true,
                                .all_batches = true};
    const clattn__problem problem = problem_of(2, 3, 5, 7), empty = problem_of(0, 3, 0, 0);
    uint64_t count;
    clattn_work_item *items = list_of(&problem, &each, &count);
    cr_assert_eq(count, 6);
    for (uint64_t n = 0; n < count; n++)
        cr_assert(items[n].batch == (int32_t)n / 3 && items[n].head == (int32_t)n % 3 &&
                  items[n].q_begin == 0 && items[n].q_end == 5 && items[n].k_begin == 0 &&
                  items[n].k_end == 7);
    free(items);
    items = list_of(&empty, &together, &count);
    cr_assert(count == 3 && items[2].batch == -1 && items[2].head == 2 && items[2].q_end == 0);
    free(items);
    items = list_of(&problem, &all, &count);
    cr_assert(count == 1 && items[0].batch == -1 && items[0].head == -1);
    free(items);
}

Test(work_list, heads_of_equal_cost_stay_together)
{
    const clattn__problem problem = problem_of(1, 2, 96, 10);
    const clattn__tiling tiling = {CLATTN__OVER_QUERIES, .block = 48};
    uint64_t count;
    clattn_work_item *items = list_of(&problem, &tiling, &count);
    cr_assert_eq(count, 4);
    cr_assert(items[0].head == 0 && items[1].head == 0 && items[2].head == 1 && items[3].head == 1);
    free(items);
}

Test(work_list, extents_that_would_take_for_ever_to_visit)
{
    clattn__problem problem = problem_of(INT32_MAX, INT32_MAX, 1, 1);
    const clattn__tiling tiling = {CLATTN__OVER_QUERIES, .block = 1};
    cr_assert_eq(clattn__work_list_count(&problem, &tiling), (uint64_t)INT32_MAX * INT32_MAX);
    problem = problem_of(0, 0, 1, 1);
    cr_assert_eq(clattn__work_list_count(&problem, &tiling), 0);
}
