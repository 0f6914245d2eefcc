/* The registry: kernels in order of preference. A kernel is plain functions of problem and caps;
 * compiling and launching is done by src/plan. To add one: docs/adding-a-kernel.md. */
#ifndef CLATTN_KERNELS_REGISTRY_H
#define CLATTN_KERNELS_REGISTRY_H

#include "base/caps.h"
#include "base/text.h"
#include "kernels/tunable.h"
#include "problem/problem.h"
#include "schedule/work_list.h"

#define CLATTN__MAX_LAUNCHES  7
#define CLATTN__MAX_ARGUMENTS 32
#define CLATTN__MAX_SCRATCH   8

/* The numbers that become macros, each "-D NAME=value"; the table is in macros.c. 0: not defined,
 * so that the kernel's own default holds. Those before dim_max can be tuned; the others follow from
 * problem and device. */
typedef struct clattn__config {
    uint32_t vec;            /* VEC: float vector width */
    uint32_t rows;           /* ROWS: query rows of the register tiles */
    uint32_t cols;           /* COLS: vectors of keys of the register tile of Q K^T */
    uint32_t value_cols;     /* VALUE_COLS: vectors of values of the register tile of P V */
    uint32_t block_m;        /* BLOCK_M: largest number of query rows of an item */
    uint32_t block_n;        /* BLOCK_N: keys */
    uint32_t block_k;        /* BLOCK_K: depth of a block of a product of matrices */
    uint32_t streams;        /* STREAMS: rows of keys or values that are read at the same time */
    uint32_t dim_max;        /* DIM_MAX: bound of head_dim and value_dim, 64, 128, 256 or 576 */
    uint32_t full;           /* FULL: 1 if options beyond the plain form are compiled in */
    uint32_t storage;        /* STORAGE: CLATTN_D_* of keys and values */
    uint32_t stages;         /* STAGES: slices of matrices in local memory */
    uint32_t scale_channels; /* SCALE_CHANNELS: elements that share a scale, 0: a row */
    uint32_t score_function; /* SCORE_FUNCTION, MASK_FUNCTION: 1 if the caller's text is */
    uint32_t mask_function;
    uint32_t score_gradient; /* SCORE_GRADIENT: 1 if the caller's derivative is */
    uint32_t group_size;     /* WG_SIZE: work-items of a group */
    /* Not macros: read by the kernel at run time. */
    uint32_t block_rows; /* queries of a block, at most block_m */
    uint32_t item_rows;  /* queries of an item, whole blocks */
    uint32_t range_keys; /* keys of an item of gradients, and how many it has at a time */
    uint32_t key_block;
    uint32_t item_columns; /* of a product of matrices, item_rows beside it */
    uint32_t fused;        /* 1: attention packs keys and values itself, in one launch */
} clattn__config;

/* Where a kernel argument comes from. */
typedef enum clattn__source {
    CLATTN__ARG_TENSOR, /* memory of tensor `tensor` (CLATTN_T_*): a slot's, or the workspace's;
                           NULL if the slot takes no part */
    CLATTN__ARG_BASE,   /* clattn_base by value */
    CLATTN__ARG_ROWS,   /* __global const clattn_problem_row * */
    CLATTN__ARG_ITEMS,  /* __global const clattn_work_item *, of this launch's tiling */
    CLATTN__ARG_FIRST,  /* uint: index of this launch's first item in the table */
    CLATTN__ARG_COUNT   /* uint: number of items; groups beyond it return at once, 0 = warm-up */
} clattn__source;

typedef struct clattn__launch_argument {
    clattn__source source;
    uint32_t tensor; /* CLATTN_T_*, for CLATTN__ARG_TENSOR */
} clattn__launch_argument;

/* One launch: group i of the launch works on item first + i. Its file is a program of its own, so
 * that plans which differ elsewhere share it. */
typedef struct clattn__launch {
    const char *file;      /* path below cl/ */
    const char *function;  /* name of the __kernel and stem of its file */
    bool light;            /* see clattn__work_costs */
    clattn__config config; /* what of the variant's the file uses */
    clattn__tiling tiling;
    uint32_t argument_count;
    clattn__launch_argument argument[CLATTN__MAX_ARGUMENTS];
} clattn__launch;

/* Memory of a scratch tensor (CLATTN_T_SLOTS and on), or of Q where attention rotates it first. */
typedef struct clattn__scratch {
    uint32_t tensor; /* CLATTN_T_* */
    int32_t slot;    /* >= 0: not scratch after all but this slot's memory and strides */
    bool turned;     /* with a slot: strides are those below */
    uint64_t offset; /* elements from the beginning of the workspace */
    int64_t stride[CLATTN_RANK_LIMIT];
} clattn__scratch;

/* All that a kernel decides about a problem on a device. */
typedef struct clattn__variant {
    clattn__config config;
    clattn__launch launch[CLATTN__MAX_LAUNCHES];
    uint32_t launch_count;
    clattn__scratch scratch[CLATTN__MAX_SCRATCH];
    uint32_t scratch_count;
    uint64_t workspace; /* bytes */
} clattn__variant;

typedef struct clattn__kernel {
    const char *name;
    clattn__kind kind;
    /* Accepts, or declines with a sentence appended to `reason`. NULL: accepts everything. */
    bool (*check)(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason);
    /* Chooses the numbers that are macros, of zeros. */
    void (*configure)(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config);
    /* Chooses what is not a macro, by those that are, which tuning may have changed. May be NULL.
     */
    void (*cut)(const clattn__problem *problem, const clattn__caps *caps, clattn__config *config);
    /* Lays out scratch memory: variant->scratch and ->workspace. May be NULL. */
    void (*workspace)(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant);
    /* Lists the launches. */
    void (*launches)(const clattn__problem *problem, clattn__variant *variant);
    const clattn__tunable *tunable; /* NULL: nothing can be tuned */
    /* Launches of several plans may become one: a group knows its item and that item's row, and
     * nothing goes by the group's number. */
    bool shares;
} clattn__kernel;

uint32_t clattn__kernel_count(void);
const clattn__kernel *clattn__kernel_get(uint32_t index); /* in order of preference */

/* Whether a list of names, separated by commas, has the kernel's. */
bool clattn__kernel_is_in(const clattn__kernel *kernel, const char *list);

/* Asks `check`: true, or false with a sentence appended to `reason`. */
bool clattn__kernel_accepts(const clattn__kernel *kernel, const clattn__problem *problem,
                            const clattn__caps *caps, clattn__text *reason);

/* Runs cut, workspace and launches of a kernel that has accepted, with what `configure` has chosen,
 * or tuning in its place. */
void clattn__kernel_make_variant(const clattn__kernel *kernel, const clattn__problem *problem,
                                 const clattn__caps *caps, const clattn__config *config,
                                 clattn__variant *variant);

/* The configuration as compiler options ("-D VEC=16 ...") and for people ("VEC=16 ..."). */
void clattn__config_macros(const clattn__config *config, clattn__text *text);
void clattn__config_describe(const clattn__config *config, clattn__text *text);

/* The numbers that can be tuned, for people, and from such a text: names that can't be tuned or
 * aren't known are left out; false where something isn't "NAME=number". */
void clattn__config_describe_tuned(const clattn__config *config, clattn__text *text);
bool clattn__config_parse_tuned(const char *text, clattn__config *config);

/* Takes over the numbers of `change` that can be tuned and aren't 0. */
void clattn__config_change(const clattn__config *change, clattn__config *config);

/* Whether `config` has a number wherever `other` has one, of those that can be tuned. */
bool clattn__config_is_whole(const clattn__config *config, const clattn__config *other);

/* Whether all that can be tuned is the same. */
bool clattn__config_same(const clattn__config *a, const clattn__config *b);

/* The row of the problem table that goes with a variant. */
void clattn__problem_row_fill(const clattn__problem *problem, const clattn__variant *variant,
                              clattn_problem_row *row);

#endif
