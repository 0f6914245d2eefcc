/* The jobs of the stress test: what they submit, and what they must leave in the memory of the
 * thread that submits them. Decode steps, prompts long enough to go in parts, chains of steps that
 * read each other's results, and sums, which show whether something was lost or has run twice. */
#ifndef TESTS_DEVICE_STRESS_JOBS_H
#define TESTS_DEVICE_STRESS_JOBS_H

#include "dispatch_rig.h"

typedef enum stress_kind {
    STRESS_DECODE, /* one query of one head */
    STRESS_PROMPT, /* causal attention of many queries */
    STRESS_CHAIN,  /* two heads, the second one's query is the first one's result; and a third */
    STRESS_SUM,    /* the gradient of weights, added to what is there; then a decode step */
    STRESS_KINDS
} stress_kind;

enum { STRESS_REGIONS = 16, STRESS_STEPS = 3 };

/* What all threads read. */
typedef struct stress_work {
    heads h;
    bool mixed; /* devices of different kinds: results are within a bound, not equal */
    clattn_plan *prompt_plan, *sum_plan;
    uint32_t prompt_launches;                      /* that a prompt is when it isn't divided */
    clattn_buffer *prompt;                         /* Q, K, V */
    clattn_buffer *terms;                          /* X and Y of the sum */
    float *prompt_expected, *chain_expected, *sum; /* as they are in stress_place.memory */
} stress_work;

/* What each head, prompt and chain gives alone. */
void stress_work_open(stress_work *work, const clattn_context_options *options);
void stress_work_close(stress_work *work);

/* A thread's own memory: results, and regions of sums. */
typedef struct stress_place {
    clattn_buffer *memory;
    uint32_t region, sums; /* the one in use, and how often it was added to */
} stress_place;

/* False: there is no memory. */
bool stress_place_open(const stress_work *work, stress_place *place);
/* The sum in use isn't known any more, since a device failed that had it: another one begins.
 * False: there is none left. */
bool stress_place_next_sum(stress_place *place);
/* Results, but no sums, become NaN. */
bool stress_place_forget(const stress_place *place);

/* Of one job. It points into itself: not to be copied. */
typedef struct stress_job {
    stress_kind kind;
    int head;
    clattn_step step[STRESS_STEPS];
    uint32_t steps;
    uint64_t sequence;
    head_step of[STRESS_STEPS];
    clattn_binding bindings[4];
} stress_job;

void stress_job_make(const stress_work *work, const stress_place *place, stress_kind kind, int head,
                     uint64_t sequence, stress_job *job);

/* What is wrong with what the job has left, NULL: nothing. If it didn't run, that is nothing. Sums
 * must be what place->sums says in any case. */
const char *stress_job_check(const stress_work *work, const stress_place *place,
                             const stress_job *job, bool ran);

/* Whether all heads have what they have alone. */
bool stress_heads_are_right(const stress_work *work);

#endif
