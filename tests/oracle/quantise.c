/* See quantise.h. */
#include "quantise.h"

#include <math.h>

void oracle_quantise(const oracle_integers *to, const float *x, int64_t dim, float *left)
{
    const int64_t size = to->channels ? to->channels : dim;
    const double most = to->bits == 8 ? 127 : 7;
    for (int64_t begin = 0; begin < dim; begin += size) {
        const int64_t end = begin + size < dim ? begin + size : dim;
        double largest = 0;
        for (int64_t d = begin; d < end; d++)
            largest = fmax(largest, fabs((double)x[d]));
        const double scale = largest / most;
        to->scales[begin / size] = (float)scale;
        for (int64_t d = begin; d < end; d++) {
            const double n = largest > 0 ? rint((double)x[d] / scale) : 0;
            to->integers[d] = (int8_t)n;
            left[d] = (float)(n * scale);
        }
    }
}
