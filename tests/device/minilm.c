/* test_minilm_cases FOLDER: attention on each case below FOLDER (q.npy, k.npy, v.npy), every kernel
 * that accepts it, compared with the double-precision oracle and, where there is one, with
 * expected_out.npy and expected_weights.npy; then with keys and values as integers. Exit status 0
 * if every error is within its bound. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clattn/clattn.h>

#include "tests/conformance/npy.h"
#include "tests/conformance/walk.h"
#include "tests/oracle/oracle.h"
#include "tests/oracle/quantise.h"

#define BOUND 1e-5

enum { Q, K, V, EXPECTED_OUT, EXPECTED_WEIGHTS, ARRAYS };
static const char *const names[ARRAYS] = {"q", "k", "v", "expected_out", "expected_weights"};

typedef struct minilm_case {
    npy_array array[ARRAYS]; /* count 0: there is none */
    float *input[3];
    float *out, *lse, *weights;
    oracle_problem oracle;
} minilm_case;

static int load(minilm_case *c, const char *folder)
{
    char path[1024];
    for (int i = 0; i < ARRAYS; i++) {
        snprintf(path, sizeof path, "%s/%s.npy", folder, names[i]);
        const char *wrong = npy_read(path, &c->array[i]);
        if (wrong && i < EXPECTED_OUT) {
            fprintf(stderr, "%s: %s\n", path, wrong);
            return 0;
        }
    }
    for (int i = 0; i < 3; i++) {
        c->input[i] = malloc((size_t)c->array[i].count * sizeof(float));
        for (int64_t n = 0; c->input[i] && n < c->array[i].count; n++)
            c->input[i][n] = (float)c->array[i].value[n];
    }
    return c->input[Q] && c->input[K] && c->input[V];
}

static int compute_expected(minilm_case *c)
{
    const int64_t *q = c->array[Q].shape, *v = c->array[V].shape;
    const int64_t rows = q[0] * q[1] * q[2];
    c->out = malloc((size_t)(rows * v[3]) * sizeof(float));
    c->lse = malloc((size_t)rows * sizeof(float));
    c->weights = malloc((size_t)(rows * v[2]) * sizeof(float));
    c->oracle = (oracle_problem){.batch = q[0],
                                 .n_head = q[1],
                                 .n_kv_head = v[1],
                                 .n_q = q[2],
                                 .n_kv = v[2],
                                 .head_dim = q[3],
                                 .value_dim = v[3],
                                 .scale = 1 / sqrt((double)q[3]),
                                 .q = c->input[Q],
                                 .k = c->input[K],
                                 .v = c->input[V],
                                 .out = malloc((size_t)(rows * v[3]) * sizeof(double)),
                                 .lse = malloc((size_t)rows * sizeof(double)),
                                 .weights = malloc((size_t)(rows * v[2]) * sizeof(double))};
    return c->out && c->lse && c->weights && c->oracle.out && c->oracle.lse && c->oracle.weights &&
           oracle_attention(&c->oracle);
}

static void finish(minilm_case *c)
{
    for (int i = 0; i < ARRAYS; i++)
        npy_free(&c->array[i]);
    for (int i = 0; i < 3; i++)
        free(c->input[i]);
    free(c->out);
    free(c->lse);
    free(c->weights);
    free(c->oracle.out);
    free(c->oracle.lse);
    free(c->oracle.weights);
}

/* Largest |x - expected| / max(1, max|expected|); infinite where x is NaN. */
static double error_of(const float *x, const double *expected, int64_t count)
{
    double largest = 1, error = 0;
    for (int64_t i = 0; i < count; i++) {
        const double difference = fabs(x[i] - expected[i]);
        largest = fabs(expected[i]) > largest ? fabs(expected[i]) : largest;
        error = difference <= error ? error : isnan(difference) ? INFINITY : difference;
    }
    return error / largest;
}

static int report_within(const char *what, double error, double bound)
{
    printf("  %-30s largest error %.2e, allowed %.0e%s\n", what, error, bound,
           error <= bound ? "" : ": FAILED");
    return error <= bound;
}

static int report(const char *what, double error)
{
    return report_within(what, error, BOUND);
}

static int compare(const minilm_case *c)
{
    const oracle_problem *o = &c->oracle;
    const int64_t rows = o->batch * o->n_head * o->n_q;
    int good = report("out against the oracle", error_of(c->out, o->out, rows * o->value_dim));
    good &= report("lse against the oracle", error_of(c->lse, o->lse, rows));
    good &= report("weights against the oracle", error_of(c->weights, o->weights, rows * o->n_kv));
    if (c->array[EXPECTED_OUT].count)
        good &= report("out against the model's",
                       error_of(c->out, c->array[EXPECTED_OUT].value, rows * o->value_dim));
    if (c->array[EXPECTED_WEIGHTS].count)
        good &= report("weights against the model's",
                       error_of(c->weights, c->array[EXPECTED_WEIGHTS].value, rows * o->n_kv));
    return good;
}

/* ---- keys and values as integers ------------------------------------------------------------- */

/* What docs/numerics.md says of this data. */
static const struct {
    const char *name;
    int bits;
    int64_t channels;
    double bound;
} types[] = {{"8 bits", 8, 0, 2e-2},
             {"8 bits, 32 channels a scale", 8, 32, 2e-2},
             {"4 bits", 4, 0, 3e-1},
             {"4 bits, 32 channels a scale", 4, 32, 3e-1}};

/* One tensor's rows as integers and scales; two integers in a byte where they have 4 bits. */
static void quantise(const npy_array *from, const float *x, int bits, int64_t channels,
                     uint8_t *bytes, float *scales)
{
    const int64_t dim = from->shape[3], groups = channels ? (dim + channels - 1) / channels : 1;
    int8_t row[576];
    float left[576];
    for (int64_t i = 0; i < from->count / dim; i++) {
        const oracle_integers to = {bits, channels, row, scales + i * groups};
        oracle_quantise(&to, x + i * dim, dim, left);
        for (int64_t d = 0; d < dim; d++)
            if (bits == 8)
                bytes[i * dim + d] = (uint8_t)row[d];
            else if (d % 2 == 0)
                bytes[(i * dim + d) / 2] = (uint8_t)((row[d] & 15) | (row[d + 1] & 15) << 4);
    }
}

/* Attention to integers, against the oracle on the floats that they were made of. */
static int run_integers(clattn_context *context, const minilm_case *c, clattn_attention_desc desc,
                        size_t t)
{
    uint8_t *bytes[2] = {malloc((size_t)c->array[K].count), malloc((size_t)c->array[V].count)};
    float *scales[2] = {malloc((size_t)c->array[K].count * sizeof(float)),
                        malloc((size_t)c->array[V].count * sizeof(float))};
    int good = bytes[0] && bytes[1] && scales[0] && scales[1];
    for (int i = 0; good && i < 2; i++) {
        desc.tensor[CLATTN_SLOT_K + i].dtype = types[t].bits == 8 ? CLATTN_I8 : CLATTN_I4;
        quantise(&c->array[K + i], c->input[K + i], types[t].bits, types[t].channels, bytes[i],
                 scales[i]);
    }
    desc.scale_channels = types[t].channels;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_K_SCALES) | CLATTN_SLOT_BIT(CLATTN_SLOT_V_SCALES);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, c->input[Q]},      {CLATTN_SLOT_K, 0, bytes[0]},
        {CLATTN_SLOT_V, 0, bytes[1]},         {CLATTN_SLOT_OUT, 0, c->out},
        {CLATTN_SLOT_K_SCALES, 0, scales[0]}, {CLATTN_SLOT_V_SCALES, 0, scales[1]},
    };
    good = good && clattn_run(context, &desc, bindings, 6) == CLATTN_OK;
    if (good) {
        const oracle_problem *o = &c->oracle;
        const int64_t count = o->batch * o->n_head * o->n_q * o->value_dim;
        good = report_within(types[t].name, error_of(c->out, o->out, count), types[t].bound);
    } else
        fprintf(stderr, "%s\n", clattn_error_message());
    for (int i = 0; i < 2; i++) {
        free(bytes[i]);
        free(scales[i]);
    }
    return good;
}

static int run(clattn_context *context, const char *folder)
{
    minilm_case c = {0};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    int good = load(&c, folder) && compute_expected(&c);
    if (good) {
        desc.batch = c.oracle.batch;
        desc.n_head = c.oracle.n_head;
        desc.n_kv_head = c.oracle.n_kv_head;
        desc.n_q = c.oracle.n_q;
        desc.n_kv = c.oracle.n_kv;
        desc.head_dim = c.oracle.head_dim;
        desc.value_dim = c.oracle.value_dim;
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
        const clattn_host_binding bindings[] = {
            {CLATTN_SLOT_Q, 0, c.input[Q]}, {CLATTN_SLOT_K, 0, c.input[K]},
            {CLATTN_SLOT_V, 0, c.input[V]}, {CLATTN_SLOT_OUT, 0, c.out},
            {CLATTN_SLOT_LSE, 0, c.lse},    {CLATTN_SLOT_WEIGHTS, 0, c.weights},
        };
        printf("%s\n", folder);
        good = clattn_run(context, &desc, bindings, 6) == CLATTN_OK;
        if (!good)
            fprintf(stderr, "%s\n", clattn_error_message());
    }
    good = good && compare(&c);
    for (size_t t = 0; good && t < sizeof types / sizeof types[0]; t++)
        good = run_integers(context, &c, desc, t);
    finish(&c);
    return good;
}

int main(int argc, char **argv)
{
    walk_list cases = {0};
    clattn_context *context = NULL;
    if (argc != 2 || !walk_find_cases(argv[1], &cases) || cases.count == 0) {
        fprintf(stderr, "usage: test_minilm_cases FOLDER (with cases below it)\n");
        return 2;
    }
    int good = clattn_context_create(NULL, &context) == CLATTN_OK;
    if (!good)
        fprintf(stderr, "%s\n", clattn_error_message());
    for (size_t i = 0; context && i < cases.count; i++)
        good &= run(context, cases.path[i]);
    good &= clattn_context_destroy(context) == CLATTN_OK;
    walk_finish(&cases);
    return good ? 0 : 1;
}
