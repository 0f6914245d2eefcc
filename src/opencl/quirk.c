/* The table of quirks. A pattern is a substring, case ignored; "" matches everything. */
#include "opencl/quirk.h"

#include <stddef.h>

#include "base/text.h"

typedef struct quirk {
    const char *platform, *driver, *device; /* NULL as "" */
    bool driver_caches;                     /* keeps binaries itself, see docs/cache.md */
    bool lazy_compile;                      /* compiles at the first launch */
    bool coherent_host;                     /* mapping wrapped host memory does nothing */
    bool coherent_pages;                    /* the same, if it begins and ends with a page */
    bool early_writes;                      /* blocking writes return too early */
    bool no_prefetch;                       /* the compiler dies of __builtin_prefetch */
    bool one_stream;                        /* memory is read the fastest row after row */
    bool wide_registers;                    /* twice as many if asked for */
    bool own_threads;                       /* no work is done by threads that wait for it */
    bool frail_parts;                       /* sub-devices end before events that look at them */
    bool cpu_alone;                         /* the row is for devices of type CPU */
    bool not_cpu;                           /* it is for all others */
    uint64_t launch_ns;                     /* longer launches may be ended by a watchdog */
    const char *why;
} quirk;

static const quirk table[] = {
    {.not_cpu = true,
     .launch_ns = 100000000,
     .why = "drivers of GPUs end what keeps the device for too long, and the context with it: "
            "Windows after 2 s, Linux drivers after 0.6 to 10 s, NVIDIA's with a display after 5; "
            "and the picture stands still meanwhile. 0.1 s leaves room for wrong estimates"},
    {.platform = "Portable Computing Language",
     .driver_caches = true,
     .lazy_compile = true,
     .why = "PoCL: clBuildProgram stops at bitcode, machine code is made at the first launch and "
            "kept in PoCL's own cache; asking for binaries compiles once more"},
    {.platform = "Portable Computing Language",
     .cpu_alone = true,
     .coherent_host = true,
     .own_threads = true,
     .frail_parts = true,
     .why = "PoCL's CPU devices work on host pointers themselves: what a finished kernel wrote is "
            "there, and mapping would only cost two waits for a worker thread; a thread that waits "
            "for them does none of their work, and takes 20 us or more to wake where an idle core "
            "is asleep, in a virtual machine above all. Events hold their queue, but no queue "
            "holds its "
            "sub-device, which PoCL 3.1 looks at when an event ends: after its waiters were woken"},
    {.platform = "Intel(R) OpenCL",
     .cpu_alone = true,
     .coherent_pages = true,
     .early_writes = true,
     .why = "Intel's runtime for CPUs works on host memory itself where that begins on a multiple "
            "of 128 bytes, and copies other memory; 2026.22 returns from blocking writes before "
            "kernels of other queues see the bytes, which then overwrite the first results"},
    {.platform = "Graphics",
     .not_cpu = true,
     .wide_registers = true,
     .why =
         "Intel's GPUs from Xe-HPG on have 128 registers a hardware thread, or 256 for half of the "
         "threads; with 128 tiles are in memory in part (docs/gpu.md). Others ignore the option, "
         "but the runtime for CPUs, of platform Intel(R) OpenCL, fails each build for it, and the "
         "next one of the same program without it"},
    {.device = "AMD",
     .cpu_alone = true,
     .one_stream = true,
     .why = "AMD's processors (Zen 4 measured): of four rows that are read at the same time the "
            "prefetcher of the second cache follows none, and a core has half of the bandwidth "
            "that it has with one row after the other, whatever is prefetched by instructions"},
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
            (row->cpu_alone && info->type != CLATTN_DEVICE_CPU) ||
            (row->not_cpu && info->type == CLATTN_DEVICE_CPU))
            continue;
        caps->driver_caches = caps->driver_caches || row->driver_caches;
        caps->lazy_compile = caps->lazy_compile || row->lazy_compile;
        caps->coherent_host = caps->coherent_host || row->coherent_host;
        caps->coherent_pages = caps->coherent_pages || row->coherent_pages;
        caps->early_writes = caps->early_writes || row->early_writes;
        caps->no_prefetch = caps->no_prefetch || row->no_prefetch;
        caps->one_stream = caps->one_stream || row->one_stream;
        caps->wide_registers = caps->wide_registers || row->wide_registers;
        caps->own_threads = caps->own_threads || row->own_threads;
        caps->frail_parts = caps->frail_parts || row->frail_parts;
        caps->launch_ns = row->launch_ns ? row->launch_ns : caps->launch_ns;
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
