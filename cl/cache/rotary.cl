/* Rotary embedding: pairs of elements rotated by the angles of their token's position. An item is
 * tokens of one head, a token a work-item. */
#include "common/item.h"
#include "common/types.h"

/* WG_SIZE: work-items of a group. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if VEC != 1 || WG_SIZE < 1
#error "VEC must be 1, WG_SIZE at least 1"
#endif

/* One token's row, from element `begin` to element `to_begin`. */
static void rotate_row(__global const clattn_problem_row *row, __global const void *q, long begin,
                       __global void *out, long to_begin, __global const float *angles)
{
    __global const clattn_tensor_row *t = row->tensor;
    const long step = t[CLATTN_T_Q].stride[3], to_step = t[CLATTN_T_OUT].stride[3];
    const uint from = row->dtype[CLATTN_T_Q], to = row->dtype[CLATTN_T_OUT];
    const int pairs = row->n_angles, apart = row->interleaved ? 1 : pairs;
    for (int n = 0; n < pairs; n++) {
        __global const float *angle = angles + n * t[CLATTN_T_ANGLES].stride[1];
        const float c = angle[0], s = angle[t[CLATTN_T_ANGLES].stride[2]];
        const int d = row->interleaved ? 2 * n : n;
        const float x = load_element(q, begin + d * step, from);
        const float y = load_element(q, begin + (d + apart) * step, from);
        store_element(x * c - y * s, out, to_begin + d * to_step, to);
        store_element(x * s + y * c, out, to_begin + (d + apart) * to_step, to);
    }
    for (int d = 2 * pairs; d < row->head_dim; d++)
        store_element(load_element(q, begin + d * step, from), out, to_begin + d * to_step, to);
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
rotary(__global const void *q, __global const float *angles, __global const int *positions,
       __global void *out, const clattn_base base, __global const clattn_problem_row *rows,
       __global const clattn_work_item *items, uint first, uint count)
{
    if (get_group_id(0) >= count)
        return;
    const clattn_work_item item = items[first + get_group_id(0)];
    __global const clattn_problem_row *row = &rows[item.row];
    __global const clattn_tensor_row *t = row->tensor;
    const int b = item.batch, h = item.head;
    const long start = positions[tensor_start(row, &base, CLATTN_T_POSITIONS) +
                                 b * t[CLATTN_T_POSITIONS].stride[0]];
    for (int i = item.q_begin + (int)get_local_id(0); i < item.q_end; i += WG_SIZE) {
        const long position = clamp(start + i, 0L, (long)row->n_positions - 1);
        rotate_row(row, q, tensor_begin(row, &base, CLATTN_T_Q, b, h) + i * t[CLATTN_T_Q].stride[2],
                   out,
                   tensor_begin(row, &base, CLATTN_T_OUT, b, h) + i * t[CLATTN_T_OUT].stride[2],
                   angles + tensor_start(row, &base, CLATTN_T_ANGLES) +
                       position * t[CLATTN_T_ANGLES].stride[0]);
    }
}
