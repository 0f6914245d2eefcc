/* Rules about rotary embedding. */
#include <inttypes.h>
#include <stddef.h>

#include "problem/rules.h"

#define RANGE(field, least, most)                                                                  \
    {                                                                                              \
#field, offsetof(clattn_rotary_desc, field), least, most                                   \
    }
static const clattn__range ranges[] = {
    RANGE(batch, 0, INT32_MAX), RANGE(n_head, 1, INT32_MAX), RANGE(n, 0, INT32_MAX),
    RANGE(head_dim, 1, 576),    RANGE(rotary_dim, 2, 576),   RANGE(n_positions, 1, INT32_MAX),
};

clattn_status clattn__rules_check_rotary(const clattn_rotary_desc *desc)
{
    if (desc->interleaved > 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "interleaved: is %" PRIu32 ", must be 0 or 1",
                            desc->interleaved);
    CLATTN__TRY(clattn__rules_check_ranges(desc, ranges, sizeof ranges / sizeof ranges[0]));
    if (desc->rotary_dim % 2 || desc->rotary_dim > desc->head_dim)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "rotary_dim: is %" PRId64
                            ", must be even and at most head_dim, %" PRId64,
                            desc->rotary_dim, desc->head_dim);
    return clattn__rules_check_tensors(CLATTN__ROTARY, 0, desc->tensor);
}
