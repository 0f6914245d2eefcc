/* Linear operations without a device: what is refused, and which product of matrices they become.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "kernels/product.h"

static clattn_linear_desc linear(int64_t batch, int64_t rows, int64_t in, int64_t out)
{
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = batch;
    desc.rows = rows;
    desc.in = in;
    desc.out = out;
    return desc;
}

#define CHANGE(name, statement)                                                                    \
    static void name(clattn_linear_desc *desc)                                                     \
    {                                                                                              \
        statement;                                                                                 \
    }
CHANGE(bad_size, desc->struct_size = 7)
CHANGE(bad_pass, desc->pass = (clattn_linear_pass)3)
CHANGE(bad_switch, desc->accumulate = 2)
CHANGE(bad_reserved, desc->reserved = 1)
CHANGE(bad_batch, desc->batch = -1)
CHANGE(bad_rows, desc->rows = (int64_t)1 << 31)
CHANGE(bad_in, desc->in = 0)
CHANGE(bad_out, desc->out = 0)
CHANGE(both_weights,
       desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_W) | CLATTN_SLOT_BIT(CLATTN_SLOT_PACKED_W))
CHANGE(foreign_slot, desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_K))
CHANGE(named_x, desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_X))
CHANGE(nothing_wanted, desc->pass = CLATTN_LINEAR_GRADIENT_W)
CHANGE(bias_of_x, desc->pass = CLATTN_LINEAR_GRADIENT_X;
       desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B))
CHANGE(bad_type, desc->tensor[CLATTN_SLOT_W].dtype = CLATTN_I32)
CHANGE(shared_result, desc->tensor[CLATTN_SLOT_Y].strided = 1)
CHANGE(strided_panels, desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_PACKED_W);
       desc->tensor[CLATTN_SLOT_PACKED_W].strided = 1)

static const struct {
    void (*change)(clattn_linear_desc *desc);
    clattn_status status;
    const char *says;
} refused[] = {
    {bad_size, CLATTN_ERR_ARGUMENT, "desc: struct_size is 7; use clattn_linear_desc_init"},
    {bad_pass, CLATTN_ERR_UNSUPPORTED, "pass: this version has no pass 3"},
    {bad_switch, CLATTN_ERR_ARGUMENT, "accumulate: is 2"},
    {bad_reserved, CLATTN_ERR_ARGUMENT, "reserved: is 1"},
    {bad_batch, CLATTN_ERR_ARGUMENT, "batch: is -1"},
    {bad_rows, CLATTN_ERR_ARGUMENT, "rows: is 2147483648"},
    {bad_in, CLATTN_ERR_ARGUMENT, "in: is 0"},
    {bad_out, CLATTN_ERR_ARGUMENT, "out: is 0"},
    {both_weights, CLATTN_ERR_ARGUMENT, "slots: W and PACKED_W are the same weights"},
    {foreign_slot, CLATTN_ERR_ARGUMENT, "slots: K has no part in this operation"},
    {named_x, CLATTN_ERR_ARGUMENT, "slots: X always takes part"},
    {nothing_wanted, CLATTN_ERR_ARGUMENT, "slots: neither W nor B takes part"},
    {bias_of_x, CLATTN_ERR_ARGUMENT, "slots: B has no part in this operation"},
    {bad_type, CLATTN_ERR_UNSUPPORTED, "W: can't be of type i32"},
    {shared_result, CLATTN_ERR_ARGUMENT, "Y: is written, but stride"},
    {strided_panels, CLATTN_ERR_ARGUMENT, "PACKED_W: stride[0] is 0, must be 1"},
};

Test(product, every_violation_has_its_sentence)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        clattn__problem problem, before;
        clattn_linear_desc desc = linear(2, 3, 4, 5);
        memset(&problem, 0x77, sizeof problem);
        memcpy(&before, &problem, sizeof problem);
        refused[i].change(&desc);
        cr_expect_eq(clattn__problem_init_linear(&problem, &desc, CLATTN__LINEAR),
                     refused[i].status, "row %d", (int)i);
        cr_expect(strncmp(clattn__message(), refused[i].says, strlen(refused[i].says)) == 0,
                  "\"%s\" does not begin with \"%s\"", clattn__message(), refused[i].says);
        cr_expect_eq(memcmp(&problem, &before, sizeof problem), 0, "row %d was written", (int)i);
    }
}

Test(product, the_gradient_by_w_has_no_packed_weights)
{
    clattn__problem problem;
    clattn_linear_desc desc = linear(1, 1, 1, 1);
    desc.pass = CLATTN_LINEAR_GRADIENT_W;
    cr_expect_eq(clattn__problem_init_linear(&problem, &desc, CLATTN__LINEAR_PACK),
                 CLATTN_ERR_ARGUMENT);
    cr_expect(strstr(clattn__message(), "pass: "), "%s", clattn__message());
}

static clattn__product product_of(const clattn_linear_desc *desc)
{
    clattn__problem problem;
    clattn__product product;
    cr_assert_eq(clattn__problem_init_linear(&problem, desc, CLATTN__LINEAR), CLATTN_OK, "%s",
                 clattn__message());
    clattn__product_of(&problem, &product);
    return product;
}

Test(product, the_smaller_factor_is_the_right_one)
{
    clattn_linear_desc desc = linear(2, 30, 16, 20);
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    clattn__product product = product_of(&desc);
    cr_expect_eq(product.right.slot, CLATTN_SLOT_W);
    cr_expect_eq(product.flags, CLATTN_P_OF_COLUMNS);
    cr_expect_eq(product.rows, 60); /* both entries */
    cr_expect_eq(product.batch, 1);
    desc = linear(2, 3, 16, 20);
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    product = product_of(&desc);
    cr_expect_eq(product.left.slot, CLATTN_SLOT_W);
    cr_expect_eq(product.rows, 20);
    cr_expect_eq(product.columns, 6);
    cr_expect_eq(product.flags, CLATTN_P_OF_ROWS);
    cr_expect_eq(product.result.row, 1);
    cr_expect_eq(product.result.column, 20);
}

Test(product, batch_entries_stay_apart_where_rows_do_not_follow)
{
    clattn_linear_desc desc = linear(2, 30, 16, 20);
    desc.tensor[CLATTN_SLOT_X] = (clattn_tensor){.strided = 1, .stride = {1000, 16, 1}};
    const clattn__product forward = product_of(&desc);
    cr_expect_eq(forward.batch, 2);
    cr_expect_eq(forward.rows, 30);
    cr_expect(forward.right_shared);
    desc.pass = CLATTN_LINEAR_GRADIENT_W;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_W);
    const clattn__product weights = product_of(&desc);
    cr_expect_eq(weights.pieces, 2);
    cr_expect_eq(weights.depth, 30);
    desc.tensor[CLATTN_SLOT_X].strided = 0;
    cr_expect_eq(product_of(&desc).pieces, 1);
    cr_expect_eq(product_of(&desc).depth, 60);
}

Test(product, panels_are_whole)
{
    uint64_t size;
    clattn_linear_desc desc = linear(1, 1, 10, 17);
    cr_assert_eq(clattn_linear_packed_size(&desc, &size), CLATTN_OK);
    cr_expect_eq(size, 4 * 32 * 10);
    desc.pass = CLATTN_LINEAR_GRADIENT_X;
    cr_assert_eq(clattn_linear_packed_size(&desc, &size), CLATTN_OK);
    cr_expect_eq(size, 4 * 16 * 17);
}

/* What the units have done when the last of `items` is, in rows: each takes the next one, or with
 * `portions` its share of those that are left, rounded up. */
static int64_t longest(const int64_t *items, int64_t count, int64_t units, bool portions)
{
    int64_t done[4] = {0}, most = 0;
    while (count > 0) {
        int64_t free_one = 0, share = portions ? (count + units - 1) / units : 1;
        for (int64_t u = 1; u < units; u++)
            if (done[u] < done[free_one])
                free_one = u;
        for (; share > 0; share--, count--)
            done[free_one] += *items++;
    }
    for (int64_t u = 0; u < units; u++)
        most = done[u] > most ? done[u] : most;
    return most;
}

enum { MOST_ITEMS = 256 };

/* The rows of all items, in the order of the work list. */
static int64_t items_of(const clattn__product *product, const clattn__config *config,
                        int64_t items[MOST_ITEMS])
{
    int64_t count = 0;
    for (int64_t j = 0; j < product->columns; j += config->item_columns)
        for (int64_t i = 0; i < product->rows; i += config->item_rows) {
            cr_assert(count < MOST_ITEMS);
            items[count++] =
                product->rows - i < config->item_rows ? product->rows - i : config->item_rows;
        }
    return count;
}

/* Units end at nearly the same time: with items of 96 rows two would have 576 and 448 of 1024, and
 * of items of 84 rows the first takes 7 of 13 as its portion. */
Test(product, items_are_balanced)
{
    static const struct {
        uint32_t vec, registers, units;
        int64_t rows, width;
        double most; /* times what each would have if nothing were left over */
    } rows[] = {
        {8, 16, 2, 512, 384, 1.13},   {8, 16, 2, 512, 768, 1.05},   {8, 16, 2, 512, 1024, 1.05},
        {8, 16, 2, 512, 1536, 1.05},  {8, 16, 2, 512, 2048, 1.05},  {16, 32, 2, 512, 1024, 1.05},
        {16, 32, 3, 512, 1024, 1.06}, {16, 32, 4, 512, 1024, 1.10}, {8, 16, 1, 512, 1024, 1.0},
    };
    const clattn__kernel *kernel = NULL;
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        if (strcmp(clattn__kernel_get(i)->name, "linear_simd") == 0)
            kernel = clattn__kernel_get(i);
    cr_assert_not_null(kernel);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const clattn__caps caps = {.type = CLATTN_DEVICE_CPU,
                                   .family = CLATTN__SIMD,
                                   .compute_units = rows[i].units,
                                   .vector_width = rows[i].vec,
                                   .vector_registers = rows[i].registers};
        const clattn_linear_desc desc = linear(1, rows[i].rows, rows[i].width, rows[i].width);
        clattn__problem problem;
        clattn__product product;
        clattn__config config = {0};
        cr_assert_eq(clattn__problem_init_linear(&problem, &desc, CLATTN__LINEAR), CLATTN_OK);
        clattn__product_of(&problem, &product);
        kernel->configure(&problem, &caps, &config);
        kernel->cut(&problem, &caps, &config);
        cr_assert(config.item_rows > 0 && config.item_rows <= config.block_m);
        cr_assert_eq(config.item_rows % config.rows, 0);
        int64_t items[MOST_ITEMS];
        const int64_t count = items_of(&product, &config, items);
        const double stripes = ceil((double)product.columns / config.item_columns);
        const double ideal = (double)product.rows * stripes / rows[i].units;
        for (int portions = 0; portions < 2; portions++) {
            const int64_t found = longest(items, count, rows[i].units, portions);
            cr_expect((double)found <= rows[i].most * ideal,
                      "row %d, %d: %d items of %u rows, %u columns take %d, not %g", (int)i,
                      portions, (int)count, config.item_rows, config.item_columns, (int)found,
                      ideal);
        }
    }
}
