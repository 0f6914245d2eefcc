/* How rows of keys and values are read in decoding: register tiles, order, prefetching, types and
 * scales, for decode_scores.h and decode_values.h. */
#ifndef CLATTN_DECODE_ROWS_H
#define CLATTN_DECODE_ROWS_H

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
/* STREAMS: rows that are read at the same time, a line of each in turn. 4 needs fewer reads of
 * queries; 1 is what prefetchers of some processors follow, see src/kernels/decode_tuning.c. */
#ifndef STREAMS
#define STREAMS 4
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
#if STREAMS != 1 && STREAMS != 4
#error "STREAMS must be 1 or 4"
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

/* Whether rows are read one after the other. Of integers that would cost more than it saves, unless
 * an element is a byte and there is one query. */
#define IN_TURN (STREAMS == 1 && (STORAGE < CLATTN_D_I8 || (STORAGE == CLATTN_D_I8 && ROWS == 1)))

/* Keys whose sums are in registers at the same time, and how many times that is done for VEC. */
#if IN_TURN && ROWS == 1
#define KEYS VEC
#elif ROWS * 4 > VEC
#define KEYS (VEC / ROWS)
#else
#define KEYS 4
#endif
#define GROUPS (VEC / KEYS)
/* Which of the VEC keys is number c of a group, and sums of groups in the order of keys. */
#if IN_TURN
#define KEY_OF(group, c) ((group)*KEYS + (c))
#else
#define KEY_OF(group, c) ((group) + (c)*GROUPS)
#endif
#if !IN_TURN || GROUPS == 1 || GROUPS == VEC
#define IN_ORDER(sums) (sums)
#elif VEC == 16 && KEYS == 4
#define IN_ORDER(sums) ((sums).s048c159d26ae37bf)
#elif VEC == 8 && KEYS == 4
#define IN_ORDER(sums) ((sums).s02461357)
#elif VEC == 8 && KEYS == 2
#define IN_ORDER(sums) ((sums).s04152637)
#elif VEC == 4 && KEYS == 2
#define IN_ORDER(sums) ((sums).s0213)
#else
#error "no such tile reads keys in turn"
#endif

/* The register tile of values, rows and vectors. */
#if IN_TURN && ROWS == 4
#define TILE_ROWS 2
#define TILE_COLS (2 * VALUE_COLS)
#else
#define TILE_ROWS ROWS
#define TILE_COLS VALUE_COLS
#endif
/* Vectors of one that is half as wide, for what is left of a row. */
#define HALF_COLS (TILE_COLS / 2 > PIECES ? TILE_COLS / 2 : PIECES)

/* Values of a block, which stay in the first cache while all columns and rows go through them. */
#define VALUES 32
/* Whether of lines that are next to each other every other one is prefetched, because the second
 * cache's own prefetcher brings the one beside it: of floats, unless several queries' products keep
 * it waiting, or rows lie in pages, of which it hasn't seen enough before they end. */
#define EVERY_OTHER (IN_TURN && STORAGE == CLATTN_D_F32 && ROWS <= 2)
/* Rows ahead that are prefetched while others are multiplied: 2 to 16 KiB, more than a core reads
 * in the time that memory takes to answer. What is read in turn goes into the second cache. */
#define KEYS_AHEAD (VEC * (STORAGE == CLATTN_D_F32 ? 1 : STORAGE < CLATTN_D_I8 ? 2 : 4))
#if IN_TURN
#define BYTES_AHEAD(paged)              (EVERY_OTHER && !(paged) ? 8192 : 16384)
#define AHEAD(dim, paged)               max(BYTES_AHEAD(paged) / (int)bytes_of(dim, STORAGE), 1)
#define VALUES_AHEAD(dim, paged, count) AHEAD(dim, paged)
#define PREFETCH_ROW(address)           PREFETCH_SECOND(address)
#else
#define AHEAD(dim, paged)               KEYS_AHEAD
#define VALUES_AHEAD(dim, paged, count) (count)
#define PREFETCH_ROW(address)           PREFETCH(address)
#endif
/* Whether lines are prefetched one by one, as elements are read, which leaves the processor time to
 * compute while they come: where a piece of floats is a line, or has to be. Of what is narrower a
 * line is asked for several times, which is cheaper than a condition. With narrow vectors all lines
 * of a row are prefetched at once, unless there are floats and several queries, with enough to
 * compute. */
#define WIDE         (EVERY_OTHER || 4 * VEC >= LINE || (STORAGE == CLATTN_D_F32 && ROWS > 1))
#define ASKED_PIECES ((EVERY_OTHER ? 2 : 1) * LINE / 4 / VEC)
/* Keys ahead whose memory pages are touched, so that the processor has their addresses translated
 * before lines of them are prefetched: pages of few tokens lie far apart. */
#define FAR_AHEAD   (2 * (KEYS_AHEAD > VALUES ? KEYS_AHEAD : VALUES))
#define MEMORY_PAGE 4096 /* bytes, or more */
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

INLINE __global const uchar *address_of(const rows_of *of, int j)
{
    return element_at(of->memory[j < of->n_past ? 0 : 1], row_begin(of, j), STORAGE);
}

/* Touches the memory pages of `count` rows that come FAR_AHEAD behind row `key`, unless rows are
 * read in turn, where a page is translated once for all of its lines. */
INLINE void touch_pages(const decode *x, const rows_of *of, int key, int count)
{
    if (IN_TURN || key >= x->to - FAR_AHEAD)
        return;
    const int first = key + FAR_AHEAD, there = min(count, x->to - first);
    const long step = bytes_of(of->step[first < of->n_past ? 0 : 1], STORAGE);
    int rows = step > 0 && step < MEMORY_PAGE ? MEMORY_PAGE / (int)step : 1;
    if (of->page_size > 0)
        rows = min(rows, of->page_size);
    for (int n = 0; n < there; n += rows)
        PREFETCH((size_t)address_of(of, first + n));
}

/* Prefetches a line, and the one behind it where lines are asked for by twos and rows lie in pages.
 */
INLINE void prefetch_lines(__global const uchar *at, long ahead, int paged)
{
    PREFETCH_ROW((size_t)at + ahead);
    if (EVERY_OTHER && paged)
        PREFETCH_ROW((size_t)at + ahead + LINE);
}

/* Prefetches what is `ahead` bytes behind a row of `bytes`. */
INLINE void prefetch_row(__global const uchar *at, int bytes, long ahead)
{
    for (int byte = 0; byte < bytes; byte += LINE)
        PREFETCH_ROW((size_t)at + byte + ahead);
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

#endif
