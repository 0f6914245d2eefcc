/* Every tile of additive_tile, on devices that claim to need it: sizes about the tiles and slices,
 * values of more dimensions than a tile has, every form, poison where nothing is visible, types and
 * layouts, and the same bits again. What every kernel of additive attention must do is in
 * test_additive.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "additive_rig.h"
#include "claimed_opencl.h"
#include "rig.h"
#include "tests/shortened.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Devices, what tile they have for values of some dimensions, and forms about that. */
static const struct {
    claimed_device claims;
    int64_t value_dim;
    const char *tile;
} devices[] = {
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64},
     60,
     "ROWS=4 COLS=1 VALUE_COLS=2 BLOCK_M=32 BLOCK_N=32 BLOCK_K=16 DIM_MAX=64 WG_SIZE=64"},
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64},
     1000,
     "ROWS=4 COLS=1 VALUE_COLS=4 BLOCK_M=16 BLOCK_N=64 BLOCK_K=16 DIM_MAX=256 WG_SIZE=64"},
    {{.is_gpu = 1, .local_memory = 32768, .work_group = 128},
     64,
     "ROWS=4 COLS=1 VALUE_COLS=2 BLOCK_M=64 BLOCK_N=32 BLOCK_K=16 DIM_MAX=64 WG_SIZE=128"},
    {{.is_gpu = 1, .local_memory = 32768, .work_group = 128},
     100,
     "ROWS=4 COLS=1 VALUE_COLS=2 BLOCK_M=32 BLOCK_N=64 BLOCK_K=16 DIM_MAX=128 WG_SIZE=128"},
    {{.is_gpu = 1, .local_memory = 32768, .work_group = 192},
     577,
     "ROWS=4 COLS=1 VALUE_COLS=3 BLOCK_M=16 BLOCK_N=192 BLOCK_K=8 DIM_MAX=576 WG_SIZE=192"},
};

/* Twice the same, against the oracle. */
static void run(clattn_context *context, clattn_dispatcher *dispatcher, additive_problem *p)
{
    additive_problem again = *p;
    for (int slot = CLATTN_SLOT_OUT; slot <= CLATTN_SLOT_WEIGHTS; slot++) {
        again.value[slot] = calloc((size_t)p->count[slot] + 1, sizeof(float));
        cr_assert_not_null(again.value[slot]);
    }
    additive_run(context, dispatcher, p);
    additive_check(p, 1);
    additive_run(context, dispatcher, &again);
    for (int slot = CLATTN_SLOT_OUT; slot <= CLATTN_SLOT_WEIGHTS; slot++) {
        cr_assert_eq(
            memcmp(again.value[slot], p->value[slot], (size_t)p->count[slot] * sizeof(float)), 0,
            "%s: slot %d has other bits on repetition", rig_said(), slot);
        free(again.value[slot]);
    }
}

static void run_form(clattn_context *context, clattn_dispatcher *dispatcher,
                     const additive_form *form)
{
    additive_problem p;
    additive_make(form, &p);
    run(context, dispatcher, &p);
    additive_free(&p);
}

/* Queries and keys about the tile's 16 to 64 and 32 to 192, channels about its slices. */
static const additive_form sizes[] = {
    {.batch = 1, .n_head = 1, .n_q = 1, .n_kv = 1, .channels = 1},
    {.batch = 0, .n_head = 1, .n_q = 5, .n_kv = 7, .channels = 3},
    {.batch = 2, .n_head = 1, .n_q = 0, .n_kv = 7, .channels = 3},
    {.batch = 2, .n_head = 1, .n_q = 5, .n_kv = 0, .channels = 3, .mask = true},
    {.batch = 1, .n_head = 2, .n_q = 15, .n_kv = 31, .channels = 15, .bias = true},
    {.batch = 1, .n_head = 1, .n_q = 16, .n_kv = 32, .channels = 16, .mask = true},
    {.batch = 1,
     .n_head = 1,
     .n_q = 17,
     .n_kv = 33,
     .channels = 17,
     .bias = true,
     .layout = ADDITIVE_STEPS},
    {.batch = 2, .n_head = 1, .n_q = 31, .n_kv = 63, .channels = 4, .kv_lengths = true},
    {.batch = 1,
     .n_head = 2,
     .n_q = 32,
     .n_kv = 64,
     .channels = 5,
     .mask = true,
     .bias = true,
     .dtype = CLATTN_F16},
    {.batch = 3,
     .n_head = 1,
     .n_q = 33,
     .n_kv = 65,
     .channels = 37,
     .mask = true,
     .bias = true,
     .q_lengths = true,
     .kv_lengths = true},
    {.batch = 1, .n_head = 1, .n_q = 63, .n_kv = 67, .channels = 8, .dtype = CLATTN_BF16},
    {.batch = 1,
     .n_head = 2,
     .n_q = 64,
     .n_kv = 191,
     .channels = 31,
     .bias = true,
     .layout = ADDITIVE_REVERSED},
    {.batch = 2,
     .n_head = 1,
     .n_q = 65,
     .n_kv = 192,
     .channels = 9,
     .q_lengths = true,
     .mask = true,
     .layout = ADDITIVE_STEPS},
    {.batch = 1, .n_head = 1, .n_q = 3, .n_kv = 193, .channels = 130, .bias = true},
    {.batch = 2,
     .n_head = 1,
     .n_q = 5,
     .n_kv = 401,
     .channels = 12,
     .kv_lengths = true,
     .bias = true,
     .layout = ADDITIVE_REVERSED},
};

static void every_size(clattn_context *context, clattn_dispatcher *dispatcher, int64_t value_dim)
{
    for (size_t n = 0; n < COUNT(sizes); n++)
        for (int64_t less = 0; less < 2; less++) {
            additive_form form = sizes[n];
            form.value_dim = value_dim - less;
            form.forward = true;
            form.seed = (uint32_t)n + 1;
            rig_say("value_dim %d, size %d", (int)form.value_dim, (int)n);
            run_form(context, dispatcher, &form);
        }
}

/* One channel in nine of each size, so that groups of channels need every form. */
static void every_form(clattn_context *context, clattn_dispatcher *dispatcher, int64_t value_dim)
{
    static const float factors[] = {0.01f, 0.1f, 0.2f, 0.3f, 5,  3,    1,    0.4f,
                                    19,    2,    0.1f, 9,    60, 1e5f, 0.1f, 1};
    static const clattn_slot slots[] = {CLATTN_SLOT_Q, CLATTN_SLOT_K, CLATTN_SLOT_CHANNEL_BIAS};
    const additive_form form = {.batch = 1,
                                .n_head = 2,
                                .n_q = 37,
                                .n_kv = 70,
                                .channels = 43,
                                .value_dim = value_dim,
                                .bias = true,
                                .forward = true,
                                .seed = 30};
    additive_problem p;
    additive_make(&form, &p);
    for (size_t n = 0; n < COUNT(slots); n++)
        for (int64_t i = 0; i < p.count[slots[n]]; i++)
            p.value[slots[n]][i] *= factors[i % form.channels % 16];
    rig_say("value_dim %d, forms", (int)value_dim);
    run(context, dispatcher, &p);
    additive_free(&p);
}

/* Behind lengths, and in key 3, of which no query but 1 knows, and which it sees alone. */
static void every_poison(clattn_context *context, clattn_dispatcher *dispatcher, int64_t value_dim)
{
    static const float kinds[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t n = 0; n < COUNT(kinds); n++) {
        const additive_form form = {.batch = 2,
                                    .n_head = 2,
                                    .n_q = 21,
                                    .n_kv = 77,
                                    .channels = 19,
                                    .value_dim = value_dim,
                                    .bias = true,
                                    .mask = true,
                                    .kv_lengths = true,
                                    .forward = true,
                                    .seed = 40 + (uint32_t)n};
        additive_problem p;
        additive_make(&form, &p);
        p.kv_lengths[0] = 5;
        for (int64_t i = 0; i < p.count[CLATTN_SLOT_MASK]; i++)
            if (i % form.n_kv == 3 || i / form.n_kv % form.n_q == 1)
                p.mask[i] = i % form.n_kv == 3 && i / form.n_kv % form.n_q == 1;
        for (int64_t j = 0; j < form.batch * form.n_head * form.n_kv; j++) {
            const int64_t key = j % form.n_kv, entry = j / form.n_kv / form.n_head;
            if (key != 3 && key < p.kv_lengths[entry])
                continue;
            p.value[CLATTN_SLOT_K][j * form.channels + 1] = kinds[n];
            p.value[CLATTN_SLOT_V][j * value_dim + value_dim - 1] = kinds[n];
        }
        rig_say("value_dim %d, poison %d", (int)value_dim, (int)n);
        run(context, dispatcher, &p);
        additive_free(&p);
    }
}

/* In short only one tile, which test_additive.c has, too: PoCL takes 25 s of the processor to
 * compile one, and each has two programs. */
static bool is_left_out(size_t d)
{
    return is_shortened() && d != 4;
}

static void check_device(size_t d)
{
    if (is_left_out(d))
        return;
    clattn_context *context = claimed_open(&devices[d].claims, "additive_tile");
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    every_size(context, dispatcher, devices[d].value_dim);
    every_form(context, dispatcher, devices[d].value_dim);
    every_poison(context, dispatcher, devices[d].value_dim);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

Test(additive_tile, least_device, .timeout = 900)
{
    check_device(0);
}

Test(additive_tile, least_device_wide_values, .timeout = 900)
{
    check_device(1);
}

Test(additive_tile, usual_device, .timeout = 900)
{
    check_device(2);
}

Test(additive_tile, usual_device_wider_values, .timeout = 900)
{
    check_device(3);
}

Test(additive_tile, usual_device_widest_values, .timeout = 900)
{
    check_device(4);
}

/* What a plan of such a device runs, of all kernels. */
Test(additive_tile, devices_have_the_tiles_that_are_tested)
{
    for (size_t d = 0; d < COUNT(devices); d++) {
        if (is_left_out(d))
            continue;
        clattn_context *context = claimed_open(&devices[d].claims, NULL);
        clattn_additive_desc desc;
        clattn_plan *plan;
        clattn_plan_info info = {.struct_size = sizeof info};
        clattn_additive_desc_init(&desc);
        desc.batch = desc.n_head = 1;
        desc.n_q = desc.n_kv = desc.channels = 100;
        desc.value_dim = devices[d].value_dim;
        cr_assert_eq(clattn_plan_additive(context, &desc, &plan), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
        cr_expect_str_eq(info.kernel, "additive_tile");
        cr_expect(strstr(info.configuration, devices[d].tile), "%s isn't %s", info.configuration,
                  devices[d].tile);
        clattn_plan_destroy(plan);
        rig_close(context);
    }
}
