/* Rules about the fields of a description of attention. A rule returns CLATTN_OK or fails with a
 * sentence that names the field, what it is, and what it must be; the table at the end lists them
 * all. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>

#include "problem/rules.h"

clattn_status clattn__rules_check_ranges(const void *desc, const clattn__range *ranges,
                                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value;
        memcpy(&value, (const char *)desc + ranges[i].offset, sizeof value);
        if (value < ranges[i].least || value > ranges[i].most)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is %" PRId64 ", must be %" PRId64 " to %" PRId64,
                                ranges[i].name, value, ranges[i].least, ranges[i].most);
    }
    return CLATTN_OK;
}

static clattn_status reserved_is_zero(const clattn_attention_desc *desc)
{
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    return CLATTN_OK;
}

static clattn_status flags_are_known(const clattn_attention_desc *desc)
{
    if (desc->flags & ~(uint32_t)CLATTN_ATTENTION_WEIGHTS_DROPPED)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "flags: 0x%" PRIx32 " has bits that this version does not know",
                            desc->flags);
    return CLATTN_OK;
}

#define RANGE(field, least, most)                                                                  \
    {                                                                                              \
#field, offsetof(clattn_attention_desc, field), least, most                                \
    }
static const clattn__range ranges[] = {
    RANGE(batch, 0, INT32_MAX),
    RANGE(n_head, 1, INT32_MAX),
    RANGE(n_kv_head, 1, INT32_MAX),
    RANGE(n_q, 0, INT32_MAX),
    RANGE(n_kv, 0, INT32_MAX),
    RANGE(n_past, 0, INT32_MAX),
    RANGE(head_dim, 1, 576),
    RANGE(value_dim, 1, 576),
    RANGE(total_q, 0, INT32_MAX),
    RANGE(total_kv, 0, INT32_MAX),
    RANGE(block_q, 0, INT32_MAX),
    RANGE(block_kv, 0, INT32_MAX),
    RANGE(block_limit, 0, INT32_MAX),
    RANGE(n_params, 0, INT32_MAX),
    RANGE(top_k, 0, INT32_MAX),
    RANGE(page_size, 0, INT32_MAX),
    RANGE(n_pages, 0, INT32_MAX),
    RANGE(page_limit, 0, INT32_MAX),
    RANGE(align_offset, -INT32_MAX, INT32_MAX),
};

static clattn_status extents_in_range(const clattn_attention_desc *desc)
{
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    if (desc->n_past + desc->n_kv > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "n_past: %" PRId64 " past and %" PRId64
                            " new keys (n_kv) are more than 2^31-1",
                            desc->n_past, desc->n_kv);
    return CLATTN_OK;
}

static clattn_status heads_divide(const clattn_attention_desc *desc)
{
    if (desc->n_head % desc->n_kv_head != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "n_kv_head: %" PRId64 " key/value heads do not divide %" PRId64
                            " query heads (n_head)",
                            desc->n_kv_head, desc->n_head);
    return CLATTN_OK;
}

static clattn_status is_switch(const char *name, uint32_t value)
{
    if (value > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is %" PRIu32 ", must be 0 or 1", name, value);
    return CLATTN_OK;
}

static clattn_status switches_are_boolean(const clattn_attention_desc *desc)
{
    CLATTN__TRY(is_switch("has_scale", desc->has_scale));
    CLATTN__TRY(is_switch("causal", desc->causal));
    CLATTN__TRY(is_switch("has_window", desc->has_window));
    CLATTN__TRY(is_switch("sample", desc->sample));
    CLATTN__TRY(is_switch("cascade", desc->cascade));
    return is_switch("ragged", desc->ragged);
}

static clattn_status scale_is_finite(const clattn_attention_desc *desc)
{
    if (desc->has_scale && !isfinite(desc->scale))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "scale: is %g, must be finite",
                            (double)desc->scale);
    return CLATTN_OK;
}

/* Scores are multiplied by its inverse, which must not be infinite. */
static clattn_status softcap_is_positive(const clattn_attention_desc *desc)
{
    if (!isfinite(desc->softcap) || (desc->softcap != 0 && desc->softcap < FLT_MIN))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "softcap: is %g, must be finite and at least 2^-126, or 0 for none",
                            (double)desc->softcap);
    return CLATTN_OK;
}

static clattn_status dropout_is_probability(const clattn_attention_desc *desc)
{
    if (!(desc->dropout >= 0 && desc->dropout < 1))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "dropout: is %g, must be at least 0 and below 1",
                            (double)desc->dropout);
    return CLATTN_OK;
}

static clattn_status align_is_known(const clattn_attention_desc *desc)
{
    const int align = (int)desc->align;
    if (align < CLATTN_ALIGN_NONE || align > CLATTN_ALIGN_OFFSET)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "align: %d is not one of clattn_align", align);
    if (desc->align_offset != 0 && align != CLATTN_ALIGN_OFFSET)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "align_offset: is %" PRId64
                            ", must be 0 unless align is CLATTN_ALIGN_OFFSET",
                            desc->align_offset);
    return CLATTN_OK;
}

static clattn_status alignment_is_named(const clattn_attention_desc *desc)
{
    const char *needs = NULL;
    if (desc->align != CLATTN_ALIGN_NONE)
        return CLATTN_OK;
    if (desc->slots & CLATTN_SLOT_BIT(CLATTN_SLOT_ALIBI))
        needs = "ALiBi";
    if (desc->has_window)
        needs = "a window";
    if (desc->causal)
        needs = "causal attention";
    if (needs)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "align: %s needs CLATTN_ALIGN_TOP_LEFT, CLATTN_ALIGN_BOTTOM_RIGHT or "
                            "CLATTN_ALIGN_OFFSET, because systems differ",
                            needs);
    return CLATTN_OK;
}

static clattn_status window_is_valid(const clattn_attention_desc *desc)
{
    if (desc->has_window && (desc->window_left < -1 || desc->window_left > INT32_MAX))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "window_left: is %" PRId64 ", must be 0 to 2^31-1, or -1 for all",
                            desc->window_left);
    if (desc->has_window && (desc->window_right < -1 || desc->window_right > INT32_MAX))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "window_right: is %" PRId64 ", must be 0 to 2^31-1, or -1 for all",
                            desc->window_right);
    return CLATTN_OK;
}

static clattn_status stage_is_known(const clattn_attention_desc *desc)
{
    const int stage = (int)desc->score_stage;
    if (stage < CLATTN_SCORES_SCALED || stage > CLATTN_SCORES_WEIGHTS)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "score_stage: %d is not one of clattn_score_stage",
                            stage);
    return CLATTN_OK;
}

#define MOST_TEXT ((size_t)1 << 20)

static clattn_status text_is_valid(const char *name, const char *text)
{
    if (text && !text[0])
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is an empty text; NULL means none", name);
    if (text && memchr(text, 0, MOST_TEXT) == NULL)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: is longer than 1 MiB", name);
    return CLATTN_OK;
}

static clattn_status texts_are_valid(const clattn_attention_desc *desc)
{
    CLATTN__TRY(text_is_valid("score_function", desc->score_function));
    CLATTN__TRY(text_is_valid("score_gradient", desc->score_gradient));
    if (desc->score_gradient && !desc->score_function)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "score_gradient: is given, but score_function is not");
    return text_is_valid("mask_function", desc->mask_function);
}

static const clattn__desc_rule rules[] = {
    reserved_is_zero, flags_are_known,    switches_are_boolean, extents_in_range,
    heads_divide,     scale_is_finite,    softcap_is_positive,  dropout_is_probability,
    align_is_known,   alignment_is_named, window_is_valid,      stage_is_known,
    texts_are_valid,
};

clattn_status clattn__rules_check_fields(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        CLATTN__TRY(rules[i](desc));
    return CLATTN_OK;
}

#define MERGE_RANGE(field, least, most)                                                            \
    {                                                                                              \
#field, offsetof(clattn_merge_desc, field), least, most                                    \
    }
static const clattn__range merge_ranges[] = {
    MERGE_RANGE(parts, 1, INT32_MAX),  MERGE_RANGE(batch, 0, INT32_MAX),
    MERGE_RANGE(n_head, 1, INT32_MAX), MERGE_RANGE(n_q, 0, INT32_MAX),
    MERGE_RANGE(value_dim, 1, 576),
};

clattn_status clattn__rules_check_merge(const clattn_merge_desc *desc)
{
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    CLATTN__TRY(clattn__rules_check_ranges(desc, merge_ranges,
                                           sizeof merge_ranges / sizeof merge_ranges[0]));
    CLATTN__TRY(clattn__rules_check_optional(CLATTN__MERGE, desc->slots));
    return clattn__rules_check_tensors(CLATTN__MERGE, desc->slots, desc->tensor);
}
