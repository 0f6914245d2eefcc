/* The formulas of gradient.h, one row of queries at a time. */
#include "gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "row.h"

/* One row, and scratch for its keys. */
typedef struct row_of_loss {
    const oracle_problem *p;
    const oracle_loss *loss;
    const oracle_gradients *to, *terms;
    oracle_row row;
    oracle_score *score; /* (n_kv) */
    double *w;           /* (n_kv) weights, 0 where not visible */
    double *a;           /* (n_kv) derivatives by weights */
    double *size;        /* (n_kv) sums of absolute values of what `a` is made of */
    double sink;         /* the sink's share */
    double rounding;     /* sum of w * terms of the scores */
} row_of_loss;

static bool is_visible(const row_of_loss *x, int64_t j)
{
    return x->score[j].seen != -INFINITY;
}

static double kept(const row_of_loss *x, int64_t j)
{
    return oracle_is_kept(x->p, &x->row, j) ? 1 / (1 - (double)x->p->dropout) : 0;
}

static const float *by_out(const row_of_loss *x)
{
    return x->loss->by_out + oracle_row_element(x->p, &x->row, x->p->value_dim);
}

static double by_lse(const row_of_loss *x)
{
    return x->loss->by_lse ? (double)x->loss->by_lse[oracle_row_element(x->p, &x->row, 1)] : 0;
}

/* Scores and weights. */
static void weigh(row_of_loss *x)
{
    const oracle_problem *p = x->p;
    const bool has_sink = p->sink && x->row.i < x->row.queries;
    const double sink = has_sink ? (double)p->sink[x->row.h] : (double)-INFINITY;
    double most = sink, sum = 0;
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->score[j] = oracle_score_of(p, &x->row, j);
        most = x->score[j].seen > most || isnan(x->score[j].seen) ? x->score[j].seen : most;
    }
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = is_visible(x, j) ? exp(x->score[j].seen - most) : 0;
        sum += x->w[j];
    }
    x->sink = sink == -INFINITY ? 0 : exp(sink - most);
    sum += x->sink;
    x->sink = sink == -INFINITY ? 0 : x->sink / sum;
    x->rounding = 0;
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = is_visible(x, j) ? x->w[j] / sum : 0;
        x->rounding += x->w[j] != 0 ? x->w[j] * x->score[j].terms : 0;
    }
}

/* Derivatives by weights. */
static void look_at_values(row_of_loss *x)
{
    const oracle_problem *p = x->p;
    const float *v = p->v + oracle_keys_element(p, &x->row, p->value_dim), *g = by_out(x);
    for (int64_t j = 0; j < p->n_kv; j++) {
        const double keeps = kept(x, j);
        x->a[j] = x->size[j] = 0;
        for (int64_t d = 0; is_visible(x, j) && keeps != 0 && d < p->value_dim; d++) {
            const double product = keeps * (double)g[d] * (double)v[j * p->value_dim + d];
            x->a[j] += product;
            x->size[j] += fabs(product);
        }
    }
}

/* d score / d (scale q . k). */
static double slope(const row_of_loss *x, int64_t j)
{
    const oracle_problem *p = x->p;
    const int64_t at[4] = {x->row.b, x->row.h, x->row.position, j};
    double s = x->score[j].capped, result = 1;
    if (p->softcap != 0)
        result -= (s / p->softcap) * (s / p->softcap);
    if (p->alibi)
        s -= (double)p->alibi[x->row.h] * fabs((double)(x->row.position - j));
    return p->score_function ? result * x->loss->score_gradient(p->user, s, at) : result;
}

/* to[n] += factor * by[n], where anybody wants it. */
static void add(double *to, const float *by, int64_t count, double factor)
{
    for (int64_t n = 0; to && n < count; n++)
        to[n] += factor * (double)by[n];
}

static void add_size(double *to, const float *by, int64_t count, double factor)
{
    for (int64_t n = 0; to && n < count; n++)
        to[n] += fabs(factor * (double)by[n]);
}

static double *at(double *tensor, int64_t element)
{
    return tensor ? tensor + element : NULL;
}

/* What a visible pair gives; s: derivative by the score, size: of what it is made of. */
static void add_pair(const row_of_loss *x, int64_t j, double s, double size)
{
    const oracle_problem *p = x->p;
    const oracle_gradients *to = x->to, *terms = x->terms;
    const int64_t q_at = oracle_row_element(p, &x->row, p->head_dim);
    const int64_t k_at = oracle_keys_element(p, &x->row, p->head_dim) + j * p->head_dim;
    const int64_t v_at = oracle_keys_element(p, &x->row, p->value_dim) + j * p->value_dim;
    const int64_t bias_at = oracle_row_element(p, &x->row, p->n_kv) + j;
    const double turn = slope(x, j), weight = kept(x, j) * x->w[j];
    const double rounding = 1 + x->score[j].terms + x->rounding;
    add(at(to->q, q_at), p->k + k_at, p->head_dim, p->scale * turn * s);
    add(at(to->k, k_at), p->q + q_at, p->head_dim, p->scale * turn * s);
    if (weight != 0)
        add(at(to->v, v_at), by_out(x), p->value_dim, weight);
    if (to->bias)
        to->bias[bias_at] = s;
    if (!terms)
        return;
    size *= rounding;
    add_size(at(terms->q, q_at), p->k + k_at, p->head_dim, p->scale * fmax(fabs(turn), 1) * size);
    add_size(at(terms->k, k_at), p->q + q_at, p->head_dim, p->scale * fmax(fabs(turn), 1) * size);
    if (weight != 0)
        add_size(at(terms->v, v_at), by_out(x), p->value_dim, weight * rounding);
    if (terms->bias)
        terms->bias[bias_at] = size;
}

static void add_row(row_of_loss *x)
{
    const oracle_problem *p = x->p;
    double mean = 0, size = fabs(by_lse(x));
    weigh(x);
    look_at_values(x);
    for (int64_t j = 0; j < p->n_kv; j++)
        if (is_visible(x, j)) {
            mean += x->w[j] * x->a[j];
            size += x->w[j] * x->size[j];
        }
    mean -= by_lse(x);
    for (int64_t j = 0; j < p->n_kv; j++)
        if (is_visible(x, j))
            add_pair(x, j, x->w[j] * (x->a[j] - mean), x->w[j] * (x->size[j] + size));
    if ((float)x->sink == 0) /* NaN in what others see doesn't show */
        return;
    if (x->to->sink)
        x->to->sink[x->row.h] -= x->sink * mean;
    if (x->terms && x->terms->sink)
        x->terms->sink[x->row.h] += x->sink * size * (1 + x->rounding);
}

static void clear(const oracle_problem *p, const oracle_gradients *of)
{
    const int64_t queries = p->batch * p->n_head * p->n_q, keys = p->batch * p->n_kv_head * p->n_kv;
    const struct {
        double *tensor;
        int64_t count;
    } all[] = {{of->q, queries * p->head_dim},
               {of->k, keys * p->head_dim},
               {of->v, keys * p->value_dim},
               {of->bias, queries * p->n_kv},
               {of->sink, p->n_head}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int64_t n = 0; all[i].tensor && n < all[i].count; n++)
            all[i].tensor[n] = 0;
}

bool oracle_gradient(const oracle_problem *p, const oracle_loss *loss, const oracle_gradients *to,
                     const oracle_gradients *terms)
{
    const size_t n = (size_t)p->n_kv;
    double *scratch = malloc((3 * n + 1) * sizeof *scratch);
    oracle_score *score = malloc((n + 1) * sizeof *score);
    row_of_loss x = {.p = p, .loss = loss, .to = to, .terms = terms};
    if (!scratch || !score) {
        free(scratch);
        free(score);
        return false;
    }
    x.score = score;
    x.w = scratch;
    x.a = scratch + n;
    x.size = scratch + 2 * n;
    clear(p, to);
    if (terms)
        clear(p, terms);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < p->n_head; h++)
            for (int64_t i = 0; i < p->n_q; i++) {
                x.row = oracle_row_at(p, b, h, i);
                if (i < x.row.queries)
                    add_row(&x);
            }
    free(scratch);
    free(score);
    return true;
}
