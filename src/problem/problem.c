/* From a description to a problem: copying by struct_size, defaults, contiguous strides. */
#include "problem/problem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "problem/rules.h"

/* The description of the first version; fields are only appended. */
#define LEAST_DESC_SIZE sizeof(clattn_attention_desc)

static clattn_status copy_desc(clattn_attention_desc *copy, const clattn_attention_desc *desc)
{
    if (!desc)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "desc: is NULL");
    if (desc->struct_size < LEAST_DESC_SIZE || desc->struct_size > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "desc: struct_size is %" PRIu32 "; use clattn_attention_desc_init",
                            desc->struct_size);
    const unsigned char *bytes = (const unsigned char *)desc;
    for (size_t i = sizeof *copy; i < desc->struct_size; i++)
        if (bytes[i])
            return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                                "desc: has fields that version %d.%d does not know",
                                CLATTN_VERSION_MAJOR, CLATTN_VERSION_MINOR);
    memcpy(copy, desc, sizeof *copy);
    return CLATTN_OK;
}

static void fill_extents(clattn__problem *problem, const clattn_attention_desc *desc)
{
    problem->extent[CLATTN__BATCH] = desc->batch;
    problem->extent[CLATTN__N_HEAD] = desc->n_head;
    problem->extent[CLATTN__N_KV_HEAD] = desc->n_kv_head;
    problem->extent[CLATTN__N_Q] = desc->n_q;
    problem->extent[CLATTN__N_KV] = desc->n_kv;
    problem->extent[CLATTN__HEAD_DIM] = desc->head_dim;
    problem->extent[CLATTN__VALUE_DIM] = desc->value_dim;
}

/* Strides of a contiguous tensor; stops growing where the product would overflow, which the rules
 * then find. */
static void fill_contiguous(const clattn__problem *problem, const clattn__slot_info *info,
                            int64_t stride[4])
{
    int64_t step = 1;
    for (uint32_t dim = info->rank; dim-- > 0;) {
        const int64_t extent = problem->extent[info->shape[dim]];
        stride[dim] = step;
        if (extent > 1)
            step = step > INT64_MAX / extent ? INT64_MAX : step * extent;
    }
}

static void fill_layout(clattn__problem *problem, const clattn__slot_info *info,
                        const clattn_tensor *tensor)
{
    int64_t *stride = problem->layout[info->slot].stride;
    problem->dtype[info->slot] = (uint32_t)tensor->dtype;
    if (tensor->strided)
        memcpy(stride, tensor->stride, info->rank * sizeof *stride);
    else
        fill_contiguous(problem, info, stride);
    for (uint32_t dim = 0; dim < info->rank; dim++)
        if (problem->extent[info->shape[dim]] < 2)
            stride[dim] = 0;
}

static void fill_causal(clattn__problem *problem, const clattn_attention_desc *desc)
{
    problem->causal = desc->causal;
    if (desc->causal && desc->align == CLATTN_ALIGN_BOTTOM_RIGHT)
        problem->causal_offset = desc->n_kv - desc->n_q;
}

clattn_status clattn__problem_init(clattn__problem *problem, const clattn_attention_desc *desc)
{
    clattn_attention_desc own;
    CLATTN__TRY(copy_desc(&own, desc));
    CLATTN__TRY(clattn__rules_check_desc(&own));
    clattn__problem made;
    memset(&made, 0, sizeof made); /* padding too: problems are compared as bytes */
    fill_extents(&made, &own);
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (info->optional && !(own.slots & CLATTN_SLOT_BIT(slot)))
            continue;
        made.slots |= CLATTN_SLOT_BIT(slot);
        fill_layout(&made, info, &own.tensor[slot]);
    }
    made.scale = own.has_scale ? own.scale : (float)(1.0 / sqrt((double)own.head_dim));
    fill_causal(&made, &own);
    CLATTN__TRY(clattn__rules_check_layouts(&made));
    memcpy(problem, &made, sizeof made);
    return CLATTN_OK;
}

bool clattn__problem_has(const clattn__problem *problem, clattn_slot slot)
{
    return (problem->slots & CLATTN_SLOT_BIT(slot)) != 0;
}

int64_t clattn__slot_extent(const clattn__problem *problem, clattn_slot slot, uint32_t dim)
{
    return problem->extent[clattn__slot_get((uint32_t)slot)->shape[dim]];
}

void clattn__slot_span(const clattn__problem *problem, clattn_slot slot, int64_t *low,
                       int64_t *high)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)slot);
    const int64_t size = clattn__dtype_get((clattn_dtype)problem->dtype[slot])->size;
    int64_t least = 0, most = 1;
    for (uint32_t dim = 0; dim < info->rank; dim++) {
        const int64_t extent = problem->extent[info->shape[dim]];
        if (extent == 0) {
            *low = *high = 0;
            return;
        }
        const int64_t reach = problem->layout[slot].stride[dim] * (extent - 1);
        if (reach < 0)
            least += reach;
        else
            most += reach;
    }
    *low = least * size;
    *high = most * size;
}

bool clattn__problem_is_empty(const clattn__problem *problem)
{
    return problem->extent[CLATTN__BATCH] == 0 || problem->extent[CLATTN__N_Q] == 0;
}

void clattn__problem_describe(const clattn__problem *problem, char *text, size_t capacity)
{
    const int64_t *extent = problem->extent;
    snprintf(text, capacity,
             "batch=%" PRId64 " n_head=%" PRId64 " n_kv_head=%" PRId64 " n_q=%" PRId64
             " n_kv=%" PRId64 " head_dim=%" PRId64 " value_dim=%" PRId64 " scale=%.9g%s%s%s",
             extent[CLATTN__BATCH], extent[CLATTN__N_HEAD], extent[CLATTN__N_KV_HEAD],
             extent[CLATTN__N_Q], extent[CLATTN__N_KV], extent[CLATTN__HEAD_DIM],
             extent[CLATTN__VALUE_DIM], (double)problem->scale, problem->causal ? " causal" : "",
             clattn__problem_has(problem, CLATTN_SLOT_LSE) ? " LSE" : "",
             clattn__problem_has(problem, CLATTN_SLOT_WEIGHTS) ? " WEIGHTS" : "");
}
