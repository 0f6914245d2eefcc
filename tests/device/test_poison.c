/* What must not count changes no bit: NaN, infinities and 1e30 in everything that no rule lets be
 * read (hidden keys and values by every kind of mask, lengths, gaps, tails), for every option on
 * every kernel and device. And what is visible shows: a NaN reaches all results that it must. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/random.h"
#include "tests/shortened.h"
#include "varieties.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define KINDS        5 /* of poison: NaN, infinities, 1e30, -1e30 */
#define STEP         (is_shortened() ? KINDS : 1)

/* Blocks of 48 queries, panels of 8 to 64 keys, blocks of 256 keys, splits of 512: one less, the
 * same, one more. */
static const variety_size sizes[] = {
    {49, 65, 20, 17},  {48, 64, 64, 64}, {47, 63, 16, 33}, {97, 17, 65, 8},  {96, 16, 31, 80},
    {2, 257, 40, 129}, {1, 256, 8, 16},  {33, 255, 24, 1}, {3, 513, 40, 33},
};

/* --- poison ----------------------------------------------------------------------------------- */

static void poison(const variety *of, size_t size, int kind)
{
    fuzz_problem p;
    fuzz_set set;
    const uint64_t index = size * KINDS + (uint64_t)kind;
    variety_make(of, &sizes[size], index % 2 ? VARIETY_OUTPUTS : VARIETY_BIT(LSE), index, &p);
    p.poison = FUZZ_BOTH;
    p.poison_kind = kind;
    fuzz_set_make(&p, &set);
    variety_check(&p, &set, of->name);
    fuzz_set_free(&set);
}

Test(poison, changes_no_bit)
{
    variety_open();
    for (size_t n = 0; n < variety_count; n++)
        for (int kind = (int)n % STEP; kind < KINDS; kind += STEP)
            poison(&varieties[n], (n + 3 * (size_t)kind) % COUNT(sizes), kind);
    variety_close();
}

/* --- whole rows and blocks that are hidden ---------------------------------------------------- */

typedef bool (*pattern)(int64_t i, int64_t j, int64_t n_kv);

static bool every_third_row(int64_t i, int64_t j, int64_t n_kv)
{
    return i % 3 != 0 && j <= n_kv;
}
static bool first_block_of_rows(int64_t i, int64_t j, int64_t n_kv)
{
    return i < 48 && j <= n_kv;
}
static bool second_block_of_rows(int64_t i, int64_t j, int64_t n_kv)
{
    return i >= 48 && j <= n_kv;
}
static bool last_row(int64_t i, int64_t j, int64_t n_kv)
{
    return i == 96 && j <= n_kv;
}
static bool last_key(int64_t i, int64_t j, int64_t n_kv)
{
    return j == n_kv - 1 && i >= 0;
}
static bool first_key(int64_t i, int64_t j, int64_t n_kv)
{
    return j == 0 && i < n_kv;
}
static bool last_block_of_keys(int64_t i, int64_t j, int64_t n_kv)
{
    return j >= 256 && i < n_kv;
}
static bool first_block_of_keys(int64_t i, int64_t j, int64_t n_kv)
{
    return j < 256 && i < n_kv;
}
static bool odd_panels(int64_t i, int64_t j, int64_t n_kv)
{
    return (j / 8 + i / 6) % 2 && j < n_kv;
}
static bool wide_panels(int64_t i, int64_t j, int64_t n_kv)
{
    return (j / 64 + i / 48) % 2 && j < n_kv;
}
static bool diagonal(int64_t i, int64_t j, int64_t n_kv)
{
    return i == j && j < n_kv;
}
static bool nothing(int64_t i, int64_t j, int64_t n_kv)
{
    return i < 0 && j < n_kv;
}

static const struct {
    const char *name;
    pattern sees;
} patterns[] = {
    {"every third row hidden", every_third_row},
    {"rows from 48 on hidden", first_block_of_rows},
    {"rows to 47 hidden", second_block_of_rows},
    {"one row sees", last_row},
    {"the last key alone", last_key},
    {"the first key alone", first_key},
    {"keys to 255 hidden", last_block_of_keys},
    {"keys from 256 on hidden", first_block_of_keys},
    {"every second panel", odd_panels},
    {"every second wide panel", wide_panels},
    {"the diagonal", diagonal},
    {"nothing visible", nothing},
};

/* By a mask, or by a bias of -inf. */
static void hide(const fuzz_problem *p, fuzz_set *set, int slot, pattern sees)
{
    int64_t at[5] = {0};
    for (at[0] = 0; at[0] < p->batch; at[0]++)
        for (at[1] = 0; at[1] < p->n_head; at[1]++)
            for (at[2] = 0; at[2] < p->n_q; at[2]++)
                for (at[3] = 0; at[3] < fuzz_keys(p); at[3]++) {
                    const bool visible = sees(at[2], at[3], fuzz_keys(p));
                    const double bias = visible ? 0.125 * (double)(at[3] % 5) : -(double)INFINITY;
                    fuzz_store(&set->slot[slot], fuzz_element(p, set, slot, at),
                               slot == CLATTN_SLOT_MASK ? visible : bias);
                }
}

Test(poison, hidden_rows_and_blocks)
{
    static const variety_size of[] = {{97, 255, 12, 9}, {95, 256, 12, 9}, {96, 257, 12, 9},
                                      {49, 321, 12, 9}, {7, 513, 12, 9},  {5, 514, 24, 17}};
    static const variety with[] = {
        {"", VARIETY_BIT(MASK), VARIETY_F32, 0, {.index = 0}},
        {"softcap 1", VARIETY_BIT(MASK), VARIETY_GAPS, 0, {.softcap = 1}},
        {"bias", VARIETY_BIT(BIAS), VARIETY_F32, 0, {.index = 0}},
        {"softcap 5, bias", VARIETY_BIT(BIAS) | VARIETY_BIT(SINK), VARIETY_F16, 0, {.softcap = 5}},
        {"softcap 2, causal",
         VARIETY_BIT(MASK),
         VARIETY_F32,
         0,
         {.softcap = 2, .causal = true, .align = CLATTN_ALIGN_BOTTOM_RIGHT}},
        {"dropout", VARIETY_BIT(MASK), VARIETY_F32, 0, {.dropout = 0.4F}},
    };
    variety_open();
    for (size_t n = 0; n < COUNT(patterns) * COUNT(of); n += STEP) {
        const variety *row = &with[n % COUNT(with)];
        const size_t size = n / COUNT(with) % COUNT(of);
        fuzz_problem p;
        fuzz_set set;
        char name[80];
        variety_make(row, &of[size], n % 2 ? VARIETY_OUTPUTS : VARIETY_BIT(LSE), n, &p);
        p.batch = 1;
        p.poison = FUZZ_BOTH;
        p.poison_kind = (int)n % KINDS;
        fuzz_set_make(&p, &set);
        hide(&p, &set, row->slots & VARIETY_BIT(MASK) ? CLATTN_SLOT_MASK : CLATTN_SLOT_BIAS,
             patterns[n / COUNT(of)].sees);
        snprintf(name, sizeof name, "%s, %s", patterns[n / COUNT(of)].name, row->name);
        variety_check(&p, &set, name);
        fuzz_set_free(&set);
    }
    variety_close();
}

/* --- what is visible -------------------------------------------------------------------------- */

/* Puts a NaN into an element that counts; false where there is none. */
static bool plant(const fuzz_problem *p, fuzz_set *set, int slot, fuzz_random *r)
{
    fuzz_expected e;
    fuzz_memory *m = &set->slot[slot];
    int64_t chosen = -1, seen = 0;
    if (!m->bytes)
        return false;
    fuzz_expect(p, set, &e);
    for (int64_t n = 0; n < m->elements; n++)
        if (e.used[slot][n] && fuzz_between(r, 0, seen++) == 0)
            chosen = n;
    fuzz_expected_free(&e);
    if (chosen < 0)
        return false;
    fuzz_store(m, chosen, (double)NAN);
    return true;
}

/* The comparison wants NaN wherever the oracle has it, and nowhere else. */
static void show(const variety *of, int slot, size_t size)
{
    fuzz_problem p;
    fuzz_set set;
    char name[80];
    fuzz_random r = fuzz_random_of(size, (uint64_t)slot);
    variety_make(of, &sizes[size], size % 2 ? VARIETY_OUTPUTS : VARIETY_BIT(LSE), size, &p);
    p.poison = FUZZ_POISON; /* marks what counts */
    p.poison_kind = 3;
    fuzz_set_make(&p, &set);
    snprintf(name, sizeof name, "%s, NaN in %s", of->name, fuzz_slot_of(slot)->name);
    /* Dropped weights times NaN are nobody's promise. */
    if (p.dropout == 0 && plant(&p, &set, slot, &r)) {
        const bool must_show = !fuzz_has(&p, CLATTN_SLOT_SCORES); /* of pairs that nobody sees */
        cr_assert(variety_check(&p, &set, name) || !must_show, "%s: the oracle hides it", name);
    }
    fuzz_set_free(&set);
}

Test(poison, a_visible_nan_shows)
{
    static const int slots[] = {CLATTN_SLOT_Q,    CLATTN_SLOT_K,      CLATTN_SLOT_V,
                                CLATTN_SLOT_BIAS, CLATTN_SLOT_PAST_K, CLATTN_SLOT_PAST_V};
    variety_open();
    for (size_t n = 0; n < variety_count; n++)
        for (size_t s = n % STEP; s < COUNT(slots); s += STEP)
            show(&varieties[n], slots[s], (n + s) % COUNT(sizes));
    variety_close();
}
