/* Structs of a later version than this one: fields that are not known here must not be used. */
#ifndef CLATTN_BASE_UNKNOWN_H
#define CLATTN_BASE_UNKNOWN_H

#include <stdbool.h>
#include <stddef.h>

/* Whether all bytes from `known` to `size` are 0. */
static inline bool clattn__unknown_is_zero(const void *structure, size_t known, size_t size)
{
    const unsigned char *bytes = structure;
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

#endif
