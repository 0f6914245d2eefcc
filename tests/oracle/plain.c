/* The computation of plain.h. What is visible, and which weights dropout keeps, comes from row.h;
 * every number is computed here once more, in float32. */
#include "plain.h"

#include <math.h>
#include <stdlib.h>

#include "row.h"

typedef struct plain {
    const oracle_problem *p;
    oracle_type type;
    float *s, *w, *dropped; /* (n_kv) each: scores, weights, weights after dropout */
} plain;

static float clamped(oracle_type type, float x)
{
    const float largest = oracle_largest(type);
    if (isnan(x) || isinf(x))
        return x;
    x = x > largest ? largest : x < -largest ? -largest : x;
    return oracle_rounded(type, x);
}

static float scaled_score(const oracle_problem *p, const oracle_row *row, int64_t j)
{
    const float *q = p->q + oracle_row_element(p, row, p->head_dim);
    const float *k = p->k + oracle_keys_element(p, row, p->head_dim) + j * p->head_dim;
    float sum = 0;
    for (int64_t d = 0; d < p->head_dim; d++)
        sum += q[d] * k[d];
    return (float)p->scale * sum;
}

static float capped_score(const oracle_problem *p, float s)
{
    const float cap = (float)p->softcap;
    return cap == 0 ? s : cap * tanhf(s / cap);
}

static float adjusted_score(const oracle_problem *p, const oracle_row *row, int64_t j, float s)
{
    const int64_t at[4] = {row->b, row->h, row->position, j};
    if (p->alibi)
        s -= p->alibi[row->h] * (float)llabs(row->position - j);
    if (p->score_function)
        s = (float)p->score_function(p->user, (double)s, at);
    if (p->bias)
        s += p->bias[oracle_row_element(p, row, p->n_kv) + j];
    return s;
}

/* Scores of one row, -INFINITY where not visible, and those of an early stage. */
static void score_row(const plain *x, const oracle_row *row)
{
    const oracle_problem *p = x->p;
    double *scores = p->scores ? p->scores + oracle_row_element(p, row, p->n_kv) : NULL;
    for (int64_t j = 0; j < p->n_kv; j++) {
        float stage[3] = {-INFINITY, -INFINITY, -INFINITY};
        if (oracle_is_within(row, j)) {
            stage[ORACLE_SCALED] = scaled_score(p, row, j);
            stage[ORACLE_CAPPED] = capped_score(p, stage[ORACLE_SCALED]);
        }
        if (oracle_is_visible(p, row, j))
            stage[ORACLE_VISIBLE] = adjusted_score(p, row, j, stage[ORACLE_CAPPED]);
        x->s[j] = clamped(x->type, stage[ORACLE_VISIBLE]);
        if (scores && p->score_stage != ORACLE_WEIGHTS)
            scores[j] = (double)clamped(x->type, stage[p->score_stage]);
    }
}

/* Softmax of the scores; returns the logarithm of its sum. */
static float weigh_row(const plain *x, const oracle_row *row)
{
    const oracle_problem *p = x->p;
    const bool has_sink = p->sink && row->i < row->queries;
    const float sink = has_sink ? p->sink[row->h] : -INFINITY;
    float most = sink, sum = 0;
    for (int64_t j = 0; j < p->n_kv; j++)
        most = x->s[j] > most || isnan(x->s[j]) ? x->s[j] : most;
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = x->s[j] == -INFINITY ? 0 : expf(x->s[j] - most);
        sum += x->w[j];
    }
    sum += sink == -INFINITY ? 0 : expf(sink - most);
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = x->s[j] == -INFINITY ? 0 : oracle_rounded(x->type, x->w[j] / sum);
        const float kept = oracle_is_kept(p, row, j) ? 1 / (1 - p->dropout) : 0;
        x->dropped[j] = oracle_rounded(x->type, x->w[j] * kept);
    }
    return most == -INFINITY ? most : most + logf(sum);
}

static void weigh_values(const plain *x, const oracle_row *row)
{
    const oracle_problem *p = x->p;
    const float *v = p->v + oracle_keys_element(p, row, p->value_dim);
    double *out = p->out + oracle_row_element(p, row, p->value_dim);
    for (int64_t d = 0; d < p->value_dim; d++) {
        float sum = 0;
        for (int64_t j = 0; j < p->n_kv; j++)
            if (x->s[j] != -INFINITY)
                sum += x->dropped[j] * v[j * p->value_dim + d];
        out[d] = (double)oracle_rounded(x->type, sum);
    }
}

static void write_weights(const plain *x, const oracle_row *row)
{
    const oracle_problem *p = x->p;
    const float *w = p->weights_dropped ? x->dropped : x->w;
    const int64_t at = oracle_row_element(p, row, p->n_kv);
    double *mean = p->weights_mean ? p->weights_mean + (row->b * p->n_q + row->i) * p->n_kv : NULL;
    double *sum = p->weights_sum ? p->weights_sum + (row->b * p->n_head + row->h) * p->n_kv : NULL;
    for (int64_t j = 0; j < p->n_kv; j++) {
        if (p->weights)
            p->weights[at + j] = (double)w[j];
        if (p->scores && p->score_stage == ORACLE_WEIGHTS)
            p->scores[at + j] = (double)w[j];
        if (mean) /* heads come in ascending order, so the sum is over before the division */
            mean[j] = (double)((row->h ? (float)mean[j] : 0) + w[j]);
        if (mean && row->h == p->n_head - 1)
            mean[j] = (double)oracle_rounded(x->type, (float)mean[j] / (float)p->n_head);
        if (sum)
            sum[j] = (double)((row->i ? (float)sum[j] : 0) + w[j]);
        if (sum && row->i == p->n_q - 1)
            sum[j] = (double)oracle_rounded(x->type, (float)sum[j]);
    }
}

static void attend_row(const plain *x, const oracle_row *row)
{
    const oracle_problem *p = x->p;
    score_row(x, row);
    const float lse = weigh_row(x, row);
    if (p->lse)
        p->lse[oracle_row_element(p, row, 1)] = (double)lse;
    write_weights(x, row);
    if (p->out)
        weigh_values(x, row);
}

bool oracle_plain(const oracle_problem *p, oracle_type type)
{
    const size_t n = (size_t)p->n_kv;
    float *scratch = malloc((3 * n + 1) * sizeof *scratch);
    if (!scratch)
        return false;
    const plain x = {p, type, scratch, scratch + n, scratch + 2 * n};
    for (int64_t k = 0; p->weights_sum && p->n_q == 0 && k < p->batch * p->n_head * p->n_kv; k++)
        p->weights_sum[k] = 0;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < p->n_head; h++)
            for (int64_t i = 0; i < p->n_q; i++) {
                const oracle_row row = oracle_row_at(p, b, h, i);
                attend_row(&x, &row);
            }
    free(scratch);
    return true;
}

static void merge_row(const oracle_merge_problem *p, oracle_type type, int64_t row)
{
    const int64_t rows = p->batch * p->n_head * p->n_q;
    const float sink = p->sink ? p->sink[row / p->n_q % p->n_head] : -INFINITY;
    float most = sink, sum = 0;
    for (int64_t n = 0; n < p->parts; n++) {
        const float part = p->partial_lse[n * rows + row];
        most = part > most || isnan(part) ? part : most;
    }
    for (int64_t n = 0; most != -INFINITY && n < p->parts; n++)
        sum += expf(p->partial_lse[n * rows + row] - most);
    sum += sink == -INFINITY ? 0 : expf(sink - most);
    if (p->lse)
        p->lse[row] = (double)(most == -INFINITY ? most : most + logf(sum));
    for (int64_t d = 0; p->out && d < p->value_dim; d++) {
        float out = 0;
        for (int64_t n = 0; n < p->parts; n++) {
            const float part = p->partial_lse[n * rows + row];
            const float value = p->partial_out[(n * rows + row) * p->value_dim + d];
            if (part != -INFINITY)
                out += oracle_rounded(type, expf(part - most) / sum) * value;
        }
        p->out[row * p->value_dim + d] = (double)oracle_rounded(type, out);
    }
}

void oracle_plain_merge(const oracle_merge_problem *problem, oracle_type type)
{
    for (int64_t row = 0; row < problem->batch * problem->n_head * problem->n_q; row++)
        merge_row(problem, type, row);
}
