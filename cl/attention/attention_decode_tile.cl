/* Attention of few queries to many keys, as in decoding, for devices whose work-items are lanes: a
 * group does one split of the keys (CLATTN_SPLIT of them) of one key/value head, for the queries of
 * all heads that share it, at most BLOCK_M of them, as rows of one tile; how, is in tile.h.
 * merge_splits makes the splits one. */
#include "common/partial.h"
#include "common/tile_attention.h"

/* Maximum and sum of row `own` of a split. */
INLINE void write_part_sums(const tile *x, float m, float l, int part, __global float *parts)
{
    __global float *to = partial_row(parts, x->row, x->base, x->batch, head_of_row(x, x->own),
                                     query_of_row(x, x->own), part);
    const int width = partial_width(x->row->value_dim);
    to[width] = m;
    to[width + 1] = l;
}

/* Vector d / VEC of a row of partial results: its last one reaches back, so that it is whole, and
 * has elements again that the one before has, perhaps another work-item's. */
INLINE void write_part_vector(float4 o, int d, int dim, __global float *to)
{
    const int last = dim / VEC * VEC;
    if (d + VEC <= dim)
        store_vector(o, to + d);
#pragma unroll 1
    for (int c = 0; last < dim && c < VEC; c++)
        if (d + c < dim && d + c >= dim - VEC)
            to[last + d + c - (dim - VEC)] =
                c < 2 ? (c == 0 ? o.s0 : o.s1) : (c == 2 ? o.s2 : o.s3);
}

/* The work-item's rows to partial results, if they are there. */
INLINE void write_parts(const tile *x, const sums *of, int part, __global float *parts)
{
#pragma unroll 1
    for (int n = 0; n < ROWS; n++) {
        const int r = x->y * ROWS + n;
        if (r >= x->rows)
            continue;
        __global float *to = partial_row(parts, x->row, x->base, x->batch, head_of_row(x, r),
                                         query_of_row(x, r), part);
#pragma unroll 1
        for (int c = 0; c < VALUE_COLS; c++)
            write_part_vector(sum_at(of, n, c), (c * GRID_X + x->x) * VEC, x->row->value_dim, to);
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
attention_decode_tile(__global const void *q, __global const void *k, __global const void *past_k,
                      __global const void *v, __global const void *past_v, __global float *parts,
                      __global void *out, __global float *lse, __global const float *sink,
                      OPTION_PARAMETERS, const clattn_base base,
                      __global const clattn_problem_row *rows,
                      __global const clattn_work_item *items, uint first, uint count)
{
    TILE_ARRAYS(STAGE, G_LINES);
    SOFTMAX_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const int merged = row->n_kv > CLATTN_SPLIT;
        const int split = item.k_begin / CLATTN_SPLIT;
        /* else merge_splits has no such part */
        const int there = item.k_begin < keys_of(row, &base, kv_lengths, item.batch).count;
        results of;
        tile x = TILE_OF(item.batch, item.head, item.head * row->group, 0);
        x.parts = tile_parts;
        x.factors = tile_factors;
        x.packed = 1;
        x.rows = row->group * row->n_q;
        begin_tile(&x, &of);
        const pairs all = pairs_of_row(&x, 0);
        const int last = min(row->n_q, x.queries.count) - 1;
        const int from = max(keys_from(&all, 0), item.k_begin);
        const int to = last < 0 ? from : min(keys_to(&all, last), item.k_end);
        attend_keys(&x, &all, from, to, &of);
        const pairs own = pairs_of_row(&x, x.own);
        const float l = sum_of_parts(&x, of.l);
        const float logit =
            merged ? -INFINITY : sink_of(&own, &base, sink, query_of_row(&x, x.own));
        const softmax_end end = softmax_finish(of.m, l, logit);
        if (x.part == 0) {
            x.factors[x.own] = end.factor;
            if (merged && there && x.own < x.rows)
                write_part_sums(&x, of.m, l, split, parts);
            if (!merged && is_written(&x, x.own))
                write_sums(&x, end, lse, 0);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (!merged)
            write_queries(&x, &of.of, x.factors, CLATTN_T_OUT, row->value_dim, out);
        else if (there)
            write_parts(&x, &of.of, split, parts);
    }
}
