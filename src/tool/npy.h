/* Arrays in NumPy's .npy format, versions 1 to 3, of either byte order, in C or Fortran order.
 * Anything that is not understood is refused with a sentence. Format: NumPy enhancement proposal 1.
 */
#ifndef CLATTN_TOOL_NPY_H
#define CLATTN_TOOL_NPY_H

#include <stdbool.h>
#include <stdint.h>

#define NPY_MOST_DIMS 8

/* One of data, integers and bools has the elements, in C order, aligned to 64 bytes, never NULL;
 * the function that makes the array says which. The others are NULL. */
typedef struct npy_array {
    uint32_t rank;
    int64_t shape[NPY_MOST_DIMS]; /* (rank) */
    int64_t count;                /* elements; 1 for rank 0 */
    float *data;                  /* (count) */
    int64_t *integers;            /* (count) */
    uint8_t *bools;               /* (count), 0 or 1 */
    bool whole;                   /* data has int32 in the place of float */
    void *memory;                 /* that they lie in, owned */
} npy_array;

/* Each reads a file of one kind: float32 or float16 into data, int32 or int64 into integers, bool
 * into bools. On failure prints one line `clattn: ARGUMENT: PATH: why` on stderr and returns false;
 * *array is then empty. `argument` is the option that named the file ("--q"). */
bool npy_read_floats(const char *argument, const char *path, npy_array *array);
bool npy_read_integers(const char *argument, const char *path, npy_array *array);
bool npy_read_bools(const char *argument, const char *path, npy_array *array);

/* Floats of this shape, every element 0. false (with the line) where memory or sizes fail. */
bool npy_allocate(const char *argument, const int64_t *shape, uint32_t rank, npy_array *array);

void npy_finish(npy_array *array); /* an empty array is allowed */

#endif
