/* Rules about layouts, once strides are filled in. */
#include <inttypes.h>

#include "problem/rules.h"

/* The largest distance from element 0 that a tensor may reach, elements of any type: its bytes and
 * the sums of two such distances stay within 63 bits. */
#define MOST_ELEMENTS ((int64_t)1 << 58)

static clattn_status span_is_addressable(const clattn__problem *problem,
                                         const clattn__slot_info *info)
{
    int64_t reach = 0;
    for (uint32_t dim = 0; dim < info->rank; dim++) {
        const int64_t extent = clattn__slot_extent(problem, info->slot, dim);
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
        if (clattn__slot_extent(problem, info->slot, dim) == 0)
            return true;
    return false;
}

/* Dimensions in ascending order of stride must each step over all that the smaller ones reach. */
static clattn_status elements_are_distinct(const clattn__problem *problem,
                                           const clattn__slot_info *info)
{
    bool used[CLATTN_RANK_LIMIT] = {false};
    int64_t reach = 0;
    for (uint32_t round = 0; round < info->rank; round++) {
        uint32_t least = info->rank;
        int64_t step = INT64_MAX;
        for (uint32_t dim = 0; dim < info->rank; dim++) {
            const int64_t stride = problem->layout[info->slot].stride[dim];
            const int64_t size = stride < 0 ? -stride : stride;
            if (!used[dim] && clattn__slot_extent(problem, info->slot, dim) > 1 && size < step) {
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
        reach += step * (clattn__slot_extent(problem, info->slot, least) - 1);
    }
    return CLATTN_OK;
}

/* The caller's functions get a plain pointer. */
static clattn_status params_are_contiguous(const clattn__problem *problem)
{
    const int64_t stride = problem->layout[CLATTN_SLOT_PARAMS].stride[0];
    if (problem->extent[CLATTN__N_PARAMS] > 1 && stride != 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "PARAMS: stride[0] is %" PRId64 ", must be 1",
                            stride);
    return CLATTN_OK;
}

/* What packing made is as it is. */
static clattn_status packed_is_contiguous(const clattn__problem *problem)
{
    const int64_t stride = problem->layout[CLATTN_SLOT_PACKED_W].stride[0];
    if (clattn__problem_has(problem, CLATTN_SLOT_PACKED_W) && stride != 1)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "PACKED_W: stride[0] is %" PRId64 ", must be 1",
                            stride);
    return CLATTN_OK;
}

clattn_status clattn__rules_check_layouts(const clattn__problem *problem)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (!clattn__problem_has(problem, info->slot))
            continue;
        CLATTN__TRY(span_is_addressable(problem, info));
        CLATTN__TRY(clattn__rules_check_halves(problem, info));
        if (clattn__problem_writes(problem, info->slot) && !is_empty(problem, info))
            CLATTN__TRY(elements_are_distinct(problem, info));
    }
    CLATTN__TRY(packed_is_contiguous(problem));
    return params_are_contiguous(problem);
}
