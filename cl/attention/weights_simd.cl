/* Weights and scores that are returned, computed once more when maximum and sum of every row are
 * known: WEIGHTS, WEIGHTS_MEAN, SCORES. An item is a block of queries of one head, or of all heads
 * in ascending order, so that the mean is summed in fixed order. */
#include "common/score_target.h"
#include "common/simd_block.h"

INLINE void fill_rows(const target *to, const clattn_work_item *item, int n_kv, float value)
{
    for (int i = item->q_begin; to->memory && i < item->q_end; i++)
        for (int j = 0; j < n_kv; j++)
            to->memory[i * to->step + j * to->inner] = value;
}

/* Columns [begin, end) of row r of the block of keys at `start`. */
INLINE void put_row(const block *b, const target *to, int r, int start, int begin, int end)
{
    if (to->memory)
        write_row(b->p + r * SCORE_STEP + begin - start, end - begin, 1.0f, to->memory,
                  (b->q_begin + r) * to->step + begin * to->inner, to->inner, CLATTN_D_F32);
}

INLINE void add_row(const block *b, const target *to, int r, int start, int begin, int end)
{
    if (!to->memory)
        return;
    const float share = 1.0f / b->of.row->n_head;
    for (int j = begin; j < end; j++)
        to->memory[(b->q_begin + r) * to->step + j * to->inner] +=
            b->p[r * SCORE_STEP + j - start] * share;
}

/* What is written of one head. */
typedef struct outputs {
    target weights, mean, scores;
    __global const float *stats; /* element (batch, head, 0, 0) */
} outputs;

/* Scores and weights of the keys [key, end) of a run. */
INLINE void weigh_block(const block *b, const run *r, const outputs *to, int start, int key,
                        int end)
{
    const uint stage = b->of.row->stage;
    score_block(b, r, start, key, end);
    for (int c = key; c < end; c += PANEL)
        for (int i = 0; i < b->rows; i++)
            if (stage == CLATTN_STAGE_VISIBLE && b->live[i / ROWS] >> (c - start) / PANEL & 1)
                put_row(b, &to->scores, i, start, max(c, r->begin), min(c + PANEL, end));
    for (int i = 0; i < b->rows; i++)
        if (b->live[i / ROWS])
            weigh_row(b, i, start, to->stats + (b->q_begin + i) * 2);
    for (int c = key; c < end; c += PANEL)
        for (int i = 0; i < b->rows; i++) {
            if (!(b->live[i / ROWS] >> (c - start) / PANEL & 1))
                continue;
            const int begin = max(c, r->begin), to_end = min(c + PANEL, end);
            put_row(b, &to->weights, i, start, begin, to_end);
            add_row(b, &to->mean, i, start, begin, to_end);
            if (stage == CLATTN_STAGE_WEIGHTS)
                put_row(b, &to->scores, i, start, begin, to_end);
        }
}

/* Scaled or capped products of all pairs within the lengths. */
INLINE void early_scores(const block *b, const target *to)
{
    const int keys = b->of.keys.count;
    for (int key = 0; key < keys; key += PANEL)
        for (int tile = 0; tile < b->tiled_rows; tile += ROWS) {
            vfloat sum[ROWS][COLS];
            product_tile(b, tile, key, keys - key, no_lines(), sum);
#pragma unroll
            for (int r = 0; r < ROWS; r++)
#pragma unroll
                for (int c = 0; c < COLS; c++)
                    store_vector(sum[r][c], b->p + (tile + r) * SCORE_STEP + c * VEC);
            for (int r = tile; r < min(tile + ROWS, b->rows); r++) {
                float *p = b->p + r * SCORE_STEP;
                for (int c = 0; c < PANEL && b->of.row->stage == CLATTN_STAGE_CAPPED; c += VEC)
                    store_vector(cap_scores(&b->of, load_vector(p + c)), p + c);
                put_row(b, to, r, key, key, min(key + PANEL, keys));
            }
        }
}

OUTLINE void weigh_head(const block *b, const outputs *to)
{
    const int from = keys_from(&b->of, b->q_begin);
    const int end = keys_to(&b->of, b->q_begin + b->rows - 1);
    run r = run_init();
    while (next_run(&b->of, &r, b->q_begin, from, end))
        for (int start = r.begin / BLOCK_N * BLOCK_N; start < r.end; start += BLOCK_N)
            weigh_block(b, &r, to, start, max(start, r.begin / PANEL * PANEL),
                        min(start + BLOCK_N, r.end));
    if (to->scores.memory && b->of.row->stage <= CLATTN_STAGE_CAPPED)
        early_scores(b, &to->scores);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
weights_simd(__global const void *q, __global const float *k_panels, __global const float *stats,
             __global float *weights, __global float *weights_mean, __global float *scores,
             OPTION_PARAMETERS, const clattn_base base, __global const clattn_problem_row *rows,
             __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int last = item.head < 0 ? row->n_head - 1 : item.head;
    BLOCK_ARRAYS;
    block b;
    b.q = block_q;
    b.p = block_p;
    b.most = block_most;
    b.live = block_live;
    for (int j = 0; j < BLOCK_M * SCORE_STEP; j += VEC)
        store_vector((vfloat)(0.0f), block_p + j); /* dropout looks at dead panels too */
    for (int h = max(item.head, 0); h <= last; h++) {
        outputs to;
        b.of = pairs_init(row, &base, item.batch, h, OPTION_ARGUMENTS);
        set_keys(&b, k_panels, &base);
        set_rows(&b, item.q_begin, item.q_end - item.q_begin);
        to.stats = stats + tensor_begin(row, &base, CLATTN_T_STATS, item.batch, h);
        to.weights =
            target_of(row, &base, CLATTN_T_WEIGHTS, CLATTN_F_WEIGHTS, weights, item.batch, h);
        to.mean = target_of(row, &base, CLATTN_T_WEIGHTS_MEAN, CLATTN_F_WEIGHTS_MEAN, weights_mean,
                            item.batch, h);
        to.scores = target_of(row, &base, CLATTN_T_SCORES, CLATTN_F_SCORES, scores, item.batch, h);
        fill_rows(&to.weights, &item, row->n_kv, 0.0f);
        fill_rows(&to.scores, &item, row->n_kv,
                  row->stage == CLATTN_STAGE_WEIGHTS ? 0.0f : -INFINITY);
        if (h == 0)
            fill_rows(&to.mean, &item, row->n_kv, 0.0f);
        load_queries(&b, q, tensor_begin(row, &base, CLATTN_T_Q, item.batch, h));
        if (b.rows > 0)
            weigh_head(&b, &to);
    }
}
