/* Gradients in tiles, on every device: sizes around the tiles of each shape, in every type, with
 * poison in what must not count; heads that share keys; block lists narrower than tiles; gradients
 * one by one; and the same bits again. What every kernel for gradients must do is in
 * test_gradient.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/shortened.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT          VARIETY_BIT
#define BOTTOM       CLATTN_ALIGN_BOTTOM_RIGHT

/* Tiles have 16, 32 or 64 queries or keys, blocks 32 to 192 of the others, by the dimensions: one
 * less, the same, one more; primes. */
static const variety_size sizes[] = {
    {1, 1, 1, 1},        {31, 63, 64, 64},    {32, 64, 64, 7},     {33, 65, 5, 64},
    {67, 131, 37, 53},   {63, 31, 65, 128},   {64, 32, 128, 66},   {65, 33, 97, 101},
    {127, 15, 129, 256}, {128, 16, 256, 256}, {129, 17, 192, 131}, {191, 15, 257, 576},
    {192, 16, 576, 31},  {193, 17, 576, 576},
};

/* Plain and with options, which are programs of their own. */
static const variety options[] = {
    {"plain", 0, VARIETY_F32, 0, {.causal = true, .align = BOTTOM}},
    {"options",
     BIT(BIAS) | BIT(SINK) | BIT(Q_LENGTHS) | BIT(KV_LENGTHS),
     VARIETY_F32,
     0,
     {.softcap = 3, .dropout = 0.2F}},
};

/* In short only those of one shape: others are programs of their own, too. */
static size_t size_count(void)
{
    return is_shortened() ? 5 : COUNT(sizes);
}

/* Any device has a shape for dimensions up to 256. */
static void check(fuzz_problem *p, const char *name)
{
    fuzz_set set;
    for (uint32_t n = 0; n < variety_targets; n++)
        variety_target[n].must_accept = p->head_dim <= 256 && p->value_dim <= 256;
    fuzz_set_make(p, &set);
    variety_check(p, &set, name);
    fuzz_set_free(&set);
}

/* A problem of gradients, of an option in a type. */
static fuzz_problem make(const variety *option, variety_storage storage, const variety_size *size,
                         uint64_t index)
{
    variety of = *option;
    fuzz_problem p;
    of.storage = storage;
    variety_make(&of, size, 0, index, &p);
    variety_take_gradient(&p);
    p.poison = FUZZ_BOTH; /* clean and poisoned: the same bits */
    p.poison_kind = (int)(index % 5);
    return p;
}

static void open_tiles(void)
{
    variety_open_kernel("gradient_tile", true);
}

Test(gradient_tile, around_tiles)
{
    open_tiles();
    for (size_t n = 0; n < size_count() * COUNT(options); n++) {
        char name[80];
        const size_t size = n / COUNT(options);
        const variety *option = &options[n % COUNT(options)];
        fuzz_problem p = make(option, (variety_storage)(n % VARIETY_SHARED), &sizes[size], n);
        snprintf(name, sizeof name, "%s, dimensions %d and %d", option->name, (int)p.head_dim,
                 (int)p.value_dim);
        check(&p, name);
    }
    variety_close();
}

/* Heads that share keys, one after the other, each with queries that don't see the tile. */
Test(gradient_tile, shared_heads)
{
    static const variety_size size = {70, 75, 24, 40};
    static const int64_t heads[][2] = {{1, 1}, {2, 2}, {4, 2}, {5, 1}, {6, 2}};
    static const variety window = {
        "",
        0,
        VARIETY_F32,
        0,
        {.has_window = true, .align = BOTTOM, .window_left = 9, .window_right = 5}};
    open_tiles();
    for (size_t n = 0; n < COUNT(heads); n++) {
        fuzz_problem p = make(&window, (variety_storage)(n % VARIETY_SHARED), &size, n);
        p.n_head = heads[n][0];
        p.n_kv_head = heads[n][1];
        check(&p, "shared heads");
    }
    variety_close();
}

/* Several runs of keys in a tile, and queries of several lists in one block of them. */
Test(gradient_tile, narrow_lists)
{
    static const variety_size size = {75, 70, 24, 40};
    static const int64_t widths[] = {1, 3, 13, 48, 100};
    open_tiles();
    for (size_t n = 0; n < COUNT(widths); n++) {
        const variety list = {
            "", BIT(KV_LENGTHS), VARIETY_F32, widths[n], {.causal = n % 2, .align = BOTTOM}};
        fuzz_problem p = make(&list, VARIETY_F32, &size, n);
        check(&p, "list");
    }
    variety_close();
}

/* What isn't wanted isn't written, past keys and new ones each for itself. */
Test(gradient_tile, one_by_one)
{
    static const variety row = {"", 0, VARIETY_F32, 0, {.n_past = 19}};
    static const int slots[] = {CLATTN_SLOT_GRAD_Q, CLATTN_SLOT_GRAD_K, CLATTN_SLOT_GRAD_V,
                                CLATTN_SLOT_GRAD_PAST_K, CLATTN_SLOT_GRAD_PAST_V};
    open_tiles();
    for (size_t n = 0; n < COUNT(slots); n++) {
        fuzz_problem p = make(&row, VARIETY_F32, &sizes[4], n);
        for (int other = CLATTN_SLOT_GRAD_Q; other < FUZZ_SLOTS; other++)
            p.tensor[other].present = other == slots[n];
        check(&p, "one");
    }
    variety_close();
}

/* --- bits ------------------------------------------------------------------------------------- */

/* Runs a problem and fails unless what it writes is what `first` has. */
static void compare_run(fuzz_target *t, const fuzz_problem *p, const fuzz_set *before,
                        fuzz_set *first)
{
    fuzz_set after;
    char why[256] = "";
    fuzz_set_copy(before, &after);
    cr_assert_eq(fuzz_run(t, p, &after, why, sizeof why), CLATTN_OK, "%s", why);
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < FUZZ_SLOTS; slot++)
        if (fuzz_has(p, slot))
            cr_assert_eq(
                memcmp(after.slot[slot].bytes, first->slot[slot].bytes, after.slot[slot].size), 0,
                "other bits in slot %d", slot);
    fuzz_set_free(&after);
    t->ran++;
}

Test(gradient_tile, the_same_bits_again)
{
    open_tiles();
    for (uint32_t n = 0; n < variety_targets * COUNT(options); n++) {
        fuzz_target *t = &variety_target[n / COUNT(options)];
        fuzz_set before, first;
        char why[256] = "";
        fuzz_problem p = make(&options[n % COUNT(options)], VARIETY_F32, &sizes[4], n);
        p.poison = FUZZ_CLEAN;
        fuzz_set_make(&p, &before);
        fuzz_set_copy(&before, &first);
        cr_assert_eq(fuzz_run(t, &p, &first, why, sizeof why), CLATTN_OK, "%s", why);
        for (int again = 0; again < 20; again++)
            compare_run(t, &p, &before, &first);
        fuzz_set_free(&before);
        fuzz_set_free(&first);
    }
    variety_close();
}
