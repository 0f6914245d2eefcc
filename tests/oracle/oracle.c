/* The formulas of oracle.h, one row of queries at a time. Clear before fast. */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "row.h"

/* A softmax: exp(most) * sum is the sum over j of exp(s[j]) and exp(sink). Both apart, because with
 * scores of 1e38 even double can't hold the logarithm of the whole. */
typedef struct softmax {
    double most, sum; /* -inf and 0 where there is nothing to sum */
} softmax;

static softmax softmax_of(const double *s, int64_t n, double sink)
{
    softmax x = {sink, 0};
    for (int64_t j = 0; j < n; j++)
        if (s[j] > x.most || isnan(s[j]))
            x.most = s[j];
    if (x.most == -INFINITY)
        return x;
    x.sum = exp(sink - x.most);
    for (int64_t j = 0; j < n; j++)
        x.sum += exp(s[j] - x.most);
    return x;
}

/* Scratch of one row. */
typedef struct row_scratch {
    oracle_score *score; /* (n_kv) at all stages */
    double *s;           /* (n_kv) scores, -inf where not visible */
    double *w;           /* (n_kv) weights, 0 where not visible */
    double *dropped;     /* (n_kv) weights after dropout */
} row_scratch;

static void write_scores(const oracle_problem *p, const oracle_row *row, const row_scratch *x)
{
    double *to = p->scores + oracle_row_element(p, row, p->n_kv);
    for (int64_t j = 0; j < p->n_kv; j++) {
        const oracle_score *s = &x->score[j];
        const double by_stage[] = {s->scaled, s->capped, s->seen,
                                   p->weights_dropped ? x->dropped[j] : x->w[j]};
        to[j] = by_stage[p->score_stage];
    }
}

static void write_weights(const oracle_problem *p, const oracle_row *row, const row_scratch *x)
{
    const double *w = p->weights_dropped ? x->dropped : x->w;
    double *mean = p->weights_mean ? p->weights_mean + (row->b * p->n_q + row->i) * p->n_kv : NULL;
    double *sum = p->weights_sum ? p->weights_sum + (row->b * p->n_head + row->h) * p->n_kv : NULL;
    for (int64_t j = 0; j < p->n_kv; j++) {
        if (p->weights)
            p->weights[oracle_row_element(p, row, p->n_kv) + j] = w[j];
        if (mean)
            mean[j] += w[j] / (double)p->n_head;
        if (sum)
            sum[j] += w[j];
    }
}

/* out[d] = sum over visible j of w[j] v[j,d]; NaN in any score shows, whatever dropout drops. */
static void weigh_values(const oracle_problem *p, const oracle_row *row, const row_scratch *x,
                         double lse)
{
    const float *v = p->v + oracle_keys_element(p, row, p->value_dim);
    double *out = p->out + oracle_row_element(p, row, p->value_dim);
    for (int64_t d = 0; d < p->value_dim; d++)
        out[d] = isnan(lse) ? lse : 0;
    for (int64_t j = 0; j < p->n_kv; j++)
        for (int64_t d = 0; x->s[j] != -INFINITY && d < p->value_dim; d++)
            out[d] += x->dropped[j] * (double)v[j * p->value_dim + d];
}

static void write_rounding(const oracle_problem *p, const oracle_row *row, const row_scratch *x)
{
    double *spread = p->spread ? p->spread + oracle_row_element(p, row, 2) : NULL;
    for (int64_t j = 0; j < p->n_kv; j++) {
        const double terms = x->score[j].terms, w = x->w[j];
        if (p->terms)
            p->terms[oracle_row_element(p, row, p->n_kv) + j] = terms;
        if (spread && w != 0) {
            spread[0] += w * (1 - w) * terms;
            spread[1] += w * terms;
        }
    }
}

static void attend_row(const oracle_problem *p, const oracle_row *row, const row_scratch *x)
{
    const bool beyond = row->i >= row->queries;
    for (int64_t j = 0; j < p->n_kv; j++)
        x->s[j] = (x->score[j] = oracle_score_of(p, row, j)).seen;
    const double sink = p->sink && !beyond ? (double)p->sink[row->h] : (double)-INFINITY;
    const softmax all = softmax_of(x->s, p->n_kv, sink);
    const double lse = all.sum == 0 ? all.most : all.most + log(all.sum);
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = x->s[j] == -INFINITY ? 0 : exp(x->s[j] - all.most) / all.sum;
        x->dropped[j] = oracle_is_kept(p, row, j) ? x->w[j] / (1 - (double)p->dropout) : 0;
    }
    if (p->lse)
        p->lse[oracle_row_element(p, row, 1)] = lse;
    if (p->scores)
        write_scores(p, row, x);
    write_weights(p, row, x);
    write_rounding(p, row, x);
    if (p->out)
        weigh_values(p, row, x, lse);
}

static void fill_with_0(double *to, int64_t count)
{
    for (int64_t n = 0; to && n < count; n++)
        to[n] = 0;
}

bool oracle_attention(const oracle_problem *p)
{
    const size_t n = (size_t)p->n_kv;
    double *scratch = malloc((3 * n + 1) * sizeof *scratch);
    oracle_score *score = malloc((n + 1) * sizeof *score);
    if (!scratch || !score) {
        free(scratch);
        free(score);
        return false;
    }
    const row_scratch x = {score, scratch, scratch + n, scratch + 2 * n};
    fill_with_0(p->spread, p->batch * p->n_head * p->n_q * 2);
    fill_with_0(p->weights_mean, p->batch * p->n_q * p->n_kv);
    fill_with_0(p->weights_sum, p->batch * p->n_head * p->n_kv);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < p->n_head; h++)
            for (int64_t i = 0; i < p->n_q; i++) {
                const oracle_row row = oracle_row_at(p, b, h, i);
                attend_row(p, &row, &x);
            }
    free(scratch);
    free(score);
    return true;
}

/* row: index of (batch, n_head, n_q) */
static void merge_row(const oracle_merge_problem *p, int64_t row)
{
    const int64_t rows = p->batch * p->n_head * p->n_q;
    const double sink = p->sink ? (double)p->sink[row / p->n_q % p->n_head] : (double)-INFINITY;
    double most = sink;
    for (int64_t n = 0; n < p->parts; n++) {
        const double part = (double)p->partial_lse[n * rows + row];
        most = part > most || isnan(part) ? part : most;
    }
    double sum = most == -INFINITY ? 0 : exp(sink - most);
    for (int64_t n = 0; most != -INFINITY && n < p->parts; n++)
        sum += exp((double)p->partial_lse[n * rows + row] - most);
    const double lse = most == -INFINITY ? most : most + log(sum);
    if (p->lse)
        p->lse[row] = lse;
    for (int64_t d = 0; p->out && d < p->value_dim; d++) {
        double out = 0;
        for (int64_t n = 0; n < p->parts; n++) {
            const double part = (double)p->partial_lse[n * rows + row];
            if (part != -INFINITY)
                out +=
                    exp(part - lse) * (double)p->partial_out[(n * rows + row) * p->value_dim + d];
        }
        p->out[row * p->value_dim + d] = out;
    }
}

void oracle_merge(const oracle_merge_problem *problem)
{
    for (int64_t row = 0; row < problem->batch * problem->n_head * problem->n_q; row++)
        merge_row(problem, row);
}
