/* How close a result must be to the expected one, and whether it is. */
#ifndef COMPARE_H
#define COMPARE_H

#include "case.h"

/* |x - ref| <= absolute + relative * |ref| + of_largest * max(1, max |ref|), the maximum over the
 * finite entries of the tensor. Infinities and NaN must be the same. */
typedef struct tolerance {
    double absolute, relative, of_largest;
} tolerance;

/* The tolerance of an output; see tests/data/conformance/README.md. */
tolerance tolerance_of(const test_case *c, const case_array *output);

/* Names that begin with d are gradients. */
bool is_gradient(const test_case *c, const char *output);

/* x, ref: of the same shape. false: `why` (size bytes) names the worst element. */
bool compare_arrays(const npy_array *x, const npy_array *ref, tolerance allowed, char *why,
                    size_t size);

#endif
