/* Reads arrays in NumPy's file format: versions 1 to 3, C order, little-endian, of the types that
 * test data uses. An array has its elements as the file stores them, for calls, and as doubles,
 * which hold all values of these files exactly, for comparisons. */
#ifndef NPY_H
#define NPY_H

#include <stddef.h>
#include <stdint.h>

#define NPY_MOST_DIMS 8

typedef struct npy_array {
    char type[3]; /* "f4", "f2", "i4", "i8" or "b1" */
    uint32_t rank;
    int64_t shape[NPY_MOST_DIMS]; /* (rank) */
    int64_t count;                /* elements */
    double *value;                /* (count), C order, owned */
    unsigned char *bytes;         /* (count) elements of `type`, C order, owned */
} npy_array;

/* Bytes of one element of the type, 0 if there is no such type. */
size_t npy_type_size(const char *type);

/* NULL on success, else a sentence, and *array is left alone. Free with npy_free(). */
const char *npy_read(const char *path, npy_array *array);

/* An array of the shape of `like` whose elements of `type` are copied from `bytes`; false: out of
 * memory, or no such type. Free with npy_free(). */
int npy_from_bytes(const npy_array *like, const char *type, const void *bytes, npy_array *array);

void npy_free(npy_array *array);

#endif
