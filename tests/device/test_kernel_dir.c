/* Kernels read from a folder (CLATTN_KERNEL_DIR, for development): they are used, their mistakes
 * are named with file and line, and no program of another state of the files is taken for theirs.
 * KERNEL_FOLDER is the repository's cl/. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

#define KERNEL      "attention_reference"
#define KERNEL_FILE "attention/" KERNEL ".cl"

static char folder[64], kernels[80], cache[80];
static clattn_context_options options;

static void command(const char *format, const char *a, const char *b)
{
    char line[512];
    snprintf(line, sizeof line, format, a, b);
    cr_assert_eq(system(line), 0, "%s", line);
}

static void begin(void)
{
    clattn_context_options_init(&options);
    strcpy(folder, "/tmp/clattn-kernels-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(kernels, sizeof kernels, "%s/cl", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    command("cp -r '%s' '%s'", KERNEL_FOLDER, kernels);
    options.kernel = KERNEL;
    options.kernel_dir = kernels;
    options.cache_dir = cache;
}

static void finish(void)
{
    command("rm -rf '%s'%s", folder, "");
}

TestSuite(kernel_dir, .init = begin, .fini = finish);

/* Puts `text` before line `line` (from 1) of a file below the folder. */
static void insert(const char *name, int line, const char *text)
{
    char path[160], data[1 << 16], *at = data;
    snprintf(path, sizeof path, "%s/%s", kernels, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    data[fread(data, 1, sizeof data - 1, file)] = 0;
    fclose(file);
    for (int i = 1; i < line; i++) {
        at = strchr(at, '\n');
        cr_assert_not_null(at);
        at++;
    }
    file = fopen(path, "wb");
    cr_assert_not_null(file);
    fprintf(file, "%.*s%s%s", (int)(at - data), data, text, at);
    cr_assert_eq(fclose(file), 0);
}

/* Attention whose output is V's only row, 3; *out keeps what the kernel wrote. */
static clattn_status run(float *out, bool *from_cache)
{
    static float x[3] = {1, 2, 3};
    clattn_context *context = NULL;
    clattn_plan *plan = NULL;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = desc.head_dim = desc.value_dim = 1;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    clattn_status status = clattn_plan_attention(context, &desc, &plan);
    if (status == CLATTN_OK) {
        cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
        *from_cache = info.from_cache;
        status = clattn_attention(context, &desc, x, x + 1, x + 2, out);
    }
    clattn_plan_destroy(plan);
    rig_close(context);
    return status;
}

static void expect(float expected, bool expected_from_cache)
{
    float out = NAN;
    bool from_cache = !expected_from_cache;
    cr_assert_eq(run(&out, &from_cache), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(out, expected, "%g", (double)out);
    cr_assert_eq(from_cache, expected_from_cache);
}

static void expect_failure(const char *says)
{
    float out = -1;
    bool from_cache;
    const clattn_status status = run(&out, &from_cache);
    cr_assert(status == CLATTN_ERR_BUILD || status == CLATTN_ERR_IO, "%s: %s",
              clattn_status_string(status), clattn_error_message());
    cr_assert(strstr(clattn_error_message(), says), "%s instead of: %s", clattn_error_message(),
              says);
    cr_assert_eq(out, -1.0f);
}

Test(kernel_dir, a_change_is_a_new_program)
{
    expect(3, false);
    expect(3, true);
    insert("common/softmax.h", 1, "/* a comment */\n");
    expect(3, false);
    expect(3, true);
    options.kernel_dir = NULL; /* the built-in files are what the folder was at first */
    expect(3, true);
}

/* The line number of the first line that contains `text`. */
static int line_of(const char *name, const char *text)
{
    char path[160], line[512];
    int number = 0;
    snprintf(path, sizeof path, "%s/%s", kernels, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file)) {
        number++;
        if (strstr(line, text)) {
            fclose(file);
            return number;
        }
    }
    fclose(file);
    cr_assert_fail("%s has no %s", name, text);
    return 0;
}

Test(kernel_dir, what_is_written_there_is_used)
{
    const int line = line_of("common/softmax.h", "static inline float softmax_normaliser");
    insert("common/softmax.h", line + 2, "    l *= 0.5f;\n");
    expect(6, false);
}

Test(kernel_dir, a_mistake_is_named_with_file_and_line)
{
    const int line = line_of(KERNEL_FILE, "__kernel");
    char place[80];
    insert(KERNEL_FILE, line, "int no_semicolon\n");
    /* the compiler sees the mistake there or at the next word */
    snprintf(place, sizeof place, "cl/" KERNEL_FILE ":%d:", line);
    expect_failure(place);
}

Test(kernel_dir, a_mistake_in_a_header_is_named_with_its_own_file_and_line)
{
    insert("common/softmax.h", 5, "typedef no_such_type wrong;\n");
    expect_failure("cl/common/softmax.h:5:");
}

Test(kernel_dir, lines_go_on_after_an_include)
{
    insert("common/item.h", 7, "typedef no_such_type wrong;\n");
    expect_failure("cl/common/item.h:7:");
}

Test(kernel_dir, an_error_directive_is_shown)
{
    insert("common/item.h", 7, "#error \"this is the matter\"\n");
    expect_failure("this is the matter");
}

Test(kernel_dir, a_file_is_missing)
{
    command("rm '%s/%s'", kernels, KERNEL_FILE);
    expect_failure(KERNEL_FILE);
}

Test(kernel_dir, an_included_file_is_missing)
{
    command("rm '%s/%s'", kernels, "common/item.h");
    expect_failure(": #include \"common/item.h\": "); /* after the place of the #include */
}

Test(kernel_dir, the_folder_is_missing)
{
    options.kernel_dir = "/nowhere/at/all";
    expect_failure("/nowhere/at/all");
}

/* A kernel that fails there is not replaced by another one: whoever edits it wants to know. */
Test(kernel_dir, no_other_kernel_steps_in)
{
    options.kernel = NULL;
    for (uint32_t i = 0; i < clattn_kernel_count(); i++) {
        char name[128];
        if (strncmp(clattn_kernel_name(i), "attention_", 10) != 0)
            continue;
        snprintf(name, sizeof name, "attention/%s.cl", clattn_kernel_name(i));
        insert(name, 1, "#error \"broken\"\n");
    }
    expect_failure("broken");
}

Test(kernel_dir, a_build_that_failed_leaves_nothing)
{
    insert("common/item.h", 7, "#error \"broken\"\n");
    expect_failure("broken");
    expect_failure("broken");
    expect_failure("broken"); /* a failed build is no crashed build, however often */
    command("test -z \"$(ls '%s' 2>/dev/null)\"%s", cache, "");
}
