/* See layer_oracle.h. */
#include "layer_oracle.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/gradient.h"
#include "tests/oracle/linear.h"

const int64_t layer_seed[2] = {42, 7};

#define ROTARY_BASE 100.0

/* With what 0 stands for. */
static layer_case whole(const layer_case *of)
{
    layer_case c = *of;
    if (!c.cross && !c.general)
        c.n_kv = c.n_q;
    if (c.key_width == 0)
        c.key_width = c.width;
    if (c.value_width == 0)
        c.value_width = c.width;
    if (c.general)
        c.n_head = 1;
    if (c.n_kv_head == 0)
        c.n_kv_head = c.n_head;
    if (c.head_dim == 0)
        c.head_dim = c.width / c.n_head;
    if (c.value_dim == 0)
        c.value_dim = c.general ? c.value_width : c.head_dim;
    return c;
}

void layer_describe(const layer_case *of, clattn_multi_head_desc *desc)
{
    clattn_multi_head_desc_init(desc);
    desc->dtype = (clattn_dtype)of->type;
    desc->cross = of->cross;
    desc->causal = of->causal;
    desc->align = of->causal ? CLATTN_ALIGN_TOP_LEFT : CLATTN_ALIGN_NONE;
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
}

static void *make(int64_t count, size_t size)
{
    void *made = calloc((size_t)count + 1, size);
    cr_assert_not_null(made);
    return made;
}

static float *to_floats(const double *from, int64_t count)
{
    float *made = make(count, sizeof *made);
    for (int64_t i = 0; i < count; i++)
        made[i] = (float)from[i];
    return made;
}

/* (batch, tokens, heads, dim) to (batch, heads, tokens, dim). */
static double *heads_first(const double *from, const int64_t e[4])
{
    double *made = make(e[0] * e[1] * e[2] * e[3], sizeof *made);
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

/* ---- the parts ------------------------------------------------------------------------------- */

/* A projection: tensors of the layer, 0 tokens first. */
typedef struct part {
    int64_t rows, in, out;
    const float *x;
    uint32_t w, b, grad_w, grad_b;
} part;

static bool has(const layer_case *c, uint32_t tensor)
{
    return (c->optional | c->gradients) >> tensor & 1;
}

static double *project(const layer_case *c, const layer_values *v, const part *p)
{
    oracle_linear of = {.batch = c->batch, .rows = p->rows, .in = p->in, .out = p->out};
    of.x = p->x;
    of.w = v->in[p->w];
    of.b = has(c, p->b) ? v->in[p->b] : NULL;
    of.y = make(c->batch * p->rows * p->out, sizeof *of.y);
    oracle_linear_run(&of);
    return of.y;
}

static void add(double *to, const double *from, int64_t count)
{
    for (int64_t i = 0; to && i < count; i++)
        to[i] += from[i];
}

/* Adds the gradients of a projection to what is expected; returns that by x. */
static double *project_back(const layer_case *c, layer_values *v, const part *p, const double *dy)
{
    oracle_linear of = {.batch = c->batch, .rows = p->rows, .in = p->in, .out = p->out};
    float *own = to_floats(dy, c->batch * p->rows * p->out);
    of.x = p->x;
    of.w = v->in[p->w];
    of.dy = own;
    of.dx = make(c->batch * p->rows * p->in, sizeof *of.dx);
    of.dw = make(p->out * p->in, sizeof *of.dw);
    of.db = make(p->out, sizeof *of.db);
    oracle_linear_run(&of);
    add(v->expected[p->grad_w], of.dw, p->out * p->in);
    if (p->grad_b)
        add(v->expected[p->grad_b], of.db, p->out);
    free(own);
    free(of.dw);
    free(of.db);
    return of.dx;
}

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
    float *made = to_floats(heads, e[0] * e[1] * e[2] * e[3]);
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
    p->scale = c->general ? 1 : 1 / sqrt((double)c->head_dim);
    p->dropout = c->dropout;
    p->dropout_seed = (uint64_t)layer_seed[0];
    p->dropout_offset = (uint64_t)layer_seed[1];
    p->kv_lengths = has(c, CLATTN_LAYER_KV_LENGTHS) ? c->lengths : NULL;
    p->weights = values->expected[CLATTN_LAYER_WEIGHTS];
    p->out = make(c->batch * c->n_head * c->n_q * c->value_dim, sizeof *p->out);
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
        make(q[0] * q[1] * q[2] * q[3], sizeof(double)),
        make(k[0] * k[1] * k[2] * k[3], sizeof(double)),
        make(v[0] * v[1] * v[2] * v[3], sizeof(double)),
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

static double *widened(const float *from, int64_t count)
{
    double *made = make(count, sizeof *made);
    for (int64_t i = 0; i < count; i++)
        made[i] = (double)from[i];
    return made;
}

static void expect_multi_head(const layer_case *c, layer_values *v)
{
    const float *x = v->in[CLATTN_LAYER_X];
    const float *key = c->cross ? v->in[CLATTN_LAYER_KEY] : x;
    const float *value = c->cross ? v->in[CLATTN_LAYER_VALUE] : x;
    part parts[4] = {{c->n_q, c->width, c->n_head * c->head_dim, x, CLATTN_LAYER_WQ,
                      CLATTN_LAYER_BQ, CLATTN_LAYER_GRAD_WQ, CLATTN_LAYER_GRAD_BQ},
                     {c->n_kv, c->key_width, c->n_kv_head * c->head_dim, key, CLATTN_LAYER_WK,
                      CLATTN_LAYER_BK, CLATTN_LAYER_GRAD_WK, CLATTN_LAYER_GRAD_BK},
                     {c->n_kv, c->value_width, c->n_kv_head * c->value_dim, value, CLATTN_LAYER_WV,
                      CLATTN_LAYER_BV, CLATTN_LAYER_GRAD_WV, CLATTN_LAYER_GRAD_BV},
                     {c->n_q, c->n_head * c->value_dim, c->width, NULL, CLATTN_LAYER_WO,
                      CLATTN_LAYER_BO, CLATTN_LAYER_GRAD_WO, CLATTN_LAYER_GRAD_BO}};
    static const uint32_t by_x[] = {CLATTN_LAYER_GRAD_X, CLATTN_LAYER_GRAD_KEY,
                                    CLATTN_LAYER_GRAD_VALUE};
    double *projected[3];
    middle m;
    for (int i = 0; i < 3; i++)
        projected[i] = project(c, v, &parts[i]);
    const int64_t q_shape[4] = {c->batch, c->n_q, c->n_head, c->head_dim};
    const int64_t k_shape[4] = {c->batch, c->n_kv, c->n_kv_head, c->head_dim};
    rotate(c, projected[0], q_shape, false);
    rotate(c, projected[1], k_shape, false);
    attend(c, v, projected[0], projected[1], projected[2], &m);
    float *o = to_floats(m.o, c->batch * c->n_q * c->n_head * c->value_dim);
    parts[3].x = o;
    double *out = project(c, v, &parts[3]);
    memcpy(v->expected[CLATTN_LAYER_OUT], out, (size_t)v->count[CLATTN_LAYER_OUT] * sizeof *out);
    double *dy = widened(v->in[CLATTN_LAYER_GRAD_OUT], v->count[CLATTN_LAYER_GRAD_OUT]);
    double *by_o = project_back(c, v, &parts[3], dy);
    attend_back(&m, by_o);
    rotate(c, m.dq, q_shape, true);
    rotate(c, m.dk, k_shape, true);
    const double *by_projected[] = {m.dq, m.dk, m.dv};
    for (int i = 0; i < 3; i++) {
        double *dx = project_back(c, v, &parts[i], by_projected[i]);
        const uint32_t to = c->cross ? by_x[i] : CLATTN_LAYER_GRAD_X;
        add(v->expected[to], dx, c->batch * parts[i].rows * parts[i].in);
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
    const part keys = {c->n_kv,
                       c->key_width,
                       c->width,
                       v->in[CLATTN_LAYER_KEY],
                       CLATTN_LAYER_W_SCORE,
                       CLATTN_LAYER_BQ,
                       CLATTN_LAYER_GRAD_W_SCORE,
                       0};
    middle m;
    double *q = widened(v->in[CLATTN_LAYER_X], v->count[CLATTN_LAYER_X]);
    double *value = widened(v->in[CLATTN_LAYER_VALUE], v->count[CLATTN_LAYER_VALUE]);
    double *dy = widened(v->in[CLATTN_LAYER_GRAD_OUT], v->count[CLATTN_LAYER_GRAD_OUT]);
    double *k = project(c, v, &keys);
    attend(c, v, q, k, value, &m);
    memcpy(v->expected[CLATTN_LAYER_OUT], m.o, (size_t)v->count[CLATTN_LAYER_OUT] * sizeof *m.o);
    attend_back(&m, dy);
    double *dx = project_back(c, v, &keys, m.dk);
    add(v->expected[CLATTN_LAYER_GRAD_X], m.dq, v->count[CLATTN_LAYER_GRAD_X]);
    add(v->expected[CLATTN_LAYER_GRAD_KEY], dx, v->count[CLATTN_LAYER_GRAD_KEY]);
    add(v->expected[CLATTN_LAYER_GRAD_VALUE], m.dv, v->count[CLATTN_LAYER_GRAD_VALUE]);
    free(q);
    free(value);
    free(dy);
    free(k);
    free(dx);
    finish(&m);
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* Elements of X to VALUE and of the parameters, or of what has no memory, 0. */
static int64_t elements(const layer_case *c, uint32_t tensor)
{
    const int64_t q = c->n_head * c->head_dim, k = c->n_kv_head * c->head_dim;
    const int64_t v = c->n_kv_head * c->value_dim, o = c->n_head * c->value_dim;
    const bool two = c->cross || c->general, layer = !c->general;
    switch (tensor) {
    case CLATTN_LAYER_X:
        return c->batch * c->n_q * c->width;
    case CLATTN_LAYER_OUT:
    case CLATTN_LAYER_GRAD_OUT:
        return c->batch * c->n_q * (layer ? c->width : c->value_width);
    case CLATTN_LAYER_KEY:
        return two ? c->batch * c->n_kv * c->key_width : 0;
    case CLATTN_LAYER_VALUE:
        return two ? c->batch * c->n_kv * c->value_width : 0;
    case CLATTN_LAYER_WQ:
        return layer ? q * c->width : 0;
    case CLATTN_LAYER_WK:
        return layer ? k * c->key_width : 0;
    case CLATTN_LAYER_WV:
        return layer ? v * c->value_width : 0;
    case CLATTN_LAYER_WO:
        return layer ? c->width * o : 0;
    case CLATTN_LAYER_BQ:
        return q;
    case CLATTN_LAYER_BK:
        return k;
    case CLATTN_LAYER_BV:
        return v;
    case CLATTN_LAYER_BO:
        return c->width;
    case CLATTN_LAYER_W_SCORE:
        return layer ? 0 : c->width * c->key_width;
    default:
        return 0;
    }
}

static bool takes_part(const layer_case *c, uint32_t tensor)
{
    if (tensor == CLATTN_LAYER_KEY || tensor == CLATTN_LAYER_VALUE)
        return c->cross || c->general;
    if (elements(c, tensor) == 0)
        return false;
    if (tensor >= CLATTN_LAYER_BQ && tensor <= CLATTN_LAYER_BO)
        return has(c, tensor);
    return tensor != CLATTN_LAYER_GRAD_OUT || c->gradients;
}

static float rounded(const layer_case *c, uint32_t *state)
{
    return oracle_rounded(c->type, rig_number(state));
}

static void fill(const layer_case *c, layer_values *v, uint32_t tensor, uint32_t seed)
{
    v->in[tensor] = make(v->count[tensor], sizeof(float));
    for (int64_t i = 0; i < v->count[tensor]; i++)
        v->in[tensor][i] = rounded(c, &seed);
}

/* A gradient: as many elements as what it is of, and what was there before, if that counts. */
static void make_gradient(const layer_case *c, layer_values *v, uint32_t gradient, uint32_t of)
{
    if (!(c->gradients >> gradient & 1))
        return;
    v->count[gradient] = elements(c, of);
    v->expected[gradient] = make(v->count[gradient], sizeof(double));
    if (!(c->accumulate >> gradient & 1))
        return;
    fill(c, v, gradient, gradient);
    for (int64_t i = 0; i < v->count[gradient]; i++)
        v->expected[gradient][i] = (double)v->in[gradient][i];
}

void layer_values_make(const layer_case *of, layer_values *v)
{
    const layer_case c = whole(of);
    *v = (layer_values){.count = {0}};
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++) {
        v->count[tensor] = elements(&c, tensor);
        if (tensor == CLATTN_LAYER_OUT)
            v->expected[tensor] = make(v->count[tensor], sizeof(double));
        else if (takes_part(&c, tensor))
            fill(&c, v, tensor, tensor + 1);
    }
    if (has(&c, CLATTN_LAYER_WEIGHTS)) {
        v->count[CLATTN_LAYER_WEIGHTS] = c.batch * c.n_head * c.n_q * c.n_kv;
        v->expected[CLATTN_LAYER_WEIGHTS] = make(v->count[CLATTN_LAYER_WEIGHTS], sizeof(double));
    }
    for (uint32_t i = 0; i < 3; i++)
        make_gradient(&c, v, CLATTN_LAYER_GRAD_X + i, CLATTN_LAYER_X + i);
    for (uint32_t i = 0; i < 8; i++)
        make_gradient(&c, v, CLATTN_LAYER_GRAD_WQ + i, CLATTN_LAYER_WQ + i);
    make_gradient(&c, v, CLATTN_LAYER_GRAD_W_SCORE, CLATTN_LAYER_W_SCORE);
    if (!c.gradients) { /* the oracle goes back in any case */
        v->count[CLATTN_LAYER_GRAD_OUT] = elements(&c, CLATTN_LAYER_GRAD_OUT);
        fill(&c, v, CLATTN_LAYER_GRAD_OUT, 1);
    }
    (c.general ? expect_general : expect_multi_head)(&c, v);
    if (!c.gradients) {
        free(v->in[CLATTN_LAYER_GRAD_OUT]);
        v->in[CLATTN_LAYER_GRAD_OUT] = NULL;
    }
}

void layer_values_free(layer_values *v)
{
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++) {
        free(v->in[tensor]);
        free(v->expected[tensor]);
    }
}
