/* From a description to a problem: copying by struct_size, defaults, contiguous strides. */
#include "problem/problem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/unknown.h"
#include "problem/rules.h"

/* Copies a description of `size` bytes that begins with its struct_size. */
static clattn_status copy_desc(void *copy, const void *desc, size_t size, const char *init)
{
    CLATTN__TRY(clattn__check_known(desc, size, "desc", init));
    memcpy(copy, desc, size);
    return CLATTN_OK;
}

static void fill_scales(clattn__problem *problem, int64_t channels)
{
    int64_t *extent = problem->extent;
    problem->scale_channels = channels;
    extent[CLATTN__K_GROUPS] = extent[CLATTN__V_GROUPS] = 1;
    if (channels) {
        extent[CLATTN__K_GROUPS] = (extent[CLATTN__HEAD_DIM] + channels - 1) / channels;
        extent[CLATTN__V_GROUPS] = (extent[CLATTN__VALUE_DIM] + channels - 1) / channels;
    }
}

/* Of rows that are normalised and rotated, so many `tokens` of an entry. */
static void fill_rotation(clattn__problem *problem, const clattn__rotation *rotation,
                          int64_t tokens)
{
    problem->extent[CLATTN__N_TOKENS] = tokens;
    problem->extent[CLATTN__N_POSITIONS] = rotation->n_positions;
    problem->extent[CLATTN__N_ANGLES] = rotation->rotary_dim / 2;
    problem->extent[CLATTN__TWO] = 2;
    problem->interleaved = rotation->interleaved;
    problem->rms_norm = rotation->rms_norm;
    problem->rms_epsilon = rotation->rms_epsilon;
}

static void fill_extents(clattn__problem *problem, const clattn_attention_desc *desc)
{
    int64_t *extent = problem->extent;
    extent[CLATTN__BATCH] = desc->batch;
    extent[CLATTN__N_HEAD] = desc->n_head;
    extent[CLATTN__N_KV_HEAD] = desc->n_kv_head;
    extent[CLATTN__N_Q] = desc->n_q;
    extent[CLATTN__N_KV] = desc->n_past + desc->n_kv;
    extent[CLATTN__HEAD_DIM] = desc->head_dim;
    extent[CLATTN__VALUE_DIM] = desc->value_dim;
    extent[CLATTN__N_NEW] = desc->n_kv;
    extent[CLATTN__N_PAST] = desc->n_past;
    extent[CLATTN__TOTAL_Q] = desc->total_q;
    extent[CLATTN__TOTAL_KV] = desc->total_kv;
    extent[CLATTN__LENGTHS] = desc->batch + desc->ragged;
    extent[CLATTN__KEY_LENGTHS] = desc->batch + (desc->ragged && !desc->page_size);
    if (desc->block_q)
        extent[CLATTN__QUERY_BLOCKS] = (desc->n_q + desc->block_q - 1) / desc->block_q;
    extent[CLATTN__BLOCK_LIMIT] = desc->block_limit;
    extent[CLATTN__N_PARAMS] = desc->n_params;
    extent[CLATTN__TOP] = desc->top_k;
    extent[CLATTN__LISTED] = desc->sample ? 1 : desc->top_k;
    extent[CLATTN__N_PAGES] = desc->n_pages;
    extent[CLATTN__PAGE_SIZE] = desc->page_size;
    extent[CLATTN__PAGE_LIMIT] = desc->page_limit;
    fill_scales(problem, desc->scale_channels);
    fill_rotation(problem, &CLATTN__ROTATION_OF(desc), desc->n_q);
    extent[CLATTN__PARTS] = 1;
    extent[CLATTN__ONE] = 1;
}

bool clattn__problem_has_ragged_keys(const clattn__problem *problem)
{
    return problem->ragged && !problem->extent[CLATTN__PAGE_SIZE];
}

static bool has_ragged_tokens(const clattn__problem *problem, const clattn__slot_info *info)
{
    return info->tokens == CLATTN__TOTAL_KV ? clattn__problem_has_ragged_keys(problem)
                                            : problem->ragged && info->tokens != CLATTN__ONE;
}

/* K and V in pages, (n_pages, n_kv_head, page_size, dim); where tokens are appended, what they are
 * appended to, or shifted. */
static bool has_pages(const clattn__problem *problem, const clattn__slot_info *info)
{
    if (problem->kind == CLATTN__APPEND || problem->kind == CLATTN__SHIFT)
        return info->rank == 4 && (info->written >> problem->kind & 1);
    return problem->extent[CLATTN__PAGE_SIZE] && info->tokens == CLATTN__TOTAL_KV;
}

int64_t clattn__slot_extent(const clattn__problem *problem, clattn_slot slot, uint32_t dim)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)slot);
    if (has_pages(problem, info) && (dim == 0 || dim == 2))
        return problem->extent[dim == 0 ? CLATTN__N_PAGES : CLATTN__PAGE_SIZE];
    if (has_ragged_tokens(problem, info) && dim == 0)
        return 1;
    if (has_ragged_tokens(problem, info) && dim == (info->rank > 2 ? 2 : 1))
        return problem->extent[info->tokens];
    if (slot == CLATTN_SLOT_GRAD_BIAS && problem->bias_sums >> dim & 1)
        return 1;
    return problem->extent[info->shape[dim]];
}

/* Strides of a contiguous tensor, ragged tokens outermost; stops growing where the product would
 * overflow, which the rules then find. */
static void fill_contiguous(const clattn__problem *problem, const clattn__slot_info *info,
                            int64_t *stride)
{
    static const uint32_t in_order[] = {0, 1, 2, 3, 4}, tokens_first[] = {0, 2, 1, 3, 4};
    const bool turned = has_ragged_tokens(problem, info) && info->rank > 2;
    const uint32_t *order = turned ? tokens_first : in_order;
    int64_t step = 1;
    for (uint32_t i = info->rank; i-- > 0;) {
        const int64_t extent = clattn__slot_extent(problem, info->slot, order[i]);
        stride[order[i]] = step;
        if (extent > 1)
            step = step > INT64_MAX / extent ? INT64_MAX : step * extent;
    }
}

static void fill_layout(clattn__problem *problem, const clattn__slot_info *info,
                        const clattn_tensor *tensor)
{
    int64_t *stride = problem->layout[info->slot].stride;
    const bool given = (info->dtypes & (1u << tensor->dtype)) != 0;
    uint32_t only = 0;
    while (!(info->dtypes >> only & 1))
        only++;
    problem->dtype[info->slot] = given ? (uint32_t)tensor->dtype : only;
    if (tensor->strided)
        memcpy(stride, tensor->stride, info->rank * sizeof *stride);
    else
        fill_contiguous(problem, info, stride);
    for (uint32_t dim = 0; dim < info->rank; dim++)
        if (clattn__slot_extent(problem, info->slot, dim) < 2)
            stride[dim] = 0;
}

static void fill_layouts(clattn__problem *problem, uint64_t slots, const clattn_tensor *tensors)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        const clattn__slot_info *info = clattn__slot_get(slot);
        if (info->part[problem->kind] != CLATTN__ALWAYS && !(slots & CLATTN_SLOT_BIT(slot)))
            continue;
        problem->slots |= CLATTN_SLOT_BIT(slot);
        fill_layout(problem, info, &tensors[slot]);
    }
}

static void fill_alignment(clattn__problem *problem, const clattn_attention_desc *desc)
{
    problem->offset = desc->align_offset;
    problem->bottom_right = desc->align == CLATTN_ALIGN_BOTTOM_RIGHT;
    problem->causal = desc->causal;
    problem->left = problem->right = CLATTN__UNLIMITED;
    if (desc->has_window && desc->window_left >= 0)
        problem->left = desc->window_left;
    if (desc->has_window && desc->window_right >= 0)
        problem->right = desc->window_right;
    if (desc->causal)
        problem->right = 0;
}

static void fill_options(clattn__problem *problem, const clattn_attention_desc *desc)
{
    problem->scale = desc->has_scale ? desc->scale : (float)(1.0 / sqrt((double)desc->head_dim));
    problem->softcap = desc->softcap;
    problem->dropout = desc->dropout;
    problem->weights_dropped =
        desc->dropout > 0 && (desc->flags & CLATTN_ATTENTION_WEIGHTS_DROPPED) != 0;
    problem->score_stage = (uint32_t)desc->score_stage;
    problem->sample = desc->sample;
    problem->cascade = desc->cascade;
    problem->block_q = desc->block_q;
    problem->block_kv = desc->block_kv;
    if (desc->score_function)
        problem->score_function =
            clattn__hash_bytes(desc->score_function, strlen(desc->score_function));
    if (desc->mask_function)
        problem->mask_function =
            clattn__hash_bytes(desc->mask_function, strlen(desc->mask_function));
}

/* What only gradients have: the derivative, and which dimensions of GRAD_BIAS are summed over. */
static void fill_gradient(clattn__problem *problem, const clattn_attention_desc *desc)
{
    const clattn_tensor *own = &desc->tensor[CLATTN_SLOT_GRAD_BIAS];
    const clattn_tensor *as = own->strided ? own : &desc->tensor[CLATTN_SLOT_BIAS];
    if (desc->score_gradient)
        problem->score_gradient =
            clattn__hash_bytes(desc->score_gradient, strlen(desc->score_gradient));
    for (uint32_t dim = 0; dim < 4 && as->strided; dim++)
        if (as->stride[dim] == 0 && desc->slots & CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_BIAS))
            problem->bias_sums |= 1u << dim;
}

/* Layouts come last; a problem that isn't valid leaves *problem as it is. */
static clattn_status finish(clattn__problem *problem, clattn__problem *made, uint64_t slots,
                            const clattn_tensor *tensor)
{
    fill_layouts(made, slots, tensor);
    CLATTN__TRY(clattn__rules_check_layouts(made));
    memcpy(problem, made, sizeof *made);
    return CLATTN_OK;
}

/* `own` is complete, as copy_desc makes it. */
static clattn_status init(clattn__problem *problem, const clattn_attention_desc *own,
                          clattn__kind kind)
{
    clattn__problem made;
    CLATTN__TRY(clattn__rules_check_fields(own));
    CLATTN__TRY(clattn__rules_check_slots(own, kind));
    memset(&made, 0, sizeof made); /* padding too: problems are compared as bytes */
    made.kind = kind;
    made.ragged = own->ragged;
    fill_extents(&made, own);
    fill_alignment(&made, own);
    fill_options(&made, own);
    if (kind == CLATTN__GRADIENT)
        fill_gradient(&made, own);
    return finish(problem, &made, own->slots, own->tensor);
}

clattn_status clattn__problem_init(clattn__problem *problem, const clattn_attention_desc *desc)
{
    clattn_attention_desc own;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_attention_desc_init"));
    return init(problem, &own, own.top_k ? CLATTN__TOP_K : CLATTN__ATTENTION);
}

clattn_status clattn__problem_init_gradient(clattn__problem *problem,
                                            const clattn_attention_desc *desc)
{
    clattn_attention_desc own;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_attention_desc_init"));
    return init(problem, &own, CLATTN__GRADIENT);
}

clattn_status clattn__problem_init_merge(clattn__problem *problem, const clattn_merge_desc *desc)
{
    clattn_merge_desc own;
    clattn__problem made;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_merge_desc_init"));
    CLATTN__TRY(clattn__rules_check_merge(&own));
    memset(&made, 0, sizeof made);
    made.kind = CLATTN__MERGE;
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): failing is never CLATTN_OK */
    made.extent[CLATTN__PARTS] = own.parts;
    made.extent[CLATTN__BATCH] = own.batch;
    made.extent[CLATTN__N_HEAD] = made.extent[CLATTN__N_KV_HEAD] = own.n_head;
    made.extent[CLATTN__N_Q] = own.n_q;
    made.extent[CLATTN__HEAD_DIM] = made.extent[CLATTN__VALUE_DIM] = own.value_dim;
    made.left = made.right = CLATTN__UNLIMITED;
    return finish(problem, &made, own.slots, own.tensor);
}

clattn_status clattn__problem_init_append(clattn__problem *problem, const clattn_append_desc *desc)
{
    clattn_append_desc own;
    clattn__problem made;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_append_desc_init"));
    CLATTN__TRY(clattn__rules_check_append(&own));
    memset(&made, 0, sizeof made);
    made.kind = CLATTN__APPEND;
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): failing is never CLATTN_OK */
    made.extent[CLATTN__BATCH] = own.batch;
    made.extent[CLATTN__LENGTHS] = made.extent[CLATTN__KEY_LENGTHS] = own.batch;
    made.extent[CLATTN__N_HEAD] = made.extent[CLATTN__N_KV_HEAD] = own.n_kv_head;
    made.extent[CLATTN__N_KV] = made.extent[CLATTN__N_NEW] = own.n_kv;
    made.extent[CLATTN__HEAD_DIM] = own.head_dim;
    made.extent[CLATTN__VALUE_DIM] = own.value_dim;
    made.extent[CLATTN__PAGE_SIZE] = own.page_size;
    made.extent[CLATTN__N_PAGES] = own.n_pages;
    made.extent[CLATTN__PAGE_LIMIT] = own.page_limit;
    fill_scales(&made, own.scale_channels);
    fill_rotation(&made, &CLATTN__ROTATION_OF(&own), own.n_kv);
    made.left = made.right = CLATTN__UNLIMITED;
    return finish(problem, &made, own.slots, own.tensor);
}

clattn_status clattn__problem_init_rotary(clattn__problem *problem, const clattn_rotary_desc *desc)
{
    clattn_rotary_desc own;
    clattn__problem made;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_rotary_desc_init"));
    CLATTN__TRY(clattn__rules_check_rotary(&own));
    memset(&made, 0, sizeof made);
    made.kind = CLATTN__ROTARY;
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): failing is never CLATTN_OK */
    made.extent[CLATTN__BATCH] = own.batch;
    made.extent[CLATTN__N_HEAD] = made.extent[CLATTN__N_KV_HEAD] = own.n_head;
    made.extent[CLATTN__N_Q] = own.n;
    made.extent[CLATTN__HEAD_DIM] = made.extent[CLATTN__VALUE_DIM] = own.head_dim;
    fill_rotation(&made, &CLATTN__ROTATION_OF(&own), own.n);
    made.left = made.right = CLATTN__UNLIMITED;
    own.slots |= clattn__rules_rotary_slots(&own);
    return finish(problem, &made, own.slots, own.tensor);
}

clattn_status clattn__problem_init_shift(clattn__problem *problem, const clattn_shift_desc *desc)
{
    clattn_shift_desc own;
    clattn__problem made;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_shift_desc_init"));
    CLATTN__TRY(clattn__rules_check_shift(&own));
    memset(&made, 0, sizeof made);
    made.kind = CLATTN__SHIFT;
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): failing is never CLATTN_OK */
    made.extent[CLATTN__BATCH] = own.batch;
    made.extent[CLATTN__LENGTHS] = made.extent[CLATTN__KEY_LENGTHS] = own.batch;
    made.extent[CLATTN__N_HEAD] = made.extent[CLATTN__N_KV_HEAD] = own.n_kv_head;
    made.extent[CLATTN__N_KV] = made.extent[CLATTN__N_NEW] = own.n_kv;
    made.extent[CLATTN__HEAD_DIM] = own.head_dim;
    made.extent[CLATTN__PAGE_SIZE] = own.page_size;
    made.extent[CLATTN__N_PAGES] = own.n_pages;
    made.extent[CLATTN__PAGE_LIMIT] = own.page_limit;
    made.extent[CLATTN__N_POSITIONS] = own.n_positions;
    made.extent[CLATTN__N_ANGLES] = own.rotary_dim / 2;
    made.extent[CLATTN__TWO] = 2;
    made.interleaved = own.interleaved;
    made.left = made.right = CLATTN__UNLIMITED;
    return finish(problem, &made, 0, own.tensor);
}

/* Elements of weights in panels of CLATTN__PANEL columns, a whole number of them. */
static int64_t packed_elements(const clattn_linear_desc *desc)
{
    const bool by_x = desc->pass == CLATTN_LINEAR_GRADIENT_X;
    const int64_t columns = by_x ? desc->in : desc->out, depth = by_x ? desc->out : desc->in;
    return (columns + CLATTN__PANEL - 1) / CLATTN__PANEL * CLATTN__PANEL * depth;
}

/* W takes part unless PACKED_W stands for it; of its gradient, only what is asked for. */
static uint64_t linear_slots(const clattn_linear_desc *desc, clattn__kind kind)
{
    const bool whole = kind == CLATTN__LINEAR_W || kind == CLATTN__LINEAR_PACK ||
                       desc->slots & CLATTN_SLOT_BIT(CLATTN_SLOT_PACKED_W);
    return whole ? desc->slots : desc->slots | CLATTN_SLOT_BIT(CLATTN_SLOT_W);
}

clattn_status clattn__problem_init_linear(clattn__problem *problem, const clattn_linear_desc *desc,
                                          clattn__kind kind)
{
    static const clattn__kind passes[] = {CLATTN__LINEAR, CLATTN__LINEAR_X, CLATTN__LINEAR_W};
    clattn_linear_desc own;
    clattn__problem made;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_linear_desc_init"));
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Branch): failing is never CLATTN_OK */
    if (kind == CLATTN__LINEAR && (uint32_t)own.pass < sizeof passes / sizeof passes[0])
        kind = passes[own.pass];
    if (kind == CLATTN__LINEAR_PACK) /* the rest is for those who read what is packed */
        own.slots = own.accumulate = 0;
    CLATTN__TRY(clattn__rules_check_linear(&own, kind));
    memset(&made, 0, sizeof made);
    made.kind = kind;
    made.extent[CLATTN__BATCH] = own.batch;
    made.extent[CLATTN__ROWS] = own.rows;
    made.extent[CLATTN__IN] = own.in;
    made.extent[CLATTN__OUT] = own.out;
    made.extent[CLATTN__PACKED] = packed_elements(&own);
    made.accumulate = own.accumulate;
    made.linear_pass = (uint32_t)own.pass;
    made.left = made.right = CLATTN__UNLIMITED;
    return finish(problem, &made, linear_slots(&own, kind), own.tensor);
}

bool clattn__problem_is_linear(const clattn__problem *problem)
{
    return problem->kind >= CLATTN__LINEAR && problem->kind <= CLATTN__LINEAR_PACK;
}

clattn_status clattn__problem_init_additive(clattn__problem *problem,
                                            const clattn_additive_desc *desc, clattn__kind kind)
{
    clattn_additive_desc own;
    clattn__problem made;
    CLATTN__TRY(copy_desc(&own, desc, sizeof own, "clattn_additive_desc_init"));
    CLATTN__TRY(clattn__rules_check_additive(&own, kind));
    memset(&made, 0, sizeof made);
    made.kind = kind;
    /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): failing is never CLATTN_OK */
    made.extent[CLATTN__BATCH] = own.batch;
    made.extent[CLATTN__LENGTHS] = made.extent[CLATTN__KEY_LENGTHS] = own.batch;
    made.extent[CLATTN__N_HEAD] = made.extent[CLATTN__N_KV_HEAD] = own.n_head;
    made.extent[CLATTN__N_Q] = own.n_q;
    made.extent[CLATTN__N_KV] = made.extent[CLATTN__N_NEW] = own.n_kv;
    made.extent[CLATTN__HEAD_DIM] = own.channels;
    made.extent[CLATTN__VALUE_DIM] = own.value_dim;
    made.left = made.right = CLATTN__UNLIMITED;
    made.scale = 1;
    return finish(problem, &made, own.slots, own.tensor);
}

bool clattn__problem_has(const clattn__problem *problem, clattn_slot slot)
{
    return (problem->slots & CLATTN_SLOT_BIT(slot)) != 0;
}

bool clattn__problem_writes(const clattn__problem *problem, clattn_slot slot)
{
    return (clattn__slot_get((uint32_t)slot)->written >> problem->kind & 1) != 0;
}

bool clattn__problem_updates(const clattn__problem *problem)
{
    return problem->accumulate || problem->kind == CLATTN__SHIFT; /* keys are where they were */
}

bool clattn__problem_has_score_function(const clattn__problem *problem)
{
    return (problem->score_function.low | problem->score_function.high) != 0;
}

bool clattn__problem_has_score_gradient(const clattn__problem *problem)
{
    return (problem->score_gradient.low | problem->score_gradient.high) != 0;
}

bool clattn__problem_has_mask_function(const clattn__problem *problem)
{
    return (problem->mask_function.low | problem->mask_function.high) != 0;
}

void clattn__slot_span(const clattn__problem *problem, clattn_slot slot, int64_t *low,
                       int64_t *high)
{
    const clattn__slot_info *info = clattn__slot_get((uint32_t)slot);
    const clattn_dtype dtype = (clattn_dtype)problem->dtype[slot];
    int64_t least = 0, most = 1;
    for (uint32_t dim = 0; dim < info->rank; dim++) {
        const int64_t extent = clattn__slot_extent(problem, slot, dim);
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
    *low = clattn__dtype_bytes(dtype, least);
    *high = clattn__dtype_bytes(dtype, most);
}

/* Whether a tensor that is written has an element. */
static bool writes_something(const clattn__problem *problem)
{
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++) {
        int64_t low, high;
        if (!clattn__problem_has(problem, (clattn_slot)slot) ||
            !clattn__problem_writes(problem, (clattn_slot)slot))
            continue;
        clattn__slot_span(problem, (clattn_slot)slot, &low, &high);
        if (high > low)
            return true;
    }
    return false;
}

bool clattn__problem_is_empty(const clattn__problem *problem)
{
    if (problem->kind == CLATTN__GRADIENT || problem->kind == CLATTN__ADDITIVE_GRADIENT ||
        clattn__problem_is_linear(problem))
        return !writes_something(problem);
    const uint64_t of_keys = CLATTN_SLOT_BIT(CLATTN_SLOT_PRESENT_K) |
                             CLATTN_SLOT_BIT(CLATTN_SLOT_PRESENT_V) |
                             CLATTN_SLOT_BIT(CLATTN_SLOT_WEIGHTS_SUM);
    const bool no_queries = problem->extent[CLATTN__N_Q] == 0;
    return problem->extent[CLATTN__BATCH] == 0 || (no_queries && !(problem->slots & of_keys));
}
