/* The shapes of the tile family on invented devices: what cl/common/tile.h demands of the numbers,
 * that the device holds them, and when there is none. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/registry.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static clattn__caps device_of(uint64_t local_memory, uint64_t group)
{
    clattn__caps caps;
    memset(&caps, 0, sizeof caps);
    caps.type = CLATTN_DEVICE_GPU;
    caps.family = CLATTN__TILE;
    caps.compute_units = 8;
    caps.vector_width = 1;
    caps.vector_registers = 16;
    caps.opencl_c = 120;
    caps.local_memory = local_memory;
    caps.max_allocation = (uint64_t)1 << 30;
    caps.max_work_group = group;
    caps.memory_alignment = 256;
    return caps;
}

static clattn__problem problem_of(int64_t heads, int64_t n_q, int64_t head_dim, int64_t value_dim)
{
    clattn_attention_desc desc;
    clattn__problem problem;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = heads;
    desc.n_kv_head = 1;
    desc.n_q = n_q;
    desc.n_kv = 1000;
    desc.head_dim = head_dim;
    desc.value_dim = value_dim;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    return problem;
}

static const clattn__kernel *kernel_named(const char *name)
{
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        if (strcmp(clattn__kernel_get(i)->name, name) == 0)
            return clattn__kernel_get(i);
    cr_assert_fail("no kernel %s", name);
    return NULL;
}

/* Whether the kernel accepts; the sentence if not. */
static bool accepts(const char *name, const clattn__problem *problem, const clattn__caps *caps,
                    char *why, size_t size)
{
    clattn__env env;
    clattn__text reason;
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    clattn__text_init(&reason, &env);
    const bool accepted = clattn__kernel_accepts(kernel_named(name), problem, caps, &reason);
    snprintf(why, size, "%s", clattn__text_get(&reason));
    clattn__text_finish(&reason);
    clattn__env_finish(&env);
    return accepted;
}

/* The arrays of a group, as TILE_ARRAYS of tile.h has them. */
static uint64_t local_memory_of(const clattn__config *c)
{
    const uint64_t rows = c->block_m, keys = c->block_n;
    const uint64_t stage = c->block_k * (rows + keys + 8), weights = keys * (rows + 4);
    return 4 * (stage + weights + c->group_size + rows) + 8 * (rows + 2 * keys) + 4;
}

static void check_shape(const clattn__config *c, const clattn__caps *caps, int64_t value_dim)
{
    const uint32_t grid_x = c->block_n / (c->cols * c->vec), grid_y = c->block_m / c->rows;
    const uint32_t parts = c->group_size / c->block_m;
    cr_assert_eq(c->vec, 4);
    cr_assert(c->rows % 4 == 0 && c->block_k % 4 == 0 && c->block_m % c->rows == 0);
    cr_assert_eq(grid_x * c->cols * c->vec, c->block_n);
    cr_assert_eq(grid_x * grid_y, c->group_size);
    cr_assert_eq(parts * c->block_m, c->group_size);
    cr_assert_eq(c->block_n % (parts * c->vec), 0);
    cr_assert_eq(c->dim_max, grid_x * c->value_cols * c->vec);
    cr_assert_geq(c->block_k * (c->block_m + c->block_n + 8), c->dim_max);
    cr_assert_geq(c->dim_max, value_dim);
    cr_assert_leq(c->group_size, caps->max_work_group);
    cr_assert_leq(local_memory_of(c), caps->local_memory);
    cr_assert_leq(c->rows * (c->value_cols + c->cols) * c->vec, 128, "too many registers");
}

/* Devices from the least that OpenCL allows on. */
static const uint64_t memories[] = {16384, 32768, 65536}, groups[] = {64, 128, 192, 256, 1024};
static const int64_t dims[] = {1, 63, 64, 65, 80, 96, 97, 128, 129, 192, 256, 257, 512, 576};

/* For each number of queries that the kernel accepts; the shape is the same for all of them,
 * because it decides in which order weights are added. Returns how many those are. */
static int check_shapes(const char *name, const clattn__caps *caps, int64_t value_dim)
{
    static const int64_t queries[] = {1, 2, 8, 17, 1000};
    clattn__config first;
    char why[256];
    int accepted = 0;
    for (size_t q = 0; q < COUNT(queries); q++) {
        const clattn__problem problem = problem_of(3, queries[q], 576, value_dim);
        clattn__config config = {0};
        if (!accepts(name, &problem, caps, why, sizeof why)) {
            cr_assert(why[0], "%s declines without a sentence", name);
            continue;
        }
        kernel_named(name)->configure(&problem, caps, &config);
        check_shape(&config, caps, value_dim);
        first = accepted++ ? first : config;
        cr_assert_eq(memcmp(&config, &first, sizeof config), 0, "%s, %d queries", name,
                     (int)queries[q]);
    }
    return accepted;
}

Test(tile_shapes, hold_what_kernels_demand)
{
    int accepted = 0, decoding = 0;
    for (size_t m = 0; m < COUNT(memories) * COUNT(groups); m++)
        for (size_t d = 0; d < COUNT(dims); d++) {
            const clattn__caps caps =
                device_of(memories[m / COUNT(groups)], groups[m % COUNT(groups)]);
            accepted += check_shapes("attention_tile", &caps, dims[d]);
            decoding += check_shapes("attention_decode_tile", &caps, dims[d]);
        }
    cr_assert_gt(accepted, 0);
    cr_assert_gt(decoding, 0);
}

/* What a device with lanes runs, of all kernels that accept. */
static const char *choice_for(const clattn__problem *problem)
{
    const clattn__caps caps = device_of(32768, 256);
    char why[256];
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        const clattn__kernel *kernel = clattn__kernel_get(i);
        if (kernel->kind == CLATTN__ATTENTION &&
            accepts(kernel->name, problem, &caps, why, sizeof why))
            return kernel->name;
    }
    return "none";
}

Test(tile_shapes, are_what_a_device_with_lanes_runs)
{
    const clattn__problem few = problem_of(8, 2, 128, 128), many = problem_of(8, 5, 128, 128);
    const clattn__problem none = problem_of(8, 0, 128, 128);
    cr_assert_str_eq(choice_for(&few), "attention_decode_tile");
    cr_assert_str_eq(choice_for(&many), "attention_tile");
    cr_assert_str_eq(choice_for(&none), "attention_tile");
}

/* The least device has tiles up to a value_dim of 256, any with groups of 192 and 32 KiB all. */
Test(tile_shapes, who_has_none)
{
    char why[256];
    for (size_t d = 0; d < COUNT(dims); d++) {
        const clattn__problem problem = problem_of(1, 1000, 576, dims[d]);
        const clattn__caps least = device_of(16384, 64), usual = device_of(32768, 256);
        cr_assert_eq(accepts("attention_tile", &problem, &least, why, sizeof why), dims[d] <= 256,
                     "%s", why);
        cr_assert(dims[d] <= 256 || strstr(why, "value_dim"), "%s", why);
        cr_assert(accepts("attention_tile", &problem, &usual, why, sizeof why), "%s", why);
    }
}

/* Decoding is for what is one tile. */
Test(tile_shapes, decoding_has_one_tile)
{
    const clattn__caps caps = device_of(32768, 256);
    char why[256];
    const clattn__problem one = problem_of(8, 2, 128, 128), many = problem_of(8, 5, 128, 128);
    cr_assert(accepts("attention_decode_tile", &one, &caps, why, sizeof why), "%s", why);
    cr_assert_not(accepts("attention_decode_tile", &many, &caps, why, sizeof why));
    cr_assert(strstr(why, "40 queries"), "%s", why);
}
