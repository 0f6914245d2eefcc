/* --verify of gradients: block by block of queries, as verify.c does; what keys, values and sinks
 * get is summed over the blocks. What is allowed, with u the unit in the last place of the
 * gradient's type and all maxima over the tensor: the larger of  5e-5 * max(1, max|expected|) and
 * 3 * error of the plain computation in that type + 4 u * max|expected| */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/gradient.h"
#include "tool/verify.h"
#include "tool/verify_problem.h"
#include "tool/verify_tally.h"

/* The oracle's gradients; past keys and new ones are one tensor there. */
enum { PART_Q, PART_K, PART_V, PART_BIAS, PART_SINK, PARTS };

typedef struct part {
    double *block[2]; /* exact and plain, of one block */
    double *sum[2];   /* of all blocks: of the batch entry, BIAS and SINK of all; NULL: of none */
    size_t count, sum_count;
} part;

typedef struct gradient_verification {
    const verify_input *input;
    verify_problem problem;
    float *by_out, *by_lse; /* (n_head, block, value_dim), (n_head, block) or NULL */
    part part[PARTS];
    verify_tally tally[CLATTN_SLOT_LIMIT]; /* by slot */
} gradient_verification;

static oracle_type type_of(const gradient_verification *of, clattn_slot slot)
{
    return tensor_option_of(slot)->type == TYPE_STORED ? (oracle_type)of->input->type->dtype
                                                       : ORACLE_F32;
}

static bool make_part(part *of, size_t count, size_t sum_count)
{
    bool good = true;
    of->count = count;
    of->sum_count = sum_count;
    for (int i = 0; i < 2; i++) {
        of->block[i] = calloc(count + 1, sizeof(double));
        of->sum[i] = sum_count ? calloc(sum_count + 1, sizeof(double)) : NULL;
        good = good && of->block[i] && (of->sum[i] || !sum_count);
    }
    return good;
}

static bool begin(gradient_verification *of)
{
    const attention_tensors *tensors = of->input->tensors;
    const oracle_problem *p = &of->problem.oracle;
    if (!verify_problem_init(&of->problem, of->input->desc, tensors))
        return false;
    const size_t rows = (size_t)(p->n_head * of->problem.block), n_kv = (size_t)p->n_kv;
    const size_t keys = (size_t)p->n_kv_head * n_kv;
    const size_t k = keys * (size_t)p->head_dim, v = keys * (size_t)p->value_dim;
    const bool has_lse = tensors_has(tensors, CLATTN_SLOT_GRAD_LSE);
    const size_t bias = (size_t)tensors->array[CLATTN_SLOT_GRAD_BIAS].count;
    of->by_out = calloc(rows * (size_t)p->value_dim + 1, sizeof(float));
    of->by_lse = has_lse ? calloc(rows + 1, sizeof(float)) : NULL;
    return make_part(&of->part[PART_Q], rows * (size_t)p->head_dim, 0) &&
           make_part(&of->part[PART_K], k, k) && make_part(&of->part[PART_V], v, v) &&
           make_part(&of->part[PART_BIAS], bias ? rows * n_kv : 0, bias) &&
           make_part(&of->part[PART_SINK], (size_t)p->n_head, (size_t)p->n_head) && of->by_out &&
           (of->by_lse || !has_lse);
}

static void finish(gradient_verification *of)
{
    verify_problem_finish(&of->problem);
    free(of->by_out);
    free(of->by_lse);
    for (int n = 0; n < PARTS; n++)
        for (int i = 0; i < 2; i++) {
            free(of->part[n].block[i]);
            free(of->part[n].sum[i]);
        }
}

/* Derivatives by the outputs of the block's queries; those behind a length don't matter. */
static void gather(const gradient_verification *of, clattn_slot slot, float *to, int64_t width)
{
    const verify_problem *problem = &of->problem;
    const int64_t n_q = problem->oracle.n_q;
    const float *data = of->input->tensors->array[slot].data;
    for (int64_t h = 0; to && h < problem->oracle.n_head; h++)
        for (int64_t i = 0; i < problem->q_length; i++) {
            const int64_t at[3] = {problem->b, h, problem->first + i};
            memcpy(to + (h * n_q + i) * width, data + verify_element(of->input->tensors, slot, at),
                   (size_t)width * sizeof *to);
        }
}

static oracle_gradients blocks_of(const gradient_verification *of, int i)
{
    const bool has_bias = of->part[PART_BIAS].sum_count != 0;
    return (oracle_gradients){
        of->part[PART_Q].block[i], of->part[PART_K].block[i], of->part[PART_V].block[i],
        has_bias ? of->part[PART_BIAS].block[i] : NULL, of->part[PART_SINK].block[i]};
}

static bool compute(gradient_verification *of)
{
    const oracle_type type = (oracle_type)of->input->type->dtype;
    const oracle_loss loss = {of->by_out, of->by_lse, NULL};
    const oracle_gradients exact = blocks_of(of, 0), plain = blocks_of(of, 1);
    return oracle_gradient(&of->problem.oracle, &loss, &exact, NULL) &&
           oracle_plain_gradient(&of->problem.oracle, &loss, type, &plain);
}

/* Adds the block's to the array of --dbias, whose strides are those of --bias. */
static void add_bias(gradient_verification *of)
{
    const int64_t *stride = of->input->desc->tensor[CLATTN_SLOT_BIAS].stride;
    const verify_problem *problem = &of->problem;
    const oracle_problem *p = &problem->oracle;
    part *bias = &of->part[PART_BIAS];
    int64_t from = 0;
    for (int64_t h = 0; h < p->n_head; h++)
        for (int64_t i = 0; i < p->n_q; i++)
            for (int64_t j = 0; j < p->n_kv; j++, from++) {
                const int64_t to = problem->b * stride[0] + h * stride[1] +
                                   (problem->first + i) * stride[2] + j * stride[3];
                bias->sum[0][to] += bias->block[0][from];
                bias->sum[1][to] += bias->block[1][from];
            }
}

static void add_sums(part *of)
{
    for (int i = 0; i < 2; i++)
        for (size_t n = 0; n < of->sum_count; n++)
            of->sum[i][n] += of->block[i][n];
}

/* One row of a tensor. */
static void compare_row(gradient_verification *of, clattn_slot slot, const int64_t at[3],
                        double *const from[2], int64_t row, int64_t width)
{
    const attention_tensors *tensors = of->input->tensors;
    verify_compare(&of->tally[slot], type_of(of, slot),
                   tensors->array[slot].data + verify_element(tensors, slot, at),
                   from[0] + row * width, from[1] + row * width, width);
}

static void compare_queries(gradient_verification *of)
{
    const verify_problem *problem = &of->problem;
    const int64_t n_q = problem->oracle.n_q;
    const int64_t there = of->input->tensors->ragged ? problem->q_length : n_q;
    if (!tensors_has(of->input->tensors, CLATTN_SLOT_GRAD_Q))
        return;
    for (int64_t h = 0; h < problem->oracle.n_head; h++)
        for (int64_t i = 0; i < there; i++)
            compare_row(of, CLATTN_SLOT_GRAD_Q,
                        (const int64_t[]){problem->b, h, problem->first + i},
                        of->part[PART_Q].block, h * n_q + i, problem->oracle.head_dim);
}

/* Rows of keys or values from `begin` to `end` of those of the batch entry, past ones first. */
static void compare_keys(gradient_verification *of, clattn_slot slot, int which, int64_t begin,
                         int64_t end)
{
    const oracle_problem *p = &of->problem.oracle;
    const int64_t width = which == PART_K ? p->head_dim : p->value_dim;
    if (!tensors_has(of->input->tensors, slot))
        return;
    for (int64_t h = 0; h < p->n_kv_head; h++)
        for (int64_t j = begin; j < end; j++)
            compare_row(of, slot, (const int64_t[]){of->problem.b, h, j - begin},
                        of->part[which].sum, h * p->n_kv + j, width);
}

static void finish_entry(gradient_verification *of)
{
    const attention_tensors *tensors = of->input->tensors;
    const int64_t past = tensors->extent[DIM_N_PAST];
    const int64_t keys = tensors->ragged ? of->problem.kv_length : tensors->extent[DIM_N_KEYS];
    compare_keys(of, CLATTN_SLOT_GRAD_PAST_K, PART_K, 0, past);
    compare_keys(of, CLATTN_SLOT_GRAD_PAST_V, PART_V, 0, past);
    compare_keys(of, CLATTN_SLOT_GRAD_K, PART_K, past, keys);
    compare_keys(of, CLATTN_SLOT_GRAD_V, PART_V, past, keys);
    for (int n = PART_K; n <= PART_V; n++)
        for (int i = 0; i < 2; i++)
            memset(of->part[n].sum[i], 0, of->part[n].sum_count * sizeof(double));
}

static bool verify_all(gradient_verification *of, progress *line)
{
    const int64_t *extent = of->input->tensors->extent;
    for (int64_t b = 0; b < extent[DIM_BATCH]; b++) {
        verify_problem_take_entry(&of->problem, b);
        for (int64_t first = 0; first < extent[DIM_N_Q]; first += of->problem.block) {
            verify_problem_take_block(&of->problem, first);
            gather(of, CLATTN_SLOT_GRAD_OUT, of->by_out, extent[DIM_VALUE_DIM]);
            gather(of, CLATTN_SLOT_GRAD_LSE, of->by_lse, 1);
            if (!compute(of))
                return false;
            compare_queries(of);
            add_sums(&of->part[PART_K]);
            add_sums(&of->part[PART_V]);
            add_sums(&of->part[PART_SINK]);
            if (of->part[PART_BIAS].sum_count)
                add_bias(of);
            progress_set(line, b * extent[DIM_N_Q] + first, extent[DIM_BATCH] * extent[DIM_N_Q]);
        }
        finish_entry(of);
    }
    return true;
}

static void compare_whole(gradient_verification *of, clattn_slot slot, const part *from)
{
    const npy_array *array = &of->input->tensors->array[slot];
    if (tensors_has(of->input->tensors, slot))
        verify_compare(&of->tally[slot], ORACLE_F32, array->data, from->sum[0], from->sum[1],
                       array->count);
}

bool verify_gradients(const verify_input *input, progress *line,
                      verified results[TENSOR_OPTIONS_MOST])
{
    gradient_verification of = {.input = input};
    const bool good = begin(&of) && verify_all(&of, line);
    if (good) {
        compare_whole(&of, CLATTN_SLOT_GRAD_BIAS, &of.part[PART_BIAS]);
        compare_whole(&of, CLATTN_SLOT_GRAD_SINK, &of.part[PART_SINK]);
    }
    for (uint32_t row = 0; good && tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        const verify_tally *sum = &of.tally[option->slot];
        if (option->read || option->use != USE_GRAD || !input->tensors->path[row])
            continue;
        const double ulp = oracle_ulp(type_of(&of, option->slot));
        results[row] = (verified){
            option, sum->error,
            fmax(5e-5 * fmax(1, sum->largest), 3 * sum->plain_error + 4 * ulp * sum->largest)};
    }
    finish(&of);
    return good;
}
