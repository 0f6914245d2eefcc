/* The formulas of oracle.h, one row of queries at a time. Clear before fast. */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>

/* Positions of one query row: which batch entry, which heads, which query. */
typedef struct row {
    int64_t b, h, g, i;
} row;

static double dot(const float *x, const float *y, int64_t n)
{
    double sum = 0;
    for (int64_t d = 0; d < n; d++)
        sum += (double)x[d] * (double)y[d];
    return sum;
}

static bool is_visible(const oracle_problem *p, int64_t i, int64_t j)
{
    return !p->causal || j <= i + p->causal_offset;
}

/* s[j] = the score of key j, -inf where it is invisible. s: (n_kv) */
static void score_row(const oracle_problem *p, row at, double *s)
{
    const float *q = p->q + ((at.b * p->n_head + at.h) * p->n_q + at.i) * p->head_dim;
    const float *k = p->k + (at.b * p->n_kv_head + at.g) * p->n_kv * p->head_dim;
    for (int64_t j = 0; j < p->n_kv; j++)
        s[j] = is_visible(p, at.i, j) ? p->scale * dot(q, k + j * p->head_dim, p->head_dim)
                                      : -INFINITY;
}

/* log(sum over j of exp(s[j])), -inf where no key is visible. s: (n_kv) */
static double log_sum_exp(const double *s, int64_t n)
{
    double most = -INFINITY;
    double sum = 0;
    for (int64_t j = 0; j < n; j++)
        if (s[j] > most || isnan(s[j]))
            most = s[j];
    if (most == -INFINITY)
        return -INFINITY;
    for (int64_t j = 0; j < n; j++)
        sum += exp(s[j] - most);
    return most + log(sum);
}

/* w[j] = the weight of key j, 0 where it is invisible. s, w: (n_kv) */
static void scores_to_weights(const double *s, int64_t n, double lse, double *w)
{
    for (int64_t j = 0; j < n; j++)
        w[j] = s[j] == -INFINITY ? 0 : exp(s[j] - lse);
}

/* out[d] = sum over visible j of w[j] v[j,d]; `s` has the scores, w the weights, both (n_kv). */
static void weigh_values(const oracle_problem *p, row at, const double *s, const double *w)
{
    const float *v = p->v + (at.b * p->n_kv_head + at.g) * p->n_kv * p->value_dim;
    double *out = p->out + ((at.b * p->n_head + at.h) * p->n_q + at.i) * p->value_dim;
    for (int64_t d = 0; d < p->value_dim; d++)
        out[d] = 0;
    for (int64_t j = 0; j < p->n_kv; j++)
        for (int64_t d = 0; s[j] != -INFINITY && d < p->value_dim; d++)
            out[d] += w[j] * (double)v[j * p->value_dim + d];
}

/* s, w: scratch, (n_kv) each */
static void attend_row(const oracle_problem *p, row at, double *s, double *w)
{
    const int64_t index = (at.b * p->n_head + at.h) * p->n_q + at.i;
    score_row(p, at, s);
    const double lse = log_sum_exp(s, p->n_kv);
    scores_to_weights(s, p->n_kv, lse, w);
    if (p->lse)
        p->lse[index] = lse;
    for (int64_t j = 0; p->weights && j < p->n_kv; j++)
        p->weights[index * p->n_kv + j] = w[j];
    if (p->out)
        weigh_values(p, at, s, w);
}

bool oracle_attention(const oracle_problem *problem)
{
    const size_t n = (size_t)problem->n_kv;
    double *scratch = malloc((2 * n + 1) * sizeof *scratch);
    if (!scratch)
        return false;
    row at;
    for (at.b = 0; at.b < problem->batch; at.b++)
        for (at.h = 0; at.h < problem->n_head; at.h++)
            for (at.i = 0; at.i < problem->n_q; at.i++) {
                at.g = at.h / (problem->n_head / problem->n_kv_head);
                attend_row(problem, at, scratch, scratch + n);
            }
    free(scratch);
    return true;
}
