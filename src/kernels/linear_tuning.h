/* What of linear operations can be tuned, for each of the three passes. */
#ifndef CLATTN_KERNELS_LINEAR_TUNING_H
#define CLATTN_KERNELS_LINEAR_TUNING_H

#include "kernels/tunable.h"

extern const clattn__tunable clattn__linear_tunable;   /* linear_simd */
extern const clattn__tunable clattn__linear_x_tunable; /* linear_x_simd */
extern const clattn__tunable clattn__linear_w_tunable; /* linear_w_simd */

#endif
