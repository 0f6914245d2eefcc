/* Linear projections and their gradients for devices whose work-item is a core with vectors: an
 * item is a rectangle of the result, made of register tiles of ROWS by COLS vectors, block_k of the
 * depth at a time. Every element is summed in ascending order, however the result is cut.
 *
 * Sums wait in private memory between two blocks of the depth. After the last one a tile goes to
 * the result at once, while the first cache has it, if it is whole and the result has rows of
 * floats; what is left goes there at the end. */
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
    int padded;                   /* rows, rounded up to whole tiles and to whole vectors */
    int direct_rows;              /* with `direct_columns`: those of the tiles that go to */
    int direct_columns;           /* the result at once; 0: none do */
    float *left;                  /* (BLOCK_M, BLOCK_K) rows from `rows` to `padded` are 0 */
    float *sums;                  /* (BLOCK_M, BLOCK_N) */
    const float *none;            /* a line of a tile: 0 */
    __global const float *addend; /* of the columns, where tiles go to the result; 0: none */
    __global float *result;       /* element (i, j) there, the next row `step` further */
    long step;
} rectangle;

/* A block of the depth: `depth` of the left matrix, and of the panels from `panel` on, which are
 * `step` elements apart. */
typedef struct block {
    int depth, first, last;
    __global const float *panel;
    long step;
} block;

/* Whole vectors of rows of floats that are side by side; how many elements of each that were. */
INLINE int load_vectors(const rectangle *x, __global const float *left, long step, int depth)
{
    const int whole = depth / VEC * VEC;
    for (int r = 0; r < x->rows; r++)
        for (int k = 0; k < whole; k += VEC)
            store_vector(load_vector(left + r * step + k), x->left + r * BLOCK_K + k);
    return whole;
}

/* Rows of the left matrix, `depth` elements of each from `begin` on. */
INLINE void load_rows(const rectangle *x, __global const void *left, long begin, int depth)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_LEFT];
    const uint dtype = x->row->dtype[CLATTN_T_LEFT];
    int done = 0;
    if (dtype == CLATTN_D_F32 && t->stride[3] == 1)
        done = load_vectors(x, (__global const float *)left + begin, t->stride[2], depth);
    for (int r = 0; r < x->rows; r++)
        for (int k = done; k < depth; k += VEC)
            store_vector(gather_elements(left, begin + r * t->stride[2] + k * t->stride[3],
                                         t->stride[3], depth - k, dtype),
                         x->left + r * BLOCK_K + k);
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
 * where the result goes, unless tiles bring that themselves. */
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
    if (x->direct_columns > 0)
        return no_lines();
    t = &x->row->tensor[CLATTN_T_RESULT];
    return lines_of(result, result_at(x->row, x->base, x->batch, x->i, x->j),
                    x->row->dtype[CLATTN_T_RESULT], t->stride[1], t->stride[2], x->rows,
                    x->columns);
}

/* The tile of rows from r and columns from j on: sums (ROWS, cols * VEC) += left (ROWS, depth)
 * times panels (depth, cols * VEC); `cols` is a constant. No condition comes between the sums'
 * way into registers and out of them: they would stay in memory. */
INLINE void tile_product(const rectangle *x, const block *b, int r, int j, lines *ahead,
                         const int cols)
{
    const float *left = x->left + r * BLOCK_K;
    __global const float *panel = b->panel + j / CLATTN_PANEL * b->step;
    const long step = b->step;
    const int depth = b->depth;
    float *to = x->sums + r * BLOCK_N + j;
    const float *from = b->first ? x->none : to;
    const int from_step = b->first ? 0 : BLOCK_N;
    for (int n = 0; n < AHEAD && ahead->left > 0; n++)
        prefetch_line(ahead);
    vfloat sum[ROWS][COLS];
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
        for (int n = 0; n < cols; n++)
            sum[m][n] = load_vector(from + m * from_step + n * VEC);
    for (int k = 0; k < depth; k++) {
        vfloat y[COLS];
#pragma unroll
        for (int n = 0; n < cols; n++)
            y[n] = load_vector(panel + n / PANEL_VECTORS * step + k * CLATTN_PANEL +
                               n % PANEL_VECTORS * VEC);
#pragma unroll
        for (int m = 0; m < ROWS; m++) {
            const vfloat w = left[m * BLOCK_K + k];
#pragma unroll
            for (int n = 0; n < cols; n++)
                sum[m][n] = fma(w, y[n], sum[m][n]);
        }
    }
#pragma unroll
    for (int m = 0; m < ROWS; m++)
#pragma unroll
        for (int n = 0; n < cols; n++)
            store_vector(sum[m][n], to + m * BLOCK_N + n * VEC);
}

/* The tile's place in the result, where it goes there at once. */
INLINE int is_direct(const rectangle *x, const block *b, int r, int j, const int cols)
{
    return b->last && r + ROWS <= x->direct_rows && j + cols * VEC <= x->direct_columns;
}

OUTLINE void bring_result(const rectangle *x, int r, int j, int cols)
{
    const size_t at = (size_t)(x->result + r * x->step + j);
    for (int m = 0; m < ROWS; m++)
        for (int byte = 0; byte < cols * VEC * 4; byte += LINE)
            PREFETCH(at + m * x->step * 4 + byte);
}

/* The tile's sums, which the first cache still has, to the result; in the order of write_vector. */
OUTLINE void give_result(const rectangle *x, int r, int j, int cols)
{
    const int adds = (x->row->product & CLATTN_P_ADD) != 0;
    for (int m = 0; m < ROWS; m++) {
        const float *from = x->sums + (r + m) * BLOCK_N + j;
        __global float *to = x->result + (r + m) * x->step + j;
        for (int n = 0; n < cols; n++) {
            vfloat sum = load_vector(from + n * VEC);
            if (x->addend)
                sum += load_vector(x->addend + j + n * VEC);
            if (adds)
                sum += load_vector(to + n * VEC);
            store_vector(sum, to + n * VEC);
        }
    }
}

INLINE void tile(const rectangle *x, const block *b, int r, int j, lines *ahead, const int cols)
{
    const int is_last = is_direct(x, b, r, j, cols);
    if (is_last)
        bring_result(x, r, j, cols);
    tile_product(x, b, r, j, ahead, cols);
    if (is_last)
        give_result(x, r, j, cols);
}

/* The loaded block of the left matrix times the panels of the item's columns. */
INLINE void multiply(const rectangle *x, const block *b, lines ahead)
{
    int j = 0;
    for (; j + (COLS - 1) * VEC < x->columns; j += COLS * VEC)
        for (int r = 0; r < x->rows; r += ROWS)
            tile(x, b, r, j, &ahead, COLS);
    for (; j < x->columns; j += CLATTN_PANEL)
        for (int r = 0; r < x->rows; r += ROWS)
            tile(x, b, r, j, &ahead, PANEL_VECTORS);
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
    return gather_elements(addend, addend_begin(x->row, x->base, index), step, count,
                           x->row->dtype[CLATTN_T_B]);
}

INLINE void write_rows(const rectangle *x, __global const void *addend, __global void *result)
{
    const long step = x->row->tensor[CLATTN_T_RESULT].stride[2];
    for (int r = 0; r < x->rows; r++)
        for (int j = r < x->direct_rows ? x->direct_columns : 0; j < x->columns; j += VEC) {
            vfloat sum = load_vector(x->sums + r * BLOCK_N + j);
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
                square[n] = load_vector(x->sums + (r + n) * BLOCK_N + j);
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

/* What tiles haven't written. */
OUTLINE void write_result(const rectangle *x, __global const void *addend, __global void *result)
{
    __global const clattn_tensor_row *t = &x->row->tensor[CLATTN_T_RESULT];
    if (t->stride[1] == 1 && t->stride[2] != 1)
        write_columns(x, addend, result);
    else
        write_rows(x, addend, result);
}

/* What whole tiles and vectors have beyond the last row. */
INLINE void clear_padding(const rectangle *x)
{
    for (int r = x->rows; r < x->padded; r++)
        for (int k = 0; k < BLOCK_K; k += VEC)
            store_vector((vfloat)(0.0f), x->left + r * BLOCK_K + k);
}

/* Sums that no product begins: those of an empty depth, and of rows behind the last tile. */
INLINE void clear_sums(const rectangle *x)
{
    const int is_empty = x->row->pieces <= 0 || x->row->depth <= 0;
    for (int r = is_empty ? 0 : (x->rows + ROWS - 1) / ROWS * ROWS; r < x->padded; r++)
        for (int j = 0; j < x->columns; j += VEC)
            store_vector((vfloat)(0.0f), x->sums + r * BLOCK_N + j);
}

/* Which tiles go to the result without a detour: whole ones, of rows of floats. */
INLINE void find_direct(rectangle *x, __global const void *addend, __global void *result)
{
    __global const clattn_problem_row *row = x->row;
    __global const clattn_tensor_row *to = &row->tensor[CLATTN_T_RESULT];
    const uint adds = row->product & (CLATTN_P_OF_ROWS | CLATTN_P_OF_COLUMNS);
    const int is_plain_addend =
        adds == 0 || (adds == CLATTN_P_OF_COLUMNS && row->dtype[CLATTN_T_B] == CLATTN_D_F32 &&
                      row->tensor[CLATTN_T_B].stride[0] == 1);
    x->direct_rows = x->direct_columns = 0;
    if (row->dtype[CLATTN_T_RESULT] != CLATTN_D_F32 || to->stride[2] != 1 || !is_plain_addend ||
        row->pieces <= 0 || row->depth <= 0)
        return;
    x->direct_rows = x->rows / ROWS * ROWS;
    const int rest = x->columns % (COLS * VEC); /* a tile, or panels; see multiply */
    x->direct_columns =
        x->columns - rest + (rest > (COLS - 1) * VEC ? 0 : rest / CLATTN_PANEL * CLATTN_PANEL);
    x->addend = adds ? (__global const float *)addend + addend_begin(row, x->base, x->j) : 0;
    x->result = (__global float *)result + result_at(row, x->base, x->batch, x->i, x->j);
    x->step = to->stride[1];
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
    float block_sums[BLOCK_M * BLOCK_N] __attribute__((aligned(64)));
    float no_sums[COLS * VEC] __attribute__((aligned(64)));
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
    x.sums = block_sums;
    x.none = no_sums;
    for (int j = 0; j < COLS * VEC; j += VEC)
        store_vector((vfloat)(0.0f), no_sums + j);
    clear_padding(&x);
    clear_sums(&x);
    find_direct(&x, addend, result);
    block b = {.step = panel_size(x.row)};
    panels +=
        tensor_begin(x.row, &base, CLATTN_T_K_PANELS, x.batch, 0) + x.j / CLATTN_PANEL * b.step;
    for (int p = 0; p < x.row->pieces; p++)
        for (int k = 0; k < x.row->depth; k += b.depth) {
            b.depth = min(BLOCK_K, x.row->depth - k); /* k never passes a depth of 2^31-1 */
            b.first = p == 0 && k == 0;
            b.last = p == x.row->pieces - 1 && b.depth == x.row->depth - k;
            b.panel = panels + ((long)p * x.row->depth + k) * CLATTN_PANEL;
            load_left(&x, left, p, k, b.depth);
            multiply(&x, &b, next_lines(&x, left, result, p, k + b.depth));
        }
    write_result(&x, addend, result);
}
