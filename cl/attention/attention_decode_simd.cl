/* Attention of few queries to many keys, as in decoding: bound by reading keys and values, so each
 * is read once for all queries, all heads and, with cascade, all batch entries that share it, from
 * where the caller has it. A group does one split of the keys (CLATTN_SPLIT of them) of one
 * key/value head: all scores, then their softmax, then the values. merge_splits makes the splits
 * one. */
#include "common/decode_split.h"

/* ---- a block of rows ------------------------------------------------------------------------- */

INLINE int all_finite(const decode *x)
{
    vint most = 0;
    for (int r = 0; r < x->rows; r++)
        for (int d = 0; d < WHOLE_PIECES(x->row->value_dim); d += VEC)
            most = larger_magnitude(load_vector(x->o + r * DIM_MAX + d), most);
    return is_finite_magnitude(most);
}

INLINE void clear_results(const decode *x)
{
    const int tiled = (x->rows + ROWS - 1) / ROWS * ROWS;
    for (int r = 0; r < x->rows; r++) {
        x->m[r] = -INFINITY;
        x->l[r] = 0.0f;
    }
    for (int r = 0; r < tiled; r++)
        for (int d = 0; d < WHOLE_PIECES(x->row->value_dim); d += VEC)
            store_vector((vfloat)(0.0f), x->o + r * DIM_MAX + d);
}

/* A result that isn't finite may come from 0 * NaN behind a mask: then all is done once more, with
 * care. */
INLINE void attend(const decode *x)
{
    for (int careful = 0; careful < 2; careful++) {
        clear_results(x);
        score_split(x);
        for (int r = 0; r < x->rows; r++)
            softmax_row(x, r, careful);
        value_split(x, careful);
        if (all_finite(x))
            break;
    }
}

/* A query into private memory; of its last piece what another one has too is 0. */
INLINE void load_query(const decode *x, int r, const clattn_base *base, __global const void *q)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_Q];
    const int dim = x->row->head_dim;
    const int there = x->i[r] < x->of[r].queries.count; /* else 0, and nothing is read */
    const long begin = tensor_begin(x->row, base, CLATTN_T_Q, x->of[r].batch, x->of[r].head) +
                       (x->of[r].queries.first + x->i[r]) * t->stride[2];
    for (int d = 0; d < dim; d += STEP) {
        const int at = piece_begin(d, dim);
        vfloat own[PIECES];
        for (int n = 0; n < PIECES; n++) {
            const int from = at + n * VEC;
            const vfloat all = gather_elements(q, begin + from * t->stride[3], t->stride[3],
                                               there ? VEC : 0, x->row->dtype[CLATTN_T_Q]);
            own[n] = LANES < (vint)(d - from) ? (vfloat)(0.0f) : all;
        }
#if PIECES == 2
        const vfloat even = (vfloat)(own[0].even, own[1].even);
        own[1] = (vfloat)(own[0].odd, own[1].odd);
        own[0] = even;
#endif
        for (int n = 0; n < PIECES; n++)
            store_vector(own[n], x->q + r * DIM_MAX + d + n * VEC);
    }
}

#if PIECES == 2
/* Results from the order of pieces into that of vectors; `p` isn't needed any more. */
INLINE void order_results(const decode *x, int r)
{
    const int dim = x->row->value_dim;
    float *o = x->o + r * DIM_MAX, *line = x->p;
    for (int d = 0; d < dim; d += STEP) {
        const vfloat even = load_vector(o + d), odd = load_vector(o + d + VEC);
        store_vector(LOWER(even, odd), line + piece_begin(d, dim));
        store_vector(UPPER(even, odd), line + piece_begin(d, dim) + VEC);
    }
    for (int d = 0; d < dim; d += VEC)
        store_vector(load_vector(line + vector_begin(d, dim)), o + d);
}
#endif

/* Rows of padding have query 0 and see nothing. */
INLINE void clear_padding(const decode *x)
{
    for (int r = x->rows; r % ROWS != 0; r++) {
        for (int d = 0; d < WHOLE_PIECES(x->row->head_dim); d += VEC)
            store_vector((vfloat)(0.0f), x->q + r * DIM_MAX + d);
    }
}

/* The keys that some row sees, within the split. */
INLINE void bound_keys(decode *x)
{
    x->from = x->end;
    x->to = x->begin;
    for (int r = 0; r < x->rows; r++) {
        if (x->i[r] >= x->of[r].queries.count)
            continue;
        x->from = min(x->from, max(keys_from(&x->of[r], x->i[r]), x->begin));
        x->to = max(x->to, min(keys_to(&x->of[r], x->i[r]), x->end));
    }
}

/* A block of rows from queries to results, which are 0 where nothing is seen. */
OUTLINE void attend_rows(decode *x, const clattn_base *base, __global const void *q)
{
    bound_keys(x);
    clear_results(x);
    if (x->from >= x->to)
        return;
    for (int r = 0; r < x->rows; r++)
        load_query(x, r, base, q);
    clear_padding(x);
    attend(x);
#if PIECES == 2
    for (int r = 0; r < x->rows; r++)
        order_results(x, r);
#endif
}

INLINE void write_partial(const decode *x, int r, __global float *to)
{
    const int width = partial_width(x->row->value_dim);
    to[width] = x->m[r];
    to[width + 1] = x->l[r];
    for (int d = 0; x->l[r] != 0.0f && d < width; d += VEC)
        store_vector(load_vector(x->o + r * DIM_MAX + d), to + d);
}

/* ---- entries that share pages ---------------------------------------------------------------- */

/* What it takes to see whether batch entries have the same pages. */
typedef struct tables {
    __global const clattn_problem_row *row;
    const clattn_base *base;
    __global const int *pages, *kv_lengths;
    int begin, end; /* of the split */
} tables;

/* Whether two entries have all keys of a whole split from the same pages. */
INLINE int same_pages(const tables *x, int b, int c)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_PAGES];
    const int size = x->row->page_size;
    if (x->end - x->begin < CLATTN_SPLIT ||
        keys_of(x->row, x->base, x->kv_lengths, b).count < x->end ||
        keys_of(x->row, x->base, x->kv_lengths, c).count < x->end)
        return 0;
    __global const int *of_b = x->pages + tensor_begin(x->row, x->base, CLATTN_T_PAGES, b, 0);
    __global const int *of_c = x->pages + tensor_begin(x->row, x->base, CLATTN_T_PAGES, c, 0);
    for (int page = x->begin / size; page <= (x->end - 1) / size; page++)
        if (of_b[page * t->stride[1]] != of_c[page * t->stride[1]])
            return 0;
    return 1;
}

/* The entry before `c` that shares the split with b, -1: none. */
INLINE int next_entry(const tables *x, int b, int c)
{
    if (!x->row->cascade)
        return -1;
    while (--c >= 0)
        if (same_pages(x, b, c))
            break;
    return c;
}

/* Whether an entry behind b shares the split, and so does it for b: the last one does, because
 * runtimes hand out work in shrinking portions, and what is for many belongs to the end. */
INLINE int is_done_by_another(const tables *x, int b)
{
    for (int c = x->row->cascade ? x->row->batch : 0; --c > b;)
        if (same_pages(x, b, c))
            return 1;
    return 0;
}

/* The next block of rows, of key/value head g: from `entry` and its row *begin on, then from
 * entries that share the split with b. Returns the entry of the next block's first row, -1: there
 * is none. */
INLINE int take_rows(decode *x, const tables *shared, int b, int g, int entry, int *begin,
                     pairs *of, int *query, OPTION_PARAMETERS)
{
    __global const clattn_problem_row *row = x->row;
    for (x->rows = 0; x->rows < BLOCK_M && entry >= 0; x->rows++) {
        query[x->rows] = *begin % row->n_q;
        of[x->rows] = pairs_init(row, shared->base, entry, g * row->group + *begin / row->n_q,
                                 OPTION_ARGUMENTS);
        if (++*begin == row->group * row->n_q) {
            entry = next_entry(shared, b, entry);
            *begin = 0;
        }
    }
    return entry;
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_decode_simd(__global const void *q, __global const void *k, __global const void *past_k,
                      __global const void *v, __global const void *past_v, __global float *parts,
                      __global void *out, __global float *lse, __global const float *sink,
                      OPTION_PARAMETERS, const clattn_base base,
                      __global const clattn_problem_row *rows,
                      __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, g = item.head;
    const tokens own = keys_of(row, &base, kv_lengths, b);
    if (item.k_begin >= own.count && row->n_kv > CLATTN_SPLIT)
        return; /* merge_splits has no such part */
    float block_q[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float block_p[BLOCK_M * CLATTN_SPLIT] __attribute__((aligned(64)));
    float block_o[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float m[BLOCK_M], l[BLOCK_M];
    float k_scale[CLATTN_SPLIT] __attribute__((aligned(64)));
    float v_scale[CLATTN_SPLIT] __attribute__((aligned(64)));
    pairs of[BLOCK_M];
    int query[BLOCK_M];
    decode x = {row,
                of,
                query,
                .begin = item.k_begin,
                .end = item.k_end,
                .q = block_q,
                .p = block_p,
                .o = block_o,
                .m = m,
                .l = l};
    x.k_scale = k_scale;
    x.v_scale = v_scale;
    const tables shared = {row, &base, pages, kv_lengths, item.k_begin, item.k_end};
    if (is_done_by_another(&shared, b))
        return;
    const int token = own.first;
    x.keys = rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, b, g, token, pages);
    x.values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b, g, token, pages);
    rows_scale(&x.keys, row, &base, k_scales, CLATTN_T_K_SCALES, b, g, token);
    rows_scale(&x.values, row, &base, v_scales, CLATTN_T_V_SCALES, b, g, token);
    int entry = row->n_q > 0 ? b : -1, begin = 0; /* where the next row is from */
    while (entry >= 0) {
        entry = take_rows(&x, &shared, b, g, entry, &begin, of, query, OPTION_ARGUMENTS);
        attend_rows(&x, &base, q);
        for (int r = 0; r < x.rows; r++) {
            if (row->n_kv > CLATTN_SPLIT)
                write_partial(&x, r,
                              partial_row(parts, row, &base, of[r].batch, of[r].head, query[r],
                                          item.k_begin / CLATTN_SPLIT));
            else
                write_final(&of[r], &base, query[r], block_o + r * DIM_MAX, m[r], l[r],
                            sink_of(&of[r], &base, sink, query[r]), out, lse);
        }
    }
}
