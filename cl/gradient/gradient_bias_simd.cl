/* GRAD_BIAS: gradients of scores, computed once more, and summed over the dimensions that the bias
 * is shared over, batch entries before heads, each in ascending order. An item is a block of
 * queries, or where these are summed over, of keys, or all; batch or head -1 stands for all. */
#include "common/simd_gradient.h"

/* What an item is about, and its sums. */
typedef struct bias_sums {
    __global const void *q, *k, *past_k, *v, *past_v, *grad_out; /* memory objects */
    __global const float *gradient_rows;
    __global float *panels; /* of keys, then of values, BLOCK_N of each */
    float *sum;             /* (BLOCK_M, SCORE_STEP) of a block of queries with a block of keys */
    float *of_query;        /* (BLOCK_M) summed over keys */
    float *of_key;          /* (BLOCK_N) summed over queries */
    float all;              /* over both */
    int batch, kv;          /* whose panels are there; -1: nobody's */
} bias_sums;

INLINE void clear(float *x, int count)
{
    for (int n = 0; n < count; n++)
        x[n] = 0.0f;
}

/* Panels of keys and values from x->start on. */
OUTLINE void take_panels(gradient *x, bias_sums *s, const clattn_base *base)
{
    __global const clattn_problem_row *row = x->b.of.row;
    const int b = x->b.of.batch, kv = x->b.of.head / row->group, start = x->start;
    const int end = min(start + BLOCK_N, x->b.of.keys.count), first = x->b.of.keys.first;
    const long k_step = (long)row->head_dim * PANEL, v_step = (long)row->value_dim * PANEL;
    __global float *v_panels = s->panels + BLOCK_N * (long)row->head_dim;
    if (s->batch == b && s->kv == kv)
        return;
    const rows_of keys =
        rows_init(row, base, s->past_k, CLATTN_T_PAST_K, s->k, CLATTN_T_K, b, kv, first, 0);
    const rows_of values =
        rows_init(row, base, s->past_v, CLATTN_T_PAST_V, s->v, CLATTN_T_V, b, kv, first, 0);
    pack_panels(&keys, start, end, row->head_dim, s->panels - start / PANEL * k_step, k_step);
    pack_panels(&values, start, end, row->value_dim, v_panels - start / PANEL * v_step, v_step);
    x->b.k_panels = s->panels - start / PANEL * k_step;
    x->b.panel_step = k_step;
    x->v_panels = v_panels - start / PANEL * v_step;
    s->batch = b;
    s->kv = kv;
}

/* Adds the gradients of the block's scores to the sums, whose first row is that of query `first`.
 */
INLINE void add_scores(const gradient *x, const bias_sums *s, int first, int from, int to)
{
    run r = run_init();
    take_factors(x, x->start);
    while (next_run(&x->b.of, &r, x->b.q_begin, from, to)) {
        const int c = r.begin / PANEL * PANEL - x->start;
        const int end = (r.end - x->start + PANEL - 1) / PANEL * PANEL;
        if (!pair_block(x, &r, x->start, x->start + c, r.end, 1))
            continue;
        for (int n = 0; n < x->b.rows; n++) {
            float *sum = s->sum + (x->b.q_begin - first + n) * SCORE_STEP;
            for (int j = c; j < end; j += VEC)
                store_vector(load_vector(sum + j) + load_vector(x->ds + n * SCORE_STEP + j),
                             sum + j);
        }
    }
}

/* Queries `first` to `last` - 1 of one head with the keys from x->start on. */
OUTLINE void add_head(gradient *x, bias_sums *s, const clattn_base *base, int first, int last)
{
    __global const clattn_problem_row *row = x->b.of.row;
    const int b = x->b.of.batch, h = x->b.of.head;
    const int key_end = min(x->start + BLOCK_N, x->b.of.keys.count);
    last = min(last, x->b.of.queries.count);
    for (int i = first, next; i < last; i = next) {
        next = last;
        if (row->flags & CLATTN_F_BLOCKS) /* one list for all queries of a block */
            next = (int)min((long)next, ((long)i / row->block_q + 1) * row->block_q);
        const int from = max(keys_from(&x->b.of, i), x->start);
        const int to = min(keys_to(&x->b.of, next - 1), key_end);
        if (from >= to)
            continue;
        take_panels(x, s, base);
        set_rows(&x->b, i, next - i);
        load_queries(&x->b, s->q, tensor_begin(row, base, CLATTN_T_Q, b, h));
        load_rows(&x->b, s->grad_out, tensor_begin(row, base, CLATTN_T_GRAD_OUT, b, h),
                  CLATTN_T_GRAD_OUT, row->value_dim, x->g);
        load_row_values(x,
                        s->gradient_rows + tensor_begin(row, base, CLATTN_T_GRADIENT_ROWS, b, h));
        add_scores(x, s, first, from, to);
    }
}

/* The sums of a block into those of queries, keys or all. */
OUTLINE void fold(bias_sums *s, int queries, int keys, int all_q, int all_k)
{
    for (int n = 0; n < queries; n++)
        for (int j = 0; j < keys; j++) {
            const float x = s->sum[n * SCORE_STEP + j];
            if (all_q && all_k)
                s->all += x;
            else if (all_q)
                s->of_key[j] += x;
            else
                s->of_query[n] += x;
        }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gradient_bias_simd(__global const void *q, __global const void *k, __global const void *past_k,
                   __global const void *v, __global const void *past_v,
                   __global const void *grad_out, __global const float *gradient_rows,
                   __global float *panels, __global void *grad_bias, OPTION_PARAMETERS,
                   const clattn_base base, __global const clattn_problem_row *rows,
                   __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_GRAD_BIAS];
    const uint dtype = row->dtype[CLATTN_T_GRAD_BIAS];
    const int all_q = row->gradients >> (CLATTN_G_BIAS_SUM + 2) & 1;
    const int all_k = row->gradients >> (CLATTN_G_BIAS_SUM + 3) & 1;
    const int q_begin = all_q ? 0 : item.q_begin, q_end = all_q ? row->n_q : item.q_end;
    const int k_begin = all_q && !all_k ? item.k_begin : 0;
    const int k_end = all_q && !all_k ? item.k_end : row->n_kv;
    const int b_end = item.batch < 0 ? row->batch : item.batch + 1;
    const int h_end = item.head < 0 ? row->n_head : item.head + 1;
    const long to =
        tensor_begin(row, &base, CLATTN_T_GRAD_BIAS, max(item.batch, 0), max(item.head, 0));
    BLOCK_ARRAYS;
    GRADIENT_ARRAYS;
    float of_query[BLOCK_M], of_key[BLOCK_N],
        sum[BLOCK_M * SCORE_STEP] __attribute__((aligned(64)));
    gradient x = GRADIENT_OF_ARRAYS;
    const long own = own_begin(row, &base, CLATTN_T_GRADIENT_PANELS, item.number);
    bias_sums s = {q,   k,        past_k, v,    past_v, grad_out, gradient_rows, panels + own,
                   sum, of_query, of_key, 0.0f, -1,     -1};
    clear(of_query, BLOCK_M);
    clear(of_key, BLOCK_N);
    for (int i = q_begin; i < q_end; i += BLOCK_M)
        for (x.start = k_begin; x.start < k_end; x.start += BLOCK_N) {
            const int last = min(i + BLOCK_M, q_end), keys = min(BLOCK_N, k_end - x.start);
            s.batch = -1;
            clear(s.sum, BLOCK_M * SCORE_STEP);
            for (int b = max(item.batch, 0); b < b_end; b++)
                for (int h = max(item.head, 0); h < h_end; h++) {
                    x.b.of = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
                    add_head(&x, &s, &base, i, last);
                }
            if (all_q || all_k)
                fold(&s, last - i, keys, all_q, all_k);
            for (int n = i; !all_q && !all_k && n < last; n++)
                write_row(s.sum + (n - i) * SCORE_STEP, keys, 1.0f, grad_bias,
                          to + n * t->stride[2] + x.start * t->stride[3], t->stride[3], dtype);
        }
    if (all_q && all_k)
        store_element(s.all, grad_bias, to, dtype);
    else if (all_q)
        write_row(of_key, k_end - k_begin, 1.0f, grad_bias, to + k_begin * t->stride[3],
                  t->stride[3], dtype);
    else if (all_k)
        write_row(of_query, q_end - q_begin, 1.0f, grad_bias, to + q_begin * t->stride[2],
                  t->stride[2], dtype);
}
