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

/* Keys that query i sees, from the definition. */
static int64_t seen_by(const clattn__problem *problem, int64_t i)
{
    int64_t seen = 0;
    for (int64_t j = 0; j < problem->extent[CLATTN__N_KV]; j++)
        seen += !problem->causal || j <= i + problem->causal_offset;
    return seen;
}

/* Each query of each head exactly once, and every key that one of the block's queries sees. */
static void check_queries(const clattn__problem *problem, const clattn__tiling *tiling)
{
    uint64_t count;
    clattn_work_item *items = list_of(problem, tiling, &count);
    const int64_t heads = problem->extent[CLATTN__N_HEAD], n_q = problem->extent[CLATTN__N_Q];
    const int64_t rows = problem->extent[CLATTN__BATCH] * heads * n_q;
    unsigned char *covered = calloc((size_t)rows + 1, 1);
    cr_assert_not_null(covered);
    for (uint64_t n = 0; n < count; n++) {
        const clattn_work_item *item = &items[n];
        int64_t most = 0;
        cr_assert(item->q_begin < item->q_end && item->q_end - item->q_begin <= tiling->block);
        cr_assert_eq(item->row, 0);
        cr_assert_eq(item->partial, -1);
        for (int64_t i = item->q_begin; i < item->q_end; i++) {
            covered[(item->batch * heads + item->head) * n_q + i]++;
            if (seen_by(problem, i) > most)
                most = seen_by(problem, i);
        }
        cr_assert_eq(item->k_begin, 0);
        cr_assert_eq(item->k_end, most, "keys of an item");
        cr_assert(n == 0 || items[n - 1].k_end <= item->k_end, "order of cost");
    }
    for (int64_t i = 0; i < rows; i++) {
        const int64_t block = i % n_q / tiling->block * tiling->block;
        const int64_t last = block + tiling->block < n_q ? block + tiling->block - 1 : n_q - 1;
        const bool listed = tiling->empty_rows || seen_by(problem, last) > 0;
        cr_assert_eq(covered[i], listed, "row %d is listed %d times", (int)i, covered[i]);
    }
    free(covered);
    free(items);
}

Test(work_list, queries)
{
    static const int64_t blocks[] = {1, 7, 48, 200};
    for (size_t a = 0; a < SIZES; a++)
        for (size_t b = 0; b < SIZES; b++)
            for (size_t c = 0; c < sizeof blocks / sizeof blocks[0]; c++)
                for (int mode = 0; mode < 6; mode++) {
                    clattn__problem problem = problem_of(2, 3, sizes[a], sizes[b]);
                    problem.causal = mode % 3 > 0;
                    problem.causal_offset = mode % 3 == 1 ? 0 : sizes[b] - sizes[a];
                    const clattn__tiling tiling = {CLATTN__OVER_QUERIES, blocks[c], mode < 3};
                    check_queries(&problem, &tiling);
                }
}

Test(work_list, keys)
{
    for (size_t a = 0; a < SIZES; a++) {
        const clattn__problem problem = problem_of(2, 3, 5, sizes[a]);
        const clattn__tiling tiling = {CLATTN__OVER_KEYS, 48, false};
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

Test(work_list, heads_of_equal_cost_stay_together)
{
    const clattn__problem problem = problem_of(1, 2, 96, 10);
    const clattn__tiling tiling = {CLATTN__OVER_QUERIES, 48, false};
    uint64_t count;
    clattn_work_item *items = list_of(&problem, &tiling, &count);
    cr_assert_eq(count, 4);
    cr_assert(items[0].head == 0 && items[1].head == 0 && items[2].head == 1 && items[3].head == 1);
    free(items);
}

Test(work_list, extents_that_would_take_for_ever_to_visit)
{
    clattn__problem problem = problem_of(INT32_MAX, INT32_MAX, 1, 1);
    const clattn__tiling tiling = {CLATTN__OVER_QUERIES, 1, true};
    cr_assert_eq(clattn__work_list_count(&problem, &tiling), (uint64_t)INT32_MAX * INT32_MAX);
    problem = problem_of(0, 0, 1, 1);
    cr_assert_eq(clattn__work_list_count(&problem, &tiling), 0);
}
