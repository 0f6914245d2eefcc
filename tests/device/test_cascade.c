/* Batch entries that share pages: with cascade the same bits as without, whatever they share, where
 * it ends, and what the queries see. What nobody may read holds NaN. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { BATCH = 7, DIM = 24, VALUE_DIM = 40, KV_HEADS = 2, N_KV = 2100 };

static const struct {
    int64_t page_size, n_head, n_q, window;
} cases[] = {{16, 2, 1, -1}, {64, 8, 1, -1}, {1, 4, 3, -1}, {5, 2, 2, 700}, {512, 6, 4, 90}};

/* Tokens that an entry has, of which so many are those of an earlier entry (itself: none). */
static const struct {
    int32_t length, shared, from;
} entries[BATCH] = {{2100, 0, 0},    {2000, 1600, 0}, {1024, 1024, 0}, {1300, 511, 0},
                    {1700, 1600, 1}, {0, 0, 5},       {1024, 1000, 6}};

/* A problem, and its results with and without. */
typedef struct cascade {
    clattn_attention_desc desc;
    int64_t pages;
    float *q, *pool[2], *out[2], *lse[2];
    int32_t *table, lengths[BATCH];
} cascade;

static float *numbers(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)count * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = seed ? rig_number(&seed) : NAN;
    return x;
}

/* Pages of an entry: those of another as far as they are shared, then its own. */
static void make_table(cascade *c, int64_t page_size)
{
    const int64_t limit = c->desc.page_limit;
    c->table = calloc((size_t)(BATCH * limit), sizeof *c->table);
    cr_assert_not_null(c->table);
    for (int64_t b = 0; b < BATCH; b++) {
        const int64_t shared = entries[b].shared / page_size;
        for (int64_t n = 0; n < limit; n++)
            c->table[b * limit + n] = n < shared ? c->table[entries[b].from * limit + n]
                                                 : (int32_t)(BATCH * limit - 1 - (b * limit + n));
        c->lengths[b] = entries[b].length;
    }
}

/* NaN behind what is the only sequence's or the longest one's. */
static void hide_rest(cascade *c)
{
    const int64_t limit = c->desc.page_limit, size = c->desc.page_size;
    char *seen = calloc((size_t)(c->pages * size), 1);
    cr_assert_not_null(seen);
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t i = 0; i < c->lengths[b]; i++)
            seen[c->table[b * limit + i / size] * size + i % size] = 1;
    for (int slot = 0; slot < 2; slot++)
        for (int64_t n = 0; n < c->pages * KV_HEADS * size; n++) {
            const int64_t dim = slot ? VALUE_DIM : DIM;
            const int64_t token = n / size / KV_HEADS * size + n % size;
            for (int64_t d = 0; !seen[token] && d < dim; d++)
                c->pool[slot][n * dim + d] = NAN;
        }
    free(seen);
}

static void make(cascade *c, size_t n)
{
    memset(c, 0, sizeof *c);
    clattn_attention_desc *desc = &c->desc;
    clattn_attention_desc_init(desc);
    desc->batch = BATCH;
    desc->n_head = cases[n].n_head;
    desc->n_kv_head = KV_HEADS;
    desc->n_q = cases[n].n_q;
    desc->n_kv = N_KV;
    desc->head_dim = DIM;
    desc->value_dim = VALUE_DIM;
    desc->causal = 1;
    desc->align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc->has_window = cases[n].window >= 0;
    desc->window_left = cases[n].window;
    desc->page_size = cases[n].page_size;
    desc->page_limit = (N_KV + desc->page_size - 1) / desc->page_size;
    c->pages = desc->n_pages = BATCH * desc->page_limit;
    desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES) | CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS) |
                  CLATTN_SLOT_BIT(CLATTN_SLOT_LSE);
    make_table(c, desc->page_size);
    const int64_t rows = BATCH * desc->n_head * desc->n_q;
    const int64_t tokens = c->pages * KV_HEADS * desc->page_size;
    c->q = numbers(rows * DIM, 1);
    c->pool[0] = numbers(tokens * DIM, 2);
    c->pool[1] = numbers(tokens * VALUE_DIM, 3);
    hide_rest(c);
    for (int with = 0; with < 2; with++) {
        c->out[with] = numbers(rows * VALUE_DIM, 0);
        c->lse[with] = numbers(rows, 0);
    }
}

static void unmake(cascade *c)
{
    free(c->q);
    free(c->table);
    for (int i = 0; i < 2; i++) {
        free(c->pool[i]);
        free(c->out[i]);
        free(c->lse[i]);
    }
}

static void run(clattn_context *context, cascade *c, uint32_t with)
{
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, c->q},
        {CLATTN_SLOT_K, 0, c->pool[0]},
        {CLATTN_SLOT_V, 0, c->pool[1]},
        {CLATTN_SLOT_OUT, 0, c->out[with]},
        {CLATTN_SLOT_LSE, 0, c->lse[with]},
        {CLATTN_SLOT_PAGES, 0, c->table},
        {CLATTN_SLOT_KV_LENGTHS, 0, c->lengths},
    };
    c->desc.cascade = with;
    cr_assert_eq(clattn_run(context, &c->desc, bindings, 7), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
}

static void every_case(clattn_context *context, const char *kernel)
{
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        cascade c;
        rig_say("%s, case %d", kernel, (int)n);
        make(&c, n);
        run(context, &c, 0);
        run(context, &c, 1);
        const size_t rows = (size_t)(BATCH * c.desc.n_head * c.desc.n_q);
        cr_assert(!isnan(c.out[0][0]) && !isnan(c.lse[0][0]));
        cr_assert_eq(memcmp(c.out[0], c.out[1], rows * VALUE_DIM * sizeof(float)), 0,
                     "%s: other bits", rig_said());
        cr_assert_eq(memcmp(c.lse[0], c.lse[1], rows * sizeof(float)), 0, "%s: other bits of LSE",
                     rig_said());
        unmake(&c);
    }
}

Test(cascade, has_the_same_bits, .timeout = 250)
{
    rig_each_kernel(every_case);
}
