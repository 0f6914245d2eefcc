/* Rules about additive attention and its gradients. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

#define RANGE(field, least, most)                                                                  \
    {                                                                                              \
#field, offsetof(clattn_additive_desc, field), least, most                                 \
    }
static const clattn__range ranges[] = {
    RANGE(batch, 0, INT32_MAX), RANGE(n_head, 1, INT32_MAX), RANGE(n_q, 0, INT32_MAX),
    RANGE(n_kv, 0, INT32_MAX),  RANGE(channels, 1, 4096),    RANGE(value_dim, 1, 4096),
};

static bool has(const clattn_additive_desc *desc, clattn_slot slot)
{
    return (desc->slots & CLATTN_SLOT_BIT(slot)) != 0;
}

static clattn_status gradients_are_wanted(const clattn_additive_desc *desc)
{
    static const uint64_t any =
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_K) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V) | CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_W_SCORE) |
        CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_CHANNEL_BIAS);
    if (!(desc->slots & any))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: none of GRAD_Q, GRAD_K, GRAD_V, GRAD_W_SCORE and "
                            "GRAD_CHANNEL_BIAS takes part; there is nothing to compute");
    if (has(desc, CLATTN_SLOT_GRAD_CHANNEL_BIAS) && !has(desc, CLATTN_SLOT_CHANNEL_BIAS))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: GRAD_CHANNEL_BIAS takes part, but CHANNEL_BIAS does not");
    return CLATTN_OK;
}

clattn_status clattn__rules_check_additive(const clattn_additive_desc *desc, clattn__kind kind)
{
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    CLATTN__TRY(clattn__rules_check_optional(kind, desc->slots));
    if (kind == CLATTN__ADDITIVE_GRADIENT)
        CLATTN__TRY(gradients_are_wanted(desc));
    return clattn__rules_check_tensors(kind, desc->slots, desc->tensor);
}
