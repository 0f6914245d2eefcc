/* The numbers of the simd family that become macros: register tiles and blocks, from caps alone. */
#ifndef CLATTN_KERNELS_SIMD_TILES_H
#define CLATTN_KERNELS_SIMD_TILES_H

#include "kernels/registry.h"

/* Sets dim_max, and vec to block_n by a row of the table. */
void clattn__simd_tiles(const clattn__problem *problem, const clattn__caps *caps,
                        clattn__config *config);

#endif
