/* A split of the keys and a few queries, as decoding has them: scores, softmax, values, each read
 * once from where the caller has them, in the type that they are stored in. */
#ifndef CLATTN_DECODE_SPLIT_H
#define CLATTN_DECODE_SPLIT_H

#include "common/panels.h"
#include "common/partial.h"
#include "common/prefetch.h"

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
/* Keys ahead whose memory pages are touched, so that the processor has their addresses translated
 * before lines of them are prefetched: pages of few tokens lie far apart. */
#define FAR_AHEAD   (2 * (AHEAD > VALUES ? AHEAD : VALUES))
#define MEMORY_PAGE 4096 /* bytes, or more */
/* Whether lines are prefetched one by one, as elements are read, which leaves the processor time to
 * compute while they come: where a piece of floats is a line. Of what is narrower a line is asked
 * for several times, which is cheaper than a condition. With narrow vectors all lines of a row are
 * prefetched at once, unless there are floats and several queries, with enough to compute. */
#define WIDE           (4 * VEC >= LINE || (STORAGE == CLATTN_D_F32 && ROWS > 1))
#define PIECES_OF_LINE (LINE / 4 / VEC)
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
            if (WIDE && d / VEC % PIECES_OF_LINE == 0)
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
    const int first = max(key, x->from), last = key + min(VEC, x->to - key) - 1;
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
    to->ahead = address_of(keys, key + min(AHEAD, x->to - 1 - key)) - to->at[0];
}

/* Touches the memory pages of `count` rows that come FAR_AHEAD behind row `key`. */
INLINE void touch_pages(const decode *x, const rows_of *of, int key, int count)
{
    if (key >= x->to - FAR_AHEAD)
        return;
    const int first = key + FAR_AHEAD, there = min(count, x->to - first);
    const long step = bytes_of(of->step[first < of->n_past ? 0 : 1], STORAGE);
    int rows = step > 0 && step < MEMORY_PAGE ? MEMORY_PAGE / (int)step : 1;
    if (of->page_size > 0)
        rows = min(rows, of->page_size);
    for (int n = 0; n < there; n += rows)
        PREFETCH((size_t)address_of(of, first + n));
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
        touch_pages(x, &x->keys, key, VEC);
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
 * pieces, is a constant; `d`: the first dimension. Loops have bounds that are constants before this
 * is inlined: else some are unrolled too late for `sum` to stay in registers. */
INLINE void value_tile(const decode *x, int tile, const value_rows *of, int d, const int cols)
{
    vfloat sum[ROWS][VALUE_COLS];
    float *o = x->o + tile * DIM_MAX + d;
    const float *p = x->p + tile * CLATTN_SPLIT + of->key - x->begin;
    const int begin = piece_begin(d, x->row->value_dim);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            if (c < cols)
                sum[r][c] = load_vector(o + r * DIM_MAX + c * VEC);
    for (int j = 0; j < of->count; j++) {
        vfloat v[VALUE_COLS];
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c += PIECES) {
            if (c >= cols)
                continue;
            load_value(of, j, begin + c * VEC, v + c);
            if (WIDE && c % PIECES_OF_LINE == 0)
                PREFETCH((size_t)(of->at + j * of->step + bytes_of(begin + c * VEC, STORAGE)) +
                         of->ahead);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat w = p[r * CLATTN_SPLIT + j];
#pragma unroll
            for (int c = 0; c < VALUE_COLS; c++)
                if (c < cols)
                    sum[r][c] = fma(w, v[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < VALUE_COLS; c++)
            if (c < cols)
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
        of.ahead = address_of(values, key + min(of.count, x->to - 1 - key)) - of.at;
#if GROUP_SCALES
        of.scales = values->scales + scale_begin(values, key);
        of.scale_step = values->scale_step;
        of.inner = values->scale_inner;
#endif
        touch_pages(x, values, key, of.count);
        value_block(x, &of, careful);
    }
}

#endif
