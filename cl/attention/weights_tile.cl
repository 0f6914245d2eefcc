/* Returned weights and scores for devices whose work-items are lanes: how, is in tile_weights.h. An
 * item is BLOCK_M queries and all keys, or all queries, up to BLOCK_M, and some keys; of one head,
 * or of all in ascending order, whose mean stays in registers until it is written. A block of keys
 * is gone through for each head, and for scores and weights each. */
#include "common/score_target.h"
#include "common/tile_weights.h"

/* What is shown of a block of keys besides CLATTN_STAGE_*: the mean, once all heads are. */
#define SHOW_MEAN 4

/* What an item shows: from stage to stage of each head, and then the mean, if it is wanted. */
typedef struct stages {
    uint first, last;
    int has_mean;
} stages;

INLINE stages stages_of(__global const clattn_problem_row *row)
{
    const uint weights = CLATTN_F_WEIGHTS | CLATTN_F_WEIGHTS_MEAN;
    stages of = {CLATTN_STAGE_WEIGHTS, CLATTN_STAGE_WEIGHTS, 0};
    of.has_mean = (row->flags & CLATTN_F_WEIGHTS_MEAN) != 0;
    if (row->flags & CLATTN_F_SCORES)
        of.first = row->stage;
    if (!(row->flags & weights))
        of.last = of.first;
    return of;
}

/* The n-th tensor that is written at a stage, 0 or 1; its memory is NULL where there is none. */
INLINE target target_at(const tile *x, uint stage, int n, __global float *weights,
                        __global float *weights_mean, __global float *scores)
{
    const target none = {0, 0, 0};
    if (stage == SHOW_MEAN)
        return n ? none
                 : target_of(x->row, x->base, CLATTN_T_WEIGHTS_MEAN, CLATTN_F_WEIGHTS_MEAN,
                             weights_mean, x->batch, 0);
    if (n)
        return stage == x->row->stage ? target_of(x->row, x->base, CLATTN_T_SCORES, CLATTN_F_SCORES,
                                                  scores, x->batch, x->head)
                                      : none;
    return stage == CLATTN_STAGE_WEIGHTS ? target_of(x->row, x->base, CLATTN_T_WEIGHTS,
                                                     CLATTN_F_WEIGHTS, weights, x->batch, x->head)
                                         : none;
}

/* The rows of p with the keys from `start` on, before `end`. */
INLINE void write_block(const tile *x, const target *to, int start, int end)
{
    if (!to->memory)
        return;
    const int keys = min(BLOCK_N, end - start);
    __global float *at = to->memory + x->first * to->step + start * to->inner;
    const int aligned = to->inner == 1 && to->step % VEC == 0 && ((size_t)at & 15) == 0;
    const int whole = aligned ? keys / VEC : 0; /* vectors of a row */
#pragma unroll 1
    for (int n = x->me; n < (whole ? x->rows * W_PIECES : 0); n += WG_SIZE)
        if (W_PIECE(n) < whole * VEC)
            *(__global float4 *)(at + W_LINE(n) * to->step + W_PIECE(n)) =
                LOCAL_VECTOR(x->p + W_LINE(n) * W_STEP + W_PIECE(n));
#pragma unroll 1
    for (int n = x->me; n < (whole * VEC < keys ? x->rows * BLOCK_N : 0); n += WG_SIZE) {
        const int r = n / BLOCK_N, j = n % BLOCK_N;
        if (j >= whole * VEC && j < keys)
            at[r * to->step + j * to->inner] = x->p[r * W_STEP + j];
    }
}

/* The work-item's vectors of p: added to the mean, or the mean in their place. */
INLINE void add_weights(const tile *x, float4 mean[W_OWN])
{
#pragma unroll
    for (int n = 0; n < W_OWN; n++) {
        const uint at = n * WG_SIZE + x->me;
        mean[n] += LOCAL_VECTOR(x->p + W_LINE(at) * W_STEP + W_PIECE(at));
    }
}

INLINE void show_mean(const tile *x, float4 mean[W_OWN])
{
    const float share = 1.0f / x->row->n_head;
#pragma unroll
    for (int n = 0; n < W_OWN; n++) {
        const uint at = n * WG_SIZE + x->me;
        LOCAL_VECTOR(x->p + W_LINE(at) * W_STEP + W_PIECE(at)) = mean[n] * share;
        mean[n] = (float4)(0.0f);
    }
}

/* Where a group is. */
typedef struct place {
    uint stage;
    int head;
    int start;
    int left; /* keys from `start` on, 0: that was the last block */
} place;

INLINE place next_place(place at, const stages *of, int first_head, int last_head)
{
    if (at.stage < of->last) {
        at.stage = of->last;
        return at;
    }
    if (at.stage == of->last && at.head == last_head && of->has_mean) {
        at.stage = SHOW_MEAN;
        return at;
    }
    at.stage = of->first;
    if (at.head < last_head) {
        at.head++;
        return at;
    }
    const int done = min(BLOCK_N, at.left);
    at.head = first_head;
    at.start += done;
    at.left -= done;
    return at;
}

__kernel __attribute__((reqd_work_group_size(WG_SIZE, 1, 1))) void
weights_tile(__global const void *q, __global const void *k, __global const void *past_k,
             __global const float *stats, __global float *weights, __global float *weights_mean,
             __global float *scores, OPTION_PARAMETERS, const clattn_base base,
             __global const clattn_problem_row *rows, __global const clattn_work_item *items,
             uint first, uint count)
{
    WEIGHTS_ARRAYS;
    if (get_group_id(0) < count) {
        const clattn_work_item item = items[first + get_group_id(0)];
        __global const clattn_problem_row *row = &rows[item.row];
        const int of_keys = item.q_end == 0;
        const int first_head = max(item.head, 0), end = of_keys ? item.k_end : row->n_kv;
        const int last_head = item.head < 0 ? row->n_head - 1 : first_head;
        const stages of_item = stages_of(row);
        place at = {of_item.first, first_head, of_keys ? item.k_begin : 0, 0};
        float4 mean[W_OWN];
        tile x = TILE_OF_WEIGHTS(item.batch);
        place_item(&x);
        x.first = item.q_begin;
        x.rows = of_keys ? row->n_q : item.q_end - item.q_begin;
        at.left = end - at.start;
#pragma unroll
        for (int n = 0; n < W_OWN; n++)
            mean[n] = (float4)(0.0f);
        /* Of one list, asked once a block, the group goes on where it is. */
        const int asks_again =
            first_head < last_head || of_item.first < of_item.last || of_item.has_mean;
        int again = 1;
        while (at.left > 0) {
            x.head = at.head;
            x.group = at.head / row->group;
            const pairs of = pairs_of_row(&x, 0);
            find_block(&x, &of, at.stage, at.start, again, &tile_listed, stats);
            show_block(&x, &of, at.stage, at.start, &tile_listed);
            if (at.stage == CLATTN_STAGE_WEIGHTS && of_item.has_mean)
                add_weights(&x, mean);
            if (at.stage == SHOW_MEAN)
                show_mean(&x, mean);
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int n = 0; n < 2; n++) {
                const target to = target_at(&x, at.stage, n, weights, weights_mean, scores);
                write_block(&x, &to, at.start, end);
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            at = next_place(at, &of_item, first_head, last_head);
            again = asks_again;
        }
    }
}
