/* Attention for devices whose work-item is a core with vectors: one work-item a group, blocks of
 * queries against blocks of keys, online softmax (Milakov and Gimelshein 2018; Dao et al. 2022).
 * Reads keys from the panels of pack_keys and values as rows of whole vectors. */
#include "common/value_tile.h"

/* What stands for the weight of an invisible pair in a careful pass. */
#define INVISIBLE (-1.0f)

#define LOG2_E 1.44269504f

/* The block, and its results on their way. Plain, scores are products that aren't scaled yet, which
 * saves a multiplication a pair; softmax multiplies them anyway. */
typedef struct attention {
    block b;
    __global const float *v_rows; /* of this head */
    long v_step;                  /* elements from value to value */
    int width;                    /* value_dim, rounded up to whole vectors */
    float unit;                   /* natural units of a unit of the scores */
    float rate;                   /* binary logarithms of a unit of the scores */
    float *o;                     /* (BLOCK_M, DIM_MAX) */
    float *m;                     /* (BLOCK_M) running maximum */
    vfloat *l;                    /* (BLOCK_M) running sum, by lane */
} attention;

/* Turns the scores of one row into weights relative to `shift`, in live panels; returns their
 * sum, by lane. With care, a constant, invisible pairs are marked. */
INLINE vfloat exponentiate(float *s, uint live, float shift, float rate, const int careful)
{
    vfloat sum = 0.0f;
    for (; live; s += PANEL, live >>= 1) {
        if (!(live & 1))
            continue;
#pragma unroll
        for (int c = 0; c < PANEL; c += VEC) {
            const vfloat x = load_vector(s + c);
            vfloat p = exp2_of_lanes((x - shift) * rate);
            sum += p;
            if (careful)
                p = x == (vfloat)(-INFINITY) ? (vfloat)INVISIBLE : p;
            store_vector(p, s + c);
        }
    }
    return sum;
}

INLINE void scale_row(float *o, int width, float factor)
{
    for (int d = 0; d < width; d += VEC)
        store_vector(load_vector(o + d) * factor, o + d);
}

/* One row against the values of a block, invisible pairs left out: 0 * NaN must not show. */
OUTLINE void value_row_carefully(const float *p, int keys, __global const float *v, long v_step,
                                 float *o, int width)
{
    for (int j = 0; j < keys; j++) {
        if (p[j] == INVISIBLE)
            continue;
        for (int d = 0; d < width; d += VEC)
            store_vector(fma((vfloat)p[j], load_vector(v + j * v_step + d), load_vector(o + d)),
                         o + d);
    }
}

INLINE void clear_results(const attention *a, int rows)
{
    for (int r = 0; r < max(rows, a->b.tiled_rows); r++) {
        a->m[r] = -INFINITY;
        a->l[r] = (vfloat)(0.0f);
        for (int d = 0; d < a->width; d += VEC)
            store_vector((vfloat)(0.0f), a->o + r * DIM_MAX + d);
    }
}

/* Moves a row to its new maximum. */
INLINE void move_row(const attention *a, int r)
{
    const float before = a->m[r];
    const float now = largest_lane(larger(a->b.most[r], (vfloat)(before)));
    if (!(now > before))
        return;
    a->m[r] = now;
    if (before == -INFINITY) /* nothing was visible */
        return;
    const float factor = exp2_nonpositive((before - now) * a->rate);
    a->l[r] *= factor;
    scale_row(a->o + r * DIM_MAX, a->width, factor);
}

/* Turns the scores of a row into weights relative to its maximum. */
INLINE void weigh(const attention *a, int r, int start, uint live, int careful)
{
    float *p = a->b.p + r * SCORE_STEP;
    const float shift = softmax_shift(a->m[r]);
    if (careful)
        a->l[r] += exponentiate(p, live, shift, a->rate, 1);
    else
        a->l[r] += exponentiate(p, live, shift, a->rate, 0);
#if FULL
    if (a->b.of.flags & CLATTN_F_DROPOUT)
        drop_weights(&a->b.of, p, a->b.q_begin + r, start, BLOCK_N);
#else
    (void)start;
#endif
}

/* Row by row in either loop, so that what a row waits for is another row's work. */
INLINE void softmax_block(const attention *a, int start, int careful)
{
    for (int r = 0; r < a->b.rows; r++)
        if (a->b.live[r / ROWS])
            move_row(a, r);
    for (int r = 0; r < a->b.rows; r++)
        if (a->b.live[r / ROWS])
            weigh(a, r, start, a->b.live[r / ROWS], careful);
}

/* Panels from `begin` on that are live, side by side: where they end; `begin` moves to their
 * first. */
INLINE int live_span(uint live, int *begin)
{
    while (!(live >> *begin & 1))
        ++*begin;
    int end = *begin + 1;
    while (end < 32 && live >> end & 1)
        end++;
    return end;
}

/* Values of keys start + [c, end) into the results of a row tile. */
INLINE void value_span(const attention *a, int tile, int start, int c, int end)
{
    const float *p = a->b.p + tile * SCORE_STEP + c;
    __global const float *v = a->v_rows + (start + c) * a->v_step;
    float *o = a->o + tile * DIM_MAX;
    int d = 0;
    for (; d + VALUE_COLS * VEC <= a->width; d += VALUE_COLS * VEC)
        value_tile(p, end - c, v + d, a->v_step, o + d, VALUE_COLS);
    for (; d < a->width; d += VEC)
        value_tile(p, end - c, v + d, a->v_step, o + d, 1);
}

INLINE void value_span_carefully(const attention *a, int tile, int start, int c, int end)
{
    for (int r = tile; r < min(tile + ROWS, a->b.rows); r++)
        value_row_carefully(a->b.p + r * SCORE_STEP + c, end - c,
                            a->v_rows + (start + c) * a->v_step, a->v_step, a->o + r * DIM_MAX,
                            a->width);
}

INLINE void value_block(const attention *a, const run *r, int start, int careful)
{
    for (int tile = 0; tile < a->b.tiled_rows; tile += ROWS) {
        const uint live = a->b.live[tile / ROWS];
        const int seen = keys_of_tile(&a->b, tile, r).to - start;
        int begin = 0, end;
        for (; begin < 32 && live >> begin; begin = end) {
            end = live_span(live, &begin);
            if (careful)
                value_span_carefully(a, tile, start, begin * PANEL, min(end * PANEL, seen));
            else
                value_span(a, tile, start, begin * PANEL, min(end * PANEL, seen));
        }
    }
}

INLINE void attend_run(const attention *a, const run *r, int careful)
{
    for (int start = r->begin / BLOCK_N * BLOCK_N; start < r->end; start += BLOCK_N) {
        const int key = max(start, r->begin / PANEL * PANEL);
        score_block(&a->b, r, start, key, min(start + BLOCK_N, r->end));
        softmax_block(a, start, careful);
        value_block(a, r, start, careful);
    }
}

/* Results are clear at first. One that isn't finite may come from 0 * NaN or 0 * infinity behind a
 * mask: then all is done once more, with care. */
OUTLINE void attend(const attention *a)
{
    const pairs *of = &a->b.of;
    const int from = keys_from(of, a->b.q_begin);
    const int to = keys_to(of, a->b.q_begin + a->b.rows - 1);
    for (int careful = 0; careful < 2; careful++) {
        run r = run_init();
        if (careful)
            clear_results(a, 0);
        while (next_run(of, &r, a->b.q_begin, from, to))
            attend_run(a, &r, careful);
        if (rows_are_finite(a->o, a->b.rows, a->width))
            break;
    }
}

/* Maximum and sum of a row, in natural units, with the sink, and the factor that makes its results
 * final. */
INLINE softmax_end finish_row(const attention *a, int r, float sink)
{
    return softmax_finish(a->m[r] * a->unit, sum_of_lanes(a->l[r]), sink);
}

/* Rows beyond the batch entry's queries have no sink: 0 and -infinity. */
OUTLINE void write_results(const attention *a, int written, float sink, __global void *out,
                           long out_begin, __global float *lse, __global float *stats)
{
    __global const clattn_problem_row *row = a->b.of.row;
    const clattn_tensor_row t = row->tensor[CLATTN_T_OUT];
    const long lse_step = row->tensor[CLATTN_T_LSE].stride[2];
    const uint flags = a->b.of.flags, dtype = row->dtype[CLATTN_T_OUT];
    const int dim = row->value_dim;
    for (int r = 0; r < written; r++) {
        for (int d = 0; r >= a->b.rows && d < a->width; d += VEC)
            store_vector((vfloat)(0.0f), a->o + r * DIM_MAX + d); /* padding of a tile had it */
        const softmax_end of = finish_row(a, r, r < a->b.rows ? sink : -INFINITY);
        const long i = a->b.q_begin + r, token = a->b.of.queries.first + i;
        write_row(a->o + r * DIM_MAX, dim, of.factor, out, out_begin + token * t.stride[2],
                  t.stride[3], dtype);
        if (flags & CLATTN_F_LSE)
            lse[token * lse_step] = softmax_lse(of.m, of.l);
        if (flags & CLATTN_F_STATS) {
            stats[i * 2] = of.m;
            stats[i * 2 + 1] = of.l;
        }
    }
}

/* What the item's queries, from `first` to `last`, see of its head's keys and values into the
 * item's own part of the workspace. */
OUTLINE void pack_own(attention *a, int first, int last, const rows_of *keys, const rows_of *values,
                      __global float *panels, __global float *v_rows)
{
    __global const clattn_problem_row *row = a->b.of.row;
    const int begin = keys_from(&a->b.of, first) / PANEL * PANEL, end = keys_to(&a->b.of, last);
    pack_panels(keys, begin, end, row->head_dim, panels, a->b.panel_step);
    a->b.k_panels = panels;
    if (row->flags & CLATTN_F_FUSED_VALUES) {
        pack_rows(values, begin, end, row->value_dim, v_rows, a->v_step);
        a->v_rows = v_rows;
    }
}

/* Plain, what is left of the scale for the softmax: its size. A sign stays with the products, and
 * so does a scale whose size, in binary logarithms, float hasn't got. */
INLINE void set_units(attention *a)
{
    a->unit = 1.0f;
#if !FULL
    const float size = fabs(a->b.of.row->scale);
    if (size > 0x1p-100f && size < 0x1p100f) {
        a->unit = size;
        a->b.scale = a->b.of.row->scale < 0.0f ? -1.0f : 1.0f;
    }
#endif
    a->rate = a->unit * LOG2_E;
}

/* Dropout looks at dead panels too. */
INLINE void clear_weights(const attention *a)
{
#if FULL
    for (int j = 0; a->b.of.row->flags & CLATTN_F_DROPOUT && j < BLOCK_M * SCORE_STEP; j += VEC)
        store_vector((vfloat)(0.0f), a->b.p + j);
#endif
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_simd(__global const void *q, __global const void *k, __global const void *past_k,
               __global const void *v, __global const void *past_v, __global float *k_panels,
               __global float *v_rows, __global void *out, __global float *lse,
               __global float *stats, __global const float *sink, OPTION_PARAMETERS,
               const clattn_base base, __global const clattn_problem_row *rows,
               __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, h = item.head, g = item.head / row->group;
    BLOCK_ARRAYS;
    float block_o[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float m[BLOCK_M];
    vfloat l[BLOCK_M];
    attention a;
    a.b.of = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
    a.b.q = block_q;
    a.b.p = block_p;
    a.b.most = block_most;
    a.b.live = block_live;
    set_keys(&a.b, k_panels, &base);
    a.v_step = row->tensor[CLATTN_T_V_ROWS].stride[2];
    a.v_rows = v_rows + tensor_begin(row, &base, CLATTN_T_V_ROWS, b, g) +
               packed_begin(row, a.b.of.keys, b) * a.v_step;
    a.width = (row->value_dim + VEC - 1) / VEC * VEC;
    a.o = block_o;
    a.m = m;
    a.l = l;
    clear_weights(&a);
    const int last = min(item.q_end, a.b.of.queries.count) - 1;
    if (row->flags & CLATTN_F_FUSED && item.q_begin <= last) {
        const int token = a.b.of.keys.first;
        rows_of keys =
            rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, b, g, token, pages);
        rows_of values =
            rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b, g, token, pages);
        rows_scale(&keys, row, &base, k_scales, CLATTN_T_K_SCALES, b, g, token);
        rows_scale(&values, row, &base, v_scales, CLATTN_T_V_SCALES, b, g, token);
        pack_own(&a, item.q_begin, last, &keys, &values,
                 k_panels + own_begin(row, &base, CLATTN_T_K_PANELS, item.number),
                 v_rows + own_begin(row, &base, CLATTN_T_V_ROWS, item.number));
    }
    const float logit = sink_of(&a.b.of, &base, sink, item.q_begin);
    for (int i = item.q_begin; i < item.q_end; i += row->block_rows) {
        const int queries = min(row->block_rows, item.q_end - i);
        set_rows(&a.b, i, queries);
        set_units(&a);
        const int written = row->flags & CLATTN_F_RAGGED ? a.b.rows : queries;
        clear_results(&a, written);
        load_queries(&a.b, q, tensor_begin(row, &base, CLATTN_T_Q, b, h));
        attend(&a);
        write_results(&a, written, logit, out, tensor_begin(row, &base, CLATTN_T_OUT, b, h),
                      lse + tensor_begin(row, &base, CLATTN_T_LSE, b, h),
                      stats + tensor_begin(row, &base, CLATTN_T_STATS, b, h));
    }
}
