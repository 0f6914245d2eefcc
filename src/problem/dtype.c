/* The table of data types. */
#include "problem/dtype.h"

#include <stddef.h>

static const clattn__dtype_info table[] = {
    {CLATTN_F32, "f32", 4, 1},   {CLATTN_F16, "f16", 2, 1}, {CLATTN_BF16, "bf16", 2, 1},
    {CLATTN_BOOL, "bool", 1, 1}, {CLATTN_I32, "i32", 4, 1}, {CLATTN_I64, "i64", 8, 1},
    {CLATTN_I8, "i8", 1, 1},     {CLATTN_I4, "i4", 1, 2},
};

const clattn__dtype_info *clattn__dtype_get(clattn_dtype dtype)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].dtype == dtype)
            return &table[i];
    return NULL;
}

int64_t clattn__dtype_bytes(clattn_dtype dtype, int64_t elements)
{
    const clattn__dtype_info *info = clattn__dtype_get(dtype);
    return elements / info->elements * info->size;
}

bool clattn__dtype_is_quantised(clattn_dtype dtype)
{
    return dtype == CLATTN_I8 || dtype == CLATTN_I4;
}
