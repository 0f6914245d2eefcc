/* Row by row: scores, maximum, weights, sum of values. */
#include "tool/plain.h"

#include <math.h>

/* s: (n_kv), -inf where invisible; returns the largest */
static float score_row(const oracle_problem *p, int64_t i, float *s)
{
    const float scale = (float)p->scale;
    float most = -INFINITY;
    for (int64_t j = 0; j < p->n_kv; j++) {
        float sum = 0;
        for (int64_t d = 0; d < p->head_dim; d++)
            sum += p->q[i * p->head_dim + d] * p->k[j * p->head_dim + d];
        s[j] = p->causal && j > i + p->causal_offset ? -INFINITY : scale * sum;
        most = s[j] > most ? s[j] : most;
    }
    return most;
}

/* Scores into weights, in place; returns the log-sum-exp. s: (n_kv) */
static float normalise(float *s, int64_t n, float most)
{
    float sum = 0;
    for (int64_t j = 0; j < n; j++) {
        s[j] = most == -INFINITY ? 0 : expf(s[j] - most);
        sum += s[j];
    }
    for (int64_t j = 0; j < n && sum != 0; j++)
        s[j] /= sum;
    return most + logf(sum);
}

void plain_attention(const oracle_problem *p, const plain_results *results)
{
    for (int64_t i = 0; i < p->n_q; i++) {
        float *w = results->weights + i * p->n_kv, *out = results->out + i * p->value_dim;
        const float most = score_row(p, i, w);
        results->lse[i] = normalise(w, p->n_kv, most);
        for (int64_t d = 0; d < p->value_dim; d++)
            out[d] = 0;
        for (int64_t j = 0; j < p->n_kv; j++)
            for (int64_t d = 0; w[j] != 0 && d < p->value_dim; d++)
                out[d] += w[j] * p->v[j * p->value_dim + d];
    }
}
