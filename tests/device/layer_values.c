/* Tensors of a layer with numbers, and room for what is expected. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "layer_parts.h"
#include "rig.h"

/* Elements of X to VALUE and of the parameters, or of what has no memory, 0. */
static int64_t elements(const layer_case *c, uint32_t tensor)
{
    const int64_t q = c->n_head * c->head_dim, k = c->n_kv_head * c->head_dim;
    const int64_t v = c->n_kv_head * c->value_dim, o = c->n_head * c->value_dim;
    const bool layer = c->kind == LAYER_MULTI_HEAD, two = c->cross || !layer;
    const bool additive = c->kind == LAYER_ADDITIVE;
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
        return layer || additive ? q * c->width : 0;
    case CLATTN_LAYER_WK:
        return layer || additive ? k * c->key_width : 0;
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
        return layer ? 0 : additive ? c->channels : c->width * c->key_width;
    default:
        return 0;
    }
}

static bool takes_part(const layer_case *c, uint32_t tensor)
{
    if (tensor == CLATTN_LAYER_KEY || tensor == CLATTN_LAYER_VALUE)
        return c->cross || c->kind != LAYER_MULTI_HEAD;
    if (elements(c, tensor) == 0)
        return false;
    if (tensor >= CLATTN_LAYER_BQ && tensor <= CLATTN_LAYER_BO)
        return layer_has(c, tensor);
    return tensor != CLATTN_LAYER_GRAD_OUT || c->gradients;
}

static float rounded(const layer_case *c, uint32_t *state)
{
    return oracle_rounded(c->type, rig_number(state));
}

static void fill(const layer_case *c, layer_values *v, uint32_t tensor, uint32_t seed)
{
    v->in[tensor] = layer_room(v->count[tensor], sizeof(float));
    seed += 1000 * c->seed;
    for (int64_t i = 0; i < v->count[tensor]; i++)
        v->in[tensor][i] = rounded(c, &seed);
}

/* A gradient: as many elements as what it is of, and what was there before, if that counts. */
static void make_gradient(const layer_case *c, layer_values *v, uint32_t gradient, uint32_t of)
{
    if (!(c->gradients >> gradient & 1))
        return;
    v->count[gradient] = elements(c, of);
    v->expected[gradient] = layer_room(v->count[gradient], sizeof(double));
    if (!(c->accumulate >> gradient & 1))
        return;
    fill(c, v, gradient, gradient);
    for (int64_t i = 0; i < v->count[gradient]; i++)
        v->expected[gradient][i] = (double)v->in[gradient][i];
}

static void make_returned(const layer_case *c, layer_values *v, uint32_t tensor, int64_t count)
{
    if (!layer_has(c, tensor))
        return;
    v->count[tensor] = count;
    v->expected[tensor] = layer_room(count, sizeof(double));
}

/* As it lies in memory, and with a mask for each head. About a third is hidden. */
static void make_mask(const layer_case *c, layer_values *v)
{
    const int64_t one = c->n_q * c->n_kv, heads = c->mask_for_all_heads ? 1 : c->n_head;
    uint32_t seed = 77;
    if (!layer_has(c, CLATTN_LAYER_MASK))
        return;
    v->mask_count = c->batch * heads * one;
    v->mask_in = layer_room(v->mask_count, 1);
    v->mask = layer_room(c->batch * c->n_head * one, 1);
    for (int64_t i = 0; i < v->mask_count; i++)
        v->mask_in[i] = rig_number(&seed) > -0.3f;
    for (int64_t i = 0; i < c->batch * c->n_head * one; i++) {
        const int64_t b = i / one / c->n_head, h = i / one % c->n_head;
        v->mask[i] = v->mask_in[(b * heads + h % heads) * one + i % one];
    }
}

void layer_values_make(const layer_case *of, layer_values *v)
{
    const layer_case c = layer_whole(of);
    *v = (layer_values){.count = {0}};
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++) {
        v->count[tensor] = elements(&c, tensor);
        if (tensor == CLATTN_LAYER_OUT)
            v->expected[tensor] = layer_room(v->count[tensor], sizeof(double));
        else if (takes_part(&c, tensor))
            fill(&c, v, tensor, tensor + 1);
    }
    make_returned(&c, v, CLATTN_LAYER_WEIGHTS, c.batch * c.n_head * c.n_q * c.n_kv);
    make_returned(&c, v, CLATTN_LAYER_LSE, c.batch * c.n_head * c.n_q);
    make_mask(&c, v);
    for (uint32_t i = 0; i < 3; i++)
        make_gradient(&c, v, CLATTN_LAYER_GRAD_X + i, CLATTN_LAYER_X + i);
    for (uint32_t i = 0; i < 8; i++)
        make_gradient(&c, v, CLATTN_LAYER_GRAD_WQ + i, CLATTN_LAYER_WQ + i);
    make_gradient(&c, v, CLATTN_LAYER_GRAD_W_SCORE, CLATTN_LAYER_W_SCORE);
    if (!c.gradients) { /* the oracle goes back in any case */
        v->count[CLATTN_LAYER_GRAD_OUT] = elements(&c, CLATTN_LAYER_GRAD_OUT);
        fill(&c, v, CLATTN_LAYER_GRAD_OUT, 1);
    }
    layer_expect(&c, v);
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
    free(v->mask);
    free(v->mask_in);
}
