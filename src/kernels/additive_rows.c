/* What is known of each query before its gradients are computed. */
#include "kernels/additive_rows.h"

#include <string.h>

/* Queries of an item. */
#define ROWS_BLOCK 64

void clattn__add_additive_rows(bool from_scores, clattn__variant *variant)
{
    static const clattn__launch_row row = {
        .file = "additive/additive_rows.cl",
        .function = "additive_rows",
        .tiling = {CLATTN__OVER_QUERIES, .block = ROWS_BLOCK},
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_W_SCORE, CLATTN_T_CHANNEL_BIAS, CLATTN_T_V,
                    CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_GRAD_OUT, CLATTN_T_GRAD_LSE,
                    CLATTN_T_GRADIENT_ROWS, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &row);
    clattn__config *config = &variant->launch[variant->launch_count - 1].config;
    memset(config, 0, sizeof *config);
    config->vec = 1;
    config->full = from_scores;
    config->group_size = variant->config.group_size;
}
