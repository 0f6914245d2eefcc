/* Additive attention and its gradients on every kernel, against the oracle: sizes around those of
 * tiles and blocks, types and layouts, arguments of every size, NaN and infinities, what is 0, the
 * numerics contract, and repetition. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "additive_contract.h"
#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void run_form(clattn_context *context, clattn_dispatcher *dispatcher,
                     const additive_form *form, double scale)
{
    additive_problem p;
    additive_make(form, &p);
    additive_run(context, dispatcher, &p);
    additive_check(&p, scale);
    additive_free(&p);
}

static const additive_form sizes[] = {
    {1, 1, 1, 1, 1, 1, .seed = 1},
    {2, 1, 5, 7, 4, 3, .bias = true, .seed = 2},
    {1, 2, 16, 64, 16, 16, .seed = 3},
    {1, 1, 17, 65, 17, 33, .bias = true, .kv_lengths = true, .seed = 4},
    {2, 2, 15, 63, 5, 8, .mask = true, .by_lse = true, .seed = 5},
    {3, 1, 33, 131, 67, 20, true, true, true, true, true, .seed = 6},
    {1, 1, 3, 700, 33, 7, .kv_lengths = true, .by_lse = true, .seed = 7},
    {1, 1, 2, 5, 600, 577, .bias = true, .seed = 8},
    {0, 1, 5, 7, 4, 3, .bias = true, .seed = 9},
    {2, 1, 0, 7, 4, 3, .bias = true, .seed = 10},
    {2, 1, 5, 0, 4, 3, .bias = true, .seed = 11},
    {2, 3, 19, 37, 12, 9, .bias = true, .mask = true, .layout = ADDITIVE_REVERSED, .seed = 12},
    {2, 3, 19, 37, 33, 17, .bias = true, .q_lengths = true, .layout = ADDITIVE_STEPS, .seed = 13},
    {2, 1, 19, 37, 12, 9, .bias = true, .dtype = CLATTN_F16, .seed = 14},
    {1, 2, 21, 70, 24, 16, .mask = true, .dtype = CLATTN_BF16, .layout = ADDITIVE_STEPS,
     .seed = 15},
};

static void every_size(clattn_context *context, clattn_dispatcher *dispatcher)
{
    for (size_t n = 0; n < COUNT(sizes); n++) {
        rig_say("%s: size %d", additive_family(), (int)n);
        run_form(context, dispatcher, &sizes[n], 1);
    }
}

Test(additive, sizes)
{
    additive_each_kernel(every_size);
}

/* Multiplies channel c of Q, K and CHANNEL_BIAS by factor[c % factors]: groups of channels that
 * need every form. */
static void stretch(additive_problem *p, const float *factor, int64_t factors)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_Q, CLATTN_SLOT_K, CLATTN_SLOT_CHANNEL_BIAS};
    for (size_t n = 0; n < COUNT(slots); n++)
        for (int64_t i = 0; p->value[slots[n]] && i < p->count[slots[n]]; i++)
            p->value[slots[n]][i] *= factor[i % p->form.channels % factors];
}

/* Numbers from 1e-6 to 1e6 and beyond the exponentials' range, in all channels and mixed. */
static void every_magnitude(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float factors[][9] = {
        {1e-6f, 1e-6f, 1e-6f, 1e-6f, 1e-6f, 1e-6f, 1e-6f, 1e-6f, 1e-6f},
        {0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f},
        {5, 5, 5, 5, 5, 5, 5, 5, 5},
        {19, 19, 19, 19, 19, 19, 19, 19, 19},
        {100, 100, 100, 100, 100, 100, 100, 100, 100},
        {1e30f, 1e6f, 1e30f, 3e38f, 1e6f, 1e6f, 1e6f, 1e6f, 1e6f},
        {0.1f, 3, 0.2f, 12, 0.3f, 60, 1e5f, 0.01f, 2},
    };
    for (size_t n = 0; n < COUNT(factors); n++)
        for (int64_t channels = 9; channels <= 90; channels *= 10) {
            const additive_form form = {.batch = 2,
                                        .n_head = 1,
                                        .n_q = 18,
                                        .n_kv = 67,
                                        .channels = channels,
                                        .value_dim = 9,
                                        .bias = n % 2 == 0,
                                        .mask = true,
                                        .seed = 20 + (uint32_t)n};
            additive_problem p;
            rig_say("%s: magnitude %d, %d channels", additive_family(), (int)n, (int)channels);
            additive_make(&form, &p);
            stretch(&p, factors[n], 9);
            additive_run(context, dispatcher, &p);
            additive_check(&p, n >= 3 ? 4 : 1);
            additive_free(&p);
        }
}

Test(additive, magnitudes)
{
    additive_each_kernel(every_magnitude);
}

/* Hides key `key` from all queries but one, and query `query` from all keys. */
static void hide(additive_problem *p, int64_t key, int64_t query)
{
    const int64_t n_q = p->form.n_q, n_kv = p->form.n_kv;
    for (int64_t i = 0; i < p->count[CLATTN_SLOT_MASK]; i++)
        if (i % n_kv == key || i / n_kv % n_q == query)
            p->mask[i] = (i / n_kv % n_q == 1 && i % n_kv == key) ? 1 : 0;
}

/* Poison where nothing is visible, and in key 3, which query 1 alone sees. */
static void poison(additive_problem *p, float x)
{
    const additive_form *f = &p->form;
    const int64_t heads = f->batch * f->n_head;
    for (int64_t n = 0; n < heads * f->n_kv; n++)
        for (int64_t c = 0; n % f->n_kv >= p->kv_lengths[n / f->n_kv / f->n_head] && c < 2; c++) {
            p->value[CLATTN_SLOT_K][n * f->channels + c % f->channels] = x;
            p->value[CLATTN_SLOT_V][n * f->value_dim + c % f->value_dim] = x;
        }
    for (int64_t n = 0; n < heads; n++) {
        p->value[CLATTN_SLOT_Q][(n * f->n_q + 2) * f->channels] = x;
        p->value[CLATTN_SLOT_GRAD_OUT][(n * f->n_q + 2) * f->value_dim] = x;
    }
    p->value[CLATTN_SLOT_K][3 * f->channels + 1] = x;
    p->value[CLATTN_SLOT_V][3 * f->value_dim + 1] = x;
}

static void every_poison(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float kinds[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t n = 0; n < COUNT(kinds); n++) {
        const additive_form form = {.batch = 2,
                                    .n_head = 2,
                                    .n_q = 21,
                                    .n_kv = 77,
                                    .channels = 19,
                                    .value_dim = 10,
                                    .bias = true,
                                    .mask = true,
                                    .kv_lengths = true,
                                    .by_lse = true,
                                    .seed = 40 + (uint32_t)n};
        additive_problem p;
        rig_say("%s: poison %d", additive_family(), (int)n);
        additive_make(&form, &p);
        p.kv_lengths[0] = 5;
        hide(&p, 3, 2);
        poison(&p, kinds[n]);
        additive_run(context, dispatcher, &p);
        additive_check(&p, 1);
        additive_free(&p);
    }
}

Test(additive, invisible_poison_never_shows)
{
    additive_each_kernel(every_poison);
}

/* Numbers of W_SCORE that are no numbers, or products with three divisors would overflow with. */
static void every_weight(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float kinds[] = {NAN, INFINITY, -INFINITY, 1e12f, -1e12f, 3e38f, 0};
    for (size_t n = 0; n < COUNT(kinds); n++) {
        const additive_form form = {1, 1, 9, 20, 11, 6, .seed = 60 + (uint32_t)n};
        additive_problem p;
        rig_say("%s: weight %d", additive_family(), (int)n);
        additive_make(&form, &p);
        p.value[CLATTN_SLOT_W_SCORE][5] = kinds[n];
        for (int64_t i = 0; n == 5 && i < p.count[CLATTN_SLOT_V]; i++)
            p.value[CLATTN_SLOT_V][i] = 1; /* gradients of 0, whoever wins */
        additive_run(context, dispatcher, &p);
        additive_expected e;
        additive_expect(&p, false, &e);
        for (int64_t i = 0; i < p.count[CLATTN_SLOT_OUT]; i++)
            cr_assert(isnan(e.value[CLATTN_SLOT_OUT][i])
                          ? isnan(p.value[CLATTN_SLOT_OUT][i])
                          : fabs(p.value[CLATTN_SLOT_OUT][i] - e.value[CLATTN_SLOT_OUT][i]) < 1e-5,
                      "%s: out[%d] is %g, not %g", rig_said(), (int)i,
                      (double)p.value[CLATTN_SLOT_OUT][i], e.value[CLATTN_SLOT_OUT][i]);
        additive_expected_free(&e);
        additive_free(&p);
    }
}

Test(additive, weights_of_every_size)
{
    additive_each_kernel(every_weight);
}

/* Queries that see nothing, and keys that nobody sees, have gradients of 0 all the same. */
static void every_weight_unseen(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float kinds[] = {NAN, INFINITY, -INFINITY};
    for (size_t n = 0; n < COUNT(kinds); n++) {
        const additive_form form = {.batch = 2,
                                    .n_head = 2,
                                    .n_q = 21,
                                    .n_kv = 77,
                                    .channels = 19,
                                    .value_dim = 10,
                                    .mask = true,
                                    .kv_lengths = true,
                                    .seed = 80 + (uint32_t)n};
        additive_problem p;
        rig_say("%s: weight %d, unseen", additive_family(), (int)n);
        additive_make(&form, &p);
        hide(&p, 3, 2);
        for (int64_t i = 1; i < p.count[CLATTN_SLOT_MASK]; i += form.n_kv)
            p.mask[i] = 0; /* key 1 */
        p.value[CLATTN_SLOT_W_SCORE][5] = kinds[n];
        additive_run(context, dispatcher, &p);
        additive_check(&p, 1);
        additive_free(&p);
    }
}

Test(additive, weights_that_nobody_sees)
{
    additive_each_kernel(every_weight_unseen);
}

/* ---- the contract ---------------------------------------------------------------------------- */

/* Beyond these magnitudes all but a few channels are saturated, and a tensor's error is that of a
 * few pairs: luck in either computation. */
static void contract(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float magnitudes[] = {1e-4f, 1e-2f, 0.15f, 0.3f, 1, 3, 5.4f, 15, 40};
    for (size_t n = 0; n < COUNT(magnitudes); n++)
        for (int kind = 0; kind < 3; kind++) {
            additive_worst of[CLATTN_SLOT_LIMIT] = {{0, 0, 0}};
            rig_say("%s: contract, magnitude %g, kind %d", additive_family(), (double)magnitudes[n],
                    kind);
            for (uint32_t seed = 0; seed < 6; seed++) {
                const additive_form form = {.batch = 1,
                                            .n_head = 1,
                                            .n_q = 12,
                                            .n_kv = kind == 1 ? 2 : 40,
                                            .channels = kind == 2 ? 130 : 32,
                                            .value_dim = 8,
                                            .bias = seed % 2 == 0,
                                            .size = magnitudes[n],
                                            .w_size = seed % 3 == 2 ? 4 : 1,
                                            .seed = 100 + seed};
                additive_contract_add(context, dispatcher, &form, of);
            }
            additive_contract_check(of, CLATTN_F32);
        }
}

Test(additive, keeps_the_contract)
{
    additive_each_kernel(contract);
}

static void narrow_contract(clattn_context *context, clattn_dispatcher *dispatcher)
{
    for (int dtype = CLATTN_F16; dtype <= CLATTN_BF16; dtype++) {
        additive_worst of[CLATTN_SLOT_LIMIT] = {{0, 0, 0}};
        rig_say("%s: contract, type %d", additive_family(), dtype);
        for (uint32_t seed = 0; seed < 4; seed++) {
            const additive_form form = {
                1, 1, 20, 30, 40, 8, .dtype = (clattn_dtype)dtype, .seed = 200 + seed};
            additive_contract_add(context, dispatcher, &form, of);
        }
        additive_contract_check(of, (clattn_dtype)dtype);
    }
}

Test(additive, keeps_the_contract_in_halves)
{
    additive_each_kernel(narrow_contract);
}

/* ---- the same bits --------------------------------------------------------------------------- */

static void repeat(clattn_context *context, clattn_dispatcher *dispatcher)
{
    const additive_form form = {3, 2, 70, 200, 20, 12, true, true, false, true, true, .seed = 80};
    additive_problem one, other;
    additive_make(&form, &one);
    additive_make(&form, &other);
    additive_run(context, dispatcher, &one);
    for (int n = 0; n < 3; n++) {
        additive_run(context, dispatcher, &other);
        for (int slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
            if (one.value[slot])
                cr_assert_eq(memcmp(one.value[slot], other.value[slot],
                                    (size_t)one.count[slot] * sizeof(float)),
                             0, "%s: slot %d has other bits on repetition", rig_said(), slot);
    }
    additive_free(&one);
    additive_free(&other);
}

Test(additive, has_the_same_bits_on_repetition)
{
    additive_each_kernel(repeat);
}

/* ---- refusals -------------------------------------------------------------------------------- */

Test(additive, refusals)
{
    clattn_context *context = rig_open();
    clattn_additive_desc desc;
    clattn_plan *plan = NULL;
    clattn_additive_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_q = desc.n_kv = desc.channels = desc.value_dim = 2;
    cr_expect_eq(clattn_plan_additive(NULL, &desc, &plan), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_plan_additive(context, NULL, &plan), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_plan_additive(context, &desc, NULL), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_plan_additive_gradient(context, &desc, &plan), CLATTN_ERR_ARGUMENT);
    cr_expect(strstr(clattn_error_message(), "there is nothing to compute"), "%s",
              clattn_error_message());
    cr_assert_eq(clattn_plan_additive(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_expect(strstr(clattn_explain(plan), "additive attention"), "%s", clattn_explain(plan));
    clattn_plan_destroy(plan);
    rig_close(context);
}
