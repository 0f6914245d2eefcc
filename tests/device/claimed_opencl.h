/* The system's OpenCL library, whose first device claims to be of another kind or smaller: kernels
 * and configurations that a CPU wouldn't get. What it can't do it isn't asked for: a claim never
 * exceeds what there is. */
#ifndef TESTS_DEVICE_CLAIMED_OPENCL_H
#define TESTS_DEVICE_CLAIMED_OPENCL_H

#include <stdint.h>

#include <clattn/clattn.h>

/* 0: as the device says. */
typedef struct claimed_device {
    int is_gpu;
    uint64_t local_memory, work_group; /* bytes, work-items */
    uint32_t compute_units;
    const char *platform; /* name; NULL: its own */
    int refuses_wishes;   /* options for Intel's compiler are invalid, else they are ignored */
} claimed_device;

/* Builds so far that were asked for with options for Intel's compiler, and without. */
typedef struct claimed_builds {
    uint32_t wished, plain;
} claimed_builds;
claimed_builds claimed_count_builds(void);

/* A context of device 0 with these kernels, NULL: all. */
clattn_context *claimed_open(const claimed_device *claims, const char *kernel);

#endif
