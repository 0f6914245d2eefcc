/* What the kernels for gradients share: what is known of each query before pairs are looked at, the
 * sum of the parts of GRAD_Q, and the gradients of biases, pair by pair, and of the sinks. */
#include <string.h>

#include "kernels/launches.h"

/* Queries of an item. */
#define ROWS_BLOCK 64

void clattn__place_gradient_rows(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    const int64_t batch = problem->ragged ? 1 : extent[CLATTN__BATCH];
    const int64_t tokens = extent[problem->ragged ? CLATTN__TOTAL_Q : CLATTN__N_Q];
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_GRADIENT_ROWS;
    scratch->slot = -1;
    scratch->stride[2] = CLATTN_GRADIENT_ROW;
    scratch->stride[1] = tokens * CLATTN_GRADIENT_ROW;
    scratch->stride[0] = problem->ragged ? 0 : extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->offset =
        clattn__take_workspace(variant, batch * extent[CLATTN__N_HEAD] * scratch->stride[1]);
}

/* Of the variant's configuration, what reference.h uses. */
static void leave_scalar(const clattn__config *all, clattn__config *config)
{
    memset(config, 0, sizeof *config);
    config->vec = 1;
    config->group_size = all->group_size < ROWS_BLOCK ? all->group_size : ROWS_BLOCK;
    config->score_function = all->score_function;
    config->score_gradient = all->score_gradient;
    config->mask_function = all->mask_function;
}

void clattn__add_gradient_rows(clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .file = "gradient/gradient_rows.cl",
        .function = "gradient_rows",
        .tiling = {CLATTN__OVER_QUERIES, .block = ROWS_BLOCK},
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_SINK, CLATTN_T_OUT,
                    CLATTN_T_LSE, CLATTN_T_GRAD_OUT, CLATTN_T_GRAD_LSE, CLATTN_T_GRADIENT_ROWS,
                    CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &row);
    leave_scalar(&variant->config, &variant->launch[variant->launch_count - 1].config);
}

clattn__tiling clattn__bias_tiling(const clattn__problem *problem, int64_t queries, int64_t keys)
{
    const bool all_q = problem->bias_sums >> 2 & 1, all_k = problem->bias_sums >> 3 & 1;
    return (clattn__tiling){.axis = !all_q   ? CLATTN__OVER_QUERIES
                                    : !all_k ? CLATTN__OVER_HEAD_KEYS
                                             : CLATTN__OVER_HEADS,
                            .block = all_q ? keys : queries,
                            .all_heads = problem->bias_sums >> 1 & 1,
                            .all_batches = problem->bias_sums & 1};
}

void clattn__add_gradient_bias(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__config config;
    leave_scalar(&variant->config, &config);
    const clattn__launch_row row = {
        .file = "gradient/gradient_bias_reference.cl",
        .function = "gradient_bias_reference",
        .tiling = clattn__bias_tiling(problem, config.group_size, config.group_size),
        .options = true,
        .tensors = {CLATTN__GRADIENT_TENSORS, CLATTN_T_GRAD_BIAS, CLATTN_T_COUNT},
    };
    if (!clattn__problem_has(problem, CLATTN_SLOT_GRAD_BIAS))
        return;
    clattn__launch_add(variant, &row);
    variant->launch[variant->launch_count - 1].config = config;
}

void clattn__add_gradient_sink(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .packs = true,
        .file = "gradient/gradient_sink.cl",
        .function = "gradient_sink",
        .tiling = {CLATTN__OVER_HEADS, .block = 1, .all_batches = true},
        .tensors = {CLATTN_T_SINK, CLATTN_T_GRADIENT_ROWS, CLATTN_T_GRAD_SINK, CLATTN_T_Q_LENGTHS,
                    CLATTN_T_COUNT},
    };
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_SINK))
        clattn__launch_add(variant, &row);
}

void clattn__add_gradient_parts(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .packs = true,
        .file = "gradient/gradient_parts.cl",
        .function = "gradient_parts",
        .tiling = {CLATTN__OVER_QUERIES, .block = 64},
        .tensors = {CLATTN_T_GRADIENT_PARTS, CLATTN_T_GRAD_Q, CLATTN_T_Q_LENGTHS,
                    CLATTN_T_KV_LENGTHS, CLATTN_T_COUNT},
    };
    if (clattn__problem_has(problem, CLATTN_SLOT_GRAD_Q))
        clattn__launch_add(variant, &row);
}
