/* The kernel for few queries over many keys, on devices whose work-items are lanes: queries of all
 * heads that share keys are rows of one tile, so that keys and values are read once. Launches:
 * attention_decode_tile, which does a split of the keys in a group, and merge_splits. */
#include <inttypes.h>

#include "kernels/launches.h"
#include "kernels/splits.h"
#include "kernels/tile_shapes.h"

extern const clattn__kernel clattn__attention_decode_tile;

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__place_parts(problem, variant);
}

/* Why not, or NULL; what has numbers in its sentence is left to check(). */
static const char *objection(const clattn__problem *problem)
{
    if (clattn__needs_stats(problem))
        return "weights or scores are to be returned";
    if (problem->extent[CLATTN__N_Q] == 0)
        return "there are no queries";
    if (problem->block_q)
        return "the keys are listed in blocks";
    if (problem->extent[CLATTN__VALUE_DIM] < 4)
        return "value_dim is less than a vector of 4";
    return NULL;
}

static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    const char *why = objection(problem);
    const int64_t rows = clattn__shared_rows(problem);
    clattn__config config = {0};
    if (why) {
        clattn__text_add(reason, "%s", why);
        return false;
    }
    if (!clattn__tile_shape(problem, caps, &config, reason))
        return false;
    if (rows > config.block_m) {
        clattn__text_add(reason,
                         "%" PRId64 " queries of all heads that share keys are more than %" PRIu32
                         ", the rows of a tile",
                         rows, config.block_m);
        return false;
    }
    return clattn__check_workspace_bound(clattn__parts_bound(problem), caps, "partial results",
                                         reason);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    static const clattn__launch_row decode = {
        .file = "attention/attention_decode_tile.cl",
        .function = "attention_decode_tile",
        .tiling = {CLATTN__OVER_KEYS, .block = CLATTN_SPLIT},
        .options = true,
        .tensors = {CLATTN_T_Q, CLATTN_T_K, CLATTN_T_PAST_K, CLATTN_T_V, CLATTN_T_PAST_V,
                    CLATTN_T_PARTS, CLATTN_T_OUT, CLATTN_T_LSE, CLATTN_T_SINK, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &decode);
    clattn__add_merge_splits(problem, variant);
    clattn__add_copy_present(problem, variant);
}

const clattn__kernel clattn__attention_decode_tile = {
    .name = "attention_decode_tile",
    .kind = CLATTN__ATTENTION,
    .check = check,
    .configure = clattn__tile_configure,
    .workspace = workspace,
    .launches = launches,
    .shares = true,
};
