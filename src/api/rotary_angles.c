/* The table of angles for rotary embedding, on the host. */
#include <clattn/layer.h>
#include <inttypes.h>
#include <math.h>

#include "api/check.h"

clattn_status clattn_rotary_angles(int64_t n_positions, int64_t rotary_dim, double base,
                                   const double *frequencies, float *angles)
{
    if (rotary_dim < 2 || rotary_dim % 2 || rotary_dim > 576)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64 ", must be even, 2 to 576", rotary_dim);
    if (n_positions < 0 || n_positions > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "n_positions: is %" PRId64 ", must be 0 to 2^31-1",
                            n_positions);
    if (!frequencies && !(base > 0 && base < INFINITY))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "base: is %g, must be above 0 and finite", base);
    CLATTN__TRY(clattn__require(angles, "angles"));
    for (int64_t pair = 0; pair < rotary_dim / 2; pair++) {
        const double frequency =
            frequencies ? frequencies[pair] : pow(base, -2.0 * (double)pair / (double)rotary_dim);
        for (int64_t position = 0; position < n_positions; position++) {
            float *at = angles + (position * (rotary_dim / 2) + pair) * 2;
            at[0] = (float)cos((double)position * frequency);
            at[1] = (float)sin((double)position * frequency);
        }
    }
    return CLATTN_OK;
}
