/* Rules about keys and values stored as integers, which have scales: where they may be, and what
 * goes with them. */
#include <inttypes.h>

#include "problem/rules.h"

static bool has(uint64_t slots, clattn_slot slot)
{
    return (slots & CLATTN_SLOT_BIT(slot)) != 0;
}

/* The tensor that a kind's K_SCALES (`values` 0) or V_SCALES are of. */
static clattn_slot stored(clattn__kind kind, int values)
{
    static const clattn_slot slots[2][2] = {{CLATTN_SLOT_K, CLATTN_SLOT_V},
                                            {CLATTN_SLOT_PRESENT_K, CLATTN_SLOT_PRESENT_V}};
    return slots[kind == CLATTN__APPEND][values];
}

/* Integers have a meaning only where scales have a part. */
static clattn_status integers_have_a_part(clattn__kind kind, uint64_t slots,
                                          const clattn_tensor *tensors)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        const bool part = info->part[kind] == CLATTN__ALWAYS || has(slots, info->slot);
        const bool scaled = clattn__slot_get(CLATTN_SLOT_K_SCALES)->part[kind] != CLATTN__NEVER &&
                            (info->slot == stored(kind, 0) || info->slot == stored(kind, 1));
        if (part && !scaled && clattn__dtype_is_quantised(tensors[slot].dtype))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "%s: can't be of type %s in this operation",
                                info->name, clattn__dtype_get(tensors[slot].dtype)->name);
    }
    return CLATTN_OK;
}

static clattn_status scales_go_with_integers(clattn__kind kind, uint64_t slots,
                                             const clattn_tensor *tensors)
{
    static const clattn_slot scales[] = {CLATTN_SLOT_K_SCALES, CLATTN_SLOT_V_SCALES};
    for (int values = 0; values < 2; values++) {
        const clattn_slot slot = stored(kind, values);
        const bool part = has(slots, scales[values]);
        if (part == clattn__dtype_is_quantised(tensors[slot].dtype))
            continue;
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: %s %s, but %s is of type %s",
                            clattn__slot_get((uint32_t)scales[values])->name,
                            part ? "takes part" : "does not take part",
                            clattn__slot_get((uint32_t)slot)->name,
                            clattn__dtype_get(tensors[slot].dtype)->name);
    }
    return CLATTN_OK;
}

static clattn_status channels_go_with_scales(uint64_t slots, int64_t channels)
{
    if (channels != 0 && channels != 32)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "scale_channels: is %" PRId64 ", must be 0 or 32",
                            channels);
    if (channels && !has(slots, CLATTN_SLOT_K_SCALES) && !has(slots, CLATTN_SLOT_V_SCALES))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "scale_channels: is %" PRId64
                            ", but neither K_SCALES nor V_SCALES takes part",
                            channels);
    return CLATTN_OK;
}

static clattn_status scales_have_no_past(clattn__kind kind, uint64_t slots)
{
    static const clattn_slot others[] = {CLATTN_SLOT_PAST_K, CLATTN_SLOT_PRESENT_K,
                                         CLATTN_SLOT_PRESENT_V};
    if (kind == CLATTN__APPEND ||
        !(has(slots, CLATTN_SLOT_K_SCALES) || has(slots, CLATTN_SLOT_V_SCALES)))
        return CLATTN_OK;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (has(slots, others[i]))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                                "slots: %s can't take part beside keys or values with scales",
                                clattn__slot_get((uint32_t)others[i])->name);
    return CLATTN_OK;
}

clattn_status clattn__rules_check_scales(clattn__kind kind, uint64_t slots,
                                         const clattn_tensor *tensors, int64_t channels)
{
    CLATTN__TRY(integers_have_a_part(kind, slots, tensors));
    CLATTN__TRY(channels_go_with_scales(slots, channels));
    if (clattn__slot_get(CLATTN_SLOT_K_SCALES)->part[kind] == CLATTN__NEVER)
        return CLATTN_OK;
    CLATTN__TRY(scales_go_with_integers(kind, slots, tensors));
    return scales_have_no_past(kind, slots);
}

clattn_status clattn__rules_check_halves(const clattn__problem *problem,
                                         const clattn__slot_info *info)
{
    const uint32_t last = info->rank - 1;
    const int64_t *stride = problem->layout[info->slot].stride;
    const int64_t dim = clattn__slot_extent(problem, info->slot, last);
    if (problem->dtype[info->slot] != CLATTN_I4)
        return CLATTN_OK;
    if (dim % 2)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: %s is %" PRId64 ", must be even for two elements in a byte",
                            info->name, clattn__extent_name(info->shape[last]), dim);
    if (stride[last] != 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "%s: stride[%" PRIu32 "] is %" PRId64
                            ", must be 1 for two elements in a byte",
                            info->name, last, stride[last]);
    for (uint32_t i = 0; i < last; i++)
        if (stride[i] % 2)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: stride[%" PRIu32 "] is %" PRId64
                                ", must be even for two elements in a byte",
                                info->name, i, stride[i]);
    return CLATTN_OK;
}
