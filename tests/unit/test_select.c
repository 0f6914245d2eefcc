/* Device selectors and quirks, on invented devices. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "opencl/quirk.h"
#include "opencl/select.h"

static clattn_device_info device(clattn_device_type type, const char *platform, const char *name,
                                 uint32_t units)
{
    clattn_device_info info;
    memset(&info, 0, sizeof info);
    info.type = type;
    info.compute_units = units;
    info.vector_width = 8;
    info.clock_mhz = 2000;
    snprintf(info.platform, sizeof info.platform, "%s", platform);
    snprintf(info.name, sizeof info.name, "%s", name);
    return info;
}

/* The index chosen, -1 for none. */
static int choose(const char *selector)
{
    const clattn_device_info infos[] = {
        device(CLATTN_DEVICE_CPU, "Portable Computing Language", "pthread-some CPU", 4),
        device(CLATTN_DEVICE_GPU, "Maker OpenCL", "Small", 8),
        device(CLATTN_DEVICE_GPU, "Maker OpenCL", "Large", 64),
    };
    uint32_t chosen = 99;
    const clattn_status status = clattn__select_device(selector, infos, 3, &chosen);
    return status == CLATTN_OK ? (int)chosen : -1;
}

Test(select, selectors)
{
    static const struct {
        const char *selector;
        int expected;
    } table[] = {
        {NULL, 2},
        {"cpu", 0},
        {"CPU", 0},
        {"gpu", 2},
        {"accelerator", -1},
        {"0", 0},
        {"1", 1},
        {"3", -1},
        {"99999999999", -1},
        {"small", 1},
        {"maker", 2},
        {"maker/small", 1},
        {"portable/large", -1},
        {"nothing", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_eq(choose(table[i].selector), table[i].expected, "selector %s",
                     table[i].selector ? table[i].selector : "NULL");
}

/* The numbers chosen as text, "-" for none. */
static const char *choose_several(const char *selectors)
{
    static char text[64];
    const clattn_device_info infos[] = {
        device(CLATTN_DEVICE_CPU, "Portable Computing Language", "pthread-some CPU", 4),
        device(CLATTN_DEVICE_GPU, "Maker OpenCL", "Small", 8),
        device(CLATTN_DEVICE_GPU, "Maker OpenCL", "Large", 64),
    };
    clattn__chosen chosen;
    strcpy(text, "-");
    if (clattn__select_devices(selectors, infos, 3, &chosen) != CLATTN_OK)
        return text;
    cr_assert(chosen.count < 20);
    for (uint32_t i = 0; i < chosen.count; i++)
        snprintf(text + 2 * i, sizeof text - 2 * i, "%u%s", (unsigned)chosen.device[i],
                 i + 1 < chosen.count ? " " : "");
    return text;
}

Test(select, several_selectors)
{
    static const char *const table[][2] = {
        {NULL, "2"},          {"cpu", "0"},
        {"cpu+gpu", "0 2"},   {"gpu+cpu", "2 0"},
        {"gpu+gpu", "2 1"},   {"gpu+gpu+gpu", "-"},
        {"0+0", "0 0"},       {"1+maker", "1 2"},
        {"all", "0 1 2"},     {"ALL", "0 1 2"},
        {"cpu+", "-"},        {"+cpu", "-"},
        {"+", "-"},           {"", "-"},
        {"cpu+nothing", "-"}, {"0+0+0+0", "0 0 0 0"},
    };
    static const char *const lists[] = {"all", "ALL", "0+0", "+", "cpu+"};
    static const char *const plain[] = {NULL, "", "cpu", "0", "allwinner"};
    for (size_t i = 0; i < 5; i++) {
        cr_assert(clattn__selector_is_list(lists[i]), "%s", lists[i]);
        cr_assert_not(clattn__selector_is_list(plain[i]), "%s", plain[i] ? plain[i] : "NULL");
    }
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_str_eq(choose_several(table[i][0]), table[i][1], "selectors %s",
                         table[i][0] ? table[i][0] : "NULL");
    cr_assert_str_eq(choose_several("0+0+0+0+0+0+0+0+0+0+0+0+0+0+0+0+0"), "-", "17 are too many");
    cr_assert(strstr(clattn__message(), "16"), "%s", clattn__message());
}

Test(select, what_fits_nothing_is_told_what_there_is)
{
    cr_assert_eq(choose("nothing"), -1);
    cr_assert(strstr(clattn__message(), "nothing") && strstr(clattn__message(), "Large"), "%s",
              clattn__message());
}

Test(select, quirks_are_by_platform)
{
    clattn__caps caps;
    memset(&caps, 0, sizeof caps);
    clattn_device_info info = device(CLATTN_DEVICE_GPU, "Maker OpenCL", "Small", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(!caps.driver_caches && !caps.lazy_compile && !caps.coherent_host &&
              !caps.own_threads && !caps.frail_parts && !caps.wide_registers);
    cr_assert(!caps.coherent_pages && !caps.early_writes);
    cr_assert_eq(caps.launch_ns, 100000000, "its driver may have a watchdog");
    info = device(CLATTN_DEVICE_GPU, "Portable Computing Language", "CUDA", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(caps.driver_caches && !caps.coherent_host && !caps.own_threads);
    info = device(CLATTN_DEVICE_CPU, "Portable Computing Language", "CPU", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(caps.driver_caches && caps.lazy_compile && caps.coherent_host && caps.own_threads &&
              caps.frail_parts && !caps.no_prefetch);
    memset(&caps, 0, sizeof caps);
    info = device(CLATTN_DEVICE_GPU, "Intel(R) OpenCL Graphics", "Intel(R) Arc", 512);
    clattn__quirks_apply(&info, &caps);
    cr_assert(caps.wide_registers);
    memset(&caps, 0, sizeof caps);
    info = device(CLATTN_DEVICE_GPU, "Intel(R) OpenCL", "Intel(R) Xeon", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(!caps.wide_registers, "the runtime for CPUs, which tests make a GPU of");
    memset(&caps, 0, sizeof caps);
    info = device(CLATTN_DEVICE_CPU, "Intel(R) OpenCL", "Xeon", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(!caps.wide_registers && caps.early_writes);
    cr_assert(!caps.one_stream);
    info = device(CLATTN_DEVICE_CPU, "Intel(R) OpenCL", "AMD EPYC 9B14", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(caps.one_stream, "it is the processor's");
    memset(&caps, 0, sizeof caps);
    info = device(CLATTN_DEVICE_GPU, "AMD Accelerated Parallel Processing", "AMD Radeon", 8);
    clattn__quirks_apply(&info, &caps);
    cr_assert(!caps.one_stream);
    memset(&caps, 0, sizeof caps);
    info = device(CLATTN_DEVICE_CPU, "rusticl", "llvmpipe", 1);
    clattn__quirks_apply(&info, &caps);
    cr_assert(caps.no_prefetch && !caps.driver_caches);
    cr_assert_eq(caps.launch_ns, 0);
}
