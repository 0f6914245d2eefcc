/* See verify_tally.h. */
#include "tool/verify_tally.h"

#include <math.h>
#include <stdbool.h>

static double difference(double x, double expected)
{
    if (x == expected || (isnan(x) && isnan(expected)))
        return 0;
    return isfinite(x) && isfinite(expected) ? fabs(x - expected) : INFINITY;
}

void verify_compare(verify_tally *sum, oracle_type type, const float *x, const double *expected,
                    const double *plain, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const float stored = oracle_rounded(type, (float)expected[i]);
        const bool fits = isfinite(stored);
        const double wanted = fits ? expected[i] : (double)stored;
        const double error = difference((double)x[i], wanted);
        const double plain_error = difference(plain[i], wanted);
        sum->error = error > sum->error ? error : sum->error;
        if (fits && plain_error > sum->plain_error && isfinite(plain_error))
            sum->plain_error = plain_error;
        if (fits && fabs(wanted) > sum->largest)
            sum->largest = fabs(wanted);
    }
}
