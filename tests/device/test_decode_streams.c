/* In which order keys and values are read changes no bit: attention_decode_simd with one stream and
 * with four, as a tuning file says. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"
#include "tuned_rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define KERNEL       "attention_decode_simd"
#define LSE          CLATTN_SLOT_BIT(CLATTN_SLOT_LSE)

static tuned_rig rig;

static void begin(void)
{
    tuned_begin(&rig);
    rig.options.kernel = KERNEL;
}

static void finish(void)
{
    tuned_finish(&rig);
}

TestSuite(decode_streams, .init = begin, .fini = finish);

/* How the kernel is configured for so many queries that share keys. */
static void configuration_of(clattn_context *context, int queries, char *text, size_t size)
{
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_attention_desc desc;
    clattn_plan *plan;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_kv_head = desc.n_q = 1;
    desc.n_head = queries;
    desc.n_kv = 600;
    desc.head_dim = desc.value_dim = 200;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    snprintf(text, size, "%s", info.configuration);
    clattn_plan_destroy(plan);
}

static char *streams_in(char *configuration)
{
    char *said = strstr(configuration, "STREAMS=");
    cr_assert_not_null(said, "%s", configuration);
    return said + strlen("STREAMS=");
}

static const struct {
    const char *name;
    int queries;
} classes[] = {{"queries=1", 1}, {"queries=2", 2}, {"queries=3+", 4}};

/* A tuning file with what is built in, but for the number of streams. */
static void write_file(clattn_context *context, char streams)
{
    char configuration[256];
    const clattn_device_info info = tuned_device(context);
    unlink(rig.path);
    for (size_t i = 0; i < COUNT(classes); i++) {
        configuration_of(context, classes[i].queries, configuration, sizeof configuration);
        *streams_in(configuration) = streams;
        tuned_add_row(&rig, KERNEL, &info, classes[i].name, configuration);
    }
}

static void expect_streams(clattn_context *context, char streams)
{
    char configuration[256];
    for (size_t i = 0; i < COUNT(classes); i++) {
        configuration_of(context, classes[i].queries, configuration, sizeof configuration);
        cr_assert_eq(*streams_in(configuration), streams, "%s, not %c", configuration, streams);
    }
}

static bool is_for_the_device(void)
{
    rig.options.kernel = NULL;
    clattn_context *context = tuned_open(&rig);
    const clattn_device_info info = tuned_device(context);
    rig_close(context);
    rig.options.kernel = KERNEL;
    return strcmp(info.family, "simd") == 0;
}

#define FLOATS (1u << CLATTN_F32)
#define HALVES (1u << CLATTN_F16)
#define BYTES  (1u << CLATTN_I8)

/* One, two, three, four and seven queries that share keys; around vectors and splits; dimensions
 * that are whole tiles, halves of them and neither, all of the same bound, so that programs are
 * few. Of halves what differs is how elements are loaded; bytes are read in turn for one query
 * alone, else both numbers of streams are the same code. */
static const struct {
    rig_shape shape;
    unsigned types; /* of keys and values */
} cases[] = {
    {{1, 2, 2, 1, 513, 128, 200, CLATTN_ALIGN_NONE}, FLOATS | HALVES | BYTES},
    {{1, 2, 2, 1, 17, 64, 256, CLATTN_ALIGN_NONE}, FLOATS | HALVES | BYTES},
    {{1, 1, 1, 1, 1, 192, 96, CLATTN_ALIGN_NONE}, FLOATS | HALVES | BYTES},
    {{1, 4, 2, 1, 531, 72, 200, CLATTN_ALIGN_NONE}, FLOATS},
    {{2, 2, 1, 1, 31, 256, 64, CLATTN_ALIGN_NONE}, FLOATS},
    {{1, 3, 1, 1, 100, 33, 175, CLATTN_ALIGN_NONE}, FLOATS},
    {{1, 4, 1, 1, 1040, 128, 192, CLATTN_ALIGN_NONE}, FLOATS | HALVES},
    {{1, 8, 2, 1, 16, 160, 80, CLATTN_ALIGN_NONE}, FLOATS | HALVES},
    {{1, 1, 1, 7, 550, 47, 175, CLATTN_ALIGN_BOTTOM_RIGHT}, FLOATS},
};
enum { CASES = COUNT(cases), LARGEST = 1040 * 192 };

/* Of floats, and right. */
static float *floats_of(clattn_context *context, const rig_shape *shape)
{
    rig_problem problem;
    int64_t count;
    rig_make(&problem, shape, LSE, &rig_contiguous);
    rig_expect(&problem);
    cr_assert_eq(rig_run(context, &problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    rig_check(&problem);
    float *out = rig_gather(&problem.tensor[CLATTN_SLOT_OUT], &count);
    rig_free(&problem);
    return out;
}

/* Of keys and values in another type, from the same bytes in each call: halves of 0.125 to 2, or
 * integers. */
static float *stored_of(clattn_context *context, const rig_shape *shape, clattn_dtype dtype)
{
    static float q[LARGEST], scales[LARGEST];
    static uint16_t keys[2 * LARGEST], values[2 * LARGEST];
    uint32_t state = 11;
    clattn_attention_desc desc;
    float *out = calloc(LARGEST, sizeof *out);
    for (int i = 0; i < LARGEST; i++) {
        q[i] = rig_number(&state);
        scales[i] = 0.01f * (1 + rig_number(&state) / 4);
    }
    for (int i = 0; i < 2 * LARGEST; i++) {
        state = state * 1664525 + 1013904223;
        keys[i] = (uint16_t)(0x3000 + (state >> 16 & 0x8fff));
        values[i] = (uint16_t)(0x3000 + (state >> 8 & 0x8fff));
    }
    clattn_attention_desc_init(&desc);
    desc.batch = shape->batch;
    desc.n_head = shape->n_head;
    desc.n_kv_head = shape->n_kv_head;
    desc.n_q = shape->n_q;
    desc.n_kv = shape->n_kv;
    desc.head_dim = shape->head_dim;
    desc.value_dim = shape->value_dim;
    desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = dtype;
    uint32_t count = 4;
    clattn_host_binding bindings[] = {{CLATTN_SLOT_Q, 0, q},
                                      {CLATTN_SLOT_K, 0, keys},
                                      {CLATTN_SLOT_V, 0, values},
                                      {CLATTN_SLOT_OUT, 0, out},
                                      {CLATTN_SLOT_K_SCALES, 0, scales},
                                      {CLATTN_SLOT_V_SCALES, 0, scales + LARGEST / 2}};
    if (dtype == CLATTN_I8) {
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_K_SCALES) | CLATTN_SLOT_BIT(CLATTN_SLOT_V_SCALES);
        count = COUNT(bindings);
    }
    cr_assert_eq(clattn_run(context, &desc, bindings, count), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    return out;
}

static const clattn_dtype types[] = {CLATTN_F32, CLATTN_F16, CLATTN_I8};
enum { TYPES = COUNT(types) };

static float *result_of(clattn_context *context, int c, clattn_dtype type)
{
    rig_say("case %d, type %d", c, (int)type);
    return type == CLATTN_F32 ? floats_of(context, &cases[c].shape)
                              : stored_of(context, &cases[c].shape, type);
}

static void compare(clattn_context *one, clattn_context *four, int c, clattn_dtype type)
{
    const rig_shape *shape = &cases[c].shape;
    float *of_one = result_of(one, c, type), *of_four = result_of(four, c, type);
    const int64_t count = shape->batch * shape->n_head * shape->n_q * shape->value_dim;
    cr_assert_arr_eq(of_one, of_four, (size_t)count * sizeof *of_one, "%s", rig_said());
    free(of_one);
    free(of_four);
}

/* A context with a tuning file that says so; `built_in` ignores it. */
static clattn_context *with_streams(clattn_context *built_in, char streams)
{
    write_file(built_in, streams);
    return tuned_open(&rig);
}

/* Others than one or four are not compiled: what is built in stays. */
static void expect_no_three(clattn_context *built_in)
{
    char configuration[256];
    configuration_of(built_in, 1, configuration, sizeof configuration);
    clattn_context *three = with_streams(built_in, '3');
    expect_streams(three, *streams_in(configuration));
    rig_close(three);
}

/* One test, because two would compile the same programs at the same time. */
Test(decode_streams, have_the_same_bits)
{
    if (!is_for_the_device())
        return;
    clattn_context *built_in = tuned_open(&rig);
    expect_no_three(built_in);
    clattn_context *one = with_streams(built_in, '1'), *four = with_streams(built_in, '4');
    expect_streams(one, '1');
    expect_streams(four, '4');
    for (int c = 0; c < CASES; c++)
        for (int t = 0; t < TYPES; t++)
            if (cases[c].types & 1u << types[t])
                compare(one, four, c, types[t]);
    rig_close(four);
    rig_close(one);
    rig_close(built_in);
}
