/* The configuration as text: the one table of macros. */
#include "kernels/registry.h"

#include <inttypes.h>
#include <stddef.h>

static const struct {
    const char *name;
    size_t offset;
} macros[] = {
    {"VEC", offsetof(clattn__config, vec)},
    {"ROWS", offsetof(clattn__config, rows)},
    {"COLS", offsetof(clattn__config, cols)},
    {"VALUE_COLS", offsetof(clattn__config, value_cols)},
    {"BLOCK_M", offsetof(clattn__config, block_m)},
    {"BLOCK_N", offsetof(clattn__config, block_n)},
    {"DIM_MAX", offsetof(clattn__config, dim_max)},
    {"FULL", offsetof(clattn__config, full)},
    {"STORAGE", offsetof(clattn__config, storage)},
    {"SCORE_FUNCTION", offsetof(clattn__config, score_function)},
    {"MASK_FUNCTION", offsetof(clattn__config, mask_function)},
    {"SCORE_GRADIENT", offsetof(clattn__config, score_gradient)},
    {"WG_SIZE", offsetof(clattn__config, group_size)},
};

static void add_all(const clattn__config *config, const char *prefix, clattn__text *text)
{
    const char *between = "";
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
        const uint32_t value = *(const uint32_t *)((const char *)config + macros[i].offset);
        if (value == 0)
            continue;
        clattn__text_add(text, "%s%s%s=%" PRIu32, between, prefix, macros[i].name, value);
        between = " ";
    }
}

void clattn__config_macros(const clattn__config *config, clattn__text *text)
{
    add_all(config, "-D ", text);
}

void clattn__config_describe(const clattn__config *config, clattn__text *text)
{
    add_all(config, "", text);
}
