/* Packing weights once, for all linear operations that read them: any device. */
#include "kernels/launches.h"
#include "kernels/product.h"
#include "kernels/row_groups.h"

extern const clattn__kernel clattn__linear_pack;

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    (void)problem;
    config->vec = caps->vector_width >= 16 ? 16 : caps->vector_width >= 8 ? 8 : 4;
    config->group_size = clattn__row_lanes(caps);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__product_place(problem, variant);
    clattn__product_place_panels(problem, variant);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__product_add_pack(problem, variant);
}

const clattn__kernel clattn__linear_pack = {
    .name = "linear_pack",
    .kind = CLATTN__LINEAR_PACK,
    .configure = configure,
    .workspace = workspace,
    .launches = launches,
    .shares = true,
};
