/* Structs of a later version than this one: fields that are not known here must not be used. */
#ifndef CLATTN_BASE_UNKNOWN_H
#define CLATTN_BASE_UNKNOWN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Whether all bytes from `known` to `size` are 0. */
static inline bool clattn__unknown_is_zero(const void *structure, size_t known, size_t size)
{
    const unsigned char *bytes = structure;
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

/* Checks that a struct of the caller's, which begins with its struct_size, has the `known` bytes of
 * this version, and nothing but 0 behind them. CLATTN_ERR_ARGUMENT where it is NULL, shorter or
 * absurdly long, CLATTN_ERR_UNSUPPORTED for what is not known. `name` is the argument and `init`
 * the function that sets it up, for the sentences. */
clattn_status clattn__check_known(const void *given, size_t known, const char *name,
                                  const char *init);

#endif
