/* RMS normalisation and rotary embedding of queries or keys. An item is tokens of one head. */
#include "common/rotate.h"

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

/* Where tokens of a head come from and go to. */
typedef struct tokens_of_head {
    __global const void *from;
    __global void *to;
    long begin[2], step[2], inner[2]; /* elements, from and to: of token 0, to the next ones */
    uint dtype[2];
} tokens_of_head;

static inline tokens_of_head tokens_init(__global const clattn_problem_row *row,
                                         const clattn_base *base, __global const void *from,
                                         __global void *to, int batch, int head, int token)
{
    tokens_of_head of;
    of.from = from;
    of.to = to;
    for (int i = 0; i < 2; i++) {
        const int tensor = i ? CLATTN_T_ROTATED_Q : CLATTN_T_PLAIN_Q;
        __global const clattn_tensor_row *t = &row->tensor[tensor];
        of.begin[i] = tensor_begin(row, base, tensor, batch, head) + token * t->stride[2];
        of.step[i] = t->stride[2];
        of.inner[i] = t->stride[3];
        of.dtype[i] = row->dtype[tensor];
    }
    return of;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
rotary(__global const void *plain, __global const float *angles, __global const void *rms_weight,
       __global const int *positions, __global const int *token_positions,
       __global const int *q_lengths, __global const int *kv_lengths, __global void *rotated,
       const clattn_base base, __global const clattn_problem_row *rows,
       __global const clattn_work_item *items, uint first, uint count)
{
    ROW_ARRAY(x);
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const int b = item.batch, dim = row->head_dim;
        const tokens queries = queries_of(row, &base, q_lengths, b);
        const tokens_of_head of =
            tokens_init(row, &base, plain, rotated, b, item.head, queries.first);
        const way by = {norm_init(row, &base, rms_weight, item.head),
                        rotation_init(row, &base, angles)};
        const places at_place =
            places_init(row, &base, token_positions, b, queries.first,
                        first_position(row, &base, positions, kv_lengths, b, queries.count));
        const int end = min(item.q_end, queries.count);
        for (int n = 0; n < end - item.q_begin; n += ROW_TEAMS) {
            const int i = row_of_team(item.q_begin, end, n);
            const int here = n + ROW_TEAM < end - item.q_begin;
            if (here)
                load_row(of.from, of.begin[0] + i * of.step[0], of.inner[0], of.dtype[0], dim, x);
            turn_row(&by, here, by.by_angle.angles ? place_of(&at_place, i) : 0, dim, x);
            if (here)
                store_row(x, dim, of.to, of.begin[1] + i * of.step[1], of.inner[1], of.dtype[1]);
            ROW_BARRIER();
        }
    }
}
