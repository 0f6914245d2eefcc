/* Which tensor is which factor, and the launches that linear operations share. */
#include "kernels/product.h"

#include "kernels/launches.h"

static clattn__matrix matrix_of(const clattn__problem *problem, clattn_slot slot)
{
    const int64_t *stride = problem->layout[slot].stride;
    if (slot == CLATTN_SLOT_W)
        return (clattn__matrix){.slot = slot, .row = stride[0], .column = stride[1]};
    return (clattn__matrix){
        .slot = slot, .batch = stride[0], .row = stride[1], .column = stride[2]};
}

static clattn__matrix transposed(clattn__matrix matrix)
{
    const int64_t row = matrix.row;
    matrix.row = matrix.column;
    matrix.column = row;
    return matrix;
}

/* Batch entries as pieces of the sum. */
static clattn__matrix in_pieces(clattn__matrix matrix)
{
    matrix.piece = matrix.batch;
    matrix.batch = 0;
    return transposed(matrix);
}

/* Whether `count` steps of `inner` make one of `outer`, so that both dimensions are one; where
 * there is one inner element, its stride says nothing. */
static bool follow_each_other(int64_t outer, int64_t *inner, int64_t count)
{
    if (count == 1)
        *inner = outer;
    return outer == *inner * count;
}

static void join_batch(clattn__product *product)
{
    clattn__matrix left = product->left, result = product->result;
    if (product->batch < 2 || product->batch * product->rows > INT32_MAX ||
        !follow_each_other(left.batch, &left.row, product->rows) ||
        !follow_each_other(result.batch, &result.row, product->rows))
        return;
    product->left = left;
    product->result = result;
    product->rows *= product->batch;
    product->batch = 1;
}

static void join_pieces(clattn__product *product)
{
    clattn__matrix left = product->left, right = product->right;
    if (product->pieces < 2 || product->pieces * product->depth > INT32_MAX ||
        !follow_each_other(left.piece, &left.column, product->depth) ||
        !follow_each_other(right.piece, &right.column, product->depth))
        return;
    product->left = left;
    product->right = right;
    product->depth *= product->pieces;
    product->pieces = 1;
}

static void exchange_factors(clattn__product *product)
{
    const clattn__matrix left = product->left;
    const int64_t rows = product->rows;
    product->left = product->right;
    product->right = left;
    product->rows = product->columns;
    product->columns = rows;
    product->result = transposed(product->result);
    product->right_shared = product->batch < 2;
    if (product->flags & CLATTN_P_OF_COLUMNS)
        product->flags ^= CLATTN_P_OF_COLUMNS | CLATTN_P_OF_ROWS;
}

/* y = x W^T, or with W transposed dx = dy W. */
static void set_forward(const clattn__problem *problem, bool by_x, clattn__product *product)
{
    const clattn__matrix w = matrix_of(problem, CLATTN_SLOT_W);
    const int64_t in = problem->extent[CLATTN__IN], out = problem->extent[CLATTN__OUT];
    product->batch = problem->extent[CLATTN__BATCH];
    product->rows = problem->extent[CLATTN__ROWS];
    product->columns = by_x ? in : out;
    product->depth = by_x ? out : in;
    product->pieces = 1;
    product->left = matrix_of(problem, by_x ? CLATTN_SLOT_Y : CLATTN_SLOT_X);
    product->result = matrix_of(problem, by_x ? CLATTN_SLOT_X : CLATTN_SLOT_Y);
    product->right = by_x ? transposed(w) : w;
    product->right_shared = true;
}

/* dW = dy^T x. */
static void set_weights(const clattn__problem *problem, clattn__product *product)
{
    product->batch = 1;
    product->rows = problem->extent[CLATTN__OUT];
    product->columns = problem->extent[CLATTN__IN];
    product->pieces = problem->extent[CLATTN__BATCH];
    product->depth = problem->extent[CLATTN__ROWS];
    product->left = in_pieces(matrix_of(problem, CLATTN_SLOT_Y));
    product->right = in_pieces(matrix_of(problem, CLATTN_SLOT_X));
    product->result = matrix_of(problem, CLATTN_SLOT_W);
    product->right_shared = true;
}

void clattn__product_of(const clattn__problem *problem, clattn__product *product)
{
    const bool by_x = problem->linear_pass == CLATTN_LINEAR_GRADIENT_X;
    *product = (clattn__product){.flags = problem->accumulate ? CLATTN_P_ADD : 0};
    product->wanted =
        problem->kind != CLATTN__LINEAR_W || clattn__problem_has(problem, CLATTN_SLOT_W);
    if (problem->kind == CLATTN__LINEAR_W)
        set_weights(problem, product);
    else
        set_forward(problem, by_x, product);
    if (problem->kind == CLATTN__LINEAR && clattn__problem_has(problem, CLATTN_SLOT_B))
        product->flags |= CLATTN_P_OF_COLUMNS;
    if (problem->kind == CLATTN__LINEAR_PACK)
        return;
    join_batch(product);
    join_pieces(product);
    if (clattn__problem_has(problem, CLATTN_SLOT_PACKED_W)) {
        product->flags |= CLATTN_P_PANELS;
        product->right = (clattn__matrix){.slot = CLATTN_SLOT_PACKED_W};
    } else if (product->columns > product->batch * product->rows) {
        exchange_factors(product);
    }
}

static void place(clattn__variant *variant, uint32_t tensor, const clattn__matrix *matrix,
                  bool factor)
{
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    *scratch = (clattn__scratch){.tensor = tensor, .slot = (int32_t)matrix->slot, .turned = true};
    scratch->stride[0] = matrix->batch;
    scratch->stride[1] = factor ? matrix->piece : matrix->row;
    scratch->stride[2] = factor ? matrix->row : matrix->column;
    scratch->stride[3] = factor ? matrix->column : 0;
}

void clattn__product_place(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    place(variant, CLATTN_T_LEFT, &product.left, true);
    place(variant, CLATTN_T_RIGHT, &product.right, true);
    place(variant, CLATTN_T_RESULT, &product.result, false);
}

void clattn__product_place_panels(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    if (!product.wanted)
        return;
    clattn__scratch *scratch = &variant->scratch[variant->scratch_count++];
    const int64_t panel = product.pieces * product.depth * CLATTN__PANEL;
    const int64_t all = clattn__divide_up(product.columns, CLATTN__PANEL) * panel;
    *scratch = (clattn__scratch){.tensor = CLATTN_T_K_PANELS, .slot = -1};
    if (clattn__problem_has(problem, CLATTN_SLOT_PACKED_W)) {
        scratch->slot = CLATTN_SLOT_PACKED_W;
        scratch->turned = true;
        return;
    }
    scratch->stride[0] = product.right_shared ? 0 : all;
    scratch->offset =
        clattn__take_workspace(variant, (product.right_shared ? 1 : product.batch) * all);
}

/* Columns of an item of linear_pack: whole panels, a line of memory and more of each row. */
#define PACK_COLUMNS 64

void clattn__product_add_pack(const clattn__problem *problem, clattn__variant *variant)
{
    clattn__product product;
    clattn__product_of(problem, &product);
    const clattn__launch_row row = {
        .packs = true,
        .file = "linear/linear_pack.cl",
        .function = "linear_pack",
        .tiling = {CLATTN__OVER_TILES, .block = 1, .rows = 1, .columns = product.columns,
                   .column_block = PACK_COLUMNS,
                   .batches = product.right_shared ? 1 : product.batch},
        .tensors = {CLATTN_T_RIGHT, CLATTN_T_K_PANELS, CLATTN_T_COUNT},
    };
    clattn__launch_add(variant, &row);
    variant->launch[variant->launch_count - 1].config =
        (clattn__config){.vec = variant->config.vec, .group_size = variant->config.group_size};
}

void clattn__product_add_sums(const clattn__problem *problem, clattn__variant *variant,
                              const clattn__config *config)
{
    const clattn__launch_row row = {
        .file = "linear/linear_sums.cl",
        .function = "linear_sums",
        .tiling = {CLATTN__OVER_TILES, .block = 1, .rows = 1, .batches = 1,
                   .columns = problem->extent[CLATTN__OUT], .column_block = PACK_COLUMNS},
        .tensors = {CLATTN_T_Y, CLATTN_T_B, CLATTN_T_COUNT},
    };
    if (problem->kind != CLATTN__LINEAR_W || !clattn__problem_has(problem, CLATTN_SLOT_B))
        return;
    clattn__launch_add(variant, &row);
    clattn__launch *launch = &variant->launch[variant->launch_count - 1];
    launch->config = (clattn__config){.vec = config->vec, .group_size = config->group_size};
}
