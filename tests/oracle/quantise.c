/* See quantise.h. */
#include "quantise.h"

#include <math.h>
#include <stddef.h>

void oracle_quantise(const float *x, int64_t dim, int bits, int64_t channels, float *left,
                     int8_t *integers, float *scales)
{
    const int64_t size = channels ? channels : dim;
    const double most = bits == 8 ? 127 : 7;
    for (int64_t begin = 0; begin < dim; begin += size) {
        const int64_t end = begin + size < dim ? begin + size : dim;
        double largest = 0;
        for (int64_t d = begin; d < end; d++)
            largest = fmax(largest, fabs((double)x[d]));
        const double scale = largest / most;
        if (scales)
            scales[begin / size] = (float)scale;
        for (int64_t d = begin; d < end; d++) {
            const double n = largest > 0 ? rint((double)x[d] / scale) : 0;
            if (integers)
                integers[d] = (int8_t)n;
            left[d] = (float)(n * scale);
        }
    }
}
