/* What devices say about themselves, and what clattn makes of it: answers in the place of the real
 * device's. */
#include <string.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"

#define MAX_NUM_SUB_GROUPS 0x105C /* CL_DEVICE_MAX_NUM_SUB_GROUPS, OpenCL 2.1 */

typedef cl_int(CL_API_CALL *get_device_info)(cl_device_id, cl_device_info, size_t, void *,
                                             size_t *);
typedef cl_int(CL_API_CALL *get_device_ids)(cl_platform_id, cl_device_type, cl_uint, cl_device_id *,
                                            cl_uint *);

/* A device that answers some questions in its own way. */
static struct {
    get_device_info real;
    clattn_get_proc_fn get_proc;
    const char *extensions;
    cl_uint sub_groups;     /* 0: the question is unknown, as before OpenCL 2.1 */
    cl_device_info refused; /* answered with false; 0: none */
} device;

static cl_int CL_API_CALL answer(cl_device_id id, cl_device_info what, size_t size, void *value,
                                 size_t *size_ret)
{
    static const cl_bool no = CL_FALSE;
    const void *from = &device.sub_groups;
    size_t have = sizeof device.sub_groups;
    if (what == CL_DEVICE_EXTENSIONS) {
        from = device.extensions;
        have = strlen(device.extensions) + 1;
    } else if (what == device.refused) {
        from = &no;
        have = sizeof no;
    } else if (what != MAX_NUM_SUB_GROUPS) {
        return device.real(id, what, size, value, size_ret);
    } else if (!device.sub_groups) {
        return CL_INVALID_VALUE;
    }
    if (size < have)
        return CL_INVALID_VALUE;
    memcpy(value, from, have);
    return CL_SUCCESS;
}

/* A device that isn't there, before the real ones of each platform. */
static get_device_ids real_ids;
static char nobody;

static cl_int CL_API_CALL one_more(cl_platform_id platform, cl_device_type type, cl_uint entries,
                                   cl_device_id *devices, cl_uint *count)
{
    if (!devices) {
        const cl_int error = real_ids(platform, type, 0, NULL, count);
        *count += error == CL_SUCCESS;
        return error;
    }
    devices[0] = (cl_device_id)(void *)&nobody;
    return real_ids(platform, type, entries - 1, devices + 1, NULL);
}

static cl_int CL_API_CALL nobody_refuses(cl_device_id id, cl_device_info what, size_t size,
                                         void *value, size_t *size_ret)
{
    static const cl_bool no = CL_FALSE;
    if ((void *)id != &nobody)
        return device.real(id, what, size, value, size_ret);
    if (what != CL_DEVICE_AVAILABLE || size < sizeof no)
        return CL_INVALID_VALUE;
    memcpy(value, &no, sizeof no);
    return CL_SUCCESS;
}

static void *get_proc_of_one_more(void *user, const char *name)
{
    const get_device_info info = nobody_refuses;
    const get_device_ids ids = one_more;
    void *found = device.get_proc(user, name);
    if (strcmp(name, "clGetDeviceInfo") == 0) {
        memcpy(&device.real, &found, sizeof found);
        memcpy(&found, &info, sizeof found);
    } else if (strcmp(name, "clGetDeviceIDs") == 0) {
        memcpy(&real_ids, &found, sizeof found);
        memcpy(&found, &ids, sizeof found);
    }
    return found;
}

static void *get_proc(void *user, const char *name)
{
    void *found = device.get_proc(user, name);
    if (strcmp(name, "clGetDeviceInfo") != 0)
        return found;
    const get_device_info own = answer;
    memcpy(&device.real, &found, sizeof found);
    memcpy(&found, &own, sizeof found);
    return found;
}

static clattn_device_info first_device(const char *extensions, cl_uint sub_groups)
{
    clattn_context_options options;
    clattn_device_info info = {0};
    uint32_t count = 0;
    scenario_begin(&options);
    device.get_proc = options.get_proc;
    device.extensions = extensions;
    device.sub_groups = sub_groups;
    options.get_proc = get_proc;
    cr_assert_eq(clattn_device_list(&options, &info, 1, &count), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_gt(count, 0);
    scenario_end(&options);
    return info;
}

Test(device_info, sub_groups)
{
    static const struct {
        const char *extensions;
        cl_uint most;
        int expected;
    } table[] = {
        {"cl_khr_fp64", 0, 0},
        {"cl_khr_fp64 cl_khr_subgroups", 0, 1},
        {"cl_intel_subgroups", 0, 1},
        {"cl_khr_subgroup_ballot", 0, 0}, /* needs sub-groups, but has none by itself */
        {"cl_khr_fp64", 8, 1},            /* OpenCL C 3.0's own */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_expect_eq(first_device(table[i].extensions, table[i].most).subgroups, table[i].expected,
                     "\"%s\", %u", table[i].extensions, (unsigned)table[i].most);
}

Test(device_info, fp16)
{
    cr_expect_eq(first_device("cl_khr_fp16 cl_khr_fp64", 0).fp16, 1);
    cr_expect_eq(first_device("cl_khr_fp64", 0).fp16, 0);
}

/* All devices refuse: a status, and a sentence that says what is wrong with them. */
static void refuse(cl_device_info what, const char *sentence)
{
    clattn_context_options options;
    clattn_context *context = NULL;
    uint32_t count = 99;
    scenario_begin(&options);
    device.get_proc = options.get_proc;
    device.extensions = "";
    device.refused = what;
    options.get_proc = get_proc;
    cr_expect_eq(clattn_context_create(&options, &context), CLATTN_ERR_NO_DEVICE);
    cr_expect_null(context);
    cr_expect_not_null(strstr(clattn_error_message(), sentence), "'%s'", clattn_error_message());
    cr_expect_eq(clattn_device_list(&options, NULL, 0, &count), CLATTN_ERR_NO_DEVICE);
    cr_expect_eq(count, 99, "the result was written although the call failed");
    cr_expect_eq(faulty_live(NULL), 0);
    scenario_end(&options);
}

Test(device_info, devices_that_cannot_be_used)
{
    refuse(CL_DEVICE_AVAILABLE, "not available");
    refuse(CL_DEVICE_COMPILER_AVAILABLE, "no compiler");
}

Test(device_info, a_device_that_cannot_be_used_beside_others)
{
    clattn_context_options options;
    clattn_device_info with = {0}, without = {0};
    uint32_t count = 0, real_count = 0;
    scenario_begin(&options);
    options.device = "0";
    cr_assert_eq(clattn_device_list(&options, &without, 1, &real_count), CLATTN_OK);
    device.get_proc = options.get_proc;
    options.get_proc = get_proc_of_one_more;
    cr_assert_eq(clattn_device_list(&options, &with, 1, &count), CLATTN_OK);
    cr_expect_eq(count, real_count);
    cr_expect_arr_eq(&with, &without, sizeof with, "the index counts what can be used");
    cr_expect_eq(scenario_run(&options), CLATTN_OK, "%s", scenario_message());
    scenario_end(&options);
}
