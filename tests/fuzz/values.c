/* The contents of values.h. Each slot has a random stream of its own, so that leaving a slot out
 * doesn't change the others. */
#include "values.h"

#include <math.h>

#include "random.h"
#include "tests/oracle/storage.h"

static double lowest_of(clattn_dtype dtype)
{
    return -(double)oracle_largest((oracle_type)dtype);
}

static double huge_of(int slot, clattn_dtype dtype)
{
    if (dtype == CLATTN_F16)
        return 1e4;
    return slot == CLATTN_SLOT_Q || slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_PAST_K ? 1e10
                                                                                        : 1e30;
}

static double extreme_of(fuzz_random *r, clattn_dtype dtype, double x)
{
    const double extremes[] = {-INFINITY, lowest_of(dtype), 1e4 * x, 3 * x, x};
    return extremes[fuzz_between(r, 0, 4)];
}

/* One element of a floating-point tensor. */
static double value_of(fuzz_random *r, int slot, const fuzz_tensor *t)
{
    const double x = 2 * fuzz_unit(r) - 1;
    const int percent = (int)fuzz_between(r, 0, 99);
    const double tiny = t->dtype == CLATTN_F16 ? 0x1p-15 : 0x1p-127;
    switch (t->values) {
    case FUZZ_UNIT:
        return x;
    case FUZZ_SMALL:
        return 1e-3 * x;
    case FUZZ_LARGE:
        return 20 * x;
    case FUZZ_HUGE:
        return huge_of(slot, t->dtype) * x;
    case FUZZ_DENORMAL:
        return tiny * x;
    case FUZZ_ZERO:
        return 0;
    case FUZZ_SAME:
        return 0.75;
    case FUZZ_SPARSE:
        return percent < 90 ? 0 : 4 * x;
    case FUZZ_INTEGERS:
        return (double)(percent % 7 - 3);
    case FUZZ_NAN:
        return percent < 1 ? (double)NAN : x;
    case FUZZ_INFINITE:
        return percent < 1 ? copysign((double)INFINITY, x) : x;
    case FUZZ_HIDING:
        return percent < 40 ? -(double)INFINITY : 2 * x;
    case FUZZ_LOWEST:
        return percent < 40 ? lowest_of(t->dtype) : 2 * x;
    case FUZZ_EXTREMES:
        return extreme_of(r, t->dtype, x);
    default:
        return lowest_of(t->dtype);
    }
}

static void fill_floats(const fuzz_problem *p, int slot, fuzz_memory *m, fuzz_random *r)
{
    for (int64_t n = 0; n < m->elements; n++)
        fuzz_store(m, n, value_of(r, slot, &p->tensor[slot]));
}

/* Densities from empty to full; other numbers than 0 are true. */
static void fill_mask(fuzz_memory *m, fuzz_random *r)
{
    const int density = (int)FUZZ_PICK(r, 3, 20, 50, 80, 97, 100);
    const int64_t run = FUZZ_PICK(r, 1, 1, 16, 50);
    bool is_visible = true;
    for (int64_t n = 0; n < m->elements; n++) {
        if (n % run == 0)
            is_visible = fuzz_chance(r, density);
        m->bytes[n] = (unsigned char)(is_visible ? fuzz_chance(r, 80) ? 1 : 128 : 0);
    }
}

static void fill_params(fuzz_memory *m, fuzz_random *r)
{
    const double params[] = {fuzz_unit(r) + 0.25, fuzz_unit(r) / 8, (double)fuzz_between(r, 2, 5)};
    for (int64_t n = 0; n < 3; n++)
        fuzz_store(m, m->first + n * m->stride[0], params[n]);
}

static void fill_seed(fuzz_memory *m, fuzz_random *r)
{
    for (int64_t n = 0; n < m->elements * 8; n++)
        m->bytes[n] = (unsigned char)fuzz_word(r);
}

/* Ascending ones where tokens are ragged. */
static void fill_lengths(const fuzz_problem *p, int slot, fuzz_memory *m)
{
    const bool of_queries = slot == CLATTN_SLOT_Q_LENGTHS;
    const int32_t *length = of_queries ? p->q_length : p->kv_length;
    const bool ragged = of_queries ? p->ragged : fuzz_has_ragged_keys(p);
    int64_t sum = 0;
    for (int64_t b = 0; b < p->batch + ragged; b++) {
        fuzz_store(m, m->first + b * m->stride[0], (double)(ragged ? sum : length[b]));
        sum += b < p->batch ? length[b] : 0;
    }
}

/* What makes block lists. */
typedef struct block_lists {
    const fuzz_problem *p;
    fuzz_set *set;
    fuzz_random *r;
    int density; /* percent of the blocks that are listed */
} block_lists;

static void fill_list(void *context, const int64_t *at)
{
    const block_lists *lists = context;
    const fuzz_problem *p = lists->p;
    fuzz_memory *index = &lists->set->slot[CLATTN_SLOT_BLOCK_INDEX];
    const int64_t blocks = (fuzz_keys(p) + p->block_kv - 1) / p->block_kv;
    int64_t count = 0;
    for (int64_t block = 0; block < blocks && count < p->block_limit; block++) {
        const bool is_odd = p->wild && fuzz_chance(lists->r, 10);
        const int64_t odd =
            FUZZ_PICK(lists->r, -1, INT32_MIN, blocks, INT32_MAX, block - 1, block / 2);
        const int64_t entry[] = {at[0], at[1], at[2], count};
        if (!is_odd && !fuzz_chance(lists->r, lists->density))
            continue;
        fuzz_store(index, fuzz_element(p, lists->set, CLATTN_SLOT_BLOCK_INDEX, entry),
                   (double)(is_odd ? odd : block));
        count++;
    }
    if (p->wild && count == p->block_limit && fuzz_chance(lists->r, 30))
        count = INT32_MAX;
    if (p->wild && fuzz_chance(lists->r, 5))
        count = -1;
    fuzz_store(&lists->set->slot[CLATTN_SLOT_BLOCK_COUNT],
               fuzz_element(p, lists->set, CLATTN_SLOT_BLOCK_COUNT, at), (double)count);
}

void fuzz_fill(const fuzz_problem *p, fuzz_set *set)
{
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        fuzz_memory *m = &set->slot[slot];
        fuzz_random r = fuzz_random_of(p->seed ^ 0x5eed, p->index * FUZZ_SLOTS + (uint64_t)slot);
        block_lists lists = {p, set, &r, (int)FUZZ_PICK(&r, 10, 50, 90, 100)};
        if (!m->bytes || fuzz_is_written(p, slot))
            continue;
        if (m->dtype <= CLATTN_BF16)
            fill_floats(p, slot, m, &r);
        if (m->dtype == CLATTN_BOOL)
            fill_mask(m, &r);
        if (slot == CLATTN_SLOT_PARAMS)
            fill_params(m, &r);
        if (slot == CLATTN_SLOT_SEED)
            fill_seed(m, &r);
        if (slot == CLATTN_SLOT_Q_LENGTHS || slot == CLATTN_SLOT_KV_LENGTHS)
            fill_lengths(p, slot, m);
        if (slot == CLATTN_SLOT_BLOCK_INDEX)
            fuzz_each(p, CLATTN_SLOT_BLOCK_COUNT, fill_list, &lists);
    }
}

/* Extent of dimension d where the batch entry is at[0]. */
static int64_t extent_at(const fuzz_problem *p, int slot, const int64_t *shape, int d, int64_t b)
{
    if (!fuzz_is_ragged(p, slot) || (d != 0 && d != 2))
        return shape[d];
    if (d == 0)
        return p->batch;
    return fuzz_is_query_slot(slot) ? p->q_length[b] : p->kv_length[b];
}

void fuzz_each(const fuzz_problem *p, int slot, void (*visit)(void *context, const int64_t *at),
               void *context)
{
    int64_t shape[CLATTN_RANK_LIMIT], at[CLATTN_RANK_LIMIT];
    fuzz_shape(p, slot, shape);
    for (at[0] = 0; at[0] < extent_at(p, slot, shape, 0, 0); at[0]++)
        for (at[1] = 0; at[1] < extent_at(p, slot, shape, 1, at[0]); at[1]++)
            for (at[2] = 0; at[2] < extent_at(p, slot, shape, 2, at[0]); at[2]++)
                for (at[3] = 0; at[3] < extent_at(p, slot, shape, 3, at[0]); at[3]++)
                    for (at[4] = 0; at[4] < extent_at(p, slot, shape, 4, at[0]); at[4]++)
                        visit(context, at);
}
