/* Attention of few queries to many keys, as in decoding: bound by reading keys and values, so each
 * is read once for all queries, all heads and, with cascade, all batch entries that share it, from
 * where the caller has it. A group does one split of the keys (CLATTN_SPLIT of them) of one
 * key/value head: all scores, then their softmax, then the values. merge_splits makes the splits
 * one. */
#include "common/panels.h"
#include "common/partial.h"

/* STORAGE: type of keys and values, CLATTN_D_*. */
#ifndef STORAGE
#define STORAGE 0
#endif
/* ROWS: queries of a register tile. */
#ifndef ROWS
#define ROWS 1
#endif
/* BLOCK_M: most queries, of all heads together, that go through the split at once. */
#ifndef BLOCK_M
#define BLOCK_M 16
#endif
/* VALUE_COLS: vectors of value dimensions of a register tile. */
#ifndef VALUE_COLS
#define VALUE_COLS 2
#endif
/* DIM_MAX: bound of head_dim and value_dim; 64, 128, 256 or 576. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
#if STORAGE < 0 || STORAGE > 2 || ROWS < 1 || BLOCK_M < 1 || BLOCK_M % ROWS != 0 ||                \
    DIM_MAX % 16 != 0
#error "STORAGE must be 0 to 2, BLOCK_M a positive multiple of ROWS, DIM_MAX of 16"
#endif

/* Keys whose sums are in registers at the same time. */
#define KEYS (ROWS * 4 > VEC ? VEC / ROWS : 4)
/* Values of a block, which stay in the first cache while all columns and rows go through them. */
#define VALUES 32
/* Keys ahead that are prefetched while others are multiplied: 2 to 16 KiB, more than a core reads
 * in the time that memory takes to answer. */
#define AHEAD (STORAGE == 0 ? VEC : 2 * VEC)
/* What stands for the weight of an invisible pair in a careful pass. */
#define INVISIBLE (-1.0f)

/* Up to BLOCK_M queries and a split of the keys. Arrays are private memory. */
typedef struct decode {
    __global const clattn_problem_row *row;
    const pairs *of; /* (BLOCK_M) */
    const int *i;    /* (BLOCK_M) query of each row, within its sequence */
    int rows;
    rows_of keys, values;
    int begin, end; /* of the split */
    int from, to;   /* keys that some row sees */
    float *q;       /* (BLOCK_M, DIM_MAX), vectors as vector_begin says */
    float *p;       /* (BLOCK_M, CLATTN_SPLIT) scores, then weights relative to m */
    float *o;       /* (BLOCK_M, DIM_MAX) likewise */
    float *m, *l;   /* (BLOCK_M) */
} decode;

/* ---- scores ---------------------------------------------------------------------------------- */

/* Lane c of the result is the sum of the lanes of x[c]; x (VEC) is used up. */
INLINE vfloat sums_of_lanes(vfloat *x)
{
#pragma unroll
    for (int left = VEC / 2; left > 0; left /= 2)
#pragma unroll
        for (int c = 0; c < left; c++)
            x[c] = LOWER(x[c], x[c + left]) + UPPER(x[c], x[c + left]);
    return x[0];
}

/* The dimensions from `d` on of the last vector of a row; those of the vector before are 0. */
INLINE vfloat last_elements(__global const uchar *at, int d, int dim)
{
    const vfloat x = load_elements(at, dim - VEC, STORAGE);
    return LANES < (vint)(d - (dim - VEC)) ? (vfloat)(0.0f) : x;
}

/* Products of ROWS queries with KEYS keys, lane by lane; prefetches what is `ahead` bytes further.
 */
INLINE void product_keys(const float *q, int dim, __global const uchar *const *at, long ahead,
                         vfloat sum[ROWS][KEYS])
{
    int d = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < KEYS; c++)
            sum[r][c] = 0.0f;
    for (; d + VEC <= dim; d += VEC) {
        vfloat k[KEYS];
#pragma unroll
        for (int c = 0; c < KEYS; c++) {
            k[c] = load_elements(at[c], d, STORAGE);
            PREFETCH((size_t)(at[c] + d * size_of(STORAGE)) + ahead);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat x = load_vector(q + r * DIM_MAX + d);
#pragma unroll
            for (int c = 0; c < KEYS; c++)
                sum[r][c] = fma(x, k[c], sum[r][c]);
        }
    }
    if (d == dim)
        return;
#pragma unroll
    for (int c = 0; c < KEYS; c++) {
        const vfloat k = last_elements(at[c], d, dim);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sum[r][c] = fma(load_vector(q + r * DIM_MAX + d), k, sum[r][c]);
    }
}

/* Scores of the rows of a tile with the VEC keys from `key` on. */
INLINE void score_keys(const decode *x, int tile, int key, __global const uchar *const *at,
                       long ahead)
{
    vfloat part[ROWS][VEC];
#pragma unroll
    for (int c = 0; c < VEC; c += KEYS) {
        vfloat sum[ROWS][KEYS];
        product_keys(x->q + tile * DIM_MAX, x->row->head_dim, at + c, ahead, sum);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int j = 0; j < KEYS; j++)
                part[r][c + j] = sum[r][j];
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        store_vector(sums_of_lanes(part[r]) * x->row->scale,
                     x->p + (tile + r) * CLATTN_SPLIT + key - x->begin);
}

INLINE __global const uchar *address_of(const rows_of *of, int j)
{
    return element_at(of->memory[j < of->n_past ? 0 : 1], row_begin(of, j), STORAGE);
}

/* Where the VEC keys from `key` on are; in the place of those that nobody sees, the next one that
 * is seen. */
INLINE void place_keys(const decode *x, int key, __global const uchar **at)
{
    const rows_of *keys = &x->keys;
    const int first = max(key, x->from), last = min(key + VEC, x->to) - 1;
    const int side_by_side = (last < keys->n_past || first >= keys->n_past) &&
                             (keys->page_size == 0 || keys->page_size % VEC == 0);
    if (side_by_side) {
        __global const uchar *begin = address_of(keys, first);
        const long step = keys->step[first < keys->n_past ? 0 : 1] * size_of(STORAGE);
#pragma unroll
        for (int c = 0; c < VEC; c++)
            at[c] = begin + (clamp(key + c, first, last) - first) * step;
        return;
    }
    for (int c = 0; c < VEC; c++)
        at[c] = address_of(keys, clamp(key + c, first, last));
}

INLINE void score_split(const decode *x)
{
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        __global const uchar *at[VEC];
        place_keys(x, key, at);
        const long ahead = address_of(&x->keys, min(key + AHEAD, x->to - 1)) - at[0];
        for (int tile = 0; tile < x->rows; tile += ROWS)
            score_keys(x, tile, key, at, tile == 0 ? ahead : 0);
    }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* Products of a row into weights relative to their largest score. With care invisible pairs are
 * marked. */
INLINE void softmax_row(const decode *x, int r, int careful)
{
    const pairs *of = &x->of[r];
    const int i = x->i[r], from = max(keys_from(of, i), x->from);
    const int to = i < of->queries.count ? min(keys_to(of, i), x->to) : from;
    float *p = x->p + r * CLATTN_SPLIT - x->begin;
    vfloat most = -INFINITY, sum = 0.0f;
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        const vfloat s = finish_scores(of, cap_scores(of, load_vector(p + key)), i, key, from, to);
        store_vector(s, p + key);
        most = larger(s, most);
    }
    x->m[r] = largest_lane(most);
    const float shift = softmax_shift(x->m[r]);
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        const vfloat s = load_vector(p + key);
        const vfloat w = exp_of_lanes(s - shift);
        sum += w;
        store_vector(careful && s == (vfloat)(-INFINITY) ? (vfloat)(INVISIBLE) : w, p + key);
    }
    x->l[r] = sum_of_lanes(sum);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* o (ROWS, cols vectors) += p (ROWS, count) v (count, cols vectors); cols <= VALUE_COLS is a
 * constant; at: first value, `d` its first dimension. */
INLINE void value_tile(const decode *x, int tile, int key, int count, __global const uchar *at,
                       long step, long ahead, int d, const int cols)
{
    vfloat sum[ROWS][VALUE_COLS];
    float *o = x->o + tile * DIM_MAX + d;
    const float *p = x->p + tile * CLATTN_SPLIT + key - x->begin;
    const int begin = vector_begin(d, x->row->value_dim);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = load_vector(o + r * DIM_MAX + c * VEC);
    for (int j = 0; j < count; j++) {
        vfloat v[VALUE_COLS];
#pragma unroll
        for (int c = 0; c < cols; c++) {
            v[c] = load_elements(at + j * step, begin + c * VEC, STORAGE);
            PREFETCH((size_t)(at + j * step + (begin + c * VEC) * size_of(STORAGE)) + ahead);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat w = p[r * CLATTN_SPLIT + j];
#pragma unroll
            for (int c = 0; c < cols; c++)
                sum[r][c] = fma(w, v[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            store_vector(sum[r][c], o + r * DIM_MAX + c * VEC);
}

/* The same for one row and one vector, invisible pairs left out: 0 * NaN must not show. */
INLINE void value_row_carefully(const decode *x, int r, int key, int count,
                                __global const uchar *at, long step, int d)
{
    float *o = x->o + r * DIM_MAX + d;
    vfloat sum = load_vector(o);
    for (int j = 0; j < count; j++) {
        const float w = x->p[r * CLATTN_SPLIT + key - x->begin + j];
        if (w != INVISIBLE)
            sum =
                fma((vfloat)(w),
                    load_elements(at + j * step, vector_begin(d, x->row->value_dim), STORAGE), sum);
    }
    store_vector(sum, o);
}

/* Values of `count` keys in one tensor. */
INLINE void value_block(const decode *x, int key, int count, __global const uchar *at, long step,
                        int careful)
{
    const int dim = x->row->value_dim;
    const long ahead = address_of(&x->values, min(key + count, x->to - 1)) - at;
    for (int r = 0; careful && r < x->rows; r++)
        for (int d = 0; d < dim; d += VEC)
            value_row_carefully(x, r, key, count, at, step, d);
    for (int tile = 0; !careful && tile < x->rows; tile += ROWS) {
        int d = 0;
        for (; d + VALUE_COLS * VEC <= dim; d += VALUE_COLS * VEC)
            value_tile(x, tile, key, count, at, step, tile == 0 ? ahead : 0, d, VALUE_COLS);
        for (; d < dim; d += VEC)
            value_tile(x, tile, key, count, at, step, tile == 0 ? ahead : 0, d, 1);
    }
}

/* How many values from `key` on, at most VALUES, are side by side. */
INLINE int values_of_block(const decode *x, int key)
{
    const int size = x->values.page_size, past = x->values.n_past;
    const int end = key < past ? min(past, x->to) : x->to;
    const int count = min(VALUES, end - key);
    return size ? min(count, size - key % size) : count;
}

INLINE void value_split(const decode *x, int careful)
{
    int count;
    for (int key = x->from; key < x->to; key += count) {
        const long step = x->values.step[key < x->values.n_past ? 0 : 1] * size_of(STORAGE);
        count = values_of_block(x, key);
        value_block(x, key, count, address_of(&x->values, key), step, careful);
    }
}

/* ---- a block of rows ------------------------------------------------------------------------- */

INLINE int all_finite(const decode *x)
{
    vfloat check = 0.0f; /* becomes NaN */
    for (int r = 0; r < x->rows; r++)
        for (int d = 0; d < x->row->value_dim; d += VEC)
            check += load_vector(x->o + r * DIM_MAX + d) * 0.0f;
    return sum_of_lanes(check) == 0.0f;
}

INLINE void clear_results(const decode *x)
{
    const int tiled = (x->rows + ROWS - 1) / ROWS * ROWS;
    for (int r = 0; r < tiled; r++)
        for (int d = 0; d < x->row->value_dim; d += VEC)
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

/* A query into private memory; of its last vector what another one has too is 0. */
INLINE void load_query(const decode *x, int r, const clattn_base *base, __global const void *q)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_Q];
    const int dim = x->row->head_dim;
    const long begin = tensor_begin(x->row, base, CLATTN_T_Q, x->of[r].batch, x->of[r].head) +
                       (x->of[r].queries.first + x->i[r]) * t->stride[2];
    for (int d = 0; d < dim; d += VEC) {
        const int at = vector_begin(d, dim);
        const vfloat all = gather_elements(q, begin + at * t->stride[3], t->stride[3], VEC,
                                           x->row->dtype[CLATTN_T_Q]);
        store_vector(LANES < (vint)(d - at) ? (vfloat)(0.0f) : all, x->q + r * DIM_MAX + d);
    }
}

/* Rows of padding have query 0 and see nothing. */
INLINE void clear_padding(const decode *x)
{
    for (int r = x->rows; r % ROWS != 0; r++) {
        for (int d = 0; d < x->row->head_dim; d += VEC)
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
        x->m[x->rows] = -INFINITY;
        x->l[x->rows] = 0.0f;
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
    float block_q[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float block_p[BLOCK_M * CLATTN_SPLIT] __attribute__((aligned(64)));
    float block_o[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    float m[BLOCK_M], l[BLOCK_M];
    pairs of[BLOCK_M];
    int query[BLOCK_M];
    decode x = {row, of, query, .begin = item.k_begin, .end = item.k_end};
    x.q = block_q;
    x.p = block_p;
    x.o = block_o;
    x.m = m;
    x.l = l;
    const tables shared = {row, &base, pages, kv_lengths, item.k_begin, item.k_end};
    if (is_done_by_another(&shared, b))
        return;
    const int all = row->group * row->n_q, token = keys_of(row, &base, kv_lengths, b).first;
    x.keys = rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, b, g, token, pages);
    x.values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b, g, token, pages);
    int entry = all > 0 ? b : -1, begin = 0; /* where the next row is from */
    while (entry >= 0) {
        entry = take_rows(&x, &shared, b, g, entry, &begin, of, query, OPTION_ARGUMENTS);
        bound_keys(&x);
        clear_results(&x);
        if (x.from < x.to) {
            for (int r = 0; r < x.rows; r++)
                load_query(&x, r, &base, q);
            clear_padding(&x);
            attend(&x);
        }
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
