/* In which order keys and values are read changes no bit: attention_decode_simd with one stream and
 * with four, as a tuning file says. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define LSE          CLATTN_SLOT_BIT(CLATTN_SLOT_LSE)

static char folder[64], path[96];
static clattn_context_options options;

static void remove_folder(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static void begin(void)
{
    clattn_context_options_init(&options);
    strcpy(folder, "/tmp/clattn-streams-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    options.cache_dir = folder;
    options.device = "0";
    options.kernel = "attention_decode_simd";
    cr_assert_eq(clattn_tuning_path(&options, path, sizeof path), CLATTN_OK);
}

TestSuite(decode_streams, .init = begin, .fini = remove_folder);

static clattn_context *open_context(void)
{
    clattn_context *context;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

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
    desc.head_dim = desc.value_dim = 64;
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
    clattn_device_info info = {.struct_size = sizeof info};
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
    fputs("clattn tuning 1\n", file);
    for (size_t i = 0; i < COUNT(classes); i++) {
        configuration_of(context, classes[i].queries, configuration, sizeof configuration);
        *streams_in(configuration) = streams;
        fprintf(file, "attention_decode_simd\t%s\t%s\t%s\t%s\t%s\t%s\t%u\t1.5\n", classes[i].name,
                configuration, clattn_version_string(), info.name, info.driver,
                info.platform_version, (unsigned)info.compute_units);
    }
    cr_assert_eq(fclose(file), 0);
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
    clattn_device_info info = {.struct_size = sizeof info};
    options.kernel = NULL;
    clattn_context *context = open_context();
    cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
    rig_close(context);
    options.kernel = "attention_decode_simd";
    return strcmp(info.family, "simd") == 0;
}

/* One, two, three, four and seven queries that share keys; around vectors and splits; dimensions
 * that are whole tiles, halves of them and neither. */
static const rig_shape shapes[] = {
    {1, 2, 2, 1, 513, 128, 128, CLATTN_ALIGN_NONE},
    {1, 2, 2, 1, 17, 64, 64, CLATTN_ALIGN_NONE},
    {1, 1, 1, 1, 1, 80, 96, CLATTN_ALIGN_NONE},
    {1, 4, 2, 1, 531, 72, 200, CLATTN_ALIGN_NONE},
    {2, 2, 1, 1, 31, 128, 64, CLATTN_ALIGN_NONE},
    {1, 3, 1, 1, 100, 33, 47, CLATTN_ALIGN_NONE},
    {1, 4, 1, 1, 1300, 128, 128, CLATTN_ALIGN_NONE},
    {1, 8, 2, 1, 16, 96, 80, CLATTN_ALIGN_NONE},
    {1, 1, 1, 7, 550, 64, 128, CLATTN_ALIGN_BOTTOM_RIGHT},
};
enum { SHAPES = COUNT(shapes), LARGEST = 1300 * 128 };

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

/* Rows that are shorter than a vector of integers belong to other kernels. */
static bool takes(const rig_shape *shape, clattn_dtype dtype)
{
    return dtype == CLATTN_F32 || (shape->head_dim >= 64 && shape->value_dim >= 64);
}

static float *result_of(clattn_context *context, int s, int t)
{
    rig_say("shape %d, type %d", s, (int)types[t]);
    if (!takes(&shapes[s], types[t]))
        return NULL;
    return types[t] == CLATTN_F32 ? floats_of(context, &shapes[s])
                                  : stored_of(context, &shapes[s], types[t]);
}

/* A context with a tuning file that says so; `built_in` ignores it. */
static clattn_context *with_streams(clattn_context *built_in, char streams)
{
    write_file(built_in, streams);
    return open_context();
}

Test(decode_streams, have_the_same_bits)
{
    if (!is_for_the_device())
        return;
    clattn_context *built_in = open_context();
    clattn_context *one = with_streams(built_in, '1'), *four = with_streams(built_in, '4');
    expect_streams(one, '1');
    expect_streams(four, '4');
    for (int s = 0; s < SHAPES; s++)
        for (int t = 0; t < TYPES; t++) {
            const rig_shape *shape = &shapes[s];
            float *of_one = result_of(one, s, t), *of_four = result_of(four, s, t);
            const int64_t count = shape->batch * shape->n_head * shape->n_q * shape->value_dim;
            if (of_one)
                cr_assert_arr_eq(of_one, of_four, (size_t)count * sizeof *of_one, "%s", rig_said());
            free(of_one);
            free(of_four);
        }
    rig_close(four);
    rig_close(one);
    rig_close(built_in);
}

/* Others are not compiled: what is built in stays. */
Test(decode_streams, are_one_or_four)
{
    char configuration[256];
    if (!is_for_the_device())
        return;
    clattn_context *built_in = open_context();
    configuration_of(built_in, 1, configuration, sizeof configuration);
    clattn_context *three = with_streams(built_in, '3');
    expect_streams(three, *streams_in(configuration));
    rig_close(three);
    rig_close(built_in);
}
