/* The pieces of splits.h. */
#include "kernels/splits.h"

#include "kernels/dim_max.h"

/* Queries of an item of merge_splits. */
#define MERGE_BLOCK 16

int64_t clattn__shared_rows(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    return extent[CLATTN__N_HEAD] / extent[CLATTN__N_KV_HEAD] * extent[CLATTN__N_Q];
}

static int64_t splits_of(const clattn__problem *problem)
{
    return (problem->extent[CLATTN__N_KV] + CLATTN_SPLIT - 1) / CLATTN_SPLIT;
}

static bool merges(const clattn__problem *problem)
{
    return splits_of(problem) != 1;
}

static int64_t part_elements(const clattn__problem *problem)
{
    return problem->extent[CLATTN__VALUE_DIM] + 32; /* whole vectors, maximum and sum */
}

void clattn__place_parts(const clattn__problem *problem, clattn__variant *variant)
{
    const int64_t *extent = problem->extent;
    if (!merges(problem))
        return;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    scratch->tensor = CLATTN_T_PARTS;
    scratch->slot = -1;
    scratch->stride[4] = 1;
    scratch->stride[3] = part_elements(problem);
    scratch->stride[2] = splits_of(problem) * scratch->stride[3];
    scratch->stride[1] = extent[CLATTN__N_Q] * scratch->stride[2];
    scratch->stride[0] = extent[CLATTN__N_HEAD] * scratch->stride[1];
    scratch->offset = clattn__take_workspace(variant, extent[CLATTN__BATCH] * scratch->stride[0]);
}

double clattn__parts_bound(const clattn__problem *problem)
{
    const int64_t *extent = problem->extent;
    return 4.0 * (double)extent[CLATTN__BATCH] * (double)extent[CLATTN__N_HEAD] *
           (double)extent[CLATTN__N_Q] * (double)splits_of(problem) *
           (double)part_elements(problem);
}

/* What merge_splits uses of the variant's configuration; a row is one work-item's. */
static void leave_vectors(const clattn__problem *problem, const clattn__config *all,
                          clattn__config *config)
{
    *config = (clattn__config){.group_size = 1};
    config->vec = all->vec;
    config->dim_max = clattn__dim_max(problem);
}

void clattn__add_merge_splits(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row merge = {
        .file = "attention/merge_splits.cl",
        .function = "merge_splits",
        .tiling = {CLATTN__OVER_QUERIES, .block = MERGE_BLOCK},
        .options = true,
        .tensors = {CLATTN_T_PARTS, CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_SINK, CLATTN_T_COUNT},
    };
    if (!merges(problem))
        return;
    clattn__launch_add(variant, &merge);
    leave_vectors(problem, &variant->config, &variant->launch[variant->launch_count - 1].config);
}
