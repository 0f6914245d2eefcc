/* The tiles of linear_tile on invented devices: what cl/linear/linear_tile.cl demands of the
 * numbers, that the device holds them, which product gets which, and what the launches are. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/linear_shapes.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static clattn__caps device_of(uint64_t local_memory, uint64_t group, uint32_t units)
{
    clattn__caps caps;
    memset(&caps, 0, sizeof caps);
    caps.type = CLATTN_DEVICE_GPU;
    caps.family = CLATTN__TILE;
    caps.compute_units = units;
    caps.vector_width = 1;
    caps.vector_registers = 16;
    caps.opencl_c = 120;
    caps.local_memory = local_memory;
    caps.max_allocation = (uint64_t)1 << 30;
    caps.max_work_group = group;
    caps.memory_alignment = 256;
    return caps;
}

/* The array of a group, as linear_tile.cl has it. */
static uint64_t local_memory_of(const clattn__config *c)
{
    const uint64_t grid_x = c->block_n / (c->cols * c->vec), grid_y = c->block_m / c->rows;
    const uint64_t slices = c->stages * c->block_k * (c->block_m + c->block_n + 8);
    const uint64_t part = grid_x * 4 * (grid_y * 4 + 4);
    return 4 * (slices > part ? slices : part);
}

static void check_shape(const clattn__config *c, const clattn__caps *caps)
{
    cr_assert_eq(c->vec, 4);
    cr_assert(c->rows >= 4 && c->rows % 4 == 0 && c->cols >= 1);
    cr_assert(c->block_k >= 4 && c->block_k % 4 == 0 && c->stages >= 1 && c->stages <= 2);
    cr_assert(c->block_m % c->rows == 0 && c->block_n % (c->cols * c->vec) == 0);
    cr_assert_eq(c->block_n % CLATTN_PANEL, 0);
    cr_assert_eq(c->block_m / c->rows * (c->block_n / (c->cols * c->vec)), c->group_size);
    cr_assert_leq(c->group_size, caps->max_work_group);
    cr_assert_leq(local_memory_of(c), caps->local_memory);
    cr_assert_leq(c->rows * c->cols * c->vec, 64, "too many registers");
}

Test(linear_shapes, hold_what_the_kernel_demands)
{
    static const uint64_t memories[] = {16384, 32768, 65536}, groups[] = {64, 128, 1024};
    static const int64_t extents[] = {0, 1, 15, 16, 17, 64, 65, 1000, 100000};
    static const uint32_t units[] = {1, 8, 108};
    for (size_t m = 0; m < COUNT(memories); m++)
        for (size_t g = 0; g < COUNT(groups); g++)
            for (size_t u = 0; u < COUNT(units); u++)
                for (size_t n = 0; n < COUNT(extents) * COUNT(extents); n++) {
                    const clattn__caps caps = device_of(memories[m], groups[g], units[u]);
                    const clattn__product product = {.batch = 1,
                                                     .rows = extents[n / COUNT(extents)],
                                                     .columns = extents[n % COUNT(extents)],
                                                     .pieces = 1,
                                                     .depth = 100};
                    clattn__config config = {0};
                    cr_assert(clattn__linear_shape(&product, &caps, &config));
                    check_shape(&config, &caps);
                }
}

/* Narrow products have narrow tiles, small ones small tiles, on small devices small enough ones. */
Test(linear_shapes, which_product_gets_which)
{
    static const struct {
        uint64_t local_memory, group;
        uint32_t units;
        int64_t batch, rows, columns;
        uint32_t block_m, block_n;
    } rows[] = {
        {32768, 256, 8, 1, 4096, 4096, 64, 64}, {16384, 256, 8, 1, 4096, 4096, 64, 32},
        {32768, 64, 8, 1, 4096, 4096, 64, 32},  {32768, 256, 108, 1, 512, 384, 32, 32},
        {32768, 256, 108, 5, 512, 384, 64, 64}, {32768, 256, 8, 1, 4096, 16, 64, 16},
        {32768, 256, 8, 1, 4096, 17, 64, 64},   {32768, 256, 8, 1, 16, 4096, 16, 64},
        {32768, 256, 8, 1, 3, 3, 64, 16},       {32768, 256, 8, 1, 128, 256, 64, 32},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const clattn__caps caps = device_of(rows[i].local_memory, rows[i].group, rows[i].units);
        const clattn__product product = {.batch = rows[i].batch,
                                         .rows = rows[i].rows,
                                         .columns = rows[i].columns,
                                         .pieces = 1,
                                         .depth = 64};
        clattn__config config = {0};
        cr_assert(clattn__linear_shape(&product, &caps, &config));
        cr_expect(config.block_m == rows[i].block_m && config.block_n == rows[i].block_n,
                  "row %d has tiles of %u by %u", (int)i, config.block_m, config.block_n);
    }
}

static const clattn__kernel *kernel_named(const char *name)
{
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        if (strcmp(clattn__kernel_get(i)->name, name) == 0)
            return clattn__kernel_get(i);
    cr_assert_fail("no kernel %s", name);
    return NULL;
}

static clattn__problem problem_of(clattn_linear_pass pass)
{
    clattn_linear_desc desc;
    clattn__problem problem;
    clattn_linear_desc_init(&desc);
    desc.pass = pass;
    desc.batch = 1;
    desc.rows = desc.in = desc.out = 100;
    if (pass == CLATTN_LINEAR_GRADIENT_W)
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_W) | CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    cr_assert_eq(clattn__problem_init_linear(&problem, &desc, CLATTN__LINEAR), CLATTN_OK);
    return problem;
}

/* Too small a device is told so, and has the reference kernel. */
Test(linear_shapes, who_has_none)
{
    static const char *const names[] = {"linear_tile", "linear_x_tile", "linear_w_tile"};
    const clattn__caps few = device_of(32768, 32, 8), little = device_of(8192, 256, 8);
    clattn__env env;
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    for (int pass = 0; pass < 3; pass++)
        for (int i = 0; i < 2; i++) {
            const clattn__problem problem = problem_of((clattn_linear_pass)pass);
            clattn__text reason;
            clattn__text_init(&reason, &env);
            cr_expect_not(clattn__kernel_accepts(kernel_named(names[pass]), &problem,
                                                 i ? &few : &little, &reason));
            cr_expect(strstr(clattn__text_get(&reason), i ? "32 work-items" : "8192 bytes"), "%s",
                      clattn__text_get(&reason));
            clattn__text_finish(&reason);
        }
    clattn__env_finish(&env);
}

/* Columns of dy are summed a column a work-item, whatever the tile is. */
Test(linear_shapes, the_gradient_by_b_has_lanes_of_its_own)
{
    const clattn__caps caps = device_of(32768, 256, 1);
    const clattn__kernel *kernel = kernel_named("linear_w_tile");
    const clattn__problem problem = problem_of(CLATTN_LINEAR_GRADIENT_W);
    clattn__config config = {0};
    clattn__variant variant;
    kernel->configure(&problem, &caps, &config);
    clattn__kernel_make_variant(kernel, &problem, &caps, &config, &variant);
    cr_assert_eq(variant.launch_count, 2);
    cr_expect_str_eq(variant.launch[0].function, "linear_tile");
    cr_expect_eq(variant.launch[0].config.group_size, 128);
    cr_expect_str_eq(variant.launch[1].function, "linear_sums");
    cr_expect_eq(variant.launch[1].config.group_size, 64);
    cr_expect_eq(variant.launch[1].config.vec, 1);
    cr_expect_eq(variant.launch[1].config.stages, 0);
    cr_expect_eq(variant.workspace, 0);
}
