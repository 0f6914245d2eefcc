/* The ways of a cache to store keys and values. The errors allowed are those of docs/numerics.md
 * for keys, values and queries of the usual size. */
#include <string.h>

#include "kinds.h"

static const stored_as table[] = {
    {"f32", CLATTN_F32, 0, 0},        {"f16", CLATTN_F16, 0, 1e-3},
    {"bf16", CLATTN_BF16, 0, 1e-2},   {"int8", CLATTN_I8, 0, 2e-2},
    {"int8-32", CLATTN_I8, 32, 2e-2}, {"int4", CLATTN_I4, 0, 3e-1},
    {"int4-32", CLATTN_I4, 32, 3e-1},
};

const stored_as *stored_as_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}
