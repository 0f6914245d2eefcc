/* The keys of highest score, of a range of the keys: products by vectors of keys, and of each query
 * a list of candidates that a score must beat the least of to join. A full list is cut to the best.
 * A group does queries of one head, ROWS of them, or all queries of the heads that share keys.
 * top_k_values makes the ranges one. */
#include "common/chosen.h"
#include "common/panels.h"
#include "common/select.h"

/* ROWS: queries of a register tile. */
#ifndef ROWS
#define ROWS 4
#endif
/* DIM_MAX: bound of head_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
#if ROWS < 1 || ROWS % 4 != 0 || DIM_MAX % 16 != 0
#error "ROWS must be a positive multiple of 4, DIM_MAX of 16"
#endif

/* Queries and a range of the keys. Arrays are private memory. */
typedef struct block {
    __global const clattn_problem_row *row;
    const pairs *of; /* (ROWS) */
    const int *i;    /* (ROWS) query of each row, within its sequence */
    int rows;
    rows_of keys;
    int from, to;          /* keys that some row sees, within the range */
    const float *q;        /* (DIM_MAX, ROWS); 0 beyond head_dim and rows */
    int *first, *end;      /* (ROWS) keys that each row sees, within the range */
    __global ulong **list; /* (ROWS) their number, then the candidates */
    int *count;            /* (ROWS) */
    float *least;          /* (ROWS) score that a candidate must be above */
    int limit, capacity;   /* candidates that count, and that a list has room for */
} block;

/* ---- scores ---------------------------------------------------------------------------------- */

/* Where the rows of VEC keys are, if they can be read by vectors, and those of their scales. */
typedef struct places {
    __global const void *memory[VEC];
    long begin[VEC], scales[VEC];
    uint dtype;
    int plain;
} places;

/* The VEC keys from `key` on; in the place of those that nobody sees, the next one that is seen. */
INLINE void place_keys(const block *x, int key, places *to)
{
    const rows_of *keys = &x->keys;
    const int first = max(key, x->from), last = min(key + VEC, x->to) - 1;
    const int past = first < keys->n_past ? 0 : 1;
    const int together = past == (last < keys->n_past ? 0 : 1);
    to->plain = together && keys->inner[past] == 1;
    to->dtype = keys->dtype[past];
    if (!to->plain)
        return;
    const int in_step = keys->page_size == 0 || past == 0 || keys->page_size % VEC == 0;
    const long begin = row_begin(keys, first);
    for (int c = 0; c < VEC; c++) {
        const int j = clamp(key + c, first, last);
        to->begin[c] = in_step ? begin + (j - first) * keys->step[past] : row_begin(keys, j);
        to->memory[c] = keys->memory[past];
        if (keys->scales)
            to->scales[c] = scale_begin(keys, j);
    }
}

/* VEC dimensions, from `d` on, of VEC keys that are stored as integers. */
INLINE void load_integer_square(const rows_of *keys, const places *at, int d, vfloat *square)
{
    const int group = keys->scale_channels ? d / keys->scale_channels : 0;
    __global const float *scales = keys->scales + group * keys->scale_inner;
#pragma unroll
    for (int c = 0; c < VEC; c++)
        square[c] =
            load_integers(at->memory[c], at->begin[c] + d, at->dtype) * scales[at->scales[c]];
}

/* VEC dimensions, from `d` on, of the VEC keys, a key a row. */
INLINE void load_square(const block *x, const places *at, int key, int d, vfloat *square)
{
    const int dim = x->row->head_dim;
    if (at->plain && at->dtype >= CLATTN_D_I8 && d + VEC <= dim) {
        load_integer_square(&x->keys, at, d, square);
        return;
    }
    if (at->plain && d + VEC <= dim) {
#pragma unroll
        for (int c = 0; c < VEC; c++)
            square[c] = load_elements(at->memory[c], at->begin[c] + d, at->dtype);
        return;
    }
    for (int c = 0; c < VEC; c++)
        square[c] = key_elements(&x->keys, clamp(key + c, x->from, x->to - 1), x->to, d, dim);
}

/* Products of all rows with the VEC keys from `key` on. */
INLINE void products(const block *x, int key, vfloat sum[ROWS])
{
    places at;
    place_keys(x, key, &at);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        sum[r] = 0.0f;
    for (int d = 0; d < x->row->head_dim; d += VEC) {
        vfloat square[VEC];
        load_square(x, &at, key, d, square);
        transpose(square);
        const float *q = x->q + d * ROWS;
#pragma unroll
        for (int c = 0; c < VEC; c++)
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                sum[r] = fma((vfloat)(q[c * ROWS + r]), square[c], sum[r]);
    }
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* A list that is longer than it need be is cut to those that count. */
INLINE void cut_list(const block *x, int r)
{
    __global ulong *list = x->list[r] + 1;
    if (x->count[r] <= x->limit)
        return;
    select_largest(list, x->count[r], x->limit);
    x->count[r] = x->limit;
    x->least[r] = score_of(list[x->limit - 1]);
}

/* Keys come in ascending order, so that of equal scores the one that is there stays; NaN is above
 * all. */
INLINE vint joins(vfloat s, float least)
{
    const vfloat bound = least;
    return (s > bound) | ((s != s) & (bound == bound));
}

OUTLINE void add_candidates(const block *x, int r, int key, const float *s)
{
    __global ulong *list = x->list[r] + 1;
    int count = x->count[r];
    for (int c = 0; c < VEC; c++)
        if (s[c] > x->least[r] || (isnan(s[c]) && !isnan(x->least[r])))
            list[count++] = chosen_init(s[c], key + c);
    x->count[r] = count;
    if (count + VEC > x->capacity)
        cut_list(x, r);
}

INLINE void score_keys(const block *x, int key)
{
    vfloat sum[ROWS];
    products(x, key, sum);
    for (int r = 0; r < x->rows; r++) {
        const pairs *of = &x->of[r];
        const vfloat s = finish_scores(of, cap_scores(of, sum[r] * x->row->scale), x->i[r], key,
                                       x->first[r], x->end[r]);
        if (any(joins(s, x->least[r]))) {
            float lane[VEC];
            store_vector(s, lane);
            add_candidates(x, r, key, lane);
        }
    }
}

/* ---- a block of rows ------------------------------------------------------------------------- */

/* The keys that each row and that some row sees, within begin .. end - 1. */
INLINE void bound_keys(block *x, int begin, int end)
{
    x->from = end;
    x->to = begin;
    for (int r = 0; r < x->rows; r++) {
        const pairs *of = &x->of[r];
        const int sees = x->i[r] < of->queries.count;
        x->first[r] = max(keys_from(of, x->i[r]), begin);
        x->end[r] = sees ? min(keys_to(of, x->i[r]), end) : x->first[r];
        x->from = min(x->from, sees ? x->first[r] : end);
        x->to = max(x->to, x->end[r]);
    }
}

INLINE void load_queries(const block *x, const clattn_base *base, __global const void *q, float *to)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_Q];
    const int dim = x->row->head_dim;
    for (int d = 0; d < (dim + VEC - 1) / VEC * VEC * ROWS; d++)
        to[d] = 0.0f;
    for (int r = 0; r < x->rows; r++) {
        if (x->i[r] >= x->of[r].queries.count) /* behind the length: nothing is read */
            continue;
        const long begin = tensor_begin(x->row, base, CLATTN_T_Q, x->of[r].batch, x->of[r].head) +
                           (x->of[r].queries.first + x->i[r]) * t->stride[2];
        for (int d = 0; d < dim; d++)
            to[d * ROWS + r] = load_element(q, begin + d * t->stride[3], x->row->dtype[CLATTN_T_Q]);
    }
}

INLINE void search(const block *x)
{
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC)
        score_keys(x, key);
    for (int r = 0; r < x->rows; r++) {
        cut_list(x, r);
        x->list[r][0] = (ulong)x->count[r];
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
top_k_simd(__global const void *q, __global const void *k, __global const void *past_k,
           __global float *scratch, OPTION_PARAMETERS, const clattn_base base,
           __global const clattn_problem_row *rows, __global const clattn_work_item *items,
           uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_TOP];
    const int shared = item.q_begin == item.q_end; /* an item of keys, not of queries */
    const int b = item.batch, g = shared ? item.head : item.head / row->group;
    const int range = shared ? item.k_begin / row->range_keys : 0;
    float block_q[DIM_MAX * ROWS] __attribute__((aligned(64)));
    float least[ROWS];
    int query[ROWS], counts[ROWS], from[ROWS], end[ROWS];
    __global ulong *list[ROWS];
    pairs of[ROWS];
    block x;
    x.row = row;
    x.of = of;
    x.i = query;
    x.q = block_q;
    x.first = from;
    x.end = end;
    x.list = list;
    x.count = counts;
    x.least = least;
    x.limit = min(row->top_k, row->n_kv);
    x.capacity = (int)(t->stride[3] / 2) - 1;
    const int token = keys_of(row, &base, kv_lengths, b).first;
    x.keys = rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, b, g, token, pages);
    rows_scale(&x.keys, row, &base, k_scales, CLATTN_T_K_SCALES, b, g, token);
    const int all = shared ? row->group * row->n_q : item.q_end - item.q_begin;
    for (int begin = 0; begin < all; begin += ROWS) {
        x.rows = min(ROWS, all - begin);
        for (int r = 0; r < x.rows; r++) {
            const int h = shared ? g * row->group + (begin + r) / row->n_q : item.head;
            query[r] = shared ? (begin + r) % row->n_q : item.q_begin + begin + r;
            of[r] = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
            list[r] = (__global ulong *)(scratch + tensor_begin(row, &base, CLATTN_T_TOP, b, h) +
                                         query[r] * t->stride[2] + range * t->stride[3]);
            counts[r] = 0;
            least[r] = -INFINITY;
        }
        bound_keys(&x, shared ? item.k_begin : 0, shared ? item.k_end : row->n_kv);
        if (x.from < x.to)
            load_queries(&x, &base, q, block_q);
        search(&x);
    }
}
