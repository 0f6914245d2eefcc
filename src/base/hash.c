/* Checksums by xxHash's header-only form (XXH3, 128 bits). */
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wconversion"
#endif
#include <xxhash.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

clattn__hash clattn__hash_bytes(const void *bytes, size_t size)
{
    const XXH128_hash_t hash = XXH3_128bits(bytes, size);
    return (clattn__hash){.low = hash.low64, .high = hash.high64};
}

bool clattn__hash_equal(clattn__hash a, clattn__hash b)
{
    return a.low == b.low && a.high == b.high;
}

void clattn__hash_text(clattn__hash hash, char text[33])
{
    snprintf(text, 33, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}
