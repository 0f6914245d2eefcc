/* What is not there: the library, one of its functions, platforms, devices. */
#include <string.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"

enum {
    PLATFORM_NOT_FOUND = -1001
}; /* CL_PLATFORM_NOT_FOUND_KHR, what a loader without drivers says */

static clattn_status create(const clattn_context_options *options)
{
    clattn_context *context = NULL;
    const clattn_status status = clattn_context_create(options, &context);
    if (status != CLATTN_OK) {
        cr_assert_null(context, "the result was written although the call failed");
        cr_assert_str_not_empty(clattn_error_message());
    }
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    cr_assert_eq(faulty_live(NULL), 0);
    return status;
}

Test(fault_absence, no_function_at_all)
{
    clattn_context_options options;
    scenario_begin(&options);
    faulty_hide("");
    cr_assert_eq(create(&options), CLATTN_ERR_NO_OPENCL);
    uint32_t count = 0;
    cr_assert_eq(clattn_device_list(&options, NULL, 0, &count), CLATTN_ERR_NO_OPENCL);
    scenario_end(&options);
}

/* Without one function the library does without it, or names it. */
static void hide_one(const char *name)
{
    clattn_context_options options;
    scenario_begin(&options);
    faulty_hide(name);
    const clattn_status status = scenario_run(&options);
    if (status != CLATTN_OK) {
        cr_assert_eq(status, CLATTN_ERR_NO_OPENCL, "without %s: %s", name, scenario_message());
        cr_assert_not_null(strstr(scenario_message(), name), "'%s' doesn't name %s",
                           scenario_message(), name);
    }
    scenario_end(&options);
}

#define HIDE_ONE(kind, outcome, name, params, args) hide_one(#name);

Test(fault_absence, each_function){FAULTY_CALLS(HIDE_ONE)}

Test(fault_absence, no_platform)
{
    clattn_context_options options;
    scenario_begin(&options);
    faulty_set("clGetPlatformIDs", 0, PLATFORM_NOT_FOUND);
    cr_assert_eq(create(&options), CLATTN_ERR_NO_PLATFORM, "%s", clattn_error_message());
    scenario_end(&options);
}

Test(fault_absence, no_device)
{
    clattn_context_options options;
    scenario_begin(&options);
    faulty_set("clGetDeviceIDs", 0, CL_DEVICE_NOT_FOUND);
    cr_assert_eq(create(&options), CLATTN_ERR_NO_DEVICE, "%s", clattn_error_message());
    scenario_end(&options);
}

Test(fault_absence, no_device_that_fits)
{
    clattn_context_options options;
    scenario_begin(&options);
    options.device = "no such device anywhere";
    cr_assert_eq(create(&options), CLATTN_ERR_NO_DEVICE, "%s", clattn_error_message());
    cr_assert_not_null(strstr(clattn_error_message(), options.device), "'%s' doesn't name it",
                       clattn_error_message());
    scenario_end(&options);
}

Test(fault_absence, no_kernel_of_that_name)
{
    clattn_context_options options;
    scenario_begin(&options);
    options.kernel = "attention";
    cr_assert_eq(create(&options), CLATTN_ERR_ARGUMENT);
    cr_assert_not_null(strstr(clattn_error_message(), "kernel: there is no \"attention\""), "'%s'",
                       clattn_error_message());
    for (uint32_t i = 0; i < clattn_kernel_count(); i++)
        cr_assert_not_null(strstr(clattn_error_message(), clattn_kernel_name(i)),
                           "'%s' doesn't name %s", clattn_error_message(), clattn_kernel_name(i));
    scenario_end(&options);
}
