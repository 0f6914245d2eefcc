/* The configuration as text and from text: the one table of macros. */
#include "kernels/registry.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

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
    {"BLOCK_K", offsetof(clattn__config, block_k)},
    {"STREAMS", offsetof(clattn__config, streams)},
    {"DIM_MAX", offsetof(clattn__config, dim_max)},
    {"FULL", offsetof(clattn__config, full)},
    {"STORAGE", offsetof(clattn__config, storage)},
    {"STAGES", offsetof(clattn__config, stages)},
    {"SCALE_CHANNELS", offsetof(clattn__config, scale_channels)},
    {"SCORE_FUNCTION", offsetof(clattn__config, score_function)},
    {"MASK_FUNCTION", offsetof(clattn__config, mask_function)},
    {"SCORE_GRADIENT", offsetof(clattn__config, score_gradient)},
    {"WG_SIZE", offsetof(clattn__config, group_size)},
};

enum { MACROS = sizeof macros / sizeof macros[0] };

static uint32_t *number_of(clattn__config *config, size_t i)
{
    return (uint32_t *)((char *)config + macros[i].offset);
}

static uint32_t value_of(const clattn__config *config, size_t i)
{
    return *(const uint32_t *)((const char *)config + macros[i].offset);
}

static bool can_be_tuned(size_t i)
{
    return macros[i].offset < offsetof(clattn__config, dim_max);
}

static void add_all(const clattn__config *config, bool only_tuned, const char *prefix,
                    clattn__text *text)
{
    const char *between = "";
    for (size_t i = 0; i < MACROS; i++) {
        const uint32_t value = value_of(config, i);
        if (value == 0 || (only_tuned && !can_be_tuned(i)))
            continue;
        clattn__text_add(text, "%s%s%s=%" PRIu32, between, prefix, macros[i].name, value);
        between = " ";
    }
}

void clattn__config_macros(const clattn__config *config, clattn__text *text)
{
    add_all(config, false, "-D ", text);
}

void clattn__config_describe(const clattn__config *config, clattn__text *text)
{
    add_all(config, false, "", text);
}

void clattn__config_describe_tuned(const clattn__config *config, clattn__text *text)
{
    add_all(config, true, "", text);
}

void clattn__config_change(const clattn__config *change, clattn__config *config)
{
    for (size_t i = 0; i < MACROS; i++)
        if (can_be_tuned(i) && value_of(change, i))
            *number_of(config, i) = value_of(change, i);
}

bool clattn__config_is_whole(const clattn__config *config, const clattn__config *other)
{
    for (size_t i = 0; i < MACROS; i++)
        if (can_be_tuned(i) && value_of(other, i) && !value_of(config, i))
            return false;
    return true;
}

bool clattn__config_same(const clattn__config *a, const clattn__config *b)
{
    for (size_t i = 0; i < MACROS; i++)
        if (can_be_tuned(i) && value_of(a, i) != value_of(b, i))
            return false;
    return true;
}

/* A number of 1 to 9 digits. */
static bool parse_number(const char *text, size_t size, uint32_t *number)
{
    *number = 0;
    if (size < 1 || size > 9)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *number = *number * 10 + (uint32_t)(text[i] - '0');
    }
    return true;
}

bool clattn__config_parse_tuned(const char *text, clattn__config *config)
{
    while (*text) {
        const size_t size = strcspn(text, " "), name = strcspn(text, "= ");
        uint32_t number;
        if (name == 0 || name >= size || !parse_number(text + name + 1, size - name - 1, &number))
            return false;
        for (size_t i = 0; i < MACROS; i++)
            if (can_be_tuned(i) && strlen(macros[i].name) == name &&
                memcmp(macros[i].name, text, name) == 0)
                *number_of(config, i) = number;
        text += size + (text[size] == ' ');
    }
    return true;
}
