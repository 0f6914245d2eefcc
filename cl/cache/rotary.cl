/* RMS normalisation and rotary embedding of queries or keys. An item is tokens of one head, a token
 * a work-item. */
#include "common/rotate.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1
#error "WG_SIZE must be at least 1"
#endif

/* The position of a batch entry's token 0: as given, or where it stands among the keys. Where each
 * token has its own it isn't used. */
static long first_position(__global const clattn_problem_row *row, const clattn_base *base,
                           __global const int *positions, __global const int *kv_lengths, int b,
                           int queries)
{
    if (row->flags & CLATTN_F_POSITIONS)
        return positions[tensor_start(row, base, CLATTN_T_POSITIONS) +
                         b * row->tensor[CLATTN_T_POSITIONS].stride[0]];
    if (row->flags & CLATTN_F_BOTTOM_RIGHT)
        return row->offset + keys_of(row, base, kv_lengths, b).count - queries;
    return row->offset;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
rotary(__global const void *plain, __global const float *angles, __global const void *rms_weight,
       __global const int *positions, __global const int *token_positions,
       __global const int *q_lengths, __global const int *kv_lengths, __global void *rotated,
       const clattn_base base, __global const clattn_problem_row *rows,
       __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *from = &row->tensor[CLATTN_T_PLAIN_Q];
    __global const clattn_tensor_row *to = &row->tensor[CLATTN_T_ROTATED_Q];
    const int b = item.batch, h = item.head, dim = row->head_dim;
    const tokens queries = queries_of(row, &base, q_lengths, b);
    const norm by_norm = norm_init(row, &base, rms_weight, h);
    const rotation by_angle = rotation_init(row, &base, angles);
    const places at_place =
        places_init(row, &base, token_positions, b, queries.first,
                    first_position(row, &base, positions, kv_lengths, b, queries.count));
    const long begin = tensor_begin(row, &base, CLATTN_T_PLAIN_Q, b, h);
    const long to_begin = tensor_begin(row, &base, CLATTN_T_ROTATED_Q, b, h);
    const int end = min(item.q_end, queries.count);
    for (int i = item.q_begin + (int)get_local_id(0); i < end; i += WG_SIZE) {
        float x[ROW_MOST];
        const long at = queries.first + i;
        load_row(plain, begin + at * from->stride[2], from->stride[3], row->dtype[CLATTN_T_PLAIN_Q],
                 dim, x);
        if (by_norm.on)
            normalise_row(&by_norm, dim, x);
        if (by_angle.angles)
            rotate_row(&by_angle, place_of(&at_place, i), x);
        write_row(x, dim, 1.0f, rotated, to_begin + at * to->stride[2], to->stride[3],
                  row->dtype[CLATTN_T_ROTATED_Q]);
    }
}
