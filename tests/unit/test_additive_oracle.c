/* The oracle's gradients of additive attention against finite differences of its forward pass: 100
 * random problems over all options. Inputs are multiples of 2^-10, so that steps of 2^-7 are exact
 * in float; the five-point formula's own error is far below the bound. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/oracle/additive.h"

#define PROBLEMS 100
#define MOST     256 /* elements of a tensor here */
#define STEP     0x1p-7
#define BOUND    2e-6 /* of max(1, largest gradient) */

static uint32_t state = 3;

/* low .. high */
static int64_t between(int64_t low, int64_t high)
{
    state = state * 1664525u + 1013904223u;
    return low + (int64_t)((state >> 8) % (uint32_t)(high - low + 1));
}

/* A problem with all that it may have. */
typedef struct trial {
    oracle_additive p;
    float q[MOST], k[MOST], v[MOST], w_score[MOST], bias[MOST], by_out[MOST], by_lse[MOST];
    uint8_t mask[MOST];
    int32_t q_lengths[2], kv_lengths[2];
    double grad_q[MOST], grad_k[MOST], grad_v[MOST], grad_w_score[MOST], grad_bias[MOST];
    double out[MOST], lse[MOST];
} trial;

static void fill(float *x)
{
    for (int i = 0; i < MOST; i++)
        x[i] = (float)between(-1024, 1024) * 0x1p-10F;
}

static void make(trial *t)
{
    oracle_additive *p = &t->p;
    memset(t, 0, sizeof *t);
    *p = (oracle_additive){.batch = between(1, 2),
                           .n_head = between(1, 2),
                           .n_q = between(1, 4),
                           .n_kv = between(1, 5),
                           .channels = between(1, 6),
                           .value_dim = between(1, 4)};
    float *const tensors[] = {t->q, t->k, t->v, t->w_score, t->bias, t->by_out, t->by_lse};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        fill(tensors[i]);
    for (int i = 0; i < MOST; i++)
        t->mask[i] = between(0, 3) > 0;
    for (int b = 0; b < 2; b++) {
        t->q_lengths[b] = (int32_t)between(0, p->n_q);
        t->kv_lengths[b] = (int32_t)between(0, p->n_kv);
    }
    p->q = t->q;
    p->k = t->k;
    p->v = t->v;
    p->w_score = t->w_score;
    p->bias = between(0, 1) ? t->bias : NULL;
    p->mask = between(0, 1) ? t->mask : NULL;
    p->q_lengths = between(0, 1) ? t->q_lengths : NULL;
    p->kv_lengths = between(0, 1) ? t->kv_lengths : NULL;
}

/* The loss of which by_out and by_lse are the derivatives. */
static double loss(trial *t)
{
    oracle_additive p = t->p;
    double sum = 0;
    p.out = t->out;
    p.lse = t->lse;
    cr_assert(oracle_additive_compute(&p));
    const int64_t rows = p.batch * p.n_head * p.n_q;
    for (int64_t i = 0; i < rows * p.value_dim; i++)
        sum += t->out[i] * (double)t->by_out[i];
    for (int64_t i = 0; i < rows; i++)
        if (isfinite(t->lse[i]))
            sum += t->lse[i] * (double)t->by_lse[i];
    return sum;
}

static double difference(trial *t, float *x)
{
    static const double weights[] = {1.0 / 12, -2.0 / 3, 0, 2.0 / 3, -1.0 / 12};
    const float before = *x;
    double sum = 0;
    for (int i = 0; i < 5; i++) {
        *x = before + (float)((i - 2) * STEP);
        if (i != 2)
            sum += weights[i] * loss(t);
    }
    *x = before;
    return sum / STEP;
}

static void check(trial *t, const char *name, float *x, const double *gradient, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const double expected = difference(t, &x[i]);
        cr_assert(fabs(gradient[i] - expected) <= BOUND * fmax(1, fabs(expected)),
                  "%s[%d]: %.9g, differences %.9g", name, (int)i, gradient[i], expected);
    }
}

Test(additive_oracle, gradients_are_differences)
{
    static trial t;
    for (int n = 0; n < PROBLEMS; n++) {
        make(&t);
        oracle_additive p = t.p;
        const int64_t heads = p.batch * p.n_head;
        p.by_out = t.by_out;
        p.by_lse = t.by_lse;
        p.grad_q = t.grad_q;
        p.grad_k = t.grad_k;
        p.grad_v = t.grad_v;
        p.grad_w_score = t.grad_w_score;
        p.grad_bias = p.bias ? t.grad_bias : NULL;
        cr_assert(oracle_additive_compute(&p));
        check(&t, "q", t.q, t.grad_q, heads * p.n_q * p.channels);
        check(&t, "k", t.k, t.grad_k, heads * p.n_kv * p.channels);
        check(&t, "v", t.v, t.grad_v, heads * p.n_kv * p.value_dim);
        check(&t, "w_score", t.w_score, t.grad_w_score, p.n_head * p.channels);
        if (p.bias)
            check(&t, "bias", t.bias, t.grad_bias, p.n_head * p.channels);
    }
}

/* One key: its weight is 1, LSE its score, as the formula has it. */
Test(additive_oracle, one_key)
{
    const float q[] = {0.5f, -1}, k[] = {0.25f, 2}, v[] = {7}, w[] = {2, 3}, bias[] = {0.125f, 0};
    double out, lse, weight;
    const oracle_additive p = {1,
                               1,
                               1,
                               1,
                               2,
                               1,
                               .q = q,
                               .k = k,
                               .v = v,
                               .w_score = w,
                               .bias = bias,
                               .out = &out,
                               .lse = &lse,
                               .weights = &weight};
    cr_assert(oracle_additive_compute(&p));
    cr_expect_float_eq(out, 7, 1e-12);
    cr_expect_float_eq(weight, 1, 1e-12);
    cr_expect_float_eq(lse, 2 * tanh(0.875) + 3 * tanh(1.0), 1e-12);
}
