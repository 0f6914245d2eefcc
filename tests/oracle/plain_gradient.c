/* The plain computation of gradient.h: float32, with what lies between rounded to a type. Which
 * pairs are visible, and which weights dropout keeps, comes from row.h. */
#include <math.h>
#include <stdlib.h>

#include "gradient.h"
#include "row.h"

typedef struct plain_row {
    const oracle_problem *p;
    const oracle_loss *loss;
    const oracle_gradients *to;
    oracle_type type;
    oracle_row row;
    bool *sees;       /* (n_kv) */
    float *s, *w, *a; /* (n_kv) capped scores, weights, derivatives by weights */
} plain_row;

static float rounded(const plain_row *x, float value)
{
    return oracle_rounded(x->type, value);
}

static float kept(const plain_row *x, int64_t j)
{
    return oracle_is_kept(x->p, &x->row, j) ? 1 / (1 - x->p->dropout) : 0;
}

static float capped_score(const plain_row *x, int64_t j)
{
    const oracle_problem *p = x->p;
    const float *q = p->q + oracle_row_element(p, &x->row, p->head_dim);
    const float *k = p->k + oracle_keys_element(p, &x->row, p->head_dim) + j * p->head_dim;
    const float cap = (float)p->softcap;
    float sum = 0;
    for (int64_t d = 0; d < p->head_dim; d++)
        sum += q[d] * k[d];
    sum *= (float)p->scale;
    return cap == 0 ? sum : cap * tanhf(sum / cap);
}

static float with_alibi(const plain_row *x, int64_t j)
{
    const oracle_problem *p = x->p;
    return p->alibi ? x->s[j] - p->alibi[x->row.h] * (float)llabs(x->row.position - j) : x->s[j];
}

static float final_score(const plain_row *x, int64_t j)
{
    const oracle_problem *p = x->p;
    const int64_t at[4] = {x->row.b, x->row.h, x->row.position, j};
    float s = with_alibi(x, j);
    if (p->score_function)
        s = (float)p->score_function(p->user, (double)s, at);
    if (p->bias)
        s += p->bias[oracle_row_element(p, &x->row, p->n_kv) + j];
    return rounded(x, s);
}

/* Weights of the row; returns the sink's share. */
static float weigh(const plain_row *x)
{
    const oracle_problem *p = x->p;
    const float sink = p->sink ? p->sink[x->row.h] : -INFINITY;
    float most = sink, sum = 0;
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->sees[j] = oracle_is_visible(p, &x->row, j);
        x->s[j] = x->sees[j] ? capped_score(x, j) : 0;
        x->w[j] = x->sees[j] ? final_score(x, j) : -INFINITY;
        x->sees[j] = x->sees[j] && x->w[j] != -INFINITY;
        most = x->w[j] > most || isnan(x->w[j]) ? x->w[j] : most;
    }
    for (int64_t j = 0; j < p->n_kv; j++) {
        x->w[j] = x->sees[j] ? expf(x->w[j] - most) : 0;
        sum += x->w[j];
    }
    const float share = sink == -INFINITY ? 0 : expf(sink - most);
    sum += share;
    for (int64_t j = 0; j < p->n_kv; j++)
        x->w[j] = x->sees[j] ? rounded(x, x->w[j] / sum) : 0;
    return sink == -INFINITY ? 0 : share / sum;
}

static void look_at_values(const plain_row *x)
{
    const oracle_problem *p = x->p;
    const float *v = p->v + oracle_keys_element(p, &x->row, p->value_dim);
    const float *g = x->loss->by_out + oracle_row_element(p, &x->row, p->value_dim);
    for (int64_t j = 0; j < p->n_kv; j++) {
        const float keeps = kept(x, j);
        float sum = 0;
        for (int64_t d = 0; x->sees[j] && d < p->value_dim; d++)
            sum += g[d] * v[j * p->value_dim + d];
        x->a[j] = keeps == 0 ? 0 : rounded(x, rounded(x, sum) * keeps);
    }
}

static float slope(const plain_row *x, int64_t j)
{
    const oracle_problem *p = x->p;
    const int64_t at[4] = {x->row.b, x->row.h, x->row.position, j};
    const float t = p->softcap == 0 ? 0 : x->s[j] / (float)p->softcap;
    const float turn = 1 - t * t;
    if (!p->score_function)
        return turn;
    return turn * (float)x->loss->score_gradient(p->user, (double)with_alibi(x, j), at);
}

/* Sums in float32, kept in the caller's doubles. */
static void add(double *to, int64_t element, const float *by, int64_t count, float factor)
{
    for (int64_t n = 0; to && n < count; n++)
        to[element + n] = (double)((float)to[element + n] + factor * by[n]);
}

static void add_pair(const plain_row *x, int64_t j, float s)
{
    const oracle_problem *p = x->p;
    const int64_t q_at = oracle_row_element(p, &x->row, p->head_dim);
    const int64_t k_at = oracle_keys_element(p, &x->row, p->head_dim) + j * p->head_dim;
    const int64_t v_at = oracle_keys_element(p, &x->row, p->value_dim) + j * p->value_dim;
    const int64_t g_at = oracle_row_element(p, &x->row, p->value_dim);
    const float weight = rounded(x, kept(x, j) * x->w[j]);
    const float product = rounded(x, rounded(x, s * slope(x, j)) * (float)p->scale);
    add(x->to->q, q_at, p->k + k_at, p->head_dim, product);
    add(x->to->k, k_at, p->q + q_at, p->head_dim, product);
    add(x->to->v, v_at, x->loss->by_out + g_at, p->value_dim, weight);
    if (x->to->bias)
        x->to->bias[oracle_row_element(p, &x->row, p->n_kv) + j] = (double)s;
}

static void add_row(const plain_row *x)
{
    const oracle_problem *p = x->p;
    const float share = weigh(x);
    float mean = 0;
    look_at_values(x);
    for (int64_t j = 0; j < p->n_kv; j++)
        mean += x->sees[j] ? x->w[j] * x->a[j] : 0;
    if (x->loss->by_lse)
        mean -= x->loss->by_lse[oracle_row_element(p, &x->row, 1)];
    for (int64_t j = 0; j < p->n_kv; j++)
        if (x->sees[j])
            add_pair(x, j, rounded(x, x->w[j] * (x->a[j] - mean)));
    if (x->to->sink)
        x->to->sink[x->row.h] = (double)((float)x->to->sink[x->row.h] - share * mean);
}

static void each(double *tensor, int64_t count, const oracle_type *type)
{
    for (int64_t n = 0; tensor && n < count; n++)
        tensor[n] = type ? (double)oracle_rounded(*type, (float)tensor[n]) : 0;
}

/* type NULL: sets all to 0. */
static void finish(const oracle_problem *p, const oracle_gradients *of, const oracle_type *type)
{
    const int64_t queries = p->batch * p->n_head * p->n_q, keys = p->batch * p->n_kv_head * p->n_kv;
    each(of->q, queries * p->head_dim, type);
    each(of->k, keys * p->head_dim, type);
    each(of->v, keys * p->value_dim, type);
    each(of->bias, queries * p->n_kv, type);
    each(of->sink, p->n_head, type);
}

bool oracle_plain_gradient(const oracle_problem *p, const oracle_loss *loss, oracle_type type,
                           const oracle_gradients *to)
{
    const size_t n = (size_t)p->n_kv;
    float *scratch = malloc((3 * n + 1) * sizeof *scratch);
    bool *sees = malloc(n + 1);
    plain_row x = {p, loss, to, type, {0}, sees, scratch, scratch + n, scratch + 2 * n};
    if (scratch && sees) {
        finish(p, to, NULL);
        for (int64_t b = 0; b < p->batch; b++)
            for (int64_t h = 0; h < p->n_head; h++)
                for (int64_t i = 0; i < p->n_q; i++) {
                    x.row = oracle_row_at(p, b, h, i);
                    if (i < x.row.queries)
                        add_row(&x);
                }
        finish(p, to, &type);
    }
    const bool good = scratch && sees;
    free(scratch);
    free(sees);
    return good;
}
