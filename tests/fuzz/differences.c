/* See differences.h. */
#include "differences.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory.h"

#define ELEMENTS 16          /* of each gradient */
#define STEP     (1.0 / 512) /* of an input; the other step is half of it */
#define BOUND    2e-5        /* times the largest element, or 1 */

/* The loss, its outputs in `out` and `lse`. Rows that see nothing, whose LSE is -inf, give nothing.
 */
typedef struct measured {
    oracle_problem o;
    const oracle_loss *loss;
    size_t outputs, rows;
} measured;

static double loss_of(const measured *m)
{
    double sum = 0;
    if (!oracle_attention(&m->o))
        abort();
    for (size_t n = 0; n < m->outputs; n++)
        sum += m->o.out[n] * (double)m->loss->by_out[n];
    for (size_t n = 0; m->loss->by_lse && n < m->rows; n++)
        sum += m->o.lse[n] == -INFINITY ? 0 : m->o.lse[n] * (double)m->loss->by_lse[n];
    return sum;
}

/* Over the way that float32 makes of 2 * step. */
static double quotient(const measured *m, float *x, double step)
{
    const float at = *x, above = (float)((double)at + step), below = (float)((double)at - step);
    *x = above;
    const double high = loss_of(m);
    *x = below;
    const double low = loss_of(m);
    *x = at;
    return (high - low) / ((double)above - (double)below);
}

/* Richardson's extrapolation: the error goes with the fourth power of the step. */
static double derivative(const measured *m, float *x)
{
    return (4 * quotient(m, x, STEP / 2) - quotient(m, x, STEP)) / 3;
}

typedef struct tensor {
    const char *name;
    const float *input;
    const double *gradient;
    size_t count;
} tensor;

static bool agrees(const measured *m, const tensor *t, fuzz_random *r, char *why, size_t size)
{
    double largest = 1;
    for (size_t n = 0; n < t->count; n++)
        largest = fmax(largest, fabs(t->gradient[n]));
    for (int i = 0; i < ELEMENTS; i++) {
        const size_t n = (size_t)fuzz_between(r, 0, (int64_t)t->count - 1);
        float *x = (float *)t->input + n;
        const double found = isfinite(*x) ? derivative(m, x) : 0;
        if (fabs(found - t->gradient[n]) <= BOUND * largest)
            continue;
        snprintf(why, size, "the oracle's gradient by %s[%zu] is %.9g, finite differences say %.9g",
                 t->name, n, t->gradient[n], found);
        return false;
    }
    return true;
}

bool fuzz_differences(const oracle_problem *o, const oracle_loss *loss,
                      const oracle_gradients *exact, fuzz_random *r, char *why, size_t size)
{
    measured m = {.o = *o, .loss = loss};
    const size_t keys = (size_t)(o->batch * o->n_kv_head * o->n_kv);
    m.rows = (size_t)(o->batch * o->n_head * o->n_q);
    m.outputs = m.rows * (size_t)o->value_dim;
    m.o.weights = m.o.weights_mean = m.o.weights_sum = NULL;
    m.o.scores = m.o.terms = m.o.spread = NULL;
    m.o.out = fuzz_alloc(m.outputs, sizeof(double));
    m.o.lse = fuzz_alloc(m.rows, sizeof(double));
    const tensor tensors[] = {
        {"q", o->q, exact->q, m.rows * (size_t)o->head_dim},
        {"k", o->k, exact->k, keys * (size_t)o->head_dim},
        {"v", o->v, exact->v, keys * (size_t)o->value_dim},
        {"bias", o->bias, exact->bias, m.rows * (size_t)o->n_kv},
        {"sink", o->sink, exact->sink, (size_t)o->n_head},
    };
    bool good = true;
    for (size_t n = 0; good && n < sizeof tensors / sizeof tensors[0]; n++)
        if (tensors[n].input && tensors[n].gradient && tensors[n].count)
            good = agrees(&m, &tensors[n], r, why, size);
    free(m.o.out);
    free(m.o.lse);
    return good;
}
