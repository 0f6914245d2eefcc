/* A tile of attention on a work-group whose work-items are lanes: BLOCK_M rows, each a query of a
 * head, against blocks of BLOCK_N columns, keys, with the online softmax (Milakov and Gimelshein
 * 2018; Dao et al. 2022). For what keys get of gradients it is the other way round, KEYS_ARE_ROWS:
 * see tile_gradient.h.
 *
 * The group is a grid of GRID_Y rows by GRID_X columns of work-items. What they do with a block of
 * keys, between barriers:
 *
 *   scores   Slices of BLOCK_K dimensions of queries and keys go through local memory, transposed,
 *            a vector of 4 rows or keys side by side. A work-item has the products of ROWS rows
 *            with COLS * 4 keys in registers: 16 multiply-adds for two vectors read, at 4 x 4.
 *   softmax  The products go to local memory, a key a line: p (BLOCK_N, BLOCK_M). A row belongs to
 *            PARTS = WG_SIZE / BLOCK_M work-items, side by side with those of other rows, so that
 *            lanes read words side by side and nothing depends on the size of a sub-group. The
 *            options of score.h are applied here, in one short loop: a copy of them for each
 *            product in a register would be most of the kernel.
 *   values   Slices of VALUE_KEYS values go where queries and keys were. A work-item has the sums
 *            of ROWS rows by VALUE_COLS vectors of dimensions in registers, for the whole item.
 *
 * An invisible pair has the weight -0: a sum isn't changed by it unless the value isn't finite.
 * Who brings a value that isn't finite to local memory says so, and from then on the group leaves
 * weights of -0 out, one by one.
 *
 * Registers are what a GPU is short of. Where rows are in memory is worked out anew for each block
 * of keys, from what the problem row says, and is not kept; arrays are indexed by constants only,
 * once loops are unrolled; all other loops stay loops, for the sake of compilers that make a loop
 * over work-items of all that is between two barriers. */
#ifndef CLATTN_TILE_H
#define CLATTN_TILE_H

/* VEC: always 4, the vector of local memory. */
#define WORK_ITEMS_ARE_LANES
#include "common/score.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 64
#endif
/* KEYS_ARE_ROWS: 1 where rows are keys, and columns queries. */
#ifndef KEYS_ARE_ROWS
#define KEYS_ARE_ROWS 0
#endif
/* ROWS: rows of a work-item; a multiple of 4. */
#ifndef ROWS
#define ROWS 4
#endif
/* COLS: vectors of columns of a work-item. */
#ifndef COLS
#define COLS 1
#endif
/* VALUE_COLS: vectors of dimensions of its results that a work-item has. */
#ifndef VALUE_COLS
#define VALUE_COLS 2
#endif
/* BLOCK_M: rows of the tile, a multiple of ROWS, at most WG_SIZE. */
#ifndef BLOCK_M
#define BLOCK_M 32
#endif
/* BLOCK_N: columns of a block. */
#ifndef BLOCK_N
#define BLOCK_N 32
#endif
/* BLOCK_K: dimensions of a slice of rows and columns; a multiple of 4. */
#ifndef BLOCK_K
#define BLOCK_K 16
#endif
/* DIM_MAX: bound of value_dim; that of head_dim is the interface's. Of gradients it is of both. */
#ifndef DIM_MAX
#define DIM_MAX 64
#endif
/* FULL: 1 with the options beyond bounds: whatever changes scores or weights pair by pair. */
#ifndef FULL
#define FULL 0
#endif
/* STORAGE: the type of keys and values, CLATTN_D_*, if they are integers with scales; else it says
 * nothing, and is 0: rows have the type that the problem row says. */
#ifndef STORAGE
#define STORAGE 0
#endif

#if VEC != 4
#error "VEC must be 4"
#endif
#if STORAGE != CLATTN_D_F32 && STORAGE != CLATTN_D_F16 && STORAGE != CLATTN_D_BF16 &&              \
    STORAGE != CLATTN_D_I8 && STORAGE != CLATTN_D_I4
#error "STORAGE must be one of CLATTN_D_F32, F16, BF16, I8, I4"
#endif
#if ROWS < 4 || ROWS % 4 != 0 || COLS < 1 || VALUE_COLS < 1 || BLOCK_K < 4 || BLOCK_K % 4 != 0
#error "ROWS and BLOCK_K must be multiples of 4, COLS and VALUE_COLS 1 or more"
#endif
#if FULL != 0 && FULL != 1
#error "FULL must be 0 or 1"
#endif
#if BLOCK_M < 1 || BLOCK_N < 1 || WG_SIZE < 1
#error "BLOCK_M, BLOCK_N and WG_SIZE must be 1 or more"
#endif
#define GRID_X (BLOCK_N / (COLS * VEC))
#define GRID_Y (BLOCK_M / ROWS)
#define PARTS  (WG_SIZE / BLOCK_M)
#if GRID_X * GRID_Y != WG_SIZE || BLOCK_M % ROWS != 0 || BLOCK_N % (COLS * VEC) != 0
#error "BLOCK_M / ROWS times BLOCK_N / COLS / 4 must be WG_SIZE"
#endif
#if PARTS * BLOCK_M != WG_SIZE || BLOCK_N % (PARTS * VEC) != 0
#error "WG_SIZE must be a multiple of BLOCK_M, and BLOCK_N of 4 * WG_SIZE / BLOCK_M"
#endif
#if DIM_MAX != GRID_X * VALUE_COLS * VEC
#error "DIM_MAX must be BLOCK_N * VALUE_COLS / COLS"
#endif

#if KEYS_ARE_ROWS
#define QUERIES BLOCK_N
#define KEYS    BLOCK_M
#else
#define QUERIES BLOCK_M
#define KEYS    BLOCK_N
#endif

/* Elements from line to line of local memory: a vector more than rows or columns, so that lines
 * begin in different banks. */
#define M_STEP (BLOCK_M + VEC)
#define N_STEP (BLOCK_N + VEC)
#define P_STEP M_STEP
/* Rows and columns of a slice, and then values. */
#define STAGE      (BLOCK_K * (M_STEP + N_STEP))
#define STAGE_KEYS (STAGE / DIM_MAX)
#define VALUE_KEYS (STAGE_KEYS < BLOCK_N ? STAGE_KEYS : BLOCK_N)
#if STAGE < DIM_MAX
#error "slices of rows and columns have no room for a value"
#endif

/* Vectors of a row or column in a slice. */
#define PIECES (BLOCK_K / VEC)

/* Lines of queries, keys, values, and of GRAD_OUT where there are gradients: where each begins. */
#define Q_LINES   0
#define K_LINES   QUERIES
#define V_LINES   (QUERIES + KEYS)
#define G_LINES   (QUERIES + 2 * KEYS)
#define ALL_LINES (2 * QUERIES + 2 * KEYS)

/* The arrays of a tile, to be declared in the kernel; `stage`: STAGE or more, `lines`: G_LINES or
 * ALL_LINES. */
#define TILE_ARRAYS(stage, lines)                                                                  \
    __local float tile_stage[stage] __attribute__((aligned(16)));                                  \
    __local float tile_p[BLOCK_N * P_STEP] __attribute__((aligned(16)));                           \
    __local long tile_lines[lines];                                                                \
    __local int tile_odd

/* What a group works on, the same for all its work-items but the last three lines. */
typedef struct tile {
    __global const clattn_problem_row *row;
    const clattn_base *base;
    __global const void *q, *k, *past_k, *v, *past_v; /* memory objects, as those of the options */
    __global const uchar *mask;
    __global const void *bias;
    __global const float *alibi;
    __global const int *q_lengths, *kv_lengths, *block_count, *block_index;
    __global const float *params;
    __global const long *seed;
    __global const int *pages;
    __global const float *k_scales, *v_scales;
    int batch, group; /* and key/value head */
    int token;        /* the first of ragged keys */
    int head, first;  /* of the first row; 0 where rows are packed */
    int packed;       /* a constant. 1: rows are queries of all heads of the group, head by head */
    int rows;         /* those that are there */
    int columns;      /* KEYS_ARE_ROWS: queries that are there */
    int value_begin;  /* of values, dimensions from this one on */
    tokens queries;   /* of the batch entry */
    __local float *stage;   /* (STAGE) */
    __local float *p;       /* (BLOCK_N, P_STEP) */
    __local float *parts;   /* (PARTS, BLOCK_M) of the softmax alone */
    __local float *factors; /* (BLOCK_M) the same */
    __local long *lines;    /* elements where lines begin, -1: it is one of zeros */
    __local int *odd;       /* 1: a value wasn't finite */
    int me;                 /* of the work-items */
    int own, part;          /* row of the softmax, and which of those that it belongs to */
    int x, y;               /* in the grid */
    /* Of gradients and returned weights alone: what is known of queries. */
    __local float *row_values; /* (3, QUERIES), of weights (2, QUERIES) */
    __local int *seen;         /* (2, QUERIES) */
    /* Of gradients alone, see tile_gradient.h. */
    __global const void *grad_out; /* memory object */
    __local float *ds;             /* (BLOCK_N, P_STEP) */
} tile;

/* What a tile is anywhere, in the kernel that declares TILE_ARRAYS and has its arguments by their
 * usual names; the first of it where there are no values. */
#define TILE_OF_KEYS                                                                               \
    .row = row, .base = &base, .q = q, .k = k, .past_k = past_k, .mask = mask, .bias = bias,       \
    .alibi = alibi, .q_lengths = q_lengths, .kv_lengths = kv_lengths, .block_count = block_count,  \
    .block_index = block_index, .params = params, .seed = seed, .pages = pages,                    \
    .k_scales = k_scales, .v_scales = v_scales, .stage = tile_stage, .p = tile_p,                  \
    .lines = tile_lines
#define TILE_ANYWHERE TILE_OF_KEYS, .v = v, .past_v = past_v, .odd = &tile_odd

/* A tile of one batch entry and head. */
#define TILE_OF(batch_, group_, head_, first_)                                                     \
    {                                                                                              \
        TILE_ANYWHERE, .batch = batch_, .group = group_, .head = head_, .first = first_,           \
                       .queries = queries_of(row, &base, q_lengths, batch_),                       \
                       .token = keys_of(row, &base, kv_lengths, batch_).first                      \
    }

#define LOCAL_VECTOR(pointer) (*(__local float4 *)(pointer))

/* r / n, both of them small. Integers are divided slowly; half a row more keeps rounding away from
 * whole numbers. */
INLINE int quotient_of(int r, int n)
{
    return (int)(((float)r + 0.5f) / (float)n);
}

/* Of a row that is a query, or where KEYS_ARE_ROWS a column. Packed ones beyond the last have its
 * head and its query. */
INLINE int head_of_row(const tile *x, int r)
{
    return x->packed ? x->head + quotient_of(min(r, x->rows - 1), x->row->n_q) : x->head;
}

INLINE int query_of_row(const tile *x, int r)
{
    const int last = min(r, x->rows - 1), n_q = x->row->n_q;
    return x->packed ? last - quotient_of(last, n_q) * n_q : x->first + r;
}

/* Whether query r is there, and one of its batch entry. */
INLINE int is_query(const tile *x, int r)
{
    return r < (KEYS_ARE_ROWS ? x->columns : x->rows) && query_of_row(x, r) < x->queries.count;
}

INLINE pairs pairs_of_row(const tile *x, int r)
{
    return pairs_init(x->row, x->base, x->batch, head_of_row(x, r), x->mask, x->bias, x->alibi,
                      x->q_lengths, x->kv_lengths, x->block_count, x->block_index, x->params,
                      x->seed, x->pages, x->k_scales, x->v_scales);
}

/* What a work-item knows of itself. */
INLINE void place_item(tile *x)
{
    const uint me = (uint)get_local_id(0);
    x->me = me;
    x->own = me % BLOCK_M;
    x->part = me / BLOCK_M;
    x->x = me % GRID_X;
    x->y = me / GRID_X;
}

#endif
