/* The problem of functions_rig.h. */
#include "functions_rig.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(trial) (FUNCTIONS_BATCH * FUNCTIONS_HEADS * (trial)->size.n_q)

static float *numbers(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)count * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = rig_number(&seed);
    return x;
}

static float *not_written(int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

void functions_set_up(functions_trial *trial, const functions_set *of, const functions_size *size)
{
    *trial = (functions_trial){.of = *of, .size = *size};
    trial->q = numbers(ROWS(trial) * FUNCTIONS_DIM, 1);
    trial->k = numbers(FUNCTIONS_BATCH * size->n_kv * FUNCTIONS_DIM, 2);
    trial->v = numbers(FUNCTIONS_BATCH * size->n_kv * FUNCTIONS_VALUES, 3);
    trial->params = numbers(1000, 4);
    if (of->params)
        trial->n_params = of->params(trial->params, size->n_kv);
    trial->out = not_written(ROWS(trial) * FUNCTIONS_VALUES);
    trial->lse = not_written(ROWS(trial));
    trial->weights = not_written(ROWS(trial) * size->n_kv);
}

void functions_tear_down(functions_trial *trial)
{
    float *owned[] = {trial->q,   trial->k,   trial->v,      trial->params,
                      trial->out, trial->lse, trial->weights};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
}

static void describe(const functions_trial *trial, clattn_attention_desc *desc)
{
    clattn_attention_desc_init(desc);
    desc->batch = FUNCTIONS_BATCH;
    desc->n_head = FUNCTIONS_HEADS;
    desc->n_kv_head = 1;
    desc->n_q = trial->size.n_q;
    desc->n_kv = trial->size.n_kv;
    desc->head_dim = FUNCTIONS_DIM;
    desc->value_dim = FUNCTIONS_VALUES;
    desc->has_scale = 1;
    desc->scale = 1;
    desc->align = trial->size.align;
    desc->align_offset = trial->size.align_offset;
    desc->score_function = trial->of.score;
    desc->mask_function = trial->of.mask;
    desc->slots = trial->full ? RIG_FULL : CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    if (trial->n_params)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PARAMS);
    desc->n_params = trial->n_params;
}

clattn_status functions_try(clattn_context *context, functions_trial *trial)
{
    clattn_host_binding bindings[7] = {
        {CLATTN_SLOT_Q, 0, trial->q},     {CLATTN_SLOT_K, 0, trial->k},
        {CLATTN_SLOT_V, 0, trial->v},     {CLATTN_SLOT_OUT, 0, trial->out},
        {CLATTN_SLOT_LSE, 0, trial->lse},
    };
    uint32_t count = 5;
    clattn_attention_desc desc;
    describe(trial, &desc);
    if (trial->full)
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_WEIGHTS, 0, trial->weights};
    if (trial->n_params)
        bindings[count++] = (clattn_host_binding){CLATTN_SLOT_PARAMS, 0, trial->params};
    return clattn_run(context, &desc, bindings, count);
}

bool functions_run(clattn_context *context, functions_trial *trial)
{
    const clattn_status status = functions_try(context, trial);
    const bool must = strstr(rig_said(), "attention_reference") != NULL;
    cr_assert(status == CLATTN_OK || (status == CLATTN_ERR_UNSUPPORTED && !must), "%s: %s",
              rig_said(), clattn_error_message());
    return status == CLATTN_OK;
}

int64_t functions_offset(const functions_size *size)
{
    return size->align == CLATTN_ALIGN_BOTTOM_RIGHT ? size->n_kv - size->n_q : size->align_offset;
}

int64_t functions_range_params(float *params, int64_t n_kv)
{
    params[0] = params[1] = 0;
    params[2] = (float)n_kv;
    return 3;
}

static double *doubles(int64_t count)
{
    double *x = calloc((size_t)count, sizeof *x);
    cr_assert_not_null(x);
    return x;
}

static void compare(const char *name, const float *x, const double *expected, int64_t count)
{
    double largest = 1;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(expected[i]))
            largest = fmax(largest, fabs(expected[i]));
    for (int64_t i = 0; i < count; i++) {
        const double error = fabs((double)x[i] - expected[i]);
        cr_assert((double)x[i] == expected[i] || error <= RIG_BOUND * largest,
                  "%s: %s[%d of %d] is %.9g, not %.9g", rig_said(), name, (int)i, (int)count,
                  (double)x[i], expected[i]);
    }
}

void functions_check(const functions_trial *trial)
{
    const int64_t rows = ROWS(trial);
    const oracle_problem expected = {
        .batch = FUNCTIONS_BATCH,
        .n_head = FUNCTIONS_HEADS,
        .n_kv_head = 1,
        .n_q = trial->size.n_q,
        .n_kv = trial->size.n_kv,
        .head_dim = FUNCTIONS_DIM,
        .value_dim = FUNCTIONS_VALUES,
        .scale = 1,
        .causal_offset = functions_offset(&trial->size),
        .q = trial->q,
        .k = trial->k,
        .v = trial->v,
        .out = doubles(rows * FUNCTIONS_VALUES),
        .lse = doubles(rows),
        .weights = doubles(rows * trial->size.n_kv),
        .score_function = trial->of.score_function,
        .mask_function = trial->of.mask_function,
        .user = trial->params,
    };
    cr_assert(oracle_attention(&expected));
    compare("out", trial->out, expected.out, rows * FUNCTIONS_VALUES);
    compare("lse", trial->lse, expected.lse, rows);
    if (trial->full)
        compare("weights", trial->weights, expected.weights, rows * trial->size.n_kv);
    free(expected.out);
    free(expected.lse);
    free(expected.weights);
}

bool functions_equal(const functions_trial *a, const functions_trial *b)
{
    const size_t rows = (size_t)ROWS(a) * sizeof(float);
    return memcmp(a->out, b->out, rows * FUNCTIONS_VALUES) == 0 &&
           memcmp(a->lse, b->lse, rows) == 0;
}

char *functions_copy(const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    cr_assert_not_null(copy);
    return strcpy(copy, text);
}

char *functions_read(const char *folder, const char *name)
{
    char path[1024], text[1 << 14];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    const size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    cr_assert(size > 0 && size < sizeof text - 1, "%s", path);
    text[size] = 0;
    return functions_copy(text);
}
