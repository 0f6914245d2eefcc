/* Selectors: a type, an index, "platform/device", or a part of a name. */
#include "opencl/select.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const struct {
    const char *word;
    clattn_device_type type;
} type_words[] = {
    {"cpu", CLATTN_DEVICE_CPU},
    {"gpu", CLATTN_DEVICE_GPU},
    {"accelerator", CLATTN_DEVICE_ACCELERATOR},
};

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == 0;
}

static bool fits_both_names(const char *selector, const char *slash, const clattn_device_info *info)
{
    char platform[128];
    const size_t size = (size_t)(slash - selector);
    if (size >= sizeof platform)
        return false;
    memcpy(platform, selector, size);
    platform[size] = 0;
    return clattn__contains(info->platform, platform) && clattn__contains(info->name, slash + 1);
}

bool clattn__selector_fits(const char *selector, const clattn_device_info *info, uint32_t index)
{
    if (!selector)
        return true;
    for (size_t i = 0; i < sizeof type_words / sizeof type_words[0]; i++)
        if (clattn__same_word(selector, type_words[i].word))
            return info->type == type_words[i].type;
    if (is_number(selector))
        return strlen(selector) < 10 && strtoul(selector, NULL, 10) == index;
    const char *slash = strchr(selector, '/');
    if (slash && fits_both_names(selector, slash, info))
        return true;
    return clattn__contains(info->name, selector) || clattn__contains(info->platform, selector);
}

/* Lanes of one compute unit: a CPU core's vector, or what a GPU's compute unit typically has. */
static const struct {
    clattn_device_type type;
    double lanes; /* times the native vector width for a CPU */
} lanes_of[] = {
    {CLATTN_DEVICE_CPU, 2},
    {CLATTN_DEVICE_GPU, 64},
    {CLATTN_DEVICE_ACCELERATOR, 64},
    {CLATTN_DEVICE_OTHER, 1},
};

double clattn__device_score(const clattn_device_info *info)
{
    double lanes = 1;
    for (size_t i = 0; i < sizeof lanes_of / sizeof lanes_of[0]; i++)
        if (lanes_of[i].type == info->type)
            lanes = lanes_of[i].lanes;
    if (info->type == CLATTN_DEVICE_CPU)
        lanes *= info->vector_width;
    const double clock = info->clock_mhz ? info->clock_mhz : 1000;
    return lanes * clock * info->compute_units;
}

static clattn_status nothing_fits(const char *selector, const clattn_device_info *infos,
                                  uint32_t count)
{
    char names[512] = "";
    size_t size = 0;
    for (uint32_t i = 0; i < count && size < sizeof names - 1; i++) {
        const int added = snprintf(names + size, sizeof names - size, "%s%" PRIu32 ": %s/%s",
                                   i ? ", " : "", i, infos[i].platform, infos[i].name);
        size += added > 0 ? (size_t)added : 0;
    }
    return clattn__fail(CLATTN_ERR_NO_DEVICE, "device: nothing fits \"%s\"; there is %s", selector,
                        names);
}

static bool is_taken(const clattn__chosen *chosen, uint32_t device)
{
    for (uint32_t i = 0; chosen && i < chosen->count; i++)
        if (chosen->device[i] == device)
            return true;
    return false;
}

/* The best device that fits and isn't taken (NULL: none is). */
static bool best_of(const char *selector, const clattn_device_info *infos, uint32_t count,
                    const clattn__chosen *taken, uint32_t *chosen)
{
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!clattn__selector_fits(selector, &infos[i], i) || is_taken(taken, i))
            continue;
        if (!found || clattn__device_score(&infos[i]) > clattn__device_score(&infos[*chosen]))
            *chosen = i;
        found = true;
    }
    return found;
}

clattn_status clattn__select_device(const char *selector, const clattn_device_info *infos,
                                    uint32_t count, uint32_t *chosen)
{
    uint32_t best = 0;
    if (selector && !*selector)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "device: the selector is empty");
    if (!best_of(selector, infos, count, NULL, &best))
        return nothing_fits(selector, infos, count);
    *chosen = best;
    return CLATTN_OK;
}

static bool is_all(const char *selector)
{
    return clattn__same_word(selector, "all");
}

bool clattn__selector_is_list(const char *selector)
{
    return selector && (strchr(selector, '+') || is_all(selector));
}

static clattn_status add_chosen(clattn__chosen *chosen, const char *selector,
                                const clattn_device_info *infos, uint32_t count)
{
    uint32_t device = 0;
    CLATTN__TRY(clattn__select_device(selector, infos, count, &device));
    if (chosen->count == CLATTN__MAX_DEVICES)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "device: more than %d selectors",
                            CLATTN__MAX_DEVICES);
    if (!is_number(selector) && !best_of(selector, infos, count, chosen, &device))
        return clattn__fail(CLATTN_ERR_NO_DEVICE,
                            "device: what fits \"%s\" is taken by selectors before it", selector);
    chosen->device[chosen->count++] = device;
    return CLATTN_OK;
}

clattn_status clattn__select_devices(const char *selectors, const clattn_device_info *infos,
                                     uint32_t count, clattn__chosen *chosen)
{
    *chosen = (clattn__chosen){.count = 0};
    if (!clattn__selector_is_list(selectors)) {
        chosen->count = 1;
        return clattn__select_device(selectors, infos, count, &chosen->device[0]);
    }
    if (is_all(selectors)) {
        for (uint32_t i = 0; i < count && i < CLATTN__MAX_DEVICES; i++)
            chosen->device[chosen->count++] = i;
        return CLATTN_OK;
    }
    for (;;) {
        char selector[256];
        const size_t size = strcspn(selectors, "+");
        if (size >= sizeof selector)
            return clattn__fail(CLATTN_ERR_ARGUMENT, "device: a selector is too long");
        memcpy(selector, selectors, size);
        selector[size] = 0;
        CLATTN__TRY(add_chosen(chosen, selector, infos, count));
        if (!selectors[size])
            return CLATTN_OK;
        selectors += size + 1;
    }
}
