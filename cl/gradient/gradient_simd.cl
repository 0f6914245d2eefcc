/* Gradients for devices whose work-item is a core with vectors: one work-item a group. An item is a
 * range of keys of one key/value head. It goes through the range in blocks of keys, and through all
 * queries of the heads that share them, whose scores it computes once more: five products for each
 * pair (Dao et al. 2022). What keys and values get is complete then; what queries get of the range
 * is written to GRADIENT_PARTS, which gradient_parts sums. */
#include "common/simd_gradient.h"

/* KEY_ROWS: keys of a register tile of P^T dO; divides BLOCK_N. */
#define KEY_ROWS 4

/* Where past and new rows of a key/value head are. */
#define HEAD_ROWS(past, PAST, now, NOW)                                                            \
    rows_init(row, &base, past, CLATTN_T_##PAST, now, CLATTN_T_##NOW, b, kv, own.first, pages)

/* ---- products -------------------------------------------------------------------------------- */

/* to (KEY_ROWS, width) += w^T (KEY_ROWS, rows) x (rows, cols * VEC); cols is a constant. */
INLINE void transposed_tile(const float *w, int rows, const float *x, __global float *to, int width,
                            const int cols)
{
    vfloat sum[KEY_ROWS][VALUE_COLS];
#pragma unroll
    for (int r = 0; r < KEY_ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            sum[r][c] = load_vector(to + r * width + c * VEC);
    for (int i = 0; i < rows; i++) {
        vfloat y[VALUE_COLS];
#pragma unroll
        for (int c = 0; c < cols; c++)
            y[c] = load_vector(x + i * DIM_MAX + c * VEC);
#pragma unroll
        for (int r = 0; r < KEY_ROWS; r++) {
            const vfloat factor = w[i * SCORE_STEP + r];
#pragma unroll
            for (int c = 0; c < cols; c++)
                sum[r][c] = fma(factor, y[c], sum[r][c]);
        }
    }
#pragma unroll
    for (int r = 0; r < KEY_ROWS; r++)
#pragma unroll
        for (int c = 0; c < cols; c++)
            store_vector(sum[r][c], to + r * width + c * VEC);
}

/* to (keys, width) += w^T (keys, rows) x (rows, width) */
INLINE void add_transposed(const float *w, int rows, int keys, const float *x, __global float *to,
                           int width)
{
    int d = 0;
    for (; d + VALUE_COLS * VEC <= width; d += VALUE_COLS * VEC)
        for (int j = 0; j < keys; j += KEY_ROWS)
            transposed_tile(w + j, rows, x + d, to + j * width + d, width, VALUE_COLS);
    for (; d < width; d += VEC)
        for (int j = 0; j < keys; j += KEY_ROWS)
            transposed_tile(w + j, rows, x + d, to + j * width + d, width, 1);
}

/* Of columns [c, end) of the block of keys at `start`. */
INLINE void add_products(const gradient *x, int start, int c, int end)
{
    const int first = start + c - x->start;
    const block *b = &x->b;
    __global const float *k = x->k_rows + first * x->k_width;
    add_transposed(b->p + c, b->rows, end - c, x->g, x->dv + first * x->v_width, x->v_width);
    add_transposed(x->ds + c, b->rows, end - c, b->q, x->dk + first * x->k_width, x->k_width);
    for (int tile = 0; tile < b->tiled_rows; tile += ROWS) {
        const float *ds = x->ds + tile * SCORE_STEP + c;
        float *o = x->o + tile * DIM_MAX;
        int d = 0;
        for (; d + VALUE_COLS * VEC <= x->k_width; d += VALUE_COLS * VEC)
            value_tile(ds, end - c, k + d, x->k_width, o + d, VALUE_COLS);
        for (; d < x->k_width; d += VEC)
            value_tile(ds, end - c, k + d, x->k_width, o + d, 1);
    }
}

/* The same, invisible pairs left out. */
OUTLINE void add_products_carefully(const gradient *x, int start, int c, int end)
{
    const block *b = &x->b;
    for (int r = 0; r < b->rows; r++)
        for (int j = c; j < end; j++) {
            const float p = b->p[r * SCORE_STEP + j], ds = x->ds[r * SCORE_STEP + j];
            const int key = start + j - x->start;
            for (int d = 0; p > 0.0f && d < b->of.row->value_dim; d++)
                x->dv[key * x->v_width + d] += p * x->g[r * DIM_MAX + d];
            if (p == INVISIBLE)
                continue;
            if (p != p)
                for (int d = 0; d < b->of.row->value_dim; d++)
                    x->dv[key * x->v_width + d] = p;
            for (int d = 0; d < b->of.row->head_dim; d++) {
                x->dk[key * x->k_width + d] += ds * b->q[r * DIM_MAX + d];
                x->o[r * DIM_MAX + d] += ds * x->k_rows[key * x->k_width + d];
            }
        }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

INLINE int memory_is_finite(__global const float *x, int count)
{
    vint most = 0;
    for (int d = 0; d < count; d += VEC)
        most = larger_magnitude(load_vector(x + d), most);
    return is_finite_magnitude(most);
}

INLINE void clear_rows(float *x, int rows, int width)
{
    for (int r = 0; r < rows; r++)
        for (int d = 0; d < width; d += VEC)
            store_vector((vfloat)0.0f, x + r * DIM_MAX + d);
}

INLINE void clear_memory(__global float *x, int count)
{
    for (int d = 0; d < count; d += VEC)
        store_vector((vfloat)0.0f, x + d);
}

/* Results of the block's queries to the range's part, or added to it. */
INLINE void add_part(const gradient *x, __global float *part, int is_first)
{
    for (int r = 0; r < x->b.rows; r++)
        for (int d = 0; d < x->k_width; d += VEC) {
            __global float *to = part + (x->b.q_begin + r) * (long)x->k_width + d;
            const vfloat o = load_vector(x->o + r * DIM_MAX + d);
            store_vector(is_first ? o : load_vector(to) + o, to);
        }
}

/* The block of queries against the keys from x->start to `end`. */
INLINE void attend(gradient *x, int from, int to)
{
    const int finite_keys = !x->careful;
    const int finite = finite_keys && rows_are_finite(x->b.q, x->b.rows, x->k_width) &&
                       rows_are_finite(x->g, x->b.rows, x->v_width);
    x->careful = !finite;
    for (int start = from / BLOCK_N * BLOCK_N; start < to; start += BLOCK_N) {
        run r = run_init();
        take_factors(x, start);
        const int begin = max(from, start), end = min(to, start + BLOCK_N);
        while (next_run(&x->b.of, &r, x->b.q_begin, begin, end)) {
            const int c = r.begin / PANEL * PANEL - start;
            const int c_end = (r.end - start + PANEL - 1) / PANEL * PANEL;
            if (!pair_block(x, &r, start, start + c, r.end, 0))
                continue;
            if (x->careful)
                add_products_carefully(x, start, c, min(c_end, end - start));
            else
                add_products(x, start, c, c_end);
        }
    }
    x->careful = !finite_keys;
}

/* Keys and values of a block into its scratch memory; what they get begins with 0. */
INLINE void pack_block(gradient *x, const rows_of *keys, const rows_of *values, int end,
                       __global float *memory)
{
    __global const clattn_problem_row *row = x->b.of.row;
    const int room = row->key_block, start = x->start;
    const long k_step = (long)row->head_dim * PANEL, v_step = (long)row->value_dim * PANEL;
    __global float *k_rows = memory + room * x->k_width;
    __global float *v_panels = k_rows + room * x->k_width;
    x->dk = v_panels + room * x->v_width;
    x->dv = x->dk + room * x->k_width;
    pack_panels(keys, start, end, row->head_dim, memory - start / PANEL * k_step, k_step);
    pack_panels(values, start, end, row->value_dim, v_panels - start / PANEL * v_step, v_step);
    pack_rows(keys, start, end, row->head_dim, k_rows - start * (long)x->k_width, x->k_width);
    clear_memory(k_rows + (end - start) * x->k_width,
                 min(room - (end - start), PANEL - 1) * x->k_width);
    clear_memory(x->dk, room * x->k_width);
    clear_memory(x->dv, room * x->v_width);
    x->b.k_panels = memory - start / PANEL * k_step;
    x->b.panel_step = k_step;
    x->v_panels = v_panels - start / PANEL * v_step;
    x->k_rows = k_rows;
    x->careful = !memory_is_finite(k_rows, (end - start) * x->k_width) ||
                 !memory_is_finite(v_panels, (end - start + PANEL - 1) / PANEL * (int)v_step);
}

/* Rows of keys or values, from the block or 0, to where they belong; see store_row of the reference
 * kernels. */
INLINE void store_keys(__global const float *from, int width, int dim, const rows_of *to, int j,
                       int own, uint bits, uint gradients)
{
    const int past = j < to->n_past ? 0 : 1;
    if (!(gradients & (past ? bits >> 16 : bits & 0xffff)))
        return;
    float row[DIM_MAX];
    for (int d = 0; d < width; d += VEC)
        store_vector(own ? load_vector(from + d) : (vfloat)0.0f, row + d);
    write_row(row, dim, 1.0f, (__global void *)to->memory[past],
              to->begin[past] + j * to->step[past], to->inner[past], to->dtype[past]);
}

/* Rows of a block of keys, or 0, to GRAD_K and GRAD_V and those of past ones. */
OUTLINE void store_block(const gradient *x, int end, int own, const rows_of *to_k,
                         const rows_of *to_v)
{
    __global const clattn_problem_row *row = x->b.of.row;
    for (int j = x->start; j < end; j++) {
        const int n = j - x->start;
        store_keys(x->dk + n * x->k_width, x->k_width, row->head_dim, to_k, j, j < own,
                   CLATTN_G_PAST_K | CLATTN_G_K << 16, row->gradients);
        store_keys(x->dv + n * x->v_width, x->v_width, row->value_dim, to_v, j, j < own,
                   CLATTN_G_PAST_V | CLATTN_G_V << 16, row->gradients);
    }
}

/* What all queries of a head are read from, and where their results go. */
typedef struct head {
    __global const void *q, *grad_out;
    long q_begin, grad_begin;            /* elements (batch, head, 0, 0) */
    __global const float *gradient_rows; /* element (batch, head, 0, 0) */
    __global float *part;                /* of this range: query 0 of the head */
    int is_first;                        /* the first block of keys of the range */
} head;

/* All queries of a head against the block of keys, which ends at `end`. */
OUTLINE void attend_head(gradient *x, const head *of, int end)
{
    __global const clattn_problem_row *row = x->b.of.row;
    for (int i = 0, next; i < x->b.of.queries.count; i = next) {
        next = (int)min((long)i + BLOCK_M, (long)x->b.of.queries.count);
        if (row->flags & CLATTN_F_BLOCKS) /* one list for all queries of a block */
            next = (int)min((long)next, ((long)i / row->block_q + 1) * row->block_q);
        set_rows(&x->b, i, next - i);
        const int from = max(keys_from(&x->b.of, i), x->start);
        const int to = min(keys_to(&x->b.of, next - 1), end);
        if (from >= to && !of->is_first)
            continue;
        clear_rows(x->o, x->b.tiled_rows, x->k_width);
        if (from < to) {
            load_queries(&x->b, of->q, of->q_begin);
            load_rows(&x->b, of->grad_out, of->grad_begin, CLATTN_T_GRAD_OUT, row->value_dim, x->g);
            load_row_values(x, of->gradient_rows);
            attend(x, from, to);
        }
        add_part(x, of->part, of->is_first);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gradient_simd(__global const void *q, __global const void *k, __global const void *past_k,
              __global const void *v, __global const void *past_v, __global const void *grad_out,
              __global const float *gradient_rows, __global float *gradient_block,
              __global float *gradient_parts, __global void *grad_k, __global void *grad_past_k,
              __global void *grad_v, __global void *grad_past_v, OPTION_PARAMETERS,
              const clattn_base base, __global const clattn_problem_row *rows,
              __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, kv = item.head;
    BLOCK_ARRAYS;
    GRADIENT_ARRAYS;
    float block_o[BLOCK_M * DIM_MAX] __attribute__((aligned(64)));
    gradient x = GRADIENT_OF_ARRAYS;
    x.o = block_o;
    x.b.of = pairs_init(row, &base, b, kv * row->group, OPTION_ARGUMENTS);
    x.k_width = (row->head_dim + VEC - 1) / VEC * VEC;
    x.v_width = (row->value_dim + VEC - 1) / VEC * VEC;
    const tokens own = x.b.of.keys;
    const rows_of keys = HEAD_ROWS(past_k, PAST_K, k, K);
    const rows_of values = HEAD_ROWS(past_v, PAST_V, v, V);
    const rows_of to_k = HEAD_ROWS(grad_past_k, GRAD_PAST_K, grad_k, GRAD_K);
    const rows_of to_v = HEAD_ROWS(grad_past_v, GRAD_PAST_V, grad_v, GRAD_V);
    __global float *memory =
        gradient_block + own_begin(row, &base, CLATTN_T_GRADIENT_BLOCK, item.number);
    for (x.start = item.k_begin; x.start < item.k_end; x.start += row->key_block) {
        const int block_end = min(x.start + row->key_block, item.k_end);
        const int end = min(block_end, own.count);
        if (x.start < end)
            pack_block(&x, &keys, &values, end, memory);
        for (int h = kv * row->group; x.start < end && h < (kv + 1) * row->group; h++) {
            head of;
            x.b.of = pairs_init(row, &base, b, h, OPTION_ARGUMENTS);
            of.q = q;
            of.grad_out = grad_out;
            of.q_begin = tensor_begin(row, &base, CLATTN_T_Q, b, h);
            of.grad_begin = tensor_begin(row, &base, CLATTN_T_GRAD_OUT, b, h);
            of.gradient_rows =
                gradient_rows + tensor_begin(row, &base, CLATTN_T_GRADIENT_ROWS, b, h);
            of.part =
                gradient_parts + tensor_begin(row, &base, CLATTN_T_GRADIENT_PARTS, b, h) +
                item.k_begin / row->range_keys * row->tensor[CLATTN_T_GRADIENT_PARTS].stride[4] +
                x.b.of.queries.first * (long)x.k_width;
            of.is_first = x.start == item.k_begin;
            attend_head(&x, &of, end);
        }
        store_block(&x, row->flags & CLATTN_F_RAGGED ? end : block_end, own.count, &to_k, &to_v);
    }
}
