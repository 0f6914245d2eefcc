/* Tables of tiles: which rows and columns a work-group has at a time, for each bound of dimensions
 * and size of the device, and the search of them. */
#ifndef CLATTN_KERNELS_SHAPE_TABLE_H
#define CLATTN_KERNELS_SHAPE_TABLE_H

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

/* A shape's numbers into those of `config`. */
void clattn__shape_apply(const clattn__shape *shape, clattn__config *config);

/* The first row that has `dim` dimensions and that the device has groups and, with `beside` bytes
 * more, local memory for, into `config`; false: there is none. */
bool clattn__shape_find(const clattn__shape_table *table, int64_t dim, uint64_t beside,
                        const clattn__caps *caps, clattn__config *config);

#endif
