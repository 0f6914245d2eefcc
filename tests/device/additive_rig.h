/* What tests of additive attention share: random problems of every option, their memory in any
 * layout and type, one submission of the forward pass and its gradients, and the comparison with
 * the oracle. Everything that goes wrong here fails the test. */
#ifndef TESTS_DEVICE_ADDITIVE_RIG_H
#define TESTS_DEVICE_ADDITIVE_RIG_H

#include <stdbool.h>

#include <clattn/layer.h>

#include "tests/oracle/additive.h"

/* How tensors lie in memory. */
typedef enum additive_layout {
    ADDITIVE_CONTIGUOUS,
    ADDITIVE_REVERSED, /* the first dimension is the innermost one */
    ADDITIVE_STEPS     /* every second element, rows backwards */
} additive_layout;

typedef struct additive_form {
    int64_t batch, n_head, n_q, n_kv, channels, value_dim;
    bool bias, mask, q_lengths, kv_lengths, by_lse;
    bool forward;       /* no gradients */
    float size;         /* of Q, K and CHANNEL_BIAS: numbers in [-size, size); 0: 1 */
    float w_size;       /* of W_SCORE; 0: 1 */
    clattn_dtype dtype; /* of all tensors that may have one */
    additive_layout layout;
    uint32_t seed;
} additive_form;

/* Tensors that are read, as float32 in the order of their slots' shapes, and what was computed. */
typedef struct additive_problem {
    additive_form form;
    float *value[CLATTN_SLOT_LIMIT]; /* by slot, owned; NULL: takes no part */
    uint8_t *mask;                   /* (batch, n_head, n_q, n_kv), owned, or NULL */
    int32_t q_lengths[8], kv_lengths[8];
    int64_t count[CLATTN_SLOT_LIMIT]; /* elements, by slot */
} additive_problem;

void additive_make(const additive_form *form, additive_problem *problem);
void additive_free(additive_problem *problem);

/* Fills OUT, LSE, WEIGHTS and all gradients. Guards around what is written must stay. */
void additive_run(clattn_context *context, clattn_dispatcher *dispatcher,
                  additive_problem *problem);

/* The same in double precision, or plain; results by slot, owned by the caller. */
typedef struct additive_expected {
    double *value[CLATTN_SLOT_LIMIT];
} additive_expected;
void additive_expect(const additive_problem *problem, bool plain, additive_expected *expected);
void additive_expected_free(additive_expected *expected);

/* Compares all results; NaN and infinities must be the same. `scale`: of the usual bounds. */
void additive_check(const additive_problem *problem, double scale);

/* The largest error of a slot against `expected`, and the largest finite number there. */
double additive_error(const float *x, const double *expected, int64_t count, double *largest);

/* Calls body with a context for each family of kernels, of which additive_family() has the name. */
const char *additive_family(void);
typedef void (*additive_body)(clattn_context *context, clattn_dispatcher *dispatcher);
void additive_each_kernel(additive_body body);

#endif
