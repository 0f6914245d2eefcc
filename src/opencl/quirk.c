/* The table of quirks. A pattern is a substring, case ignored; "" matches everything. */
#include "opencl/quirk.h"

#include <stddef.h>

#include "base/text.h"

typedef struct quirk {
    const char *platform, *driver, *device;
    bool driver_caches; /* keeps binaries itself, see docs/cache.md */
    bool lazy_compile;  /* compiles at the first launch */
    const char *why;
} quirk;

static const quirk table[] = {
    {"Portable Computing Language", "", "", true, true,
     "PoCL: clBuildProgram stops at bitcode, machine code is made at the first launch and kept in "
     "PoCL's own cache; asking for binaries compiles once more"},
};

void clattn__quirks_apply(const clattn_device_info *info, clattn__caps *caps)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const quirk *row = &table[i];
        if (!clattn__contains(info->platform, row->platform) ||
            !clattn__contains(info->driver, row->driver) ||
            !clattn__contains(info->name, row->device))
            continue;
        caps->driver_caches = caps->driver_caches || row->driver_caches;
        caps->lazy_compile = caps->lazy_compile || row->lazy_compile;
    }
}

/* AVX-512 has 32 registers of 16 floats; narrower x86 vectors have 16. NEON and others with 4
 * floats have 16 or 32: the smaller number is safe. */
uint32_t clattn__vector_registers(uint32_t vector_width)
{
    return vector_width >= 16 ? 32 : 16;
}
