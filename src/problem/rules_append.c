/* Rules about appending tokens to pages. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

#define RANGE(field, least, most)                                                                  \
    {                                                                                              \
#field, offsetof(clattn_append_desc, field), least, most                                   \
    }
static const clattn__range ranges[] = {
    RANGE(batch, 0, INT32_MAX),   RANGE(n_kv_head, 1, INT32_MAX),  RANGE(n_kv, 0, INT32_MAX),
    RANGE(head_dim, 1, 576),      RANGE(value_dim, 1, 576),        RANGE(page_size, 1, INT32_MAX),
    RANGE(n_pages, 1, INT32_MAX), RANGE(page_limit, 1, INT32_MAX),
};

/* The fields of rotary embedding are 0 without ANGLES. */
static clattn_status check_rotation(const clattn_append_desc *desc)
{
    const bool rotated = (desc->slots & CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES)) != 0;
    if (desc->padding != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "padding: is %" PRIu32 ", must be 0",
                            desc->padding);
    if (!rotated && (desc->rotary_dim || desc->n_positions || desc->interleaved))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64 ", n_positions %" PRId64
                            ", interleaved %" PRIu32 ", but ANGLES does not take part",
                            desc->rotary_dim, desc->n_positions, desc->interleaved);
    if (!rotated)
        return CLATTN_OK;
    if (desc->interleaved > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "interleaved: is %" PRIu32 ", must be 0 or 1",
                            desc->interleaved);
    if (desc->rotary_dim < 2 || desc->rotary_dim % 2 || desc->rotary_dim > desc->head_dim)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64 ", must be even and 2 to head_dim, %" PRId64,
                            desc->rotary_dim, desc->head_dim);
    if (desc->n_positions < 1 || desc->n_positions > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "n_positions: is %" PRId64 ", must be 1 to 2147483647",
                            desc->n_positions);
    return CLATTN_OK;
}

clattn_status clattn__rules_check_append(const clattn_append_desc *desc)
{
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    CLATTN__TRY(clattn__rules_check_optional(CLATTN__APPEND, desc->slots));
    CLATTN__TRY(check_rotation(desc));
    CLATTN__TRY(clattn__rules_check_tensors(CLATTN__APPEND, desc->slots, desc->tensor));
    return clattn__rules_check_scales(CLATTN__APPEND, desc->slots, desc->tensor,
                                      desc->scale_channels);
}
