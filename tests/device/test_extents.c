/* Extents at their ends: 0, 1, the largest head dimension, and the numbers around every block size
 * that a kernel's configuration names. Every kernel, every device. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *kernel_name;

static void run_one(clattn_context *context, const rig_shape *of, uint64_t slots, bool staged)
{
    rig_problem problem;
    rig_say("%s, (%d,%d,%d,%d,%d,%d,%d) align %d%s", kernel_name, (int)of->batch, (int)of->n_head,
            (int)of->n_kv_head, (int)of->n_q, (int)of->n_kv, (int)of->head_dim, (int)of->value_dim,
            (int)of->align, staged ? ", buffers" : "");
    rig_make(&problem, of, slots, &rig_contiguous);
    rig_expect(&problem);
    const clattn_status status =
        staged ? rig_run_staged(context, &problem) : rig_run(context, &problem);
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
    rig_check(&problem);
    rig_free(&problem);
}

/* With and without options, on host memory and in buffers. */
static void run_all_ways(clattn_context *context, const rig_shape *of)
{
    for (int way = 0; way < 4; way++)
        run_one(context, of, way & 1 ? RIG_FULL : 0, way & 2);
}

static const rig_shape empty[] = {
    {0, 2, 1, 3, 5, 8, 8, CLATTN_ALIGN_NONE},     {2, 2, 1, 0, 5, 8, 8, CLATTN_ALIGN_NONE},
    {2, 2, 1, 3, 0, 8, 8, CLATTN_ALIGN_NONE},     {0, 2, 1, 0, 0, 8, 8, CLATTN_ALIGN_NONE},
    {2, 2, 1, 0, 0, 8, 8, CLATTN_ALIGN_NONE},     {0, 2, 1, 3, 0, 8, 8, CLATTN_ALIGN_NONE},
    {2, 2, 1, 3, 0, 8, 8, CLATTN_ALIGN_TOP_LEFT}, {2, 2, 1, 3, 0, 8, 8, CLATTN_ALIGN_BOTTOM_RIGHT},
    {0, 2, 1, 3, 5, 8, 8, CLATTN_ALIGN_TOP_LEFT}, {2, 2, 1, 0, 5, 8, 8, CLATTN_ALIGN_BOTTOM_RIGHT},
    {2, 4, 4, 130, 0, 33, 17, CLATTN_ALIGN_NONE}, {1, 1, 1, 1, 0, 1, 1, CLATTN_ALIGN_NONE},
};

static void nothing_there(clattn_context *context, const char *kernel)
{
    kernel_name = kernel;
    for (size_t i = 0; i < COUNT(empty); i++)
        run_all_ways(context, &empty[i]);
}

Test(extents, zero)
{
    rig_each_kernel(nothing_there);
}

/* Where there is nothing to write or no key, pointers of empty tensors may be NULL. */
static void null_pointers(clattn_context *context, const char *kernel)
{
    float q[2] = {1, 2}, out[2] = {NAN, NAN};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.head_dim = desc.value_dim = 1;
    desc.n_q = 2;
    cr_assert_eq(clattn_attention(context, &desc, q, NULL, NULL, out), CLATTN_OK, "%s: %s", kernel,
                 clattn_error_message());
    cr_assert(out[0] == 0 && out[1] == 0, "%s: %g, %g", kernel, (double)out[0], (double)out[1]);
    desc.batch = 0;
    cr_assert_eq(clattn_attention(context, &desc, NULL, NULL, NULL, NULL), CLATTN_OK, "%s: %s",
                 kernel, clattn_error_message());
}

Test(extents, null_pointers_of_empty_tensors)
{
    rig_each_kernel(null_pointers);
}

static const int64_t dims[][2] = {
    {1, 1},     {1, 576},   {576, 1},   {576, 576}, {63, 64},   {64, 63},   {65, 64}, {64, 65},
    {127, 128}, {128, 129}, {129, 127}, {255, 256}, {256, 257}, {257, 255}, {575, 2}, {3, 575},
    {2, 31},    {31, 2},    {17, 16},   {15, 48},   {48, 15},   {4, 8},     {8, 4},   {96, 100},
};

static void dimensions(clattn_context *context, const char *kernel)
{
    kernel_name = kernel;
    for (size_t i = 0; i < COUNT(dims); i++) {
        const rig_shape of = {1, 2, 1, 7, 41, dims[i][0], dims[i][1], CLATTN_ALIGN_BOTTOM_RIGHT};
        run_all_ways(context, &of);
    }
}

Test(extents, head_and_value_dimensions)
{
    rig_each_kernel(dimensions);
}

/* Numbers of the configuration that may be block sizes, and products of neighbours (a panel is
 * vectors times their width). */
typedef struct sizes {
    int64_t size[64];
    size_t count;
} sizes;

static void add_size(sizes *list, int64_t size)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->size[i] == size)
            return;
    if (size >= 1 && size <= 600 && list->count < COUNT(list->size))
        list->size[list->count++] = size;
}

static void sizes_of(clattn_context *context, sizes *list)
{
    const rig_shape of = {1, 1, 1, 1, 1, 64, 64, CLATTN_ALIGN_NONE};
    rig_problem problem;
    rig_stage stage;
    clattn_plan_info info = {.struct_size = sizeof info};
    memset(list, 0, sizeof *list);
    rig_make(&problem, &of, 0, &rig_contiguous);
    cr_assert_eq(rig_stage_make(context, &problem, &stage), CLATTN_OK);
    cr_assert_eq(clattn_plan_get_info(stage.plan, &info), CLATTN_OK);
    int64_t number[16];
    size_t numbers = 0;
    for (const char *at = info.configuration; (at = strchr(at, '=')) && numbers < 16; at++)
        number[numbers++] = strtol(at + 1, NULL, 10);
    cr_assert(numbers > 0, "%s has no numbers: %s", info.kernel, info.configuration);
    for (size_t i = 0; i < numbers; i++) {
        add_size(list, number[i]);
        for (size_t j = 0; j < i; j++)
            if (number[i] * number[j] <= 128)
                add_size(list, number[i] * number[j]);
    }
    add_size(list, 512); /* what splits over keys are fixed to */
    rig_stage_free(&stage);
    rig_free(&problem);
}

static void around_blocks(clattn_context *context, const char *kernel)
{
    sizes list;
    kernel_name = kernel;
    sizes_of(context, &list);
    for (size_t i = 0; i < list.count; i++)
        for (int64_t n = list.size[i] - 1; n <= list.size[i] + 1; n++) {
            const rig_shape keys = {1, 2, 1, 5, n, 16, 16, CLATTN_ALIGN_NONE};
            const rig_shape queries = {1, 2, 2, n, 37, 16, 20, CLATTN_ALIGN_TOP_LEFT};
            const rig_shape both = {1, 1, 1, n, n + 1, 16, 16, CLATTN_ALIGN_BOTTOM_RIGHT};
            run_one(context, &keys, RIG_FULL, false);
            run_one(context, &queries, RIG_FULL, true);
            run_one(context, &both, 0, false);
        }
}

Test(extents, around_every_block_size)
{
    rig_each_kernel(around_blocks);
}

static void primes(clattn_context *context, const char *kernel)
{
    static const int64_t prime[] = {2, 3, 5, 7, 11, 13, 31, 61, 127, 251, 509, 521, 1021};
    kernel_name = kernel;
    for (size_t i = 0; i < COUNT(prime); i++) {
        const rig_shape keys = {2, 3, 1, 11, prime[i], 13, 29, CLATTN_ALIGN_BOTTOM_RIGHT};
        const rig_shape queries = {1, 3, 3, prime[i], 101, 13, 29, CLATTN_ALIGN_NONE};
        run_one(context, &keys, RIG_FULL, false);
        run_one(context, &queries, 0, true);
    }
}

Test(extents, primes)
{
    rig_each_kernel(primes);
}

/* Head counts of which neither is a power of 2. */
static void heads(clattn_context *context, const char *kernel)
{
    static const int64_t counts[][2] = {{1, 1}, {3, 1}, {6, 2}, {15, 5}, {7, 7}, {12, 4}, {64, 1}};
    kernel_name = kernel;
    for (size_t i = 0; i < COUNT(counts); i++) {
        const rig_shape of = {3, counts[i][0], counts[i][1], 5, 23, 24, 40, CLATTN_ALIGN_TOP_LEFT};
        run_all_ways(context, &of);
    }
}

Test(extents, heads)
{
    rig_each_kernel(heads);
}

/* A valid problem of more work-groups than one launch can have is refused, nothing is allocated. */
static void too_many_groups(clattn_context *context, const char *kernel)
{
    clattn_attention_desc desc;
    clattn_plan *plan = NULL;
    clattn_attention_desc_init(&desc);
    desc.batch = INT32_MAX;
    desc.n_head = 2;
    desc.n_kv_head = desc.n_q = desc.n_kv = desc.head_dim = desc.value_dim = 1;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_ERR_UNSUPPORTED, "%s",
                 kernel);
    cr_assert_null(plan);
    char own[64];
    snprintf(own, sizeof own, "%s needs 4294967294", kernel);
    cr_assert(strstr(clattn_error_message(), own) ||
                  strstr(clattn_error_message(), "attention_reference needs 4294967294") ||
                  strstr(clattn_error_message(), "no kernel accepts"),
              "%s: %s", kernel, clattn_error_message());
}

Test(extents, more_work_groups_than_can_be_counted)
{
    rig_each_kernel(too_many_groups);
}
