/* The marks of used.h. A key is used if a rule lets a query see it, a value if also its score is
 * not -inf. */
#include "used.h"

#include <math.h>

#include "tests/oracle/row.h"
#include "values.h"

typedef struct marks {
    const fuzz_problem *p;
    const fuzz_set *set;
    fuzz_expected *e;
    int slot;
} marks;

static void mark(const marks *m, int slot, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t at[] = {b, h, i, j, 0};
    m->e->used[slot][fuzz_element(m->p, m->set, slot, at)] = 1;
}

static void mark_element(void *context, const int64_t *at)
{
    const marks *m = context;
    m->e->used[m->slot][fuzz_element(m->p, m->set, m->slot, at)] = 1;
}

static void mark_all(const fuzz_problem *p, const fuzz_set *set, fuzz_expected *e, int slot)
{
    marks m = {p, set, e, slot};
    if (e->used[slot])
        fuzz_each(p, slot, mark_element, &m);
}

/* A row of K or V by its index among past and new keys. */
static void mark_row(const marks *m, int past, int slot, const oracle_row *row, int64_t j)
{
    const int64_t dim = slot == CLATTN_SLOT_K ? m->p->head_dim : m->p->value_dim;
    for (int64_t d = 0; d < dim; d++)
        if (j < m->p->n_past)
            mark(m, past, row->b, row->g, j, d);
        else
            mark(m, slot, row->b, row->g, j - m->p->n_past, d);
}

static void mark_pair(const marks *m, const oracle_problem *o, const oracle_row *row, int64_t j)
{
    const bool early =
        fuzz_has(m->p, CLATTN_SLOT_SCORES) && m->p->score_stage <= CLATTN_SCORES_CAPPED;
    const bool is_visible = oracle_is_visible(o, row, j);
    if (!oracle_is_within(row, j))
        return;
    if (m->e->used[CLATTN_SLOT_MASK])
        mark(m, CLATTN_SLOT_MASK, row->b, row->h, row->i, j);
    const bool is_hidden = o->bias && o->bias[oracle_row_element(o, row, o->n_kv) + j] == -INFINITY;
    if (m->e->used[CLATTN_SLOT_BIAS] && (is_visible || is_hidden))
        mark(m, CLATTN_SLOT_BIAS, row->b, row->h, row->i, j);
    if (!is_visible && !early)
        return;
    mark_row(m, CLATTN_SLOT_PAST_K, CLATTN_SLOT_K, row, j);
    for (int64_t d = 0; d < m->p->head_dim; d++)
        mark(m, CLATTN_SLOT_Q, row->b, row->h, row->i, d);
    if (oracle_score_of(o, row, j).seen != -INFINITY)
        mark_row(m, CLATTN_SLOT_PAST_V, CLATTN_SLOT_V, row, j);
}

/* Of block lists, as many entries as count. */
static void mark_list(void *context, const int64_t *at)
{
    const marks *m = context;
    const int64_t count =
        fuzz_load_integer(&m->set->slot[CLATTN_SLOT_BLOCK_COUNT],
                          fuzz_element(m->p, m->set, CLATTN_SLOT_BLOCK_COUNT, at));
    for (int64_t n = 0; n < count && n < m->p->block_limit; n++)
        mark(m, CLATTN_SLOT_BLOCK_INDEX, at[0], at[1], at[2], n);
}

/* What gradients read of a row: nothing behind a length; of one that sees nothing, what the forward
 * pass wrote, and the gradient of LSE for that of the sink. */
static void mark_row_of_gradient(const marks *m, const oracle_problem *o, const oracle_row *row)
{
    bool sees_any = false;
    if (row->i >= row->queries)
        return;
    for (int64_t j = 0; j < o->n_kv; j++)
        sees_any |= oracle_score_of(o, row, j).seen != -INFINITY;
    mark(m, CLATTN_SLOT_LSE, row->b, row->h, row->i, 0);
    if (m->e->used[CLATTN_SLOT_GRAD_LSE] && (sees_any || o->sink))
        mark(m, CLATTN_SLOT_GRAD_LSE, row->b, row->h, row->i, 0);
    for (int64_t d = 0; d < m->p->value_dim; d++) {
        mark(m, CLATTN_SLOT_OUT, row->b, row->h, row->i, d);
        if (sees_any)
            mark(m, CLATTN_SLOT_GRAD_OUT, row->b, row->h, row->i, d);
    }
}

void fuzz_mark(const fuzz_problem *p, const fuzz_set *set, const oracle_problem *o,
               fuzz_expected *e)
{
    static const int whole[] = {
        CLATTN_SLOT_ALIBI,       CLATTN_SLOT_SINK,   CLATTN_SLOT_Q_LENGTHS, CLATTN_SLOT_KV_LENGTHS,
        CLATTN_SLOT_BLOCK_COUNT, CLATTN_SLOT_PARAMS, CLATTN_SLOT_SEED};
    marks m = {p, set, e, 0};
    if (p->poison == FUZZ_CLEAN)
        return;
    for (size_t n = 0; n < sizeof whole / sizeof whole[0]; n++)
        mark_all(p, set, e, whole[n]);
    if (fuzz_has(p, CLATTN_SLOT_BLOCK_INDEX))
        fuzz_each(p, CLATTN_SLOT_BLOCK_COUNT, mark_list, &m);
    for (int slot = 0; slot < 2; slot++)
        if (fuzz_has(p, CLATTN_SLOT_PRESENT_K + slot)) {
            mark_all(p, set, e, CLATTN_SLOT_K + slot);
            mark_all(p, set, e, CLATTN_SLOT_PAST_K + slot);
        }
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t h = 0; h < p->n_head; h++)
            for (int64_t i = 0; i < p->n_q; i++) {
                const oracle_row row = oracle_row_at(o, b, h, i);
                if (p->gradient)
                    mark_row_of_gradient(&m, o, &row);
                for (int64_t j = 0; j < o->n_kv; j++)
                    mark_pair(&m, o, &row, j);
            }
}

static void mark_part(void *context, const int64_t *at)
{
    const marks *m = context;
    const int64_t lse = fuzz_element(m->p, m->set, CLATTN_SLOT_PARTIAL_LSE, at);
    if (fuzz_load(&m->set->slot[CLATTN_SLOT_PARTIAL_LSE], lse) != -INFINITY)
        mark_element(context, at);
}

void fuzz_mark_merge(const fuzz_problem *p, const fuzz_set *set, fuzz_expected *e)
{
    marks m = {p, set, e, CLATTN_SLOT_PARTIAL_OUT};
    mark_all(p, set, e, CLATTN_SLOT_SINK);
    mark_all(p, set, e, CLATTN_SLOT_PARTIAL_LSE);
    fuzz_each(p, CLATTN_SLOT_PARTIAL_OUT, mark_part, &m);
}

void fuzz_poison_set(const fuzz_problem *p, const fuzz_expected *e, fuzz_set *set)
{
    const double kinds[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 1e30, -1e30};
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        fuzz_memory *m = &set->slot[slot];
        for (int64_t n = 0; e->used[slot] && n < m->elements; n++) {
            if (e->used[slot][n])
                continue;
            if (m->dtype <= CLATTN_BF16)
                fuzz_store(m, n, kinds[(p->poison_kind + (n % 16 == 0)) % 5]);
            else if (m->dtype == CLATTN_BOOL)
                m->bytes[n] = !m->bytes[n];
            else
                fuzz_store(m, n, n % 2 ? INT32_MAX : -7);
        }
    }
}
