/* Every tile of additive_gradient_tile, on devices that claim to need it, behind another forward
 * pass: sizes about the tiles, slices and parts of values, every form, poison where nothing is
 * visible, types and layouts, gradients one by one, the contract, and the same bits again. What
 * every kernel of additive attention must do is in test_additive.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "additive_contract.h"
#include "claimed_opencl.h"
#include "rig.h"
#include "tests/shortened.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define KERNELS      "additive_reference,additive_gradient_tile"

static const struct {
    claimed_device claims;
    const char *tile;
} devices[] = {
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64},
     "ROWS=4 COLS=1 VALUE_COLS=1 BLOCK_M=32 BLOCK_N=32 BLOCK_K=16 DIM_MAX=32 WG_SIZE=64"},
    {{.is_gpu = 1, .local_memory = 32768, .work_group = 128},
     "ROWS=4 COLS=1 VALUE_COLS=1 BLOCK_M=64 BLOCK_N=32 BLOCK_K=16 DIM_MAX=32 WG_SIZE=128"},
};

/* In short only the one whose programs test_additive.c has, too: PoCL takes a minute of the
 * processor to compile those of a tile. The least device has the reference cases in
 * `ci/matrix.sh --quick`, behind small limits, and sizes around its tile only in full. */
static bool is_left_out(size_t d)
{
    return is_shortened() && d != 1;
}

/* Calls body with a context and dispatcher of each device. */
static void each_device(additive_body body)
{
    for (size_t d = 0; d < COUNT(devices); d++) {
        if (is_left_out(d))
            continue;
        clattn_context *context = claimed_open(&devices[d].claims, KERNELS);
        clattn_dispatcher *dispatcher = rig_dispatcher(context);
        body(context, dispatcher);
        clattn_dispatcher_destroy(dispatcher);
        rig_close(context);
    }
}

/* Twice the same, against the oracle. */
static void run(clattn_context *context, clattn_dispatcher *dispatcher, additive_problem *p,
                double scale)
{
    additive_problem again = *p;
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < CLATTN_SLOT_LIMIT; slot++)
        if (p->value[slot] && slot != CLATTN_SLOT_W_SCORE && slot != CLATTN_SLOT_CHANNEL_BIAS) {
            again.value[slot] = calloc((size_t)p->count[slot] + 1, sizeof(float));
            cr_assert_not_null(again.value[slot]);
        }
    additive_run(context, dispatcher, p);
    additive_check(p, scale);
    additive_run(context, dispatcher, &again);
    for (int slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        if (again.value[slot] != p->value[slot]) {
            cr_assert_eq(
                memcmp(again.value[slot], p->value[slot], (size_t)p->count[slot] * sizeof(float)),
                0, "%s: slot %d has other bits on repetition", rig_said(), slot);
            free(again.value[slot]);
        }
}

static void run_form(clattn_context *context, clattn_dispatcher *dispatcher,
                     const additive_form *form)
{
    additive_problem p;
    additive_make(form, &p);
    run(context, dispatcher, &p, 1);
    additive_free(&p);
}

/* Queries and keys about the tile's 32 or 64 and the block's 32, channels about slices of 16,
 * dimensions about parts of 32; primes. */
static const additive_form sizes[] = {
    {1, 1, 1, 1, 1, 1, .bias = true},
    {0, 1, 5, 7, 3, 4, .bias = true},
    {2, 1, 0, 7, 3, 4, .bias = true},
    {2, 1, 5, 0, 3, 4, .bias = true, .mask = true},
    {1, 2, 31, 33, 15, 31, .bias = true},
    {1, 1, 32, 32, 16, 32, .mask = true},
    {1, 1, 33, 31, 17, 33, .bias = true, .layout = ADDITIVE_STEPS},
    {2, 1, 63, 65, 4, 63, .kv_lengths = true, .by_lse = true},
    {1, 2, 64, 64, 5, 64, .bias = true, .mask = true, .dtype = CLATTN_F16},
    {3, 1, 65, 63, 37, 65, true, true, true, true, true, .size = 1},
    {1, 1, 67, 131, 8, 7, .dtype = CLATTN_BF16},
    {1, 2, 127, 97, 31, 13, .bias = true, .layout = ADDITIVE_REVERSED},
    {2, 1, 97, 129, 9, 97, .mask = true, .q_lengths = true, .layout = ADDITIVE_STEPS},
    {1, 1, 3, 191, 130, 5, .bias = true, .by_lse = true},
    {2, 1, 191, 5, 12, 3, .bias = true, .kv_lengths = true, .layout = ADDITIVE_REVERSED},
    {1, 1, 2, 5, 1031, 577, .bias = true, .mask = true, .dtype = CLATTN_BF16},
};

static void every_size(clattn_context *context, clattn_dispatcher *dispatcher)
{
    for (size_t n = 0; n < COUNT(sizes); n++) {
        additive_form form = sizes[n];
        form.seed = (uint32_t)n + 1;
        rig_say("size %d", (int)n);
        run_form(context, dispatcher, &form);
    }
}

Test(additive_gradient_tile, sizes, .timeout = 900)
{
    each_device(every_size);
}

/* One channel in sixteen of each size, so that groups of channels need every form. */
static void every_form(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float factors[] = {0.01f, 0.1f, 0.2f, 0.3f, 5,  3,    1,    0.4f,
                                    19,    2,    0.1f, 9,    60, 1e5f, 0.1f, 1};
    static const clattn_slot slots[] = {CLATTN_SLOT_Q, CLATTN_SLOT_K, CLATTN_SLOT_CHANNEL_BIAS};
    const additive_form form = {1, 2, 37, 70, 43, 40, .bias = true, .seed = 30};
    additive_problem p;
    additive_make(&form, &p);
    for (size_t n = 0; n < COUNT(slots); n++)
        for (int64_t i = 0; i < p.count[slots[n]]; i++)
            p.value[slots[n]][i] *= factors[i % form.channels % 16];
    rig_say("forms");
    run(context, dispatcher, &p, 4); /* as test_additive.c has it for such magnitudes */
    additive_free(&p);
}

Test(additive_gradient_tile, forms, .timeout = 900)
{
    each_device(every_form);
}

/* x behind lengths of keys and of queries, and where it is said to be invisible. */
static void poison(additive_problem *p, float x)
{
    const additive_form *f = &p->form;
    for (int64_t j = 0; j < f->batch * f->n_head * f->n_kv; j++) {
        const int64_t key = j % f->n_kv, entry = j / f->n_kv / f->n_head;
        if (key != 3 && key < p->kv_lengths[entry])
            continue;
        p->value[CLATTN_SLOT_K][j * f->channels + 1] = x;
        p->value[CLATTN_SLOT_V][(j + 1) * f->value_dim - 1] = x;
    }
    for (int64_t i = 0; i < f->batch * f->n_head * f->n_q; i++) {
        const int64_t query = i % f->n_q, entry = i / f->n_q / f->n_head;
        if (query != 2 && query < p->q_lengths[entry])
            continue;
        p->value[CLATTN_SLOT_Q][(i + 1) * f->channels - 1] = x;
        p->value[CLATTN_SLOT_GRAD_OUT][i * f->value_dim] = x;
        if (query != 2)
            p->value[CLATTN_SLOT_GRAD_LSE][i] = x;
    }
}

/* Key 3 is one that no query but 1 sees, or none at all; query 2 sees nothing. */
static void every_poison(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float kinds[] = {NAN, INFINITY, -INFINITY, 3e38f};
    for (size_t n = 0; n < 2 * COUNT(kinds); n++) {
        const additive_form form = {2,    2,    41,   77,   19,   35,
                                    true, true, true, true, true, .seed = 40 + (uint32_t)n};
        const bool is_seen = n % 2;
        additive_problem p;
        additive_make(&form, &p);
        p.kv_lengths[0] = 5;
        for (int64_t i = 0; i < p.count[CLATTN_SLOT_MASK]; i++)
            if (i % form.n_kv == 3 || i / form.n_kv % form.n_q == 2)
                p.mask[i] = is_seen && i % form.n_kv == 3 && i / form.n_kv % form.n_q == 1;
        poison(&p, kinds[n / 2]);
        rig_say("poison %d", (int)n);
        run(context, dispatcher, &p, 1);
        additive_free(&p);
    }
}

Test(additive_gradient_tile, poison, .timeout = 900)
{
    each_device(every_poison);
}

/* What isn't wanted isn't written, and what is wanted doesn't depend on it. */
static void one_by_one(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const clattn_slot slots[] = {CLATTN_SLOT_GRAD_Q, CLATTN_SLOT_GRAD_K, CLATTN_SLOT_GRAD_V,
                                        CLATTN_SLOT_GRAD_W_SCORE, CLATTN_SLOT_GRAD_CHANNEL_BIAS};
    for (size_t n = 0; n < COUNT(slots); n++) {
        const additive_form form = {2, 2, 35, 70, 21, 34, .bias = true, .seed = 60};
        additive_problem p;
        additive_make(&form, &p);
        for (size_t other = 0; other < COUNT(slots); other++)
            if (other != n) {
                free(p.value[slots[other]]);
                p.value[slots[other]] = NULL;
            }
        rig_say("slot %d alone", (int)slots[n]);
        run(context, dispatcher, &p, 1);
        additive_free(&p);
    }
}

Test(additive_gradient_tile, one_by_one, .timeout = 900)
{
    each_device(one_by_one);
}

/* The contract over several tiles each way, in every form and type. */
static void contract(clattn_context *context, clattn_dispatcher *dispatcher)
{
    static const float magnitudes[] = {1e-4f, 1e-2f, 0.15f, 0.3f, 1, 3, 5.4f, 15, 40};
    for (size_t n = 0; n < COUNT(magnitudes) + 2; n++) {
        const clattn_dtype dtype =
            n < COUNT(magnitudes) ? CLATTN_F32 : (clattn_dtype)(n - COUNT(magnitudes) + CLATTN_F16);
        additive_worst of[CLATTN_SLOT_LIMIT] = {{0, 0, 0}};
        rig_say("contract %d", (int)n);
        for (uint32_t seed = 0; seed < 6; seed++) {
            const additive_form form = {.batch = 1,
                                        .n_head = 1,
                                        .n_q = 40,
                                        .n_kv = 70,
                                        .channels = 36,
                                        .value_dim = 8,
                                        .bias = seed % 2 == 0,
                                        .size = n < COUNT(magnitudes) ? magnitudes[n] : 1,
                                        .w_size = seed % 3 == 2 ? 4 : 1,
                                        .dtype = dtype,
                                        .seed = 300 + seed};
            additive_contract_add(context, dispatcher, &form, of);
        }
        additive_contract_check(of, dtype);
    }
}

Test(additive_gradient_tile, keeps_the_contract, .timeout = 900)
{
    each_device(contract);
}

/* What a plan of such a device runs, of all kernels. */
Test(additive_gradient_tile, devices_have_the_tiles_that_are_tested)
{
    for (size_t d = 0; d < COUNT(devices); d++) {
        if (is_left_out(d)) /* planning compiles */
            continue;
        clattn_context *context = claimed_open(&devices[d].claims, NULL);
        clattn_additive_desc desc;
        clattn_plan *plan;
        clattn_plan_info info = {.struct_size = sizeof info};
        clattn_additive_desc_init(&desc);
        desc.batch = desc.n_head = 1;
        desc.n_q = desc.n_kv = desc.channels = desc.value_dim = 100;
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_V);
        cr_assert_eq(clattn_plan_additive_gradient(context, &desc, &plan), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
        cr_expect_str_eq(info.kernel, "additive_gradient_tile");
        cr_expect(strstr(info.configuration, devices[d].tile), "%s isn't %s", info.configuration,
                  devices[d].tile);
        clattn_plan_destroy(plan);
        rig_close(context);
    }
}
