/* Returned weights and scores in tiles, on the least device that claims to be a GPU: sizes around
 * the tile, every option, poison in what must not count, each output alone, lists and heads that a
 * block of keys is asked for again and again, and the same bits again. What every kernel must do is
 * in test_kernels.c and test_poison.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "claimed_opencl.h"
#include "tests/shortened.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT          VARIETY_BIT
#define BOTTOM       CLATTN_ALIGN_BOTTOM_RIGHT
#define OUTPUTS      (VARIETY_OUTPUTS | BIT(SCORES))
#define QUERIES      32 /* of a tile */
#define KEYS         64

static const claimed_device least = {.is_gpu = 1, .local_memory = 16384, .work_group = 64};

static void open_device(const claimed_device *claims)
{
    fuzz_target t = {.kernel = "attention_tile", .must_accept = true};
    t.context = claimed_open(claims, "attention_tile");
    cr_assert_eq(clattn_dispatcher_create(t.context, NULL, &t.dispatcher), CLATTN_OK);
    variety_target[variety_targets++] = t;
}

/* A problem with these outputs; where it has scores, of a stage that goes by the index. */
static fuzz_problem make(const variety *of, const variety_size *size, uint64_t outputs,
                         uint64_t index)
{
    fuzz_problem p;
    variety_make(of, size, outputs, index, &p);
    if (!(of->slots & BIT(SCORES)) && outputs & BIT(SCORES))
        p.score_stage = (clattn_score_stage)(index % 4);
    p.poison = FUZZ_BOTH; /* clean and poisoned: the same bits */
    p.poison_kind = (int)(index % 5);
    return p;
}

static void check(const fuzz_problem *p, const char *name)
{
    fuzz_set set;
    fuzz_set_make(p, &set);
    variety_check(p, &set, name);
    fuzz_set_free(&set);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* One less than a tile, a tile, one more; up to a tile of queries, and several; nothing. */
static const variety_size sizes[] = {
    {1, 1, 1, 1},
    {QUERIES - 1, KEYS - 1, 17, 5},
    {QUERIES, KEYS, 16, 3},
    {QUERIES + 1, KEYS + 1, 15, 64},
    {5, 2 * KEYS + 3, 64, 7},
    {3 * QUERIES + 7, 3 * KEYS - 4, 33, 20},
    {2 * QUERIES, 4 * KEYS, 576, 9},
    {0, 5, 3, 2},
    {5, 0, 3, 2},
};

/* Plain and with options, which are programs of their own. */
static const variety forms[] = {
    {"plain", 0, VARIETY_F32, 0, {.index = 0}},
    {"causal", 0, VARIETY_F16, 0, {.causal = true, .align = BOTTOM}},
    {"options",
     BIT(BIAS) | BIT(MASK) | BIT(SINK) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS),
     VARIETY_F32,
     0,
     {.softcap = 3, .dropout = 0.2F, .weights_dropped = true}},
};

Test(weights_tile, around_tiles, .timeout = 1800)
{
    open_device(&least);
    for (size_t n = 0; n < COUNT(sizes) * COUNT(forms); n++) {
        const size_t form = n % COUNT(forms);
        const fuzz_problem p =
            make(&forms[form], &sizes[n / COUNT(forms)], OUTPUTS, n / COUNT(forms) + form);
        check(&p, forms[form].name);
    }
    variety_close();
}

/* --- options ---------------------------------------------------------------------------------- */

/* With one tile of queries and with several. The caller's functions are programs of their own, one
 * of which is enough in short. */
Test(weights_tile, options, .timeout = 1800)
{
    static const variety_size of[] = {{QUERIES + 11, 2 * KEYS + 7, 20, 12},
                                      {QUERIES - 3, KEYS + 5, 37, 30}};
    open_device(&least);
    for (size_t n = 0; n < variety_count; n++) {
        if (is_shortened() && varieties[n].p.functions % 3)
            continue;
        for (size_t size = 0; size < COUNT(of); size++) {
            const fuzz_problem p = make(&varieties[n], &of[size], OUTPUTS, n + size);
            check(&p, varieties[n].name);
        }
    }
    variety_close();
}

/* What isn't wanted isn't written. */
Test(weights_tile, one_by_one, .timeout = 1800)
{
    static const uint64_t outputs[] = {
        BIT(WEIGHTS), BIT(WEIGHTS_MEAN),          BIT(WEIGHTS_SUM),
        BIT(SCORES),  BIT(WEIGHTS) | BIT(SCORES), BIT(WEIGHTS_MEAN) | BIT(SCORES)};
    open_device(&least);
    for (size_t n = 0; n < COUNT(outputs) * 4; n++) {
        const fuzz_problem p = make(&forms[n / 4 % 2], &sizes[n % 2 ? 5 : 4], outputs[n / 4], n);
        check(&p, "one output");
    }
    variety_close();
}

/* Several runs of keys in a block and several blocks in a run, with a list for each head, and of
 * one head that goes on in its list; heads that share keys or not. */
Test(weights_tile, lists, .timeout = 1800)
{
    static const int64_t widths[] = {1, 3, 13, 48, 100, 300};
    static const int64_t heads[][2] = {{1, 1}, {4, 2}, {3, 3}, {5, 1}};
    static const uint64_t outputs[] = {BIT(WEIGHTS), BIT(WEIGHTS) | BIT(SCORES), OUTPUTS};
    static const variety_size size = {2 * QUERIES + 5, 5 * KEYS + 3, 24, 8};
    open_device(&least);
    for (size_t n = 0; n < COUNT(widths) * COUNT(outputs); n++) {
        const variety list = {"lists",
                              BIT(KV_LENGTHS),
                              VARIETY_F32,
                              widths[n / COUNT(outputs)],
                              {.causal = n % 2, .align = BOTTOM}};
        fuzz_problem p = make(&list, &size, outputs[n % COUNT(outputs)], n);
        p.n_head = heads[n % COUNT(heads)][0];
        p.n_kv_head = heads[n % COUNT(heads)][1];
        check(&p, list.name);
    }
    variety_close();
}

/* Tiles of queries, keys and values of other shapes have the same tile of weights. */
Test(weights_tile, beside_large_values, .timeout = 1800)
{
    static const variety_size of[] = {{QUERIES + 3, KEYS + 9, 31, 200},
                                      {QUERIES - 3, KEYS + 9, 31, 576}};
    static const claimed_device large = {.is_gpu = 1, .local_memory = 32768, .work_group = 192};
    for (size_t n = 0; n < (is_shortened() ? 1 : COUNT(of)); n++) {
        open_device(n ? &large : &least);
        const fuzz_problem p = make(&forms[0], &of[n], OUTPUTS, n);
        check(&p, "large values");
        variety_close();
    }
}

/* --- bits ------------------------------------------------------------------------------------- */

static void run(const fuzz_problem *p, const fuzz_set *before, fuzz_set *set)
{
    char why[256] = "";
    fuzz_set_copy(before, set);
    cr_assert_eq(fuzz_run(&variety_target[0], p, set, why, sizeof why), CLATTN_OK, "%s", why);
    variety_target[0].ran++;
}

Test(weights_tile, the_same_bits_again, .timeout = 1800)
{
    static const variety_size size = {3 * QUERIES + 7, 3 * KEYS - 5, 37, 53};
    open_device(&least);
    for (size_t form = 0; form < COUNT(forms); form++) {
        fuzz_set before, first, again;
        fuzz_problem p = make(&forms[form], &size, OUTPUTS, form);
        p.poison = FUZZ_CLEAN;
        fuzz_set_make(&p, &before);
        run(&p, &before, &first);
        for (int n = 0; n < 5; n++) {
            run(&p, &before, &again);
            for (int slot = 0; slot < FUZZ_SLOTS; slot++)
                if (fuzz_has(&p, slot))
                    cr_assert_eq(memcmp(first.slot[slot].bytes, again.slot[slot].bytes,
                                        first.slot[slot].size),
                                 0, "%s: other bits in slot %d", forms[form].name, slot);
            fuzz_set_free(&again);
        }
        fuzz_set_free(&before);
        fuzz_set_free(&first);
    }
    variety_close();
}
