/* The table of data types. */
#include "problem/dtype.h"

#include <stddef.h>

static const clattn__dtype_info table[] = {
    {CLATTN_F32, "f32", 4},
};

const clattn__dtype_info *clattn__dtype_get(clattn_dtype dtype)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].dtype == dtype)
            return &table[i];
    return NULL;
}
