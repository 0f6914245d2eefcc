/* Gradients on every kernel and device, against the oracle: every option of the forward pass, with
 * poison in what must not count, sums over shared biases, extents of 0 and 1, repetition, and what
 * is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/random.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define KINDS        5 /* of poison: NaN, infinities, 1e30, -1e30 */

/* Blocks of queries and keys of the kernels: one less, the same, one more; primes. */
static const variety_size sizes[] = {
    {17, 13, 20, 17}, {48, 64, 16, 16}, {33, 63, 9, 33},  {5, 131, 33, 8},
    {25, 65, 64, 64}, {2, 257, 40, 31}, {49, 16, 65, 12}, {96, 7, 24, 1},
};

static void check(fuzz_problem *p, const char *name)
{
    fuzz_set set;
    fuzz_set_make(p, &set);
    variety_check(p, &set, name);
    fuzz_set_free(&set);
}

Test(gradient, every_option)
{
    variety_open_gradients();
    for (size_t n = 0; n < variety_count; n++)
        for (int kind = 0; kind < KINDS; kind += 2) {
            fuzz_problem p;
            const size_t size = (n + 3 * (size_t)kind) % COUNT(sizes);
            variety_make(&varieties[n], &sizes[size], 0, n + (size_t)kind, &p);
            variety_take_gradient(&p);
            p.poison = FUZZ_BOTH; /* clean and poisoned: the same bits */
            p.poison_kind = kind;
            check(&p, varieties[n].name);
        }
    variety_close();
}

/* Any of the dimensions, by strides of the bias or of its gradient. */
Test(gradient, shared_biases_are_summed)
{
    static const variety row = {"",
                                VARIETY_BIT(BIAS) | VARIETY_BIT(MASK),
                                VARIETY_F32,
                                0,
                                {.causal = true, .align = CLATTN_ALIGN_BOTTOM_RIGHT}};
    variety_open_gradients();
    for (int sums = 0; sums < 32; sums++) {
        fuzz_problem p;
        char name[40];
        variety_make(&row, &(variety_size){19, 37, 8, 5}, 0, (uint64_t)sums, &p);
        variety_take_gradient(&p);
        const int slot = sums < 16 ? CLATTN_SLOT_BIAS : CLATTN_SLOT_GRAD_BIAS;
        p.tensor[slot].strided = true;
        p.tensor[slot].broadcast = (uint8_t)(sums % 16);
        snprintf(name, sizeof name, "sums %d", sums);
        check(&p, name);
    }
    variety_close();
}

/* Nothing to sum is 0, which has to be written; one gradient alone. */
Test(gradient, empty_and_single)
{
    static const variety row = {"",
                                VARIETY_BIT(BIAS) | VARIETY_BIT(SINK) | VARIETY_BIT(Q_LENGTHS),
                                VARIETY_SHARED,
                                0,
                                {.index = 0}};
    static const variety_size of[] = {{0, 5, 3, 2}, {5, 0, 3, 2}, {1, 1, 1, 1}, {0, 0, 4, 4}};
    variety_open_gradients();
    for (size_t n = 0; n < 3 * COUNT(of); n++) {
        fuzz_problem p;
        variety_make(&row, &of[n % COUNT(of)], 0, n, &p);
        variety_take_gradient(&p);
        p.batch = (int64_t)n % 3;
        check(&p, "empty");
    }
    for (int slot = CLATTN_SLOT_GRAD_Q; slot <= CLATTN_SLOT_GRAD_SINK; slot++) {
        fuzz_problem p;
        variety_make(&row, &sizes[0], 0, (uint64_t)slot, &p);
        variety_take_gradient(&p);
        for (int other = CLATTN_SLOT_GRAD_Q; other < FUZZ_SLOTS; other++)
            p.tensor[other].present = other == slot;
        check(&p, "single");
    }
    variety_close();
}

/* Scores of 1e4 and biases of the lowest number, whose LSE float32 can't hold in full. */
Test(gradient, large_scores)
{
    static const variety rows[] = {
        {"large",
         0,
         VARIETY_F32,
         0,
         {.tensor[CLATTN_SLOT_Q].values = FUZZ_LARGE, .tensor[CLATTN_SLOT_K].values = FUZZ_LARGE}},
        {"lowest",
         VARIETY_BIT(BIAS),
         VARIETY_F32,
         0,
         {.tensor[CLATTN_SLOT_BIAS].values = FUZZ_ALL_LOWEST}},
        {"lowest, sink",
         VARIETY_BIT(BIAS) | VARIETY_BIT(SINK),
         VARIETY_F32,
         0,
         {.tensor[CLATTN_SLOT_BIAS].values = FUZZ_ALL_LOWEST}},
    };
    variety_open_gradients();
    for (size_t n = 0; n < 2 * COUNT(rows); n++) {
        fuzz_problem p;
        variety_make(&rows[n / 2], &sizes[n], 0, n, &p);
        variety_take_gradient(&p);
        p.has_scale = true;
        p.scale = n / 2 ? 0.3F : 30;
        check(&p, rows[n / 2].name);
    }
    variety_close();
}

/* Puts a NaN into an element that counts; the comparison wants NaN wherever the oracle has it. */
Test(gradient, a_visible_nan_shows)
{
    static const int slots[] = {CLATTN_SLOT_Q, CLATTN_SLOT_K, CLATTN_SLOT_V, CLATTN_SLOT_GRAD_OUT};
    variety_open_gradients();
    for (size_t n = 0; n < variety_count; n++) {
        fuzz_problem p;
        fuzz_set set;
        fuzz_expected e;
        int64_t chosen = -1, seen = 0;
        const int slot = slots[n % COUNT(slots)];
        fuzz_random r = fuzz_random_of(n, 1);
        variety_make(&varieties[n], &sizes[n % COUNT(sizes)], 0, n, &p);
        variety_take_gradient(&p);
        p.poison = FUZZ_POISON;
        p.poison_kind = 3;
        fuzz_set_make(&p, &set);
        fuzz_expect(&p, &set, &e);
        for (int64_t i = 0; i < set.slot[slot].elements; i++)
            if (e.used[slot][i] && fuzz_between(&r, 0, seen++) == 0)
                chosen = i;
        fuzz_expected_free(&e);
        if (p.dropout == 0 && chosen >= 0) {
            fuzz_store(&set.slot[slot], chosen, (double)NAN);
            fuzz_fill_forward(&p, &set);
            variety_check(&p, &set, varieties[n].name);
        }
        fuzz_set_free(&set);
    }
    variety_close();
}

/* A sink whose share of the softmax is 0 in float32 has no part in NaN; any other one shows it. */
Test(gradient, a_sink_without_a_share)
{
    static const variety row = {"", VARIETY_BIT(SINK), VARIETY_F32, 0, {.index = 0}};
    static const double sinks[] = {-3e38, -1e4, -200, -50, 0, 3e38, (double)-INFINITY};
    const int64_t first[5] = {0};
    variety_open_gradients();
    for (size_t n = 0; n < COUNT(sinks); n++) {
        fuzz_problem p;
        fuzz_set set;
        char name[40];
        variety_make(&row, &sizes[n % COUNT(sizes)], 0, n, &p);
        variety_take_gradient(&p);
        fuzz_set_make(&p, &set);
        fuzz_store(&set.slot[CLATTN_SLOT_V], fuzz_element(&p, &set, CLATTN_SLOT_V, first),
                   (double)NAN);
        for (int64_t h = 0; h < set.slot[CLATTN_SLOT_SINK].elements; h++)
            fuzz_store(&set.slot[CLATTN_SLOT_SINK], h, sinks[n]);
        fuzz_fill_forward(&p, &set);
        snprintf(name, sizeof name, "sink %g", sinks[n]);
        variety_check(&p, &set, name);
        fuzz_set_free(&set);
    }
    variety_close();
}

/* --- what is refused -------------------------------------------------------------------------- */

static const clattn_attention_desc *tiny(void)
{
    static clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = 1;
    desc.head_dim = desc.value_dim = 1;
    desc.slots = VARIETY_BIT(LSE) | VARIETY_BIT(GRAD_Q);
    return &desc;
}

static void expect(clattn_status status, clattn_status expected, const char *says)
{
    cr_assert_eq(status, expected, "%s: %d", says, (int)status);
    cr_assert(strstr(clattn_error_message(), says), "\"%s\" doesn't say \"%s\"",
              clattn_error_message(), says);
}

Test(gradient, refusals)
{
    float number[8] = {1, 1, 1, 1, 0, 1, 0};
    clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, &number[0]},      {CLATTN_SLOT_K, 0, &number[1]},
        {CLATTN_SLOT_V, 0, &number[2]},      {CLATTN_SLOT_OUT, 0, &number[3]},
        {CLATTN_SLOT_LSE, 0, &number[4]},    {CLATTN_SLOT_GRAD_OUT, 0, &number[5]},
        {CLATTN_SLOT_GRAD_Q, 0, &number[6]},
    };
    clattn_plan *plan = NULL;
    clattn_context *context;
    clattn_attention_desc desc = *tiny();
    cr_assert_eq(clattn_context_create(NULL, &context), CLATTN_OK);
    cr_assert_eq(clattn_run_gradient(context, &desc, bindings, COUNT(bindings)), CLATTN_OK, "%s",
                 clattn_error_message());
    expect(clattn_run_gradient(NULL, &desc, bindings, 7), CLATTN_ERR_ARGUMENT, "context");
    expect(clattn_run_gradient(context, NULL, bindings, 7), CLATTN_ERR_ARGUMENT, "desc");
    expect(clattn_run_gradient(context, &desc, bindings, 6), CLATTN_ERR_ARGUMENT,
           "GRAD_Q: is not bound");
    expect(clattn_run(context, &desc, bindings, 7), CLATTN_ERR_ARGUMENT,
           "slots: GRAD_Q has no part in this operation");
    bindings[6].data = &number[3];
    expect(clattn_run_gradient(context, &desc, bindings, 7), CLATTN_ERR_ARGUMENT,
           "GRAD_Q: is written and shares memory with OUT");
    expect(clattn_plan_attention_gradient(context, &desc, NULL), CLATTN_ERR_ARGUMENT, "plan");
    desc.score_function = "float score(float s, int batch, int head, int q, int k,\n"
                          "            __global const float *params) { return s; }\n";
    expect(clattn_plan_attention_gradient(context, &desc, &plan), CLATTN_ERR_ARGUMENT,
           "score_gradient: is NULL");
    desc.score_gradient = "float derivative(float s) { return 1.0f; }\n";
    expect(clattn_plan_attention_gradient(context, &desc, &plan), CLATTN_ERR_BUILD,
           "score_gradient: the text defines no function `score_gradient`");
    cr_assert_null(plan);
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
}
