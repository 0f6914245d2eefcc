/* DIM_MAX, the bound of head_dim and value_dim that kernels are compiled for. */
#ifndef CLATTN_KERNELS_DIM_MAX_H
#define CLATTN_KERNELS_DIM_MAX_H

#include "problem/problem.h"

/* The smallest bound that holds both dimensions: 64, 128, 256 or 576. */
uint32_t clattn__dim_max(const clattn__problem *problem);

#endif
