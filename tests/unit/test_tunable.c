/* What kernels say can be tuned, on invented devices: classes, candidates, and that nothing which
 * fits breaks what the kernels' #error guards demand. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/registry.h"

static clattn__caps caps_of(uint32_t width, uint32_t registers)
{
    clattn__caps caps;
    memset(&caps, 0, sizeof caps);
    caps.type = CLATTN_DEVICE_CPU;
    caps.family = CLATTN__SIMD;
    caps.compute_units = 3;
    caps.vector_width = width;
    caps.vector_registers = registers;
    caps.opencl_c = 120;
    caps.max_allocation = (uint64_t)1 << 30;
    caps.max_work_group = 256;
    caps.memory_alignment = 256;
    return caps;
}

static const struct {
    uint32_t width, registers;
} devices[] = {{16, 32}, {8, 16}, {8, 32}, {4, 32}, {4, 16}, {1, 16}};
enum { DEVICES = sizeof devices / sizeof devices[0] };

typedef void (*body)(const clattn__kernel *kernel, const clattn__caps *caps);

static void each(body run)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        const clattn__kernel *kernel = clattn__kernel_get(i);
        for (size_t d = 0; kernel->tunable && d < DEVICES; d++) {
            const clattn__caps caps = caps_of(devices[d].width, devices[d].registers);
            run(kernel, &caps);
            found++;
        }
    }
    cr_assert_gt(found, 0);
}

static clattn__config configured(const clattn__kernel *kernel, const clattn__problem *problem,
                                 const clattn__caps *caps)
{
    clattn__config config = {0};
    kernel->configure(problem, caps, &config);
    return config;
}

static clattn__problem problem_of(int64_t n_q, int64_t n_kv, int64_t dim, uint64_t slots)
{
    clattn_attention_desc desc;
    clattn__problem problem;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = 2;
    desc.n_q = n_q;
    desc.n_kv = n_kv;
    desc.head_dim = desc.value_dim = dim;
    desc.slots = slots;
    cr_assert_eq(clattn__problem_init(&problem, &desc), CLATTN_OK);
    return problem;
}

static void check_classes(const clattn__kernel *kernel, const clattn__caps *caps)
{
    const clattn__tunable *tunable = kernel->tunable;
    (void)caps;
    for (uint32_t c = 0; c < tunable->class_count; c++) {
        const clattn__problem_class *row = &tunable->classes[c];
        cr_assert(strlen(row->name) > 0 && strlen(row->name) < 64);
        cr_assert_eq(strcspn(row->name, " \t\n"), strlen(row->name), "%s", row->name);
        cr_assert_lt(row->leader, (int32_t)c, "%s: its leader comes later", row->name);
        cr_assert(row->leader < 0 || tunable->classes[row->leader].leader < 0,
                  "%s: its leader follows another", row->name);
        cr_assert(row->leader >= 0 || row->weight > 0, "%s", row->name);
        for (uint32_t other = 0; other < c; other++)
            cr_assert_str_neq(row->name, tunable->classes[other].name);
    }
}

Test(tunable, classes)
{
    each(check_classes);
}

/* Every class that is searched has problems, which are of this class and which the kernel takes. */
static void check_samples(const clattn__kernel *kernel, const clattn__caps *caps)
{
    const clattn__tunable *tunable = kernel->tunable;
    clattn__env env;
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    for (uint32_t c = 0; c < tunable->class_count; c++) {
        uint32_t count = 0;
        clattn__problem problem;
        for (; tunable->sample(c, count, caps, &problem); count++) {
            const clattn__config config = configured(kernel, &problem, caps);
            clattn__text reason;
            clattn__text_init(&reason, &env);
            cr_assert_eq(tunable->class_of(&problem, &config), c, "sample %u of %s", count,
                         tunable->classes[c].name);
            cr_assert(clattn__kernel_accepts(kernel, &problem, caps, &reason), "%s: %s",
                      kernel->name, clattn__text_get(&reason));
            clattn__text_finish(&reason);
        }
        cr_assert_leq(count, CLATTN__MOST_SAMPLES);
        cr_assert_eq(count > 0, tunable->classes[c].weight > 0, "%s", tunable->classes[c].name);
    }
    clattn__env_finish(&env);
}

Test(tunable, samples)
{
    each(check_samples);
}

/* The guards of cl/common/simd_block.h and panels.h, and what the registers and the stack hold. */
static void check_attention(const clattn__config *c, const clattn__caps *caps)
{
    const uint32_t panel = c->cols * c->vec;
    cr_assert(c->vec == 4 || c->vec == 8 || c->vec == 16);
    cr_assert(c->rows && c->cols && c->value_cols && c->block_m && c->block_n);
    cr_assert_eq(c->block_m % c->rows, 0);
    cr_assert_eq(c->block_n % panel, 0);
    cr_assert_eq(c->block_n % 64, 0);
    cr_assert_leq(c->block_n / panel, 32);
    cr_assert_leq(panel, 64, "the bound of the workspace is for panels of 64 keys");
    cr_assert_leq(c->rows * c->cols, caps->vector_registers);
    cr_assert_leq(c->rows * c->value_cols, caps->vector_registers);
    cr_assert_leq(sizeof(float) * c->block_m * (c->block_n + 2 * c->dim_max), 1u << 20);
}

/* Those of cl/linear/linear_simd.cl. */
static void check_linear(const clattn__config *c, const clattn__caps *caps)
{
    cr_assert(c->vec == 4 || c->vec == 8 || c->vec == 16);
    cr_assert(c->rows && c->cols && c->block_m && c->block_n && c->block_k);
    cr_assert(c->block_m % c->rows == 0 && c->block_m % c->vec == 0);
    cr_assert(c->block_n % (c->cols * c->vec) == 0 && c->block_k % 16 == 0);
    cr_assert_eq(c->cols * c->vec % CLATTN_PANEL, 0);
    cr_assert_leq(c->rows * c->cols, caps->vector_registers);
    cr_assert_leq(sizeof(float) * c->block_m * (c->block_n + c->block_k), 1u << 20);
}

/* Those of cl/common/additive.h; 64 keys of a packing item are whole strips. */
static void check_additive(const clattn__config *c, const clattn__caps *caps)
{
    cr_assert(c->vec == 4 || c->vec == 8 || c->vec == 16);
    cr_assert(c->cols && c->block_m && c->block_n);
    cr_assert(c->block_m % 4 == 0 && c->block_n % 4 == 0);
    cr_assert(c->block_n % (c->cols * c->vec) == 0 && 64 % (c->cols * c->vec) == 0);
    cr_assert_leq(4 * c->cols, caps->vector_registers);
    cr_assert_leq(sizeof(float) * c->block_m * c->block_n, 1u << 18);
    cr_assert_leq(c->block_m, 64, "the bound of the workspace is for so many queries");
}

static void check_additive_gradient(const clattn__config *c, const clattn__caps *caps)
{
    check_additive(c, caps);
    cr_assert(c->block_m <= 32 && c->block_n <= 64, "the bound of the workspace");
}

/* Those of cl/common/decode_split.h. */
static void check_decode(const clattn__config *c, const clattn__caps *caps)
{
    cr_assert(c->vec == 4 || c->vec == 8 || c->vec == 16);
    cr_assert(c->rows == 1 || c->rows == 2 || c->rows == 4, "groups of keys in their order");
    cr_assert(c->streams == 1 || c->streams == 4);
    cr_assert(c->block_m && c->block_m % c->rows == 0);
    cr_assert_leq(c->rows * c->value_cols, caps->vector_registers);
    cr_assert_leq(sizeof(float) * c->block_m * (512 + 2 * c->dim_max), 1u << 18);
}

static const struct {
    const char *kernel;
    void (*check)(const clattn__config *config, const clattn__caps *caps);
} guards[] = {
    {"attention_simd", check_attention},
    {"attention_decode_simd", check_decode},
    {"linear_simd", check_linear},
    {"linear_x_simd", check_linear},
    {"linear_w_simd", check_linear},
    {"additive_simd", check_additive},
    {"additive_gradient_simd", check_additive_gradient},
};

static void check_guards(const clattn__kernel *kernel, const clattn__config *c,
                         const clattn__caps *caps)
{
    for (size_t i = 0; i < sizeof guards / sizeof guards[0]; i++)
        if (strcmp(guards[i].kernel, kernel->name) == 0) {
            guards[i].check(c, caps);
            return;
        }
    cr_assert_fail("the guards of %s are not known here", kernel->name);
}

static const int64_t dims[] = {1, 64, 65, 128, 129, 256, 257, 576};

static void check_candidates(const clattn__kernel *kernel, const clattn__caps *caps)
{
    const clattn__tunable *tunable = kernel->tunable;
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        const clattn__problem problem = problem_of(600, 600, dims[d], 0);
        const clattn__config built_in = configured(kernel, &problem, caps);
        uint32_t fitting = 0;
        cr_assert(tunable->fits(&built_in, caps), "VEC %u, %u registers, dim %d: built in",
                  caps->vector_width, caps->vector_registers, (int)dims[d]);
        check_guards(kernel, &built_in, caps);
        for (uint32_t s = 0; s < tunable->step_count; s++)
            for (uint32_t i = 0; i < tunable->steps[s].count; i++) {
                clattn__config changed = built_in;
                clattn__config_change(&tunable->steps[s].rows[i], &changed);
                if (!tunable->fits(&changed, caps))
                    continue;
                check_guards(kernel, &changed, caps);
                fitting += !clattn__config_same(&changed, &built_in);
            }
        cr_assert_gt(fitting, tunable->step_count > 1 ? 3 : 0, "nothing to try");
    }
}

Test(tunable, candidates)
{
    each(check_candidates);
}

/* Every number out of range, one at a time, and all that fits at random. */
static void check_absurd(const clattn__kernel *kernel, const clattn__caps *caps)
{
    static const uint32_t numbers[] = {0, 1, 3, 5, 7, 17, 31, 63, 100, 4096, 999999999, UINT32_MAX};
    const clattn__problem problem = problem_of(600, 600, 64, 0);
    const clattn__config built_in = configured(kernel, &problem, caps);
    for (size_t field = 0; field < 7; field++)
        for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
            clattn__config config = built_in;
            uint32_t *const at[] = {&config.vec,        &config.rows,    &config.cols,
                                    &config.value_cols, &config.block_m, &config.block_n,
                                    &config.block_k};
            *at[field] = numbers[n];
            if (kernel->tunable->fits(&config, caps))
                check_guards(kernel, &config, caps);
        }
    uint64_t state = 1;
    for (int i = 0; i < 100000; i++) {
        clattn__config config = built_in;
        uint32_t *const at[] = {&config.vec,        &config.rows,    &config.cols,
                                &config.value_cols, &config.block_m, &config.block_n,
                                &config.block_k};
        static const uint32_t most[] = {17, 20, 10, 10, 300, 1300, 1300};
        for (size_t field = 0; field < 7; field++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            *at[field] = (uint32_t)(state >> 33) % most[field];
        }
        if (kernel->tunable->fits(&config, caps))
            check_guards(kernel, &config, caps);
    }
}

Test(tunable, absurd_numbers_do_not_fit)
{
    each(check_absurd);
}

/* A class with a leader gets its bits: following twice changes nothing, and lanes and blocks of
 * keys are the leader's. */
static void check_following(const clattn__kernel *kernel, const clattn__caps *caps)
{
    const clattn__problem problem = problem_of(600, 600, 64, 0);
    const clattn__config built_in = configured(kernel, &problem, caps);
    clattn__config leader = built_in, own = built_in, again;
    if (strcmp(kernel->name, "attention_simd") != 0)
        return; /* no class of the others has a leader */
    leader.block_n = 512;
    leader.vec = 4;
    leader.rows = 4;
    kernel->tunable->follow(&leader, &own);
    cr_assert(own.block_n == 512 && own.vec == 4);
    cr_assert_eq(own.rows, built_in.rows);
    again = own;
    kernel->tunable->follow(&leader, &again);
    cr_assert(clattn__config_same(&own, &again));
}

Test(tunable, following)
{
    each(check_following);
}

static const char *class_name(const clattn__kernel *kernel, const clattn__problem *problem)
{
    const clattn__caps caps = caps_of(16, 32);
    const clattn__config config = configured(kernel, problem, &caps);
    return kernel->tunable->classes[kernel->tunable->class_of(problem, &config)].name;
}

static const clattn__kernel *find_kernel(const char *name)
{
    uint32_t i = 0;
    while (strcmp(clattn__kernel_get(i)->name, name) != 0)
        i++;
    return clattn__kernel_get(i);
}

Test(tunable, classes_of_attention)
{
    const clattn__kernel *kernel = find_kernel("attention_simd");
    const uint64_t mask = CLATTN_SLOT_BIT(CLATTN_SLOT_MASK);
    static const struct {
        int64_t n_q, n_kv, dim;
        bool masked;
        const char *name;
    } rows[] = {
        {1000, 1000, 64, false, "dim=64"},     {16, 257, 1, false, "dim=64"},
        {16, 256, 64, false, "dim=64,short"},  {15, 256, 64, false, "dim=64,few"},
        {1, 100000, 65, false, "dim=128,few"}, {0, 0, 128, false, "dim=128,few"},
        {16, 100, 129, true, "dim=256,full"},  {15, 100, 257, true, "dim=576,few,full"},
        {1000, 1000, 576, false, "dim=576"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const clattn__problem problem =
            problem_of(rows[i].n_q, rows[i].n_kv, rows[i].dim, rows[i].masked ? mask : 0);
        cr_assert_str_eq(class_name(kernel, &problem), rows[i].name);
    }
}

/* Small products are those of which multiply-adds are few, whichever factor is which. */
Test(tunable, classes_of_linear)
{
    static const struct {
        int64_t batch, rows, in, out;
        const char *name;
    } rows[] = {
        {1, 512, 512, 512, "small"}, {1, 512, 512, 513, "large"}, {1, 1, 4096, 4096, "small"},
        {1, 9, 4096, 4096, "large"}, {2, 256, 512, 512, "small"}, {0, 512, 4096, 4096, "small"},
        {1, 0, 4096, 4096, "small"}, {3, 256, 512, 512, "large"}, {1, 4096, 1, 1, "small"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int pass = 0; pass < 3; pass++) {
            static const char *const names[] = {"linear_simd", "linear_x_simd", "linear_w_simd"};
            clattn_linear_desc desc;
            clattn__problem problem;
            clattn_linear_desc_init(&desc);
            desc.pass = (clattn_linear_pass)pass;
            desc.batch = rows[i].batch;
            desc.rows = rows[i].rows;
            desc.in = rows[i].in;
            desc.out = rows[i].out;
            desc.slots = pass == 2 ? CLATTN_SLOT_BIT(CLATTN_SLOT_W) : 0;
            cr_assert_eq(clattn__problem_init_linear(&problem, &desc, CLATTN__LINEAR), CLATTN_OK);
            cr_assert_str_eq(class_name(find_kernel(names[pass]), &problem), rows[i].name,
                             "row %d, pass %d", (int)i, pass);
        }
}

Test(tunable, text)
{
    const clattn__config config = {.vec = 8, .rows = 6, .block_n = 192, .dim_max = 64, .full = 1};
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"VEC=8", true},
        {"VEC=8 ROWS=3", true},
        {"NEW=1 VEC=8", true},
        {"VEC=", false},
        {"VEC", false},
        {"=8", false},
        {"VEC=-8", false},
        {"VEC=8x", false},
        {"VEC=1e1", false},
        {"VEC = 8", false},
        {"VEC=8  ROWS=6", false},
        {"VEC=08", true},
        {"VEC=123456789", true},
        {"VEC=1234567890", false},
        {"DIM_MAX=1", true},
        {"FULL=7", true},
        {"VEC=8,ROWS=6", false},
    };
    clattn__env env;
    clattn__text text;
    clattn__config parsed = {0};
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    clattn__text_init(&text, &env);
    clattn__config_describe_tuned(&config, &text);
    cr_assert_str_eq(clattn__text_get(&text), "VEC=8 ROWS=6 BLOCK_N=192");
    cr_assert(clattn__config_parse_tuned(clattn__text_get(&text), &parsed));
    cr_assert(clattn__config_same(&config, &parsed));
    cr_assert(parsed.dim_max == 0 && parsed.full == 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clattn__config read = {0};
        cr_assert_eq(clattn__config_parse_tuned(rows[i].text, &read), rows[i].good, "'%s'",
                     rows[i].text);
        cr_assert(read.dim_max == 0 && read.full == 0, "'%s'", rows[i].text);
    }
    clattn__text_finish(&text);
    clattn__env_finish(&env);
}
