/* See sweep.h. */
#include "sweep.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "tests/device/rig.h"

#define ELEMENTS 12          /* of each gradient */
#define STEP     (1.0 / 128) /* of an input; the other step is half of it */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

void sweep(const char *operation, uint64_t stream, sweep_body body)
{
    const uint64_t seed = number_of("CLATTN_SWEEP_SEED", 1);
    const uint64_t first = number_of("CLATTN_SWEEP_FIRST", 0);
    const uint64_t count = number_of("CLATTN_SWEEP_COUNT", 12);
    const bool differences = number_of("CLATTN_SWEEP_DIFFERENCES", 0) == 1;
    for (uint64_t index = first; index < first + count; index++) {
        fuzz_random r = fuzz_random_of(seed, stream << 32 | index);
        rig_say("%s, CLATTN_SWEEP_SEED=%llu CLATTN_SWEEP_FIRST=%llu", operation,
                (unsigned long long)seed, (unsigned long long)index);
        body(&r, differences);
    }
}

uint64_t sweep_subset(fuzz_random *r, uint64_t set, int percent)
{
    uint64_t chosen = 0;
    for (int bit = 0; bit < 64; bit++)
        if (set >> bit & 1 && fuzz_chance(r, percent))
            chosen |= (uint64_t)1 << bit;
    return chosen;
}

/* Over the way that float32 makes of 2 * step. */
static double quotient(sweep_loss loss, const void *of, float *x, double step)
{
    const float at = *x, above = (float)((double)at + step), below = (float)((double)at - step);
    *x = above;
    const double high = loss(of);
    *x = below;
    const double low = loss(of);
    *x = at;
    return (high - low) / ((double)above - (double)below);
}

void sweep_compare(sweep_loss loss, const void *of, const sweep_gradient *gradient, double bound,
                   fuzz_random *r)
{
    double largest = 1;
    for (int64_t n = 0; n < gradient->count; n++)
        largest = fmax(largest, fabs(gradient->gradient[n]));
    for (int i = 0; gradient->count && i < ELEMENTS; i++) {
        const int64_t n = fuzz_between(r, 0, gradient->count - 1);
        float *x = gradient->x + n;
        const double before = gradient->offset ? (double)gradient->offset[n] : 0;
        const double said = gradient->gradient[n] - before;
        const double found =
            (4 * quotient(loss, of, x, STEP / 2) - quotient(loss, of, x, STEP)) / 3;
        cr_assert(fabs(found - said) <= bound * largest,
                  "%s: the oracle's gradient by %s[%d] is %.9g, finite differences say %.9g",
                  rig_said(), gradient->name, (int)n, said, found);
    }
}
