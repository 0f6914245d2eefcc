/* GRAD_BIAS for devices whose work-items are lanes: gradients of scores, computed once more, block
 * by block as tile_gradient.h says. A work-item keeps those that it has the products of in
 * registers, and adds up what comes after. What an item is depends on the bias:
 *
 *   queries and keys      BLOCK_M queries. Of each block of keys batch entries and heads that the
 *                         bias is shared over are summed, one after the other, and written.
 *   shared over keys      BLOCK_M queries of one head, whose sums over keys are written to
 *                         bias_parts; gradient_bias_sums does the rest.
 *   shared over queries   BLOCK_N keys of one head, whose sums over queries are, in the same way.
 */
#define OF_BIAS 1
#include "common/tile_gradient.h"

/* Where a group is: blocks of queries; in each, blocks of keys; of each, batch entries, heads, and
 * runs of keys that they see. In local memory, for the reason that gradient_keys_tile.cl has. */
typedef struct pair_walk {
    int batch, batch_begin, batch_end;
    int head, head_begin, head_end;
    int first, rows, q_end;    /* of the block of queries; where the last one ends */
    int start, k_begin, k_end; /* of the block of keys; those that any query may see */
    run r;
    int found; /* 0: that was the last */
} pair_walk;

INLINE void place_tile(tile *x, const pair_walk *w)
{
    x->batch = w->batch;
    x->head = w->head;
    x->group = w->head / x->row->group;
    x->first = w->first;
    x->rows = w->rows;
    x->queries = queries_of(x->row, x->base, x->q_lengths, w->batch);
    x->token = keys_of(x->row, x->base, x->kv_lengths, w->batch).first;
}

/* To the next head, batch entry, block of keys or of queries. */
INLINE void next_place(const tile *x, pair_walk *w)
{
    w->r = run_init();
    w->head++;
    if (w->head < w->head_end)
        return;
    w->head = w->head_begin;
    w->batch++;
    if (w->batch < w->batch_end)
        return;
    w->batch = w->batch_begin;
    if (w->k_end - w->start > BLOCK_N) {
        w->start += BLOCK_N;
        return;
    }
    w->start = w->k_begin;
    w->first += w->rows;
    w->rows = queries_of_list(x->row, w->first, w->q_end, BLOCK_M);
}

/* To the next run of a block of keys. */
INLINE void next_pairs(tile *x, __local pair_walk *kept)
{
    pair_walk w = *kept;
    w.found = 0;
    while (!w.found && w.first < w.q_end) {
        place_tile(x, &w);
        const pairs of = pairs_of_row(x, 0);
        const int last = min(w.first + w.rows, of.queries.count) - 1;
        const int end = w.start + min(BLOCK_N, w.k_end - w.start);
        if (w.first <= last)
            w.found = next_run(&of, &w.r, w.first, max(keys_from(&of, w.first), w.start),
                               min(keys_to(&of, last), end));
        if (!w.found)
            next_place(x, &w);
    }
    *kept = w;
}

/* Which keys queries of any batch entry may see, in whole blocks from key 0 on. */
INLINE void bound_keys(tile *x, pair_walk *w)
{
    w->k_begin = x->row->n_kv;
    w->k_end = 0;
    for (w->batch = w->batch_begin; w->batch < w->batch_end; w->batch++) {
        place_tile(x, w);
        const pairs of = pairs_of_row(x, 0);
        const int last = min(w->first + w->rows, of.queries.count) - 1;
        if (w->first > last)
            continue;
        w->k_begin = min(w->k_begin, keys_from(&of, w->first));
        w->k_end = max(w->k_end, keys_to(&of, last));
    }
    w->k_begin = w->k_begin / BLOCK_N * BLOCK_N;
}

/* Which queries of one head may see the item's keys. */
INLINE void bound_queries(tile *x, pair_walk *w, int begin, int end)
{
    place_tile(x, w);
    const pairs of = pairs_of_row(x, 0);
    const bounds see = queries_that_see(&of, begin, end);
    w->first = see.from;
    w->q_end = see.to;
    w->rows = queries_of_list(x->row, w->first, w->q_end, BLOCK_M);
    w->k_begin = begin;
    w->k_end = min(end, of.keys.count);
}

INLINE void begin_pairs(tile *x, const clattn_work_item *item, int over_keys,
                        __local pair_walk *kept)
{
    pair_walk w;
    w.batch_begin = max(item->batch, 0);
    w.batch_end = item->batch < 0 ? x->row->batch : item->batch + 1;
    w.head_begin = max(item->head, 0);
    w.head_end = item->head < 0 ? x->row->n_head : item->head + 1;
    w.batch = w.batch_begin;
    w.head = w.head_begin;
    w.first = item->q_begin;
    w.q_end = item->q_end;
    w.rows = item->q_end - item->q_begin;
    if (over_keys)
        bound_queries(x, &w, item->k_begin, item->k_end);
    else
        bound_keys(x, &w);
    if (w.k_begin >= w.k_end)
        w.q_end = w.first;
    w.batch = w.batch_begin;
    w.start = w.k_begin;
    w.r = run_init();
    w.found = 0;
    *kept = w;
    next_pairs(x, kept);
}

/* Adds gradients of the scores that the walk is at to the sums. */
INLINE void add_pairs(tile *x, __local const pair_walk *kept, __global const float *gradient_rows,
                      float4 sum[COLS * VEC][ROWS / 4])
{
    const pair_walk w = *kept;
    place_tile(x, &w);
    const pairs of = pairs_of_row(x, 0);
    find_gradient_queries(x, &of, gradient_rows);
    find_keys(x, w.start, w.r.end);
    barrier(CLK_LOCAL_MEM_FENCE);
    product_blocks(x, w.start, 2);
    barrier(CLK_LOCAL_MEM_FENCE);
    turn_block(x, &of, &w.r, w.start);
    barrier(CLK_LOCAL_MEM_FENCE);
    __local const float *own = x->p + x->x * COLS * VEC * P_STEP + x->y * ROWS;
#pragma unroll
    for (int c = 0; c < COLS * VEC; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            sum[c][r] += LOCAL_VECTOR(own + c * P_STEP + r * 4);
}

/* Sums of row n of the work-item with its vector c of keys, neither of them a constant. */
INLINE float4 scores_at(float4 sum[COLS * VEC][ROWS / 4], int n, int c)
{
    float4 o = 0.0f;
#pragma unroll
    for (int i = 0; i < COLS; i++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++) {
            const float4 a = sum[i * VEC][r], b = sum[i * VEC + 1][r];
            const float4 d = sum[i * VEC + 2][r], e = sum[i * VEC + 3][r];
            const int at = c == i ? n - r * 4 : -1;
            o = at == 0 ? (float4)(a.s0, b.s0, d.s0, e.s0) : o;
            o = at == 1 ? (float4)(a.s1, b.s1, d.s1, e.s1) : o;
            o = at == 2 ? (float4)(a.s2, b.s2, d.s2, e.s2) : o;
            o = at == 3 ? (float4)(a.s3, b.s3, d.s3, e.s3) : o;
        }
    return o;
}

/* Of the item's queries, the sums with the keys from `begin` on, and zeros from there to the block
 * that begins with `end`, or to the last key. */
INLINE void write_scores(const tile *x, const clattn_work_item *item,
                         float4 sum[COLS * VEC][ROWS / 4], int begin, int end,
                         __global void *grad_bias)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_GRAD_BIAS];
    const long to =
        tensor_begin(x->row, x->base, CLATTN_T_GRAD_BIAS, max(item->batch, 0), max(item->head, 0)) +
        item->q_begin * t->stride[2];
    const int rows = clamp(item->q_end - item->q_begin - x->y * ROWS, 0, ROWS);
#pragma unroll 1
    for (int start = begin; start < end; start += min(BLOCK_N, end - start)) {
#pragma unroll 1
        for (int n = 0; n < rows * COLS; n++) {
            const int r = n / COLS, c = n % COLS, j = (x->x * COLS + c) * VEC;
            write_vector(scores_at(sum, r, c), grad_bias,
                         to + (x->y * ROWS + r) * t->stride[2] + (start + (long)j) * t->stride[3],
                         t->stride[3], x->row->n_kv - start - j, x->row->dtype[CLATTN_T_GRAD_BIAS]);
        }
        clear_products(sum);
    }
}

/* Sums over the keys of each of `count` rows, or over the queries of as many columns. */
INLINE void fold_sums(const tile *x, int of_columns, int count, __global float *to)
{
    const int step = of_columns ? 1 : P_STEP, line_step = of_columns ? P_STEP : 1;
    const int terms = of_columns ? BLOCK_M : BLOCK_N;
#pragma unroll 1
    for (int i = x->me; i < count; i += WG_SIZE) {
        float sum = 0.0f;
#pragma unroll 1
        for (int n = 0; n < terms; n++)
            sum += x->p[i * line_step + n * step];
        to[i] = sum;
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
gradient_bias_tile(GRADIENT_PARAMETERS, __global float *bias_parts, __global void *grad_bias,
                   OPTION_PARAMETERS, const clattn_base base,
                   __global const clattn_problem_row *rows, __global const clattn_work_item *items,
                   uint first, uint count)
{
    GRADIENT_ARRAYS;
    __local pair_walk walk_of_item;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const int all_q = row->gradients >> (CLATTN_G_BIAS_SUM + 2) & 1;
        const int all_k = row->gradients >> (CLATTN_G_BIAS_SUM + 3) & 1;
        const int of_pairs = !all_q && !all_k, of_keys = all_q && !all_k;
        float4 sum[COLS * VEC][ROWS / 4];
        tile x = {TILE_ANYWHERE};
        GRADIENT_OF_ARRAYS(x);
        place_item(&x);
        clear_products(sum);
        if (x.me == 0)
            begin_pairs(&x, &item, of_keys, &walk_of_item);
        barrier(CLK_LOCAL_MEM_FENCE);
        int found = walk_of_item.found, start = 0;
        int next = found ? walk_of_item.start : row->n_kv;
        if (of_pairs)
            write_scores(&x, &item, sum, start, next, grad_bias);
        while (found) {
            start = next;
            add_pairs(&x, &walk_of_item, gradient_rows, sum);
            if (x.me == 0)
                next_pairs(&x, &walk_of_item);
            barrier(CLK_LOCAL_MEM_FENCE);
            found = walk_of_item.found;
            next = found ? walk_of_item.start : row->n_kv;
            if (of_pairs && next != start)
                write_scores(&x, &item, sum, start, next, grad_bias);
        }
        store_products(&x, sum, x.p);
        barrier(CLK_LOCAL_MEM_FENCE);
        const int part = of_keys ? item.k_begin : item.q_begin;
        const int parts = of_keys ? item.k_end - part : item.q_end - part;
        if (!of_pairs)
            fold_sums(&x, of_keys, parts,
                      bias_parts + part +
                          tensor_begin(row, &base, CLATTN_T_BIAS_PARTS, item.batch, item.head));
    }
}
