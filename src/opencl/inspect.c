/* Everything a decision needs to know about a device, as plain numbers. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "opencl/enumerate.h"
#include "opencl/quirk.h"

/* CL_DEVICE_MAX_NUM_SUB_GROUPS of OpenCL 2.1: 0 where there are none, an error in older versions.
 */
#define MAX_NUM_SUB_GROUPS 0x105C

/* The device that is asked; NULL device asks the platform. */
typedef struct subject {
    const clattn__cl *cl;
    cl_platform_id platform;
    cl_device_id device;
} subject;

/* Copies a text answer, trimmed of leading blanks and cut to the room there is. */
static void ask_text(const subject *of, cl_uint what, bool platform, char *text, size_t capacity)
{
    char answer[512] = "";
    size_t size = 0;
    const cl_int error =
        platform ? of->cl->clGetPlatformInfo(of->platform, what, sizeof answer - 1, answer, &size)
                 : of->cl->clGetDeviceInfo(of->device, what, sizeof answer - 1, answer, &size);
    if (error != CL_SUCCESS)
        answer[0] = 0;
    answer[sizeof answer - 1] = 0;
    const char *begin = answer + strspn(answer, " ");
    const size_t length = strlen(begin);
    const size_t kept = length < capacity ? length : capacity - 1;
    memcpy(text, begin, kept);
    text[kept] = 0;
}

static uint64_t ask_number(const subject *of, cl_device_info what, size_t size, uint64_t otherwise)
{
    uint32_t narrow = 0;
    uint64_t wide = 0;
    void *answer = size == sizeof narrow ? (void *)&narrow : (void *)&wide;
    if (of->cl->clGetDeviceInfo(of->device, what, size, answer, NULL) != CL_SUCCESS)
        return otherwise;
    return size == sizeof narrow ? narrow : wide;
}

static clattn_device_type type_of(uint64_t type)
{
    static const struct {
        uint64_t bit;
        clattn_device_type type;
    } table[] = {
        {CL_DEVICE_TYPE_GPU, CLATTN_DEVICE_GPU},
        {CL_DEVICE_TYPE_CPU, CLATTN_DEVICE_CPU},
        {CL_DEVICE_TYPE_ACCELERATOR, CLATTN_DEVICE_ACCELERATOR},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (type & table[i].bit)
            return table[i].type;
    return CLATTN_DEVICE_OTHER;
}

/* The largest power of two from 1 to 16 that is not above the number. */
static uint32_t vector_width_of(uint64_t native)
{
    uint32_t width = 1;
    while (width < 16 && width <= native / 2)
        width *= 2;
    return width;
}

/* 120 for "OpenCL C 1.2 ...". */
static uint32_t opencl_c_of(const char *text)
{
    const char *number = strpbrk(text, "0123456789");
    if (!number)
        return 120;
    char *rest;
    const unsigned long major = strtoul(number, &rest, 10);
    const unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
    return (uint32_t)(major * 100 + minor * 10);
}

static bool has_extension(const subject *of, const char *name)
{
    char list[16384] = "";
    if (of->cl->clGetDeviceInfo(of->device, CL_DEVICE_EXTENSIONS, sizeof list - 1, list, NULL) !=
        CL_SUCCESS)
        return false;
    list[sizeof list - 1] = 0;
    return clattn__contains(list, name);
}

static void fill_info(const subject *of, clattn_device_info *info)
{
    info->struct_size = (uint32_t)sizeof *info;
    ask_text(of, CL_DEVICE_NAME, false, info->name, sizeof info->name);
    ask_text(of, CL_PLATFORM_NAME, true, info->platform, sizeof info->platform);
    ask_text(of, CL_DEVICE_VENDOR, false, info->vendor, sizeof info->vendor);
    ask_text(of, CL_DRIVER_VERSION, false, info->driver, sizeof info->driver);
    ask_text(of, CL_PLATFORM_VERSION, true, info->platform_version, sizeof info->platform_version);
    ask_text(of, CL_DEVICE_OPENCL_C_VERSION, false, info->opencl_c, sizeof info->opencl_c);
    info->type = type_of(ask_number(of, CL_DEVICE_TYPE, sizeof(uint64_t), 0));
    info->compute_units =
        (uint32_t)ask_number(of, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(uint32_t), 1);
    info->vector_width =
        vector_width_of(ask_number(of, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof(uint32_t), 1));
    info->local_memory = ask_number(of, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(uint64_t), 0);
    info->global_memory = ask_number(of, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(uint64_t), 0);
    info->max_allocation =
        ask_number(of, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(uint64_t), (uint64_t)128 << 20);
    info->max_work_group = ask_number(of, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t), 1);
    info->clock_mhz = (uint32_t)ask_number(of, CL_DEVICE_MAX_CLOCK_FREQUENCY, sizeof(uint32_t), 0);
    info->fp16 = has_extension(of, "cl_khr_fp16");
    info->fp64 = ask_number(of, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof(uint64_t), 0) != 0;
    info->subgroups = has_extension(of, "cl_khr_subgroups") ||
                      has_extension(of, "cl_intel_subgroups") ||
                      ask_number(of, MAX_NUM_SUB_GROUPS, sizeof(uint32_t), 0) > 0;
    info->unified_memory = ask_number(of, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(uint32_t), 0) != 0;
}

static void fill_caps(const subject *of, const clattn_device_info *info, clattn__caps *caps)
{
    caps->type = info->type;
    caps->family = info->type == CLATTN_DEVICE_CPU ? CLATTN__SIMD : CLATTN__TILE;
    caps->compute_units = info->compute_units;
    caps->vector_width = info->vector_width;
    caps->vector_registers = clattn__vector_registers(info->vector_width);
    caps->opencl_c = opencl_c_of(info->opencl_c);
    caps->local_memory = info->local_memory;
    caps->global_memory = info->global_memory;
    caps->max_allocation = info->max_allocation;
    caps->cache = ask_number(of, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof(uint64_t), 0);
    caps->max_work_group = info->max_work_group;
    const uint64_t bits = ask_number(of, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(uint32_t), 1024);
    caps->memory_alignment = bits / 8 > 256 ? (uint32_t)(bits / 8) : 256;
    caps->fp16 = info->fp16;
    caps->fp64 = info->fp64;
    caps->subgroups = info->subgroups;
    caps->unified_memory = info->unified_memory;
}

void clattn__inspect(const clattn__cl *cl, cl_platform_id platform, cl_device_id device,
                     clattn_device_info *info, clattn__caps *caps)
{
    static const char *const families[] = {[CLATTN__SIMD] = "simd", [CLATTN__TILE] = "tile"};
    const subject of = {cl, platform, device};
    memset(info, 0, sizeof *info);
    memset(caps, 0, sizeof *caps);
    fill_info(&of, info);
    fill_caps(&of, info, caps);
    clattn__quirks_apply(info, caps);
    strcpy(info->family, families[caps->family]);
}
