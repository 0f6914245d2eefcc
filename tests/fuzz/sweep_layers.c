/* Random multi-head, multiplicative and additive layers, both passes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "sweep.h"
#include "tests/device/layer_rig.h"
#include "tests/device/rig.h"

#define BIT(name) CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

static clattn_context *context;

static layer_kind choose_kind(fuzz_random *r)
{
    return (layer_kind)FUZZ_PICK(r, LAYER_MULTI_HEAD, LAYER_MULTI_HEAD, LAYER_GENERAL,
                                 LAYER_ADDITIVE);
}

/* KEY and VALUE are tensors of their own. */
static bool has_keys(const layer_case *c)
{
    return c->cross || c->kind != LAYER_MULTI_HEAD;
}

static void choose_extents(layer_case *c, fuzz_random *r)
{
    c->batch = fuzz_between(r, 1, 3);
    c->n_q = fuzz_between(r, 1, 24);
    c->n_kv = has_keys(c) ? fuzz_between(r, 1, 30) : 0;
    c->width = fuzz_between(r, 1, 40);
    if (has_keys(c)) {
        c->key_width = fuzz_between(r, 1, 40);
        c->value_width = fuzz_between(r, 1, 40);
    }
    if (c->kind == LAYER_ADDITIVE)
        c->channels = fuzz_between(r, 1, 40);
    if (c->kind != LAYER_MULTI_HEAD)
        return;
    c->n_kv_head = FUZZ_PICK(r, 1, 1, 2, 3);
    c->n_head = c->n_kv_head * FUZZ_PICK(r, 1, 1, 2, 4);
    c->head_dim = 2 * fuzz_between(r, 1, 9);
    c->value_dim = fuzz_chance(r, 50) ? c->head_dim : fuzz_between(r, 1, 17);
}

static void choose_options(layer_case *c, fuzz_random *r)
{
    const uint64_t who = BIT(KV_LENGTHS) | BIT(Q_LENGTHS) | BIT(MASK) | BIT(WEIGHTS);
    c->optional = sweep_subset(r, who | (c->kind == LAYER_MULTI_HEAD ? 0 : BIT(LSE)), 30);
    c->mask_for_all_heads = fuzz_chance(r, 50);
    const int64_t keys = has_keys(c) ? c->n_kv : c->n_q;
    for (int b = 0; b < 4; b++) {
        c->q_lengths[b] = (int32_t)fuzz_between(r, 0, c->n_q);
        c->lengths[b] = (int32_t)fuzz_between(r, 0, keys);
    }
    if (c->kind == LAYER_ADDITIVE)
        c->optional |= fuzz_chance(r, 70) ? BIT(BQ) : 0;
    if (c->kind != LAYER_MULTI_HEAD)
        return;
    c->optional |= sweep_subset(r, CLATTN_LAYER_BIASES, 60);
    c->causal = fuzz_chance(r, 25);
    c->bottom_right = c->causal && fuzz_chance(r, 50);
    c->scale = fuzz_chance(r, 25) ? (float)(3 * fuzz_unit(r)) - 1 : 0;
    c->dropout = fuzz_chance(r, 20) ? 0.25F : 0;
    c->rotary_dim = fuzz_chance(r, 30) ? 2 * fuzz_between(r, 1, c->head_dim / 2) : 0;
    c->interleaved = c->rotary_dim && fuzz_chance(r, 50);
}

static void choose_gradients(layer_case *c, fuzz_random *r)
{
    uint64_t all = BIT(GRAD_X);
    if (c->kind != LAYER_MULTI_HEAD)
        all |= BIT(GRAD_KEY) | BIT(GRAD_VALUE) | BIT(GRAD_W_SCORE);
    if (c->kind == LAYER_ADDITIVE) {
        all |= BIT(GRAD_WQ) | BIT(GRAD_WK) | (c->optional & BIT(BQ) ? BIT(GRAD_BQ) : 0);
    } else if (c->kind == LAYER_MULTI_HEAD) {
        all |= BIT(GRAD_WQ) | BIT(GRAD_WK) | BIT(GRAD_WV) | BIT(GRAD_WO);
        all |= (c->optional & CLATTN_LAYER_BIASES) << (CLATTN_LAYER_GRAD_BQ - CLATTN_LAYER_BQ);
        all |= c->cross ? BIT(GRAD_KEY) | BIT(GRAD_VALUE) : 0;
    }
    c->gradients = fuzz_chance(r, 50) ? all : sweep_subset(r, all, 50);
    if (!c->gradients)
        c->gradients = BIT(GRAD_X);
    c->accumulate = fuzz_chance(r, 40) ? sweep_subset(r, c->gradients, 50) : 0;
}

static layer_case choose_case(fuzz_random *r)
{
    static char name[160];
    snprintf(name, sizeof name, "%s", rig_said());
    layer_case c = {.name = name, .kind = choose_kind(r)};
    c.cross = c.kind == LAYER_MULTI_HEAD && fuzz_chance(r, 40);
    c.type = fuzz_chance(r, 80) ? ORACLE_F32 : fuzz_chance(r, 50) ? ORACLE_F16 : ORACLE_BF16;
    choose_extents(&c, r);
    choose_options(&c, r);
    choose_gradients(&c, r);
    return c;
}

/* The loss sum of OUT * GRAD_OUT; only OUT is computed into memory of its own. */
typedef struct layer_loss {
    layer_case whole;
    layer_values values;
} layer_loss;

static double loss_of(const void *of)
{
    const layer_loss *l = of;
    layer_values values = l->values;
    const int64_t count = values.count[CLATTN_LAYER_OUT];
    double sum = 0;
    layer_expect(&l->whole, &values);
    for (int64_t n = 0; n < count; n++)
        sum += values.expected[CLATTN_LAYER_OUT][n] * (double)values.in[CLATTN_LAYER_GRAD_OUT][n];
    return sum;
}

/* What passes between the oracle's parts is rounded to float32, which differences magnify. */
#define LAYER_BOUND 2e-3

static void compare_all(const layer_case *c, layer_values *v, fuzz_random *r)
{
    layer_loss l = {.whole = layer_whole(c), .values = *v};
    double *out = malloc((size_t)(v->count[CLATTN_LAYER_OUT] + 1) * sizeof *out);
    cr_assert_not_null(out);
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        l.values.expected[tensor] = NULL;
    l.values.expected[CLATTN_LAYER_OUT] = out;
    for (uint32_t tensor = CLATTN_LAYER_GRAD_X; tensor < LAYER_TENSORS; tensor++) {
        const uint32_t input = tensor == CLATTN_LAYER_GRAD_W_SCORE ? CLATTN_LAYER_W_SCORE
                               : tensor < CLATTN_LAYER_GRAD_WQ
                                   ? tensor - CLATTN_LAYER_GRAD_X + CLATTN_LAYER_X
                                   : tensor - CLATTN_LAYER_GRAD_WQ + CLATTN_LAYER_WQ;
        const sweep_gradient gradient = {"a tensor of the layer", v->in[input], v->expected[tensor],
                                         v->in[tensor], v->count[tensor]};
        if (c->gradients >> tensor & 1)
            sweep_compare(loss_of, &l, &gradient, LAYER_BOUND, r);
    }
    free(out);
}

static void one(fuzz_random *r, bool differences)
{
    const layer_case c = choose_case(r);
    layer_stage s;
    layer_begin(&s, context, &c);
    s.slack = 4; /* sums that cancel, as GRAD_BK does, have the error of what is summed */
    layer_forward(&s);
    layer_backward(&s);
    layer_check(&s, true);
    if (differences)
        compare_all(&c, &s.values, r);
    layer_end(&s);
}

Test(sweep, layers)
{
    context = rig_open();
    sweep("layers", 3, one);
    rig_close(context);
}
