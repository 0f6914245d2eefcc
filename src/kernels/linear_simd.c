/* Linear projections and their gradients for devices whose work-item is a core with vectors: the
 * right matrix packed into panels, register tiles. Launches: linear_pack, unless the caller has
 * packed weights, and linear_simd; linear_sums for the gradient by b. */
#include <math.h>

#include "kernels/launches.h"
#include "kernels/linear_tuning.h"
#include "kernels/product.h"

extern const clattn__kernel clattn__linear_simd;
extern const clattn__kernel clattn__linear_x_simd;
extern const clattn__kernel clattn__linear_w_simd;

/* Register tiles as in simd_tiles.c: sums, a row of the panels and an element of the left matrix
 * fit the registers. A block of the left matrix (block_m, block_k) and results (block_m, block_n),
 * private memory, take up to 252 KiB of the second cache and of a stack. Sums go to memory and back
 * with each block of the depth, so deep blocks are good; the part of a tile's panels that a block
 * meets stays in the first cache, or is narrow enough to come from the second in time, as with
 * AVX-512, where 24 multiply-adds need two lines of it. */
static const struct {
    uint32_t vec, registers; /* the device has vectors as wide, and as many registers */
    uint32_t rows, cols;
    uint32_t block_m, block_n, block_k;
} tiles[] = {
    {16, 32, 12, 2, 48, 256, 384}, /* AVX-512 */
    {8, 16, 6, 2, 72, 512, 256},   /* AVX2 */
    {4, 32, 6, 4, 96, 512, 160},   /* NEON of 64-bit Arm */
    {4, 16, 2, 4, 96, 512, 160},   /* SSE, and what is not known */
};

/* Items for each compute unit, so that all are busy to the end. */
#define ITEMS_PER_UNIT 4
/* Rows of an item that aren't cut any further: below, fetching panels counts. */
#define LEAST_ROWS 24

static void configure(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__config *config)
{
    const uint32_t last = sizeof tiles / sizeof tiles[0] - 1;
    uint32_t i = 0;
    (void)problem;
    while (i < last &&
           (tiles[i].vec > caps->vector_width || tiles[i].registers > caps->vector_registers))
        i++;
    config->vec = tiles[i].vec;
    config->rows = tiles[i].rows;
    config->cols = tiles[i].cols;
    config->block_m = tiles[i].block_m;
    config->block_n = tiles[i].block_n;
    config->block_k = tiles[i].block_k;
    config->group_size = 1;
}

/* What an item takes beside its rows, in rows: panels are fetched anew. */
#define ITEM_COST 6

/* How long compute units take for `stripes` of so many rows in items of `part`, of which the last
 * one of a stripe is shorter, where they take items one by one; in rows. */
static double one_by_one(int64_t rows, int64_t part, double stripes, double units)
{
    const int64_t parts = rows / part;
    const double whole = (double)parts * stripes, rest = (double)(rows % part);
    const double rounds = floor(whole / units), each = (double)(part + ITEM_COST);
    if (whole > rounds * units)
        return (rounds + 1) * each;
    return rounds * each + (rest > 0 ? rest + ITEM_COST : 0);
}

/* The same where the first unit takes its share at once, rounded up, as PoCL hands them out; the
 * others have what is left in ever smaller portions. */
static double in_portions(int64_t rows, int64_t part, double stripes, double units)
{
    const double parts = (double)clattn__divide_up(rows, part), items = parts * stripes;
    const double share = ceil(items / units), whole = floor(share / parts);
    const double first = whole * (double)rows + (share - whole * parts) * (double)part;
    const double even = (stripes * (double)rows + items * ITEM_COST) / units;
    return fmax(first + share * ITEM_COST, even);
}

static double makespan(int64_t rows, int64_t part, double stripes, double units)
{
    return fmax(one_by_one(rows, part, stripes, units), in_portions(rows, part, stripes, units));
}

/* Equal parts of `length`, at most `most`, in whole `unit`s. */
static int64_t part_of(int64_t length, int64_t parts, int64_t unit, int64_t most)
{
    const int64_t part = clattn__divide_up(clattn__divide_up(length, parts), unit) * unit;
    return part < unit ? unit : part > most ? most : part;
}

/* Smaller items, down to half as many rows, where the units then end at the same time. */
static void balance(int64_t rows, double stripes, uint32_t units, clattn__config *config)
{
    const uint32_t least = config->item_rows / 2 > LEAST_ROWS ? config->item_rows / 2 : LEAST_ROWS;
    double best = makespan(rows, config->item_rows, stripes, units);
    for (uint32_t part = config->item_rows; part >= least; part -= config->rows) {
        const double taken = makespan(rows, part, stripes, units);
        if (taken < best) {
            best = taken;
            config->item_rows = part;
        }
    }
}

/* Cuts the result into items. What an element is doesn't depend on it. */
static void cut(const clattn__problem *problem, const clattn__caps *caps, clattn__config *config)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    const double wanted = ITEMS_PER_UNIT * (double)caps->compute_units;
    const int64_t rows = product.rows > 0 ? product.rows : 1;
    const int64_t columns = product.columns > 0 ? product.columns : 1;
    const int64_t batch = product.batch > 0 ? product.batch : 1;
    const int64_t width = (int64_t)config->cols * config->vec;
    int64_t row_cuts = clattn__divide_up(rows, config->block_m);
    int64_t column_cuts = clattn__divide_up(columns, config->block_n);
    while ((double)batch * (double)row_cuts * (double)column_cuts < wanted) {
        if (rows / (row_cuts + 1) >= LEAST_ROWS)
            row_cuts++;
        else if (columns / (column_cuts + 1) >= width)
            column_cuts++;
        else
            break;
    }
    config->item_rows = (uint32_t)part_of(rows, row_cuts, config->rows, config->block_m);
    config->item_columns = (uint32_t)part_of(columns, column_cuts, width, config->block_n);
    const int64_t stripes = batch * clattn__divide_up(columns, config->item_columns);
    balance(rows, (double)stripes, caps->compute_units, config);
}

static void workspace(const clattn__problem *problem, const clattn__caps *caps,
                      clattn__variant *variant)
{
    (void)caps;
    clattn__product_place(problem, variant);
    clattn__product_place_panels(problem, variant);
}

/* The panels in floating point, because their size must not overflow. */
static bool check(const clattn__problem *problem, const clattn__caps *caps, clattn__text *reason)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    const double entries = product.right_shared ? 1 : (double)product.batch;
    const double bytes = !product.wanted || product.flags & CLATTN_P_PANELS
                             ? 0
                             : 4.0 * entries * ((double)product.columns + CLATTN__PANEL) *
                                   (double)product.pieces * (double)product.depth;
    return clattn__check_simd(caps, reason) &&
           clattn__check_workspace_bound(bytes, caps, "panels", reason);
}

static void launches(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    const clattn__launch_row row = {
        .file = "linear/linear_simd.cl",
        .function = "linear_simd",
        .tiling = {CLATTN__OVER_TILES, .block = variant->config.item_rows,
                   .column_block = variant->config.item_columns, .batches = product.batch,
                   .rows = product.rows, .columns = product.columns},
        .tensors = {CLATTN_T_LEFT, CLATTN_T_K_PANELS, CLATTN_T_B, CLATTN_T_RESULT, CLATTN_T_COUNT},
    };
    if (product.wanted && !(product.flags & CLATTN_P_PANELS))
        clattn__product_add_pack(problem, variant);
    if (product.wanted)
        clattn__launch_add(variant, &row);
    clattn__product_add_sums(problem, variant, &variant->config);
}

#define KERNEL(stem, of, numbers)                                                                  \
    const clattn__kernel clattn__##stem = {                                                        \
        .name = #stem,                                                                             \
        .kind = of,                                                                                \
        .check = check,                                                                            \
        .configure = configure,                                                                    \
        .cut = cut,                                                                                \
        .workspace = workspace,                                                                    \
        .launches = launches,                                                                      \
        .shares = true,                                                                            \
        .tunable = &(numbers),                                                                     \
    }
KERNEL(linear_simd, CLATTN__LINEAR, clattn__linear_tunable);
KERNEL(linear_x_simd, CLATTN__LINEAR_X, clattn__linear_x_tunable);
KERNEL(linear_w_simd, CLATTN__LINEAR_W, clattn__linear_w_tunable);
