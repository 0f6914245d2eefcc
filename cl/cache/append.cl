/* New keys and values into the pages of their sequences: token i of a batch entry goes to position
 * POSITIONS[batch] + i, keys normalised and rotated where that is asked for, by the angles of this
 * position or of TOKEN_POSITIONS[batch, i]. Pages of integers get the scales that go with them. An
 * item is tokens of one head. */
#include "common/rotate.h"

/* Rows of integers whose elements are all smaller become 0: their scale would be denormal. */
#define LEAST 0x1p-100f

/* ---- integers -------------------------------------------------------------------------------- */

/* The largest absolute value of x (count); NaN if one isn't finite. */
INLINE float largest_size(ROW_MEMORY const float *x, int count)
{
    vint most = 0;
    int last = 0, d = 0;
    for (; d + VEC <= count; d += VEC)
        most = larger_magnitude(load_vector(x + d), most);
    for (; d < count; d++)
        last = max(as_int(x[d]) & 0x7fffffff, last);
    if (!is_finite_magnitude(most) || last >= NOT_FINITE)
        return NAN;
    const float largest = largest_lane(as_vfloat(most)), other = as_float(last);
    return other > largest ? other : largest;
}

/* How numbers become integers of up to `limit`: times `inverse`; `odd`: one isn't finite, all are
 * 0.
 */
typedef struct steps {
    float inverse;
    int limit, odd;
} steps;

INLINE int integer_of(float x, steps by)
{
    return by.odd ? 0 : clamp((int)rint(x * by.inverse), -by.limit, by.limit);
}

/* Writes x (count) as integers of which the largest is the limit, from element `at` on; returns
 * their scale. What isn't finite makes the scale NaN, and so shows. Where two are in a byte, `at`
 * and `count` are even, and elements are side by side. */
INLINE float quantise(ROW_MEMORY const float *x, int count, const rows_of *to, long at)
{
    __global uchar *bytes = (__global uchar *)to->memory[1];
    const float most = largest_size(x, count);
    steps by = {0.0f, to->dtype[1] == CLATTN_D_I8 ? 127 : 7, isnan(most)};
    if (most >= LEAST)
        by.inverse = by.limit / most;
    if (to->dtype[1] == CLATTN_D_I8)
        for (int d = ROW_LANE; d < count; d += ROW_LANES)
            bytes[at + d * to->inner[1]] = (uchar)integer_of(x[d], by);
    else
        for (int d = 2 * ROW_LANE; d < count; d += 2 * ROW_LANES)
            bytes[(at + d) / 2] =
                (uchar)((integer_of(x[d], by) & 15) | integer_of(x[d + 1], by) << 4);
    if (most >= LEAST)
        return most / by.limit;
    return by.odd ? NAN : 0.0f;
}

/* Row j and its scales. */
INLINE void quantise_row(ROW_MEMORY const float *x, const rows_of *to, int j, int dim)
{
    __global float *scale = (__global float *)to->scales + scale_begin(to, j);
    const long begin = row_begin(to, j);
    const int size = to->scale_channels ? to->scale_channels : dim;
    for (int d = 0; d < dim; d += size, scale += to->scale_inner) {
        const float by = quantise(x + d, min(size, dim - d), to, begin + d * to->inner[1]);
        if (ROW_LANE == 0)
            *scale = by;
    }
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* What is appended to pages isn't in pages. */
INLINE rows_of new_rows(__global const clattn_problem_row *row, const clattn_base *base, int tensor,
                        __global const void *memory, int batch, int head, __global const int *pages)
{
    rows_of of = rows_init(row, base, 0, tensor, memory, tensor, batch, head, 0, pages);
    of.begin[1] += batch * of.page_step;
    return of;
}

INLINE rows_of pages_of(__global const clattn_problem_row *row, const clattn_base *base, int tensor,
                        __global void *memory, int batch, int head, __global const int *pages,
                        int scales_tensor, __global float *scales)
{
    rows_of of = rows_init(row, base, 0, tensor, memory, tensor, batch, head, 0, pages);
    rows_scale(&of, row, base, scales, scales_tensor, batch, head, 0);
    return of;
}

/* Tokens of an item, `position` that of token 0. */
INLINE void append_rows(const rows_of *from, const rows_of *to, const way *by,
                        const places *at_place, int begin, int end, int position, int dim,
                        ROW_MEMORY float *x)
{
    for (int n = 0; n < end - begin; n += ROW_TEAMS) {
        const int i = row_of_team(begin, end, n), here = n + ROW_TEAM < end - begin;
        if (here)
            load_row(from->memory[1], from->begin[1] + i * from->step[1], from->inner[1],
                     from->dtype[1], dim, x);
        turn_row(by, here, by->by_angle.angles ? place_of(at_place, i) : 0, dim, x);
        if (here && to->scales)
            quantise_row(x, to, position + i, dim);
        else if (here)
            store_row(x, dim, (__global void *)to->memory[1], row_begin(to, position + i),
                      to->inner[1], to->dtype[1]);
        ROW_BARRIER();
    }
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
append(__global const void *k, __global const void *v, __global void *present_k,
       __global void *present_v, __global float *k_scales, __global float *v_scales,
       __global const float *angles, __global const void *rms_weight,
       __global const int *kv_lengths, __global const int *pages, __global const int *positions,
       __global const int *token_positions, const clattn_base base,
       __global const clattn_problem_row *rows, __global const clattn_work_item *items, uint first,
       uint count)
{
    ROW_ARRAY(x);
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const int b = item.batch, g = item.head;
        const int limit = (int)min((long)row->page_size * row->page_limit, (long)INT_MAX);
        const int position = clamp(positions[tensor_start(row, &base, CLATTN_T_POSITIONS) +
                                             b * row->tensor[CLATTN_T_POSITIONS].stride[0]],
                                   0, limit);
        const int end =
            min(min(item.k_end, keys_of(row, &base, kv_lengths, b).count), limit - position);
        const places at_place = places_init(row, &base, token_positions, b, 0, position);
        const way by = {norm_init(row, &base, rms_weight, g), rotation_init(row, &base, angles)};
        const way as_it_is = {{0}, {0}};
        /* One after the other, so that lanes needn't have registers for both. */
        const rows_of keys = new_rows(row, &base, CLATTN_T_K, k, b, g, pages);
        const rows_of to_keys = pages_of(row, &base, CLATTN_T_PRESENT_K, present_k, b, g, pages,
                                         CLATTN_T_K_SCALES, k_scales);
        append_rows(&keys, &to_keys, &by, &at_place, item.k_begin, end, position, row->head_dim, x);
        const rows_of values = new_rows(row, &base, CLATTN_T_V, v, b, g, pages);
        const rows_of to_values = pages_of(row, &base, CLATTN_T_PRESENT_V, present_v, b, g, pages,
                                           CLATTN_T_V_SCALES, v_scales);
        append_rows(&values, &to_values, &as_it_is, &at_place, item.k_begin, end, position,
                    row->value_dim, x);
    }
}
