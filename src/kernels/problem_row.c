/* From a problem and its variant to the row that kernels read. */
#include "kernels/registry.h"

#include <string.h>

static uint32_t flags_of(const clattn__problem *problem)
{
    static const struct {
        clattn_slot slot;
        uint32_t flag;
    } table[] = {
        {CLATTN_SLOT_LSE, CLATTN_F_LSE},
        {CLATTN_SLOT_WEIGHTS, CLATTN_F_WEIGHTS},
    };
    uint32_t flags = problem->causal ? CLATTN_F_CAUSAL : 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (clattn__problem_has(problem, table[i].slot))
            flags |= table[i].flag;
    return flags;
}

/* Offsets beyond what 32 bits hold hide nothing, or everything, all the same. */
static int32_t clip(int64_t value)
{
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
}

void clattn__problem_row_fill(const clattn__problem *problem, const clattn__variant *variant,
                              clattn_problem_row *row)
{
    const int64_t *extent = problem->extent;
    memset(row, 0, sizeof *row);
    for (uint32_t slot = 0; slot < CLATTN_T_SLOTS; slot++)
        memcpy(row->tensor[slot].stride, problem->layout[slot].stride,
               sizeof row->tensor[slot].stride);
    for (uint32_t i = 0; i < variant->scratch_count; i++) {
        const clattn__scratch *scratch = &variant->scratch[i];
        clattn_tensor_row *tensor = &row->tensor[scratch->tensor];
        const int64_t *stride =
            scratch->slot >= 0 ? problem->layout[scratch->slot].stride : scratch->stride;
        memcpy(tensor->stride, stride, sizeof tensor->stride);
        tensor->offset = scratch->slot >= 0 ? 0 : (int64_t)scratch->offset;
    }
    row->n_head = (int32_t)extent[CLATTN__N_HEAD];
    row->n_kv_head = (int32_t)extent[CLATTN__N_KV_HEAD];
    row->n_q = (int32_t)extent[CLATTN__N_Q];
    row->n_kv = (int32_t)extent[CLATTN__N_KV];
    row->head_dim = (int32_t)extent[CLATTN__HEAD_DIM];
    row->value_dim = (int32_t)extent[CLATTN__VALUE_DIM];
    row->causal_offset = clip(problem->causal_offset);
    row->flags = flags_of(problem);
    row->scale = problem->scale;
    row->group = row->n_kv_head ? row->n_head / row->n_kv_head : 1;
}
