/* Linear projections and their gradients for devices whose work-item is a core with vectors: an
 * item is a rectangle of the result, made of register tiles of ROWS by COLS vectors, block_k of the
 * depth at a time. Every element is summed in ascending order, however the result is cut. */
#define PANEL_VECTORS (CLATTN_PANEL / VEC)
#include "common/panels.h"
#include "common/prefetch.h"
#include "common/product.h"

/* ROWS: rows of the register tile. */
#ifndef ROWS
#define ROWS 6
#endif
/* BLOCK_M: most rows of an item; a multiple of ROWS and VEC. */
#ifndef BLOCK_M
#define BLOCK_M 96
#endif
/* BLOCK_N: most columns of an item; a multiple of COLS * VEC. */
#ifndef BLOCK_N
#define BLOCK_N 512
#endif
/* BLOCK_K: depth of a block of the left matrix; a multiple of 16. */
#ifndef BLOCK_K
#define BLOCK_K 160
#endif
/* Lines that are prefetched with each tile. */
#define AHEAD 24
#if BLOCK_M % ROWS != 0 || BLOCK_M % VEC != 0 || BLOCK_N % (COLS * VEC) != 0 || BLOCK_K % 16 != 0
#error "BLOCK_M must be a multiple of ROWS and VEC, BLOCK_N of COLS * VEC, BLOCK_K of 16"
#endif
#if (COLS * VEC) % CLATTN_PANEL != 0
#error "COLS * VEC must be a multiple of 16"
#endif

/* An item: rows and columns of the result from i and j on. */
typedef struct rectangle {
    __global const clattn_problem_row *row;
    const clattn_base *base;
    int batch, i, j, rows, columns;
    int padded;    /* rows, rounded up to whole tiles and to whole vectors */
    float *left;   /* (BLOCK_M, BLOCK_K) rows beyond `rows` are 0 */
    float *result; /* (BLOCK_M, BLOCK_N) */
} rectangle;

/* Rows r of the left matrix, `depth` elements of each from `begin` on, 0 in rows beyond the last.
 */
INLINE void load_rows(const rectangle *x, __global const void *left, long begin, int depth)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_LEFT];
    const uint dtype = x->row->dtype[CLATTN_T_LEFT];
    for (int r = 0; r < x->padded; r++) {
        const int some = r < x->rows ? depth : 0;
        for (int k = 0; k < depth; k += VEC)
            store_vector(gather_elements(left, begin + r * t->stride[2] + k * t->stride[3],
                                         t->stride[3], some - k, dtype),
                         x->left + r * BLOCK_K + k);
    }
}

/* The same where rows are side by side in memory: a line is read from its begin to its end, because
 * lines a power of two apart are in each other's place in a cache. */
INLINE void load_columns(const rectangle *x, __global const void *left, long begin, int depth)
{
    const long step = x->row->tensor[CLATTN_T_LEFT].stride[3];
    const uint dtype = x->row->dtype[CLATTN_T_LEFT];
    vfloat square[VEC];
    for (int k = 0; k < depth; k += VEC)
        for (int r = 0; r < x->padded; r += VEC) {
#pragma unroll
            for (int n = 0; n < VEC; n++)
                square[n] = gather_elements(left, begin + r + (k + n) * step, 1,
                                            k + n < depth ? x->rows - r : 0, dtype);
            transpose(square);
#pragma unroll
            for (int n = 0; n < VEC; n++)
                store_vector(square[n], x->left + (r + n) * BLOCK_K + k);
        }
}

/* Depth k to k + depth - 1 of piece p of the left matrix. */
OUTLINE void load_left(const rectangle *x, __global const void *left, int p, int k, int depth)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_LEFT];
    const long begin = tensor_begin(x->row, x->base, CLATTN_T_LEFT, x->batch, p) +
                       x->i * t->stride[2] + k * t->stride[3];
    if (t->stride[2] == 1 && t->stride[3] != 1)
        load_columns(x, left, begin, depth);
    else
        load_rows(x, left, begin, depth);
}

/* Lines of `rows` by `columns` elements of a tensor, whichever of them are side by side. */
INLINE lines lines_of(__global const void *from, long begin, uint dtype, long row_step, long step,
                      int rows, int columns)
{
    const int size = (int)size_of(dtype);
    const size_t at = (size_t)element_at(from, begin, dtype);
    if (step == 1)
        return lines_at(at, row_step * size, rows, columns * size);
    if (row_step == 1)
        return lines_at(at, step * size, columns, rows * size);
    return no_lines();
}

/* What comes after the block that ends before depth k of piece p: the left matrix's next block, or
 * where the result goes. */
INLINE lines next_lines(const rectangle *x, __global const void *left, __global const void *result,
                        int p, int k)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_LEFT];
    const int depth = min(BLOCK_K, x->row->depth - k);
    if (depth > 0)
        return lines_of(left,
                        tensor_begin(x->row, x->base, CLATTN_T_LEFT, x->batch, p) +
                            x->i * t->stride[2] + k * t->stride[3],
                        x->row->dtype[CLATTN_T_LEFT], t->stride[2], t->stride[3], x->rows, depth);
    t = &x->row->tensor[CLATTN_T_RESULT];
    return lines_of(result, result_at(x->row, x->base, x->batch, x->i, x->j),
                    x->row->dtype[CLATTN_T_RESULT], t->stride[1], t->stride[2], x->rows,
                    x->columns);
}

/* c (ROWS, cols * VEC) += a (ROWS, depth) times panels (depth, cols * VEC), which are `step`
 * elements apart; `cols` is a constant. */
INLINE void tile_product(const float *a, int depth, __global const float *panel, long step,
                         lines *ahead, float *c, const int cols)
{
    for (int n = 0; n < AHEAD && ahead->left > 0; n++)
        prefetch_line(ahead);
    vfloat sum[ROWS][COLS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int n = 0; n < cols; n++)
            sum[r][n] = load_vector(c + r * BLOCK_N + n * VEC);
    for (int k = 0; k < depth; k++) {
        vfloat x[COLS];
#pragma unroll
        for (int n = 0; n < cols; n++)
            x[n] = load_vector(panel + n / PANEL_VECTORS * step + k * CLATTN_PANEL +
                               n % PANEL_VECTORS * VEC);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const vfloat w = a[r * BLOCK_K + k];
#pragma unroll
            for (int n = 0; n < cols; n++)
                sum[r][n] = fma(w, x[n], sum[r][n]);
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int n = 0; n < cols; n++)
            store_vector(sum[r][n], c + r * BLOCK_N + n * VEC);
}

/* The loaded block of the left matrix times the panels of the item's columns, of which `panel` is
 * the first. */
INLINE void multiply(const rectangle *x, int depth, __global const float *panel, long step,
                     lines ahead)
{
    int j = 0;
    for (; j + (COLS - 1) * VEC < x->columns; j += COLS * VEC)
        for (int r = 0; r < x->rows; r += ROWS)
            tile_product(x->left + r * BLOCK_K, depth, panel + j / CLATTN_PANEL * step, step,
                         &ahead, x->result + r * BLOCK_N + j, COLS);
    for (; j < x->columns; j += CLATTN_PANEL)
        for (int r = 0; r < x->rows; r += ROWS)
            tile_product(x->left + r * BLOCK_K, depth, panel + j / CLATTN_PANEL * step, step,
                         &ahead, x->result + r * BLOCK_N + j, PANEL_VECTORS);
}

/* `count` elements of the result side by side or `step` apart: sums with B added, if asked to what
 * is there. */
INLINE void write_vector(const rectangle *x, vfloat sum, int count, __global void *result, long at,
                         long step)
{
    const uint dtype = x->row->dtype[CLATTN_T_RESULT];
    if (x->row->product & CLATTN_P_ADD)
        sum += gather_elements(result, at, step, count, dtype);
    if (step == 1 && count >= VEC) {
        store_elements(sum, result, at, dtype);
        return;
    }
    float lane[VEC];
    store_vector(sum, lane);
    for (int n = 0; n < min(count, VEC); n++)
        store_element(lane[n], result, at + n * step, dtype);
}

/* VEC elements of B from `index` on, of which `count` are there. */
INLINE vfloat addends(const rectangle *x, __global const void *addend, int index, int count)
{
    const long step = x->row->tensor[CLATTN_T_B].stride[0];
    return gather_elements(addend, x->base->offset[CLATTN_T_B] + index * step, step, count,
                           x->row->dtype[CLATTN_T_B]);
}

INLINE void write_rows(const rectangle *x, __global const void *addend, __global void *result)
{
    const long step = x->row->tensor[CLATTN_T_RESULT].stride[2];
    for (int r = 0; r < x->rows; r++)
        for (int j = 0; j < x->columns; j += VEC) {
            vfloat sum = load_vector(x->result + r * BLOCK_N + j);
            if (x->row->product & CLATTN_P_OF_COLUMNS)
                sum += addends(x, addend, x->j + j, x->columns - j);
            if (x->row->product & CLATTN_P_OF_ROWS)
                sum += addend_at(x->row, x->base, addend, x->i + r);
            write_vector(x, sum, x->columns - j, result,
                         result_at(x->row, x->base, x->batch, x->i + r, x->j + j), step);
        }
}

/* The same where rows of the result are side by side in memory. */
INLINE void write_columns(const rectangle *x, __global const void *addend, __global void *result)
{
    vfloat square[VEC];
    for (int j = 0; j < x->columns; j += VEC)
        for (int r = 0; r < x->rows; r += VEC) {
#pragma unroll
            for (int n = 0; n < VEC; n++)
                square[n] = load_vector(x->result + (r + n) * BLOCK_N + j);
            transpose(square);
            for (int n = 0; n < min(VEC, x->columns - j); n++) {
                vfloat sum = square[n];
                if (x->row->product & CLATTN_P_OF_ROWS)
                    sum += addends(x, addend, x->i + r, x->rows - r);
                if (x->row->product & CLATTN_P_OF_COLUMNS)
                    sum += addend_at(x->row, x->base, addend, x->j + j + n);
                write_vector(x, sum, x->rows - r, result,
                             result_at(x->row, x->base, x->batch, x->i + r, x->j + j + n), 1);
            }
        }
}

OUTLINE void write_result(const rectangle *x, __global const void *addend, __global void *result)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_RESULT];
    if (t->stride[1] == 1 && t->stride[2] != 1)
        write_columns(x, addend, result);
    else
        write_rows(x, addend, result);
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
linear_simd(__global const void *left, __global const float *panels, __global const void *addend,
            __global void *result, const clattn_base base, __global const clattn_problem_row *rows,
            __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    float block_left[BLOCK_M * BLOCK_K] __attribute__((aligned(64)));
    float block_result[BLOCK_M * BLOCK_N] __attribute__((aligned(64)));
    rectangle x;
    x.row = &rows[item.row];
    x.base = &base;
    x.batch = item.batch;
    x.i = item.q_begin;
    x.j = item.k_begin;
    x.rows = item.q_end - item.q_begin;
    x.columns = item.k_end - item.k_begin;
    x.padded = (x.rows + ROWS - 1) / ROWS * ROWS;
    x.padded = (x.padded + VEC - 1) / VEC * VEC;
    x.left = block_left;
    x.result = block_result;
    const long step = panel_size(x.row);
    const int width = (x.columns + COLS * VEC - 1) / (COLS * VEC) * (COLS * VEC);
    for (int r = 0; r < x.padded; r++)
        for (int j = 0; j < width; j += VEC)
            store_vector((vfloat)(0.0f), block_result + r * BLOCK_N + j);
    panels += tensor_begin(x.row, &base, CLATTN_T_K_PANELS, x.batch, 0) + x.j / CLATTN_PANEL * step;
    for (int p = 0; p < x.row->pieces; p++)
        for (int k = 0, depth = 0; k < x.row->depth; k += depth) {
            depth = min(BLOCK_K, x.row->depth - k); /* k never passes a depth of 2^31-1 */
            load_left(&x, left, p, k, depth);
            multiply(&x, depth, panels + ((long)p * x.row->depth + k) * CLATTN_PANEL, step,
                     next_lines(&x, left, result, p, k + depth));
        }
    write_result(&x, addend, result);
}
