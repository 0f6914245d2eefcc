/* The kinds of cases and how each is computed with clattn's public functions. A kind is a row of
 * the table in kinds.c and a function in a file of its own. */
#ifndef KINDS_H
#define KINDS_H

#include <clattn/clattn.h>

#include "case.h"

/* What was computed for one output of the case. */
typedef struct result {
    bool wanted;
    bool computed;
    bool declined; /* not computed, because the library (or the one kernel allowed) doesn't take it
                    */
    npy_array array;  /* owned, if computed */
    char reason[320]; /* why not, otherwise; "" is the kind's word for "not supported yet" */
} result;

/* How a cache stores keys and values, and what error that allows: of the largest expected value, as
 * docs/numerics.md has it. */
typedef struct stored_as {
    const char *name;
    clattn_dtype dtype;
    int64_t scale_channels;
    double tolerance; /* 0: that of the case */
} stored_as;

/* The row of this name, NULL if there is none. */
const stored_as *stored_as_find(const char *name);

typedef struct results {
    const stored_as *stored;         /* NULL: as they are given */
    result output[CASE_MOST_ARRAYS]; /* (output_count of the case), in its order */
} results;

typedef struct kind {
    const char *name;
    /* Computes what it can of the wanted outputs; says for the rest why not. */
    void (*run)(clattn_context *context, const test_case *c, results *r);
} kind;

/* NULL for a kind that isn't known. */
const kind *kind_find(const char *name);

/* The result of an output by name; NULL if the case doesn't have it or it isn't wanted. */
result *results_find(const test_case *c, results *r, const char *name);
/* Sets the reason of each output that is wanted and not computed. */
void results_decline(const test_case *c, results *r, const char *format, ...);
/* The same where the library said CLATTN_ERR_UNSUPPORTED; the reason is its message. */
void results_decline_by_library(const test_case *c, results *r);
void results_finish(const test_case *c, results *r);

/* The kinds' functions. */
void run_attention(clattn_context *context, const test_case *c, results *r);
void run_ragged(clattn_context *context, const test_case *c, results *r);
void run_multi_head(clattn_context *context, const test_case *c, results *r);
void run_multiplicative(clattn_context *context, const test_case *c, results *r);
void run_additive(clattn_context *context, const test_case *c, results *r);
void run_decode(clattn_context *context, const test_case *c, results *r);
void run_top_k(clattn_context *context, const test_case *c, results *r);
void run_onnx(clattn_context *context, const test_case *c, results *r);

#endif
