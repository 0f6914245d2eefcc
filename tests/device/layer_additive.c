/* What a layer of additive attention must give: its projections, and between them tests/oracle's
 * additive attention. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "layer_parts.h"
#include "tests/oracle/additive.h"

void layer_describe_additive(const layer_case *of, clattn_additive_layer_desc *desc)
{
    clattn_additive_layer_desc_init(desc);
    desc->dtype = (clattn_dtype)of->type;
    desc->batch = of->batch;
    desc->n_q = of->n_q;
    desc->n_kv = of->n_kv;
    desc->width = of->width;
    desc->key_width = of->key_width;
    desc->value_width = of->value_width;
    desc->channels = of->channels;
    desc->optional = of->optional;
    desc->gradients = of->gradients;
    desc->accumulate = of->accumulate;
    desc->mask = layer_mask_layout(of);
}

/* Projected queries and keys and the gradients by them, as the oracle wants them. */
typedef struct middle {
    oracle_additive of;
    float *q, *k; /* owned, as what follows */
    double *bias, *w_score, *value;
} middle;

static void set_inputs(const layer_case *c, const layer_values *v, middle *m)
{
    m->of = (oracle_additive){.batch = c->batch,
                              .n_head = 1,
                              .n_q = c->n_q,
                              .n_kv = c->n_kv,
                              .channels = c->channels,
                              .value_dim = c->value_width,
                              .q = m->q,
                              .k = m->k,
                              .v = v->in[CLATTN_LAYER_VALUE],
                              .w_score = v->in[CLATTN_LAYER_W_SCORE],
                              .mask = v->mask,
                              .by_out = v->in[CLATTN_LAYER_GRAD_OUT]};
    m->of.bias = layer_has(c, CLATTN_LAYER_BQ) ? v->in[CLATTN_LAYER_BQ] : NULL;
    m->of.q_lengths = layer_has(c, CLATTN_LAYER_Q_LENGTHS) ? c->q_lengths : NULL;
    m->of.kv_lengths = layer_has(c, CLATTN_LAYER_KV_LENGTHS) ? c->lengths : NULL;
}

static void set_outputs(const layer_case *c, const layer_values *v, middle *m)
{
    m->bias = layer_room(c->channels, sizeof *m->bias);
    m->w_score = layer_room(c->channels, sizeof *m->w_score);
    m->value = layer_room(c->batch * c->n_kv * c->value_width, sizeof *m->value);
    m->of.out = v->expected[CLATTN_LAYER_OUT];
    m->of.lse = v->expected[CLATTN_LAYER_LSE];
    m->of.weights = v->expected[CLATTN_LAYER_WEIGHTS];
    m->of.grad_q = layer_room(c->batch * c->n_q * c->channels, sizeof(double));
    m->of.grad_k = layer_room(c->batch * c->n_kv * c->channels, sizeof(double));
    m->of.grad_v = m->value;
    m->of.grad_bias = m->bias;
    m->of.grad_w_score = m->w_score;
}

static float *project(const layer_case *c, const layer_values *v, const layer_part *p)
{
    double *y = layer_project(c, v, p);
    float *made = layer_floats(y, c->batch * p->rows * p->out);
    free(y);
    return made;
}

static void project_back(const layer_case *c, layer_values *v, const layer_part *p,
                         const double *dy, uint32_t gradient)
{
    double *dx = layer_project_back(c, v, p, dy);
    layer_add(v->expected[gradient], dx, c->batch * p->rows * p->in);
    free(dx);
}

void layer_expect_additive(const layer_case *c, layer_values *v)
{
    const layer_part queries = {.rows = c->n_q,
                                .in = c->width,
                                .out = c->channels,
                                .x = v->in[CLATTN_LAYER_X],
                                .w = CLATTN_LAYER_WQ,
                                .grad_w = CLATTN_LAYER_GRAD_WQ};
    const layer_part keys = {.rows = c->n_kv,
                             .in = c->key_width,
                             .out = c->channels,
                             .x = v->in[CLATTN_LAYER_KEY],
                             .w = CLATTN_LAYER_WK,
                             .grad_w = CLATTN_LAYER_GRAD_WK};
    middle m = {.q = project(c, v, &queries), .k = project(c, v, &keys)};
    set_inputs(c, v, &m);
    set_outputs(c, v, &m);
    cr_assert(oracle_additive_compute(&m.of));
    project_back(c, v, &queries, m.of.grad_q, CLATTN_LAYER_GRAD_X);
    project_back(c, v, &keys, m.of.grad_k, CLATTN_LAYER_GRAD_KEY);
    layer_add(v->expected[CLATTN_LAYER_GRAD_VALUE], m.value, c->batch * c->n_kv * c->value_width);
    layer_add(v->expected[CLATTN_LAYER_GRAD_BQ], m.bias, c->channels);
    layer_add(v->expected[CLATTN_LAYER_GRAD_W_SCORE], m.w_score, c->channels);
    double *const doubles[] = {m.of.grad_q, m.of.grad_k, m.bias, m.w_score, m.value};
    for (size_t n = 0; n < sizeof doubles / sizeof doubles[0]; n++)
        free(doubles[n]);
    free(m.q);
    free(m.k);
}
