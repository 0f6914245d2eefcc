/* Every kernel for attention on every device found, compared with the double-precision oracle.
 * Outputs are filled with NaN beforehand and have guard elements behind them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clattn/clattn.h>

#include "tests/for_attention.h"
#include "tests/oracle/oracle.h"

#define GUARD       32
#define GUARD_VALUE 12345.0f
#define BOUND       1e-5

typedef struct shape {
    int64_t batch, n_head, n_kv_head, n_q, n_kv, head_dim, value_dim;
    clattn_align align; /* CLATTN_ALIGN_NONE: not causal */
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, CLATTN_ALIGN_NONE},
    {1, 2, 1, 5, 7, 8, 8, CLATTN_ALIGN_NONE},
    {2, 4, 2, 49, 65, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 12, 12, 14, 14, 32, 32, CLATTN_ALIGN_NONE},
    {1, 1, 1, 47, 63, 33, 17, CLATTN_ALIGN_NONE},
    {1, 6, 3, 48, 256, 65, 129, CLATTN_ALIGN_TOP_LEFT},
    {1, 1, 1, 97, 257, 128, 80, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 2, 2, 131, 67, 16, 31, CLATTN_ALIGN_BOTTOM_RIGHT}, /* rows without keys */
    {1, 2, 2, 131, 67, 15, 64, CLATTN_ALIGN_TOP_LEFT},
    {3, 2, 2, 20, 0, 64, 64, CLATTN_ALIGN_NONE},
    {2, 2, 1, 0, 5, 8, 8, CLATTN_ALIGN_NONE},
    {0, 2, 1, 3, 5, 8, 8, CLATTN_ALIGN_NONE},
    {1, 1, 1, 25, 300, 576, 576, CLATTN_ALIGN_NONE},
    {1, 1, 1, 60, 513, 1, 257, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 8, 1, 1, 1000, 255, 3, CLATTN_ALIGN_BOTTOM_RIGHT},
    /* tiles of 64 and 32 queries by 32 and 64 keys, dimensions of each shape: one less, one more */
    {1, 2, 1, 63, 31, 64, 64, CLATTN_ALIGN_NONE},
    {1, 1, 1, 64, 32, 80, 80, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 1, 1, 65, 33, 96, 96, CLATTN_ALIGN_NONE},
    {1, 1, 1, 31, 127, 17, 128, CLATTN_ALIGN_NONE},
    {1, 1, 1, 33, 129, 192, 192, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 1, 1, 37, 191, 257, 256, CLATTN_ALIGN_TOP_LEFT},
    {1, 1, 1, 17, 193, 576, 512, CLATTN_ALIGN_NONE},
};

/* Numbers in [-1, 1) that are the same on every system. */
static float next_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1.0f;
}

static float *make_input(int64_t count, uint32_t seed)
{
    float *data = malloc((size_t)(count + 1) * sizeof *data);
    cr_assert_not_null(data);
    for (int64_t i = 0; i < count; i++)
        data[i] = next_number(&seed);
    return data;
}

static float *make_output(int64_t count)
{
    float *data = malloc((size_t)(count + GUARD) * sizeof *data);
    cr_assert_not_null(data);
    for (int64_t i = 0; i < count + GUARD; i++)
        data[i] = i < count ? NAN : GUARD_VALUE;
    return data;
}

static void check_output(const char *name, const float *x, const double *expected, int64_t count)
{
    double largest = 1;
    for (int64_t i = 0; i < count; i++)
        if (isfinite(expected[i]) && fabs(expected[i]) > largest)
            largest = fabs(expected[i]);
    for (int64_t i = 0; i < count; i++) {
        if (isnan(expected[i]))
            cr_assert(isnan(x[i]), "%s[%d] is %g, not NaN", name, (int)i, (double)x[i]);
        else if (isinf(expected[i]))
            cr_assert_eq(x[i], expected[i], "%s[%d] is %g, not %g", name, (int)i, (double)x[i],
                         expected[i]);
        else
            cr_assert(fabs(x[i] - expected[i]) <= BOUND * largest, "%s[%d] is %g, not %g", name,
                      (int)i, (double)x[i], expected[i]);
    }
    for (int64_t i = count; i < count + GUARD; i++)
        cr_assert_eq(x[i], GUARD_VALUE, "%s: wrote beyond the end", name);
}

/* Inputs, outputs and what is expected of one shape. */
typedef struct fixture {
    shape of;
    float *q, *k, *v, *out, *lse, *weights;
    oracle_problem expected;
    int64_t outs, rows;
} fixture;

static void set_up(fixture *f, const shape *of)
{
    const int64_t heads = of->batch * of->n_head, kv = of->batch * of->n_kv_head * of->n_kv;
    f->of = *of;
    f->rows = heads * of->n_q;
    f->outs = f->rows * of->value_dim;
    f->q = make_input(f->rows * of->head_dim, 1);
    f->k = make_input(kv * of->head_dim, 2);
    f->v = make_input(kv * of->value_dim, 3);
    f->out = make_output(f->outs);
    f->lse = make_output(f->rows);
    f->weights = make_output(f->rows * of->n_kv);
}

static void run_oracle(fixture *f)
{
    const shape *of = &f->of;
    f->expected = (oracle_problem){
        .batch = of->batch,
        .n_head = of->n_head,
        .n_kv_head = of->n_kv_head,
        .n_q = of->n_q,
        .n_kv = of->n_kv,
        .head_dim = of->head_dim,
        .value_dim = of->value_dim,
        .scale = 1.0 / sqrt((double)of->head_dim),
        .causal = of->align != CLATTN_ALIGN_NONE,
        .causal_offset = of->align == CLATTN_ALIGN_BOTTOM_RIGHT ? of->n_kv - of->n_q : 0,
        .q = f->q,
        .k = f->k,
        .v = f->v,
        .out = calloc((size_t)f->outs + 1, sizeof(double)),
        .lse = calloc((size_t)f->rows + 1, sizeof(double)),
        .weights = calloc((size_t)(f->rows * of->n_kv) + 1, sizeof(double)),
    };
    cr_assert(oracle_attention(&f->expected));
}

static void tear_down(fixture *f)
{
    free(f->q);
    free(f->k);
    free(f->v);
    free(f->out);
    free(f->lse);
    free(f->weights);
    free(f->expected.out);
    free(f->expected.lse);
    free(f->expected.weights);
}

/* With full, all outputs; else OUT alone. */
static clattn_status run(clattn_context *context, const fixture *f, bool full)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = f->of.batch;
    desc.n_head = f->of.n_head;
    desc.n_kv_head = f->of.n_kv_head;
    desc.n_q = f->of.n_q;
    desc.n_kv = f->of.n_kv;
    desc.head_dim = f->of.head_dim;
    desc.value_dim = f->of.value_dim;
    desc.causal = f->of.align != CLATTN_ALIGN_NONE;
    desc.align = f->of.align;
    if (full)
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, f->q},     {CLATTN_SLOT_K, 0, f->k},
        {CLATTN_SLOT_V, 0, f->v},     {CLATTN_SLOT_OUT, 0, f->out},
        {CLATTN_SLOT_LSE, 0, f->lse}, {CLATTN_SLOT_WEIGHTS, 0, f->weights},
    };
    return clattn_run(context, &desc, bindings, full ? 6 : 4);
}

/* The reference kernel takes everything; another may decline, but not everything. */
static void test_kernel(clattn_context *context, const char *kernel, int *accepted)
{
    const bool must = strcmp(kernel, "attention_reference") == 0;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int full = 0; full < 2; full++) {
            fixture f = {0};
            set_up(&f, &shapes[i]);
            run_oracle(&f);
            const clattn_status status = run(context, &f, full);
            if (status == CLATTN_OK) {
                char name[96];
                snprintf(name, sizeof name, "%s shape %d out", kernel, (int)i);
                check_output(name, f.out, f.expected.out, f.outs);
                ++*accepted;
            } else {
                cr_assert(!must && status == CLATTN_ERR_UNSUPPORTED, "%s shape %d: %s", kernel,
                          (int)i, clattn_error_message());
            }
            if (status == CLATTN_OK && full) {
                check_output("lse", f.lse, f.expected.lse, f.rows);
                check_output("weights", f.weights, f.expected.weights, f.rows * f.of.n_kv);
            }
            tear_down(&f);
        }
}

static clattn_context *open_device(uint32_t index, const char *kernel)
{
    char selector[16];
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    snprintf(selector, sizeof selector, "%u", (unsigned)index);
    options.device = selector;
    options.kernel = kernel;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

static uint32_t device_count(void)
{
    uint32_t count = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &count), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(count > 0);
    return count;
}

Test(kernels, agree_with_the_oracle)
{
    const uint32_t devices = device_count();
    for (uint32_t n = 0; n < clattn_kernel_count(); n++)
        for (uint32_t device = 0; device < devices; device++) {
            clattn_context *context = open_device(device, clattn_kernel_name(n));
            int accepted = 0;
            if (is_for_attention(context, clattn_kernel_name(n))) {
                test_kernel(context, clattn_kernel_name(n), &accepted);
                cr_assert(accepted > 0, "%s declined everything", clattn_kernel_name(n));
            }
            cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
        }
}

/* What a causal mask hides from some of the queries, and shows to others: the row of keys and
 * values that isn't finite. Many queries, and few, for which there are kernels of their own. */
static const struct {
    shape of;
    int64_t poisoned;
} partly_hidden[] = {
    {{1, 1, 1, 70, 70, 32, 40, CLATTN_ALIGN_TOP_LEFT}, 50},
    {{1, 1, 1, 3, 70, 32, 40, CLATTN_ALIGN_BOTTOM_RIGHT}, 68},
};

/* Of all kinds of poison, p counts in values and then in keys. */
static void check_poison(clattn_context *context, const char *kernel, size_t hidden, int p)
{
    static const float poison[] = {NAN, INFINITY, -INFINITY};
    const shape *of = &partly_hidden[hidden].of;
    const int64_t row = partly_hidden[hidden].poisoned;
    char name[96];
    fixture f = {0};
    set_up(&f, of);
    float *at = p < 3 ? f.v + row * of->value_dim : f.k + row * of->head_dim;
    at[3] = poison[p % 3];
    run_oracle(&f);
    bool full = true; /* some kernels return no weights */
    clattn_status status = run(context, &f, full);
    if (status == CLATTN_ERR_UNSUPPORTED)
        status = run(context, &f, full = false);
    snprintf(name, sizeof name, "%s, %d queries, %g in a %s: out", kernel, (int)of->n_q,
             (double)poison[p % 3], p < 3 ? "value" : "key");
    if (status == CLATTN_OK)
        check_output(name, f.out, f.expected.out, f.outs);
    else
        cr_assert(status == CLATTN_ERR_UNSUPPORTED && hidden == 0, "%s: %s", name,
                  clattn_error_message());
    if (status == CLATTN_OK && full)
        check_output("lse", f.lse, f.expected.lse, f.rows);
    tear_down(&f);
}

/* NaN and infinities that a causal mask hides stay hidden; visible ones show. */
Test(kernels, what_is_hidden_does_not_leak)
{
    for (uint32_t n = 0; n < clattn_kernel_count(); n++) {
        const char *kernel = clattn_kernel_name(n);
        clattn_context *context = open_device(0, kernel);
        if (is_for_attention(context, kernel))
            for (size_t hidden = 0; hidden < 2; hidden++)
                for (int p = 0; p < 6; p++)
                    check_poison(context, kernel, hidden, p);
        cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    }
}
