/* The gradient of the bias in tiles, on devices that claim to be GPUs of every size that has a tile
 * of its own: each way in which a bias is shared, with sizes around the tiles, and each option that
 * decides who sees whom; poison in what must not count, nothing to sum, and the same bits again.
 * What every kernel for gradients must do is in test_gradient.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "claimed_opencl.h"
#include "tests/shortened.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT          VARIETY_BIT
#define BOTTOM       CLATTN_ALIGN_BOTTOM_RIGHT
#define TOP          CLATTN_ALIGN_TOP_LEFT
#define WAYS         16 /* of sharing: bit d, dimension d */

/* Queries and keys of a tile, and the most dimensions that it has. */
typedef struct tile_device {
    claimed_device claims;
    int64_t queries, keys, dim;
    const char *tile;
} tile_device;

static const tile_device devices[] = {
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64},
     32,
     32,
     64,
     "BLOCK_M=32 BLOCK_N=32 BLOCK_K=16 DIM_MAX=64"},
    {{.is_gpu = 1, .local_memory = 32768, .work_group = 128},
     64,
     32,
     64,
     "BLOCK_M=64 BLOCK_N=32 BLOCK_K=16 DIM_MAX=64"},
    {{.is_gpu = 1, .local_memory = 16384, .work_group = 64},
     16,
     64,
     256,
     "BLOCK_M=16 BLOCK_N=64 BLOCK_K=8 DIM_MAX=256"},
    {{.is_gpu = 1, .local_memory = 65536, .work_group = 256},
     16,
     192,
     576,
     "BLOCK_M=16 BLOCK_N=192 BLOCK_K=8 DIM_MAX=576"},
};

/* In short the least device alone: test_gradient.c has the second's tile, too. */
static size_t device_count(void)
{
    return is_shortened() ? 1 : COUNT(devices);
}

static void open_device(const tile_device *device)
{
    fuzz_target t = {.kernel = "gradient_tile", .must_accept = true};
    t.context = claimed_open(&device->claims, "gradient_tile");
    cr_assert_eq(clattn_dispatcher_create(t.context, NULL, &t.dispatcher), CLATTN_OK);
    variety_target[variety_targets++] = t;
}

/* A problem whose bias is shared over the dimensions of `way`. */
static fuzz_problem make(const variety *of, const variety_size *size, uint64_t index, int way)
{
    fuzz_problem p;
    variety_make(of, size, 0, index, &p);
    variety_take_gradient(&p);
    p.poison = FUZZ_BOTH; /* clean and poisoned: the same bits */
    p.poison_kind = (int)(index % 5);
    p.tensor[CLATTN_SLOT_BIAS].strided = true;
    p.tensor[CLATTN_SLOT_BIAS].broadcast = (uint8_t)way;
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < FUZZ_SLOTS; slot++)
        p.tensor[slot].present = slot == CLATTN_SLOT_GRAD_BIAS;
    return p;
}

static void check(const fuzz_problem *p, const char *name, int way)
{
    char text[80];
    fuzz_set set;
    snprintf(text, sizeof text, "%s, shared %d", name, way);
    fuzz_set_make(p, &set);
    variety_check(p, &set, text);
    fuzz_set_free(&set);
}

/* --- sizes ------------------------------------------------------------------------------------ */

static const variety plain = {"plain", BIT(BIAS), VARIETY_F32, 0, {.index = 0}};

/* One less than a tile, a tile, one more; of queries and of keys; primes of several. */
static void each_size(const tile_device *device)
{
    const int64_t m = device->queries, n = device->keys, d = device->dim;
    const variety_size sizes[] = {
        {1, 1, 1, d},         {m - 1, n - 1, d - 1, 5},  {m, n, d, 3},        {m + 1, n + 1, 5, d},
        {2 * m + 3, n, d, 8}, {m, 2 * n + 5, d - 3, 17}, {131, 67, 11, d - 5}};
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int way = 0; way < WAYS; way++) {
            fuzz_problem p = make(&plain, &sizes[s], s * WAYS + (size_t)way, way);
            check(&p, "sizes", way);
        }
}

Test(gradient_bias_tile, sizes, .timeout = 1800)
{
    for (size_t d = 0; d < device_count(); d++) {
        open_device(&devices[d]);
        each_size(&devices[d]);
        variety_close();
    }
}

/* Zeros have to be written where nothing is summed. */
Test(gradient_bias_tile, nothing, .timeout = 1800)
{
    static const variety_size sizes[] = {{0, 5, 3, 2}, {5, 0, 3, 2}, {0, 0, 4, 4}, {5, 7, 4, 4}};
    open_device(&devices[0]);
    for (size_t n = 0; n < COUNT(sizes) * WAYS; n++) {
        const int way = (int)(n % WAYS);
        fuzz_problem p = make(&plain, &sizes[n / WAYS], n, way);
        if (p.n_q && p.n_kv)
            p.batch = 0;
        check(&p, "nothing", way);
    }
    variety_close();
}

/* --- options ---------------------------------------------------------------------------------- */

static const variety options[] = {
    {"causal", BIT(BIAS), VARIETY_F32, 0, {.causal = true, .align = BOTTOM}},
    {"causal, top left", BIT(BIAS), VARIETY_GAPS, 0, {.causal = true, .align = TOP}},
    {"window",
     BIT(BIAS),
     VARIETY_F16,
     0,
     {.has_window = true, .align = BOTTOM, .window_left = 9, .window_right = 5}},
    {"window, lengths",
     BIT(BIAS) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS),
     VARIETY_F32,
     0,
     {.has_window = true, .align = BOTTOM, .window_left = 9, .window_right = 5}},
    {"query lengths", BIT(BIAS) | BIT(Q_LENGTHS), VARIETY_F32, 0, {.causal = true, .align = TOP}},
    {"window of one key", BIT(BIAS), VARIETY_F32, 0, {.has_window = true, .align = TOP}},
    {"queries beyond all keys",
     BIT(BIAS),
     VARIETY_F32,
     0,
     {.causal = true, .align = CLATTN_ALIGN_OFFSET, .align_offset = -40}},
    {"mask", BIT(BIAS) | BIT(MASK), VARIETY_BF16, 0, {.softcap = 2}},
    {"lengths",
     BIT(BIAS) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS) | BIT(SINK),
     VARIETY_GAPS,
     0,
     {.causal = true, .align = BOTTOM}},
    {"ragged",
     BIT(BIAS),
     VARIETY_F32,
     0,
     {.ragged = true, .spare_q = 3, .spare_kv = 5, .causal = true, .align = BOTTOM}},
    {"ragged, past",
     BIT(BIAS),
     VARIETY_MIXED,
     0,
     {.ragged = true, .spare_kv = 5, .n_past = 19, .causal = true, .align = BOTTOM}},
    {"past", BIT(BIAS) | BIT(KV_LENGTHS), VARIETY_GAPS, 0, {.n_past = 33}},
    {"blocks", BIT(BIAS) | BIT(KV_LENGTHS), VARIETY_F32, 13, {.causal = true, .align = BOTTOM}},
    {"narrow blocks", BIT(BIAS) | BIT(MASK), VARIETY_F32, 3, {.index = 0}},
    {"wide blocks", BIT(BIAS), VARIETY_F32, 48, {.index = 0}},
    {"dropout", BIT(BIAS) | BIT(ALIBI), VARIETY_F32, 0, {.dropout = 0.3F, .align = TOP}},
    {"hiding",
     BIT(BIAS),
     VARIETY_F32,
     0,
     {.tensor[CLATTN_SLOT_BIAS].values = FUZZ_HIDING, .softcap = 3}},
};

/* Heads, and those of keys, which groups of them share. */
static void set_heads(fuzz_problem *p, size_t n)
{
    static const int64_t heads[][2] = {{2, 1}, {4, 2}, {3, 3}, {5, 1}, {6, 2}};
    p->n_head = heads[n % COUNT(heads)][0];
    p->n_kv_head = heads[n % COUNT(heads)][1];
}

static void each_option(const tile_device *device, int ways)
{
    const int64_t m = device->queries, most = device->keys, d = device->dim;
    const variety_size sizes[] = {{m + 7, 2 * most + 11, d - 3, 12}, {2 * m + 5, most - 3, 9, d}};
    for (size_t n = 0; n < COUNT(options); n++)
        for (int w = 0; w < ways; w++) {
            const int way = (int)((n + (size_t)w * (WAYS / (size_t)ways)) % WAYS);
            const size_t index = n + (size_t)w;
            const size_t size = (n + (size_t)w / 2) % COUNT(sizes);
            fuzz_problem p = make(&options[n], &sizes[size], index, way);
            set_heads(&p, index);
            check(&p, options[n].name, way);
        }
}

Test(gradient_bias_tile, options, .timeout = 1800)
{
    for (size_t d = 0; d < device_count(); d++) {
        open_device(&devices[d]);
        each_option(&devices[d], d ? 2 : WAYS);
        variety_close();
    }
}

/* The caller's functions are programs of their own. */
Test(gradient_bias_tile, functions, .timeout = 1800)
{
    static const variety_size size = {35, 71, 12, 20};
    open_device(&devices[0]);
    for (int n = 0; n < 2 * WAYS; n++) {
        const variety of = {
            "functions", BIT(BIAS) | BIT(KV_LENGTHS), VARIETY_F32, 0, {.functions = 1 + n / WAYS}};
        fuzz_problem p = make(&of, &size, (uint64_t)n, n % WAYS);
        check(&p, "functions", n % WAYS);
    }
    variety_close();
}

/* --- bits ------------------------------------------------------------------------------------- */

/* What GRAD_BIAS is, in `set`, which is filled as it was before. */
static void run(const fuzz_problem *p, const fuzz_set *before, fuzz_set *set)
{
    char why[256] = "";
    fuzz_set_copy(before, set);
    cr_assert_eq(fuzz_run(&variety_target[0], p, set, why, sizeof why), CLATTN_OK, "%s", why);
    variety_target[0].ran++;
}

Test(gradient_bias_tile, the_same_bits_again, .timeout = 1800)
{
    static const variety_size size = {131, 67, 37, 53};
    open_device(&devices[0]);
    for (int way = 0; way < WAYS; way++) {
        fuzz_set before, first, again;
        fuzz_problem p = make(&options[0], &size, (uint64_t)way, way);
        p.poison = FUZZ_CLEAN;
        fuzz_set_make(&p, &before);
        run(&p, &before, &first);
        for (int n = 0; n < 5; n++) {
            run(&p, &before, &again);
            cr_assert_eq(memcmp(first.slot[CLATTN_SLOT_GRAD_BIAS].bytes,
                                again.slot[CLATTN_SLOT_GRAD_BIAS].bytes,
                                first.slot[CLATTN_SLOT_GRAD_BIAS].size),
                         0, "shared %d", way);
            fuzz_set_free(&again);
        }
        fuzz_set_free(&before);
        fuzz_set_free(&first);
    }
    variety_close();
}

/* --- which tiles these are -------------------------------------------------------------------- */

Test(gradient_bias_tile, devices_have_the_tiles_that_are_tested)
{
    for (size_t d = 0; d < COUNT(devices); d++) {
        clattn_attention_desc desc;
        clattn_plan *plan = NULL;
        clattn_plan_info info = {.struct_size = sizeof info};
        const variety_size size = {3, 3, devices[d].dim, 1};
        fuzz_problem p = make(&plain, &size, 0, 0);
        open_device(&devices[d]);
        fuzz_describe(&p, &desc);
        cr_assert_eq(clattn_plan_attention_gradient(variety_target[0].context, &desc, &plan),
                     CLATTN_OK, "%s", clattn_error_message());
        cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
        cr_expect_str_eq(info.kernel, "gradient_tile");
        cr_expect(strstr(info.configuration, devices[d].tile), "%s", info.configuration);
        clattn_plan_destroy(plan);
        variety_target[0].ran++;
        variety_close();
    }
}
