/* The promise about the accuracy of layers (docs/numerics.md): the largest error against float64 is
 * at most three times that of the plain unfused computation, and 4 ulp of the largest element.
 * Multi-head attention in three types, results and all gradients; what is expected is in double
 * precision from end to end, unlike that of test_layers.c. Both errors are the largest over several
 * layers of a kind, as in test_bound.c. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "layer_parts.h"
#include "layer_rig.h"
#include "rig.h"
#include "tests/oracle/multi_head.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(name)    CLATTN_LAYER_BIT(CLATTN_LAYER_##name)

enum { DRAWS = 5 };

static const layer_case cases[] = {
    {.name = "self",
     .batch = 2,
     .n_q = 33,
     .width = 48,
     .n_head = 3,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = LAYER_GRADIENTS},
    {.name = "self, causal, no biases",
     .causal = true,
     .batch = 1,
     .n_q = 97,
     .width = 64,
     .n_head = 2,
     .gradients =
         LAYER_GRADIENTS & ~(CLATTN_LAYER_BIASES << (CLATTN_LAYER_GRAD_BQ - CLATTN_LAYER_BQ))},
    {.name = "cross, other widths, shared heads",
     .cross = true,
     .batch = 2,
     .n_q = 19,
     .n_kv = 70,
     .width = 40,
     .key_width = 35,
     .value_width = 52,
     .n_head = 4,
     .n_kv_head = 2,
     .head_dim = 16,
     .value_dim = 9,
     .optional = CLATTN_LAYER_BIASES,
     .gradients = LAYER_GRADIENTS | BIT(GRAD_KEY) | BIT(GRAD_VALUE)},
};

/* The same layer for the oracle; by tensor, where its results are: NULL where there are none. */
static oracle_multi_head oracle_of(const layer_stage *s, double *const to[LAYER_TENSORS])
{
    const layer_case c = layer_whole(s->of);
    oracle_multi_head of = {.batch = c.batch,
                            .n_q = c.n_q,
                            .n_kv = c.n_kv,
                            .n_head = c.n_head,
                            .n_kv_head = c.n_kv_head,
                            .head_dim = c.head_dim,
                            .value_dim = c.value_dim,
                            .width = {c.width, c.key_width, c.value_width},
                            .cross = c.cross,
                            .causal = c.causal,
                            .by_y = s->values.in[CLATTN_LAYER_GRAD_OUT],
                            .y = to[CLATTN_LAYER_OUT],
                            .type = c.type};
    for (int n = 0; n < 3; n++) {
        of.x[n] = s->values.in[CLATTN_LAYER_X + n];
        of.grad_x[n] = to[CLATTN_LAYER_GRAD_X + n];
    }
    for (int n = 0; n < ORACLE_PROJECTIONS; n++) {
        of.w[n] = s->values.in[CLATTN_LAYER_WQ + n];
        of.b[n] = s->values.in[CLATTN_LAYER_BQ + n];
        of.grad_w[n] = to[CLATTN_LAYER_GRAD_WQ + n];
        of.grad_b[n] = to[CLATTN_LAYER_GRAD_BQ + n];
    }
    return of;
}

static void compute(const layer_stage *s, bool plain, double *to[LAYER_TENSORS])
{
    for (int tensor = 0; tensor < LAYER_TENSORS; tensor++)
        to[tensor] = s->values.expected[tensor]
                         ? layer_room(s->values.count[tensor], sizeof *to[tensor])
                         : NULL;
    oracle_multi_head of = oracle_of(s, to);
    of.plain = plain;
    cr_assert(oracle_multi_head_compute(&of));
}

static void forget(double *of[LAYER_TENSORS])
{
    for (int tensor = 0; tensor < LAYER_TENSORS; tensor++)
        free(of[tensor]);
}

/* The largest of the layers so far. */
typedef struct worst {
    double own, plain, largest;
} worst;

static void look(layer_stage *s, uint32_t tensor, const double *exact, const double *plain,
                 worst *of)
{
    const size_t size = layer_element_size(s->of, tensor);
    unsigned char *data;
    layer_good(clattn_buffer_map(s->buffer[tensor], (void **)&data));
    for (int64_t i = 0; i < s->values.count[tensor]; i++) {
        const double x = layer_widen(s->of, tensor, data + LAYER_GUARD + (size_t)i * size);
        cr_assert(isfinite(exact[i]) && isfinite(plain[i]));
        of->own = fmax(of->own, isnan(x) ? INFINITY : fabs(x - exact[i]));
        of->plain = fmax(of->plain, fabs(plain[i] - exact[i]));
        of->largest = fmax(of->largest, fabs(exact[i]));
    }
    layer_good(clattn_buffer_unmap(s->buffer[tensor]));
}

static void draw(clattn_context *context, const layer_case *of, worst to[LAYER_TENSORS])
{
    layer_stage s;
    double *exact[LAYER_TENSORS], *plain[LAYER_TENSORS];
    layer_begin(&s, context, of);
    layer_forward(&s);
    layer_backward(&s);
    compute(&s, false, exact);
    compute(&s, true, plain);
    for (uint32_t tensor = 0; tensor < LAYER_TENSORS; tensor++)
        if (exact[tensor])
            look(&s, tensor, exact[tensor], plain[tensor], &to[tensor]);
    forget(exact);
    forget(plain);
    layer_end(&s);
}

static void keep_the_promise(clattn_context *context, const layer_case *of, oracle_type type)
{
    worst to[LAYER_TENSORS] = {{0, 0, 0}};
    layer_case c = *of;
    c.type = type;
    for (c.seed = 1; c.seed <= DRAWS; c.seed++)
        draw(context, &c, to);
    /* Gradients of a query's scores add up to 0, so that nothing is left for the bias of keys: its
     * error is that of sums as large as those for the bias of queries. */
    to[CLATTN_LAYER_GRAD_BK].largest =
        fmax(to[CLATTN_LAYER_GRAD_BK].largest, to[CLATTN_LAYER_GRAD_BQ].largest);
    for (int tensor = 0; tensor < LAYER_TENSORS; tensor++) {
        const double allowed = 3 * to[tensor].plain + 4 * oracle_ulp(type) * to[tensor].largest;
        cr_expect(to[tensor].own <= allowed, "%s, type %d, tensor %d: error %.3g, allowed %.3g",
                  of->name, (int)type, tensor, to[tensor].own, allowed);
    }
}

Test(layer_bound, multi_head_layers_keep_the_promise)
{
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(cases); n++)
        for (int type = ORACLE_F32; type <= ORACLE_BF16; type++)
            keep_the_promise(context, &cases[n], (oracle_type)type);
    rig_close(context);
}
