/* The comparison goes head by head in blocks of queries, so that it needs little memory and can say
 * how far it is. What is allowed, with u = 2^-23 and all maxima over the tensor:
 *   the larger of  1e-5 * max(1, max|expected|)
 *   and            2 * error of the plain computation in float32 + 2 u * max|expected|
 * where for the output the last maximum is that of |v| (docs/numerics.md). The second is larger
 * where scores are so large that float32 itself can do no better. */
#include "tool/verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/oracle.h"
#include "tool/plain.h"

/* What comparing one tensor found so far. */
typedef struct tally {
    double error, plain_error, largest;
} tally;

typedef struct verification {
    const clattn_attention_desc *desc;
    const attention_tensors *tensors;
    int64_t block; /* queries at a time */
    oracle_problem oracle;
    plain_results plain;
    tally out, lse, weights;
} verification;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static double difference(double x, double expected)
{
    if (x == expected || (isnan(x) && isnan(expected)))
        return 0;
    return isfinite(x) && isfinite(expected) ? fabs(x - expected) : INFINITY;
}

/* x, expected, plain: (count). Expected values beyond float32 count as infinite. */
static void compare(tally *sum, const float *x, const double *expected, const float *plain,
                    int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const bool fits = isfinite((float)expected[i]);
        const double wanted = fits ? expected[i] : (double)(float)expected[i];
        const double error = difference((double)x[i], wanted);
        const double plain_error = difference((double)plain[i], wanted);
        sum->error = error > sum->error ? error : sum->error;
        if (fits && plain_error > sum->plain_error && isfinite(plain_error))
            sum->plain_error = plain_error;
        if (fits && fabs(wanted) > sum->largest)
            sum->largest = fabs(wanted);
    }
}

static double allowed(const tally *sum, double unit)
{
    const double simple = 1e-5 * fmax(1, sum->largest);
    return fmax(simple, 2 * sum->plain_error + ldexp(unit, -22));
}

/* Queries `first` to first + block of head h of batch entry b. */
static bool verify_block(verification *of, int64_t b, int64_t h, int64_t first)
{
    const clattn_attention_desc *desc = of->desc;
    const npy_array *array = of->tensors->array;
    const int64_t g = b * desc->n_kv_head + h / (desc->n_head / desc->n_kv_head);
    const int64_t row = (b * desc->n_head + h) * desc->n_q + first;
    oracle_problem *p = &of->oracle;
    p->n_q = smaller(of->block, desc->n_q - first);
    p->causal_offset = first;
    if (desc->align == CLATTN_ALIGN_BOTTOM_RIGHT)
        p->causal_offset += desc->n_kv - desc->n_q;
    p->q = array[CLATTN_SLOT_Q].data + row * desc->head_dim;
    p->k = array[CLATTN_SLOT_K].data + g * desc->n_kv * desc->head_dim;
    p->v = array[CLATTN_SLOT_V].data + g * desc->n_kv * desc->value_dim;
    if (!oracle_attention(p))
        return false;
    plain_attention(p, &of->plain);
    compare(&of->out, array[CLATTN_SLOT_OUT].data + row * desc->value_dim, p->out, of->plain.out,
            p->n_q * desc->value_dim);
    if (array[CLATTN_SLOT_LSE].data)
        compare(&of->lse, array[CLATTN_SLOT_LSE].data + row, p->lse, of->plain.lse, p->n_q);
    if (array[CLATTN_SLOT_WEIGHTS].data)
        compare(&of->weights, array[CLATTN_SLOT_WEIGHTS].data + row * desc->n_kv, p->weights,
                of->plain.weights, p->n_q * desc->n_kv);
    return true;
}

static bool verify_all(verification *of, progress *line)
{
    const clattn_attention_desc *desc = of->desc;
    const int64_t total = desc->batch * desc->n_head * desc->n_q;
    int64_t done = 0;
    for (int64_t b = 0; b < desc->batch; b++)
        for (int64_t h = 0; h < desc->n_head; h++)
            for (int64_t first = 0; first < desc->n_q; first += of->block) {
                if (!verify_block(of, b, h, first))
                    return false;
                done += of->oracle.n_q;
                progress_set(line, done, total);
            }
    return true;
}

/* Memory for the results of one block. */
static bool begin(verification *of)
{
    enum { MOST_SCORES = 1 << 18, MOST_QUERIES = 32 };
    const clattn_attention_desc *desc = of->desc;
    const int64_t fitting = MOST_SCORES / (desc->n_kv + 1);
    of->block = smaller(fitting > 1 ? fitting : 1, MOST_QUERIES);
    const size_t rows = (size_t)of->block;
    const size_t outs = rows * (size_t)desc->value_dim, scores = rows * (size_t)desc->n_kv + 1;
    of->oracle = (oracle_problem){.batch = 1,
                                  .n_head = 1,
                                  .n_kv_head = 1,
                                  .n_kv = desc->n_kv,
                                  .head_dim = desc->head_dim,
                                  .value_dim = desc->value_dim,
                                  .scale = desc->has_scale ? (double)desc->scale
                                                           : 1 / sqrt((double)desc->head_dim),
                                  .causal = desc->causal != 0,
                                  .out = calloc(outs, sizeof(double)),
                                  .lse = calloc(rows, sizeof(double)),
                                  .weights = calloc(scores, sizeof(double))};
    of->plain = (plain_results){.out = calloc(outs, sizeof(float)),
                                .lse = calloc(rows, sizeof(float)),
                                .weights = calloc(scores, sizeof(float))};
    return of->oracle.out && of->oracle.lse && of->oracle.weights && of->plain.out &&
           of->plain.lse && of->plain.weights;
}

static void finish(verification *of)
{
    free(of->oracle.out);
    free(of->oracle.lse);
    free(of->oracle.weights);
    free(of->plain.out);
    free(of->plain.lse);
    free(of->plain.weights);
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

static void report(const verification *of, verified results[VERIFIED_SLOTS])
{
    const struct {
        clattn_slot slot;
        const tally *sum;
        double unit;
    } compared[VERIFIED_SLOTS] = {
        {CLATTN_SLOT_OUT, &of->out, largest_of(&of->tensors->array[CLATTN_SLOT_V])},
        {CLATTN_SLOT_LSE, &of->lse, of->lse.largest},
        {CLATTN_SLOT_WEIGHTS, &of->weights, of->weights.largest},
    };
    memset(results, 0, VERIFIED_SLOTS * sizeof *results);
    for (int i = 0; i < VERIFIED_SLOTS; i++) {
        if (!of->tensors->path[compared[i].slot])
            continue;
        for (uint32_t row = 0; tensor_option_get(row); row++)
            if (tensor_option_get(row)->slot == compared[i].slot)
                results[i].option = tensor_option_get(row);
        results[i].error = compared[i].sum->error;
        results[i].allowed = allowed(compared[i].sum, compared[i].unit);
    }
}

bool verify_attention(const clattn_attention_desc *desc, const attention_tensors *tensors,
                      progress *line, verified results[VERIFIED_SLOTS])
{
    verification of = {.desc = desc, .tensors = tensors};
    const bool good = begin(&of) && verify_all(&of, line);
    if (good)
        report(&of, results);
    finish(&of);
    return good;
}
