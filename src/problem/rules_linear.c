/* Rules about linear projections, their gradients, and packing weights. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

#define RANGE(field, least, most)                                                                  \
    {                                                                                              \
#field, offsetof(clattn_linear_desc, field), least, most                                   \
    }
static const clattn__range ranges[] = {
    RANGE(batch, 0, INT32_MAX),
    RANGE(rows, 0, INT32_MAX),
    RANGE(in, 1, INT32_MAX),
    RANGE(out, 1, INT32_MAX),
};

static bool has(const clattn_linear_desc *desc, clattn_slot slot)
{
    return (desc->slots & CLATTN_SLOT_BIT(slot)) != 0;
}

static clattn_status pass_exists(const clattn_linear_desc *desc, clattn__kind kind)
{
    if ((uint32_t)desc->pass > CLATTN_LINEAR_GRADIENT_W)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "pass: this version has no pass %d",
                            (int)desc->pass);
    if (kind == CLATTN__LINEAR_PACK && desc->pass == CLATTN_LINEAR_GRADIENT_W)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "pass: the gradient by W doesn't read weights; none can be packed");
    return CLATTN_OK;
}

static clattn_status switches_are_switches(const clattn_linear_desc *desc)
{
    if (desc->accumulate > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "accumulate: is %" PRIu32 ", must be 0 or 1",
                            desc->accumulate);
    if (desc->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            desc->reserved);
    return CLATTN_OK;
}

static clattn_status weights_are_there_once(const clattn_linear_desc *desc, clattn__kind kind)
{
    if (kind != CLATTN__LINEAR_W && has(desc, CLATTN_SLOT_W) && has(desc, CLATTN_SLOT_PACKED_W))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "slots: W and PACKED_W are the same weights; name one of them");
    if (kind == CLATTN__LINEAR_W && !has(desc, CLATTN_SLOT_W) && !has(desc, CLATTN_SLOT_B))
        return clattn__fail(CLATTN_ERR_ARGUMENT, "slots: neither W nor B takes part; there is "
                                                 "nothing to compute");
    return CLATTN_OK;
}

/* The tensors that are there without being named. */
static uint64_t unnamed(const clattn_linear_desc *desc, clattn__kind kind)
{
    const uint64_t w = CLATTN_SLOT_BIT(CLATTN_SLOT_W);
    if (kind == CLATTN__LINEAR_W || has(desc, CLATTN_SLOT_PACKED_W))
        return desc->slots;
    return desc->slots | w;
}

clattn_status clattn__rules_check_linear(const clattn_linear_desc *desc, clattn__kind kind)
{
    CLATTN__TRY(pass_exists(desc, kind));
    CLATTN__TRY(switches_are_switches(desc));
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    CLATTN__TRY(clattn__rules_check_optional(kind, desc->slots));
    CLATTN__TRY(weights_are_there_once(desc, kind));
    return clattn__rules_check_tensors(kind, unnamed(desc, kind), desc->tensor);
}
