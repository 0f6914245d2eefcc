/* The comparison goes block by block of queries, so that it needs little memory and can say how far
 * it is. What is allowed, with u the unit in the last place of the output's type and all maxima
 * over the tensor:
 *   the larger of  1e-5 * max(1, max|expected|)
 *   and            2 * error of the plain computation in that type + 2 u * max|expected|
 * where for the output the last maximum is that of |v| (docs/numerics.md). The second is larger
 * where scores are so large that float32 itself can do no better, and for types of 16 bits.
 * Against the reference kernel: twice the first, as both may err, and u * max|expected|. */
#include "tool/verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/plain.h"
#include "tests/oracle/storage.h"
#include "tool/verify_problem.h"
#include "tool/verify_tally.h"

/* Outputs that the oracle makes for each query, by their fields of its problem. */
static const struct {
    clattn_slot slot;
    size_t field;
} compared[] = {
    {CLATTN_SLOT_OUT, offsetof(oracle_problem, out)},
    {CLATTN_SLOT_LSE, offsetof(oracle_problem, lse)},
    {CLATTN_SLOT_WEIGHTS, offsetof(oracle_problem, weights)},
    {CLATTN_SLOT_WEIGHTS_MEAN, offsetof(oracle_problem, weights_mean)},
    {CLATTN_SLOT_WEIGHTS_SUM, offsetof(oracle_problem, weights_sum)},
    {CLATTN_SLOT_SCORES, offsetof(oracle_problem, scores)},
};
enum { COMPARED = sizeof compared / sizeof compared[0] };

typedef struct verification {
    const verify_input *input;
    verify_problem problem;
    double *exact[COMPARED], *plain[COMPARED]; /* of one block; NULL: not computed */
    double *exact_sum, *plain_sum;             /* (n_head, keys): WEIGHTS_SUM so far */
    verify_tally tally[CLATTN_SLOT_LIMIT];     /* by slot */
} verification;

static oracle_type type_of(const verify_input *input, clattn_slot slot)
{
    return slot == CLATTN_SLOT_OUT ? (oracle_type)input->type->dtype : ORACLE_F32;
}

/* Elements that follow the indices of verify_element(). */
static int64_t width_of(const verification *of, clattn_slot slot)
{
    const tensor_option *option = tensor_option_of(slot);
    const tensor_dim last = option->shape[option->rank - 1];
    return last == DIM_N_Q ? 1 : of->input->tensors->extent[last];
}

static void compare_row(verification *of, clattn_slot slot, const int64_t at[3],
                        const double *expected, const double *plain)
{
    const attention_tensors *tensors = of->input->tensors;
    verify_compare(&of->tally[slot], type_of(of->input, slot),
                   tensors->array[slot].data + verify_element(tensors, slot, at), expected, plain,
                   width_of(of, slot));
}

/* Rows of one output of the block: of each head, or of none. */
static void compare_block(verification *of, int i)
{
    const verify_problem *problem = &of->problem;
    const clattn_slot slot = compared[i].slot;
    const int64_t heads = slot == CLATTN_SLOT_WEIGHTS_MEAN ? 1 : problem->oracle.n_head;
    const int64_t width = width_of(of, slot), n_q = problem->oracle.n_q;
    const bool only_tokens =
        of->input->tensors->ragged && tensor_option_of(slot)->form == FORM_SEQUENCE;
    for (int64_t h = 0; h < heads; h++)
        for (int64_t q = 0; q < (only_tokens ? problem->q_length : n_q); q++)
            compare_row(of, slot, (const int64_t[]){problem->b, h, problem->first + q},
                        of->exact[i] + (h * n_q + q) * width, of->plain[i] + (h * n_q + q) * width);
}

static void set_outputs(oracle_problem *p, double *const outputs[COMPARED])
{
    for (int i = 0; i < COMPARED; i++)
        memcpy((char *)p + compared[i].field, &outputs[i], sizeof outputs[i]);
}

/* In types of 16 bits only the output is rounded by the library: scores and weights are float32. */
static bool compute_plain(verification *of)
{
    const oracle_type type = type_of(of->input, CLATTN_SLOT_OUT);
    oracle_problem p = of->problem.oracle;
    set_outputs(&p, of->plain);
    if (type == ORACLE_F32)
        return oracle_plain(&p, ORACLE_F32);
    oracle_problem only_out = of->problem.oracle;
    only_out.out = p.out;
    p.out = NULL;
    return oracle_plain(&p, ORACLE_F32) && oracle_plain(&only_out, type);
}

static bool verify_block(verification *of, int64_t first)
{
    oracle_problem *p = &of->problem.oracle;
    verify_problem_take_block(&of->problem, first);
    if (of->input->desc->top_k && !verify_choice(&of->problem, &of->tally[CLATTN_SLOT_INDICES]))
        return false;
    oracle_problem exact = *p;
    set_outputs(&exact, of->exact);
    if (!oracle_attention(&exact) || !compute_plain(of))
        return false;
    for (int i = 0; i < COMPARED; i++) {
        if (!of->exact[i])
            continue;
        if (compared[i].slot != CLATTN_SLOT_WEIGHTS_SUM) {
            compare_block(of, i);
            continue;
        }
        for (int64_t n = 0; n < p->n_head * p->n_kv; n++) {
            of->exact_sum[n] += of->exact[i][n];
            of->plain_sum[n] = (double)(float)(of->plain_sum[n] + of->plain[i][n]);
        }
    }
    return true;
}

static void compare_sums(verification *of)
{
    const verify_problem *problem = &of->problem;
    const int64_t keys = problem->oracle.n_kv;
    if (!tensors_has(of->input->tensors, CLATTN_SLOT_WEIGHTS_SUM))
        return;
    for (int64_t h = 0; h < problem->oracle.n_head; h++)
        compare_row(of, CLATTN_SLOT_WEIGHTS_SUM, (const int64_t[]){problem->b, h, 0},
                    of->exact_sum + h * keys, of->plain_sum + h * keys);
    memset(of->exact_sum, 0, (size_t)(problem->oracle.n_head * keys) * sizeof *of->exact_sum);
    memset(of->plain_sum, 0, (size_t)(problem->oracle.n_head * keys) * sizeof *of->plain_sum);
}

/* Copies have the very numbers of what they are copied from. */
static void compare_present(verification *of, clattn_slot slot, const float *expected)
{
    const attention_tensors *tensors = of->input->tensors;
    const int64_t width = width_of(of, slot), keys = of->problem.oracle.n_kv;
    if (!tensors_has(tensors, slot))
        return;
    for (int64_t h = 0; h < of->problem.oracle.n_kv_head; h++)
        for (int64_t j = 0; j < keys; j++)
            for (int64_t d = 0; d < width; d++) {
                const double number = (double)expected[(h * keys + j) * width + d];
                const int64_t at =
                    verify_element(tensors, slot, (const int64_t[]){of->problem.b, h, j}) + d;
                verify_compare(&of->tally[slot], ORACLE_F32, tensors->array[slot].data + at,
                               &number, &number, 1);
            }
}

static bool verify_all(verification *of, progress *line)
{
    const int64_t *extent = of->input->tensors->extent;
    for (int64_t b = 0; b < extent[DIM_BATCH]; b++) {
        verify_problem_take_entry(&of->problem, b);
        for (int64_t first = 0; first < extent[DIM_N_Q]; first += of->problem.block) {
            if (!verify_block(of, first))
                return false;
            progress_set(line, b * extent[DIM_N_Q] + first, extent[DIM_BATCH] * extent[DIM_N_Q]);
        }
        compare_sums(of);
        compare_present(of, CLATTN_SLOT_PRESENT_K, of->problem.k);
        compare_present(of, CLATTN_SLOT_PRESENT_V, of->problem.v);
    }
    return true;
}

/* Memory for the results of one block. */
static bool begin(verification *of)
{
    const attention_tensors *tensors = of->input->tensors;
    const oracle_problem *p = &of->problem.oracle;
    if (!verify_problem_init(&of->problem, of->input->desc, tensors))
        return false;
    const size_t sums = (size_t)(p->n_head * p->n_kv) + 1;
    bool good = true;
    for (int i = 0; i < COMPARED; i++) {
        const int64_t rows = p->n_head * of->problem.block;
        const size_t count = (size_t)(rows * width_of(of, compared[i].slot)) + 1;
        if (!tensors_has(tensors, compared[i].slot))
            continue;
        of->exact[i] = calloc(count, sizeof(double));
        of->plain[i] = calloc(count, sizeof(double));
        good = good && of->exact[i] && of->plain[i];
    }
    of->exact_sum = calloc(sums, sizeof(double));
    of->plain_sum = calloc(sums, sizeof(double));
    return good && of->exact_sum && of->plain_sum;
}

static void finish(verification *of)
{
    verify_problem_finish(&of->problem);
    for (int i = 0; i < COMPARED; i++) {
        free(of->exact[i]);
        free(of->plain[i]);
    }
    free(of->exact_sum);
    free(of->plain_sum);
}

/* max|x| over the finite elements */
static double largest_of(const npy_array *array)
{
    double largest = 0;
    for (int64_t i = 0; i < array->count; i++)
        if (isfinite(array->data[i]) && fabs((double)array->data[i]) > largest)
            largest = fabs((double)array->data[i]);
    return largest;
}

static double allowed(const verification *of, clattn_slot slot)
{
    const npy_array *array = of->input->tensors->array;
    const verify_tally *sum = &of->tally[slot];
    if (slot == CLATTN_SLOT_PRESENT_K || slot == CLATTN_SLOT_PRESENT_V)
        return 0;
    const double unit = slot == CLATTN_SLOT_OUT ? fmax(largest_of(&array[CLATTN_SLOT_V]),
                                                       largest_of(&array[CLATTN_SLOT_PAST_V]))
                                                : sum->largest;
    return fmax(1e-5 * fmax(1, sum->largest),
                2 * sum->plain_error + 2 * oracle_ulp(type_of(of->input, slot)) * unit);
}

bool verify_attention(const verify_input *input, progress *line,
                      verified results[TENSOR_OPTIONS_MOST])
{
    verification of = {.input = input};
    const bool good = begin(&of) && verify_all(&of, line);
    for (uint32_t row = 0; good && tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        const bool chosen = option->slot == CLATTN_SLOT_INDICES && input->desc->top_k;
        if (!option->read && (input->tensors->path[row] || chosen))
            results[row] =
                (verified){option, of.tally[option->slot].error, allowed(&of, option->slot)};
    }
    finish(&of);
    return good;
}

void verify_against_second(const verify_input *input, verified results[TENSOR_OPTIONS_MOST])
{
    for (uint32_t row = 0; tensor_option_get(row); row++) {
        const tensor_option *option = tensor_option_get(row);
        const npy_array *first = &input->tensors->array[option->slot];
        const npy_array *second = &input->tensors->second[option->slot];
        verify_tally sum = {0};
        if (option->read || !input->tensors->path[row])
            continue;
        if (first->whole) {
            const size_t size = (size_t)first->count * sizeof(int32_t);
            const bool same = memcmp(first->data, second->data, size) == 0;
            results[row] = (verified){option, same ? 0 : HUGE_VAL, 0};
            continue;
        }
        for (int64_t i = 0; i < first->count; i++) {
            const double expected = (double)second->data[i];
            verify_compare(&sum, ORACLE_F32, &first->data[i], &expected, &expected, 1);
        }
        const double ulp = oracle_ulp(type_of(input, option->slot));
        results[row] =
            (verified){option, sum.error, 2e-5 * fmax(1, sum.largest) + ulp * sum.largest};
    }
}
