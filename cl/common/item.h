/* How a work-group finds its work: its item, the row of its problem, and its tensors. */
#ifndef CLATTN_ITEM_H
#define CLATTN_ITEM_H

#include "common/arguments.h"

/* Element (batch, head, 0, 0) of a tensor, in elements from the begin of its memory object. */
static inline long tensor_begin(__global const clattn_problem_row *row, const clattn_base *base,
                                int tensor, int batch, int head)
{
    __global const clattn_tensor_row *t = &row->tensor[tensor];
    return base->offset[tensor] + t->offset + batch * t->stride[0] + head * t->stride[1];
}

/* How many keys, from key 0 on, query `q` of an item sees; keys from `k_end` on are nobody's. */
static inline int visible_keys(__global const clattn_problem_row *row, int q, int k_end)
{
    if (!(row->flags & CLATTN_F_CAUSAL))
        return k_end;
    return (int)clamp((long)q + row->causal_offset + 1, 0L, (long)k_end);
}

#endif
