/* The table of features. A new one is a row here; a tensor that it needs, one in bench_tensor.c. */
#include "tool/bench_feature.h"

#include <stdio.h>
#include <string.h>

#include "tool/options.h"

#define SLOT(name) CLATTN_SLOT_BIT(CLATTN_SLOT_##name)

static const bench_feature table[] = {
    {.name = "mask", .slots = SLOT(MASK)},
    {.name = "bias", .slots = SLOT(BIAS)},
    {.name = "alibi", .slots = SLOT(ALIBI), .align = CLATTN_ALIGN_BOTTOM_RIGHT},
    {.name = "softcap", .softcap = 30},
    {.name = "window", .window = 256, .align = CLATTN_ALIGN_BOTTOM_RIGHT},
    {.name = "f16", .type = "f16"},
    {.name = "bf16", .type = "bf16"},
    {.name = "int8",
     .type = "int8",
     .integers = CLATTN_I8,
     .slots = SLOT(K_SCALES) | SLOT(V_SCALES)},
    {.name = "int4",
     .type = "int4",
     .integers = CLATTN_I4,
     .slots = SLOT(K_SCALES) | SLOT(V_SCALES)},
    {.name = "dropout", .slots = SLOT(SEED), .dropout = 0.1f},
    {.name = "top-k", .top_k = 64},
    {.name = "rotary",
     .slots = SLOT(ANGLES) | SLOT(RMS_WEIGHT),
     .rotated = true,
     .align = CLATTN_ALIGN_BOTTOM_RIGHT},
    {.name = "lengths", .slots = SLOT(KV_LENGTHS)},
    {.name = "pages", .slots = SLOT(PAGES)},
    {.name = "append", .slots = SLOT(PAGES), .append = true},
    {.name = "uneven", .slots = SLOT(PAGES) | SLOT(KV_LENGTHS), .uneven = true},
};

const bench_feature *bench_feature_get(uint32_t index)
{
    return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

const bench_feature *bench_feature_find(const char *name)
{
    char known[256] = "";
    for (uint32_t i = 0; bench_feature_get(i); i++) {
        const size_t at = strlen(known);
        if (strcmp(bench_feature_get(i)->name, name) == 0)
            return bench_feature_get(i);
        snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", bench_feature_get(i)->name);
    }
    usage_error("--feature", "'%s' is none of: %s", name, known);
    return NULL;
}
