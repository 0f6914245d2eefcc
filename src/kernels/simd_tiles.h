/* The numbers of the simd family that become macros: register tiles and blocks, from caps alone. */
#ifndef CLATTN_KERNELS_SIMD_TILES_H
#define CLATTN_KERNELS_SIMD_TILES_H

#include "kernels/registry.h"

/* Sets dim_max, and vec to block_n by a row of the table. `narrow`: by one with narrow panels,
 * where the table has any, for problems of few keys. Lanes and blocks of keys are the same then. */
void clattn__simd_tiles(const clattn__problem *problem, const clattn__caps *caps, bool narrow,
                        clattn__config *config);

#endif
