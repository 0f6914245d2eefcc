/* The table of data types. */
#include "problem/dtype.h"

#include <stddef.h>

static const clattn__dtype_info table[] = {
    {CLATTN_F32, "f32", 4},   {CLATTN_F16, "f16", 2}, {CLATTN_BF16, "bf16", 2},
    {CLATTN_BOOL, "bool", 1}, {CLATTN_I32, "i32", 4}, {CLATTN_I64, "i64", 8},
};

const clattn__dtype_info *clattn__dtype_get(clattn_dtype dtype)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].dtype == dtype)
            return &table[i];
    return NULL;
}
