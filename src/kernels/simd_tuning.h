/* What can be tuned of attention_simd, and of the kernels that it shares its tiles with. */
#ifndef CLATTN_KERNELS_SIMD_TUNING_H
#define CLATTN_KERNELS_SIMD_TUNING_H

#include "kernels/registry.h"

extern const clattn__tunable clattn__simd_tunable;

/* Whether a problem, of whose configuration `full` is known, has few keys and not few queries. */
bool clattn__simd_is_short(const clattn__problem *problem, const clattn__config *config);

#endif
