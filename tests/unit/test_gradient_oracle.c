/* The oracle's gradients against finite differences of the oracle's attention: 500 random problems
 * over all options. Inputs are multiples of 2^-10, so that steps of 2^-7 are exact in float; the
 * five-point formula's own error is far below the bound. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/oracle/gradient.h"
#include "tests/oracle/plain.h"

#define PROBLEMS 500
#define MOST     1024 /* elements of a tensor here */
#define STEP     0x1p-7
#define BOUND    2e-6 /* of max(1, largest gradient) */

static uint32_t state;

/* low .. high */
static int64_t between(int64_t low, int64_t high)
{
    state = state * 1664525u + 1013904223u;
    return low + (int64_t)((state >> 8) % (uint32_t)(high - low + 1));
}

static bool chance(int percent)
{
    return between(0, 99) < percent;
}

static float number(void)
{
    return (float)between(-1024, 1024) * 0x1p-10F;
}

/* A problem with all that it may have. */
typedef struct trial {
    oracle_problem p;
    oracle_loss loss;
    float q[MOST], k[MOST], v[MOST], bias[MOST], sink[8], alibi[8], by_out[MOST], by_lse[MOST];
    uint8_t mask[MOST];
    int32_t q_lengths[2], kv_lengths[2], block_count[MOST], block_index[MOST];
    double grad_q[MOST], grad_k[MOST], grad_v[MOST], grad_bias[MOST], grad_sink[8];
} trial;

static double bent(const void *user, double s, const int64_t at[4])
{
    (void)user;
    return (at[3] + at[1]) % 5 == 4 ? -INFINITY : 0.5 * s + 0.25 * sin(s + (double)at[2]);
}

static double bent_gradient(const void *user, double s, const int64_t at[4])
{
    (void)user;
    return 0.5 + 0.25 * cos(s + (double)at[2]);
}

static bool not_every_third(const void *user, const int64_t at[4])
{
    (void)user;
    return (at[2] + at[3] + 30) % 3 != 1;
}

static void fill(float *x, int64_t count)
{
    cr_assert(count <= MOST);
    for (int64_t n = 0; n < count; n++)
        x[n] = number();
}

static void set_options(trial *t)
{
    oracle_problem *p = &t->p;
    p->scale = (double)number() + 1;
    p->causal = chance(25);
    p->bottom_right = chance(50);
    p->causal_offset = p->bottom_right ? 0 : between(-2, 3);
    p->has_window = chance(20);
    p->window_left = between(-1, 4);
    p->window_right = between(-1, 4);
    p->softcap = chance(30) ? 0.5 + (double)between(0, 8) : 0;
    p->dropout = chance(25) ? 0.3F : 0;
    p->dropout_seed = (uint64_t)between(0, 1 << 20);
    p->score_function = chance(25) ? bent : NULL;
    p->mask_function = chance(15) ? not_every_third : NULL;
    t->loss.score_gradient = bent_gradient;
}

static void set_tensors(trial *t)
{
    oracle_problem *p = &t->p;
    const int64_t rows = p->batch * p->n_head * p->n_q, keys = p->batch * p->n_kv_head * p->n_kv;
    fill(t->q, rows * p->head_dim);
    fill(t->k, keys * p->head_dim);
    fill(t->v, keys * p->value_dim);
    fill(t->bias, rows * p->n_kv);
    fill(t->by_out, rows * p->value_dim);
    fill(t->by_lse, rows);
    fill(t->sink, p->n_head);
    fill(t->alibi, p->n_head);
    for (int64_t n = 0; n < rows * p->n_kv; n++) {
        t->mask[n] = chance(70);
        if (chance(10))
            t->bias[n] = -INFINITY;
    }
    for (int b = 0; b < 2; b++) {
        t->q_lengths[b] = (int32_t)between(0, p->n_q);
        t->kv_lengths[b] = (int32_t)between(0, p->n_kv);
    }
    p->block_q = p->block_kv = p->block_limit = 2;
    for (int64_t n = 0; n < p->batch * p->n_head * ((p->n_q + 1) / 2); n++) {
        t->block_count[n] = (int32_t)between(0, 2);
        t->block_index[2 * n] = (int32_t)between(0, 1);
        t->block_index[2 * n + 1] = 1 + (int32_t)between(0, 1);
    }
}

static void make(trial *t, uint32_t seed)
{
    memset(t, 0, sizeof *t);
    state = seed * 2654435761u + 12345;
    oracle_problem *p = &t->p;
    p->batch = between(1, 2);
    p->n_kv_head = between(1, 2);
    p->n_head = p->n_kv_head * between(1, 2);
    p->n_q = between(1, 5);
    p->n_kv = between(1, 6);
    p->head_dim = between(1, 4);
    p->value_dim = between(1, 4);
    set_options(t);
    set_tensors(t);
    p->q = t->q;
    p->k = t->k;
    p->v = t->v;
    p->bias = chance(40) ? t->bias : NULL;
    p->sink = chance(40) ? t->sink : NULL;
    p->alibi = chance(25) ? t->alibi : NULL;
    p->mask = chance(25) ? t->mask : NULL;
    p->q_lengths = chance(25) ? t->q_lengths : NULL;
    p->kv_lengths = chance(25) ? t->kv_lengths : NULL;
    p->block_count = chance(15) ? t->block_count : NULL;
    p->block_index = p->block_count ? t->block_index : NULL;
    t->loss.by_out = t->by_out;
    t->loss.by_lse = chance(50) ? t->by_lse : NULL;
}

/* Rows that see nothing, whose LSE is -inf, give nothing to the loss. */
static double loss_of(const trial *t)
{
    static double out[MOST], lse[MOST];
    oracle_problem p = t->p;
    const int64_t rows = p.batch * p.n_head * p.n_q;
    double sum = 0;
    p.out = out;
    p.lse = lse;
    cr_assert(oracle_attention(&p));
    for (int64_t n = 0; n < rows * p.value_dim; n++)
        sum += out[n] * (double)t->by_out[n];
    for (int64_t n = 0; t->loss.by_lse && n < rows; n++)
        sum += lse[n] == -INFINITY ? 0 : lse[n] * (double)t->by_lse[n];
    return sum;
}

static double difference(const trial *t, float *x)
{
    static const double weight[] = {1. / 12, -8. / 12, 0, 8. / 12, -1. / 12};
    const float at = *x;
    double sum = 0;
    for (int n = 0; n < 5; n++) {
        *x = at + (float)(n - 2) * (float)STEP;
        sum += n == 2 ? 0 : weight[n] * loss_of(t);
    }
    *x = at;
    return sum / STEP;
}

static double compare(const trial *t, const char *name, float *x, const double *grad, int64_t count)
{
    double most = 1, worst = 0;
    for (int64_t n = 0; n < count; n++)
        most = fmax(most, fabs(grad[n]));
    for (int64_t n = 0; n < count; n++) {
        const double expected = isinf(x[n]) ? 0 : difference(t, &x[n]);
        const double error = fabs(grad[n] - expected) / most;
        cr_assert(error <= BOUND, "%s[%d] is %.9g, not %.9g", name, (int)n, grad[n], expected);
        worst = fmax(worst, fabs(grad[n]));
    }
    return worst;
}

Test(gradient_oracle, agrees_with_finite_differences)
{
    static trial t;
    double largest[5] = {0};
    for (uint32_t n = 0; n < PROBLEMS; n++) {
        make(&t, n);
        const oracle_problem *p = &t.p;
        const oracle_gradients to = {t.grad_q, t.grad_k, t.grad_v, p->bias ? t.grad_bias : NULL,
                                     p->sink ? t.grad_sink : NULL};
        const int64_t rows = p->batch * p->n_head * p->n_q;
        const int64_t keys = p->batch * p->n_kv_head * p->n_kv;
        cr_assert(oracle_gradient(p, &t.loss, &to, NULL));
        const double found[] = {
            compare(&t, "q", t.q, to.q, rows * p->head_dim),
            compare(&t, "k", t.k, to.k, keys * p->head_dim),
            compare(&t, "v", t.v, to.v, keys * p->value_dim),
            to.bias ? compare(&t, "bias", t.bias, to.bias, rows * p->n_kv) : 0,
            to.sink ? compare(&t, "sink", t.sink, to.sink, p->n_head) : 0,
        };
        for (int i = 0; i < 5; i++)
            largest[i] = fmax(largest[i], found[i]);
    }
    for (int i = 0; i < 5; i++)
        cr_assert(largest[i] > 0.1, "gradients of input %d are all small", i);
}

/* In float32 the plain computation is near; in narrower types it is not the same. */
Test(gradient_oracle, plain_is_near)
{
    static trial t;
    static double plain[MOST], rough[MOST];
    double off = 0, off_narrow = 0;
    for (uint32_t n = 0; n < 100; n++) {
        make(&t, n);
        const oracle_gradients exact = {.q = t.grad_q}, to = {.q = plain}, narrow = {.q = rough};
        cr_assert(oracle_gradient(&t.p, &t.loss, &exact, NULL));
        cr_assert(oracle_plain_gradient(&t.p, &t.loss, ORACLE_F32, &to));
        cr_assert(oracle_plain_gradient(&t.p, &t.loss, ORACLE_BF16, &narrow));
        for (int64_t i = 0; i < t.p.batch * t.p.n_head * t.p.n_q * t.p.head_dim; i++) {
            off = fmax(off, fabs(plain[i] - t.grad_q[i]));
            off_narrow = fmax(off_narrow, fabs(rough[i] - t.grad_q[i]));
        }
    }
    cr_assert(off < 2e-5, "%g", off);
    cr_assert(off_narrow > 1e-3 && off_narrow < 0.3, "%g", off_narrow);
}
