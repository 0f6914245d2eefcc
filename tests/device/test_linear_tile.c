/* Every tile of linear_tile, on devices that claim to need it: sizes about the tile and its slices,
 * types, layouts, packed weights; the bits must be those of linear_reference, however often. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "claimed_opencl.h"
#include "linear_rig.h"
#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TILE         "linear_tile,linear_x_tile,linear_w_tile,linear_pack"
#define REFERENCE    "linear_reference,linear_x_reference,linear_w_reference,linear_pack"

/* Devices for which a product that isn't narrow has this tile. */
static const struct {
    claimed_device claims;
    const char *tile;
} devices[] = {
    {{.is_gpu = 1, .local_memory = 32768, .work_group = 128, .compute_units = 1},
     "ROWS=8 COLS=1 BLOCK_M=64 BLOCK_N=64 BLOCK_K=16 STAGES=2 WG_SIZE=128"},
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64, .compute_units = 1},
     "ROWS=8 COLS=1 BLOCK_M=64 BLOCK_N=32 BLOCK_K=16 STAGES=2 WG_SIZE=64"},
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64, .compute_units = 1000},
     "ROWS=4 COLS=1 BLOCK_M=32 BLOCK_N=32 BLOCK_K=16 STAGES=2 WG_SIZE=64"},
};

/* Rows, in, out: around 16, 32, 64 and 128, alone and together; primes; narrow ones. */
static const linear_case cases[] = {
    {1, 129, 31, 127, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {1, 128, 32, 128, ORACLE_F32, PLAIN, TURNED, PLAIN, false, true},
    {1, 127, 33, 129, ORACLE_F32, TURNED, PLAIN, TURNED, true, true},
    {2, 65, 17, 131, ORACLE_F32, GAPS, GAPS, GAPS, true, false},
    {2, 67, 16, 257, ORACLE_F32, BACKWARDS, PLAIN, BACKWARDS, false, true},
    {3, 63, 15, 191, ORACLE_F16, PLAIN, PLAIN, PLAIN, true, true},
    {2, 64, 64, 128, ORACLE_F16, TURNED, TURNED, TURNED, true, false},
    {1, 193, 97, 131, ORACLE_BF16, PLAIN, TURNED, GAPS, true, true},
    {2, 66, 65, 129, ORACLE_BF16, TURNED, PLAIN, PLAIN, false, false},
    {1, 1, 1, 1, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, true},
    {1, 1, 130, 140, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {1, 16, 63, 65, ORACLE_F32, PLAIN, TURNED, PLAIN, true, true},
    {1, 15, 64, 131, ORACLE_F16, GAPS, PLAIN, TURNED, false, false},
    {1, 140, 5, 17, ORACLE_BF16, PLAIN, GAPS, PLAIN, true, true},
    {3, 2, 3, 4, ORACLE_F32, TURNED, PLAIN, GAPS, true, false},
    {0, 4, 5, 6, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, false},
    {2, 0, 5, 6, ORACLE_F32, PLAIN, PLAIN, PLAIN, true, true},
};

static void compare(const linear_trial *a, const linear_trial *b)
{
    for (int role = 0; role < LINEAR_ROLES; role++) {
        const linear_array *of = &a->array[role];
        const size_t size = of->type == ORACLE_F32 ? 4 : 2;
        cr_assert_eq(memcmp(of->memory, b->array[role].memory, (size_t)of->count * size), 0,
                     "%s: tensor %d has other bits", rig_said(), role);
    }
}

/* Once by linear_reference, twice by linear_tile. */
static void run(clattn_context *const context[2], const linear_case *of, uint32_t pass, bool packed)
{
    linear_trial t[3];
    for (int i = 0; i < 3; i++) {
        linear_begin(&t[i], of, pass);
        (packed ? linear_run_packed : linear_run)(context[i > 0], &t[i]);
        linear_check(&t[i]);
    }
    compare(&t[1], &t[0]);
    compare(&t[2], &t[1]);
    for (int i = 0; i < 3; i++)
        linear_end(&t[i]);
}

Test(linear_tile, has_the_bits_of_the_reference, .timeout = 900)
{
    for (size_t d = 0; d < COUNT(devices); d++) {
        clattn_context *const context[] = {claimed_open(&devices[d].claims, REFERENCE),
                                           claimed_open(&devices[d].claims, TILE)};
        for (size_t n = 0; n < COUNT(cases); n++)
            for (uint32_t pass = 0; pass < 3; pass++) {
                rig_say("device %d, case %d, pass %d", (int)d, (int)n, (int)pass);
                run(context, &cases[n], pass, false);
                rig_say("device %d, case %d, pass %d, packed", (int)d, (int)n, (int)pass);
                if (pass < 2)
                    run(context, &cases[n], pass, true);
            }
        rig_close(context[0]);
        rig_close(context[1]);
    }
}

/* Of rows x out = in, which isn't narrow; what a plan runs. */
static void expect_tile(clattn_context *context, int64_t rows, int64_t out, const char *tile)
{
    clattn_linear_desc desc;
    clattn_plan *plan;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.rows = rows;
    desc.in = 64;
    desc.out = out;
    linear_good(clattn_plan_linear(context, &desc, &plan));
    linear_good(clattn_plan_get_info(plan, &info));
    cr_expect_str_eq(info.kernel, "linear_tile");
    for (const char *word = tile; *word;) {
        const size_t size = strcspn(word, " ");
        char name[32] = {0};
        memcpy(name, word, size);
        cr_expect(strstr(info.configuration, name), "%s isn't %s", info.configuration, name);
        word += size + strspn(word + size, " ");
    }
    clattn_plan_destroy(plan);
}

Test(linear_tile, devices_have_the_tiles_that_are_tested)
{
    for (size_t d = 0; d < COUNT(devices); d++) {
        clattn_context *context = claimed_open(&devices[d].claims, NULL);
        rig_say("device %d", (int)d);
        expect_tile(context, 128, 128, devices[d].tile);
        expect_tile(context, 128, 1, "BLOCK_M=64 BLOCK_N=16 BLOCK_K=32 STAGES=1");
        expect_tile(context, 1, 128, "BLOCK_M=64 BLOCK_N=16 BLOCK_K=32 STAGES=1");
        rig_close(context);
    }
}

/* A NaN in a row of x is in that row of y, infinity in a row of W in that column, and neither is
 * anywhere else. */
Test(linear_tile, not_a_number_stays_where_it_belongs)
{
    enum { ROWS = 70, IN = 37, OUT = 67, X_ROW = 33, W_ROW = 64 };
    static float x[ROWS][IN], w[OUT][IN], y[ROWS][OUT];
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < IN; k++)
            x[i][k] = i == X_ROW && k == IN - 1 ? NAN : 1;
    for (int j = 0; j < OUT; j++)
        for (int k = 0; k < IN; k++)
            w[j][k] = j == W_ROW && k == 0 ? INFINITY : 1;
    clattn_linear_desc desc;
    clattn_linear_desc_init(&desc);
    desc.batch = 1;
    desc.rows = ROWS;
    desc.in = IN;
    desc.out = OUT;
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_X, 0, x}, {CLATTN_SLOT_W, 0, w}, {CLATTN_SLOT_Y, 0, y}};
    for (size_t d = 0; d < COUNT(devices); d++) {
        clattn_context *context = claimed_open(&devices[d].claims, TILE);
        linear_good(clattn_linear(context, &desc, bindings, COUNT(bindings)));
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < OUT; j++)
                if (i == X_ROW)
                    cr_assert(isnan(y[i][j]), "device %d: (%d, %d)", (int)d, i, j);
                else
                    cr_assert_eq(y[i][j], j == W_ROW ? INFINITY : (float)IN,
                                 "device %d: (%d, %d) is %g", (int)d, i, j, (double)y[i][j]);
        rig_close(context);
    }
}
