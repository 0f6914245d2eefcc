/* See rotary.h: the formulas as they stand. */
#include "rotary.h"

#include <math.h>

void oracle_rms_norm(const float *x, const float *weight, int64_t dim, double epsilon, double *out)
{
    double sum = 0;
    for (int64_t d = 0; d < dim; d++)
        sum += (double)x[d] * (double)x[d];
    for (int64_t d = 0; d < dim; d++)
        out[d] =
            (double)x[d] / sqrt(sum / (double)dim + epsilon) * (weight ? (double)weight[d] : 1);
}

void oracle_rotate(const oracle_rotation *by, double position, double *x)
{
    const int64_t pairs = by->rotary_dim / 2;
    for (int64_t n = 0; n < pairs; n++) {
        const double angle = position * pow(by->base, -2.0 * (double)n / (double)by->rotary_dim);
        double *first = x + (by->interleaved ? 2 * n : n);
        double *second = first + (by->interleaved ? 1 : pairs);
        const double a = *first, b = *second;
        *first = a * cos(angle) - b * sin(angle);
        *second = a * sin(angle) + b * cos(angle);
    }
}
