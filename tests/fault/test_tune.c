/* Tuning with OpenCL calls and allocations that fail: a status with a sentence or a good end,
 * nothing left behind, and a tuning file that is whole, the old one or none. */
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"

enum { FAULT = CL_OUT_OF_RESOURCES, MANY_ALLOCATIONS = 20000 };

static atomic_long blocks;      /* that exist */
static atomic_uint allocations; /* asked for since the last set-up */
static uint32_t failing;        /* which one fails; 0: none */

static void *counting_realloc(void *user, void *pointer, size_t size)
{
    (void)user;
    if (size == 0) {
        atomic_fetch_sub(&blocks, pointer ? 1 : 0);
        free(pointer);
        return NULL;
    }
    if (atomic_fetch_add(&allocations, 1) + 1 == failing)
        return NULL;
    void *const result = realloc(pointer, size);
    atomic_fetch_add(&blocks, result && !pointer ? 1 : 0);
    return result;
}

static clattn_status count_row(void *user, const clattn_tuning_row *row)
{
    cr_assert_str_eq(row->kernel, "attention_simd");
    ++*(uint32_t *)user;
    return CLATTN_OK;
}

/* The rows of the file; it can't be damaged. */
static uint32_t count_rows(const clattn_context_options *options)
{
    uint32_t count = 0;
    cr_assert_eq(clattn_tuning_list(options, count_row, &count), CLATTN_OK, "%s",
                 clattn_error_message());
    return count;
}

/* Rows of device 0 as if tuned. */
static void write_rows(const clattn_context_options *options)
{
    char path[256];
    uint32_t count;
    clattn_device_info info;
    cr_assert_eq(clattn_device_list(NULL, &info, 1, &count), CLATTN_OK);
    cr_assert_eq(clattn_tuning_path(options, path, sizeof path), CLATTN_OK);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    fputs("clattn tuning 1\n", file);
    for (int dim = 64; dim <= 128; dim *= 2)
        fprintf(file,
                "attention_simd\tdim=%d\tVEC=4 ROWS=4 COLS=2 VALUE_COLS=2 BLOCK_M=24 "
                "BLOCK_N=64\t%s\t%s\t%s\t%s\t%u\t1.5\n",
                dim, clattn_version_string(), info.name, info.driver, info.platform_version,
                (unsigned)info.compute_units);
    cr_assert_eq(fclose(file), 0);
}

/* A context that reads the file, a search in hardly any time, the file's rows, the context's end.
 */
static clattn_status tune(const clattn_context_options *options)
{
    clattn_context *context = NULL;
    clattn_tune_options how;
    uint32_t count = 0;
    clattn_tune_options_init(&how);
    how.quick = 1;
    how.seconds = 0.001;
    clattn_status status = clattn_context_create(options, &context);
    if (status == CLATTN_OK)
        status = clattn_tune(context, &how, NULL, NULL);
    if (status == CLATTN_OK)
        status = clattn_tuning_list(options, count_row, &count);
    if (status != CLATTN_OK)
        cr_assert_str_not_empty(clattn_error_message());
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK, "%s", clattn_error_message());
    return status;
}

static int files_in(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        count += strncmp(entry->d_name, "tuning", 6) == 0;
    closedir(folder);
    return count;
}

static void check_rest(const clattn_context_options *options, const char *what, uint32_t which)
{
    const char *kind = "";
    const uint32_t rows = count_rows(options);
    cr_assert_eq(faulty_live(&kind), 0, "%s %u: OpenCL objects are left (%s)", what, which, kind);
    cr_assert_eq(atomic_load(&blocks), 0, "%s %u: %ld blocks are left", what, which,
                 atomic_load(&blocks));
    cr_assert(rows >= 1 && rows <= 2, "%s %u: %u rows", what, which, (unsigned)rows);
    cr_assert_eq(files_in(options->cache_dir), 1, "%s %u: a temporary file", what, which);
}

static void begin(clattn_context_options *options)
{
    scenario_begin(options);
    options->kernel = "attention_simd";
    options->realloc = counting_realloc;
    failing = 0;
}

Test(fault_tune, each_allocation)
{
    clattn_context_options options;
    uint32_t failures = 0, which = 1;
    begin(&options);
    for (; which <= MANY_ALLOCATIONS; which += which < 60 ? 1 : 29) {
        write_rows(&options);
        failing = which;
        atomic_store(&allocations, 0);
        const clattn_status status = tune(&options);
        const bool reached = atomic_load(&allocations) >= which;
        failing = 0;
        check_rest(&options, "allocation", which);
        if (!reached)
            break;
        cr_assert(status == CLATTN_OK || status == CLATTN_ERR_OUT_OF_MEMORY, "allocation %u: %s",
                  which, clattn_status_string(status));
        failures += status != CLATTN_OK;
    }
    cr_assert(failures > 10, "only %u allocations mattered", failures);
    scenario_end(&options);
}

/* The first call of a function, the second, and some of those that follow. */
static void fail_some_calls(const char *function)
{
    static const uint32_t calls[] = {1, 2, 7, 40};
    clattn_context_options options;
    begin(&options);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        write_rows(&options);
        faulty_set(function, calls[i], FAULT);
        const clattn_status status = tune(&options);
        const bool fired = faulty_fired();
        faulty_clear();
        check_rest(&options, function, calls[i]);
        if (!fired)
            break;
        cr_assert_neq(status, CLATTN_ERR_INTERNAL, "call %u of %s: %s", calls[i], function,
                      clattn_error_message());
    }
    scenario_end(&options);
}

#define FAIL_SOME(kind, expected, name, params, args) fail_some_calls(#name);

Test(fault_tune, calls)
{
    FAULTY_CALLS(FAIL_SOME)
}
