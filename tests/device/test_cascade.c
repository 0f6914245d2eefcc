/* Batch entries that share pages: with cascade the same bits as without, whatever they share, where
 * it ends, what the queries see, how keys are stored and what becomes of scores. What nobody may
 * read holds NaN. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 7, KV_HEADS = 2, N_KV = 2100 };

enum { WITH_MASK = 1, WITH_SINK = 2, WITH_ALIBI = 4, WITH_SOFTCAP = 8, WITH_ALL = 15 };

typedef struct cascade_case {
    int64_t page_size, n_head, n_q, window, dim[2]; /* head_dim, value_dim */
    clattn_dtype type;                              /* of K and V */
    int64_t channels;
    int options;
} cascade_case;

/* Every kernel. */
static const cascade_case plain[] = {{16, 2, 1, -1, {24, 40}, CLATTN_F32, 0, 0},
                                     {64, 8, 1, -1, {24, 40}, CLATTN_F32, 0, 0},
                                     {1, 4, 3, -1, {24, 40}, CLATTN_F32, 0, 0},
                                     {5, 2, 2, 700, {24, 40}, CLATTN_F32, 0, 0},
                                     {512, 6, 4, 90, {24, 40}, CLATTN_F32, 0, 0}};

/* The kernel that has something to share. */
static const cascade_case others[] = {
    {16, 4, 2, -1, {24, 40}, CLATTN_F32, 0, WITH_ALL},
    {16, 2, 1, -1, {24, 40}, CLATTN_F16, 0, WITH_MASK},
    {64, 8, 1, -1, {24, 40}, CLATTN_BF16, 0, WITH_SINK | WITH_SOFTCAP},
    {16, 4, 3, -1, {40, 72}, CLATTN_I8, 0, WITH_ALIBI},
    {5, 2, 2, 700, {64, 32}, CLATTN_I4, 32, WITH_SOFTCAP | WITH_MASK},
    {16, 6, 4, -1, {32, 64}, CLATTN_I8, 32, WITH_ALL},
    {16, 8, 1, -1, {48, 34}, CLATTN_I4, 0, WITH_ALL},
};

/* Tokens that an entry has, of which so many are those of an earlier entry (itself: none). */
static const struct {
    int32_t length, shared, from;
} entries[BATCH] = {{2100, 0, 0},    {2000, 1600, 0}, {1024, 1024, 0}, {1300, 511, 0},
                    {1700, 1600, 1}, {0, 0, 5},       {1024, 1000, 6}};

/* A problem, and its results with and without. */
typedef struct cascade {
    const cascade_case *of;
    clattn_attention_desc desc;
    int64_t pages;
    float *q, *out[2], *lse[2], *sink, *alibi;
    void *pool[2];    /* K, V: (pages, KV_HEADS, page_size, dim) */
    float *scales[2]; /* of integers, (pages, KV_HEADS, page_size, groups) */
    unsigned char *mask;
    int32_t *table, lengths[BATCH];
} cascade;

static void *room(int64_t count, size_t size)
{
    void *made = calloc((size_t)count + 1, size);
    cr_assert_not_null(made);
    return made;
}

static float *numbers(int64_t count, uint32_t seed)
{
    float *x = room(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = seed ? rig_number(&seed) : NAN;
    return x;
}

static bool is_of_integers(const cascade *c)
{
    return c->of->type == CLATTN_I8 || c->of->type == CLATTN_I4;
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Pages of an entry: those of another as far as they are shared, then its own. */
static void make_table(cascade *c, int64_t page_size)
{
    const int64_t limit = c->desc.page_limit;
    c->table = room(BATCH * limit, sizeof *c->table);
    for (int64_t b = 0; b < BATCH; b++) {
        const int64_t shared = entries[b].shared / page_size;
        for (int64_t n = 0; n < limit; n++)
            c->table[b * limit + n] = n < shared ? c->table[entries[b].from * limit + n]
                                                 : (int32_t)(BATCH * limit - 1 - (b * limit + n));
        c->lengths[b] = entries[b].length;
    }
}

/* Which tokens of the pages some entry has; what is behind them is NaN. */
static char *tokens_seen(const cascade *c)
{
    const int64_t limit = c->desc.page_limit, size = c->desc.page_size;
    char *seen = room(c->pages * size, 1);
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t i = 0; i < c->lengths[b]; i++)
            seen[c->table[b * limit + i / size] * size + i % size] = 1;
    return seen;
}

/* Row n of a pool from what it is as floats; scales are what integers hide behind. */
static void store_row(cascade *c, int part, int64_t n, const float *x)
{
    const int64_t dim = c->of->dim[part], groups = c->of->channels ? dim / c->of->channels : 1;
    for (int64_t g = 0; is_of_integers(c) && g < groups; g++)
        c->scales[part][n * groups + g] = (fabsf(x[g]) + 0.1f) / 100;
    for (int64_t d = 0; d < dim; d++) {
        const int64_t at = n * dim + d;
        if (c->of->type == CLATTN_F32)
            ((float *)c->pool[part])[at] = x[d];
        else if (c->of->type == CLATTN_I8)
            ((int8_t *)c->pool[part])[at] = (int8_t)(isnan(x[d]) ? 1 : x[d] * 127);
        else if (c->of->type == CLATTN_I4)
            ((uint8_t *)c->pool[part])[at / 2] ^= (uint8_t)(at * 2654435761u >> 24);
        else
            ((uint16_t *)c->pool[part])[at] =
                c->of->type == CLATTN_F16 ? oracle_to_f16(x[d]) : oracle_to_bf16(x[d]);
    }
}

static void make_pools(cascade *c)
{
    const int64_t size = c->desc.page_size, rows = c->pages * KV_HEADS * size;
    char *seen = tokens_seen(c);
    uint32_t state = 2;
    float x[128];
    for (int part = 0; part < 2; part++) {
        c->pool[part] = room(rows * c->of->dim[part], sizeof(float));
        c->scales[part] = room(rows * c->of->dim[part], sizeof(float));
        for (int64_t n = 0; n < rows; n++) {
            const char is_seen = seen[n / size / KV_HEADS * size + n % size];
            for (int64_t d = 0; d < c->of->dim[part]; d++)
                x[d] = is_seen ? rig_number(&state) : NAN;
            store_row(c, part, n, x);
        }
    }
    free(seen);
}

/* ---- problems -------------------------------------------------------------------------------- */

static void describe(cascade *c)
{
    const cascade_case *of = c->of;
    clattn_attention_desc *desc = &c->desc;
    clattn_attention_desc_init(desc);
    desc->batch = BATCH;
    desc->n_head = of->n_head;
    desc->n_kv_head = KV_HEADS;
    desc->n_q = of->n_q;
    desc->n_kv = N_KV;
    desc->head_dim = of->dim[0];
    desc->value_dim = of->dim[1];
    desc->causal = 1;
    desc->align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc->has_window = of->window >= 0;
    desc->window_left = of->window;
    desc->softcap = of->options & WITH_SOFTCAP ? 1.5f : 0;
    desc->page_size = of->page_size;
    desc->page_limit = (N_KV + desc->page_size - 1) / desc->page_size;
    desc->n_pages = c->pages = BATCH * desc->page_limit;
    desc->tensor[CLATTN_SLOT_K].dtype = desc->tensor[CLATTN_SLOT_V].dtype = of->type;
    desc->scale_channels = of->channels;
}

static void make(cascade *c, const cascade_case *of)
{
    memset(c, 0, sizeof *c);
    c->of = of;
    describe(c);
    make_table(c, of->page_size);
    make_pools(c);
    const int64_t rows = BATCH * of->n_head * of->n_q;
    uint32_t state = 9;
    c->q = numbers(rows * of->dim[0], 1);
    c->sink = numbers(of->n_head, 4);
    c->alibi = numbers(of->n_head, 5);
    c->mask = room(rows * N_KV, 1);
    for (int64_t i = 0; i < rows * N_KV; i++)
        c->mask[i] = rig_number(&state) < 0.5f;
    for (int with = 0; with < 2; with++) {
        c->out[with] = numbers(rows * of->dim[1], 0);
        c->lse[with] = numbers(rows, 0);
    }
}

static void unmake(cascade *c)
{
    free(c->q);
    free(c->sink);
    free(c->alibi);
    free(c->mask);
    free(c->table);
    for (int i = 0; i < 2; i++) {
        free(c->pool[i]);
        free(c->scales[i]);
        free(c->out[i]);
        free(c->lse[i]);
    }
}

/* Names the optional slots in the description; returns how many bindings there are. */
static uint32_t bind(cascade *c, uint32_t with, clattn_host_binding *bindings)
{
    const int options = c->of->options;
    const struct {
        clattn_slot slot;
        void *data;
        bool takes_part;
    } table[] = {
        {CLATTN_SLOT_Q, c->q, true},
        {CLATTN_SLOT_K, c->pool[0], true},
        {CLATTN_SLOT_V, c->pool[1], true},
        {CLATTN_SLOT_OUT, c->out[with], true},
        {CLATTN_SLOT_LSE, c->lse[with], true},
        {CLATTN_SLOT_PAGES, c->table, true},
        {CLATTN_SLOT_KV_LENGTHS, c->lengths, true},
        {CLATTN_SLOT_K_SCALES, c->scales[0], is_of_integers(c)},
        {CLATTN_SLOT_V_SCALES, c->scales[1], is_of_integers(c)},
        {CLATTN_SLOT_MASK, c->mask, options & WITH_MASK},
        {CLATTN_SLOT_SINK, c->sink, options & WITH_SINK},
        {CLATTN_SLOT_ALIBI, c->alibi, options & WITH_ALIBI},
    };
    uint32_t count = 0;
    c->desc.slots = 0;
    for (size_t i = 0; i < COUNT(table); i++) {
        if (!table[i].takes_part)
            continue;
        bindings[count++] = (clattn_host_binding){table[i].slot, 0, table[i].data};
        if (i > 3)
            c->desc.slots |= CLATTN_SLOT_BIT(table[i].slot);
    }
    return count;
}

static void run(clattn_context *context, cascade *c, uint32_t with)
{
    clattn_host_binding bindings[12];
    const uint32_t count = bind(c, with, bindings);
    c->desc.cascade = with;
    cr_assert_eq(clattn_run(context, &c->desc, bindings, count), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
}

static void run_case(clattn_context *context, const char *kernel, const cascade_case *of)
{
    cascade c;
    make(&c, of);
    run(context, &c, 0);
    run(context, &c, 1);
    if (of->options || of->type != CLATTN_F32)
        rig_expect_kernel(context, &c.desc, kernel);
    const size_t rows = (size_t)(BATCH * of->n_head * of->n_q);
    for (size_t i = 0; i < rows * (size_t)of->dim[1]; i++)
        cr_assert(!isnan(c.out[0][i]), "%s: element %d", rig_said(), (int)i);
    cr_assert_eq(memcmp(c.out[0], c.out[1], rows * (size_t)of->dim[1] * sizeof(float)), 0,
                 "%s: other bits", rig_said());
    cr_assert_eq(memcmp(c.lse[0], c.lse[1], rows * sizeof(float)), 0, "%s: other bits of LSE",
                 rig_said());
    unmake(&c);
}

static void every_case(clattn_context *context, const char *kernel)
{
    for (size_t n = 0; n < COUNT(plain); n++) {
        rig_say("%s, case %d", kernel, (int)n);
        run_case(context, kernel, &plain[n]);
    }
}

Test(cascade, has_the_same_bits, .timeout = 750)
{
    rig_each_kernel(every_case);
}

/* Other kernels read nothing together. */
static void every_other_case(clattn_context *context, const char *kernel)
{
    if (strcmp(kernel, "attention_decode_simd") != 0)
        return;
    for (size_t n = 0; n < COUNT(others); n++) {
        rig_say("%s, other case %d", kernel, (int)n);
        run_case(context, kernel, &others[n]);
    }
}

Test(cascade, has_the_same_bits_of_any_type_and_option, .timeout = 750)
{
    rig_each_kernel(every_other_case);
}
