/* What tests of linear operations share: a case in memory of any arrangement and type with NaN
 * around what is read, all three passes, packed weights, and the comparison with double precision.
 * Everything that goes wrong here fails the test. */
#ifndef TESTS_DEVICE_LINEAR_RIG_H
#define TESTS_DEVICE_LINEAR_RIG_H

#include <stdbool.h>

#include <clattn/layer.h>

#include "tests/oracle/storage.h"

/* How a matrix lies in memory. */
typedef enum linear_arrangement { PLAIN, TURNED, GAPS, BACKWARDS, LINEAR_FORMS } linear_arrangement;

typedef struct linear_case {
    int64_t batch, rows, in, out;
    oracle_type type;
    linear_arrangement x, w, y;
    bool bias, accumulate;
} linear_case;

/* A tensor in a larger allocation. Its elements are also there contiguous, as floats. */
typedef struct linear_array {
    int64_t extent[3], stride[3]; /* batch, row, column */
    int64_t origin, count;        /* elements: of (0, 0, 0) in memory, of memory */
    oracle_type type;
    void *memory, *before; /* (count) of the type */
    float *plain;          /* (extents) */
} linear_array;

/* The tensors of a case: x, W, b, y. */
enum { LINEAR_X, LINEAR_W, LINEAR_B, LINEAR_Y, LINEAR_ROLES };

typedef struct linear_trial {
    const linear_case *of;
    uint32_t pass;
    linear_array array[LINEAR_ROLES];
    double *expected[LINEAR_ROLES]; /* by role, as the next two */
    double *plain[LINEAR_ROLES];    /* of the plain computation */
    double *terms[LINEAR_ROLES];    /* sums of absolute values */
    clattn_linear_desc desc;
} linear_trial;

void linear_begin(linear_trial *t, const linear_case *of, uint32_t pass);
void linear_end(linear_trial *t);

/* On host memory, and with weights packed in one step for the next, which W isn't bound to. */
void linear_run(clattn_context *context, linear_trial *t);
void linear_run_packed(clattn_context *context, linear_trial *t);

/* Compares what was written, by the contract of docs/numerics.md, and that nothing else was. */
void linear_check(const linear_trial *t);

/* Each family of kernels, of the three passes. */
#define LINEAR_FAMILIES 3
extern const char *const linear_families[LINEAR_FAMILIES];
clattn_context *linear_open(size_t family);
/* Whether the device takes it: only the first, which is for CPUs, may be declined. */
bool linear_runs(clattn_context *context, size_t family);

void linear_good(clattn_status status);

#endif
