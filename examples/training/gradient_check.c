/* Gradients against finite differences: for each parameter w and a direction r of +1 and -1,
 *    r . gradient  and  the slope of loss(w + e r) at e = 0
 * from the losses at -2, -1, 1 and 2 steps of e, which leaves an error of the order of e^4, and the
 * loss's rounding divided by e. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "random.h"
#include "stop.h"
#include "trainer.h"

/* Large enough for float32, small enough for the curvature of these models. */
static const double reach = 3e-3;

/* A parameter as it was, its gradient, the direction, and room; each of its count. */
typedef struct subject {
    const parameter *of;
    float *values, *gradient, *direction, *moved;
} subject;

/* The loss with `e` times the direction added to the parameter. */
static double loss_beside(model *m, const subject *s, double e)
{
    const tensor *values = &m->parameters.value;
    for (size_t i = 0; i < s->of->count; i++)
        s->moved[i] = s->values[i] + (float)e * s->direction[i];
    tensor_write(m->device, values, s->of->first, s->moved, s->of->count);
    const double loss = model_loss(m, m->learned.first);
    tensor_write(m->device, values, s->of->first, s->values, s->of->count);
    return loss;
}

static double slope(model *m, const subject *s)
{
    const double near = loss_beside(m, s, reach) - loss_beside(m, s, -reach);
    const double far = loss_beside(m, s, 2 * reach) - loss_beside(m, s, -2 * reach);
    return (8 * near - far) / (12 * reach);
}

static bool check_one(model *m, const subject *s, uint64_t *seed)
{
    double product = 0, square = 0;
    tensor_read(m->device, &m->parameters.value, s->of->first, s->values, s->of->count);
    tensor_read(m->device, &m->parameters.gradient, s->of->first, s->gradient, s->of->count);
    for (size_t i = 0; i < s->of->count; i++) {
        s->direction[i] = random_next(seed) >> 63 ? 1 : -1;
        product += (double)(s->direction[i] * s->gradient[i]);
        square += (double)(s->gradient[i] * s->gradient[i]);
    }
    const double difference = slope(m, s);
    const bool good = fabs(product - difference) <= 0.001 * sqrt(square) + 5e-5;
    printf("%-24s %-4s  gradient %9.5f  finite difference %9.5f%s\n", s->of->name,
           s->of->inputs ? "" : "bias", product, difference, good ? "" : "  DIFFER");
    return good;
}

bool model_check_gradients(model *m, uint64_t seed)
{
    const parameters *p = &m->parameters;
    float *memory = calloc(4 * p->count + 1, sizeof *memory);
    bool good = true;
    if (!memory)
        stop("memory", "no %zu elements are left", 4 * p->count);
    model_loss(m, m->learned.first);
    m->backward(m);
    for (size_t n = 0; n < p->list_count; n++) {
        const subject s = {&p->list[n], memory, memory + p->count, memory + 2 * p->count,
                           memory + 3 * p->count};
        good = check_one(m, &s, &seed) && good;
    }
    free(memory);
    return good;
}
