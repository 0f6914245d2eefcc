/* See layer_parts.h. */
#include "layer_parts.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/oracle/linear.h"

void *layer_room(int64_t count, size_t size)
{
    void *made = calloc((size_t)count + 1, size);
    cr_assert_not_null(made);
    return made;
}

float *layer_floats(const double *from, int64_t count)
{
    float *made = layer_room(count, sizeof *made);
    for (int64_t i = 0; i < count; i++)
        made[i] = (float)from[i];
    return made;
}

double *layer_doubles(const float *from, int64_t count)
{
    double *made = layer_room(count, sizeof *made);
    for (int64_t i = 0; i < count; i++)
        made[i] = (double)from[i];
    return made;
}

bool layer_has(const layer_case *c, uint32_t tensor)
{
    return (c->optional | c->gradients) >> tensor & 1;
}

double *layer_project(const layer_case *c, const layer_values *v, const layer_part *p)
{
    oracle_linear of = {.batch = c->batch, .rows = p->rows, .in = p->in, .out = p->out};
    of.x = p->x;
    of.w = v->in[p->w];
    of.b = layer_has(c, p->b) ? v->in[p->b] : NULL;
    of.y = layer_room(c->batch * p->rows * p->out, sizeof *of.y);
    oracle_linear_run(&of);
    return of.y;
}

void layer_add(double *to, const double *from, int64_t count)
{
    for (int64_t i = 0; to && i < count; i++)
        to[i] += from[i];
}

double *layer_project_back(const layer_case *c, layer_values *v, const layer_part *p,
                           const double *dy)
{
    oracle_linear of = {.batch = c->batch, .rows = p->rows, .in = p->in, .out = p->out};
    float *own = layer_floats(dy, c->batch * p->rows * p->out);
    of.x = p->x;
    of.w = v->in[p->w];
    of.dy = own;
    of.dx = layer_room(c->batch * p->rows * p->in, sizeof *of.dx);
    of.dw = layer_room(p->out * p->in, sizeof *of.dw);
    of.db = layer_room(p->out, sizeof *of.db);
    oracle_linear_run(&of);
    layer_add(v->expected[p->grad_w], of.dw, p->out * p->in);
    if (p->grad_b)
        layer_add(v->expected[p->grad_b], of.db, p->out);
    free(own);
    free(of.dw);
    free(of.db);
    return of.dx;
}
