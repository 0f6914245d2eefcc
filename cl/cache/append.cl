/* New keys and values into the pages of their sequences: token i of a batch entry goes to position
 * POSITIONS[batch] + i, keys rotated by its angles where there are some. Pages of integers get the
 * scales that go with them. An item is tokens of one head. */
#include "common/item.h"
#include "common/types.h"

/* Rows of integers whose elements are all smaller become 0: their scale would be denormal. */
#define LEAST 0x1p-100f

/* Most elements of a row. */
#define ROW_MOST 576

/* Row i of what is new. */
INLINE void load_row(const rows_of *from, int i, int dim, float *x)
{
    const long begin = from->begin[1] + i * from->step[1];
    int d = 0;
    for (; from->inner[1] == 1 && d + VEC <= dim; d += VEC)
        store_vector(load_elements(from->memory[1], begin + d, from->dtype[1]), x + d);
    for (; d < dim; d++)
        x[d] = load_element(from->memory[1], begin + d * from->inner[1], from->dtype[1]);
}

INLINE void store_row(const float *x, const rows_of *to, int j, int dim)
{
    __global void *memory = (__global void *)to->memory[1];
    const long begin = row_begin(to, j);
    int d = 0;
    for (; to->inner[1] == 1 && d + VEC <= dim; d += VEC)
        store_elements(load_vector(x + d), memory, begin + d, to->dtype[1]);
    for (; d < dim; d++)
        store_element(x[d], memory, begin + d * to->inner[1], to->dtype[1]);
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

/* The angles of a head's keys; 0: none. */
typedef struct rotation {
    __global const float *angles;        /* of position 0 */
    long position_step, pair_step, sine; /* elements */
    int pairs, interleaved, last;        /* last: position that has angles */
} rotation;

INLINE rotation rotation_init(__global const clattn_problem_row *row, const clattn_base *base,
                              __global const float *angles)
{
    __global const clattn_tensor_row *t = &row->tensor[CLATTN_T_ANGLES];
    rotation by;
    by.angles = row->n_angles ? angles + base->offset[CLATTN_T_ANGLES] : 0;
    by.position_step = t->stride[0];
    by.pair_step = t->stride[1];
    by.sine = t->stride[2];
    by.pairs = row->n_angles;
    by.interleaved = row->interleaved;
    by.last = row->n_positions - 1;
    return by;
}

/* As rotary.cl does. */
INLINE void rotate_row(const rotation *by, int position, float *x)
{
    __global const float *angle = by->angles + min(position, by->last) * by->position_step;
    const int apart = by->interleaved ? 1 : by->pairs;
    for (int n = 0; n < by->pairs; n++, angle += by->pair_step) {
        const float c = angle[0], s = angle[by->sine];
        const int d = by->interleaved ? 2 * n : n;
        const float a = x[d], b = x[d + apart];
        x[d] = a * c - b * s;
        x[d + apart] = a * s + b * c;
    }
}

/* ---- integers -------------------------------------------------------------------------------- */

/* The largest absolute value of x (count); NaN if one isn't finite. */
INLINE float largest_size(const float *x, int count)
{
    vfloat most = 0.0f, odd = 0.0f; /* odd becomes NaN with the first that isn't finite */
    int d = 0;
    for (; d + VEC <= count; d += VEC) {
        const vfloat v = load_vector(x + d);
        most = larger(fabs(v), most);
        odd += v * 0.0f;
    }
    float largest = largest_lane(most), check = sum_of_lanes(odd);
    for (; d < count; d++) {
        largest = fabs(x[d]) > largest ? fabs(x[d]) : largest;
        check += x[d] * 0.0f;
    }
    return check == 0.0f ? largest : NAN;
}

/* Writes x (count) as integers of which the largest is `limit`, from element `at` on; returns their
 * scale. What isn't finite makes the scale NaN, and so shows. */
INLINE float quantise(const float *x, int count, const rows_of *to, long at)
{
    const int limit = to->dtype[1] == CLATTN_D_I8 ? 127 : 7;
    const float most = largest_size(x, count);
    const float inverse = most >= LEAST ? limit / most : 0.0f;
    __global uchar *bytes = (__global uchar *)to->memory[1];
    for (int d = 0; d < count; d++, at += to->inner[1]) {
        const int n = isnan(most) ? 0 : clamp((int)rint(x[d] * inverse), -limit, limit);
        if (to->dtype[1] == CLATTN_D_I8)
            bytes[at] = (uchar)n;
        else
            bytes[at / 2] = (uchar)(at & 1 ? (bytes[at / 2] & 15) | n << 4 : n & 15);
    }
    return most >= LEAST ? most / limit : most * 0.0f;
}

/* Row j and its scales. */
INLINE void quantise_row(const float *x, const rows_of *to, int j, int dim)
{
    __global float *scale = (__global float *)to->scales + scale_begin(to, j);
    const long begin = row_begin(to, j);
    const int size = to->scale_channels ? to->scale_channels : dim;
    for (int d = 0; d < dim; d += size, scale += to->scale_inner)
        *scale = quantise(x + d, min(size, dim - d), to, begin + d * to->inner[1]);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Tokens of an item, `position` that of token 0. */
INLINE void append_rows(const rows_of *from, const rows_of *to, const rotation *by, int begin,
                        int end, int position, int dim)
{
    float x[ROW_MOST];
    for (int i = begin; i < end; i++) {
        load_row(from, i, dim, x);
        if (by->angles)
            rotate_row(by, position + i, x);
        if (to->scales)
            quantise_row(x, to, position + i, dim);
        else
            store_row(x, to, position + i, dim);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
append(__global const void *k, __global const void *v, __global void *present_k,
       __global void *present_v, __global float *k_scales, __global float *v_scales,
       __global const float *angles, __global const int *kv_lengths, __global const int *pages,
       __global const int *positions, const clattn_base base,
       __global const clattn_problem_row *rows, __global const clattn_work_item *items, uint first,
       uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    const int b = item.batch, g = item.head;
    rows_of keys = rows_init(row, &base, 0, CLATTN_T_K, k, CLATTN_T_K, b, g, 0, pages);
    rows_of values = rows_init(row, &base, 0, CLATTN_T_V, v, CLATTN_T_V, b, g, 0, pages);
    rows_of to_keys =
        rows_init(row, &base, 0, CLATTN_T_PRESENT_K, present_k, CLATTN_T_PRESENT_K, b, g, 0, pages);
    rows_of to_values =
        rows_init(row, &base, 0, CLATTN_T_PRESENT_V, present_v, CLATTN_T_PRESENT_V, b, g, 0, pages);
    keys.begin[1] += b * keys.page_step; /* the new ones aren't in pages */
    values.begin[1] += b * values.page_step;
    rows_scale(&to_keys, row, &base, k_scales, CLATTN_T_K_SCALES, b, g, 0);
    rows_scale(&to_values, row, &base, v_scales, CLATTN_T_V_SCALES, b, g, 0);
    const int limit = (int)min((long)row->page_size * row->page_limit, (long)INT_MAX);
    const int position = clamp(positions[tensor_start(row, &base, CLATTN_T_POSITIONS) +
                                         b * row->tensor[CLATTN_T_POSITIONS].stride[0]],
                               0, limit);
    const int end =
        min(min(item.k_end, keys_of(row, &base, kv_lengths, b).count), limit - position);
    const rotation by = rotation_init(row, &base, angles);
    rotation none = by;
    none.angles = 0;
    append_rows(&keys, &to_keys, &by, item.k_begin, end, position, row->head_dim);
    append_rows(&values, &to_values, &none, item.k_begin, end, position, row->value_dim);
}
