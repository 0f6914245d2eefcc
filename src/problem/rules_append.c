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

clattn_status clattn__rules_check_append(const clattn_append_desc *desc)
{
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    if (desc->padding != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "padding: is %" PRIu32 ", must be 0",
                            desc->padding);
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    CLATTN__TRY(clattn__rules_check_optional(CLATTN__APPEND, desc->slots));
    CLATTN__TRY(clattn__rules_check_rotation(
        &CLATTN__ROTATION_OF(desc), (desc->slots & CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES)) != 0));
    CLATTN__TRY(clattn__rules_check_tensors(CLATTN__APPEND, desc->slots, desc->tensor));
    return clattn__rules_check_scales(CLATTN__APPEND, desc->slots, desc->tensor,
                                      desc->scale_channels);
}
