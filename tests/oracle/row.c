/* The rules of row.h, one function each. */
#include "row.h"

#include <math.h>

#include "philox.h"

static int64_t clamped(const int32_t *lengths, int64_t b, int64_t bound)
{
    if (!lengths)
        return bound;
    const int64_t length = lengths[b] < 0 ? 0 : lengths[b];
    return length < bound ? length : bound;
}

oracle_row oracle_row_at(const oracle_problem *p, int64_t b, int64_t h, int64_t i)
{
    oracle_row row = {.b = b, .h = h, .g = h / (p->n_head / p->n_kv_head), .i = i};
    row.queries = clamped(p->q_lengths, b, p->n_q);
    row.keys = clamped(p->kv_lengths, b, p->n_kv);
    row.position = i + (p->bottom_right ? row.keys - row.queries : p->causal_offset);
    return row;
}

int64_t oracle_row_element(const oracle_problem *p, const oracle_row *row, int64_t width)
{
    return ((row->b * p->n_head + row->h) * p->n_q + row->i) * width;
}

int64_t oracle_keys_element(const oracle_problem *p, const oracle_row *row, int64_t width)
{
    return (row->b * p->n_kv_head + row->g) * p->n_kv * width;
}

bool oracle_is_within(const oracle_row *row, int64_t j)
{
    return row->i < row->queries && j < row->keys;
}

static bool in_window(const oracle_problem *p, const oracle_row *row, int64_t j)
{
    if (!p->has_window)
        return true;
    return (p->window_left < 0 || j >= row->position - p->window_left) &&
           (p->window_right < 0 || j <= row->position + p->window_right);
}

/* An entry counts only if there is such a block and if it is above the last entry that counted. */
static bool in_blocks(const oracle_problem *p, const oracle_row *row, int64_t j)
{
    if (!p->block_index)
        return true;
    const int64_t lists = (p->n_q + p->block_q - 1) / p->block_q;
    const int64_t blocks = (p->n_kv + p->block_kv - 1) / p->block_kv;
    const int64_t list = (row->b * p->n_head + row->h) * lists + row->i / p->block_q;
    const int32_t *index = p->block_index + list * p->block_limit;
    int64_t last = -1;
    for (int64_t n = 0; n < p->block_count[list] && n < p->block_limit; n++) {
        if (index[n] <= last || index[n] >= blocks)
            continue;
        last = index[n];
        if (last == j / p->block_kv)
            return true;
    }
    return false;
}

bool oracle_is_visible(const oracle_problem *p, const oracle_row *row, int64_t j)
{
    const int64_t at[4] = {row->b, row->h, row->position, j};
    if (!oracle_is_within(row, j))
        return false;
    if (p->mask && !p->mask[oracle_row_element(p, row, p->n_kv) + j])
        return false;
    if (p->bias && p->bias[oracle_row_element(p, row, p->n_kv) + j] == -INFINITY)
        return false;
    if (p->causal && j > row->position)
        return false;
    if (!in_window(p, row, j) || !in_blocks(p, row, j))
        return false;
    return !p->mask_function || p->mask_function(p->user, at);
}

bool oracle_is_kept(const oracle_problem *p, const oracle_row *row, int64_t j)
{
    const int64_t at[4] = {p->origin[0] + row->b, p->origin[1] + row->h, p->origin[2] + row->i, j};
    if (p->dropout == 0)
        return true;
    return oracle_dropout_keeps(oracle_dropout_word(p->dropout_seed, p->dropout_offset, at),
                                p->dropout);
}

/* Sum of the products of q and k, and of their absolute values. */
static double dot(const float *x, const float *y, int64_t n, double *terms)
{
    double sum = 0;
    *terms = 0;
    for (int64_t d = 0; d < n; d++) {
        const double product = (double)x[d] * (double)y[d];
        sum += product;
        *terms += fabs(product);
    }
    return sum;
}

/* A bias of this size absorbs the rest of a score, exactly, in float32 as in double. */
#define ABSORBING 1e30

/* What comes between the softcap and visibility. */
static double adjusted(const oracle_problem *p, const oracle_row *row, int64_t j, double s,
                       double *terms)
{
    const int64_t at[4] = {row->b, row->h, row->position, j};
    if (p->alibi) {
        const double slope = (double)p->alibi[row->h] * fabs((double)(row->position - j));
        s -= slope;
        *terms += fabs(slope);
    }
    if (p->score_function) {
        s = p->score_function(p->user, s, at);
        *terms += fabs(s);
    }
    if (p->bias) {
        const double bias = (double)p->bias[oracle_row_element(p, row, p->n_kv) + j];
        s += bias;
        *terms = fabs(bias) > ABSORBING ? 0 : *terms + fabs(bias);
    }
    return s;
}

oracle_score oracle_score_of(const oracle_problem *p, const oracle_row *row, int64_t j)
{
    oracle_score s = {-INFINITY, -INFINITY, -INFINITY, 0};
    if (!oracle_is_within(row, j))
        return s;
    const float *q = p->q + oracle_row_element(p, row, p->head_dim);
    const float *k = p->k + oracle_keys_element(p, row, p->head_dim) + j * p->head_dim;
    s.scaled = p->scale * dot(q, k, p->head_dim, &s.terms);
    s.terms *= fabs(p->scale);
    s.capped = s.scaled;
    if (p->softcap != 0) {
        const double tangent = tanh(s.scaled / p->softcap);
        s.capped = p->softcap * tangent;
        s.terms = s.terms * (1 - tangent * tangent) + fabs(s.capped);
    }
    if (oracle_is_visible(p, row, j))
        s.seen = adjusted(p, row, j, s.capped, &s.terms);
    return s;
}
