/* The bounds of bounds.h. */
#include "bounds.h"

#include <math.h>

#include "tests/oracle/storage.h"
#include "values.h"

#define FAR      1e30
#define ROUNDING 0x1p-24 /* u */

/* Gradients that are smaller than this part of what they are made of are what cancelling left. */
#define CANCELLED 0x1p-6

bool fuzz_is_weight(const fuzz_problem *p, int slot)
{
    return slot == CLATTN_SLOT_WEIGHTS || slot == CLATTN_SLOT_WEIGHTS_MEAN ||
           slot == CLATTN_SLOT_WEIGHTS_SUM ||
           (slot == CLATTN_SLOT_SCORES && p->score_stage == CLATTN_SCORES_WEIGHTS);
}

bool fuzz_is_far(int slot, double ref)
{
    return slot != CLATTN_SLOT_OUT && fabs(ref) > FAR;
}

/* What is found by looking at a tensor's elements. */
typedef struct survey {
    const fuzz_problem *p;
    const fuzz_expected *e;
    int slot;
    double most, off, terms; /* largest |ref|, |plain - ref|, terms */
} survey;

static void look(void *context, const int64_t *at)
{
    survey *s = context;
    const int64_t n = fuzz_expected_index(s->p, s->slot, at);
    const double ref = s->e->exact[s->slot][n], off = fabs(s->e->plain[s->slot][n] - ref);
    if (!isfinite(ref) || fuzz_is_far(s->slot, ref))
        return;
    s->most = fmax(s->most, fabs(ref));
    s->off = isfinite(off) ? fmax(s->off, off) : s->off;
    if (s->slot == CLATTN_SLOT_SCORES && isfinite(s->e->terms[n]))
        s->terms = fmax(s->terms, s->e->terms[n]);
}

/* The largest of spread[which] over all rows. */
static double largest_spread(const fuzz_problem *p, const fuzz_expected *e, int which)
{
    double most = 0;
    for (int64_t row = 0; row < p->batch * p->n_head * p->n_q; row++)
        if (isfinite(e->spread[2 * row + which]))
            most = fmax(most, e->spread[2 * row + which]);
    return most;
}

static double smallest_of(const fuzz_problem *p, int slot)
{
    static const double step[] = {0x1p-149, 0x1p-24, 0x1p-133};
    const clattn_dtype dtype = p->tensor[slot].dtype;
    const double flushed = slot == CLATTN_SLOT_WEIGHTS_SUM ? 0x1p-126 * (double)p->n_q : 0x1p-126;
    return step[dtype] + (dtype == CLATTN_F16 ? 0 : flushed);
}

static double coarser_ulp(const fuzz_problem *p, int slot)
{
    return fmax(oracle_ulp((oracle_type)p->tensor[slot].dtype),
                oracle_ulp((oracle_type)p->tensor[CLATTN_SLOT_OUT].dtype));
}

static fuzz_bounds bounds_of_gradient(const survey *s)
{
    const fuzz_problem *p = s->p;
    int64_t shape[CLATTN_RANK_LIMIT], count = 1;
    double terms = 0;
    fuzz_problem padded = *p;
    padded.ragged = false;
    fuzz_shape(&padded, s->slot, shape);
    for (int d = 0; d < CLATTN_RANK_LIMIT; d++)
        count *= shape[d];
    for (int64_t n = 0; n < count; n++)
        if (isfinite(s->e->of_terms[s->slot][n]))
            terms = fmax(terms, s->e->of_terms[s->slot][n]);
    const double ulp = oracle_ulp((oracle_type)p->tensor[s->slot].dtype);
    const double longest = (double)(p->n_q > fuzz_keys(p) ? p->n_q : fuzz_keys(p));
    const double rounding = coarser_ulp(p, s->slot) / 2 * terms * (2 + sqrt(longest) / 2);
    const double least = 4 * ulp * s->most + 4 * smallest_of(p, s->slot);
    const double sure = 3 * fmax(s->off, rounding) + least;
    return (fuzz_bounds){s->most < terms * CANCELLED ? sure : 3 * s->off + least, sure};
}

/* X of bounds.h; most: M. */
static double rounding_of(const survey *s, double most)
{
    const fuzz_problem *p = s->p;
    if (p->merge)
        return most * (double)p->parts;
    const double sum = sqrt((double)fuzz_keys(p)) / 2;
    const double spread = 2 * largest_spread(p, s->e, 0);
    const double weight = spread / (1 - (double)p->dropout) + most * sum;
    if (s->slot == CLATTN_SLOT_OUT)
        return most * (spread + sum);
    if (s->slot == CLATTN_SLOT_LSE)
        return largest_spread(p, s->e, 1) + sum;
    if (s->slot == CLATTN_SLOT_WEIGHTS_SUM)
        return weight * sqrt((double)p->n_q);
    return fuzz_is_weight(p, s->slot) ? weight : s->terms;
}

fuzz_bounds fuzz_bounds_of(const fuzz_problem *p, const fuzz_expected *e, int slot)
{
    survey s = {p, e, slot, 0, 0, 0};
    const double ulp = oracle_ulp((oracle_type)p->tensor[slot].dtype);
    fuzz_each(p, slot, look, &s);
    if (e->of_terms[slot])
        return bounds_of_gradient(&s);
    double most = s.most;
    if (slot == CLATTN_SLOT_OUT)
        most = fmax(most, e->largest_value);
    if (slot == CLATTN_SLOT_LSE)
        most = fmax(most, 1);
    const double least = 2 * ulp * most + smallest_of(p, slot);
    return (fuzz_bounds){2 * s.off + least,
                         2 * fmax(s.off, ROUNDING * rounding_of(&s, most)) + least};
}
