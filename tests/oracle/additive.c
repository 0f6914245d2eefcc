/* The formulas of additive.h, a query at a time. One text serves both precisions: every operation
 * is done in double and, for the plain computation, rounded to float32, which is what float32 would
 * have given. */
#include "additive.h"

#include <math.h>
#include <stdlib.h>

/* One query: where it is, and (n_kv) numbers of each of its pairs. */
typedef struct additive_row {
    const oracle_additive *p;
    int64_t b, h, i;
    int64_t row;   /* of (batch, n_head, n_q) */
    int64_t key;   /* first row of (batch, n_head, n_kv) */
    double *w, *a; /* weights; derivatives by weights, then by scores */
    bool *sees;
} additive_row;

/* float32, where the plain computation is wanted. */
static double f32(const oracle_additive *p, double x)
{
    return p->plain ? (double)(float)x : x;
}

/* A number that is stored. */
static double stored(const oracle_additive *p, double x)
{
    return p->plain ? (double)oracle_rounded(p->type, (float)x) : x;
}

static int64_t clamped(const int32_t *lengths, int64_t b, int64_t most)
{
    const int64_t length = lengths ? lengths[b] : most;
    return length < 0 ? 0 : length > most ? most : length;
}

static double tanh_of(const additive_row *x, int64_t j, int64_t c)
{
    const oracle_additive *p = x->p;
    const double sum = f32(p, (double)p->q[x->row * p->channels + c] +
                                  (double)p->k[(x->key + j) * p->channels + c]);
    const double bias = p->bias ? (double)p->bias[x->h * p->channels + c] : 0;
    return f32(p, tanh(f32(p, sum + bias)));
}

static double score_of(const additive_row *x, int64_t j)
{
    const oracle_additive *p = x->p;
    double s = 0;
    for (int64_t c = 0; c < p->channels; c++)
        s = f32(p, s + f32(p, (double)p->w_score[x->h * p->channels + c] * tanh_of(x, j, c)));
    return stored(p, s);
}

static bool is_visible(const additive_row *x, int64_t j)
{
    const oracle_additive *p = x->p;
    return x->i < clamped(p->q_lengths, x->b, p->n_q) &&
           j < clamped(p->kv_lengths, x->b, p->n_kv) && (!p->mask || p->mask[x->row * p->n_kv + j]);
}

/* Weights of the row; returns its lse. */
static double weigh(const additive_row *x)
{
    const oracle_additive *p = x->p;
    double most = -INFINITY, sum = 0;
    bool any = false;
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = is_visible(x, j) ? score_of(x, j) : -INFINITY;
        x->sees[j] = x->w[j] != -INFINITY;
        any |= x->sees[j];
        most = x->w[j] > most ? x->w[j] : most;
    }
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = x->sees[j] ? f32(p, exp(f32(p, x->w[j] - most))) : 0;
        sum = f32(p, sum + x->w[j]);
    }
    for (int64_t j = 0; j < p->n_kv; j++)
        x->w[j] = x->sees[j] ? stored(p, x->w[j] / sum) : 0;
    return any ? f32(p, most + f32(p, log(sum))) : -INFINITY;
}

static void write_row(const additive_row *x, double lse)
{
    const oracle_additive *p = x->p;
    if (p->lse)
        p->lse[x->row] = lse;
    for (int64_t j = 0; p->weights && j < p->n_kv; j++)
        p->weights[x->row * p->n_kv + j] = x->w[j];
    for (int64_t d = 0; p->out && d < p->value_dim; d++) {
        double sum = 0;
        for (int64_t j = 0; j < p->n_kv; j++)
            if (x->sees[j])
                sum = f32(p, sum + f32(p, x->w[j] * (double)p->v[(x->key + j) * p->value_dim + d]));
        p->out[x->row * p->value_dim + d] = stored(p, sum);
    }
}

/* Derivatives by scores into a. */
static void differentiate(const additive_row *x)
{
    const oracle_additive *p = x->p;
    double mean = 0;
    for (int64_t j = 0; j < p->n_kv; j++) {
        double sum = 0;
        for (int64_t d = 0; x->sees[j] && d < p->value_dim; d++)
            sum = f32(p, sum + f32(p, (double)p->by_out[x->row * p->value_dim + d] *
                                          (double)p->v[(x->key + j) * p->value_dim + d]));
        x->a[j] = stored(p, sum);
        if (x->sees[j])
            mean = f32(p, mean + f32(p, x->w[j] * x->a[j]));
    }
    const double by_lse = p->by_lse ? (double)p->by_lse[x->row] : 0;
    for (int64_t j = 0; j < p->n_kv; j++)
        x->a[j] =
            x->sees[j] ? stored(p, f32(p, x->w[j] * f32(p, x->a[j] - f32(p, mean - by_lse)))) : 0;
}

static void add(const oracle_additive *p, double *to, int64_t at, double x)
{
    if (to)
        to[at] = f32(p, to[at] + f32(p, x));
}

static void add_pair(const additive_row *x, int64_t j)
{
    const oracle_additive *p = x->p;
    for (int64_t c = 0; c < p->channels; c++) {
        const double t = tanh_of(x, j, c), w = (double)p->w_score[x->h * p->channels + c];
        const double slope = f32(p, f32(p, x->a[j] * w) * f32(p, 1 - f32(p, t * t)));
        add(p, p->grad_q, x->row * p->channels + c, slope);
        add(p, p->grad_k, (x->key + j) * p->channels + c, slope);
        add(p, p->grad_bias, x->h * p->channels + c, slope);
        add(p, p->grad_w_score, x->h * p->channels + c, x->a[j] * t);
    }
    for (int64_t d = 0; d < p->value_dim; d++)
        add(p, p->grad_v, (x->key + j) * p->value_dim + d,
            x->w[j] * (double)p->by_out[x->row * p->value_dim + d]);
}

static void compute_row(const additive_row *x)
{
    write_row(x, weigh(x));
    if (!x->p->by_out)
        return;
    differentiate(x);
    for (int64_t j = 0; j < x->p->n_kv; j++)
        if (x->sees[j])
            add_pair(x, j);
}

static void each(const oracle_additive *p, double *tensor, int64_t count, bool first)
{
    for (int64_t n = 0; tensor && n < count; n++)
        tensor[n] = first ? 0 : stored(p, tensor[n]);
}

static void each_gradient(const oracle_additive *p, bool first)
{
    const int64_t heads = p->batch * p->n_head;
    each(p, p->grad_q, heads * p->n_q * p->channels, first);
    each(p, p->grad_k, heads * p->n_kv * p->channels, first);
    each(p, p->grad_v, heads * p->n_kv * p->value_dim, first);
    each(p, p->grad_w_score, p->n_head * p->channels, first);
    each(p, p->grad_bias, p->n_head * p->channels, first);
}

bool oracle_additive_compute(const oracle_additive *p)
{
    const size_t n = (size_t)p->n_kv + 1;
    additive_row x = {.p = p};
    x.w = malloc(n * sizeof *x.w);
    x.a = malloc(n * sizeof *x.a);
    x.sees = malloc(n * sizeof *x.sees);
    const bool good = x.w && x.a && x.sees;
    if (good) {
        each_gradient(p, true);
        for (x.b = 0; x.b < p->batch; x.b++)
            for (x.h = 0; x.h < p->n_head; x.h++)
                for (x.i = 0; x.i < p->n_q; x.i++) {
                    x.row = (x.b * p->n_head + x.h) * p->n_q + x.i;
                    x.key = (x.b * p->n_head + x.h) * p->n_kv;
                    compute_row(&x);
                }
        each_gradient(p, false);
    }
    free(x.w);
    free(x.a);
    free(x.sees);
    return good;
}
