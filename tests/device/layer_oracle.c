/* See layer_oracle.h. */
#include "layer_oracle.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layer_parts.h"
#include "rig.h"
#include "tests/oracle/gradient.h"

const int64_t layer_seed[2] = {42, 7};

#define ROTARY_BASE 100.0

layer_case layer_whole(const layer_case *of)
{
    layer_case c = *of;
    if (c.kind == LAYER_MULTI_HEAD && !c.cross)
        c.n_kv = c.n_q;
    if (c.key_width == 0)
        c.key_width = c.width;
    if (c.value_width == 0)
        c.value_width = c.width;
    if (c.kind != LAYER_MULTI_HEAD)
        c.n_head = 1;
    if (c.kind == LAYER_ADDITIVE)
        c.head_dim = c.channels;
    if (c.n_kv_head == 0)
        c.n_kv_head = c.n_head;
    if (c.head_dim == 0)
        c.head_dim = c.width / c.n_head;
    if (c.value_dim == 0)
        c.value_dim = c.kind == LAYER_MULTI_HEAD ? c.head_dim : c.value_width;
    return c;
}

clattn_tensor layer_mask_layout(const layer_case *of)
{
    const layer_case c = layer_whole(of);
    const int64_t one = c.n_q * c.n_kv;
    if (!c.mask_for_all_heads || !(c.optional >> CLATTN_LAYER_MASK & 1))
        return (clattn_tensor){.strided = 0};
    return (clattn_tensor){.dtype = CLATTN_BOOL, .strided = 1, .stride = {one, 0, c.n_kv, 1}};
}

void layer_describe(const layer_case *of, clattn_multi_head_desc *desc)
{
    clattn_multi_head_desc_init(desc);
    desc->dtype = (clattn_dtype)of->type;
    desc->cross = of->cross;
    desc->causal = of->causal;
    desc->align = !of->causal        ? CLATTN_ALIGN_NONE
                  : of->bottom_right ? CLATTN_ALIGN_BOTTOM_RIGHT
                                     : CLATTN_ALIGN_TOP_LEFT;
    desc->has_scale = of->scale != 0;
    desc->scale = of->scale;
    desc->dropout = of->dropout;
    desc->batch = of->batch;
    desc->n_q = of->n_q;
    desc->n_kv = of->n_kv;
    desc->width = of->width;
    desc->key_width = of->key_width;
    desc->value_width = of->value_width;
    desc->n_head = of->n_head;
    desc->n_kv_head = of->n_kv_head;
    desc->head_dim = of->head_dim;
    desc->value_dim = of->value_dim;
    desc->rotary_dim = of->rotary_dim;
    desc->rotary_interleaved = of->interleaved;
    desc->rotary_base = of->rotary_dim ? ROTARY_BASE : 0;
    desc->optional = of->optional;
    desc->gradients = of->gradients;
    desc->accumulate = of->accumulate;
    desc->mask = layer_mask_layout(of);
}

void layer_describe_general(const layer_case *of, clattn_multiplicative_desc *desc)
{
    clattn_multiplicative_desc_init(desc);
    desc->dtype = (clattn_dtype)of->type;
    desc->batch = of->batch;
    desc->n_q = of->n_q;
    desc->n_kv = of->n_kv;
    desc->width = of->width;
    desc->key_width = of->key_width;
    desc->value_width = of->value_width;
    desc->optional = of->optional;
    desc->gradients = of->gradients;
    desc->accumulate = of->accumulate;
    desc->mask = layer_mask_layout(of);
}

/* (batch, tokens, heads, dim) to (batch, heads, tokens, dim). */
static double *heads_first(const double *from, const int64_t e[4])
{
    double *made = layer_room(e[0] * e[1] * e[2] * e[3], sizeof *made);
    for (int64_t i = 0; i < e[0] * e[1] * e[2] * e[3]; i++) {
        const int64_t d = i % e[3], h = i / e[3] % e[2], n = i / e[3] / e[2] % e[1];
        const int64_t b = i / e[3] / e[2] / e[1];
        made[((b * e[2] + h) * e[1] + n) * e[3] + d] = from[i];
    }
    return made;
}

/* The other way round; e as there. */
static double *tokens_first(const double *from, const int64_t e[4])
{
    const int64_t turned[4] = {e[0], e[2], e[1], e[3]};
    return heads_first(from, turned);
}

/* ---- attention between projections ----------------------------------------------------------- */

/* x (batch, tokens, heads, dim) rotated in place; back: the other way. */
static void rotate(const layer_case *c, double *x, const int64_t e[4], bool back)
{
    const int64_t pairs = c->rotary_dim / 2;
    for (int64_t row = 0; row < e[0] * e[1] * e[2]; row++)
        for (int64_t n = 0; n < pairs; n++) {
            double *a = x + row * e[3] + (c->interleaved ? 2 * n : n);
            double *b = a + (c->interleaved ? 1 : pairs);
            const double angle = (double)(row / e[2] % e[1]) *
                                 pow(ROTARY_BASE, -2.0 * (double)n / (double)c->rotary_dim);
            const double co = cos(angle), si = back ? -sin(angle) : sin(angle);
            const double first = *a * co - *b * si;
            *b = *a * si + *b * co;
            *a = first;
        }
}

/* Attention of a layer, tokens first: its inputs, results and gradients. */
typedef struct middle {
    oracle_problem problem;
    float *q, *k, *v; /* heads first, owned */
    int64_t q_shape[4], k_shape[4], v_shape[4], o_shape[4];
    double *o;            /* tokens first, owned */
    double *dq, *dk, *dv; /* tokens first, owned */
} middle;

static float *turned(const double *from, const int64_t e[4])
{
    double *heads = heads_first(from, e);
    float *made = layer_floats(heads, e[0] * e[1] * e[2] * e[3]);
    free(heads);
    return made;
}

static void attend(const layer_case *c, layer_values *values, const double *q, const double *k,
                   const double *v, middle *m)
{
    oracle_problem *p = &m->problem;
    *m = (middle){
        .q_shape = {c->batch, c->n_q, c->n_head, c->head_dim},
        .k_shape = {c->batch, c->n_kv, c->n_kv_head, c->head_dim},
        .v_shape = {c->batch, c->n_kv, c->n_kv_head, c->value_dim},
        .o_shape = {c->batch, c->n_q, c->n_head, c->value_dim},
    };
    m->q = turned(q, m->q_shape);
    m->k = turned(k, m->k_shape);
    m->v = turned(v, m->v_shape);
    *p = (oracle_problem){.batch = c->batch,
                          .n_head = c->n_head,
                          .n_kv_head = c->n_kv_head,
                          .n_q = c->n_q,
                          .n_kv = c->n_kv,
                          .head_dim = c->head_dim,
                          .value_dim = c->value_dim,
                          .causal = c->causal,
                          .q = m->q,
                          .k = m->k,
                          .v = m->v};
    p->scale = c->kind == LAYER_GENERAL ? 1
               : c->scale != 0          ? (double)c->scale
                                        : 1 / sqrt((double)c->head_dim);
    p->bottom_right = c->bottom_right;
    p->dropout = c->dropout;
    p->dropout_seed = (uint64_t)layer_seed[0];
    p->dropout_offset = (uint64_t)layer_seed[1];
    p->kv_lengths = layer_has(c, CLATTN_LAYER_KV_LENGTHS) ? c->lengths : NULL;
    p->q_lengths = layer_has(c, CLATTN_LAYER_Q_LENGTHS) ? c->q_lengths : NULL;
    p->mask = values->mask;
    p->weights = values->expected[CLATTN_LAYER_WEIGHTS];
    p->lse = values->expected[CLATTN_LAYER_LSE];
    p->out = layer_room(c->batch * c->n_head * c->n_q * c->value_dim, sizeof *p->out);
    cr_assert(oracle_attention(p));
    m->o = tokens_first(p->out, m->o_shape);
}

static void attend_back(middle *m, const double *by_o)
{
    float *own = turned(by_o, m->o_shape);
    const int64_t *q = m->q_shape, *k = m->k_shape, *v = m->v_shape;
    const oracle_loss loss = {.by_out = own};
    const oracle_gradients none = {NULL, NULL, NULL, NULL, NULL};
    const oracle_gradients to = {
        layer_room(q[0] * q[1] * q[2] * q[3], sizeof(double)),
        layer_room(k[0] * k[1] * k[2] * k[3], sizeof(double)),
        layer_room(v[0] * v[1] * v[2] * v[3], sizeof(double)),
        NULL,
        NULL,
    };
    cr_assert(oracle_gradient(&m->problem, &loss, &to, &none));
    m->dq = tokens_first(to.q, q);
    m->dk = tokens_first(to.k, k);
    m->dv = tokens_first(to.v, v);
    free(to.q);
    free(to.k);
    free(to.v);
    free(own);
}

static void finish(middle *m)
{
    double *const doubles[] = {m->problem.out, m->o, m->dq, m->dk, m->dv};
    float *const floats[] = {m->q, m->k, m->v};
    for (int i = 0; i < 5; i++)
        free(doubles[i]);
    for (int i = 0; i < 3; i++)
        free(floats[i]);
}

/* ---- whole layers ---------------------------------------------------------------------------- */

static void expect_multi_head(const layer_case *c, layer_values *v)
{
    const float *x = v->in[CLATTN_LAYER_X];
    const float *key = c->cross ? v->in[CLATTN_LAYER_KEY] : x;
    const float *value = c->cross ? v->in[CLATTN_LAYER_VALUE] : x;
    layer_part parts[4] = {{c->n_q, c->width, c->n_head * c->head_dim, x, CLATTN_LAYER_WQ,
                            CLATTN_LAYER_BQ, CLATTN_LAYER_GRAD_WQ, CLATTN_LAYER_GRAD_BQ},
                           {c->n_kv, c->key_width, c->n_kv_head * c->head_dim, key, CLATTN_LAYER_WK,
                            CLATTN_LAYER_BK, CLATTN_LAYER_GRAD_WK, CLATTN_LAYER_GRAD_BK},
                           {c->n_kv, c->value_width, c->n_kv_head * c->value_dim, value,
                            CLATTN_LAYER_WV, CLATTN_LAYER_BV, CLATTN_LAYER_GRAD_WV,
                            CLATTN_LAYER_GRAD_BV},
                           {c->n_q, c->n_head * c->value_dim, c->width, NULL, CLATTN_LAYER_WO,
                            CLATTN_LAYER_BO, CLATTN_LAYER_GRAD_WO, CLATTN_LAYER_GRAD_BO}};
    static const uint32_t by_x[] = {CLATTN_LAYER_GRAD_X, CLATTN_LAYER_GRAD_KEY,
                                    CLATTN_LAYER_GRAD_VALUE};
    double *projected[3];
    middle m;
    for (int i = 0; i < 3; i++)
        projected[i] = layer_project(c, v, &parts[i]);
    const int64_t q_shape[4] = {c->batch, c->n_q, c->n_head, c->head_dim};
    const int64_t k_shape[4] = {c->batch, c->n_kv, c->n_kv_head, c->head_dim};
    rotate(c, projected[0], q_shape, false);
    rotate(c, projected[1], k_shape, false);
    attend(c, v, projected[0], projected[1], projected[2], &m);
    float *o = layer_floats(m.o, c->batch * c->n_q * c->n_head * c->value_dim);
    parts[3].x = o;
    double *out = layer_project(c, v, &parts[3]);
    memcpy(v->expected[CLATTN_LAYER_OUT], out, (size_t)v->count[CLATTN_LAYER_OUT] * sizeof *out);
    double *dy = layer_doubles(v->in[CLATTN_LAYER_GRAD_OUT], v->count[CLATTN_LAYER_GRAD_OUT]);
    double *by_o = layer_project_back(c, v, &parts[3], dy);
    attend_back(&m, by_o);
    rotate(c, m.dq, q_shape, true);
    rotate(c, m.dk, k_shape, true);
    const double *by_projected[] = {m.dq, m.dk, m.dv};
    for (int i = 0; i < 3; i++) {
        double *dx = layer_project_back(c, v, &parts[i], by_projected[i]);
        const uint32_t to = c->cross ? by_x[i] : CLATTN_LAYER_GRAD_X;
        layer_add(v->expected[to], dx, c->batch * parts[i].rows * parts[i].in);
        free(dx);
        free(projected[i]);
    }
    free(by_o);
    free(dy);
    free(out);
    free(o);
    finish(&m);
}

static void expect_general(const layer_case *c, layer_values *v)
{
    const layer_part keys = {c->n_kv,
                             c->key_width,
                             c->width,
                             v->in[CLATTN_LAYER_KEY],
                             CLATTN_LAYER_W_SCORE,
                             CLATTN_LAYER_BQ,
                             CLATTN_LAYER_GRAD_W_SCORE,
                             0};
    middle m;
    double *q = layer_doubles(v->in[CLATTN_LAYER_X], v->count[CLATTN_LAYER_X]);
    double *value = layer_doubles(v->in[CLATTN_LAYER_VALUE], v->count[CLATTN_LAYER_VALUE]);
    double *dy = layer_doubles(v->in[CLATTN_LAYER_GRAD_OUT], v->count[CLATTN_LAYER_GRAD_OUT]);
    double *k = layer_project(c, v, &keys);
    attend(c, v, q, k, value, &m);
    memcpy(v->expected[CLATTN_LAYER_OUT], m.o, (size_t)v->count[CLATTN_LAYER_OUT] * sizeof *m.o);
    attend_back(&m, dy);
    double *dx = layer_project_back(c, v, &keys, m.dk);
    layer_add(v->expected[CLATTN_LAYER_GRAD_X], m.dq, v->count[CLATTN_LAYER_GRAD_X]);
    layer_add(v->expected[CLATTN_LAYER_GRAD_KEY], dx, v->count[CLATTN_LAYER_GRAD_KEY]);
    layer_add(v->expected[CLATTN_LAYER_GRAD_VALUE], m.dv, v->count[CLATTN_LAYER_GRAD_VALUE]);
    free(q);
    free(value);
    free(dy);
    free(k);
    free(dx);
    finish(&m);
}

void layer_expect(const layer_case *c, layer_values *v)
{
    static void (*const of_kind[])(const layer_case *,
                                   layer_values *) = {[LAYER_MULTI_HEAD] = expect_multi_head,
                                                      [LAYER_GENERAL] = expect_general,
                                                      [LAYER_ADDITIVE] = layer_expect_additive};
    of_kind[c->kind](c, v);
}
