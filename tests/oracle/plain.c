/* The unfused computation, one row of queries at a time. */
#include "plain.h"

#include <math.h>
#include <stdlib.h>

/* Bits of the significand, and exponents (of numbers in [1/2, 1), as frexp has them) of the
 * smallest normal and of the largest number. */
static const struct {
    int digits, least, most;
} types[PLAIN_TYPES] = {
    [PLAIN_F32] = {24, -125, 128},
    [PLAIN_F16] = {11, -13, 16},
    [PLAIN_BF16] = {8, -125, 128},
};

double plain_ulp(plain_type type)
{
    return ldexp(1, 1 - types[type].digits);
}

float plain_round(float x, plain_type type)
{
    int exponent;
    if (type == PLAIN_F32 || x == 0 || !isfinite(x))
        return x;
    (void)frexp((double)x, &exponent);
    if (exponent < types[type].least)
        exponent = types[type].least; /* subnormal: the spacing stays */
    const double spacing = ldexp(1, exponent - types[type].digits);
    const double rounded = nearbyint((double)x / spacing) * spacing;
    return fabs(rounded) >= ldexp(1, types[type].most) ? copysignf(INFINITY, x) : (float)rounded;
}

static bool is_visible(const oracle_problem *p, int64_t i, int64_t j)
{
    return !p->causal || j <= i + p->causal_offset;
}

/* s[j]: the score of key j, -inf where it is invisible. q: (head_dim), k: (n_kv, head_dim) */
static void score_row(const oracle_problem *p, int64_t i, const float *q, const float *k, float *s)
{
    for (int64_t j = 0; j < p->n_kv; j++) {
        float sum = 0;
        for (int64_t d = 0; d < p->head_dim; d++)
            sum += q[d] * k[j * p->head_dim + d];
        s[j] = is_visible(p, i, j) ? (float)p->scale * sum : -INFINITY;
    }
}

static void round_row(float *x, int64_t n, plain_type type)
{
    for (int64_t j = 0; j < n; j++)
        x[j] = plain_round(x[j], type);
}

/* s: scores, then weights; 0 in a row without a visible key. */
static void softmax_row(float *s, int64_t n)
{
    float most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++)
        if (s[j] > most)
            most = s[j];
    for (int64_t j = 0; j < n; j++) {
        s[j] = s[j] == -INFINITY ? 0 : expf(s[j] - most);
        sum += s[j];
    }
    for (int64_t j = 0; j < n && sum != 0; j++)
        s[j] /= sum;
}

/* out: (value_dim), w: (n_kv), v: (n_kv, value_dim) */
static void weigh_values(const oracle_problem *p, const float *w, const float *v, float *out)
{
    for (int64_t d = 0; d < p->value_dim; d++) {
        float sum = 0;
        for (int64_t j = 0; j < p->n_kv; j++)
            sum += w[j] * v[j * p->value_dim + d];
        out[d] = sum;
    }
}

/* row: number of the query among all of the batch and heads; s: scratch, (n_kv) */
static void attend_row(const oracle_problem *p, int64_t row, plain_type type, float *s, float *out)
{
    const int64_t i = row % p->n_q, h = row / p->n_q % p->n_head, b = row / p->n_q / p->n_head;
    const int64_t g = b * p->n_kv_head + h / (p->n_head / p->n_kv_head);
    score_row(p, i, p->q + row * p->head_dim, p->k + g * p->n_kv * p->head_dim, s);
    round_row(s, p->n_kv, type);
    softmax_row(s, p->n_kv);
    round_row(s, p->n_kv, type);
    weigh_values(p, s, p->v + g * p->n_kv * p->value_dim, out + row * p->value_dim);
    round_row(out + row * p->value_dim, p->value_dim, type);
}

bool plain_attention(const oracle_problem *problem, plain_type type, float *out)
{
    float *scratch = malloc(((size_t)problem->n_kv + 1) * sizeof *scratch);
    if (!scratch)
        return false;
    for (int64_t row = 0; row < problem->batch * problem->n_head * problem->n_q; row++)
        attend_row(problem, row, type, scratch, out);
    free(scratch);
    return true;
}
