/* New keys and values into the pages of their sequences: token i of a batch entry goes to position
 * POSITIONS[batch] + i, keys normalised and rotated where that is asked for, by the angles of this
 * position or of TOKEN_POSITIONS[batch, i]. Pages of integers get the scales that go with them. An
 * item is tokens of one head. */
#include "common/rotate.h"

/* Rows of integers whose elements are all smaller become 0: their scale would be denormal. */
#define LEAST 0x1p-100f

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

/* What happens to rows on their way. */
typedef struct way {
    norm by_norm;
    rotation by_angle;
    places at_place;
} way;

/* Tokens of an item, `position` that of token 0. */
INLINE void append_rows(const rows_of *from, const rows_of *to, const way *by, int begin, int end,
                        int position, int dim)
{
    float x[ROW_MOST];
    for (int i = begin; i < end; i++) {
        load_row(from->memory[1], from->begin[1] + i * from->step[1], from->inner[1],
                 from->dtype[1], dim, x);
        if (by->by_norm.on)
            normalise_row(&by->by_norm, dim, x);
        if (by->by_angle.angles)
            rotate_row(&by->by_angle, place_of(&by->at_place, i), x);
        if (to->scales)
            quantise_row(x, to, position + i, dim);
        else
            write_row(x, dim, 1.0f, (__global void *)to->memory[1], row_begin(to, position + i),
                      to->inner[1], to->dtype[1]);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
append(__global const void *k, __global const void *v, __global void *present_k,
       __global void *present_v, __global float *k_scales, __global float *v_scales,
       __global const float *angles, __global const void *rms_weight,
       __global const int *kv_lengths, __global const int *pages, __global const int *positions,
       __global const int *token_positions, const clattn_base base,
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
    way by;
    by.by_norm = norm_init(row, &base, rms_weight, g);
    by.by_angle = rotation_init(row, &base, angles);
    by.at_place = places_init(row, &base, token_positions, b, 0, position);
    append_rows(&keys, &to_keys, &by, item.k_begin, end, position, row->head_dim);
    by.by_norm.on = 0;
    by.by_angle.angles = 0;
    append_rows(&values, &to_values, &by, item.k_begin, end, position, row->value_dim);
}
