/* The launch that both kernels for gradients of additive attention begin with. */
#ifndef CLATTN_KERNELS_ADDITIVE_ROWS_H
#define CLATTN_KERNELS_ADDITIVE_ROWS_H

#include "kernels/launches.h"

/* Fills CLATTN_T_GRADIENT_ROWS, which clattn__place_gradient_rows has placed. `from_scores`: with
 * the softmax of scores as the reference kernels compute them, which need not be those of LSE. */
void clattn__add_additive_rows(bool from_scores, clattn__variant *variant);

#endif
