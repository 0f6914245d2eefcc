/* Rules about which slots take part, the fields that go with them, and their types. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

clattn_status clattn__rules_check_optional(clattn__kind kind, uint64_t slots)
{
    for (uint32_t slot = 0; slot < 64; slot++) {
        if (!(slots & CLATTN_SLOT_BIT(slot)))
            continue;
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (!info)
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "slots: this version has no slot %" PRIu32,
                                slot);
        if (info->part[kind] == CLATTN__NEVER)
            return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: %s has no part in this operation",
                                info->name);
        if (info->part[kind] == CLATTN__ALWAYS)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "slots: %s always takes part; name optional slots only",
                                info->name);
    }
    return CLATTN_OK;
}

/* Whether `dtype` is allowed; 0 also stands for the only type of a slot that has one. */
static bool allows(const clattn__slot_info *info, clattn_dtype dtype)
{
    const bool only_one = (info->dtypes & (info->dtypes - 1)) == 0;
    return (info->dtypes & (1u << dtype)) != 0 || (only_one && dtype == CLATTN_F32);
}

static clattn_status check_tensor(const clattn__slot_info *info, const clattn_tensor *tensor)
{
    if (tensor->strided > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: strided is %" PRIu32 ", must be 0 or 1",
                            info->name, tensor->strided);
    const clattn__dtype_info *dtype = clattn__dtype_get(tensor->dtype);
    if (!dtype)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "%s: this version has no data type %d",
                            info->name, (int)tensor->dtype);
    if (!allows(info, dtype->dtype))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "%s: can't be of type %s", info->name,
                            dtype->name);
    return CLATTN_OK;
}

clattn_status clattn__rules_check_tensors(clattn__kind kind, uint64_t slots,
                                          const clattn_tensor *tensors)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (info->part[kind] == CLATTN__ALWAYS || slots & CLATTN_SLOT_BIT(slot))
            CLATTN__TRY(check_tensor(info, &tensors[slot]));
    }
    return CLATTN_OK;
}

static bool has(const clattn_attention_desc *desc, clattn_slot slot)
{
    return (desc->slots & CLATTN_SLOT_BIT(slot)) != 0;
}

/* Slots that make sense only together. */
static clattn_status pairs_are_whole(const clattn_attention_desc *desc)
{
    static const clattn_slot pairs[][2] = {
        {CLATTN_SLOT_PAST_K, CLATTN_SLOT_PAST_V},
        {CLATTN_SLOT_BLOCK_COUNT, CLATTN_SLOT_BLOCK_INDEX},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (has(desc, pairs[i][0]) != has(desc, pairs[i][1]))
            return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: %s and %s take part only together",
                                clattn__slot_get((uint32_t)pairs[i][0])->name,
                                clattn__slot_get((uint32_t)pairs[i][1])->name);
    return CLATTN_OK;
}

/* Fields that say something about a slot: at least `least` with the slot, 0 without. */
static const struct {
    const char *name;
    size_t offset;
    clattn_slot slot;
    int64_t least;
} companions[] = {
    {"n_past", offsetof(clattn_attention_desc, n_past), CLATTN_SLOT_PAST_K, 0},
    {"block_q", offsetof(clattn_attention_desc, block_q), CLATTN_SLOT_BLOCK_INDEX, 1},
    {"block_kv", offsetof(clattn_attention_desc, block_kv), CLATTN_SLOT_BLOCK_INDEX, 1},
    {"block_limit", offsetof(clattn_attention_desc, block_limit), CLATTN_SLOT_BLOCK_INDEX, 1},
    {"n_params", offsetof(clattn_attention_desc, n_params), CLATTN_SLOT_PARAMS, 1},
    {"page_size", offsetof(clattn_attention_desc, page_size), CLATTN_SLOT_PAGES, 1},
    {"n_pages", offsetof(clattn_attention_desc, n_pages), CLATTN_SLOT_PAGES, 1},
    {"page_limit", offsetof(clattn_attention_desc, page_limit), CLATTN_SLOT_PAGES, 1},
};

static clattn_status companions_fit(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof companions / sizeof companions[0]; i++) {
        int64_t value;
        memcpy(&value, (const char *)desc + companions[i].offset, sizeof value);
        const char *slot = clattn__slot_get((uint32_t)companions[i].slot)->name;
        if (has(desc, companions[i].slot) && value < companions[i].least)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is %" PRId64 ", must be at least %" PRId64 " with %s",
                                companions[i].name, value, companions[i].least, slot);
        if (!has(desc, companions[i].slot) && value != 0)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is %" PRId64 ", but %s does not take part", companions[i].name,
                                value, slot);
    }
    return CLATTN_OK;
}

static clattn_status seed_goes_with_dropout(const clattn_attention_desc *desc)
{
    if (desc->dropout > 0 && !has(desc, CLATTN_SLOT_SEED))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: SEED must take part, because dropout is %g",
                            (double)desc->dropout);
    if (desc->sample && !has(desc, CLATTN_SLOT_SEED))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: SEED must take part, because sample is 1");
    if (desc->dropout == 0 && !desc->sample && has(desc, CLATTN_SLOT_SEED))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: SEED takes part, but dropout is 0");
    return CLATTN_OK;
}

static clattn_status params_have_function(const clattn_attention_desc *desc)
{
    if (has(desc, CLATTN_SLOT_PARAMS) && !desc->score_function && !desc->mask_function)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: PARAMS takes part, but neither score_function nor "
                            "mask_function is given");
    return CLATTN_OK;
}

static clattn_status stage_goes_with_scores(const clattn_attention_desc *desc)
{
    if (desc->score_stage != CLATTN_SCORES_SCALED && !has(desc, CLATTN_SLOT_SCORES))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "score_stage: is %d, but SCORES does not take part",
                            (int)desc->score_stage);
    return CLATTN_OK;
}

static clattn_status ragged_has_lengths(const clattn_attention_desc *desc)
{
    if (!desc->ragged && desc->total_q)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "total_q: is %" PRId64 ", but ragged is 0",
                            desc->total_q);
    if (!desc->ragged && desc->total_kv)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "total_kv: is %" PRId64 ", but ragged is 0",
                            desc->total_kv);
    if (desc->ragged && !has(desc, CLATTN_SLOT_Q_LENGTHS))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: Q_LENGTHS must take part if ragged is 1");
    if (desc->ragged && !has(desc, CLATTN_SLOT_KV_LENGTHS))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: KV_LENGTHS must take part if ragged is 1");
    return CLATTN_OK;
}

static clattn_status ragged_has_no_present(const clattn_attention_desc *desc)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_PRESENT_K, CLATTN_SLOT_PRESENT_V};
    for (size_t i = 0; desc->ragged && i < sizeof slots / sizeof slots[0]; i++)
        if (has(desc, slots[i]))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "slots: %s can't take part if ragged is 1",
                                clattn__slot_get((uint32_t)slots[i])->name);
    return CLATTN_OK;
}

static clattn_status pages_have_no_past(const clattn_attention_desc *desc)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_PAST_K, CLATTN_SLOT_PRESENT_K,
                                        CLATTN_SLOT_PRESENT_V};
    if (has(desc, CLATTN_SLOT_PAGES) && desc->total_kv)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "total_kv: is %" PRId64 ", must be 0 with PAGES, whose keys don't lie "
                            "one after the other",
                            desc->total_kv);
    for (size_t i = 0; has(desc, CLATTN_SLOT_PAGES) && i < sizeof slots / sizeof slots[0]; i++)
        if (has(desc, slots[i]))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "slots: %s can't take part beside PAGES",
                                clattn__slot_get((uint32_t)slots[i])->name);
    return CLATTN_OK;
}

static clattn_status pages_hold_all(const clattn_attention_desc *desc)
{
    if (has(desc, CLATTN_SLOT_PAGES) && desc->page_size * desc->page_limit < desc->n_kv)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "page_limit: %" PRId64 " pages of page_size %" PRId64
                            " hold less than n_kv = %" PRId64,
                            desc->page_limit, desc->page_size, desc->n_kv);
    return CLATTN_OK;
}

static clattn_status cascade_has_pages(const clattn_attention_desc *desc)
{
    if (desc->cascade && !has(desc, CLATTN_SLOT_PAGES))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "cascade: is 1, must be 0 without PAGES");
    return CLATTN_OK;
}

static clattn_status top_k_has_no_dropout(const clattn_attention_desc *desc)
{
    if (desc->sample && !desc->top_k)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "sample: is 1, must be 0 without top_k");
    if (desc->top_k && desc->dropout > 0)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "dropout: is %g, must be 0 with top_k",
                            (double)desc->dropout);
    return CLATTN_OK;
}

static const clattn__desc_rule rules[] = {
    top_k_has_no_dropout, pairs_are_whole,    companions_fit,        seed_goes_with_dropout,
    params_have_function, ragged_has_lengths, ragged_has_no_present, stage_goes_with_scores,
    pages_have_no_past,   pages_hold_all,     cascade_has_pages,
};

clattn_status clattn__rules_check_slots(const clattn_attention_desc *desc, clattn__kind kind)
{
    CLATTN__TRY(clattn__rules_check_optional(kind, desc->slots));
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        CLATTN__TRY(rules[i](desc));
    CLATTN__TRY(clattn__rules_check_query_rotation(desc, kind));
    if (kind == CLATTN__GRADIENT)
        CLATTN__TRY(clattn__rules_check_gradient(desc));
    CLATTN__TRY(clattn__rules_check_tensors(kind, desc->slots, desc->tensor));
    return clattn__rules_check_scales(kind, desc->slots, desc->tensor, desc->scale_channels);
}
