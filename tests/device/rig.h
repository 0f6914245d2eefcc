/* What device tests share: every kernel on every device, problems whose tensors lie anywhere in a
 * larger allocation, both ways of calling, and the comparison with the double-precision oracle.
 * Everything that goes wrong here fails the test. */
#ifndef TESTS_DEVICE_RIG_H
#define TESTS_DEVICE_RIG_H

#include <stdbool.h>

#include <clattn/clattn.h>

#include "tests/oracle/oracle.h"

#define RIG_SLOTS 6 /* slots that a problem of the rig may have, Q to WEIGHTS */
#define RIG_FULL  (CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS))
#define RIG_BOUND 1e-5 /* error allowed, times max(1, largest expected value) */

typedef struct rig_shape {
    int64_t batch, n_head, n_kv_head, n_q, n_kv, head_dim, value_dim;
    clattn_align align; /* CLATTN_ALIGN_NONE: not causal */
} rig_shape;

/* How a tensor lies in memory. All zero but `order` and `step`: contiguous. */
typedef struct rig_layout {
    const char *name;
    int order[4];                 /* dimensions, the outermost first */
    int64_t before[4], behind[4]; /* room around the tensor in each dimension */
    int64_t step;                 /* elements from one to the next of the innermost dimension */
    uint32_t reversed;            /* bit d: dimension d runs backwards */
    uint32_t broadcast;           /* bit d: stride 0, for tensors that are read */
} rig_layout;

extern const rig_layout rig_contiguous;

/* A tensor in an allocation that begins before it and goes on behind it. */
typedef struct rig_tensor {
    uint32_t rank; /* 0: takes no part */
    int64_t extent[4], stride[4];
    int64_t origin, count; /* elements: of element (0, 0, ...) in `memory`, of `memory` */
    float *memory;         /* (count) owned, unless it is another tensor's */
    float *before;         /* (count) what `memory` was before the run, owned */
    bool shared;           /* `memory` is that of slot Q */
} rig_tensor;

typedef struct rig_problem {
    rig_shape shape;
    uint64_t slots; /* optional ones: 0 or RIG_FULL */
    bool has_scale;
    float scale;
    rig_tensor tensor[RIG_SLOTS]; /* by slot */
    float *input[3];              /* Q, K, V, contiguous, owned */
    oracle_problem expected;      /* filled by rig_expect, owned arrays */
} rig_problem;

/* What a failure message begins with, printf-like. */
void rig_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *rig_said(void);

/* Calls body for each kernel for attention on each device, with a context that uses this kernel
 * only (and attention_reference beside one that is made for some problems alone); rig_say has both
 * names, and may be extended. */
typedef void (*rig_body)(clattn_context *context, const char *kernel);
void rig_each_kernel(rig_body body);
/* The same without companions, for tests that go on where a kernel declines. */
void rig_each_kernel_alone(rig_body body);

/* A context with all kernels, of the device that CLATTN_DEVICE names, else of device 0. */
clattn_context *rig_open(void);
void rig_close(clattn_context *context);
/* Its devices are of one kind, so that results have the same bits whichever takes the work. */
bool rig_one_kind(clattn_context *context);

/* Numbers in [-1, 1) that are the same on every system. */
float rig_number(uint32_t *state);

/* Zeroes the problem and sets shape and slots. */
void rig_begin(rig_problem *problem, const rig_shape *shape, uint64_t slots);
/* Lays the tensor of a slot out: what is read gets numbers and NaN around them, what is written
 * gets NaN and guard values around it. */
void rig_lay_out(rig_problem *problem, clattn_slot slot, const rig_layout *layout);
/* rig_begin and rig_lay_out of all slots. */
void rig_make(rig_problem *problem, const rig_shape *shape, uint64_t slots,
              const rig_layout *layout);
void rig_free(rig_problem *problem);

/* Index of an element in tensor->memory. */
int64_t rig_index(const rig_tensor *tensor, const int64_t at[4]);
/* The elements in the order of their slot's shape, owned by the caller; *count counts them. */
float *rig_gather(const rig_tensor *tensor, int64_t *count);
/* Fills the outputs with NaN once more. */
void rig_forget(rig_problem *problem);

/* Computes what is expected of the inputs as they are now. */
void rig_expect(rig_problem *problem);
/* Compares the outputs with that; inputs and everything around tensors must be what it was. */
void rig_check(rig_problem *problem);

void rig_describe(const rig_problem *problem, clattn_attention_desc *desc);
/* The kernel that a plan of the context runs. */
void rig_expect_kernel(clattn_context *context, const clattn_attention_desc *desc,
                       const char *kernel);

/* The problem on host memory, by clattn_run. */
clattn_status rig_run(clattn_context *context, rig_problem *problem);

/* The problem with a plan and buffers of its own; `submission` has it as its only step. */
typedef struct rig_stage {
    rig_problem *problem; /* borrowed */
    clattn_plan *plan;
    clattn_buffer *buffer[RIG_SLOTS];
    clattn_binding binding[RIG_SLOTS];
    clattn_step step;
    clattn_submission submission;
} rig_stage;

/* Plans, creates the buffers and writes the tensors. CLATTN_ERR_UNSUPPORTED: the kernel declined,
 * and nothing was made. */
clattn_status rig_stage_make(clattn_context *context, rig_problem *problem, rig_stage *stage);
/* Reads the outputs back. */
void rig_stage_fetch(rig_stage *stage);
void rig_stage_free(rig_stage *stage);
/* A contiguous problem with all slots and its stage, which no kernel may decline. */
void rig_full_make(clattn_context *context, const rig_shape *shape, rig_problem *problem,
                   rig_stage *stage);
void rig_full_free(rig_problem *problem, rig_stage *stage);

/* One with the usual options; fails the test where there is none. */
clattn_dispatcher *rig_dispatcher(clattn_context *context);
/* Submits and waits; fails the test where that fails. */
void rig_submit(clattn_dispatcher *dispatcher, const clattn_submission *submission);
/* The same with a submission of one step. */
void rig_step(clattn_dispatcher *dispatcher, const clattn_plan *plan,
              const clattn_binding *bindings, uint32_t count);
/* A buffer with these contents; NULL: whatever is there. */
clattn_buffer *rig_filled(clattn_context *context, const void *data, uint64_t bytes);

/* A tensor of a plan, in a buffer while it runs: `bytes` from `data` are its contents before (NULL:
 * bytes of 0xff), and are what `result` gets afterwards (NULL: nothing). */
typedef struct rig_given {
    clattn_slot slot;
    const void *data;
    void *result;
    uint64_t bytes;
} rig_given;
/* Runs a plan of any kind and waits. */
void rig_run_plan(clattn_context *context, clattn_dispatcher *dispatcher, const clattn_plan *plan,
                  const rig_given *given, uint32_t count);

/* The problem from a plan to rig_stage_fetch, on a dispatcher of its own. */
clattn_status rig_run_staged(clattn_context *context, rig_problem *problem);

#endif
