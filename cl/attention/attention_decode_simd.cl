/* Attention of few queries to many keys, as in decoding: bound by reading keys and values, so each
 * is read once for all queries and all heads that share it, from where the caller has it. A group
 * does one split of the keys (CLATTN_SPLIT of them) of one key/value head: all scores, then their
 * softmax, then the values. merge_splits makes the splits one. */
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
/* SCALE_CHANNELS: of integers, elements that share a scale: 32, or 0: all of a row. */
#ifndef SCALE_CHANNELS
#define SCALE_CHANNELS 0
#endif
#if STORAGE != CLATTN_D_F32 && STORAGE != CLATTN_D_F16 && STORAGE != CLATTN_D_BF16 &&              \
    STORAGE != CLATTN_D_I8 && STORAGE != CLATTN_D_I4
#error "STORAGE must be one of CLATTN_D_F32, F16, BF16, I8, I4"
#endif
#if ROWS < 1 || BLOCK_M < 1 || BLOCK_M % ROWS != 0 || DIM_MAX % 16 != 0 ||                         \
    (SCALE_CHANNELS != 0 && SCALE_CHANNELS != 32)
#error "BLOCK_M must be a positive multiple of ROWS, DIM_MAX of 16, SCALE_CHANNELS 0 or 32"
#endif

/* A piece of a row is what is converted at once: a vector, or, of bytes with two elements, the
 * vector of the even ones and that of the odd ones. Queries and results are in the same order. */
#if STORAGE == CLATTN_D_I4
#define PIECES 2
#else
#define PIECES 1
#endif
#define STEP              (PIECES * VEC)
#define WHOLE_PIECES(dim) (((dim) + STEP - 1) / STEP * STEP)
/* Integers have a scale a row, for scores and weights, or more, for elements. */
#define ROW_SCALES   (STORAGE >= CLATTN_D_I8 && SCALE_CHANNELS == 0)
#define GROUP_SCALES (STORAGE >= CLATTN_D_I8 && SCALE_CHANNELS != 0)

/* Keys whose sums are in registers at the same time. */
#define KEYS   (ROWS * 4 > VEC ? VEC / ROWS : 4)
#define GROUPS (VEC / KEYS)
/* Values of a block, which stay in the first cache while all columns and rows go through them. */
#define VALUES 32
/* Keys ahead that are prefetched while others are multiplied: 2 to 16 KiB, more than a core reads
 * in the time that memory takes to answer. */
#define AHEAD (STORAGE == CLATTN_D_F32 ? VEC : STORAGE < CLATTN_D_I8 ? 2 * VEC : 4 * VEC)
#define LINE  64 /* bytes, or more */
/* Whether a piece is a line or more: then it is prefetched as it is read, else row by row. */
#define WIDE (STORAGE == CLATTN_D_F32 && 4 * VEC >= LINE)
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
    float *k_scale; /* (CLATTN_SPLIT) of each row, from key `begin` on; with ROW_SCALES */
    float *v_scale;
} decode;

/* Where piece d / STEP of a row of `dim` elements, at least STEP of them, begins: the last one
 * overlaps the one before, so that no piece reaches beyond the row. */
INLINE int piece_begin(int d, int dim)
{
    return min(d, dim - STEP);
}

/* The piece from element d on of the row at `at`; `scale`: of its group. */
INLINE void load_piece(__global const uchar *at, int d, float scale, vfloat x[PIECES])
{
#if STORAGE == CLATTN_D_I4
    const vint pairs = convert_vint(VECTOR_JOIN(vload, VEC)(0, (__global const char *)at + d / 2));
    x[0] = convert_vfloat((pairs << 28) >> 28);
    x[1] = convert_vfloat(pairs >> 4);
#elif STORAGE == CLATTN_D_I8
    x[0] = convert_vfloat(VECTOR_JOIN(vload, VEC)(0, (__global const char *)at + d));
#else
    x[0] = load_elements(at, d, STORAGE);
#endif
#if GROUP_SCALES
#pragma unroll
    for (int n = 0; n < PIECES; n++)
        x[n] *= scale;
#endif
}

/* Prefetches what is `ahead` bytes behind a row of `bytes`. */
INLINE void prefetch_row(__global const uchar *at, int bytes, long ahead)
{
    for (int byte = 0; byte < bytes; byte += LINE)
        PREFETCH((size_t)at + byte + ahead);
}

/* ---- scales ---------------------------------------------------------------------------------- */

#if ROW_SCALES
/* The scales of rows `from` to `to` - 1, side by side. */
INLINE void load_scales(const rows_of *rows, int begin, int from, int to, float *scale)
{
    int count;
    for (int key = from / VEC * VEC; key < to; key += VEC) /* what nobody sees */
        store_vector((vfloat)(0.0f), scale + key - begin);
    for (int key = from; key < to; key += count) {
        __global const float *at = rows->scales + scale_begin(rows, key);
        const int size = rows->page_size;
        count = size ? min(to - key, size - key % size) : to - key;
        int i = 0;
        for (; rows->scale_step == 1 && i + VEC <= count; i += VEC)
            store_vector(load_vector(at + i), scale + key - begin + i);
        for (; i < count; i++)
            scale[key - begin + i] = at[i * rows->scale_step];
    }
}
#endif

#if GROUP_SCALES
/* The scale of the group of element d. */
#define GROUP_SCALE(scales, inner, d) ((scales)[(d) / SCALE_CHANNELS * (inner)])
#else
#define GROUP_SCALE(scales, inner, d) 1.0f
#endif

/* ---- scores ---------------------------------------------------------------------------------- */

/* The sums of the lower and the upper halves of two vectors, lane by lane in turn. */
INLINE vfloat half_sums(vfloat a, vfloat b)
{
    return LOWER(a, b) + UPPER(a, b);
}

/* The same of x (count) until one vector is left; `count` is a constant, 1, 2, 4 or 8. Of all keys,
 * in two steps, this leaves in lane c the sum of the lanes of key c, halves added to halves. */
INLINE vfloat sums_of_vectors(const vfloat *x, const int count)
{
    if (count == 1)
        return x[0];
    if (count == 2)
        return half_sums(x[0], x[1]);
    if (count == 4)
        return half_sums(half_sums(x[0], x[2]), half_sums(x[1], x[3]));
    return half_sums(half_sums(half_sums(x[0], x[4]), half_sums(x[2], x[6])),
                     half_sums(half_sums(x[1], x[5]), half_sums(x[3], x[7])));
}

/* Where VEC keys are, and their scales by group; `ahead` bytes behind them is what to prefetch. */
typedef struct places {
    __global const uchar *at[VEC];
    long ahead;
    __global const float *scales[VEC];
    long inner;
} places;

/* The piece from dimension d on of one of the keys. */
INLINE void load_key(const places *keys, int c, int d, vfloat x[PIECES])
{
    load_piece(keys->at[c], d, GROUP_SCALE(keys->scales[c], keys->inner, d), x);
}

/* The dimensions from `d` on of the last piece of a row; those of the piece before are 0, as they
 * are in queries: numbers that aren't finite would show. */
INLINE void load_end(const places *keys, int c, int d, int dim, vfloat x[PIECES])
{
    load_key(keys, c, dim - STEP, x);
#if STORAGE < CLATTN_D_I8
    x[0] = LANES < (vint)(d - (dim - VEC)) ? (vfloat)(0.0f) : x[0];
#endif
}

/* Adds the products of ROWS queries, from dimension `d` on, with one key's piece. */
INLINE void add_products(const float *q, int d, const vfloat k[PIECES], int c,
                         vfloat sum[ROWS][KEYS])
{
#pragma unroll
    for (int n = 0; n < PIECES; n++)
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sum[r][c] = fma(load_vector(q + r * DIM_MAX + d + n * VEC), k[n], sum[r][c]);
}

/* Products of ROWS queries with keys `first`, `first` + GROUPS, ... of the places, lane by lane. */
INLINE void product_keys(const float *q, int dim, const places *keys, int first,
                         vfloat sum[ROWS][KEYS])
{
    int d = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < KEYS; c++)
            sum[r][c] = 0.0f;
    for (; d + STEP <= dim; d += STEP)
#pragma unroll
        for (int c = 0; c < KEYS; c++) {
            vfloat k[PIECES];
            load_key(keys, first + c * GROUPS, d, k);
            if (WIDE)
                PREFETCH((size_t)(keys->at[first + c * GROUPS] + bytes_of(d, STORAGE)) +
                         keys->ahead);
            add_products(q, d, k, c, sum);
        }
    if (d == dim)
        return;
#pragma unroll
    for (int c = 0; c < KEYS; c++) {
        vfloat k[PIECES];
        load_end(keys, first + c * GROUPS, d, dim, k);
        add_products(q, d, k, c, sum);
    }
}

/* Scores of the rows of a tile with the VEC keys from `key` on. */
INLINE void score_keys(const decode *x, int tile, int key, const places *keys)
{
    vfloat part[ROWS][GROUPS];
#pragma unroll
    for (int c = 0; c < GROUPS; c++) {
        vfloat sum[ROWS][KEYS];
        product_keys(x->q + tile * DIM_MAX, x->row->head_dim, keys, c, sum);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            part[r][c] = sums_of_vectors(sum[r], KEYS);
    }
#if ROW_SCALES
    const vfloat scale = load_vector(x->k_scale + key - x->begin) * x->row->scale;
#else
    const vfloat scale = x->row->scale;
#endif
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        store_vector(sums_of_vectors(part[r], GROUPS) * scale,
                     x->p + (tile + r) * CLATTN_SPLIT + key - x->begin);
}

INLINE __global const uchar *address_of(const rows_of *of, int j)
{
    return element_at(of->memory[j < of->n_past ? 0 : 1], row_begin(of, j), STORAGE);
}

/* Where the VEC keys from `key` on are; in the place of those that nobody sees, the next one that
 * is seen. */
INLINE void place_keys(const decode *x, int key, places *to)
{
    const rows_of *keys = &x->keys;
    const int first = max(key, x->from), last = min(key + VEC, x->to) - 1;
    const int side_by_side = (last < keys->n_past || first >= keys->n_past) &&
                             (keys->page_size == 0 || keys->page_size % VEC == 0);
    __global const uchar *begin = address_of(keys, first);
    const long step = bytes_of(keys->step[first < keys->n_past ? 0 : 1], STORAGE);
#if GROUP_SCALES
    __global const float *scales = keys->scales + scale_begin(keys, first);
    to->inner = keys->scale_inner;
#endif
#pragma unroll
    for (int c = 0; c < VEC; c++) {
        const int j = clamp(key + c, first, last);
        to->at[c] = side_by_side ? begin + (j - first) * step : address_of(keys, j);
#if GROUP_SCALES
        to->scales[c] = side_by_side ? scales + (j - first) * keys->scale_step
                                     : keys->scales + scale_begin(keys, j);
#endif
    }
    to->ahead = address_of(keys, min(key + AHEAD, x->to - 1)) - to->at[0];
}

INLINE void score_split(const decode *x)
{
#if ROW_SCALES
    load_scales(&x->keys, x->begin, x->from, x->to, x->k_scale);
    load_scales(&x->values, x->begin, x->from, x->to, x->v_scale);
#endif
    for (int key = x->from / VEC * VEC; key < x->to; key += VEC) {
        places keys;
        place_keys(x, key, &keys);
        for (int c = 0; !WIDE && c < VEC; c++)
            prefetch_row(keys.at[c], bytes_of(x->row->head_dim, STORAGE), keys.ahead);
        for (int tile = 0; tile < x->rows; tile += ROWS) {
            score_keys(x, tile, key, &keys);
            keys.ahead = 0;
        }
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
        vfloat w = exp_of_lanes(s - shift);
        sum += w;
#if ROW_SCALES
        w *= load_vector(x->v_scale + key - x->begin);
#endif
        store_vector(careful && s == (vfloat)(-INFINITY) ? (vfloat)(INVISIBLE) : w, p + key);
    }
    x->l[r] = sum_of_lanes(sum);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Values of keys `key` to `key` + `count` - 1, side by side in one tensor. */
typedef struct value_rows {
    int key, count;
    __global const uchar *at;     /* of the first */
    long step, ahead;             /* bytes; `ahead`: to what is to be prefetched */
    __global const float *scales; /* of the first, by group */
    long scale_step, inner;
} value_rows;

/* The piece from dimension d on of one of the values. */
INLINE void load_value(const value_rows *of, int j, int d, vfloat v[PIECES])
{
    load_piece(of->at + j * of->step, d, GROUP_SCALE(of->scales + j * of->scale_step, of->inner, d),
               v);
}

/* o (ROWS, cols vectors) += p (ROWS, count) v (count, cols vectors); cols <= VALUE_COLS, whole
 * pieces, is a constant; `d`: the first dimension. */
INLINE void value_tile(const decode *x, int tile, const value_rows *of, int d, const int cols)
{
    vfloat sum[ROWS][VALUE_COLS];
    float *o = x->o + tile * DIM_MAX + d;
    const float *p = x->p + tile * CLATTN_SPLIT + of->key - x->begin;
    const int begin = piece_begin(d, x->row->value_dim);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = load_vector(o + r * DIM_MAX + c * VEC);
    for (int j = 0; j < of->count; j++) {
        vfloat v[VALUE_COLS];
#pragma unroll
        for (int c = 0; c < cols; c += PIECES) {
            load_value(of, j, begin + c * VEC, v + c);
            if (WIDE)
                PREFETCH((size_t)(of->at + j * of->step + bytes_of(begin + c * VEC, STORAGE)) +
                         of->ahead);
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

/* The same for one row and one piece, invisible pairs left out: 0 * NaN must not show. */
INLINE void value_row_carefully(const decode *x, int r, const value_rows *of, int d)
{
    float *o = x->o + r * DIM_MAX + d;
    for (int j = 0; j < of->count; j++) {
        const float w = x->p[r * CLATTN_SPLIT + of->key - x->begin + j];
        vfloat v[PIECES];
        if (w == INVISIBLE)
            continue;
        load_value(of, j, piece_begin(d, x->row->value_dim), v);
        for (int n = 0; n < PIECES; n++)
            store_vector(fma((vfloat)(w), v[n], load_vector(o + n * VEC)), o + n * VEC);
    }
}

INLINE void value_block(const decode *x, value_rows *of, int careful)
{
    const int dim = x->row->value_dim;
    for (int r = 0; careful && r < x->rows; r++)
        for (int d = 0; d < dim; d += STEP)
            value_row_carefully(x, r, of, d);
    for (int j = 0; !WIDE && j < of->count; j++)
        prefetch_row(of->at + j * of->step, bytes_of(dim, STORAGE), of->ahead);
    for (int tile = 0; !careful && tile < x->rows; tile += ROWS) {
        int d = 0;
        for (; d + VALUE_COLS * VEC <= dim; d += VALUE_COLS * VEC)
            value_tile(x, tile, of, d, VALUE_COLS);
        for (; d < dim; d += STEP)
            value_tile(x, tile, of, d, PIECES);
        of->ahead = 0;
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
    const rows_of *values = &x->values;
    value_rows of;
    for (int key = x->from; key < x->to; key += of.count) {
        of.key = key;
        of.count = values_of_block(x, key);
        of.at = address_of(values, key);
        of.step = bytes_of(values->step[key < values->n_past ? 0 : 1], STORAGE);
        of.ahead = address_of(values, min(key + of.count, x->to - 1)) - of.at;
#if GROUP_SCALES
        of.scales = values->scales + scale_begin(values, key);
        of.scale_step = values->scale_step;
        of.inner = values->scale_inner;
#endif
        value_block(x, &of, careful);
    }
}

/* ---- a block of rows ------------------------------------------------------------------------- */

INLINE int all_finite(const decode *x)
{
    vfloat check = 0.0f; /* becomes NaN */
    for (int r = 0; r < x->rows; r++)
        for (int d = 0; d < WHOLE_PIECES(x->row->value_dim); d += VEC)
            check += load_vector(x->o + r * DIM_MAX + d) * 0.0f;
    return sum_of_lanes(check) == 0.0f;
}

INLINE void clear_results(const decode *x)
{
    const int tiled = (x->rows + ROWS - 1) / ROWS * ROWS;
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
    const long begin = tensor_begin(x->row, base, CLATTN_T_Q, x->of[r].batch, x->of[r].head) +
                       (x->of[r].queries.first + x->i[r]) * t->stride[2];
    for (int d = 0; d < dim; d += STEP) {
        const int at = piece_begin(d, dim);
        vfloat own[PIECES];
        for (int n = 0; n < PIECES; n++) {
            const int from = at + n * VEC;
            const vfloat all = gather_elements(q, begin + from * t->stride[3], t->stride[3], VEC,
                                               x->row->dtype[CLATTN_T_Q]);
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

INLINE void write_partial(const decode *x, int r, __global float *to)
{
    const int width = partial_width(x->row->value_dim);
    to[width] = x->m[r];
    to[width + 1] = x->l[r];
    for (int d = 0; x->l[r] != 0.0f && d < width; d += VEC)
        store_vector(load_vector(x->o + r * DIM_MAX + d), to + d);
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
#if ROW_SCALES
    float k_scale[CLATTN_SPLIT] __attribute__((aligned(64)));
    float v_scale[CLATTN_SPLIT] __attribute__((aligned(64)));
#endif
    pairs of[BLOCK_M];
    int query[BLOCK_M];
    decode x = {row, of, query, .begin = item.k_begin, .end = item.k_end};
    x.q = block_q;
    x.p = block_p;
    x.o = block_o;
    x.m = m;
    x.l = l;
#if ROW_SCALES
    x.k_scale = k_scale;
    x.v_scale = v_scale;
#endif
    const int all = row->group * row->n_q, token = keys_of(row, &base, kv_lengths, b).first;
    x.keys = rows_init(row, &base, past_k, CLATTN_T_PAST_K, k, CLATTN_T_K, b, g, token, pages);
    x.values = rows_init(row, &base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, b, g, token, pages);
    rows_scale(&x.keys, row, &base, k_scales, CLATTN_T_K_SCALES, b, g, token);
    rows_scale(&x.values, row, &base, v_scales, CLATTN_T_V_SCALES, b, g, token);
    for (int begin = 0; begin < all; begin += BLOCK_M) {
        x.rows = min(BLOCK_M, all - begin);
        for (int r = 0; r < x.rows; r++) {
            const int h = g * row->group + (begin + r) / row->n_q;
            query[r] = (begin + r) % row->n_q;
            of[r] = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
            m[r] = -INFINITY;
            l[r] = 0.0f;
        }
        bound_keys(&x);
        clear_results(&x);
        if (x.from < x.to) {
            for (int r = 0; r < x.rows; r++)
                load_query(&x, r, &base, q);
            clear_padding(&x);
            attend(&x);
#if PIECES == 2
            for (int r = 0; r < x.rows; r++)
                order_results(&x, r);
#endif
        }
        for (int r = 0; r < x.rows; r++) {
            if (row->n_kv > CLATTN_SPLIT)
                write_partial(&x, r,
                              partial_row(parts, row, &base, b, of[r].head, query[r],
                                          item.k_begin / CLATTN_SPLIT));
            else
                write_final(&of[r], &base, query[r], block_o + r * DIM_MAX, m[r], l[r],
                            sink_of(&of[r], &base, sink, query[r]), out, lse);
        }
    }
}
