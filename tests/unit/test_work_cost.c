/* What items cost, and how many go into a part. */
#include <criterion/criterion.h>
#include <string.h>

#include "schedule/work_cost.h"

/* Self-attention of `n` tokens, causal or not. */
static clattn__problem problem_of(int64_t n, bool causal)
{
    clattn__problem problem;
    memset(&problem, 0, sizeof problem);
    problem.extent[CLATTN__BATCH] = 1;
    problem.extent[CLATTN__N_HEAD] = problem.extent[CLATTN__N_KV_HEAD] = 4;
    problem.extent[CLATTN__N_Q] = problem.extent[CLATTN__N_KV] = n;
    problem.left = CLATTN__UNLIMITED;
    problem.right = causal ? 0 : CLATTN__UNLIMITED;
    return problem;
}

enum { BLOCK = 64, TOKENS = 2048, ITEMS = 4 * TOKENS / BLOCK };

static void cost_queries(bool causal, double sums[ITEMS + 1])
{
    const clattn__problem problem = problem_of(TOKENS, causal);
    const clattn__tiling tiling = {CLATTN__OVER_QUERIES, .block = BLOCK};
    clattn_work_item items[ITEMS];
    cr_assert_eq(clattn__work_list_count(&problem, &tiling), ITEMS);
    clattn__work_list_fill(&problem, &tiling, items);
    sums[0] = 0;
    clattn__work_costs(&problem, &tiling, false, items, ITEMS, sums);
}

/* The last items of a causal problem cost as much as they see, those of others all the same. */
Test(work_cost, visible_keys)
{
    double causal[ITEMS + 1], whole[ITEMS + 1];
    cost_queries(true, causal);
    cost_queries(false, whole);
    const double first = causal[1] - causal[0], last = causal[ITEMS] - causal[ITEMS - 1];
    cr_assert(last > 25 * first, "%g and %g", first, last);
    cr_assert_float_eq(whole[1] - whole[0], last, 1);
    cr_assert_float_eq(whole[ITEMS] - whole[ITEMS - 1], last, 1);
}

/* Parts of equal cost: many of the first items, few of the last, in no part much more than asked.
 */
Test(work_cost, parts_of_equal_cost)
{
    double sums[ITEMS + 1];
    cost_queries(true, sums);
    const double most = sums[ITEMS] / 10;
    uint32_t parts = 0, before = UINT32_MAX;
    for (uint32_t at = 0; at < ITEMS; parts++) {
        const uint32_t count = clattn__items_within(sums + at, ITEMS - at, most, 2);
        cr_assert(count >= 1 && at + count <= ITEMS);
        cr_assert(count <= before, "later ones cost more");
        cr_assert(count == ITEMS - at || count % 2 == 0, "whole multiples of the units");
        cr_assert(count <= 2 || sums[at + count] - sums[at] <= most);
        before = count;
        at += count;
    }
    cr_assert(parts >= 10 && parts <= 13, "%u parts", parts);
}

/* A step of ten times what a launch may be is cut into as many pieces; one of just that isn't cut,
 * however little of it is left; nothing is no piece. */
Test(work_cost, slices)
{
    double sums[ITEMS + 1];
    cost_queries(true, sums);
    clattn__cut cut = {sums, ITEMS, .whole = sums[ITEMS], .work = 5000, .most = 500, .units = 2};
    uint32_t pieces = 0;
    for (uint32_t at = 0; at < ITEMS; pieces++) {
        const clattn__cut left = {sums + at, ITEMS - at, sums[ITEMS], 5000, 500, 2};
        const uint32_t count = clattn__slice(&left);
        cr_assert_eq(count, clattn__items_within(sums + at, ITEMS - at, sums[ITEMS] / 10, 2));
        at += count;
    }
    cr_assert(pieces >= 10 && pieces <= 13, "%u pieces", pieces);
    cr_assert_eq(clattn__slices(&cut), pieces);
    cut.most = 5000;
    cr_assert_eq(clattn__slice(&cut), ITEMS);
    cr_assert_eq(clattn__slices(&cut), 1);
    cut.most = 4999;
    cr_assert_eq(clattn__slices(&cut), 2);
    cut.most = 1; /* less than any item is */
    cr_assert_eq(clattn__slice(&cut), 2);
    cr_assert_eq(clattn__slices(&cut), ITEMS / 2);
    cut.count = 0;
    cr_assert_eq(clattn__slices(&cut), 0);
}

/* What is as much as a launch may be isn't cut, however it is rounded. */
Test(work_cost, slices_of_all_that_may_be)
{
    for (int i = 1; i < 1000; i++) {
        const double whole = i % 50 + 3, sums[] = {0, 1, 2, whole};
        const clattn__cut cut = {sums, 3, whole, .work = 0.37 * i, .most = 0.37 * i, .units = 1};
        cr_assert_eq(clattn__slice(&cut), 3);
        cr_assert_eq(clattn__slices(&cut), 1);
    }
}

Test(work_cost, how_many_items)
{
    const double sums[] = {5, 6, 7, 8, 9, 10};
    cr_assert_eq(clattn__items_within(sums, 5, 3.5, 1), 3);
    cr_assert_eq(clattn__items_within(sums, 5, 3.5, 2), 2, "a multiple of the units");
    cr_assert_eq(clattn__items_within(sums, 5, 0, 1), 1, "never less than one");
    cr_assert_eq(clattn__items_within(sums, 5, 0, 4), 4, "at least as many as units");
    cr_assert_eq(clattn__items_within(sums, 5, 0, 8), 5);
    cr_assert_eq(clattn__items_within(sums, 5, 5, 2), 5, "all");
}

/* What packs keys looks at each once, what computes with them as often as there are queries. */
Test(work_cost, launches_beside_each_other)
{
    const clattn__problem problem = problem_of(TOKENS, false);
    const clattn__tiling tiling = {CLATTN__OVER_KEYS, .block = 512};
    clattn_work_item items[64];
    double light[65] = {0}, heavy[65] = {0};
    const uint32_t count = (uint32_t)clattn__work_list_count(&problem, &tiling);
    cr_assert(count <= 64);
    clattn__work_list_fill(&problem, &tiling, items);
    clattn__work_costs(&problem, &tiling, true, items, count, light);
    clattn__work_costs(&problem, &tiling, false, items, count, heavy);
    cr_assert(heavy[count] > 100 * light[count]);
    cr_assert(light[count] > 4 * TOKENS, "it costs something");
}
