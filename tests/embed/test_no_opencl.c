/* A program on a machine without OpenCL: it starts, and the library returns its status. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include <clattn/clattn.h>

#include "tests/unit/place.h"

static void hide_opencl(void)
{
    place_set_variable("CLATTN_OPENCL_LIBRARY", "/nonexistent");
}

TestSuite(no_opencl, .init = hide_opencl);

Test(no_opencl, context_names_what_to_install)
{
    clattn_context *context = NULL;
    cr_assert_eq(clattn_context_create(NULL, &context), CLATTN_ERR_NO_OPENCL);
    cr_assert_null(context, "the result was written although the call failed");
    cr_assert(strlen(clattn_error_message()) > 20, "the sentence is '%s'", clattn_error_message());
    cr_assert_not_null(strstr(clattn_error_message(), "/nonexistent"), "'%s' names no file",
                       clattn_error_message());
}

Test(no_opencl, device_list)
{
    uint32_t count = 7;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &count), CLATTN_ERR_NO_OPENCL);
    cr_assert_eq(clattn_device_list(NULL, NULL, 1, &count), CLATTN_ERR_ARGUMENT);
    cr_assert(strstr(clattn_error_message(), "infos: is NULL"), "%s", clattn_error_message());
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(count, 7, "the result was written although the call failed");
}

Test(no_opencl, what_needs_no_device_still_works)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR,
             CLATTN_VERSION_PATCH);
    cr_assert_str_eq(clattn_version_string(), version);
    cr_assert_eq(clattn_version(), (uint32_t)(CLATTN_VERSION_MAJOR << 16 |
                                              CLATTN_VERSION_MINOR << 8 | CLATTN_VERSION_PATCH));
    cr_assert(clattn_kernel_count() > 0);
    char path[4096];
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.cache_dir = "/tmp/clattn-no-opencl";
    cr_assert_eq(clattn_program_cache_path(&options, path, sizeof path), CLATTN_OK);
    cr_assert_str_eq(path, options.cache_dir);
}
