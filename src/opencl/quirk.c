/* The table of quirks. A pattern is a substring, case ignored; "" matches everything. */
#include "opencl/quirk.h"

#include <stddef.h>

#include "base/text.h"

typedef struct quirk {
    const char *platform, *driver, *device; /* NULL as "" */
    bool driver_caches;                     /* keeps binaries itself, see docs/cache.md */
    bool lazy_compile;                      /* compiles at the first launch */
    bool coherent_host;                     /* mapping wrapped host memory does nothing */
    bool no_prefetch;                       /* the compiler dies of __builtin_prefetch */
    bool cpu_alone;                         /* the row is for devices of type CPU */
    const char *why;
} quirk;

static const quirk table[] = {
    {.platform = "Portable Computing Language",
     .driver_caches = true,
     .lazy_compile = true,
     .why = "PoCL: clBuildProgram stops at bitcode, machine code is made at the first launch and "
            "kept in PoCL's own cache; asking for binaries compiles once more"},
    {.platform = "Portable Computing Language",
     .cpu_alone = true,
     .coherent_host = true,
     .why = "PoCL's CPU devices work on host pointers themselves: what a finished kernel wrote is "
            "there, and mapping would only cost two waits for a worker thread"},
    {.platform = "rusticl",
     .no_prefetch = true,
     .why = "Mesa 25.0: the way to SPIR-V knows no LLVM intrinsic for prefetching and ends the "
            "process"},
};

static bool matches(const char *text, const char *pattern)
{
    return !pattern || clattn__contains(text, pattern);
}

void clattn__quirks_apply(const clattn_device_info *info, clattn__caps *caps)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const quirk *row = &table[i];
        if (!matches(info->platform, row->platform) || !matches(info->driver, row->driver) ||
            !matches(info->name, row->device) ||
            (row->cpu_alone && info->type != CLATTN_DEVICE_CPU))
            continue;
        caps->driver_caches = caps->driver_caches || row->driver_caches;
        caps->lazy_compile = caps->lazy_compile || row->lazy_compile;
        caps->coherent_host = caps->coherent_host || row->coherent_host;
        caps->no_prefetch = caps->no_prefetch || row->no_prefetch;
    }
}

/* AVX-512 has 32 registers of 16 floats; narrower x86 vectors have 16. 64-bit Arm has 32 of any
 * width; a CPU device is the host's own processor. Others with 4 floats have 16 or 32: the smaller
 * number is safe. */
uint32_t clattn__vector_registers(uint32_t vector_width)
{
#if defined(__aarch64__) || defined(_M_ARM64)
    (void)vector_width;
    return 32;
#else
    return vector_width >= 16 ? 32 : 16;
#endif
}
