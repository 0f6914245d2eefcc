/* Every rule about a description of attention. A rule returns CLATTN_OK or fails with a sentence
 * that names the field, what it is, and what it must be; the tables at the end list them all. */
#include "problem/rules.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>

typedef clattn_status (*desc_rule)(const clattn_attention_desc *desc);

static clattn_status reserved_is_zero(const clattn_attention_desc *desc)
{
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    return CLATTN_OK;
}

static const struct {
    const char *name;
    size_t offset;
    int64_t least, most;
} extents[] = {
    {"batch", offsetof(clattn_attention_desc, batch), 0, INT32_MAX},
    {"n_head", offsetof(clattn_attention_desc, n_head), 1, INT32_MAX},
    {"n_kv_head", offsetof(clattn_attention_desc, n_kv_head), 1, INT32_MAX},
    {"n_q", offsetof(clattn_attention_desc, n_q), 0, INT32_MAX},
    {"n_kv", offsetof(clattn_attention_desc, n_kv), 0, INT32_MAX},
    {"head_dim", offsetof(clattn_attention_desc, head_dim), 1, 576},
    {"value_dim", offsetof(clattn_attention_desc, value_dim), 1, 576},
};

static clattn_status extents_in_range(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof extents / sizeof extents[0]; i++) {
        int64_t value;
        memcpy(&value, (const char *)desc + extents[i].offset, sizeof value);
        if (value < extents[i].least || value > extents[i].most)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is %" PRId64 ", must be %" PRId64 " to %" PRId64,
                                extents[i].name, value, extents[i].least, extents[i].most);
    }
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

static clattn_status scale_is_finite(const clattn_attention_desc *desc)
{
    if (desc->has_scale > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "has_scale: is %" PRIu32 ", must be 0 or 1",
                            desc->has_scale);
    if (desc->has_scale && !isfinite(desc->scale))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "scale: is %g, must be finite",
                            (double)desc->scale);
    return CLATTN_OK;
}

static clattn_status align_is_known(const clattn_attention_desc *desc)
{
    const int align = (int)desc->align;
    if (align < CLATTN_ALIGN_NONE || align > CLATTN_ALIGN_BOTTOM_RIGHT)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "align: %d is not one of clattn_align", align);
    return CLATTN_OK;
}

static clattn_status causal_has_alignment(const clattn_attention_desc *desc)
{
    if (desc->causal > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "causal: is %" PRIu32 ", must be 0 or 1",
                            desc->causal);
    if (desc->causal && desc->align == CLATTN_ALIGN_NONE)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "align: causal attention needs CLATTN_ALIGN_TOP_LEFT or "
                            "CLATTN_ALIGN_BOTTOM_RIGHT, because systems differ");
    return CLATTN_OK;
}

static clattn_status slots_are_optional(const clattn_attention_desc *desc)
{
    for (uint32_t slot = 0; slot < 64; slot++) {
        if (!(desc->slots & CLATTN_SLOT_BIT(slot)))
            continue;
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (!info)
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "slots: this version has no slot %" PRIu32,
                                slot);
        if (!info->optional)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "slots: %s always takes part; name optional slots only",
                                info->name);
    }
    return CLATTN_OK;
}

static bool takes_part(const clattn_attention_desc *desc, const clattn__slot_info *info)
{
    return !info->optional || (desc->slots & CLATTN_SLOT_BIT(info->slot));
}

static clattn_status dtypes_are_allowed(const clattn_attention_desc *desc)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        const clattn_tensor *tensor = &desc->tensor[slot];
        if (!takes_part(desc, info))
            continue;
        if (tensor->strided > 1)
            return clattn__fail(CLATTN_ERR_ARGUMENT, "%s: strided is %" PRIu32 ", must be 0 or 1",
                                info->name, tensor->strided);
        const clattn__dtype_info *dtype = clattn__dtype_get(tensor->dtype);
        if (!dtype)
            return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                                "%s: this version has no data type %d (only f32)", info->name,
                                (int)tensor->dtype);
        if (!(info->dtypes & (1u << dtype->dtype)))
            return clattn__fail(CLATTN_ERR_UNSUPPORTED, "%s: can't be of type %s", info->name,
                                dtype->name);
    }
    return CLATTN_OK;
}

static const desc_rule desc_rules[] = {
    reserved_is_zero, extents_in_range,     heads_divide,       scale_is_finite,
    align_is_known,   causal_has_alignment, slots_are_optional, dtypes_are_allowed,
};

clattn_status clattn__rules_check_desc(const clattn_attention_desc *desc)
{
    for (size_t i = 0; i < sizeof desc_rules / sizeof desc_rules[0]; i++)
        CLATTN__TRY(desc_rules[i](desc));
    return CLATTN_OK;
}

/* The largest distance from element 0 that a tensor may reach, elements of any type: its bytes and
 * the sums of two such distances stay within 63 bits. */
#define MOST_ELEMENTS ((int64_t)1 << 58)

static clattn_status span_is_addressable(const clattn__problem *problem,
                                         const clattn__slot_info *info)
{
    int64_t reach = 0;
    for (uint32_t dim = 0; dim < info->rank; dim++) {
        const int64_t extent = problem->extent[info->shape[dim]];
        const int64_t stride = problem->layout[info->slot].stride[dim];
        if (extent < 2)
            continue;
        const int64_t left = MOST_ELEMENTS - reach;
        if (stride > left / (extent - 1) || stride < -(left / (extent - 1)))
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: spans more than 2^58 elements (stride[%" PRIu32 "] is %" PRId64
                                ", %s is %" PRId64 ")",
                                info->name, dim, stride, clattn__extent_name(info->shape[dim]),
                                extent);
        reach += (stride < 0 ? -stride : stride) * (extent - 1);
    }
    return CLATTN_OK;
}

static bool is_empty(const clattn__problem *problem, const clattn__slot_info *info)
{
    for (uint32_t dim = 0; dim < info->rank; dim++)
        if (problem->extent[info->shape[dim]] == 0)
            return true;
    return false;
}

/* Dimensions in ascending order of stride must each step over all that the smaller ones reach. */
static clattn_status elements_are_distinct(const clattn__problem *problem,
                                           const clattn__slot_info *info)
{
    bool used[4] = {false};
    int64_t reach = 0;
    for (uint32_t round = 0; round < info->rank; round++) {
        uint32_t least = info->rank;
        int64_t step = INT64_MAX;
        for (uint32_t dim = 0; dim < info->rank; dim++) {
            const int64_t stride = problem->layout[info->slot].stride[dim];
            const int64_t size = stride < 0 ? -stride : stride;
            if (!used[dim] && problem->extent[info->shape[dim]] > 1 && size < step) {
                least = dim;
                step = size;
            }
        }
        if (least == info->rank)
            break;
        if (step <= reach)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "%s: is written, but stride[%" PRIu32 "] = %" PRId64
                                " makes elements share memory",
                                info->name, least, problem->layout[info->slot].stride[least]);
        used[least] = true;
        reach += step * (problem->extent[info->shape[least]] - 1);
    }
    return CLATTN_OK;
}

clattn_status clattn__rules_check_layouts(const clattn__problem *problem)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (!clattn__problem_has(problem, info->slot))
            continue;
        CLATTN__TRY(span_is_addressable(problem, info));
        if (info->written && !is_empty(problem, info))
            CLATTN__TRY(elements_are_distinct(problem, info));
    }
    return CLATTN_OK;
}
