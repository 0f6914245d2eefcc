/* What of a kernel can be tuned: classes of problems that share a configuration, configurations to
 * try, and which of them are possible at all. Tables and pure functions; src/plan measures. */
#ifndef CLATTN_KERNELS_TUNABLE_H
#define CLATTN_KERNELS_TUNABLE_H

#include "base/caps.h"
#include "problem/problem.h"

struct clattn__config; /* registry.h */

typedef struct clattn__problem_class {
    const char *name; /* without blanks: "dim=64,short" */
    /* The class before it whose bits its problems must have, because company of theirs may be in
     * it: the numbers that decide the order of sums are the leader's. -1: its own. */
    int32_t leader;
    uint32_t weight; /* share of the time for tuning; 0: is not searched, only follows its leader */
    bool quick;      /* takes part when there is little time */
} clattn__problem_class;

/* Configurations to try one after another, each a change of the best so far: 0 leaves a number as
 * it is. */
typedef struct clattn__tuning_step {
    const struct clattn__config *rows; /* (count) */
    uint32_t count;
} clattn__tuning_step;

typedef struct clattn__tunable {
    const clattn__problem_class *classes; /* (class_count) in order of importance */
    uint32_t class_count;
    const clattn__tuning_step *steps; /* (step_count) */
    uint32_t step_count;
    /* An index of `classes`; `config` is as configured. */
    uint32_t (*class_of)(const clattn__problem *problem, const struct clattn__config *config);
    /* Whether the kernel's guards accept the configuration and the device has room for it. */
    bool (*fits)(const struct clattn__config *config, const clattn__caps *caps);
    /* Takes over the leader's numbers that decide the order of sums. NULL where no class has one.
     */
    void (*follow)(const struct clattn__config *leader, struct clattn__config *config);
    /* Problem `index` to measure a class by; false: there are no more. Runs of a millisecond find
     * gaps between what else the machine does. Slots are of floats or masks. */
    bool (*sample)(uint32_t class_index, uint32_t index, const clattn__caps *caps,
                   clattn__problem *problem);
} clattn__tunable;

/* A step that tries the rows of an array. */
#define CLATTN__TUNING_STEP(rows)                                                                  \
    {                                                                                              \
        rows, sizeof rows / sizeof rows[0]                                                         \
    }

/* Whether kernels are made for vectors of this width, and the device has them: 4 floats are
 * everywhere, as several operations where need be. */
static inline bool clattn__tunable_vector(uint32_t vec, const clattn__caps *caps)
{
    return vec == 4 || ((vec == 8 || vec == 16) && vec <= caps->vector_width);
}

/* The most problems that a class is measured by. */
#define CLATTN__MOST_SAMPLES 4

#endif
