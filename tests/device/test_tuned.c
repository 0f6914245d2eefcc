/* Tuning on a device: plans take the rows of a file that are for it and give right results with
 * them, and clattn_tune writes such a file. The file's text is tested in tests/unit/test_tuning.c.
 */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"
#include "tuned_rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
/* Fits every device that the kernel is for. */
#define NARROW "VEC=4 ROWS=4 COLS=2 VALUE_COLS=2 BLOCK_M=24 BLOCK_N=64"

static tuned_rig rig;

static void begin(void)
{
    tuned_begin(&rig);
}

static void finish(void)
{
    tuned_finish(&rig);
}

TestSuite(tuned, .init = begin, .fini = finish);

static void add_row(const clattn_device_info *info, const char *problem, const char *configuration)
{
    tuned_add_row(&rig, "attention_simd", info, problem, configuration);
}

static clattn_plan_info plan_info(clattn_context *context, int64_t length, int64_t dim)
{
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_attention_desc desc;
    clattn_plan *plan;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = 1;
    desc.n_q = desc.n_kv = length;
    desc.head_dim = desc.value_dim = dim;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    const bool said = strstr(clattn_explain(plan), "configured: by the tuning file") != NULL;
    cr_assert_eq(said, info.tuned == 1, "%s", clattn_explain(plan));
    clattn_plan_destroy(plan);
    return info;
}

static void run_one(clattn_context *context, const rig_shape *of, uint64_t slots)
{
    rig_problem problem;
    rig_make(&problem, of, slots, &rig_contiguous);
    rig_expect(&problem);
    cr_assert_eq(rig_run(context, &problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    rig_check(&problem);
    rig_free(&problem);
}

/* How many rows of a table a device takes, at least: `wide` with vectors of 16 floats, `middle`
 * with 8, and one of 4 fits every device. */
static uint32_t least_used(const clattn_device_info *info, uint32_t wide, uint32_t middle)
{
    return info->vector_width >= 16 ? wide : info->vector_width >= 8 ? middle : 1;
}

/* The built-in rows of AVX2, of NEON and of narrow vectors, and what tuning may come to. */
static const char *const configurations[] = {
    "VEC=8 ROWS=6 COLS=2 VALUE_COLS=2 BLOCK_M=48 BLOCK_N=256",
    "VEC=4 ROWS=6 COLS=4 VALUE_COLS=4 BLOCK_M=48 BLOCK_N=256",
    "VEC=4 ROWS=6 COLS=2 VALUE_COLS=2 BLOCK_M=48 BLOCK_N=256",
    "VEC=16 ROWS=12 COLS=2 VALUE_COLS=2 BLOCK_M=24 BLOCK_N=128",
    "VEC=16 ROWS=8 COLS=3 VALUE_COLS=3 BLOCK_M=72 BLOCK_N=192",
    "VEC=8 ROWS=5 COLS=2 VALUE_COLS=1 BLOCK_M=50 BLOCK_N=64",
};

/* Around the blocks of all of them: 47 to 73 queries, 63 to 257 keys, odd dimensions. */
static const rig_shape shapes[] = {
    {1, 1, 1, 0, 5, 64, 64, CLATTN_ALIGN_NONE},
    {1, 1, 1, 1, 1, 64, 64, CLATTN_ALIGN_NONE},
    {2, 2, 1, 47, 63, 64, 64, CLATTN_ALIGN_NONE},
    {1, 2, 2, 48, 64, 64, 64, CLATTN_ALIGN_TOP_LEFT},
    {1, 2, 1, 73, 129, 33, 47, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 1, 1, 51, 193, 64, 16, CLATTN_ALIGN_NONE},
    {1, 3, 1, 31, 257, 17, 64, CLATTN_ALIGN_NONE},
    {1, 1, 1, 97, 521, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT},
};

Test(tuned, right_results)
{
    uint32_t used = 0;
    clattn_context *context = tuned_open(&rig);
    const clattn_device_info info = tuned_device(context);
    rig_close(context);
    for (size_t i = 0; i < COUNT(configurations); i++) {
        unlink(rig.path);
        add_row(&info, "dim=64", configurations[i]);
        context = tuned_open(&rig);
        const clattn_plan_info planned = plan_info(context, 600, 64);
        used += planned.tuned;
        if (planned.tuned)
            cr_assert(strstr(planned.configuration, configurations[i]), "%s",
                      planned.configuration);
        rig_say("%s", configurations[i]);
        for (size_t s = 0; s < COUNT(shapes); s++)
            run_one(context, &shapes[s], i == 3 && s > 3 ? RIG_FULL : 0);
        rig_close(context);
        if (strcmp(info.family, "simd") != 0)
            return; /* the kernel isn't for this device */
    }
    cr_assert_geq(used, least_used(&info, 6, 3), "%u rows were used", used);
}

Test(tuned, only_what_the_row_is_for)
{
    clattn_context *context = tuned_open(&rig);
    const clattn_device_info info = tuned_device(context);
    cr_assert_eq(plan_info(context, 600, 64).tuned, 0);
    add_row(&info, "dim=64", NARROW);
    cr_assert_eq(plan_info(context, 600, 64).tuned, 0, "the file is read once for a context");
    rig_close(context);
    if (strcmp(info.family, "simd") != 0)
        return;
    context = tuned_open(&rig);
    cr_assert_eq(plan_info(context, 600, 64).tuned, 1);
    cr_assert(strstr(plan_info(context, 600, 64).configuration, NARROW));
    cr_assert_eq(plan_info(context, 600, 65).tuned, 0);
    rig_close(context);
    rig.options.flags = CLATTN_CONTEXT_NO_TUNING;
    context = tuned_open(&rig);
    cr_assert_eq(plan_info(context, 600, 64).tuned, 0);
    rig_close(context);
    rig.options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    context = tuned_open(&rig);
    cr_assert_eq(plan_info(context, 600, 64).tuned, 0);
    rig_close(context);
}

/* 40 queries of 100 keys, in a problem of up to `n_kv` keys. */
static void run_within(clattn_context *context, int64_t n_kv, const float *values, float *out)
{
    enum { DIM = 64, QUERIES = 40 };
    int32_t length = 100;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = 1;
    desc.n_q = QUERIES;
    desc.n_kv = n_kv;
    desc.head_dim = desc.value_dim = DIM;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, (void *)(uintptr_t)values},
        {CLATTN_SLOT_K, 0, (void *)(uintptr_t)(values + QUERIES * DIM)},
        {CLATTN_SLOT_V, 0, (void *)(uintptr_t)(values + 2 * QUERIES * DIM)},
        {CLATTN_SLOT_OUT, 0, out},
        {CLATTN_SLOT_KV_LENGTHS, 0, &length},
    };
    cr_assert_eq(clattn_run(context, &desc, bindings, COUNT(bindings)), CLATTN_OK, "%s",
                 clattn_error_message());
}

/* A short sequence gives the same bits alone and among longer ones, though classes differ. */
Test(tuned, the_same_bits_in_company)
{
    static float values[512 * 64], alone[40 * 64], among[40 * 64];
    uint32_t state = 5;
    clattn_context *context = tuned_open(&rig);
    const clattn_device_info info = tuned_device(context);
    rig_close(context);
    add_row(&info, "dim=64", NARROW);
    add_row(&info, "dim=64,short", "VEC=4 ROWS=2 COLS=4 VALUE_COLS=2 BLOCK_M=12 BLOCK_N=64");
    for (size_t i = 0; i < COUNT(values); i++)
        values[i] = 4 * rig_number(&state);
    context = tuned_open(&rig);
    run_within(context, 100, values, alone);
    run_within(context, 300, values, among);
    cr_assert_arr_eq(alone, among, sizeof alone);
    rig_close(context);
}

/* ---- linear operations ----------------------------------------------------------------------- */

enum { ROWS = 97, IN = 70, OUT = 131 };

/* y = x W^T, and what the plan says; the numbers are the same in each call. */
static bool run_linear(clattn_context *context, float y[ROWS][OUT])
{
    static float x[ROWS][IN], w[OUT][IN];
    uint32_t state = 9;
    clattn_linear_desc desc;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_plan *plan;
    for (int i = 0; i < ROWS * IN; i++)
        x[i / IN][i % IN] = rig_number(&state);
    for (int i = 0; i < OUT * IN; i++)
        w[i / IN][i % IN] = rig_number(&state);
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.rows = ROWS;
    desc.in = IN;
    desc.out = OUT;
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_X, 0, x}, {CLATTN_SLOT_W, 0, w}, {CLATTN_SLOT_Y, 0, y}};
    cr_assert_eq(clattn_plan_linear(context, &desc, &plan), CLATTN_OK);
    cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    clattn_plan_destroy(plan);
    cr_assert_eq(clattn_linear(context, &desc, bindings, COUNT(bindings)), CLATTN_OK, "%s",
                 clattn_error_message());
    return info.tuned == 1;
}

/* Tuning doesn't change a bit of them. */
Test(tuned, linear_operations_keep_their_bits)
{
    static float built_in[ROWS][OUT], tuned[ROWS][OUT];
    static const char *const rows[] = {
        "VEC=4 ROWS=2 COLS=4 BLOCK_M=8 BLOCK_N=16 BLOCK_K=16",
        "VEC=8 ROWS=4 COLS=2 BLOCK_M=48 BLOCK_N=64 BLOCK_K=64",
        "VEC=8 ROWS=6 COLS=2 BLOCK_M=24 BLOCK_N=128 BLOCK_K=1024",
        "VEC=16 ROWS=12 COLS=2 BLOCK_M=96 BLOCK_N=64 BLOCK_K=32",
    };
    uint32_t used = 0;
    clattn_context *context = tuned_open(&rig);
    const clattn_device_info info = tuned_device(context);
    cr_assert_not(run_linear(context, built_in));
    rig_close(context);
    for (size_t i = 0; i < COUNT(rows); i++) {
        unlink(rig.path);
        tuned_add_row(&rig, "linear_simd", &info, "small", rows[i]);
        context = tuned_open(&rig);
        memset(tuned, 0xff, sizeof tuned);
        used += run_linear(context, tuned);
        cr_assert_arr_eq(tuned, built_in, sizeof tuned, "%s", rows[i]);
        rig_close(context);
    }
    cr_assert(used >= least_used(&info, 4, 3) || strcmp(info.family, "simd") != 0,
              "%u rows were used", used);
}

/* ---- clattn_tune ----------------------------------------------------------------------------- */

typedef struct witness {
    uint32_t calls, classes;
    double done;
    uint32_t stop_at; /* call; 0: never */
} witness;

static clattn_status see(void *user, const clattn_tune_progress *progress)
{
    witness *seen = user;
    seen->calls++;
    cr_assert_eq(progress->struct_size, sizeof *progress);
    cr_assert(progress->done >= seen->done && progress->done <= 1, "%g after %g", progress->done,
              seen->done);
    cr_assert(*progress->kernel && *progress->problem);
    cr_assert_eq(progress->state == CLATTN_TUNE_FASTER, progress->speedup > 1.02);
    seen->done = progress->done;
    seen->classes += progress->state != CLATTN_TUNE_TRYING;
    return seen->stop_at == seen->calls ? CLATTN_ERR_TIMEOUT : CLATTN_OK;
}

static clattn_status count_row(void *user, const clattn_tuning_row *row)
{
    cr_assert(*row->kernel && *row->problem && *row->configuration && *row->device);
    ++*(uint32_t *)user;
    return CLATTN_OK;
}

static uint32_t count_rows(void)
{
    uint32_t count = 0;
    cr_assert_eq(clattn_tuning_list(&rig.options, count_row, &count), CLATTN_OK, "%s",
                 clattn_error_message());
    return count;
}

static int files_in(const char *name)
{
    int count = 0;
    DIR *open_folder = opendir(name);
    cr_assert_not_null(open_folder);
    for (struct dirent *entry = readdir(open_folder); entry; entry = readdir(open_folder))
        count += entry->d_name[0] != '.';
    closedir(open_folder);
    return count;
}

static void count_failures(void *user, clattn_log_area area, const char *line)
{
    (void)area;
    *(uint32_t *)user += strstr(line, "a candidate failed") != NULL;
}

/* What is compared is what a kernel writes, not a slot that others write: candidates that differ
 * must have been wrong. */
Test(tuned, candidates_of_other_kernels_compute_the_same)
{
    static const char *const kernels[] = {"linear_simd", "additive_simd"};
    for (size_t i = 0; i < COUNT(kernels); i++) {
        uint32_t failures = 0;
        witness seen = {0};
        clattn_tune_options how;
        rig.options.kernel = kernels[i];
        rig.options.log = count_failures;
        rig.options.log_user = &failures;
        clattn_context *context = tuned_open(&rig);
        const bool simd = strcmp(tuned_device(context).family, "simd") == 0;
        clattn_tune_options_init(&how);
        how.seconds = 1.5;
        const clattn_status status = clattn_tune(context, &how, see, &seen);
        cr_assert(status == CLATTN_OK || !simd, "%s", clattn_error_message());
        cr_assert_eq(failures, 0, "%s", kernels[i]);
        cr_assert(seen.calls > 0 || !simd, "%s: nothing was tried", kernels[i]);
        rig_close(context);
    }
}

Test(tuned, a_search)
{
    clattn_context *context = tuned_open(&rig);
    clattn_device_info info = tuned_device(context);
    clattn_tune_options how;
    witness seen = {0};
    uint32_t removed;
    /* of another device, and of this one: a class that is searched, its follower, another class */
    add_row(&info, "dim=64", NARROW);
    add_row(&info, "dim=64,few", NARROW);
    add_row(&info, "dim=576", NARROW);
    strcat(info.name, " of another make");
    add_row(&info, "dim=64", NARROW);
    cr_assert_eq(count_rows(), 4);
    clattn_tune_options_init(&how);
    how.quick = 1;
    how.seconds = 8;
    const clattn_status status = clattn_tune(context, &how, see, &seen);
    if (strcmp(info.family, "simd") == 0) {
        cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
        cr_assert_eq(seen.classes, 6);
        cr_assert_geq(seen.calls, 5);
        cr_assert_float_eq(seen.done, 1, 1e-9);
        cr_assert_geq(count_rows(), 2);
        cr_assert_leq(count_rows(), 2 + 6);
        cr_assert_eq(files_in(rig.folder), 1, "something is left beside the file");
    }
    rig_close(context);
    context = tuned_open(&rig);
    for (size_t s = 0; s < COUNT(shapes); s++)
        run_one(context, &shapes[s], 0);
    rig_close(context);
    cr_assert_eq(clattn_tuning_forget(&rig.options, &removed), CLATTN_OK);
    cr_assert_eq(removed, 1);
    cr_assert_eq(clattn_tuning_forget(&rig.options, &removed), CLATTN_OK);
    cr_assert_eq(removed, 0);
    cr_assert_eq(count_rows(), 0);
}

Test(tuned, a_search_that_is_stopped)
{
    clattn_context *context = tuned_open(&rig);
    const clattn_device_info info = tuned_device(context);
    clattn_tune_options how;
    char before[1024], after[1024];
    add_row(&info, "dim=64", NARROW);
    FILE *file = fopen(rig.path, "rb");
    const size_t size = fread(before, 1, sizeof before, file);
    fclose(file);
    clattn_tune_options_init(&how);
    how.seconds = 3;
    for (uint32_t call = 1; call <= 2; call++) {
        witness seen = {.stop_at = call};
        cr_assert_eq(clattn_tune(context, &how, see, &seen), CLATTN_ERR_TIMEOUT);
        cr_assert_eq(seen.calls, call);
        file = fopen(rig.path, "rb");
        cr_assert_eq(fread(after, 1, sizeof after, file), size);
        fclose(file);
        cr_assert_arr_eq(before, after, size);
        cr_assert_eq(files_in(rig.folder), 1);
    }
    rig_close(context);
}

Test(tuned, refusals)
{
    clattn_context *context = tuned_open(&rig);
    clattn_tune_options how;
    witness seen = {0};
    char small[4];
    const double wrong[] = {-1, NAN, INFINITY, 1e9};
    cr_assert_eq(clattn_tune(NULL, NULL, NULL, NULL), CLATTN_ERR_ARGUMENT);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        clattn_tune_options_init(&how);
        how.seconds = wrong[i];
        cr_assert_eq(clattn_tune(context, &how, see, &seen), CLATTN_ERR_ARGUMENT);
        cr_assert(strstr(clattn_error_message(), "seconds"), "%s", clattn_error_message());
    }
    clattn_tune_options_init(&how);
    how.quick = 2;
    cr_assert_eq(clattn_tune(context, &how, see, &seen), CLATTN_ERR_ARGUMENT);
    clattn_tune_options_init(&how);
    how.struct_size = 3;
    cr_assert_eq(clattn_tune(context, &how, see, &seen), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(chmod(rig.folder, 0777), 0);
    cr_assert_eq(clattn_tune(context, NULL, see, &seen), CLATTN_ERR_IO);
    cr_assert_eq(chmod(rig.folder, 0700), 0);
    rig_close(context);
    cr_assert_eq(clattn_tuning_list(&rig.options, NULL, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_tuning_path(&rig.options, NULL, 0), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_tuning_path(&rig.options, small, sizeof small), CLATTN_ERR_ARGUMENT);
    rig.options.flags = CLATTN_CONTEXT_NO_PROGRAM_CACHE;
    context = tuned_open(&rig);
    cr_assert_eq(clattn_tune(context, NULL, see, &seen), CLATTN_ERR_UNSUPPORTED);
    rig_close(context);
    rig.options.flags = 0;
    rig.options.kernel = "attention_reference";
    context = tuned_open(&rig);
    cr_assert_eq(clattn_tune(context, NULL, see, &seen), CLATTN_ERR_UNSUPPORTED);
    cr_assert(strstr(clattn_error_message(), "attention_reference"), "%s", clattn_error_message());
    rig_close(context);
    cr_assert_eq(seen.calls, 0);
    FILE *file = fopen(rig.path, "wb");
    fputs("clattn tuning 7\n", file);
    fclose(file);
    uint32_t count = 0;
    cr_assert_eq(clattn_tuning_list(&rig.options, count_row, &count), CLATTN_ERR_IO);
    cr_assert(strstr(clattn_error_message(), "version"), "%s", clattn_error_message());
}
