/* Attention over keys and values in pages gives the bits that it gives over the same ones side by
 * side: page sizes, both orders of a page, lengths, shared pages, every kernel and device. Unused
 * pages and what is behind a length hold NaN. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* A problem, its tensors side by side, and the same keys and values in pages. */
typedef struct paged {
    clattn_attention_desc desc; /* side by side */
    int64_t page_size, limit, pages;
    bool tokens_first;  /* a page is (token, head, dim), not (head, token, dim) */
    float *x[4];        /* by slot, Q to OUT */
    float *pool[2];     /* K, V: (pages, ...) */
    int32_t *table;     /* (batch, limit) */
    int32_t lengths[4]; /* (batch) */
} paged;

static int64_t dim_of(const paged *p, int slot)
{
    return slot == CLATTN_SLOT_V || slot == CLATTN_SLOT_OUT ? p->desc.value_dim : p->desc.head_dim;
}

static int64_t elements(const paged *p, int slot)
{
    const bool keys = slot == CLATTN_SLOT_K || slot == CLATTN_SLOT_V;
    return p->desc.batch *
           (keys ? p->desc.n_kv_head * p->desc.n_kv : p->desc.n_head * p->desc.n_q) *
           dim_of(p, slot);
}

static float *numbers(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < count; i++)
        x[i] = rig_number(&seed);
    return x;
}

/* Where token j of entry b, head h is in the pool. */
static int64_t place(const paged *p, int slot, int64_t b, int64_t h, int64_t j)
{
    const int64_t page = p->table[b * p->limit + j / p->page_size], heads = p->desc.n_kv_head;
    const int64_t token = j % p->page_size;
    return (page * heads * p->page_size +
            (p->tokens_first ? token * heads + h : h * p->page_size + token)) *
           dim_of(p, slot);
}

/* The last page first. */
static void make_table(paged *p)
{
    const int64_t count = p->desc.batch * p->limit;
    p->pages = count + 3;
    p->table = malloc((size_t)count * sizeof *p->table);
    cr_assert_not_null(p->table);
    for (int64_t i = 0; i < count; i++)
        p->table[i] = (int32_t)(p->pages - 1 - i);
}

static void fill_pool(paged *p, int slot)
{
    const int64_t dim = dim_of(p, slot);
    const int64_t count = p->pages * p->desc.n_kv_head * p->page_size * dim;
    float *pool = p->pool[slot - CLATTN_SLOT_K] = malloc((size_t)count * sizeof *pool);
    cr_assert_not_null(pool);
    for (int64_t i = 0; i < count; i++)
        pool[i] = NAN;
    for (int64_t b = 0; b < p->desc.batch; b++)
        for (int64_t h = 0; h < p->desc.n_kv_head; h++)
            for (int64_t j = 0; j < p->lengths[b]; j++)
                memcpy(pool + place(p, slot, b, h, j),
                       p->x[slot] + ((b * p->desc.n_kv_head + h) * p->desc.n_kv + j) * dim,
                       (size_t)dim * sizeof *pool);
}

static void make(paged *p, const rig_shape *shape, int64_t page_size, bool tokens_first)
{
    memset(p, 0, sizeof *p);
    clattn_attention_desc *d = &p->desc;
    clattn_attention_desc_init(d);
    d->batch = shape->batch;
    d->n_head = shape->n_head;
    d->n_kv_head = shape->n_kv_head;
    d->n_q = shape->n_q;
    d->n_kv = shape->n_kv;
    d->head_dim = shape->head_dim;
    d->value_dim = shape->value_dim;
    d->causal = shape->align != CLATTN_ALIGN_NONE;
    d->align = shape->align;
    d->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    p->page_size = page_size;
    p->tokens_first = tokens_first;
    p->limit = (shape->n_kv + page_size - 1) / page_size + 1;
    for (int64_t b = 0; b < shape->batch; b++)
        p->lengths[b] = (int32_t)(shape->n_kv - b * (shape->n_kv / 3));
    for (int slot = 0; slot < 4; slot++)
        p->x[slot] = numbers(elements(p, slot), (uint32_t)slot + 5);
    make_table(p);
    if (shape->batch > 1 && p->lengths[1] >= page_size) { /* it shares the first page of entry 0 */
        p->table[p->limit] = p->table[0];
        for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++)
            for (int64_t h = 0; h < shape->n_kv_head; h++)
                memcpy(p->x[slot] + (shape->n_kv_head + h) * shape->n_kv * dim_of(p, slot),
                       p->x[slot] + h * shape->n_kv * dim_of(p, slot),
                       (size_t)(page_size * dim_of(p, slot)) * sizeof(float));
    }
    fill_pool(p, CLATTN_SLOT_K);
    fill_pool(p, CLATTN_SLOT_V);
}

static void unmake(paged *p)
{
    for (int slot = 0; slot < 4; slot++)
        free(p->x[slot]);
    free(p->pool[0]);
    free(p->pool[1]);
    free(p->table);
}

/* The description of the same in pages. */
static clattn_attention_desc in_pages(const paged *p)
{
    clattn_attention_desc d = p->desc;
    d.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES);
    d.page_size = p->page_size;
    d.n_pages = p->pages;
    d.page_limit = p->limit;
    for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++) {
        const int64_t dim = dim_of(p, slot), heads = d.n_kv_head;
        const int64_t stride[4] = {heads * p->page_size * dim,
                                   p->tokens_first ? dim : p->page_size * dim,
                                   p->tokens_first ? heads * dim : dim, 1};
        d.tensor[slot].strided = 1;
        memcpy(d.tensor[slot].stride, stride, sizeof stride);
    }
    return d;
}

/* Runs it into a new array, owned by the caller. */
static float *run(clattn_context *context, paged *p, bool pages)
{
    const clattn_attention_desc desc = pages ? in_pages(p) : p->desc;
    const int64_t count = elements(p, CLATTN_SLOT_OUT);
    float *out = numbers(count, 1);
    for (int64_t i = 0; i < count; i++)
        out[i] = NAN;
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, p->x[CLATTN_SLOT_Q]},
        {CLATTN_SLOT_K, 0, pages ? p->pool[0] : p->x[CLATTN_SLOT_K]},
        {CLATTN_SLOT_V, 0, pages ? p->pool[1] : p->x[CLATTN_SLOT_V]},
        {CLATTN_SLOT_OUT, 0, out},
        {CLATTN_SLOT_KV_LENGTHS, 0, p->lengths},
        {CLATTN_SLOT_PAGES, 0, p->table},
    };
    cr_assert_eq(clattn_run(context, &desc, bindings, pages ? 6 : 5), CLATTN_OK, "%s: %s",
                 rig_said(), clattn_error_message());
    return out;
}

static const rig_shape shapes[] = {
    {2, 4, 2, 1, 700, 64, 64, CLATTN_ALIGN_NONE},
    {3, 3, 1, 4, 130, 40, 24, CLATTN_ALIGN_BOTTOM_RIGHT},
    {2, 2, 2, 60, 300, 64, 32, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 2, 1, 20, 600, 33, 17, CLATTN_ALIGN_NONE},
    {3, 2, 1, 1, 1, 16, 16, CLATTN_ALIGN_NONE},
};

static void all_pages(clattn_context *context, const char *kernel)
{
    static const int64_t sizes[] = {1, 5, 16, 64, 1000};
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (size_t n = 0; n < 2 * COUNT(sizes); n++) {
            paged p;
            make(&p, &shapes[i], sizes[n / 2], n % 2);
            rig_say("%s, shape %d, pages of %d, %s", kernel, (int)i, (int)sizes[n / 2],
                    n % 2 ? "tokens first" : "heads first");
            float *expected = run(context, &p, false), *out = run(context, &p, true);
            const size_t size = (size_t)elements(&p, CLATTN_SLOT_OUT) * sizeof(float);
            for (size_t e = 0; e < size / sizeof(float); e++)
                cr_assert(isfinite(out[e]), "%s: element %d", rig_said(), (int)e);
            cr_assert_eq(memcmp(expected, out, size), 0, "%s", rig_said());
            free(expected);
            free(out);
            unmake(&p);
        }
}

Test(pages, give_the_same_bits)
{
    rig_each_kernel(all_pages);
}

/* Host arrays are looked at: pages that don't exist, where tokens are. */
Test(pages, that_do_not_exist)
{
    clattn_context *context = rig_open();
    paged p;
    make(&p, &shapes[0], 64, false);
    p.table[p.limit - 1] = -1; /* behind the last token */
    free(run(context, &p, true));
    const int32_t wrong[] = {-1, (int32_t)p.pages, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const clattn_attention_desc desc = in_pages(&p);
        p.table[2] = wrong[i];
        const clattn_host_binding bindings[] = {
            {CLATTN_SLOT_Q, 0, p.x[0]},
            {CLATTN_SLOT_K, 0, p.pool[0]},
            {CLATTN_SLOT_V, 0, p.pool[1]},
            {CLATTN_SLOT_OUT, 0, p.x[3]},
            {CLATTN_SLOT_KV_LENGTHS, 0, p.lengths},
            {CLATTN_SLOT_PAGES, 0, p.table},
        };
        cr_assert_eq(clattn_run(context, &desc, bindings, COUNT(bindings)), CLATTN_ERR_ARGUMENT);
        cr_assert(strstr(clattn_error_message(), "PAGES: page 2 of entry 0"), "%s",
                  clattn_error_message());
    }
    unmake(&p);
    rig_close(context);
}
