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

static clattn_attention_desc desc_of(int64_t heads, int64_t n_q, int64_t head_dim,
                                     int64_t value_dim)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = heads;
    desc.n_kv_head = 1;
    desc.n_q = n_q;
    desc.n_kv = 1000;
    desc.head_dim = head_dim;
    desc.value_dim = value_dim;
    return desc;
}

static clattn__problem problem_of(int64_t heads, int64_t n_q, int64_t head_dim, int64_t value_dim)
{
    const clattn_attention_desc desc = desc_of(heads, n_q, head_dim, value_dim);
    clattn__problem problem;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    return problem;
}

static clattn__problem gradient_of(int64_t head_dim, int64_t value_dim)
{
    clattn_attention_desc desc = desc_of(3, 1000, head_dim, value_dim);
    clattn__problem problem;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_BIAS);
    desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_BIAS);
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
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

/* The arrays of a group, as TILE_ARRAYS and SOFTMAX_ARRAYS have them, or GRADIENT_ARRAYS of keys.
 */
static uint64_t local_memory_of(const clattn__config *c, bool gradients)
{
    const uint64_t rows = c->block_m, columns = c->block_n;
    const uint64_t stage = c->block_k * (rows + columns + 8), weights = columns * (rows + 4);
    if (gradients)
        return 4 * (stage + 2 * weights + 5 * columns) + 8 * 2 * (rows + columns) + 4 + 48;
    return 4 * (stage + weights + c->group_size + rows) + 8 * (rows + 2 * columns) + 4;
}

static void check_grid(const clattn__config *c, const clattn__caps *caps)
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
    cr_assert_leq(c->group_size, caps->max_work_group);
    cr_assert_leq(c->rows * (c->value_cols + c->cols) * c->vec, 128, "too many registers");
}

static void check_shape(const clattn__config *c, const clattn__caps *caps, int64_t dim,
                        bool gradients)
{
    check_grid(c, caps);
    cr_assert_geq(c->dim_max, dim);
    cr_assert_leq(local_memory_of(c, gradients), caps->local_memory);
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
        check_shape(&config, caps, value_dim, false);
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

/* Gradients have a tile for the larger of their dimensions, whichever it is. */
Test(tile_shapes, of_gradients)
{
    int accepted = 0;
    for (size_t m = 0; m < COUNT(memories) * COUNT(groups); m++)
        for (size_t d = 0; d < 2 * COUNT(dims); d++) {
            const int64_t dim = dims[d / 2];
            const clattn__caps caps =
                device_of(memories[m / COUNT(groups)], groups[m % COUNT(groups)]);
            const clattn__problem problem = d % 2 ? gradient_of(dim, 1) : gradient_of(1, dim);
            clattn__config config = {0};
            char why[256];
            if (!accepts("gradient_tile", &problem, &caps, why, sizeof why)) {
                cr_assert(strstr(why, "dimension"), "%s", why);
                cr_assert(dim > 256);
                continue;
            }
            kernel_named("gradient_tile")->configure(&problem, &caps, &config);
            check_shape(&config, &caps, dim, true);
            accepted++;
        }
    cr_assert_gt(accepted, 0);
}

/* The launch that is scalar has a configuration of its own. */
Test(tile_shapes, launches_of_gradients)
{
    const clattn__caps caps = device_of(32768, 256);
    const clattn__problem problem = gradient_of(64, 128);
    const clattn__kernel *kernel = kernel_named("gradient_tile");
    clattn__config config = {0};
    static clattn__variant variant;
    kernel->configure(&problem, &caps, &config);
    clattn__kernel_make_variant(kernel, &problem, &caps, &config, &variant);
    static const struct {
        const char *function;
        uint32_t vec, group_size, dim_max;
    } expected[] = {{"gradient_rows", 1, 64, 0},
                    {"gradient_queries_tile", 4, 128, 128},
                    {"gradient_keys_tile", 4, 128, 128},
                    {"gradient_bias_tile", 4, 128, 128}};
    cr_assert_eq(variant.launch_count, COUNT(expected));
    for (size_t n = 0; n < COUNT(expected); n++) {
        const clattn__launch *launch = &variant.launch[n];
        cr_assert_str_eq(launch->function, expected[n].function);
        cr_assert_eq(launch->config.vec, expected[n].vec, "%s", launch->function);
        cr_assert_eq(launch->config.group_size, expected[n].group_size, "%s", launch->function);
        cr_assert_eq(launch->config.dim_max, expected[n].dim_max, "%s", launch->function);
    }
}

/* The arrays of a group, as WEIGHTS_ARRAYS has them. */
static uint64_t local_memory_of_weights(const clattn__config *c)
{
    const uint64_t rows = c->block_m, keys = c->block_n;
    const uint64_t stage = c->block_k * (rows + keys + 8), p = rows * (keys + 4);
    return 4 * ((stage > p ? stage : p) + 4 * rows) + 8 * (rows + keys) + 32 + 16;
}

/* Weights have the same tile whatever device and value_dim are; a tile of queries or less is cut
 * along its keys, unless it has several lists of blocks. */
static void check_weights(clattn__problem *problem, const clattn__caps *caps)
{
    static const char *const functions[] = {"attention_tile", "weights_tile", "weight_sums_tile"};
    static clattn__variant variant;
    const clattn__kernel *kernel = kernel_named("attention_tile");
    clattn__config config = {0};
    problem->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS) |
                      CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS_MEAN) |
                      CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS_SUM);
    kernel->configure(problem, caps, &config);
    clattn__kernel_make_variant(kernel, problem, caps, &config, &variant);
    cr_assert_eq(variant.launch_count, COUNT(functions));
    for (size_t n = 0; n < COUNT(functions); n++)
        cr_assert_str_eq(variant.launch[n].function, functions[n]);
    for (size_t n = 1; n < COUNT(functions); n++) {
        const clattn__config *c = &variant.launch[n].config;
        check_grid(c, caps);
        cr_assert_eq(c->group_size, 64);
        cr_assert_leq(local_memory_of_weights(c), 10240);
        cr_assert_eq(c->full, config.full);
    }
    const clattn__tiling *tiling = &variant.launch[1].tiling;
    const int64_t n_q = problem->extent[CLATTN__N_Q];
    const bool is_one = n_q <= 32 && (!problem->block_q || n_q <= problem->block_q);
    cr_assert_eq(tiling->axis, is_one ? CLATTN__OVER_HEAD_KEYS : CLATTN__OVER_QUERIES);
    cr_assert_eq(tiling->block, is_one ? 64 : 32);
    cr_assert(tiling->all_heads);
    cr_assert(is_one || tiling->period == problem->block_q);
    cr_assert_eq(variant.launch[2].tiling.axis, CLATTN__OVER_HEAD_KEYS);
    cr_assert_eq(variant.launch[2].tiling.block, 64);
}

Test(tile_shapes, launches_of_weights)
{
    static const int64_t queries[] = {1, 32, 33, 1000}, lists[] = {0, 5, 32};
    const clattn__caps devices[] = {device_of(16384, 64), device_of(65536, 256)};
    for (size_t n = 0; n < COUNT(queries) * COUNT(lists) * COUNT(devices); n++) {
        clattn__problem problem = problem_of(3, queries[n % COUNT(queries)], 576, n % 2 ? 64 : 200);
        problem.block_q = lists[n / COUNT(queries) % COUNT(lists)];
        check_weights(&problem, &devices[n / COUNT(queries) / COUNT(lists)]);
    }
}

/* Sums over queries or keys are a launch of their own, and memory that is linear. */
Test(tile_shapes, gradients_of_shared_biases)
{
    const clattn__caps caps = device_of(32768, 256);
    const clattn__kernel *kernel = kernel_named("gradient_tile");
    for (uint32_t sums = 0; sums < 16; sums++) {
        clattn__problem problem = gradient_of(64, 128);
        clattn__config config = {0};
        static clattn__variant variant;
        problem.bias_sums = sums;
        kernel->configure(&problem, &caps, &config);
        clattn__kernel_make_variant(kernel, &problem, &caps, &config, &variant);
        const bool has_parts = sums >> 2 != 0;
        const clattn__launch *last = &variant.launch[variant.launch_count - 1];
        cr_assert_eq(variant.launch_count, has_parts ? 5 : 4);
        cr_assert_str_eq(last->function, has_parts ? "gradient_bias_sums" : "gradient_bias_tile");
        cr_assert_eq(last->config.group_size, has_parts ? 64 : 128);
        cr_assert_eq(last->tiling.all_batches, sums & 1);
        cr_assert_eq(last->tiling.all_heads, sums >> 1 & 1);
        cr_assert_leq(variant.workspace, 3 * 1000 * 4 * (4 + has_parts) + 256);
    }
}

Test(tile_shapes, parts_of_biases_have_a_bound)
{
    clattn__caps caps = device_of(32768, 256);
    clattn__problem problem = gradient_of(64, 128);
    char why[256];
    caps.max_allocation = 4096;
    cr_assert(accepts("gradient_tile", &problem, &caps, why, sizeof why), "%s", why);
    problem.bias_sums = 1 << 3;
    cr_assert_not(accepts("gradient_tile", &problem, &caps, why, sizeof why));
    cr_assert(strstr(why, "parts of GRAD_BIAS"), "%s", why);
}

/* What a device with lanes runs, of all kernels that accept. */
static const char *choice_for(const clattn__problem *problem)
{
    const clattn__caps caps = device_of(32768, 256);
    char why[256];
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        const clattn__kernel *kernel = clattn__kernel_get(i);
        if (kernel->kind == problem->kind && accepts(kernel->name, problem, &caps, why, sizeof why))
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
    const clattn__problem gradient = gradient_of(128, 128);
    cr_assert_str_eq(choice_for(&gradient), "gradient_tile");
    const clattn__problem large = gradient_of(576, 576);
    cr_assert_str_eq(choice_for(&large), "gradient_reference");
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

static clattn__problem additive_of(int64_t channels, int64_t value_dim)
{
    clattn_additive_desc desc;
    clattn__problem problem;
    clattn_additive_desc_init(&desc);
    desc.batch = desc.n_head = 1;
    desc.n_q = desc.n_kv = 1000;
    desc.channels = channels;
    desc.value_dim = value_dim;
    cr_assert_eq(clattn__problem_init_additive(&problem, &desc, CLATTN__ADDITIVE), CLATTN_OK);
    return problem;
}

/* Of additive attention any device has a tile, whatever the dimensions are: of values it does as
 * many at a time as it has a tile for. Parameters of a slice and forms are in local memory, too. */
Test(tile_shapes, of_additive_attention)
{
    static const int64_t wide[] = {1, 64, 65, 256, 257, 576, 577, 4096};
    for (size_t m = 0; m < COUNT(memories) * COUNT(groups); m++)
        for (size_t d = 0; d < COUNT(wide); d++) {
            const clattn__caps caps =
                device_of(memories[m / COUNT(groups)], groups[m % COUNT(groups)]);
            const clattn__problem problem = additive_of(wide[d], wide[d]);
            const int64_t most = wide[d] < 576 ? wide[d] : 576;
            clattn__config config = {0};
            char why[256];
            cr_assert(accepts("additive_tile", &problem, &caps, why, sizeof why), "%s", why);
            kernel_named("additive_tile")->configure(&problem, &caps, &config);
            check_shape(&config, &caps, config.dim_max < most ? 256 : most, false);
            const uint64_t beside = 4 * (2 * config.block_k + config.block_k / 4);
            cr_assert_leq(local_memory_of(&config, false) + beside, caps.local_memory);
        }
    const clattn__problem problem = additive_of(100, 100);
    const clattn__caps small = device_of(16384, 32);
    char why[256];
    cr_assert_str_eq(choice_for(&problem), "additive_tile");
    cr_assert_not(accepts("additive_tile", &problem, &small, why, sizeof why));
    cr_assert(strstr(why, "larger groups than of 32"), "%s", why);
}

static clattn__problem additive_gradient_of(int64_t channels, int64_t value_dim)
{
    clattn_additive_desc desc;
    clattn__problem problem;
    clattn_additive_desc_init(&desc);
    desc.batch = desc.n_head = 2;
    desc.n_q = 100;
    desc.n_kv = 130;
    desc.channels = channels;
    desc.value_dim = value_dim;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) |
                 CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE);
    cr_assert_eq(clattn__problem_init_additive(&problem, &desc, CLATTN__ADDITIVE_GRADIENT),
                 CLATTN_OK);
    return problem;
}

/* Of its gradients, too: what a tile has of dimensions is a part. Slices have room for a block of
 * such a part; additive_rows_tile has the arrays of the softmax beside those of queries. */
Test(tile_shapes, of_additive_gradients)
{
    static const int64_t wide[] = {1, 32, 33, 4096};
    for (size_t m = 0; m < COUNT(memories) * COUNT(groups); m++)
        for (size_t d = 0; d < COUNT(wide); d++) {
            const clattn__caps caps =
                device_of(memories[m / COUNT(groups)], groups[m % COUNT(groups)]);
            const clattn__problem problem = additive_gradient_of(wide[d], wide[d]);
            clattn__config c = {0};
            char why[256];
            cr_assert(accepts("additive_gradient_tile", &problem, &caps, why, sizeof why), "%s",
                      why);
            kernel_named("additive_gradient_tile")->configure(&problem, &caps, &c);
            check_shape(&c, &caps, c.dim_max, true);
            const uint64_t beside = 4 * (2 * c.block_k + c.block_k / 4);
            const uint64_t weights = c.block_n * (c.block_m + 4);
            cr_assert_leq(local_memory_of(&c, true) + beside, caps.local_memory);
            cr_assert_leq(4 * (2 * weights + 5 * c.block_m + c.group_size + c.block_m) +
                              16 * (c.block_m + c.block_n) + 52 + beside,
                          caps.local_memory);
            cr_assert_geq(c.block_k * (c.block_m + c.block_n + 8), c.block_n * c.dim_max);
            cr_assert_eq(c.group_size % (c.block_m / 4), 0);
            cr_assert_eq(c.range_keys, c.block_m);
        }
    const clattn__problem problem = additive_gradient_of(100, 100);
    const clattn__caps small = device_of(16384, 32);
    char why[256];
    cr_assert_str_eq(choice_for(&problem), "additive_gradient_tile");
    cr_assert_not(accepts("additive_gradient_tile", &problem, &small, why, sizeof why));
    cr_assert(strstr(why, "larger groups than of 32"), "%s", why);
}

/* Each tile of the longer of queries and keys has memory of its own, and each launch the work-items
 * that its program is for. */
Test(tile_shapes, memory_of_additive_gradients)
{
    const clattn__caps caps = device_of(16384, 64);
    const clattn__problem problem = additive_gradient_of(37, 70);
    const clattn__kernel *kernel = kernel_named("additive_gradient_tile");
    static const char *const functions[] = {"additive_rows_tile", "additive_queries_tile",
                                            "additive_keys_tile", "additive_sums"};
    clattn__config config = {0};
    static clattn__variant variant;
    kernel->configure(&problem, &caps, &config);
    clattn__kernel_make_variant(kernel, &problem, &caps, &config, &variant);
    cr_assert_eq(variant.launch_count, COUNT(functions));
    for (size_t n = 0; n < COUNT(functions); n++) {
        cr_assert_str_eq(variant.launch[n].function, functions[n]);
        cr_assert_eq(variant.launch[n].config.group_size, 64);
        cr_assert_eq(variant.launch[n].config.vec, 4);
    }
    const clattn__scratch *tiles = &variant.scratch[1], *sums = &variant.scratch[2];
    cr_assert_eq(tiles->tensor, CLATTN_T_ADDITIVE_BLOCK);
    cr_assert_eq(tiles->stride[4], 37 * (32 + 8) + 3 * 32 * 32);
    cr_assert_geq(sums->offset - tiles->offset, (uint64_t)(4 * 5 * tiles->stride[4]));
    cr_assert_eq(sums->tensor, CLATTN_T_ADDITIVE_SUMS);
    cr_assert_eq(sums->stride[1], 5 * 2 * 48);
    cr_assert_geq(variant.workspace / 4 - sums->offset, (uint64_t)(4 * sums->stride[1]));
}
