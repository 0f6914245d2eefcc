/* The comparisons of compare.h, element by element. */
#include "compare.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "values.h"

typedef struct comparison {
    const fuzz_problem *p;
    const fuzz_expected *e;
    const fuzz_set *set;
    fuzz_verdict *verdict;
    int slot;
    bool finite; /* all inputs are */
    fuzz_bounds bounds;
    double worst;           /* error, of elements that the bounds are for */
    unsigned char *written; /* by element of the memory */
} comparison;

static void fail(fuzz_verdict *verdict, const char *format, ...)
{
    va_list arguments;
    if (!verdict->good)
        return;
    verdict->good = false;
    va_start(arguments, format);
    vsnprintf(verdict->why, sizeof verdict->why, format, arguments);
    va_end(arguments);
}

static void fail_at(const comparison *c, const int64_t *at, double x, double ref)
{
    char index[80] = "";
    for (int d = 0, n = 0; d < fuzz_slot_of(c->slot)->rank; d++)
        n += snprintf(index + n, sizeof index - (size_t)n, d ? ",%lld" : "%lld", (long long)at[d]);
    fail(c->verdict, "%s[%s] is %.9g, not %.9g (error %.3g, bound %.3g)",
         fuzz_slot_of(c->slot)->name, index, x, ref, fabs(x - ref), c->bounds.sure);
}

static bool is_present_slot(int slot)
{
    return slot == CLATTN_SLOT_PRESENT_K || slot == CLATTN_SLOT_PRESENT_V;
}

/* All of a row of OUT. */
static bool is_zero_row(const comparison *c, const int64_t *at)
{
    const int64_t first[] = {at[0], at[1], at[2], 0, 0};
    const double *row = c->e->exact[c->slot] + fuzz_expected_index(c->p, c->slot, first);
    for (int64_t d = 0; d < c->p->value_dim; d++)
        if (row[d] != 0)
            return false;
    return true;
}

static bool must_be_equal(const comparison *c, const int64_t *at, double ref)
{
    if (!isfinite(ref) || is_present_slot(c->slot))
        return true;
    if (ref != 0)
        return false;
    if (c->e->of_terms[c->slot])
        return c->e->of_terms[c->slot][fuzz_expected_index(c->p, c->slot, at)] == 0;
    return fuzz_is_weight(c->p, c->slot) || (c->slot == CLATTN_SLOT_OUT && is_zero_row(c, at));
}

/* Rounding decides what the row is of. */
static bool is_unsure(const comparison *c, const int64_t *at)
{
    const bool is_of_keys = c->slot == CLATTN_SLOT_OUT || c->slot == CLATTN_SLOT_WEIGHTS;
    return c->e->unsure && is_of_keys &&
           c->e->unsure[(at[0] * c->p->n_head + at[1]) * c->p->n_q + at[2]];
}

static void compare_element(void *context, const int64_t *at)
{
    comparison *c = context;
    const int64_t element = fuzz_element(c->p, c->set, c->slot, at);
    const double x = fuzz_load(&c->set->slot[c->slot], element);
    const double ref = c->e->exact[c->slot][fuzz_expected_index(c->p, c->slot, at)];
    c->written[element] = 1;
    if (is_unsure(c, at)) { /* whichever key it is of */
        if (isnan(x) && c->finite)
            fail_at(c, at, x, ref);
        return;
    }
    if (isnan(ref) && isnan(x))
        return;
    if (must_be_equal(c, at, ref)) {
        if (!(x == ref))
            fail_at(c, at, x, ref);
        return;
    }
    const double error = fabs(x - ref);
    const bool is_far = fuzz_is_far(c->slot, ref);
    if (!(error <= (is_far ? fabs(ref) * FUZZ_FAR_ERROR : c->bounds.sure)))
        fail_at(c, at, x, ref);
    else if (!is_far)
        c->worst = fmax(c->worst, error);
}

/* Notes how the largest error compares with the contract's bound. */
static void note(const comparison *c)
{
    const double ratio = c->bounds.contract > 0 ? c->worst / c->bounds.contract : 0;
    if (is_present_slot(c->slot))
        return;
    c->verdict->compared++;
    c->verdict->beyond += ratio > 1;
    c->verdict->ratio[c->slot] = fmax(c->verdict->ratio[c->slot], ratio);
}

static void check_untouched(const comparison *c)
{
    const fuzz_memory *m = &c->set->slot[c->slot];
    const size_t size = (size_t)fuzz_size_of(m->dtype);
    for (size_t n = 0; n < m->size; n++)
        if (m->bytes[n] != FUZZ_UNTOUCHED && !c->written[n / size]) {
            fail(c->verdict, "%s: byte %lld behind element (0, 0, ...) was written",
                 fuzz_slot_of(c->slot)->name, (long long)n - (long long)m->first * (long long)size);
            return;
        }
}

typedef struct finding {
    const fuzz_problem *p;
    const fuzz_set *set;
    int slot;
    bool finite;
} finding;

static void look_at(void *context, const int64_t *at)
{
    finding *f = context;
    const int64_t element = fuzz_element(f->p, f->set, f->slot, at);
    f->finite = f->finite && isfinite(fuzz_load(&f->set->slot[f->slot], element));
}

/* Whether no element of an input is NaN or infinite. */
static bool is_all_finite(const fuzz_problem *p, const fuzz_set *inputs)
{
    finding f = {p, inputs, 0, true};
    for (; f.slot < FUZZ_SLOTS; f.slot++)
        if (inputs->slot[f.slot].bytes && !fuzz_is_written(p, f.slot) &&
            fuzz_slot_of(f.slot)->is_float)
            fuzz_each(p, f.slot, look_at, &f);
    return f.finite;
}

void fuzz_compare(const fuzz_problem *p, const fuzz_expected *e, const fuzz_set *before,
                  const fuzz_set *after, fuzz_verdict *verdict)
{
    const bool finite = e->unsure && is_all_finite(p, before);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        const fuzz_memory *m = &after->slot[slot];
        if (!m->bytes)
            continue;
        if (!fuzz_is_written(p, slot)) {
            if (memcmp(m->bytes, before->slot[slot].bytes, m->size) != 0)
                fail(verdict, "%s: is an input and was changed", fuzz_slot_of(slot)->name);
            continue;
        }
        comparison c = {p, e, after, verdict, slot, finite, fuzz_bounds_of(p, e, slot), 0, NULL};
        c.written = fuzz_alloc((size_t)m->elements, 1);
        fuzz_each(p, slot, compare_element, &c);
        check_untouched(&c);
        note(&c);
        free(c.written);
    }
}

void fuzz_compare_runs(const fuzz_problem *p, const fuzz_set *a, const fuzz_set *b,
                       fuzz_verdict *verdict)
{
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        const fuzz_memory *m = &a->slot[slot];
        const size_t size = m->bytes ? (size_t)fuzz_size_of(m->dtype) : 1;
        if (!m->bytes || !fuzz_is_written(p, slot))
            continue;
        for (int64_t n = 0; n < m->elements; n++) {
            const size_t at = (size_t)n * size;
            const double x = fuzz_load(m, n), y = fuzz_load(&b->slot[slot], n);
            const bool is_alike = (isnan(x) && isnan(y)) || (x == 0 && y == 0);
            if (is_alike || memcmp(m->bytes + at, b->slot[slot].bytes + at, size) == 0)
                continue;
            fail(verdict,
                 "%s: %.9g became %.9g when what doesn't matter was changed (element %lld)",
                 fuzz_slot_of(slot)->name, x, y, (long long)(n - m->first));
            return;
        }
    }
}
