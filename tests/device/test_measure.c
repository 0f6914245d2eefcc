/* clattn_device_measure on every device found: figures that can be true, on emulators too, and
 * nothing touched that isn't its own. That the peak is the machine's is for a person to check,
 * against a loop in C. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <clattn/clattn.h>
#include <criterion/criterion.h>

/* No compute unit of today does more: 128 lanes, 2 operations, 3 GHz make 768 GF/s. */
#define MOST_GFLOPS_EACH 4000.0
#define MOST_GBYTES      100000.0
#define MOST_LAUNCH_US   1e6
/* Noise between the moments of two measurements on a shared machine. */
#define NOISE 1.25

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static clattn_context *open_device(uint32_t index)
{
    char selector[16];
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    snprintf(selector, sizeof selector, "%u", (unsigned)index);
    options.device = selector;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

static uint32_t device_count(void)
{
    uint32_t count = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &count), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(count > 0);
    return count;
}

/* GF/s of attention, the best of a few runs: a real kernel, which no peak may be below. */
static double attention_gflops(clattn_context *context)
{
    enum { HEADS = 8, LENGTH = 192, DIM = 64, ELEMENTS = HEADS * LENGTH * DIM };
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = HEADS;
    desc.n_q = desc.n_kv = LENGTH;
    desc.head_dim = desc.value_dim = DIM;
    float *memory = calloc(4 * ELEMENTS, sizeof *memory);
    cr_assert_not_null(memory);
    double best = INFINITY;
    for (int i = 0; i < 10; i++) {
        const double start = now();
        cr_assert_eq(clattn_attention(context, &desc, memory, memory + ELEMENTS,
                                      memory + 2 * ELEMENTS, memory + 3 * ELEMENTS),
                     CLATTN_OK, "%s", clattn_error_message());
        best = fmin(best, now() - start);
    }
    free(memory);
    return 2e-9 * HEADS * LENGTH * LENGTH * 2 * DIM / best;
}

Test(measure, figures_can_be_true)
{
    for (uint32_t i = 0; i < device_count(); i++) {
        clattn_context *context = open_device(i);
        clattn_device_info info = {.struct_size = sizeof info};
        clattn_device_measurement m = {.struct_size = sizeof m};
        cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
        cr_assert_eq(clattn_device_measure(context, &m), CLATTN_OK, "%s", clattn_error_message());
        const double attention = attention_gflops(context);
        cr_assert(m.fma_gflops * NOISE > attention, "%s: peak %g GF/s, attention %g", info.name,
                  m.fma_gflops, attention);
        cr_assert(m.fma_gflops < MOST_GFLOPS_EACH * info.compute_units, "%s: %g GF/s", info.name,
                  m.fma_gflops);
        cr_assert(m.read_gbytes > 0 && m.read_gbytes < MOST_GBYTES, "%s: %g GB/s", info.name,
                  m.read_gbytes);
        cr_assert(m.launch_us > 0 && m.launch_us < MOST_LAUNCH_US, "%s: launch %g us", info.name,
                  m.launch_us);
        cr_assert(m.enqueue_us > 0 && m.enqueue_us < MOST_LAUNCH_US, "%s: enqueue %g us", info.name,
                  m.enqueue_us);
        cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    }
}

/* The measurement's memory comes from the same arenas as everybody's. */
Test(measure, leaves_buffers_alone)
{
    enum { COUNT = 4096 };
    static float before[COUNT], after[COUNT];
    clattn_context *context = open_device(0);
    clattn_buffer *buffer;
    clattn_device_measurement m = {.struct_size = sizeof m};
    for (int i = 0; i < COUNT; i++)
        before[i] = (float)i;
    cr_assert_eq(clattn_buffer_create(context, sizeof before, &buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(buffer, 0, before, sizeof before), CLATTN_OK);
    cr_assert_eq(clattn_device_measure(context, &m), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_buffer_read(buffer, 0, after, sizeof after), CLATTN_OK);
    cr_assert_arr_eq(before, after, sizeof before);
    cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
}

Test(measure, refuses_what_is_missing)
{
    clattn_context *context = open_device(0);
    clattn_device_measurement m = {.struct_size = sizeof m};
    cr_assert_eq(clattn_device_measure(NULL, &m), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_device_measure(context, NULL), CLATTN_ERR_ARGUMENT);
    m.struct_size = 0;
    cr_assert_eq(clattn_device_measure(context, &m), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(m.fma_gflops, 0.0, "written in spite of the failure");
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
}
