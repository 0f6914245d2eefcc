/* RMS normalisation and rotary embedding: an operation of its own, and what attention begins with
 * where it does it for its queries. Any device. */
#include "kernels/launches.h"
#include "kernels/row_groups.h"

extern const clattn__kernel clattn__rotary;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    (void)problem;
    config->vec = clattn__row_vector(caps);
    config->group_size = clattn__row_lanes(caps);
}

/* A tensor that is a slot's. */
static void place_slot(clattn__variant *variant, uint32_t tensor, clattn_slot slot)
{
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = tensor;
    scratch->slot = (int32_t)slot;
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)problem;
    (void)caps;
    place_slot(variant, CLATTN_T_PLAIN_Q, CLATTN_SLOT_Q);
    place_slot(variant, CLATTN_T_ROTATED_Q, CLATTN_SLOT_OUT);
}

/* Its configuration is not the variant's, where attention begins with it. */
static void add_launch(clattn__variant *variant, const clattn__config *config)
{
    const clattn__launch_row row = {
        .file = "cache/rotary.cl",
        .function = "rotary",
        .tiling = {CLATTN__OVER_QUERIES, .block = clattn__row_block(config->group_size)},
        .tensors = {CLATTN_T_PLAIN_Q, CLATTN_T_ANGLES, CLATTN_T_RMS_WEIGHT, CLATTN_T_POSITIONS,
                    CLATTN_T_TOKEN_POSITIONS, CLATTN_T_Q_LENGTHS, CLATTN_T_KV_LENGTHS,
                    CLATTN_T_ROTATED_Q, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &row);
    variant->launch[variant->launch_count - 1].config = *config;
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    (void)problem;
    add_launch(variant, &variant->config);
}

/* (batch, n_head, n_q, head_dim) scratch, ragged (total_q, n_head, head_dim), at `offset`. */
static void place_rotated(const clattn__problem *problem, clattn__variant *variant, uint32_t tensor,
                          uint64_t offset)
{
    const int64_t *extent = problem->extent;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    const int64_t dim = extent[CLATTN__HEAD_DIM];
    scratch->tensor = tensor;
    scratch->slot = -1;
    scratch->offset = offset;
    scratch->stride[3] = 1;
    scratch->stride[2] = problem->ragged ? extent[CLATTN__N_HEAD] * dim : dim;
    scratch->stride[1] = problem->ragged ? dim : extent[CLATTN__N_Q] * dim;
    scratch->stride[0] = problem->ragged ? 0 : extent[CLATTN__N_HEAD] * scratch->stride[1];
}

void clattn__add_query_rotation(const clattn__problem *problem, const clattn__caps *caps,
                                clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const bool attends = problem->kind == CLATTN__ATTENTION || problem->kind == CLATTN__TOP_K;
    if (!attends || !(problem->rms_norm || clattn__problem_has(problem, CLATTN_SLOT_ANGLES)))
        return;
    const int64_t tokens =
        problem->ragged ? extent[CLATTN__TOTAL_Q] : extent[CLATTN__BATCH] * extent[CLATTN__N_Q];
    const uint64_t offset =
        clattn__take_workspace(variant, tokens * extent[CLATTN__N_HEAD] * extent[CLATTN__HEAD_DIM]);
    place_slot(variant, CLATTN_T_PLAIN_Q, CLATTN_SLOT_Q);
    place_rotated(problem, variant, CLATTN_T_ROTATED_Q, offset);
    place_rotated(problem, variant, CLATTN_T_Q, offset);
    const clattn__config config = {.vec = clattn__row_vector(caps),
                                   .group_size = clattn__row_lanes(caps)};
    add_launch(variant, &config);
}

const clattn__kernel clattn__rotary = {
    .name = "rotary",
    .kind = CLATTN__ROTARY,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
    .shares = true,
};
