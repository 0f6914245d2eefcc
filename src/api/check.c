/* Required pointers, and results for structs whose size the caller says. */
#include "api/check.h"

#include <inttypes.h>
#include <string.h>

clattn_status clattn__require(const void *pointer, const char *name)
{
    if (!pointer)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is NULL", name);
    return CLATTN_OK;
}

clattn_status clattn__struct_copy(void *to, const void *from, size_t size, const char *name)
{
    uint32_t known;
    CLATTN__TRY(clattn__require(to, name));
    memcpy(&known, to, sizeof known);
    if (known < sizeof known || known > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: struct_size is %" PRIu32 ", must be the size of the struct", name,
                            known);
    memcpy(to, from, known < size ? known : size);
    memcpy(to, &known, sizeof known);
    return CLATTN_OK;
}
