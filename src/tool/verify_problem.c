/* See verify_problem.h. */
#include "tool/verify_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Blocks are small enough for little memory, and for a progress bar that moves. */
enum { MOST_SCORES = 1 << 18, MOST_QUERIES = 32 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t verify_element(const attention_tensors *tensors, clattn_slot slot, const int64_t at[3])
{
    const tensor_option *option = tensor_option_of(slot);
    const int64_t *extent = tensors->extent;
    const tensor_dim last = option->shape[option->rank - 1];
    const bool has_columns = last != DIM_N_Q;
    const int64_t width = has_columns ? extent[last] : 1;
    if (tensors->ragged && option->form == FORM_SEQUENCE) {
        const bool is_q = option->shape[2] == DIM_N_Q;
        const int32_t *ends =
            tensors->lengths[is_q ? CLATTN_SLOT_Q_LENGTHS : CLATTN_SLOT_KV_LENGTHS];
        return ((ends[at[0]] + at[2]) * extent[option->shape[1]] + at[1]) * width;
    }
    int64_t row = 0;
    for (uint32_t d = 0; d < option->rank - has_columns; d++) {
        const tensor_dim dim = option->shape[d];
        const bool is_head = dim == DIM_N_HEAD || dim == DIM_N_KV_HEAD;
        row = row * extent[dim] + (dim == DIM_BATCH ? at[0] : is_head ? at[1] : at[2]);
    }
    return row * width;
}

bool verify_problem_init(verify_problem *of, const clattn_attention_desc *desc,
                         const attention_tensors *tensors)
{
    const int64_t keys = tensors->extent[DIM_N_KEYS];
    const int64_t fitting = MOST_SCORES / (desc->n_head * keys + 1);
    *of = (verify_problem){.desc = desc, .tensors = tensors};
    of->block = smaller(fitting > 1 ? fitting : 1, MOST_QUERIES);
    const size_t rows = (size_t)(desc->n_head * of->block), head_dim = (size_t)desc->head_dim;
    const size_t scores = rows * (size_t)keys + 1, kept = (size_t)(desc->n_kv_head * keys) + 1;
    const bool has_bias = tensors_has(tensors, CLATTN_SLOT_BIAS);
    const bool has_mask = desc->top_k || tensors_has(tensors, CLATTN_SLOT_MASK);
    of->q = calloc(rows * head_dim, sizeof *of->q);
    of->k = calloc(kept * head_dim, sizeof *of->k);
    of->v = calloc(kept * (size_t)desc->value_dim, sizeof *of->v);
    of->bias = has_bias ? calloc(scores, sizeof *of->bias) : NULL;
    of->mask = has_mask ? calloc(scores, sizeof *of->mask) : NULL;
    of->oracle = (oracle_problem){.batch = 1,
                                  .n_head = desc->n_head,
                                  .n_kv_head = desc->n_kv_head,
                                  .n_kv = keys,
                                  .head_dim = desc->head_dim,
                                  .value_dim = desc->value_dim,
                                  .scale = desc->has_scale ? (double)desc->scale
                                                           : 1 / sqrt((double)desc->head_dim),
                                  .q = of->q,
                                  .k = of->k,
                                  .v = of->v,
                                  .causal = desc->causal != 0,
                                  .has_window = desc->has_window != 0,
                                  .window_left = desc->window_left,
                                  .window_right = desc->window_right,
                                  .softcap = (double)desc->softcap,
                                  .alibi = tensors->array[CLATTN_SLOT_ALIBI].data,
                                  .sink = tensors->array[CLATTN_SLOT_SINK].data,
                                  .bias = of->bias,
                                  .mask = of->mask,
                                  .q_lengths = &of->q_length,
                                  .kv_lengths = &of->kv_length,
                                  .dropout = desc->dropout,
                                  .dropout_seed = (uint64_t)tensors->seed[0],
                                  .dropout_offset = (uint64_t)tensors->seed[1],
                                  .score_stage = (oracle_stage)desc->score_stage};
    return of->q && of->k && of->v && !(has_bias && !of->bias) && !(has_mask && !of->mask);
}

void verify_problem_finish(verify_problem *of)
{
    free(of->q);
    free(of->k);
    free(of->v);
    free(of->bias);
    free(of->mask);
}

/* Copies the tokens `from` to `end` of every head to `to`, (heads, room, width). */
static void gather(const verify_problem *of, clattn_slot slot, const int64_t range[2], float *to,
                   int64_t room)
{
    const tensor_option *option = tensor_option_of(slot);
    const int64_t width = of->tensors->extent[option->shape[3]];
    for (int64_t h = 0; h < of->tensors->extent[option->shape[1]]; h++)
        for (int64_t i = range[0]; i < range[1]; i++) {
            const int64_t from = verify_element(of->tensors, slot, (const int64_t[]){of->b, h, i});
            memcpy(to + (h * room + i - range[0]) * width, of->tensors->array[slot].data + from,
                   (size_t)width * sizeof *to);
        }
}

void verify_problem_take_entry(verify_problem *of, int64_t b)
{
    const int64_t *extent = of->tensors->extent;
    const int64_t past = extent[DIM_N_PAST], keys = extent[DIM_N_KEYS];
    of->b = b;
    of->kv_length = (int32_t)tensors_length(of->tensors, CLATTN_SLOT_K, b);
    const int64_t new_keys = of->tensors->ragged ? of->kv_length : extent[DIM_N_KV];
    const int64_t before[2] = {0, past}, after[2] = {0, new_keys};
    gather(of, CLATTN_SLOT_PAST_K, before, of->k, keys);
    gather(of, CLATTN_SLOT_PAST_V, before, of->v, keys);
    gather(of, CLATTN_SLOT_K, after, of->k + past * extent[DIM_HEAD_DIM], keys);
    gather(of, CLATTN_SLOT_V, after, of->v + past * extent[DIM_VALUE_DIM], keys);
}

/* Index of a broadcast tensor for the pair (i, j) of the block. */
static int64_t pair_of(const verify_problem *of, clattn_slot slot, const int64_t at[3])
{
    const int64_t *stride = of->desc->tensor[slot].stride;
    return of->b * stride[0] + at[0] * stride[1] + (of->first + at[1]) * stride[2] +
           at[2] * stride[3];
}

static void expand(verify_problem *of)
{
    const npy_array *array = of->tensors->array;
    const oracle_problem *p = &of->oracle;
    int64_t to = 0;
    for (int64_t h = 0; h < p->n_head; h++)
        for (int64_t i = 0; i < p->n_q; i++)
            for (int64_t j = 0; j < p->n_kv; j++, to++) {
                const int64_t at[3] = {h, i, j};
                if (of->bias)
                    of->bias[to] = array[CLATTN_SLOT_BIAS].data[pair_of(of, CLATTN_SLOT_BIAS, at)];
                if (of->mask)
                    of->mask[to] = !array[CLATTN_SLOT_MASK].bools ||
                                   array[CLATTN_SLOT_MASK].bools[pair_of(of, CLATTN_SLOT_MASK, at)];
            }
}

void verify_problem_take_block(verify_problem *of, int64_t first)
{
    oracle_problem *p = &of->oracle;
    const int64_t n_q = of->tensors->extent[DIM_N_Q];
    const int64_t queries = tensors_length(of->tensors, CLATTN_SLOT_Q, of->b);
    const int64_t there = of->tensors->ragged ? queries : n_q;
    of->first = first;
    p->n_q = smaller(of->block, n_q - first);
    of->q_length = (int32_t)(queries > first ? smaller(queries - first, p->n_q) : 0);
    p->causal_offset = first;
    if (of->desc->align == CLATTN_ALIGN_BOTTOM_RIGHT)
        p->causal_offset += of->kv_length - queries;
    p->origin[0] = of->b;
    p->origin[2] = first;
    gather(of, CLATTN_SLOT_Q, (const int64_t[]){first, smaller(first + p->n_q, there)}, of->q,
           p->n_q);
    if (of->bias || of->mask)
        expand(of);
}
