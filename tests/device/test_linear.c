/* Linear projections and their gradients against double precision: sizes about every block, types,
 * layouts, biases, adding to what is there, packed weights; on every kernel. Whatever must not be
 * read is NaN, and what must not be written stays what it was. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "linear_rig.h"
#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const linear_case cases[] = {
    {1, 1, 1, 1, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {2, 7, 5, 3, ORACLE_F32, PLAIN, PLAIN, PLAIN, false, false},
    {1, 6, 128, 64, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {1, 5, 127, 63, ORACLE_F32, TURNED, PLAIN, PLAIN, true, true},
    {1, 97, 129, 65, ORACLE_F32, PLAIN, TURNED, PLAIN, true, false},
    {3, 33, 16, 113, ORACLE_F32, PLAIN, PLAIN, TURNED, false, true},
    {2, 50, 300, 40, ORACLE_F32, GAPS, GAPS, GAPS, true, true},
    {2, 40, 50, 600, ORACLE_F32, BACKWARDS, PLAIN, BACKWARDS, true, false},
    {2, 96, 64, 96, ORACLE_F32, TURNED, TURNED, TURNED, true, false},
    {1, 512, 40, 17, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {1, 3, 257, 1031, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, true},
    {2, 31, 130, 48, ORACLE_F16, PLAIN, PLAIN, PLAIN, true, false},
    {2, 31, 48, 130, ORACLE_BF16, GAPS, TURNED, TURNED, true, true},
    {0, 4, 5, 6, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {2, 0, 5, 6, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, true},
};

Test(linear, follows_the_formula)
{
    for (size_t family = 0; family < LINEAR_FAMILIES; family++) {
        clattn_context *context = linear_open(family);
        for (size_t n = 0; n < COUNT(cases) && linear_runs(context, family); n++)
            for (uint32_t pass = 0; pass < 3; pass++) {
                linear_trial t;
                rig_say("%s, case %d, pass %d", linear_families[family], (int)n, (int)pass);
                linear_begin(&t, &cases[n], pass);
                linear_run(context, &t);
                linear_check(&t);
                linear_end(&t);
            }
        rig_close(context);
    }
}

Test(linear, reads_packed_weights)
{
    for (size_t family = 0; family < LINEAR_FAMILIES; family++) {
        clattn_context *context = linear_open(family);
        for (size_t n = 0; n < COUNT(cases) && linear_runs(context, family); n++)
            for (uint32_t pass = 0; pass < 2; pass++) {
                linear_trial t;
                rig_say("%s, packed, case %d, pass %d", linear_families[family], (int)n, (int)pass);
                linear_begin(&t, &cases[n], pass);
                linear_run_packed(context, &t);
                linear_check(&t);
                linear_end(&t);
            }
        rig_close(context);
    }
}

/* ---- bits ------------------------------------------------------------------------------------ */

enum { IN = 200, OUT = 150, ROWS = 300 };

static void multiply(clattn_context *context, int64_t rows, float *x, float *w, float *y)
{
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.in = IN;
    desc.out = OUT;
    desc.rows = rows;
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_X, 0, x}, {CLATTN_SLOT_W, 0, w}, {CLATTN_SLOT_Y, 0, y}};
    linear_good(clattn_linear(context, &desc, bindings, COUNT(bindings)));
}

/* Sums don't depend on how the result is cut, nor on which factor is packed, nor on the kernel. */
Test(linear, gives_the_same_bits_in_every_company)
{
    static float x[ROWS][IN], w[OUT][IN], one[1][OUT], all[ROWS][OUT], first[ROWS][OUT];
    uint32_t seed = 5;
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < IN; k++)
            x[i][k] = rig_number(&seed);
    for (int j = 0; j < OUT; j++)
        for (int k = 0; k < IN; k++)
            w[j][k] = rig_number(&seed);
    for (size_t family = LINEAR_FAMILIES; family-- > 0;) {
        clattn_context *context = linear_open(family);
        rig_say("%s", linear_families[family]);
        memset(all, 0, sizeof all);
        if (linear_runs(context, family)) {
            multiply(context, ROWS, x[0], w[0], all[0]);
            if (family == LINEAR_FAMILIES - 1)
                memcpy(first, all, sizeof first);
            cr_assert_arr_eq(all, first, sizeof all, "%s adds in another order", rig_said());
        }
        for (int row = 0; row < ROWS && linear_runs(context, family); row += 23) {
            multiply(context, 1, x[row], w[0], one[0]);
            cr_assert_arr_eq(one[0], all[row], sizeof one[0], "%s: row %d", rig_said(), row);
        }
        rig_close(context);
    }
}

/* ---- extents of 2^31 - 1 ----------------------------------------------------------------------
 */

/* A dimension that long has 4 GiB of float16 and takes minutes: CLATTN_TEST_HUGE=1 asks for it. */
enum { HUGE_EXTENT = INT32_MAX };
#define F16_TWO   0x4000
#define F16_THREE 0x4200

static uint16_t *huge_memory(void)
{
    uint16_t *memory = calloc((size_t)HUGE_EXTENT + 1, sizeof *memory);
    if (!getenv("CLATTN_TEST_HUGE") || !memory) {
        free(memory);
        cr_skip_test("CLATTN_TEST_HUGE isn't set, or the system promises no 4 GiB");
    }
    return memory;
}

static void check_huge(const uint16_t *memory, uint16_t expected)
{
    int64_t n = 0;
    while (n < HUGE_EXTENT && memory[n] == expected)
        n++;
    cr_assert_eq(n, HUGE_EXTENT, "element %d is %x", (int)n, (unsigned)memory[n]);
    cr_assert_eq(memory[HUGE_EXTENT], 0, "written beyond the end");
}

static void set_f16(clattn_linear_desc *desc, clattn_slot slot, bool one_element)
{
    desc->tensor[slot].dtype = CLATTN_F16;
    desc->tensor[slot].strided = one_element;
}

/* Rows of x are one and the same element. */
Test(linear, as_many_rows_as_there_can_be)
{
    uint16_t two = F16_TWO, *y = huge_memory();
    float w = 1.5F;
    for (size_t family = 0; family < LINEAR_FAMILIES; family++) {
        clattn_context *context = linear_open(family);
        clattn_linear_desc desc;
        clattn_linear_desc_init(&desc);
        desc.batch = desc.in = desc.out = 1;
        desc.rows = HUGE_EXTENT;
        set_f16(&desc, CLATTN_SLOT_X, true);
        set_f16(&desc, CLATTN_SLOT_Y, false);
        const clattn_host_binding bindings[] = {
            {CLATTN_SLOT_X, 0, &two}, {CLATTN_SLOT_W, 0, &w}, {CLATTN_SLOT_Y, 0, y}};
        if (linear_runs(context, family)) {
            linear_good(clattn_linear(context, &desc, bindings, COUNT(bindings)));
            check_huge(y, F16_THREE);
        }
        rig_close(context);
    }
    free(y);
}

/* Columns of dy are one and the same element. */
Test(linear, as_many_biases_as_there_can_be)
{
    uint16_t three = F16_THREE, *b = huge_memory();
    float x = 0;
    clattn_context *context = linear_open(0);
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.pass = CLATTN_LINEAR_GRADIENT_W;
    desc.batch = desc.rows = desc.in = 1;
    desc.out = HUGE_EXTENT;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_B);
    set_f16(&desc, CLATTN_SLOT_Y, true);
    set_f16(&desc, CLATTN_SLOT_B, false);
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_X, 0, &x}, {CLATTN_SLOT_Y, 0, &three}, {CLATTN_SLOT_B, 0, b}};
    linear_good(clattn_linear(context, &desc, bindings, COUNT(bindings)));
    check_huge(b, F16_THREE);
    rig_close(context);
    free(b);
}

/* Depths whose panels no device holds, and packed weights that none holds, are refused or left to
 * the reference kernel, but never computed wrongly. */
Test(linear, panels_that_no_device_holds)
{
    clattn_context *context = linear_open(0);
    clattn_linear_desc desc;
    clattn_plan *plan = NULL;
    if (!linear_runs(context, 0))
        cr_skip_test("the device has no panels");
    clattn_linear_desc_init(&desc);
    desc.batch = desc.rows = desc.out = 1;
    desc.in = HUGE_EXTENT;
    cr_expect_eq(clattn_plan_linear(context, &desc, &plan), CLATTN_ERR_UNSUPPORTED);
    cr_expect(strstr(clattn_error_message(), "panels need up to"), "%s", clattn_error_message());
    uint64_t size;
    linear_good(clattn_linear_packed_size(&desc, &size));
    cr_expect_eq(size, (uint64_t)HUGE_EXTENT * 16 * 4);
    rig_close(context);
}
