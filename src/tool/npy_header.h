/* The text header of a .npy file: a dictionary written in Python's syntax. */
#ifndef CLATTN_TOOL_NPY_HEADER_H
#define CLATTN_TOOL_NPY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tool/npy.h"

typedef struct npy_header {
    char descr[16]; /* "<f4" */
    bool fortran_order;
    uint32_t rank;
    int64_t shape[NPY_MOST_DIMS]; /* (rank) */
} npy_header;

/* NULL, or why the text is not a header: a sentence that follows the file's name. `text` ends with
 * a 0. */
const char *npy_parse_header(const char *text, npy_header *header);

/* Elements of a shape, 0 if any extent is 0; -1 where `element_size` bytes of each don't fit the
 * address space. Extents are not negative. */
int64_t npy_count(const int64_t *shape, uint32_t rank, size_t element_size);

/* '<' on a little-endian machine, '>' on a big-endian one, as in descr. */
char npy_native_order(void);

#endif
