/* What devices say about themselves, and what clattn makes of it: answers in the place of the real
 * device's. */
#include <string.h>

#include <criterion/criterion.h>

#include "faulty_opencl.h"
#include "scenario.h"

#define MAX_NUM_SUB_GROUPS 0x105C /* CL_DEVICE_MAX_NUM_SUB_GROUPS, OpenCL 2.1 */

typedef cl_int(CL_API_CALL *get_device_info)(cl_device_id, cl_device_info, size_t, void *,
                                             size_t *);

/* A device that answers two questions in its own way. */
static struct {
    get_device_info real;
    clattn_get_proc_fn get_proc;
    const char *extensions;
    cl_uint sub_groups; /* 0: the question is unknown, as before OpenCL 2.1 */
} device;

static cl_int CL_API_CALL answer(cl_device_id id, cl_device_info what, size_t size, void *value,
                                 size_t *size_ret)
{
    const void *from = &device.sub_groups;
    size_t have = sizeof device.sub_groups;
    if (what == CL_DEVICE_EXTENSIONS) {
        from = device.extensions;
        have = strlen(device.extensions) + 1;
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
