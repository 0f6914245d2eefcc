/* New keys and values into the pages of their sequences: token i of a batch entry goes to position
 * POSITIONS[batch] + i. Pages of integers get the scales that go with them. An item is tokens of
 * one head. */
#include "common/item.h"
#include "common/types.h"

/* Rows of integers whose elements are all smaller become 0: their scale would be denormal. */
#define LEAST 0x1p-100f

/* A row on its way. */
typedef struct row_copy {
    __global const void *from;
    long source, source_step; /* elements */
    uint source_type;
    __global void *to;
    long target, target_step;
    uint target_type;
    int dim;
} row_copy;

/* Element by element, or VEC of them at a time where they are side by side. */
INLINE void copy_row(const row_copy *c)
{
    int d = 0;
    if (c->source_step == 1 && c->target_step == 1)
        for (; d + VEC <= c->dim; d += VEC)
            store_elements(load_elements(c->from, c->source + d, c->source_type), c->to,
                           c->target + d, c->target_type);
    for (; d < c->dim; d++)
        store_element(load_element(c->from, c->source + d * c->source_step, c->source_type), c->to,
                      c->target + d * c->target_step, c->target_type);
}

/* The largest absolute value of elements `begin` to `end` - 1; NaN if one of them is. */
INLINE float largest_size(const row_copy *c, int begin, int end)
{
    vfloat most = 0.0f, odd = 0.0f; /* odd becomes NaN with the first that is */
    int d = begin;
    float largest, check;
    for (; c->source_step == 1 && d + VEC <= end; d += VEC) {
        const vfloat x = load_elements(c->from, c->source + d, c->source_type);
        most = larger(fabs(x), most);
        odd += x * 0.0f;
    }
    largest = largest_lane(most);
    check = sum_of_lanes(odd);
    for (; d < end; d++) {
        const float x = load_element(c->from, c->source + d * c->source_step, c->source_type);
        largest = fabs(x) > largest ? fabs(x) : largest;
        check += x * 0.0f;
    }
    return check == 0.0f ? largest : NAN;
}

/* Elements `begin` to `end` - 1 as integers of which the largest is `limit`; returns their scale.
 * What isn't finite makes the scale NaN, and so shows. */
INLINE float quantise(const row_copy *c, int begin, int end, int limit)
{
    const float most = largest_size(c, begin, end);
    const float inverse = most >= LEAST ? limit / most : 0.0f;
    __global uchar *to = (__global uchar *)c->to;
    for (int d = begin; d < end; d++) {
        const float x = load_element(c->from, c->source + d * c->source_step, c->source_type);
        const int n = isnan(most) ? 0 : clamp((int)rint(x * inverse), -limit, limit);
        const long at = c->target + d * c->target_step;
        if (c->target_type == CLATTN_D_I8)
            to[at] = (uchar)n;
        else if (at & 1)
            to[at / 2] = (uchar)((to[at / 2] & 15) | n << 4);
        else
            to[at / 2] = (uchar)(n & 15);
    }
    return most >= LEAST ? most / limit : most * 0.0f;
}

/* A row and its scales, `step` apart. */
INLINE void quantise_row(const row_copy *c, int channels, __global float *scales, long step)
{
    const int limit = c->target_type == CLATTN_D_I8 ? 127 : 7;
    const int size = channels ? channels : c->dim;
    for (int begin = 0; begin < c->dim; begin += size, scales += step)
        *scales = quantise(c, begin, min(begin + size, c->dim), limit);
}

/* Tokens of an item, `position` that of token 0. */
INLINE void append_rows(const rows_of *from, const rows_of *to, int begin, int end, int position,
                        int dim)
{
    row_copy c = {.from = from->memory[1],
                  .source_step = from->inner[1],
                  .source_type = from->dtype[1],
                  .to = (__global void *)to->memory[1],
                  .target_step = to->inner[1],
                  .target_type = to->dtype[1],
                  .dim = dim};
    for (int i = begin; i < end; i++) {
        c.source = from->begin[1] + i * from->step[1];
        c.target = row_begin(to, position + i);
        if (to->scales)
            quantise_row(&c, to->scale_channels,
                         (__global float *)to->scales + scale_begin(to, position + i),
                         to->scale_inner);
        else
            copy_row(&c);
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
append(__global const void *k, __global const void *v, __global void *present_k,
       __global void *present_v, __global float *k_scales, __global float *v_scales,
       __global const int *kv_lengths, __global const int *pages, __global const int *positions,
       const clattn_base base, __global const clattn_problem_row *rows,
       __global const clattn_work_item *items, uint first, uint count)
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
    const int position = clamp(
        positions[base.offset[CLATTN_T_POSITIONS] + b * row->tensor[CLATTN_T_POSITIONS].stride[0]],
        0, limit);
    const int end =
        min(min(item.k_end, keys_of(row, &base, kv_lengths, b).count), limit - position);
    append_rows(&keys, &to_keys, item.k_begin, end, position, row->head_dim);
    append_rows(&values, &to_values, item.k_begin, end, position, row->value_dim);
}
