/* The options of attention as rows of a table, for tests that want each of them on every kernel:
 * what a row leaves out, varieties_make fills in. Memory, oracle and comparison are those of
 * tests/fuzz. */
#ifndef TESTS_DEVICE_VARIETIES_H
#define TESTS_DEVICE_VARIETIES_H

#include "tests/fuzz/check.h"
#include "tests/fuzz/problem.h"

/* Which tensors are not contiguous, and of which type. */
typedef enum variety_storage {
    VARIETY_F32,
    VARIETY_F16, /* all tensors that can be */
    VARIETY_BF16,
    VARIETY_MIXED,  /* Q f16, K bf16, V f16, OUT f32 */
    VARIETY_GAPS,   /* gaps between elements, rows and heads, some strides negative */
    VARIETY_SHARED, /* masks and biases broadcast over batch and heads */
    VARIETY_STORAGES
} variety_storage;

typedef struct variety {
    const char *name;
    uint64_t slots; /* optional ones */
    variety_storage storage;
    int64_t block;  /* width of blocks of a block list, queries and keys; 0: none */
    fuzz_problem p; /* what differs from 0; extents 0: the size's */
} variety;

extern const variety varieties[];
extern const size_t variety_count;

/* Extents of a problem. */
typedef struct variety_size {
    int64_t n_q, n_kv, head_dim, value_dim;
} variety_size;

#define VARIETY_BIT(slot) CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)
/* All outputs that are float32, but SCORES. */
#define VARIETY_OUTPUTS                                                                            \
    (VARIETY_BIT(LSE) | VARIETY_BIT(WEIGHTS) | VARIETY_BIT(WEIGHTS_MEAN) | VARIETY_BIT(WEIGHTS_SUM))

/* A problem of 3 batch entries and 2 heads that share one of keys; index: of its random contents.
 */
void variety_make(const variety *of, const variety_size *size, uint64_t slots, uint64_t index,
                  fuzz_problem *p);

/* Makes of a problem that of its gradients: all that there are, with GRAD_LSE at odd indices. */
void variety_take_gradient(fuzz_problem *p);

/* Every kernel for attention on every device; a test opens them first and closes them last. */
void variety_open(void);
void variety_open_gradients(void); /* the same of kernels for gradients */
void variety_open_kernel(const char *kernel, bool gradients); /* this one alone */
/* The same with one target a device, which has all kernels: for what has no choice of kernels. */
void variety_open_devices(void);
/* Fails where a target has declined everything. */
void variety_close(void);
extern fuzz_target variety_target[];
extern uint32_t variety_targets;

/* Runs on every target as fuzz_check does, and fails the test unless all is good; `set` may have
 * other contents than p's. Only the reference kernel must accept. Returns whether OUT had to have a
 * NaN. */
bool variety_check(const fuzz_problem *p, const fuzz_set *set, const char *name);

#endif
