/* What of additive attention can be tuned, forward and backward. */
#ifndef CLATTN_KERNELS_ADDITIVE_TUNING_H
#define CLATTN_KERNELS_ADDITIVE_TUNING_H

#include "kernels/tunable.h"

extern const clattn__tunable clattn__additive_tunable;          /* additive_simd */
extern const clattn__tunable clattn__additive_gradient_tunable; /* additive_gradient_simd */

#endif
