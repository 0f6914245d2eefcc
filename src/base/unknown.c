/* See unknown.h. */
#include "base/unknown.h"

#include <inttypes.h>
#include <string.h>

/* No struct will ever be longer, bytes; whatever says so was not set up. */
#define LONGEST 65536u

clattn_status clattn__check_known(const void *given, size_t known, const char *name,
                                  const char *init)
{
    uint32_t size; /* bytes */
    if (!given)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is NULL", name);
    memcpy(&size, given, sizeof size);
    if (size < known || size > LONGEST)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: struct_size is %" PRIu32 "; use %s", name,
                            size, init);
    if (!clattn__unknown_is_zero(given, known, size))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "%s: has fields that version %d.%d does not know", name,
                            CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR);
    return CLATTN_OK;
}
