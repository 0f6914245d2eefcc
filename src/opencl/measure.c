/* What a device reaches: multiply-adds, reading memory, launching. The best of several runs, since
 * whatever else the machine does only makes it slower. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "opencl/queue.h"

#define REPETITIONS 7
/* Bytes read: more than any cache holds, but no more than the device allows. */
#define READ_BYTES  ((uint64_t)256 << 20)
#define GROUPS_EACH 8 /* work-groups for each compute unit */
#define LAUNCHES    200

/* Shapes to try: the best counts. `vec` 0: the native width. */
static const struct {
    clattn__family family;
    uint32_t vec, chains, group_size;
} fma_shapes[] = {
    {CLATTN__SIMD, 0, 8, 1},
    {CLATTN__SIMD, 0, 12, 1},
    {CLATTN__TILE, 1, 16, 64},
    {CLATTN__TILE, 4, 4, 64},
};

/* Memory and queue of a measurement. */
typedef struct bench {
    clattn__device *device;
    clattn__queue *queue;
    clattn__program *program; /* of the kernel that is measured now */
    clattn__memory *values;   /* READ_BYTES, or less on small devices */
    clattn__memory *out;      /* a float for each work-item */
} bench;

static clattn_status get_function(bench *of, const char *file, const char *macros,
                                  clattn__function **function)
{
    char name[64], label[160];
    const char *stem = strrchr(file, '/') + 1;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(stem, "."), stem);
    snprintf(label, sizeof label, "%s %s", name, macros);
    const clattn__program_request request = {
        .sources = {.files = &file, .file_count = 1}, .macros = macros, .label = label};
    CLATTN__TRY(clattn__program_get(of->device, &request, &of->program, NULL));
    return clattn__program_function(of->program, name, function);
}

/* Launches once without timing, which may compile. */
static clattn_status warm_up(const bench *of, const clattn__launch_call *call)
{
    CLATTN__TRY(clattn__queue_launch(of->queue, call, NULL));
    CLATTN__TRY(clattn__queue_finish(of->queue));
    clattn__program_ready(of->program);
    return CLATTN_OK;
}

/* Seconds of the fastest of several launches, each waited for. */
static clattn_status time_best(const bench *of, const clattn__launch_call *call, double *seconds)
{
    double best = 0;
    CLATTN__TRY(warm_up(of, call));
    for (int i = 0; i < REPETITIONS; i++) {
        const uint64_t start = clattn__now_ns();
        CLATTN__TRY(clattn__queue_launch(of->queue, call, NULL));
        CLATTN__TRY(clattn__queue_finish(of->queue));
        const double passed = (double)(clattn__now_ns() - start) * 1e-9;
        if (i == 0 || passed < best)
            best = passed;
    }
    *seconds = best;
    return CLATTN_OK;
}

static clattn__argument memory_argument(const clattn__memory *memory)
{
    return (clattn__argument){.memory = clattn__memory_cl(memory)};
}

/* Lengthens the launch until it takes some milliseconds. */
static clattn_status measure_fma(bench *of, size_t shape, double *gflops)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    const uint32_t vec = fma_shapes[shape].vec ? fma_shapes[shape].vec : caps->vector_width;
    const uint32_t chains = fma_shapes[shape].chains, group_size = fma_shapes[shape].group_size;
    uint32_t iterations = 1 << 14;
    char macros[96];
    double seconds = 0;
    snprintf(macros, sizeof macros, "-D VEC=%u -D CHAINS=%u -D WG_SIZE=%u", (unsigned)vec,
             (unsigned)chains, (unsigned)group_size);
    const clattn__argument arguments[] = {memory_argument(of->values),
                                          memory_argument(of->out),
                                          {.bytes = &iterations, .size = sizeof iterations}};
    clattn__launch_call call = {.arguments = arguments,
                                .argument_count = 3,
                                .groups = (uint64_t)caps->compute_units * GROUPS_EACH,
                                .group_size = group_size};
    CLATTN__TRY(get_function(of, "measure/fma_peak.cl", macros, &call.function));
    for (; iterations < (1u << 24); iterations *= 4) {
        CLATTN__TRY(time_best(of, &call, &seconds));
        if (seconds > 5e-3)
            break;
    }
    *gflops = 2e-9 * iterations * chains * vec * group_size * (double)call.groups / seconds;
    return CLATTN_OK;
}

static clattn_status measure_fma_best(bench *of, double *gflops)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    *gflops = 0;
    for (size_t i = 0; i < sizeof fma_shapes / sizeof fma_shapes[0]; i++) {
        double reached;
        if (fma_shapes[i].family != caps->family || fma_shapes[i].group_size > caps->max_work_group)
            continue;
        CLATTN__TRY(measure_fma(of, i, &reached));
        if (reached > *gflops)
            *gflops = reached;
    }
    return CLATTN_OK;
}

static clattn_status measure_read(bench *of, double *gbytes)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    const bool lanes = caps->family == CLATTN__TILE && caps->max_work_group >= 64;
    const uint32_t group_size = lanes ? 64 : 1, vec = lanes ? 4 : caps->vector_width;
    const uint64_t groups = (uint64_t)caps->compute_units * GROUPS_EACH;
    const uint64_t step = 4 * (uint64_t)vec * group_size;
    const uint32_t span =
        (uint32_t)(clattn__memory_size(of->values) / sizeof(float) / groups / step * step);
    char macros[64];
    double seconds;
    snprintf(macros, sizeof macros, "-D VEC=%u -D WG_SIZE=%u", (unsigned)vec, (unsigned)group_size);
    const clattn__argument arguments[] = {memory_argument(of->values),
                                          memory_argument(of->out),
                                          {.bytes = &span, .size = sizeof span}};
    clattn__launch_call call = {
        .arguments = arguments, .argument_count = 3, .groups = groups, .group_size = group_size};
    CLATTN__TRY(get_function(of, "measure/read_bandwidth.cl", macros, &call.function));
    CLATTN__TRY(time_best(of, &call, &seconds));
    *gbytes = 1e-9 * sizeof(float) * span * (double)groups / seconds;
    return CLATTN_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static clattn_status measure_launch(bench *of, clattn_device_measurement *measurement)
{
    double passed[LAUNCHES];
    clattn__launch_call call = {.groups = 1, .group_size = 1};
    CLATTN__TRY(get_function(of, "measure/empty.cl", "", &call.function));
    CLATTN__TRY(warm_up(of, &call));
    for (int i = 0; i < LAUNCHES; i++) {
        const uint64_t start = clattn__now_ns();
        CLATTN__TRY(clattn__queue_launch(of->queue, &call, NULL));
        CLATTN__TRY(clattn__queue_finish(of->queue));
        passed[i] = (double)(clattn__now_ns() - start);
    }
    qsort(passed, LAUNCHES, sizeof passed[0], by_value);
    measurement->launch_us = passed[LAUNCHES / 2] * 1e-3;
    const uint64_t start = clattn__now_ns();
    for (int i = 0; i < LAUNCHES; i++)
        CLATTN__TRY(clattn__queue_launch(of->queue, &call, NULL));
    CLATTN__TRY(clattn__queue_finish(of->queue));
    measurement->enqueue_us = (double)(clattn__now_ns() - start) * 1e-3 / LAUNCHES;
    return CLATTN_OK;
}

/* Memory that was never written may all be one page of zeros, so every page is written; with
 * values that keep the chains of multiply-adds finite. */
static clattn_status fill_values(const bench *of)
{
    enum { CHUNK = 1 << 18 };
    const clattn__env *env = clattn__device_env(of->device);
    float *chunk = clattn__alloc(env, CHUNK * sizeof *chunk);
    if (!chunk)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (size_t i = 0; i < CHUNK; i++)
        chunk[i] = 0.5f;
    clattn_status status = CLATTN_OK;
    const uint64_t size = clattn__memory_size(of->values), step = CHUNK * sizeof *chunk;
    for (uint64_t at = 0; at < size && status == CLATTN_OK; at += step)
        status = clattn__memory_write(of->values, at, chunk, size - at < step ? size - at : step);
    clattn__free(env, chunk);
    return status;
}

static clattn_status measure_all(bench *of, clattn_device_measurement *measurement)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    uint64_t size = READ_BYTES;
    while (size > caps->max_allocation || size > caps->global_memory / 4)
        size /= 2;
    if (size < 1024)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "the device has too little memory");
    CLATTN__TRY(clattn__queue_create(of->device, &of->queue));
    CLATTN__TRY(clattn__memory_create(of->device, size, &of->values));
    CLATTN__TRY(clattn__memory_create(
        of->device, sizeof(float) * 64 * GROUPS_EACH * (uint64_t)caps->compute_units, &of->out));
    CLATTN__TRY(fill_values(of));
    CLATTN__TRY(measure_fma_best(of, &measurement->fma_gflops));
    CLATTN__TRY(measure_read(of, &measurement->read_gbytes));
    return measure_launch(of, measurement);
}

clattn_status clattn__device_measure(clattn__device *device, clattn_device_measurement *measurement)
{
    bench of = {.device = device};
    clattn_device_measurement made = {.struct_size = sizeof made};
    const clattn_status status = measure_all(&of, &made);
    clattn__queue_destroy(of.queue);
    clattn__memory_release(of.out);
    clattn__memory_release(of.values);
    if (status == CLATTN_OK)
        *measurement = made;
    return status;
}
