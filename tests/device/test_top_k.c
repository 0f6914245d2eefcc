/* Attention to the keys of highest score, on numbers whose scores are exact and often equal: which
 * keys, in which order, their weights, and what comes of them. Every device. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { MOST_KEYS = 300, MOST_TOP = 310 };

static const struct {
    rig_shape shape;
    int64_t top_k;
    bool sink;
} cases[] = {
    {{1, 1, 1, 1, 1, 1, 1, CLATTN_ALIGN_NONE}, 1, false},
    {{2, 4, 2, 7, 65, 8, 5, CLATTN_ALIGN_NONE}, 1, false},
    {{2, 4, 2, 7, 65, 8, 5, CLATTN_ALIGN_BOTTOM_RIGHT}, 8, true},
    {{1, 2, 1, 9, 6, 4, 4, CLATTN_ALIGN_BOTTOM_RIGHT}, 3, false}, /* rows without keys */
    {{1, 2, 2, 5, 40, 16, 16, CLATTN_ALIGN_TOP_LEFT}, 40, false},
    {{1, 2, 2, 5, 40, 16, 16, CLATTN_ALIGN_TOP_LEFT}, 47, true}, /* more than there are */
    {{1, 3, 1, 3, 300, 33, 17, CLATTN_ALIGN_NONE}, 300, false},
    {{2, 2, 1, 4, 0, 8, 8, CLATTN_ALIGN_NONE}, 2, false},
};

/* All tensors of a case. */
typedef struct top {
    const rig_shape *of;
    int64_t top_k, rows;
    float *q, *k, *v, *out, *lse, *weights, sink[4];
    int32_t *indices;
} top;

/* Whole numbers from -2 to 2. */
static float *whole_numbers(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = floorf(rig_number(&seed) * 2.5f + 0.5f);
    return x;
}

static float *nans(int64_t count)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

static void make(top *t, size_t n)
{
    const rig_shape *s = t->of = &cases[n].shape;
    t->top_k = cases[n].top_k;
    t->rows = s->batch * s->n_head * s->n_q;
    t->q = whole_numbers(t->rows * s->head_dim, 1);
    t->k = whole_numbers(s->batch * s->n_kv_head * s->n_kv * s->head_dim, 2);
    t->v = whole_numbers(s->batch * s->n_kv_head * s->n_kv * s->value_dim, 3);
    t->out = nans(t->rows * s->value_dim);
    t->lse = nans(t->rows);
    t->weights = nans(t->rows * s->n_kv);
    t->indices = malloc((size_t)(t->rows * t->top_k + 1) * sizeof *t->indices);
    for (int h = 0; h < 4; h++)
        t->sink[h] = (float)h;
}

static void unmake(top *t)
{
    free(t->q);
    free(t->k);
    free(t->v);
    free(t->out);
    free(t->lse);
    free(t->weights);
    free(t->indices);
}

static void run(clattn_context *context, const top *t, bool sink)
{
    const rig_shape *s = t->of;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = s->batch;
    desc.n_head = s->n_head;
    desc.n_kv_head = s->n_kv_head;
    desc.n_q = s->n_q;
    desc.n_kv = s->n_kv;
    desc.head_dim = s->head_dim;
    desc.value_dim = s->value_dim;
    desc.causal = s->align != CLATTN_ALIGN_NONE;
    desc.align = s->align;
    desc.has_scale = 1;
    desc.scale = 0.5f;
    desc.top_k = t->top_k;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES);
    if (sink)
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_SINK);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, t->q},
        {CLATTN_SLOT_K, 0, t->k},
        {CLATTN_SLOT_V, 0, t->v},
        {CLATTN_SLOT_OUT, 0, t->out},
        {CLATTN_SLOT_LSE, 0, t->lse},
        {CLATTN_SLOT_WEIGHTS, 0, t->weights},
        {CLATTN_SLOT_INDICES, 0, t->indices},
        {CLATTN_SLOT_SINK, 0, (float *)t->sink},
    };
    cr_assert_eq(clattn_run(context, &desc, bindings, sink ? 8 : 7), CLATTN_OK, "%s: %s",
                 rig_said(), clattn_error_message());
}

/* ---- what is expected ------------------------------------------------------------------------ */

/* One row: its keys in the order wanted, their number, and the sum of exponentials. */
typedef struct row {
    int64_t key[MOST_KEYS], count;
    double score[MOST_KEYS], lse;
} row;

/* The best that is left, the first of equals, again and again. */
static void choose(const top *t, const double *score, const bool *visible, row *r)
{
    bool taken[MOST_KEYS] = {false};
    for (r->count = 0; r->count < t->top_k; r->count++) {
        int64_t best = -1;
        for (int64_t j = 0; j < t->of->n_kv; j++)
            if (visible[j] && !taken[j] && (best < 0 || score[j] > score[best]))
                best = j;
        if (best < 0)
            return;
        taken[best] = true;
        r->key[r->count] = best;
        r->score[r->count] = score[best];
    }
}

static void expect_row(const top *t, int64_t b, int64_t h, int64_t i, double sink, row *r)
{
    const rig_shape *s = t->of;
    const int64_t g = b * s->n_kv_head + h / (s->n_head / s->n_kv_head);
    const int64_t offset = s->align == CLATTN_ALIGN_BOTTOM_RIGHT ? s->n_kv - s->n_q : 0;
    double score[MOST_KEYS], sum = exp(sink);
    bool visible[MOST_KEYS];
    for (int64_t j = 0; j < s->n_kv; j++) {
        visible[j] = s->align == CLATTN_ALIGN_NONE || j <= i + offset;
        score[j] = 0;
        for (int64_t d = 0; d < s->head_dim; d++)
            score[j] += 0.5 * (double)t->q[((b * s->n_head + h) * s->n_q + i) * s->head_dim + d] *
                        (double)t->k[(g * s->n_kv + j) * s->head_dim + d];
    }
    choose(t, score, visible, r);
    for (int64_t n = 0; n < r->count; n++)
        sum += exp(r->score[n]);
    r->lse = log(sum);
}

static void near(double x, double expected, double bound, const char *what, int64_t at)
{
    const bool same = x == expected || fabs(x - expected) <= bound;
    cr_assert(same, "%s: %s[%d] is %g, not %g", rig_said(), what, (int)at, x, expected);
}

static void check_row(const top *t, int64_t b, int64_t h, int64_t i, const row *r)
{
    const rig_shape *s = t->of;
    const int64_t at = (b * s->n_head + h) * s->n_q + i;
    const int64_t g = b * s->n_kv_head + h / (s->n_head / s->n_kv_head);
    double weight[MOST_KEYS] = {0};
    for (int64_t n = 0; n < t->top_k; n++)
        cr_assert_eq(t->indices[at * t->top_k + n], n < r->count ? r->key[n] : -1,
                     "%s: query %d, place %d: key %d", rig_said(), (int)i, (int)n,
                     (int)t->indices[at * t->top_k + n]);
    for (int64_t n = 0; n < r->count; n++)
        weight[r->key[n]] = exp(r->score[n] - r->lse);
    near((double)t->lse[at], r->lse, 1e-5, "lse", at);
    for (int64_t j = 0; j < s->n_kv; j++)
        near((double)t->weights[at * s->n_kv + j], weight[j], 1e-5, "weights", j);
    for (int64_t d = 0; d < s->value_dim; d++) {
        double expected = 0;
        for (int64_t j = 0; j < s->n_kv; j++)
            expected += weight[j] * (double)t->v[(g * s->n_kv + j) * s->value_dim + d];
        near((double)t->out[at * s->value_dim + d], expected, 1e-5, "out", d);
    }
}

static void run_case(clattn_context *context, size_t n)
{
    top t;
    make(&t, n);
    run(context, &t, cases[n].sink);
    for (int64_t b = 0; b < t.of->batch; b++)
        for (int64_t h = 0; h < t.of->n_head; h++)
            for (int64_t i = 0; i < t.of->n_q; i++) {
                row r;
                expect_row(&t, b, h, i, cases[n].sink ? (double)t.sink[h] : -(double)INFINITY, &r);
                check_row(&t, b, h, i, &r);
            }
    unmake(&t);
}

Test(top_k, keys_weights_and_results)
{
    clattn_context *context = rig_open();
    for (size_t n = 0; n < COUNT(cases); n++) {
        rig_say("case %d", (int)n);
        run_case(context, n);
    }
    rig_close(context);
}

/* A NaN in a visible score shows, whatever k is; one that is hidden doesn't. */
Test(top_k, nan_shows)
{
    const float q[2] = {1, 1}, k[3] = {3, NAN, 5}, v[3] = {1, 2, NAN};
    float out[2];
    int32_t indices[2];
    clattn_attention_desc desc;
    clattn_context *context = rig_open();
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.head_dim = desc.value_dim = desc.top_k = 1;
    desc.n_q = 2;
    desc.n_kv = 3;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_TOP_LEFT;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_INDICES);
    const clattn_host_binding bindings[] = {{CLATTN_SLOT_Q, 0, (float *)q},
                                            {CLATTN_SLOT_K, 0, (float *)k},
                                            {CLATTN_SLOT_V, 0, (float *)v},
                                            {CLATTN_SLOT_OUT, 0, out},
                                            {CLATTN_SLOT_INDICES, 0, indices}};
    cr_assert_eq(clattn_run(context, &desc, bindings, 5), CLATTN_OK, "%s", clattn_error_message());
    cr_assert(out[0] == 1 && indices[0] == 0, "%g", (double)out[0]);
    cr_assert(isnan(out[1]) && indices[1] == 1, "%g", (double)out[1]);
    rig_close(context);
}
