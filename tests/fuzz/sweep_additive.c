/* Random additive attention, forward and all its gradients in one submission. */
#include <criterion/criterion.h>
#include <math.h>

#include "sweep.h"
#include "tests/device/additive_rig.h"
#include "tests/device/rig.h"

static int64_t choose_extent(fuzz_random *r)
{
    if (fuzz_chance(r, 4))
        return 0;
    if (fuzz_chance(r, 30))
        return FUZZ_PICK(r, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65);
    return fuzz_between(r, 1, 40);
}

static additive_form choose_form(fuzz_random *r, bool smooth)
{
    static const float sizes[] = {1, 1, 0.01F, 0.3F, 3, 8, 30};
    additive_form f = {.batch = FUZZ_PICK(r, 1, 1, 2, 3),
                       .n_head = FUZZ_PICK(r, 1, 1, 1, 2, 3),
                       .n_q = choose_extent(r),
                       .n_kv =
                           fuzz_chance(r, 5) ? FUZZ_PICK(r, 128, 129, 513, 600) : choose_extent(r),
                       .channels = fuzz_between(r, 1, fuzz_chance(r, 20) ? 130 : 40),
                       .value_dim = fuzz_between(r, 1, fuzz_chance(r, 20) ? 130 : 30),
                       .bias = fuzz_chance(r, 60),
                       .mask = fuzz_chance(r, 30),
                       .q_lengths = fuzz_chance(r, 25),
                       .kv_lengths = fuzz_chance(r, 30),
                       .by_lse = fuzz_chance(r, 40)};
    f.size = smooth ? 1 : sizes[fuzz_between(r, 0, 6)];
    f.dtype = fuzz_chance(r, 75) ? CLATTN_F32 : fuzz_chance(r, 50) ? CLATTN_F16 : CLATTN_BF16;
    f.layout = (additive_layout)fuzz_between(r, 0, ADDITIVE_STEPS);
    f.seed = (uint32_t)fuzz_word(r);
    while (f.batch * f.n_head * f.n_q * f.n_kv * (f.channels + f.value_dim) > 200000)
        f.n_q > 2 ? (f.n_q = f.n_q * 2 / 3) : (f.n_kv = f.n_kv * 2 / 3);
    return f;
}

/* Rows that see nothing, whose LSE is -inf, give nothing. */
static double loss_of(const void *of)
{
    const additive_problem *p = of;
    additive_expected e;
    double sum = 0;
    additive_expect(p, false, &e);
    for (int64_t n = 0; n < p->count[CLATTN_SLOT_OUT]; n++)
        sum += e.value[CLATTN_SLOT_OUT][n] * (double)p->value[CLATTN_SLOT_GRAD_OUT][n];
    for (int64_t n = 0; p->value[CLATTN_SLOT_GRAD_LSE] && n < p->count[CLATTN_SLOT_LSE]; n++)
        if (e.value[CLATTN_SLOT_LSE][n] != -INFINITY)
            sum += e.value[CLATTN_SLOT_LSE][n] * (double)p->value[CLATTN_SLOT_GRAD_LSE][n];
    additive_expected_free(&e);
    return sum;
}

static void compare_all(const additive_problem *p, fuzz_random *r)
{
    static const struct {
        const char *name;
        clattn_slot input, gradient;
    } rows[] = {
        {"q", CLATTN_SLOT_Q, CLATTN_SLOT_GRAD_Q},
        {"k", CLATTN_SLOT_K, CLATTN_SLOT_GRAD_K},
        {"v", CLATTN_SLOT_V, CLATTN_SLOT_GRAD_V},
        {"w_score", CLATTN_SLOT_W_SCORE, CLATTN_SLOT_GRAD_W_SCORE},
        {"bias", CLATTN_SLOT_CHANNEL_BIAS, CLATTN_SLOT_GRAD_CHANNEL_BIAS},
    };
    additive_expected e;
    additive_expect(p, false, &e);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const sweep_gradient gradient = {rows[i].name, p->value[rows[i].input],
                                         e.value[rows[i].gradient], NULL, p->count[rows[i].input]};
        if (gradient.x && gradient.gradient)
            sweep_compare(loss_of, p, &gradient, 1e-5, r);
    }
    additive_expected_free(&e);
}

/* The family of kernels that has its turn. */
static struct {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    bool first;
} turn = {.first = true};

static void one(fuzz_random *r, bool differences)
{
    const additive_form form = choose_form(r, differences);
    additive_problem p;
    additive_make(&form, &p);
    if (differences && turn.first)
        compare_all(&p, r);
    additive_run(turn.context, turn.dispatcher, &p);
    additive_check(&p, 1);
    additive_free(&p);
}

static void on_family(clattn_context *context, clattn_dispatcher *dispatcher)
{
    turn.context = context;
    turn.dispatcher = dispatcher;
    sweep("additive", 2, one);
    turn.first = false;
}

Test(sweep, additive)
{
    additive_each_kernel(on_family);
}
