/* What a device reaches: multiply-adds, reading memory, launching. Whatever else the machine does
 * only makes it slower, so each figure but the launch's is the best of many short runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "opencl/queue.h"

/* A timed run is made this long, so that starting and waiting for it, some 20 us, hardly count. */
#define RUN_SECONDS 1.5e-3
#define LONGER_ROW  3 /* times that */
/* A device that takes this long for a part of the memory is too slow for caches to matter. */
#define LONG_SECONDS 25e-3
#define LEAST_RUNS   3
#define MOST_RUNS    256
#define SETTLE_EACH  24 /* rows */
#define MOST_AMOUNT  (1u << 24)
/* How long to go on looking for a better run. */
#define TRIAL_SECONDS  0.05 /* which shape is the fastest */
#define FINAL_SECONDS  0.2  /* how fast it is */
#define LAUNCH_SECONDS 0.05
#define SETTLE_SECONDS 0.03
/* Bytes read: more than usual caches hold, four times what the device says its cache holds, but
 * no more than MOST_READ_BYTES and what the device allows. */
#define READ_BYTES      ((uint64_t)256 << 20)
#define MOST_READ_BYTES ((uint64_t)1 << 30)
/* Work-groups for each compute unit: many, so that all units end at the same time. */
#define GROUPS_EACH  32
#define READ_GROUPS  128
#define READ_AT_ONCE 8 /* vectors; the same in read_bandwidth.cl */
#define MOST_GROUP   64
#define LAUNCHES     200 /* empty ones, at most */
#define IN_A_ROW     50

/* Shapes to try: the best counts. `vec` 0: the native width, which drivers don't always know, so
 * both widths of today's x86 are tried too. To hide a latency of 4 cycles on 2 pipes takes 8 chains
 * of native vectors; 12 and the factor fit into 16 registers. */
static const struct {
    clattn__family family;
    uint32_t vec, chains, group_size;
} fma_shapes[] = {
    {CLATTN__SIMD, 0, 8, 1},   {CLATTN__SIMD, 0, 12, 1},         {CLATTN__SIMD, 8, 12, 1},
    {CLATTN__SIMD, 16, 12, 1}, {CLATTN__TILE, 4, 4, MOST_GROUP}, {CLATTN__TILE, 4, 8, MOST_GROUP},
};
#define FMA_SHAPES (sizeof fma_shapes / sizeof fma_shapes[0])

/* Memory and queue of a measurement. */
typedef struct bench {
    clattn__device *device;
    clattn__queue *queue;
    clattn__program *program; /* of the kernel that is measured now */
    clattn__memory *values;   /* read */
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

/* Launches of a kernel that are timed together. */
typedef struct series {
    const clattn__launch_call *call;
    uint32_t launches; /* in a row, then waited for */
    uint32_t *amount;  /* the argument on which the length of a launch depends; at least 1 */
} series;

static clattn_status time_row(const bench *of, const series *row, double *seconds)
{
    const uint64_t start = clattn__now_ns();
    for (uint32_t i = 0; i < row->launches; i++)
        CLATTN__TRY(clattn__queue_launch(of->queue, row->call, NULL));
    CLATTN__TRY(clattn__queue_finish(of->queue));
    *seconds = (double)(clattn__now_ns() - start) * 1e-9;
    return CLATTN_OK;
}

/* One launch that takes so long that the system gives each busy thread of a CPU device a core:
 * two that sleep and wake every few milliseconds may stay on one core for hundreds. */
static clattn_status settle(const bench *of, const series *row)
{
    const uint32_t amount = *row->amount;
    const series once = {row->call, 1, row->amount};
    double seconds;
    CLATTN__TRY(time_row(of, &once, &seconds));
    if (seconds * 2 > SETTLE_SECONDS)
        return CLATTN_OK;
    const double longer = amount * SETTLE_SECONDS / (seconds + 1e-9);
    *row->amount = longer < MOST_AMOUNT ? (uint32_t)longer : MOST_AMOUNT;
    const clattn_status status = time_row(of, &once, &seconds);
    *row->amount = amount;
    return status;
}

/* Seconds of one launch in the fastest of the rows that `budget` seconds have room for. Every other
 * row is longer: short ones fit between what else the machine does, long ones count the start and
 * the wait less. */
static clattn_status time_best(const bench *of, const series *row, double budget, double *seconds)
{
    const series longer = {row->call, LONGER_ROW * row->launches, row->amount};
    double best = 0, spent = 0;
    for (int i = 0; i < MOST_RUNS && (i < LEAST_RUNS || spent < budget); i++) {
        const series *timed = i % 2 == 1 && spent < budget ? &longer : row;
        double passed;
        if (i % SETTLE_EACH == 0)
            CLATTN__TRY(settle(of, row));
        CLATTN__TRY(time_row(of, timed, &passed));
        spent += passed;
        passed /= timed->launches;
        if (i == 0 || passed < best)
            best = passed;
    }
    *seconds = best;
    return CLATTN_OK;
}

/* Doubles `*what` while it stays within `most`, until a row takes `least` seconds. */
static clattn_status lengthen(const bench *of, const series *row, uint32_t *what, uint32_t most,
                              double least)
{
    for (; *what <= most / 2; *what *= 2) {
        double passed;
        CLATTN__TRY(time_row(of, row, &passed));
        if (passed >= least)
            break;
    }
    return CLATTN_OK;
}

static clattn__argument memory_argument(uint32_t index, const clattn__memory *memory)
{
    return (clattn__argument){.index = index, .memory = clattn__memory_cl(memory)};
}

/* Where `values` and `out` begin in their cl_mems, elements. */
typedef struct begins {
    uint64_t values, out;
} begins;

static begins begins_of(const bench *of)
{
    return (begins){clattn__memory_offset(of->values) / sizeof(float),
                    clattn__memory_offset(of->out) / sizeof(float)};
}

/* The device's vectors, of at least the 4 lanes that common/vector.h has. */
static uint32_t native_vec(const clattn__caps *caps)
{
    return caps->vector_width < 4 ? 4 : caps->vector_width;
}

/* Work-items of a group, where `wanted` are wanted. */
static uint32_t group_size_of(const clattn__caps *caps, uint32_t wanted)
{
    return wanted <= caps->max_work_group ? wanted : 1;
}

/* GF/s of one shape, looked for during `budget` seconds. */
static clattn_status measure_fma(bench *of, size_t shape, double budget, double *gflops)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    const uint32_t vec = fma_shapes[shape].vec ? fma_shapes[shape].vec : native_vec(caps);
    const uint32_t chains = fma_shapes[shape].chains;
    const uint32_t group_size = group_size_of(caps, fma_shapes[shape].group_size);
    const begins begin = begins_of(of);
    uint32_t iterations = 64;
    char macros[96];
    double seconds;
    snprintf(macros, sizeof macros, "-D VEC=%u -D CHAINS=%u -D WG_SIZE=%u", (unsigned)vec,
             (unsigned)chains, (unsigned)group_size);
    const clattn__argument arguments[] = {
        memory_argument(0, of->values),
        memory_argument(1, of->out),
        {.index = 2, .bytes = &begin, .size = sizeof begin},
        {.index = 3, .bytes = &iterations, .size = sizeof iterations}};
    clattn__launch_call call = {.arguments = arguments,
                                .argument_count = 4,
                                .groups = (uint64_t)caps->compute_units * GROUPS_EACH,
                                .group_size = group_size};
    const series row = {&call, 1, &iterations};
    CLATTN__TRY(get_function(of, "measure/fma_peak.cl", macros, &call.function));
    CLATTN__TRY(warm_up(of, &call));
    CLATTN__TRY(lengthen(of, &row, &iterations, MOST_AMOUNT, RUN_SECONDS));
    CLATTN__TRY(time_best(of, &row, budget, &seconds));
    *gflops = 2e-9 * iterations * chains * vec * group_size * (double)call.groups / seconds;
    return CLATTN_OK;
}

/* Whether a shape suits the device and isn't one that was tried before. */
static bool is_tried(const clattn__caps *caps, size_t shape)
{
    return fma_shapes[shape].family == caps->family && fma_shapes[shape].vec != native_vec(caps);
}

static clattn_status measure_fma_best(bench *of, double *gflops)
{
    size_t best_shape = 0;
    double best = 0, reached;
    for (size_t i = 0; i < FMA_SHAPES; i++) {
        if (!is_tried(clattn__device_caps(of->device), i))
            continue;
        CLATTN__TRY(measure_fma(of, i, TRIAL_SECONDS, &reached));
        if (reached > best) {
            best = reached;
            best_shape = i;
        }
    }
    CLATTN__TRY(measure_fma(of, best_shape, FINAL_SECONDS, &reached));
    *gflops = reached > best ? reached : best;
    return CLATTN_OK;
}

static clattn_status measure_read(bench *of, double *gbytes)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    const bool lanes = caps->family == CLATTN__TILE;
    const uint32_t group_size = lanes ? group_size_of(caps, MOST_GROUP) : 1;
    const uint32_t vec = lanes ? 4 : native_vec(caps);
    const begins begin = begins_of(of);
    const uint64_t count = clattn__memory_size(of->values) / sizeof(float);
    const uint64_t step = READ_AT_ONCE * (uint64_t)vec * group_size;
    uint64_t groups = (uint64_t)caps->compute_units * READ_GROUPS;
    uint32_t passes = 1;
    char macros[64];
    double seconds;
    while (groups > 1 && groups > count / step)
        groups /= 2;
    const uint32_t most_span = (uint32_t)(count / groups / step * step);
    uint32_t span = (uint32_t)(most_span / 64 / step * step);
    if (!span)
        span = (uint32_t)step;
    snprintf(macros, sizeof macros, "-D VEC=%u -D WG_SIZE=%u", (unsigned)vec, (unsigned)group_size);
    const clattn__argument arguments[] = {memory_argument(0, of->values),
                                          memory_argument(1, of->out),
                                          {.index = 2, .bytes = &begin, .size = sizeof begin},
                                          {.index = 3, .bytes = &span, .size = sizeof span},
                                          {.index = 4, .bytes = &passes, .size = sizeof passes}};
    clattn__launch_call call = {
        .arguments = arguments, .argument_count = 5, .groups = groups, .group_size = group_size};
    series row = {&call, 1, &passes};
    CLATTN__TRY(get_function(of, "measure/read_bandwidth.cl", macros, &call.function));
    CLATTN__TRY(warm_up(of, &call));
    CLATTN__TRY(lengthen(of, &row, &span, most_span, LONG_SECONDS));
    CLATTN__TRY(lengthen(of, &row, &row.launches, 1024, RUN_SECONDS));
    CLATTN__TRY(time_best(of, &row, FINAL_SECONDS, &seconds));
    *gbytes = 1e-9 * sizeof(float) * span * (double)groups / seconds;
    return CLATTN_OK;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of single launches, as a caller meets them; the best of launches in a row. */
static clattn_status measure_launch(bench *of, clattn_device_measurement *measurement)
{
    double passed[LAUNCHES], spent = 0, one;
    uint32_t nothing = 1;
    size_t count = 0;
    clattn__launch_call call = {.groups = 1, .group_size = 1};
    const series once = {&call, 1, &nothing}, in_a_row = {&call, IN_A_ROW, &nothing};
    CLATTN__TRY(get_function(of, "measure/empty.cl", "", &call.function));
    CLATTN__TRY(warm_up(of, &call));
    for (; count < LAUNCHES && (count < LEAST_RUNS || spent < LAUNCH_SECONDS); count++) {
        CLATTN__TRY(time_row(of, &once, &passed[count]));
        spent += passed[count];
    }
    qsort(passed, count, sizeof passed[0], by_value);
    CLATTN__TRY(time_best(of, &in_a_row, LAUNCH_SECONDS / 2, &one));
    measurement->launch_us = passed[count / 2] * 1e6;
    measurement->enqueue_us = one * 1e6;
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

/* Bytes to read from: 0 where the device has no room for it. */
static uint64_t read_size(const clattn__caps *caps)
{
    uint64_t size = READ_BYTES;
    while (size < MOST_READ_BYTES && size / 4 < caps->cache)
        size *= 2;
    while (size > caps->max_allocation || size > caps->global_memory / 4)
        size /= 2;
    return size < READ_AT_ONCE * sizeof(float) * 16 * MOST_GROUP ? 0 : size;
}

static clattn_status measure_all(bench *of, clattn_device_measurement *measurement)
{
    const clattn__caps *caps = clattn__device_caps(of->device);
    const uint64_t size = read_size(caps);
    if (!size)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "the device has too little memory");
    CLATTN__TRY(clattn__queue_create(of->device, &of->queue));
    CLATTN__TRY(clattn__memory_create(of->device, size, &of->values));
    CLATTN__TRY(clattn__memory_create(
        of->device, sizeof(float) * MOST_GROUP * READ_GROUPS * (uint64_t)caps->compute_units,
        &of->out));
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
