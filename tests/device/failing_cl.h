/* The system's OpenCL library, of which single launches are refused and whole lanes are lost on
 * demand. Its state is the process's; Criterion gives each test its own. */
#ifndef TESTS_DEVICE_FAILING_CL_H
#define TESTS_DEVICE_FAILING_CL_H

#include <stdint.h>

#include <clattn/clattn.h>

/* Options of a context that uses it. */
void failing_cl_options(clattn_context_options *options);

/* Lanes made so far: queues that keep times. */
uint32_t failing_cl_lanes(void);

/* Bit i: the i-th launch of a kernel from now on (0: the next one) is refused. */
void failing_cl_refuse(uint64_t launches);
/* Launches asked for since then, refused ones included. */
uint32_t failing_cl_asked(void);

/* Bit i: the i-th launch of a kernel from now on is taken, isn't done, and ends badly; all that was
 * enqueued before and after it is well. */
void failing_cl_spoil(uint64_t at);
/* The same of what is written without waiting. */
void failing_cl_spoil_writes(uint64_t at);

/* Launches and markers of the `index`-th lane wait from now on until it is released. */
void failing_cl_hold(uint32_t index);
void failing_cl_release(uint32_t index);

/* How a lane fails, from now on. */
typedef enum failing_cl_way {
    FAILING_CL_REFUSES,    /* takes nothing more, and what is in flight never ends well */
    FAILING_CL_ENDS_BADLY, /* takes everything, and nothing ends well */
    FAILING_CL_ONCE        /* what is in flight ends badly, and from then on it is well again */
} failing_cl_way;

/* The `index`-th one of these, from 0. */
void failing_cl_lose(uint32_t index, failing_cl_way way);

/* Bit n: the n-th time that a device is looked at from now on (0: when a context of several devices
 * chooses them; 1: its first one; 2 and so on: the others) it claims to have memory of its own. */
void failing_cl_separate(uint32_t times);
/* Devices claim to have this many compute units; 0: what they have. */
void failing_cl_units(uint32_t units);
/* Devices claim to be GPUs, on which commands take so many times longer than they do; 0: what they
 * are. */
void failing_cl_claim_gpu(uint32_t longer);
/* Units of part `index` in the first call since then that divided a device by counts; 0: none. */
uint32_t failing_cl_part(uint32_t index);
/* How often it was asked how far a command is, so far. */
uint32_t failing_cl_status_asked(void);
/* Parts that were left to the application's events so far. */
uint32_t failing_cl_abandoned(void);
/* How often a queue was flushed so far. */
uint32_t failing_cl_flushes(void);
/* Programs made from source so far, in all contexts. */
uint32_t failing_cl_programs(void);
/* The n-th cl_context that is made from now on takes no program; -1: all do. */
void failing_cl_refuse_programs(int context);

#endif
