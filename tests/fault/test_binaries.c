/* Drivers that keep no compiled programs themselves: the cache has their binaries. PoCL under
 * another name, so that its quirk doesn't hold, stands for one. */
#include <string.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"

typedef cl_int(CL_API_CALL *get_platform_info)(cl_platform_id, cl_platform_info, size_t, void *,
                                               size_t *);
static get_platform_info real;

static cl_int CL_API_CALL another_name(cl_platform_id platform, cl_platform_info what, size_t size,
                                       void *value, size_t *size_ret)
{
    static const char name[] = "A platform of another name";
    if (what != CL_PLATFORM_NAME)
        return real(platform, what, size, value, size_ret);
    if (!value || size < sizeof name)
        return CL_INVALID_VALUE;
    memcpy(value, name, sizeof name);
    return CL_SUCCESS;
}

static void *get_proc(void *user, const char *name)
{
    const get_platform_info own = another_name;
    void *found = faulty_get_proc(user, name);
    if (strcmp(name, "clGetPlatformInfo") != 0)
        return found;
    memcpy(&real, &found, sizeof found);
    memcpy(&found, &own, sizeof found);
    return found;
}

/* With the cache filled. */
static void begin(clattn_context_options *options)
{
    scenario_begin(options);
    options->get_proc = get_proc;
    cr_assert_eq(scenario_run(options), CLATTN_OK, "%s", scenario_message());
}

Test(binaries, nothing_is_compiled_from_source_again)
{
    clattn_context_options options;
    begin(&options);
    faulty_set("clCreateProgramWithSource", 0, CL_OUT_OF_HOST_MEMORY);
    cr_assert_eq(scenario_run(&options), CLATTN_OK, "%s", scenario_message());
    cr_assert_not(faulty_fired());
    scenario_end(&options);
}

/* What the driver refuses is compiled from source, and replaced. */
static void refuse(const char *function, uint32_t call, cl_int error)
{
    clattn_context_options options;
    begin(&options);
    faulty_set(function, call, error);
    cr_assert_eq(scenario_run(&options), CLATTN_OK, "%s: %s", function, scenario_message());
    cr_assert(faulty_fired(), "%s wasn't called", function);
    faulty_set("clCreateProgramWithSource", 0, CL_OUT_OF_HOST_MEMORY);
    cr_assert_eq(scenario_run(&options), CLATTN_OK, "%s: %s", function, scenario_message());
    scenario_end(&options);
}

Test(binaries, what_the_driver_refuses_is_compiled_anew)
{
    refuse("clCreateProgramWithBinary", 0, CL_INVALID_BINARY);
    refuse("clCreateProgramWithBinary", 2, CL_INVALID_BINARY);
    refuse("clBuildProgram", 1, CL_BUILD_PROGRAM_FAILURE);
}

/* Nothing is kept where the driver gives no binary; everything works. */
Test(binaries, a_driver_without_binaries)
{
    clattn_context_options options;
    scenario_begin(&options);
    options.get_proc = get_proc;
    faulty_set("clGetProgramInfo", 0, CL_INVALID_VALUE);
    cr_assert_eq(scenario_run(&options), CLATTN_OK, "%s", scenario_message());
    cr_assert(faulty_fired());
    faulty_set("clCreateProgramWithBinary", 0, CL_INVALID_BINARY);
    cr_assert_eq(scenario_run(&options), CLATTN_OK, "%s", scenario_message());
    cr_assert_not(faulty_fired(), "there is nothing that could be loaded");
    scenario_end(&options);
}
