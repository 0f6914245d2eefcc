/* What a device can do, as plain numbers: all that a decision may look at. src/opencl fills it;
 * tests invent devices by filling it themselves. */
#ifndef CLATTN_BASE_CAPS_H
#define CLATTN_BASE_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include <clattn/clattn.h>

/* Which kind of kernel suits the device (design of kernels: docs/architecture.md). */
typedef enum clattn__family {
    CLATTN__SIMD, /* a work-item is a core with vectors: CPUs */
    CLATTN__TILE  /* a work-item is a lane: GPUs */
} clattn__family;

typedef struct clattn__caps {
    clattn_device_type type;
    clattn__family family;
    uint32_t compute_units;
    uint32_t vector_width;     /* native float vector, elements: 1, 2, 4, 8 or 16 */
    uint32_t vector_registers; /* registers of that width a core has: 16 or 32 */
    uint32_t opencl_c;         /* 120 for OpenCL C 1.2 */
    uint64_t local_memory;     /* bytes */
    uint64_t global_memory;    /* bytes */
    uint64_t max_allocation;   /* bytes */
    uint64_t cache;            /* bytes of global memory cache, 0: unknown */
    uint64_t max_work_group;   /* work-items */
    uint32_t memory_alignment; /* bytes that a slice of memory is aligned to */
    bool fp16, fp64, subgroups;
    bool unified_memory; /* host pointers can be used without copying */
    bool coherent_host;  /* wrapped host memory needs no mapping once an event is complete */
    bool coherent_pages; /* the same of host memory that begins and ends with a page */
    /* quirks: see src/opencl/quirk.c */
    bool driver_caches;  /* the driver keeps binaries itself, faster than we can */
    bool lazy_compile;   /* compiles at the first enqueue: warm up by an empty launch */
    bool early_writes;   /* blocking writes return before kernels on other queues see the bytes */
    bool no_prefetch;    /* the compiler dies of __builtin_prefetch */
    bool one_stream;     /* memory is read the fastest one row after the other */
    bool wide_registers; /* the compiler gives a work-item twice the registers if asked to */
    bool own_threads;    /* threads of the driver do the work, and whoever waits for it sleeps */
    bool frail_parts;    /* sub-devices end before events of their queues, which look at them */
    uint64_t
        launch_ns; /* how long a launch may take where a watchdog ends long ones; 0: any time */
} clattn__caps;

#endif
