/* The numbers of the tile family that become macros: what a work-group is and how much of a problem
 * it has at a time, from caps alone. */
#ifndef CLATTN_KERNELS_TILE_SHAPES_H
#define CLATTN_KERNELS_TILE_SHAPES_H

#include "kernels/registry.h"

/* A row of a table of tiles: the numbers of a configuration that are macros of cl/common/tile.h. */
typedef struct clattn__shape {
    uint32_t dim_max;
    uint32_t group_size;
    uint32_t rows, cols, value_cols;
    uint32_t block_m, block_n, block_k;
} clattn__shape;

typedef struct clattn__shape_table {
    const clattn__shape *row; /* (count) in order of preference */
    size_t count;
    /* Bytes of local memory that a kernel of this shape has. */
    uint64_t (*local_memory)(const clattn__shape *shape);
} clattn__shape_table;

/* The first row that has `dim` dimensions and that the device has groups and, with `beside` bytes
 * more, local memory for, into `config`; false: there is none. */
bool clattn__shape_find(const clattn__shape_table *table, int64_t dim, uint64_t beside,
                        const clattn__caps *caps, clattn__config *config);

/* The shape for a problem on a device, into the numbers of `config` that are macros of
 * cl/common/tile.h. False: the device has one for no value_dim as large, and a sentence that says
 * so is appended to `reason`, which may be NULL. */
bool clattn__tile_shape(const clattn__problem *problem, const clattn__caps *caps,
                        clattn__config *config, clattn__text *reason);

/* The same for this value_dim and a kernel with `beside` bytes of local memory more. */
bool clattn__tile_of_values(int64_t value_dim, uint64_t beside, const clattn__caps *caps,
                            clattn__config *config);

/* configure() of the kernels of the family, which have accepted the problem. */
void clattn__tile_configure(const clattn__problem *problem, const clattn__caps *caps,
                            clattn__config *config);

#endif
