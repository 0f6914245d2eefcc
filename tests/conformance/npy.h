/* Reads arrays in NumPy's file format: versions 1 to 3, C order, little-endian, of the types that
 * test data uses. Every type becomes double, which holds all values of these files exactly. */
#ifndef NPY_H
#define NPY_H

#include <stdint.h>

#define NPY_MOST_DIMS 8

typedef struct npy_array {
    char type[3]; /* "f4", "f2", "i4", "i8" or "b1" */
    uint32_t rank;
    int64_t shape[NPY_MOST_DIMS]; /* (rank) */
    int64_t count;                /* elements */
    double *value;                /* (count), C order, owned */
} npy_array;

/* NULL on success, else a sentence, and *array is left alone. Free with npy_free(). */
const char *npy_read(const char *path, npy_array *array);

/* An array of the shape of `like`, filled with NaN; false: out of memory. */
int npy_alloc_like(const npy_array *like, npy_array *array);

void npy_free(npy_array *array);

#endif
