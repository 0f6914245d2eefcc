/* Returned weights and scores, one query a work-item at a time; see reference.h. An item is a block
 * of queries of one head, or of all heads, whose mean is summed in ascending order. */
#include "common/reference.h"

static void write_scores(const query *x, __global float *scores, long step)
{
    const uint stage = x->of.row->stage;
    const int own = x->i < x->of.queries.count ? x->of.keys.count : 0;
    for (int j = 0; j < x->of.row->n_kv; j++) {
        float s = -INFINITY;
        if (j < own && stage == CLATTN_STAGE_SCALED)
            s = product(x, j);
        if (j < own && stage == CLATTN_STAGE_CAPPED)
            s = cap_scores(&x->of, product(x, j));
        scores[j * step] = s;
    }
    run r = run_init();
    while (stage == CLATTN_STAGE_VISIBLE && next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++)
            scores[j * step] = score(x, j);
}

/* stats (2): maximum and sum. With `share` 0 the weights are written, else share * weights are
 * added. */
static void write_weights(const query *x, __global const float *stats, __global float *weights,
                          long step, float share)
{
    for (int j = 0; share == 0.0f && j < x->of.row->n_kv; j++)
        weights[j * step] = 0.0f;
    run r = run_init();
    while (next_keys(x, &r))
        for (int j = r.begin; j < r.end; j++) {
            const float w = weight(x, j, score(x, j), stats[0], stats[1]);
            if (share == 0.0f)
                weights[j * step] = w;
            else
                weights[j * step] += share * w;
        }
}

static void write_query(const query *x, const clattn_base *base, __global const float *stats,
                        __global float *weights, __global float *weights_mean,
                        __global float *scores)
{
    __global const clattn_problem_row *row = x->of.row;
    __global const clattn_tensor_row *t = row->tensor;
    const int b = x->of.batch, h = x->of.head, i = x->i;
    stats += tensor_begin(row, base, CLATTN_T_STATS, b, h) + (long)i * 2;
    if (row->flags & CLATTN_F_WEIGHTS)
        write_weights(x, stats,
                      weights + tensor_begin(row, base, CLATTN_T_WEIGHTS, b, h) +
                          i * t[CLATTN_T_WEIGHTS].stride[2],
                      t[CLATTN_T_WEIGHTS].stride[3], 0.0f);
    if (row->flags & CLATTN_F_SCORES) {
        __global float *to = scores + tensor_begin(row, base, CLATTN_T_SCORES, b, h) +
                             i * t[CLATTN_T_SCORES].stride[2];
        if (row->stage == CLATTN_STAGE_WEIGHTS)
            write_weights(x, stats, to, t[CLATTN_T_SCORES].stride[3], 0.0f);
        else
            write_scores(x, to, t[CLATTN_T_SCORES].stride[3]);
    }
    if (row->flags & CLATTN_F_WEIGHTS_MEAN) {
        const long step = t[CLATTN_T_WEIGHTS_MEAN].stride[2];
        __global float *to = weights_mean + tensor_begin(row, base, CLATTN_T_WEIGHTS_MEAN, b, 0) +
                             i * t[CLATTN_T_WEIGHTS_MEAN].stride[1];
        for (int j = 0; h == 0 && j < row->n_kv; j++)
            to[j * step] = 0.0f;
        write_weights(x, stats, to, step, 1.0f / row->n_head);
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
weights_reference(__global const void *q, __global const void *k, __global const void *past_k,
                  __global const float *stats, __global float *weights,
                  __global float *weights_mean, __global float *scores, OPTION_PARAMETERS,
                  const clattn_base base, __global const clattn_problem_row *rows,
                  __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int last = item.head < 0 ? row->n_head - 1 : item.head;
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE)
        for (int h = max(item.head, 0); h <= last; h++) {
            const query x =
                query_init(row, &base, item.batch, h, i, q, k, past_k, OPTION_ARGUMENTS);
            write_query(&x, &base, stats, weights, weights_mean, scores);
        }
}
