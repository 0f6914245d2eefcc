/* Linear projections and their gradients for devices whose work-items are lanes: a group makes a
 * tile of the result, BLOCK_M rows by BLOCK_N columns.
 *
 * The group is a grid of GRID_Y by GRID_X work-items. Slices of BLOCK_K of the depth go through
 * local memory; a work-item has the sums of ROWS rows by COLS vectors of columns in registers. With
 * two STAGES the next slice is on its way while one is multiplied, and there is one barrier a slice
 * instead of two. Every element is summed in ascending order, whatever the tile is.
 *
 * Vectors of a work-item are GRID_Y (GRID_X) vectors apart, so that lanes read side by side. Sums
 * go to the result through local memory, a part of the tile after the other: lanes write elements
 * that are neighbours, whether those are rows or columns, and no array of registers is indexed by
 * what isn't a constant. */
#include "common/product.h"

/* VEC: always 4, the vector of local memory. */
/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 64
#endif
/* ROWS: rows of a work-item; a multiple of 4. */
#ifndef ROWS
#define ROWS 4
#endif
/* COLS: vectors of columns of a work-item. */
#ifndef COLS
#define COLS 1
#endif
/* BLOCK_M: rows of the tile. */
#ifndef BLOCK_M
#define BLOCK_M 32
#endif
/* BLOCK_N: columns of the tile, whole panels. */
#ifndef BLOCK_N
#define BLOCK_N 32
#endif
/* BLOCK_K: depth of a slice; a multiple of 4. */
#ifndef BLOCK_K
#define BLOCK_K 16
#endif
/* STAGES: slices in local memory, 1 or 2. */
#ifndef STAGES
#define STAGES 1
#endif
#if VEC != 4
#error "VEC must be 4"
#endif
#if ROWS < 4 || ROWS % 4 != 0 || COLS < 1 || BLOCK_K < 4 || BLOCK_K % 4 != 0
#error "ROWS and BLOCK_K must be multiples of 4, COLS 1 or more"
#endif
#if STAGES != 1 && STAGES != 2
#error "STAGES must be 1 or 2"
#endif
#if BLOCK_M < 1 || BLOCK_N < 1 || BLOCK_N % CLATTN_PANEL != 0 || WG_SIZE < 1
#error "BLOCK_M and WG_SIZE must be 1 or more, BLOCK_N a multiple of 16"
#endif
#define GRID_X (BLOCK_N / (COLS * VEC))
#define GRID_Y (BLOCK_M / ROWS)
#if GRID_X * GRID_Y != WG_SIZE || BLOCK_M % ROWS != 0 || BLOCK_N % (COLS * VEC) != 0
#error "BLOCK_M / ROWS times BLOCK_N / COLS / 4 must be WG_SIZE"
#endif
#include "common/tile_slice.h"

/* Elements from line to line of local memory: a vector more than rows or columns, so that lines
 * begin in different banks. */
#define LEFT_STEP  (BLOCK_M + VEC)
#define RIGHT_STEP (BLOCK_N + VEC)
#define STAGE      (BLOCK_K * (LEFT_STEP + RIGHT_STEP))
/* A part of the result: one vector of rows and one of columns of each work-item. */
#define PART_ROWS    (GRID_Y * VEC)
#define PART_COLUMNS (GRID_X * VEC)
#define PART_STEP    (PART_ROWS + VEC)
#define PART         (PART_COLUMNS * PART_STEP)
#define MEMORY       (STAGES * STAGE > PART ? STAGES * STAGE : PART)
/* Vectors of a row or column in a slice. */
#define PIECES (BLOCK_K / VEC)

/* What a group works on, the same for all its work-items but the last line. */
typedef struct tile {
    __global const clattn_problem_row *row;
    const clattn_base *base;
    __global const void *left, *right;
    int batch, i, j;       /* of the result: element (0, 0) of the tile */
    int rows, columns;     /* those that are there */
    __local float *memory; /* (STAGES, STAGE), then (PART_COLUMNS, PART_STEP) */
    int me, x, y;
} tile;

/* Where a slice begins. */
typedef struct place {
    int piece, k;
} place;

INLINE place next_place(const tile *x, place at)
{
    if (x->row->depth - at.k > BLOCK_K) {
        at.k += BLOCK_K;
    } else {
        at.k = 0;
        at.piece++;
    }
    return at;
}

INLINE int depth_from(const tile *x, place at)
{
    return min(BLOCK_K, x->row->depth - at.k);
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* One of the factors at a slice: its rows, or columns, from the tile's first on, as lines. */
typedef struct factor {
    __global const void *memory;
    uint dtype;
    long begin;              /* element (first line, 0) of the slice */
    long panel, line, inner; /* elements: to the next 16 lines, to the next line, to the next k */
    int lines, depth;        /* those that there are; 0 beyond */
} factor;

INLINE factor left_at(const tile *x, place at)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_LEFT];
    factor of;
    of.memory = x->left;
    of.dtype = x->row->dtype[CLATTN_T_LEFT];
    of.line = t->stride[2];
    of.panel = of.line * CLATTN_PANEL;
    of.inner = t->stride[3];
    of.begin = tensor_begin(x->row, x->base, CLATTN_T_LEFT, x->batch, at.piece) + x->i * of.line +
               at.k * of.inner;
    of.lines = x->rows;
    of.depth = depth_from(x, at);
    return of;
}

/* Columns of panels are side by side. */
INLINE factor right_at(const tile *x, place at)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_RIGHT];
    const int packed = (x->row->product & CLATTN_P_PANELS) != 0;
    factor of;
    of.memory = x->right;
    of.dtype = x->row->dtype[CLATTN_T_RIGHT];
    of.line = packed ? 1 : t->stride[2];
    of.panel = packed ? panel_size(x->row) : of.line * CLATTN_PANEL;
    of.inner = packed ? CLATTN_PANEL : t->stride[3];
    of.begin = tensor_begin(x->row, x->base, CLATTN_T_RIGHT, x->batch, at.piece) +
               x->j / CLATTN_PANEL * of.panel + at.k * of.inner;
    of.lines = x->columns;
    of.depth = depth_from(x, at);
    return of;
}

INLINE long element_at_line(const factor *of, int line, int k)
{
    return of->begin + line / CLATTN_PANEL * of->panel + line % CLATTN_PANEL * of->line +
           k * of->inner;
}

/* A slice of a factor whose elements of a line are side by side, or nothing is. `block`, a
 * constant: lines of the slice. */
INLINE void stage_along(const factor *of, int me, const int block, __local float *to)
{
    const int step = block + VEC;
#pragma unroll 1
    for (uint n = (uint)me; n < (uint)block * PIECES; n += WG_SIZE) {
        const int line = n / PIECES, k = n % PIECES * VEC;
        const int count = line < of->lines ? of->depth - k : 0;
        const long at = element_at_line(of, line, k);
        __local float *at_line = to + k * step + line;
        if (of->inner == 1 && count >= VEC) {
            store_down(load_four(of->memory, at, of->dtype), at_line, step);
            continue;
        }
#pragma unroll 1
        for (int c = 0; c < VEC; c++)
            at_line[c * step] =
                c < count ? load_element(of->memory, at + c * of->inner, of->dtype) : 0.0f;
    }
}

/* The same where lines are side by side. */
INLINE void stage_across(const factor *of, int me, const int block, __local float *to)
{
    const int step = block + VEC;
#pragma unroll 1
    for (uint n = (uint)me; n < (uint)block * PIECES; n += WG_SIZE) {
        const int line = n % (block / VEC) * VEC, k = n / (block / VEC);
        const int count = k < of->depth ? of->lines - line : 0;
        const long at = element_at_line(of, line, k);
        __local float *at_line = to + k * step + line;
        if (count >= VEC) {
            LOCAL_VECTOR(at_line) = load_four(of->memory, at, of->dtype);
            continue;
        }
#pragma unroll 1
        for (int c = 0; c < VEC; c++)
            at_line[c] = c < count ? load_element(of->memory, at + c, of->dtype) : 0.0f;
    }
}

INLINE void stage_factor(const factor *of, int me, const int block, __local float *to)
{
    if (of->line == 1 && of->inner != 1)
        stage_across(of, me, block, to);
    else
        stage_along(of, me, block, to);
}

/* The slices at a place, if there are any, into local memory. */
INLINE void stage_slices(const tile *x, place at, __local float *to)
{
    if (at.piece >= x->row->pieces)
        return;
    const factor left = left_at(x, at);
    stage_factor(&left, x->me, BLOCK_M, to);
    const factor right = right_at(x, at);
    stage_factor(&right, x->me, BLOCK_N, to + BLOCK_K * LEFT_STEP);
}

/* ---- products -------------------------------------------------------------------------------- */

/* A work-item whose rows or columns are all beyond the last multiplies nothing. */
INLINE void multiply_at(const tile *x, place at, __local const float *from,
                        float4 s[COLS * VEC][ROWS / 4])
{
    const slice left = {from + x->y * VEC, LEFT_STEP, PART_ROWS};
    const slice right = {from + BLOCK_K * LEFT_STEP + x->x * VEC, RIGHT_STEP, PART_COLUMNS};
    const int some = x->y * VEC < x->rows && x->x * VEC < x->columns;
    multiply_slices(left, right, some ? depth_from(x, at) : 0, s);
}

/* Ends with a barrier. */
INLINE void sum_products(const tile *x, float4 s[COLS * VEC][ROWS / 4])
{
    place at = {0, 0};
    int stage = 0;
#pragma unroll
    for (int c = 0; c < COLS * VEC; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++)
            s[c][r] = (float4)(0.0f);
    stage_slices(x, at, x->memory);
    barrier(CLK_LOCAL_MEM_FENCE);
    while (at.piece < x->row->pieces) {
        const place next = next_place(x, at);
#if STAGES == 2
        stage_slices(x, next, x->memory + (STAGE - stage));
        multiply_at(x, at, x->memory + stage, s);
        stage = STAGE - stage;
#else
        multiply_at(x, at, x->memory + stage, s);
        barrier(CLK_LOCAL_MEM_FENCE);
        stage_slices(x, next, x->memory);
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
        at = next;
    }
}

/* ---- the result ------------------------------------------------------------------------------ */

/* A part that is in local memory, its first element (i, j) of the tile. */
INLINE void write_part(const tile *x, int i, int j, __global const void *addend,
                       __global void *result)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_RESULT];
    const int by_rows = t->stride[1] == 1 && t->stride[2] != 1;
#pragma unroll 1
    for (uint n = (uint)x->me; n < PART_ROWS * PART_COLUMNS; n += WG_SIZE) {
        const int r = by_rows ? n % PART_ROWS : n / PART_COLUMNS;
        const int c = by_rows ? n / PART_ROWS : n % PART_COLUMNS;
        if (i + r < x->rows && j + c < x->columns)
            write_sum(x->row, x->base, addend, result, x->batch, x->i + i + r, x->j + j + c,
                      x->memory[c * PART_STEP + r]);
    }
}

INLINE void write_tile(const tile *x, float4 s[COLS * VEC][ROWS / 4], __global const void *addend,
                       __global void *result)
{
#pragma unroll
    for (int c = 0; c < COLS; c++)
#pragma unroll
        for (int r = 0; r < ROWS / 4; r++) {
#pragma unroll
            for (int lane = 0; lane < VEC; lane++)
                LOCAL_VECTOR(x->memory + (x->x * VEC + lane) * PART_STEP + x->y * VEC) =
                    s[c * VEC + lane][r];
            barrier(CLK_LOCAL_MEM_FENCE);
            write_part(x, r * PART_ROWS, c * PART_COLUMNS, addend, result);
            barrier(CLK_LOCAL_MEM_FENCE);
        }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
linear_tile(__global const void *left, __global const void *right, __global const void *addend,
            __global void *result, const clattn_base base, __global const clattn_problem_row *rows,
            __global const clattn_work_item *items, uint first, uint count)
{
    __local float memory[MEMORY] __attribute__((aligned(16)));
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        const uint me = (uint)get_local_id(0);
        tile x;
        x.row = &rows[item.row];
        x.base = &base;
        x.left = left;
        x.right = right;
        x.batch = item.batch;
        x.i = item.q_begin;
        x.j = item.k_begin;
        x.rows = item.q_end - item.q_begin;
        x.columns = item.k_end - item.k_begin;
        x.memory = memory;
        x.me = me;
        x.x = me / GRID_Y;
        x.y = me % GRID_Y;
        float4 s[COLS * VEC][ROWS / 4];
        sum_products(&x, s);
        write_tile(&x, s, addend, result);
    }
}
