/* A small problem with the caller's functions: 2 batch entries, 2 heads that share one of keys,
 * compared with the oracle's, which has the same functions in C. */
#ifndef TESTS_DEVICE_FUNCTIONS_RIG_H
#define TESTS_DEVICE_FUNCTIONS_RIG_H

#include "rig.h"

#define FUNCTIONS_BATCH  2
#define FUNCTIONS_HEADS  2
#define FUNCTIONS_DIM    16
#define FUNCTIONS_VALUES 24

typedef struct functions_size {
    int64_t n_q, n_kv;
    clattn_align align;
    int64_t align_offset;
} functions_size;

/* Texts for the device, and the same for the oracle; NULL: none. */
typedef struct functions_set {
    const char *score, *mask;
    oracle_score_fn score_function;
    oracle_mask_fn mask_function;
    int64_t (*params)(float *params, int64_t n_kv); /* fills them in, returns how many */
} functions_set;

typedef struct functions_trial {
    functions_set of;
    functions_size size;
    float *q, *k, *v, *params;  /* owned, as is what follows */
    float *out, *lse, *weights; /* (B, H, n_q, Dv), (B, H, n_q), (B, H, n_q, n_kv) */
    bool full;                  /* WEIGHTS take part, for which more kernels are compiled */
    int64_t n_params;
} functions_trial;

void functions_set_up(functions_trial *trial, const functions_set *of, const functions_size *size);
void functions_tear_down(functions_trial *trial);

/* The status of running it, with OUT, LSE and, if full, WEIGHTS. */
clattn_status functions_try(clattn_context *context, functions_trial *trial);
/* false: the kernel declined, which the reference kernel may not; other failures fail the test. */
bool functions_run(clattn_context *context, functions_trial *trial);
/* Compares with the oracle. */
void functions_check(const functions_trial *trial);
/* Whether OUT and LSE are the same bit by bit. */
bool functions_equal(const functions_trial *a, const functions_trial *b);

int64_t functions_offset(const functions_size *size);
/* Parameters 0, 1 and n_kv, for the test to change. */
int64_t functions_range_params(float *params, int64_t n_kv);

/* A file, and a copy of a text; the caller's to free. */
char *functions_read(const char *folder, const char *name);
char *functions_copy(const char *text);

#endif
