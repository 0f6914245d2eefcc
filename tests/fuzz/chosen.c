/* See chosen.h. */
#include "chosen.h"

#include <math.h>
#include <stdlib.h>

#include "tests/oracle/philox.h"
#include "tests/oracle/row.h"
#include "tests/oracle/storage.h"

/* Scores and weights that are nearer than this, relative to what they are made of, may change
 * places by rounding. */
#define NEAR 1e-5

typedef struct candidate {
    double score, terms;
    int64_t key;
} candidate;

/* NaN first, then descending scores, the lower key first of equals. */
static int by_score(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (isnan(x->score) != isnan(y->score))
        return isnan(x->score) ? -1 : 1;
    if (x->score > y->score || x->score < y->score)
        return x->score > y->score ? -1 : 1;
    return x->key < y->key ? -1 : 1;
}

/* The visible keys of a row in the order of their scores, to (n_kv); their number. */
static int64_t list(const oracle_problem *o, const oracle_row *row, candidate *to)
{
    int64_t count = 0;
    for (int64_t j = 0; j < o->n_kv; j++) {
        const oracle_score s = oracle_score_of(o, row, j);
        if (s.seen != -INFINITY)
            to[count++] = (candidate){s.seen, s.terms, j};
    }
    qsort(to, (size_t)count, sizeof *to, by_score);
    return count;
}

/* Nothing is rounded in scores that are sums of nothing but 0: of those that are equal the lower
 * key comes first. */
static bool may_change_places(const candidate *a, const candidate *b)
{
    if (isnan(a->score) != isnan(b->score))
        return false;
    if (a->score == b->score && a->terms == 0 && b->terms == 0)
        return false;
    return !(a->score - b->score > NEAR * (1 + a->terms + b->terms));
}

typedef struct choosing {
    const fuzz_problem *p;
    const oracle_problem *o;
    fuzz_expected *e;
    uint8_t *mask;
    candidate *keys; /* (n_kv) of the row at hand */
} choosing;

typedef void (*visitor)(const choosing *c, const oracle_row *row, int64_t count);

static int64_t index_of(const oracle_problem *o, const oracle_row *row)
{
    return oracle_row_element(o, row, 1);
}

/* Calls visit with the keys of each row. */
static void each_row(choosing *c, visitor visit)
{
    const oracle_problem *o = c->o;
    c->keys = fuzz_alloc((size_t)o->n_kv, sizeof *c->keys);
    for (int64_t b = 0; b < o->batch; b++)
        for (int64_t h = 0; h < o->n_head; h++)
            for (int64_t i = 0; i < o->n_q; i++) {
                const oracle_row row = oracle_row_at(o, b, h, i);
                visit(c, &row, list(o, &row, c->keys));
            }
    free(c->keys);
}

static void choose_row(const choosing *c, const oracle_row *row, int64_t count)
{
    const int64_t most = c->p->top_k;
    for (int64_t n = 0; n < count && n < most; n++)
        c->mask[oracle_row_element(c->o, row, c->o->n_kv) + c->keys[n].key] = 1;
    if (count > most && may_change_places(&c->keys[most - 1], &c->keys[most]))
        c->e->unsure[index_of(c->o, row)] = 1;
}

void fuzz_choose(const fuzz_problem *p, oracle_problem *o, fuzz_expected *e)
{
    const size_t rows = (size_t)(o->batch * o->n_head * o->n_q);
    choosing c = {p, o, e, fuzz_alloc(rows * (size_t)o->n_kv, 1), NULL};
    e->unsure = fuzz_alloc(rows, 1);
    each_row(&c, choose_row);
    o->mask = c.mask;
}

/* The place that the query's number draws among keys in the order of their scores; count: none, the
 * sink was drawn. *sure: not near another one. */
static int64_t place_of(const oracle_problem *o, const oracle_row *row, const candidate *keys,
                        int64_t count, double lse, bool *sure)
{
    const int64_t at[4] = {row->b, row->h, row->i, 0};
    const uint32_t word = oracle_dropout_word(o->dropout_seed, o->dropout_offset, at);
    const double number = (word >> 8) / 16777216.0;
    double sum = 0;
    int64_t place = 0;
    *sure = true;
    for (; place < count; place++) {
        sum += exp(keys[place].score - lse);
        *sure = *sure && fabs(number - sum) > NEAR * (1 + keys[place].terms);
        if (sum > number)
            break;
    }
    for (int64_t n = place - 1; n <= place;
         n++) /* whether a neighbour would be drawn in its place */
        *sure = *sure && (n < 0 || n + 1 >= count || !may_change_places(&keys[n], &keys[n + 1]));
    return place;
}

/* One set of outputs, exact or plain. */
static void leave(const oracle_problem *o, const oracle_row *row, int64_t key, oracle_type type,
                  double *const *to)
{
    double *out = to[CLATTN_SLOT_OUT] + oracle_row_element(o, row, o->value_dim);
    double *weights = to[CLATTN_SLOT_WEIGHTS];
    for (int64_t d = 0; d < o->value_dim; d++)
        out[d] =
            key < 0 ? 0
                    : (double)oracle_rounded(
                          type,
                          o->v[oracle_keys_element(o, row, o->value_dim) + key * o->value_dim + d]);
    for (int64_t j = 0; weights && j < o->n_kv; j++)
        if (j != key)
            weights[oracle_row_element(o, row, o->n_kv) + j] = 0;
}

static void draw_row(const choosing *c, const oracle_row *row, int64_t count)
{
    bool sure;
    const double lse = c->e->lse[index_of(c->o, row)];
    const int64_t place = place_of(c->o, row, c->keys, count, lse, &sure);
    const int64_t key = place < count ? c->keys[place].key : -1;
    if (isnan(lse) || !sure)
        c->e->unsure[index_of(c->o, row)] = 1;
    leave(c->o, row, key, ORACLE_F32, c->e->exact);
    leave(c->o, row, key, (oracle_type)c->p->tensor[CLATTN_SLOT_OUT].dtype, c->e->plain);
}

void fuzz_draw(const fuzz_problem *p, const oracle_problem *o, fuzz_expected *e)
{
    choosing c = {p, o, e, NULL, NULL};
    each_row(&c, draw_row);
}
