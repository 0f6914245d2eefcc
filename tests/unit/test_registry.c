/* The registry with invented devices: what is accepted, how it is configured, that workspaces and
 * macros hold what the kernels need. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/registry.h"

static clattn__caps caps_of(clattn__family family, uint32_t width, uint32_t registers)
{
    clattn__caps caps;
    memset(&caps, 0, sizeof caps);
    caps.type = family == CLATTN__SIMD ? CLATTN_DEVICE_CPU : CLATTN_DEVICE_GPU;
    caps.family = family;
    caps.compute_units = 2;
    caps.vector_width = width;
    caps.vector_registers = registers;
    caps.opencl_c = 120;
    caps.local_memory = 32768;
    caps.max_allocation = (uint64_t)1 << 30;
    caps.max_work_group = 256;
    caps.memory_alignment = 256;
    return caps;
}

static clattn__problem problem_of(int64_t n, int64_t head_dim, int64_t value_dim, uint64_t slots)
{
    clattn_attention_desc desc;
    clattn__problem problem;
    clattn_attention_desc_init(&desc);
    desc.batch = 2;
    desc.n_head = 4;
    desc.n_kv_head = 2;
    desc.n_q = desc.n_kv = n;
    desc.head_dim = head_dim;
    desc.value_dim = value_dim;
    desc.slots = slots;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    return problem;
}

static const clattn__kernel *kernel_named(const char *name)
{
    const clattn__kernel *found = NULL;
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        if (strcmp(clattn__kernel_get(i)->name, name) == 0)
            found = clattn__kernel_get(i);
    cr_assert_not_null(found, "no kernel %s", name);
    return found;
}

/* With the configuration that the kernel chooses. */
static void make_variant(const clattn__kernel *kernel, const clattn__problem *problem,
                         const clattn__caps *caps, clattn__variant *variant)
{
    clattn__config config = {0};
    kernel->configure(problem, caps, &config);
    clattn__kernel_make_variant(kernel, problem, caps, &config, variant);
}

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

Test(registry, the_last_kernel_of_a_kind_takes_everything)
{
    const clattn__problem problem = problem_of(100, 575, 3, 0);
    const clattn__caps devices[] = {caps_of(CLATTN__SIMD, 1, 16), caps_of(CLATTN__TILE, 4, 16)};
    char why[256];
    const clattn__kernel *last = NULL;
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        if (clattn__kernel_get(i)->kind == CLATTN__ATTENTION)
            last = clattn__kernel_get(i);
    cr_assert_str_eq(last->name, "attention_reference");
    for (size_t i = 0; i < 2; i++)
        cr_assert(accepts(last->name, &problem, &devices[i], why, sizeof why));
}

Test(registry, simd_declines_with_a_sentence)
{
    const clattn__problem problem = problem_of(1 << 20, 128, 128, 0);
    const clattn__caps gpu = caps_of(CLATTN__TILE, 1, 16), cpu = caps_of(CLATTN__SIMD, 8, 16);
    char why[256];
    cr_assert_not(accepts("attention_simd", &problem, &gpu, why, sizeof why));
    cr_assert(strstr(why, "lanes"), "%s", why);
    cr_assert_not(accepts("attention_simd", &problem, &cpu, why, sizeof why));
    cr_assert(strstr(why, "largest allocation"), "%s", why);
}

/* What the kernels' #error guards demand, for every device that can be invented. */
Test(registry, configurations_hold_what_kernels_demand)
{
    static const uint32_t widths[] = {1, 2, 4, 8, 16};
    static const int64_t dims[] = {1, 64, 65, 128, 129, 256, 257, 576};
    for (size_t w = 0; w < 5; w++)
        for (uint32_t registers = 16; registers <= 32; registers *= 2)
            for (size_t d = 0; d < 8; d++) {
                const clattn__caps caps = caps_of(CLATTN__SIMD, widths[w], registers);
                const clattn__problem problem = problem_of(33, dims[d], dims[7 - d], 0);
                clattn__variant variant;
                make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
                const clattn__config *c = &variant.config;
                cr_assert(c->vec == 4 || c->vec == 8 || c->vec == 16);
                cr_assert(c->vec <= caps.vector_width || c->vec == 4);
                cr_assert_eq(c->block_m % c->rows, 0);
                cr_assert_eq(c->block_n % (c->cols * c->vec), 0);
                cr_assert(c->dim_max >= dims[d] && c->dim_max >= dims[7 - d]);
                cr_assert(c->rows * c->cols + c->cols < registers || c->vec == 4,
                          "the register tile does not fit");
                cr_assert_eq(c->group_size, 1);
            }
}

/* Items of the packing launch begin with a panel, whatever tuning makes of the panels. */
Test(registry, whole_panels_are_packed)
{
    const clattn__kernel *kernel = kernel_named("attention_simd");
    const clattn__caps caps = caps_of(CLATTN__SIMD, 16, 32);
    const clattn__problem problem = problem_of(2000, 64, 64, 0);
    for (uint32_t cols = 1; cols <= 4; cols++) {
        clattn__config config = {0};
        clattn__variant variant;
        kernel->configure(&problem, &caps, &config);
        config.cols = cols;
        clattn__kernel_make_variant(kernel, &problem, &caps, &config, &variant);
        cr_assert_str_eq(variant.launch[0].function, "pack_keys");
        cr_assert_eq(variant.launch[0].tiling.block % (cols * 16), 0, "%u columns", cols);
    }
}

/* Launches name their functions' files; arguments fit the array. */
Test(registry, launches)
{
    const clattn__caps caps = caps_of(CLATTN__SIMD, 8, 16);
    const clattn__problem problem = problem_of(33, 40, 17, 0);
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        clattn__variant variant;
        make_variant(clattn__kernel_get(i), &problem, &caps, &variant);
        cr_assert(variant.launch_count >= 1 && variant.launch_count <= CLATTN__MAX_LAUNCHES);
        for (uint32_t n = 0; n < variant.launch_count; n++) {
            cr_assert(strstr(variant.launch[n].file, variant.launch[n].function));
            cr_assert(variant.launch[n].argument_count <= CLATTN__MAX_ARGUMENTS);
            cr_assert(variant.launch[n].tiling.block >= 1);
        }
    }
}

static clattn__problem gradient_of(int64_t n, uint64_t slots)
{
    clattn_attention_desc desc;
    clattn__problem problem;
    clattn_attention_desc_init(&desc);
    desc.batch = 2;
    desc.n_head = 4;
    desc.n_kv_head = 2;
    desc.n_q = desc.n_kv = n;
    desc.head_dim = 40;
    desc.value_dim = 17;
    desc.slots = slots | CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    cr_assert_eq(clattn__problem_init_gradient(&problem, &desc), CLATTN_OK);
    return problem;
}

/* As many launches as there are gradients, at most. */
Test(registry, launches_of_gradients)
{
    const clattn__caps caps = caps_of(CLATTN__SIMD, 8, 16);
    uint64_t all = 0;
    for (int slot = CLATTN_SLOT_BIAS; slot < CLATTN_SLOT_LIMIT; slot++)
        if (slot == CLATTN_SLOT_BIAS || slot == CLATTN_SLOT_SINK ||
            (slot >= CLATTN_SLOT_GRAD_LSE && slot <= CLATTN_SLOT_GRAD_SINK))
            all |= CLATTN_SLOT_BIT(slot);
    const uint64_t wanted[] = {CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q),
                               CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K),
                               CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V), all};
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        for (size_t w = 0; w < 4; w++) {
            clattn__variant variant;
            clattn_problem_row row;
            const clattn__problem problem = gradient_of(33, wanted[w]);
            if (clattn__kernel_get(i)->kind != CLATTN__GRADIENT)
                continue;
            make_variant(clattn__kernel_get(i), &problem, &caps, &variant);
            cr_assert(variant.launch_count > 1 && variant.launch_count <= CLATTN__MAX_LAUNCHES);
            cr_assert(variant.scratch_count >= 1 && variant.scratch_count <= CLATTN__MAX_SCRATCH);
            for (uint32_t n = 0; n < variant.launch_count; n++)
                cr_assert(variant.launch[n].argument_count <= CLATTN__MAX_ARGUMENTS);
            clattn__problem_row_fill(&problem, &variant, &row);
            cr_assert_eq(row.batch, 2);
            cr_assert_eq((row.gradients & CLATTN_G_K) != 0, w == 1 || w == 3);
            cr_assert_eq((row.gradients & CLATTN_G_LSE) != 0, w == 3);
        }
}

/* What a pass over keys keeps grows with the number of queries and keys, not with their product. */
Test(registry, workspace_of_gradients_is_linear)
{
    const clattn__caps caps = caps_of(CLATTN__SIMD, 16, 32), gpu = caps_of(CLATTN__TILE, 1, 16);
    const uint64_t slots =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K);
    uint64_t before = 0;
    char why[256];
    for (int64_t n = 4096; n <= 65536; n *= 2) {
        const clattn__problem problem = gradient_of(n, slots);
        clattn__variant variant;
        make_variant(kernel_named("gradient_simd"), &problem, &caps, &variant);
        cr_assert(variant.config.range_keys * 8 >= n && variant.config.range_keys >= 512);
        cr_assert_eq(variant.config.range_keys % variant.config.key_block, 0);
        cr_assert_eq(variant.config.key_block % variant.config.block_n, 0);
        cr_assert(before == 0 || variant.workspace <= 2 * before);
        before = variant.workspace;
    }
    const clattn__problem problem = gradient_of(1 << 20, slots);
    cr_assert_not(accepts("gradient_simd", &problem, &caps, why, sizeof why));
    cr_assert(strstr(why, "largest allocation"), "%s", why);
    cr_assert_not(accepts("gradient_simd", &problem, &gpu, why, sizeof why));
    cr_assert(strstr(why, "lanes"), "%s", why);
    cr_assert(accepts("gradient_reference", &problem, &gpu, why, sizeof why));
}

/* Ranges don't depend on the bound of the keys where that is moderate. */
Test(registry, ranges_of_gradients_are_a_grid)
{
    const clattn__caps caps = caps_of(CLATTN__SIMD, 16, 32);
    const int64_t lengths[] = {1, 511, 512, 513, 1000, 4096};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const clattn__problem problem =
            gradient_of(lengths[i], CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q));
        clattn__variant variant;
        make_variant(kernel_named("gradient_simd"), &problem, &caps, &variant);
        cr_assert_eq(variant.config.range_keys, 512);
    }
}

Test(registry, values_are_packed_only_where_rows_are_not_whole_vectors)
{
    const clattn__caps caps = caps_of(CLATTN__SIMD, 8, 16);
    clattn__variant variant;
    clattn__problem problem = problem_of(601, 64, 64, 0);
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    cr_assert_eq(variant.launch_count, 2);
    /* 2 sequences, 2 key/value heads, 601 keys rounded up to panels of 16, 64 floats */
    cr_assert_eq(variant.workspace, 4 * 2 * 2 * 608 * 64);
    problem.layout[CLATTN_SLOT_V].stride[3] = 2;
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    cr_assert_eq(variant.launch_count, 3);
    cr_assert_eq(variant.workspace, 4 * 2 * 2 * (608 * 64 + 601 * 64));
    problem = problem_of(601, 64, 63, 0);
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    cr_assert_eq(variant.workspace, 4 * 2 * 2 * (608 * 64 + 601 * 64));
}

Test(registry, rows)
{
    const clattn__caps caps = caps_of(CLATTN__SIMD, 8, 16);
    clattn__problem problem = problem_of(601, 64, 63, CLATTN_SLOT_BIT(CLATTN_SLOT_LSE));
    clattn__variant variant;
    clattn_problem_row row;
    problem.right = 0;
    problem.bottom_right = 1;
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    clattn__problem_row_fill(&problem, &variant, &row);
    cr_assert_eq(row.flags, CLATTN_F_BOTTOM_RIGHT | CLATTN_F_LSE);
    cr_assert(row.right == 0 && row.left == CLATTN_UNLIMITED);
    cr_assert_eq(row.group, 2);
    cr_assert_eq(row.tensor[CLATTN_T_K].stride[2], 64);
    cr_assert_eq(row.tensor[CLATTN_T_K_PANELS].stride[2], 64 * 16);
    cr_assert_eq(row.tensor[CLATTN_T_V_ROWS].stride[2], 64);
    cr_assert_eq(row.tensor[CLATTN_T_V_ROWS].offset, 2 * 2 * 608 * 64);
}

Test(registry, short_problems_take_one_launch)
{
    clattn__caps caps = caps_of(CLATTN__SIMD, 8, 16);
    clattn__variant variant;
    clattn_problem_row row;
    caps.compute_units = 2;
    /* 2 sequences of 4 heads on 2 units: a head an item, in blocks of equal size */
    clattn__problem problem = problem_of(100, 64, 63, 0);
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    clattn__problem_row_fill(&problem, &variant, &row);
    cr_assert_eq(variant.launch_count, 1);
    cr_assert_eq(variant.config.block_rows, 54);
    cr_assert_eq(variant.config.item_rows, 108);
    cr_assert_eq(clattn__work_list_count(&problem, &variant.launch[0].tiling), 2 * 4);
    cr_assert_eq(row.flags, CLATTN_F_FUSED | CLATTN_F_FUSED_VALUES);
    cr_assert_eq(row.block_rows, 54);
    cr_assert_eq(row.tensor[CLATTN_T_K_PANELS].stride[4], 112 * 64);
    cr_assert_eq(row.tensor[CLATTN_T_V_ROWS].stride[4], 100 * 64);
    cr_assert_eq(variant.workspace, 4 * 8 * (112 * 64 + 100 * 64));
    /* many units: an item a block, and blocks as small as four register tiles */
    caps.compute_units = 64;
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    cr_assert_eq(variant.config.block_rows, 24);
    cr_assert_eq(clattn__work_list_count(&problem, &variant.launch[0].tiling), 2 * 4 * 5);
    /* weights need what is packed once more */
    problem = problem_of(100, 64, 64, CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS));
    make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
    cr_assert_eq(variant.launch_count, 3);
}

Test(registry, one_head_keeps_all_units_busy)
{
    static const struct {
        int64_t n_q, n_kv;
        uint32_t units;
        uint64_t items;
    } cases[] = {{96, 96, 2, 4},      {96, 96, 1, 2},       {24, 96, 8, 1},
                 {2048, 2048, 2, 22}, {2048, 2048, 64, 86}, {1, 4096, 64, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clattn__caps caps = caps_of(CLATTN__SIMD, 8, 16);
        clattn__problem problem = problem_of(cases[i].n_kv, 64, 64, 0);
        clattn__variant variant;
        caps.compute_units = cases[i].units;
        problem.extent[CLATTN__BATCH] = 1;
        problem.extent[CLATTN__N_HEAD] = problem.extent[CLATTN__N_KV_HEAD] = 1;
        problem.extent[CLATTN__N_Q] = cases[i].n_q;
        make_variant(kernel_named("attention_simd"), &problem, &caps, &variant);
        const clattn__launch *last = &variant.launch[variant.launch_count - 1];
        cr_assert_eq(clattn__work_list_count(&problem, &last->tiling), cases[i].items, "case %zu",
                     i);
    }
}

Test(registry, macros)
{
    const clattn__config config = {.vec = 8, .dim_max = 64};
    clattn__env env;
    clattn__text text;
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    clattn__text_init(&text, &env);
    clattn__config_macros(&config, &text);
    cr_assert_str_eq(clattn__text_get(&text), "-D VEC=8 -D DIM_MAX=64");
    clattn__text_finish(&text);
    clattn__text_init(&text, &env);
    clattn__config_describe(&config, &text);
    cr_assert_str_eq(clattn__text_get(&text), "VEC=8 DIM_MAX=64");
    clattn__text_finish(&text);
    clattn__env_finish(&env);
}

/* What the guards of cl/common/additive.h demand, and memory that the widest problem needs. */
Test(registry, additive_tiles_hold_what_kernels_demand)
{
    static const char *const names[] = {"additive_simd", "additive_gradient_simd"};
    static const clattn__kind kinds[] = {CLATTN__ADDITIVE, CLATTN__ADDITIVE_GRADIENT};
    static const uint32_t widths[] = {1, 2, 4, 8, 16};
    clattn_additive_desc desc;
    clattn_additive_desc_init(&desc);
    desc.batch = desc.n_head = 1;
    desc.n_q = desc.n_kv = 512;
    desc.channels = desc.value_dim = 128;
    for (size_t k = 0; k < 2; k++)
        for (size_t w = 0; w < 10; w++) {
            const clattn__caps caps = caps_of(CLATTN__SIMD, widths[w % 5], w < 5 ? 16 : 32);
            clattn__problem problem;
            clattn__variant variant;
            desc.slots = k ? CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) : 0;
            cr_assert_eq(clattn__problem_init_additive(&problem, &desc, kinds[k]), CLATTN_OK);
            make_variant(kernel_named(names[k]), &problem, &caps, &variant);
            const clattn__config *c = &variant.config;
            cr_assert(c->vec == 4 || c->vec == 8 || c->vec == 16);
            cr_assert(c->vec <= caps.vector_width || c->vec == 4);
            cr_assert_eq(c->block_m % 4, 0);
            cr_assert_eq(c->block_n % (c->cols * c->vec), 0);
            cr_assert(variant.workspace < 512 * 512 * 128 * 4 / 10, "%d bytes",
                      (int)variant.workspace);
        }
}

/* Twice the queries and keys take at most twice the memory, forward and backward: nothing is kept
 * of the pairs. */
Test(registry, workspace_of_additive_attention_is_linear)
{
    static const struct {
        const char *name;
        clattn__kind kind;
        uint64_t slots;
    } kernels[] = {
        {"additive_simd", CLATTN__ADDITIVE, CLATTN_SLOT_BIT(CLATTN_SLOT_LSE)},
        {"additive_gradient_simd", CLATTN__ADDITIVE_GRADIENT,
         CLATTN_SLOT_BIT(CLATTN_SLOT_CHANNEL_BIAS) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) |
             CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) |
             CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE) |
             CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_CHANNEL_BIAS)},
        {"additive_gradient_tile", CLATTN__ADDITIVE_GRADIENT,
         CLATTN_SLOT_BIT(CLATTN_SLOT_CHANNEL_BIAS) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) |
             CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) |
             CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE) |
             CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_CHANNEL_BIAS)},
        {"additive_gradient_reference", CLATTN__ADDITIVE_GRADIENT,
         CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q)},
    };
    const clattn__caps caps = caps_of(CLATTN__SIMD, 16, 32);
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
        clattn_additive_desc desc;
        clattn_additive_desc_init(&desc);
        desc.batch = desc.n_head = 2;
        desc.channels = 100;
        desc.value_dim = 60;
        desc.slots = kernels[k].slots;
        uint64_t before = 0;
        for (int64_t n = 512; n <= 65536; n *= 2) {
            clattn__problem problem;
            clattn__variant variant;
            desc.n_q = desc.n_kv = n;
            cr_assert_eq(clattn__problem_init_additive(&problem, &desc, kernels[k].kind), CLATTN_OK,
                         "%s", clattn__message());
            make_variant(kernel_named(kernels[k].name), &problem, &caps, &variant);
            cr_assert(variant.workspace > 0 && (before == 0 || variant.workspace <= 2 * before),
                      "%s: %d bytes for %d, %d for half as many", kernels[k].name,
                      (int)variant.workspace, (int)n, (int)before);
            before = variant.workspace;
        }
    }
}

Test(registry, additive_declines_what_does_not_fit)
{
    const clattn__caps cpu = caps_of(CLATTN__SIMD, 8, 16), gpu = caps_of(CLATTN__TILE, 1, 16);
    clattn_additive_desc desc;
    clattn__problem problem;
    char why[256];
    clattn_additive_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_q = desc.n_kv = desc.channels = desc.value_dim = 4;
    cr_assert_eq(clattn__problem_init_additive(&problem, &desc, CLATTN__ADDITIVE), CLATTN_OK);
    cr_assert(accepts("additive_simd", &problem, &cpu, why, sizeof why));
    cr_assert_not(accepts("additive_simd", &problem, &gpu, why, sizeof why));
    cr_assert(strstr(why, "lanes"), "%s", why);
    desc.n_kv = 1 << 24;
    cr_assert_eq(clattn__problem_init_additive(&problem, &desc, CLATTN__ADDITIVE), CLATTN_OK);
    cr_assert_not(accepts("additive_simd", &problem, &cpu, why, sizeof why));
    cr_assert(strstr(why, "largest allocation"), "%s", why);
    cr_assert(accepts("additive_reference", &problem, &cpu, why, sizeof why));
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K);
    cr_assert_eq(clattn__problem_init_additive(&problem, &desc, CLATTN__ADDITIVE_GRADIENT),
                 CLATTN_OK);
    cr_assert_not(accepts("additive_gradient_tile", &problem, &gpu, why, sizeof why));
    cr_assert(strstr(why, "sums of tiles need up to"), "%s", why);
    cr_assert(accepts("additive_gradient_reference", &problem, &gpu, why, sizeof why));
}
