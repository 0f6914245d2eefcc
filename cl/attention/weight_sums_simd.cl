/* How much each key was attended to: weights summed over the queries in ascending order, without
 * ever holding more of them than a block. An item is a block of keys of one head. */
#include "common/simd_block.h"

/* Adds the weights of the block's queries with the item's keys to sum (BLOCK_N). */
OUTLINE void add_queries(const block *b, const clattn_work_item *item, __global const float *stats,
                         float *sum)
{
    const int from = max(keys_from(&b->of, b->q_begin), item->k_begin);
    const int to = min(keys_to(&b->of, b->q_begin + b->rows - 1), item->k_end);
    const int start = item->k_begin;
    run r = run_init();
    while (next_run(&b->of, &r, b->q_begin, from, to)) {
        const int key = r.begin / PANEL * PANEL;
        score_block(b, &r, start, key, r.end);
        for (int i = 0; i < b->rows; i++) {
            if (!b->live[i / ROWS])
                continue;
            weigh_row(b, i, start, stats + (b->q_begin + i) * 2);
            for (int c = key - start; c < r.end - start; c += PANEL)
                for (int j = c; b->live[i / ROWS] >> c / PANEL & 1 && j < c + PANEL; j += VEC)
                    store_vector(load_vector(sum + j) + load_vector(b->p + i * SCORE_STEP + j),
                                 sum + j);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
weight_sums_simd(__global const void *q, __global const float *k_panels,
                 __global const float *stats, __global float *weights_sum, OPTION_PARAMETERS,
                 const clattn_base base, __global const clattn_problem_row *rows,
                 __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const long q_begin = tensor_begin(row, &base, CLATTN_T_Q, item.batch, item.head);
    float sum[BLOCK_N];
    BLOCK_ARRAYS;
    block b;
    b.q = block_q;
    b.p = block_p;
    b.most = block_most;
    b.live = block_live;
    for (int j = 0; j < BLOCK_N; j += VEC)
        store_vector((vfloat)(0.0f), sum + j);
    for (int j = 0; j < BLOCK_M * SCORE_STEP; j += VEC)
        store_vector((vfloat)(0.0f), block_p + j); /* dropout looks at dead panels too */
    b.of = pairs_init(row, &base, item.batch, item.head, OPTION_ARGUMENTS);
    set_keys(&b, k_panels, &base);
    for (int i = 0, end; i < b.of.queries.count; i = end) {
        end = i + BLOCK_M;
        if (row->flags & CLATTN_F_BLOCKS) /* one list for all queries of a block */
            end = (int)min((long)end, ((long)i / row->block_q + 1) * row->block_q);
        set_rows(&b, i, end - i);
        load_queries(&b, q, q_begin);
        add_queries(&b, &item,
                    stats + tensor_begin(row, &base, CLATTN_T_STATS, item.batch, item.head), sum);
    }
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_WEIGHTS_SUM];
    write_row(sum, item.k_end - item.k_begin, 1.0f, weights_sum,
              tensor_begin(row, &base, CLATTN_T_WEIGHTS_SUM, item.batch, item.head) +
                  item.k_begin * t->stride[2],
              t->stride[2], CLATTN_D_F32);
}
