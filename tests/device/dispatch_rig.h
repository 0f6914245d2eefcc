/* What the tests of the dispatcher share: one query a head on slices of common buffers, and a long
 * submission that keeps the lane busy. */
#ifndef TESTS_DEVICE_DISPATCH_RIG_H
#define TESTS_DEVICE_DISPATCH_RIG_H

#ifdef CLATTN_PLAIN_TESTS
#include "plain_tests.h"
#else
#include <criterion/criterion.h>
#endif
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <clattn/clattn.h>

enum { DIM = 16, KEYS = 700, HEADS = 24 };

/* Attention of one query to `length` keys, each head with memory of its own in shared buffers. */
typedef struct heads {
    clattn_context *context;
    clattn_plan *plan[3]; /* of different scales and windows */
    clattn_buffer *q, *k, *v, *out;
    float *expected; /* (HEADS, DIM) */
} heads;

/* One head's step; bindings and length are the caller's memory. */
typedef struct head_step {
    clattn_binding bindings[5];
    int32_t length;
    uint64_t sequence;
} head_step;

/* A long submission that keeps the lane, so that what follows is held back. */
typedef struct blocker {
    clattn_plan *plan;
    clattn_buffer *memory;
    clattn_event *event;
} blocker;

void open_heads(heads *h, const clattn_context_options *options);
void close_heads(heads *h);
int32_t length_of(int head);
clattn_step step_of(const heads *h, int head, head_step *of);
clattn_dispatcher *open_dispatcher(const heads *h, const clattn_dispatcher_options *options);
/* `like` (may be NULL) has wait list, priority and times. */
clattn_event *submit_head(const heads *h, clattn_dispatcher *dispatcher, int head,
                          const clattn_submission *like, uint64_t sequence);
clattn_dispatcher_statistics statistics_of(clattn_dispatcher *dispatcher);
void forget_outputs(const heads *h);
/* Every head alone, one after the other; check_heads compares with that, to the bit. */
void expect_heads(heads *h);
void check_heads(const heads *h);
void block(heads *h, clattn_dispatcher *dispatcher, blocker *b, int64_t length);
/* The same in a sequence (0: none); `like` as above. */
void block_in(heads *h, clattn_dispatcher *dispatcher, blocker *b, int64_t length,
              const clattn_submission *like, uint64_t sequence);
void unblock(blocker *b);
/* Whether the device can be divided into so many parts, which the options ask for from now on. */
bool divides(clattn_context_options *options, uint32_t parts);
/* Heads, expected and forgotten, on the system's OpenCL as failing_cl.h has it, the device in
 * parts; false: it can't be divided. */
bool open_parts(heads *h, uint32_t parts);
/* Of two lanes the one on which something is in flight. */
uint32_t lane_in_flight(clattn_dispatcher *dispatcher);
/* Of a clock that never goes back. */
uint64_t now_ns(void);
/* How many there are, and a constant; 0: this system doesn't say. */
int threads_of_process(void);

#endif
