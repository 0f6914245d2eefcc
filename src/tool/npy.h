/* Arrays in NumPy's .npy format: float32, float16 (read as float32), bool, int32, int64; C order,
 * little-endian. Anything else is refused with a sentence. Format: NumPy enhancement proposal 1. */
#ifndef CLATTN_TOOL_NPY_H
#define CLATTN_TOOL_NPY_H

#include <stdbool.h>
#include <stdint.h>

#define NPY_MOST_DIMS 8

typedef struct npy_array {
    uint32_t rank;
    int64_t shape[NPY_MOST_DIMS]; /* (rank) */
    int64_t count;                /* elements; 1 for rank 0 */
    float *data;                  /* (count), C order, owned; aligned to 64 bytes, never NULL */
} npy_array;

/* Reads float32 or float16. On failure prints one line `clattn: ARGUMENT: PATH: why` on stderr and
 * returns false; *array is then empty. `argument` is the option that named the file ("--q"). */
bool npy_read_floats(const char *argument, const char *path, npy_array *array);

/* An array of this shape, every element 0. false (with the line) where memory or sizes fail. */
bool npy_allocate(const char *argument, const int64_t *shape, uint32_t rank, npy_array *array);

void npy_finish(npy_array *array); /* an empty array is allowed */

#endif
