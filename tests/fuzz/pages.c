/* See pages.h. */
#include "pages.h"

#include <stdlib.h>
#include <string.h>

static void describe(const fuzz_problem *p, clattn_attention_desc *desc)
{
    desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES);
    desc->cascade = p->cascade;
    desc->page_size = p->page_size;
    desc->page_limit = p->n_kv ? (p->n_kv + p->page_size - 1) / p->page_size : 1;
    desc->n_pages = p->batch * desc->page_limit + 1; /* one is nobody's */
}

/* Strides of K or V in pages. */
static void describe_tensor(const fuzz_problem *p, int64_t dim, clattn_tensor *tensor)
{
    tensor->strided = 1;
    tensor->stride[3] = 1;
    tensor->stride[2] = p->tokens_first ? p->n_kv_head * dim : dim;
    tensor->stride[1] = p->tokens_first ? dim : p->page_size * dim;
    tensor->stride[0] = p->n_kv_head * p->page_size * dim;
}

/* The tokens of K or V into their pages. */
static void *fill(const fuzz_problem *p, const fuzz_set *set, int slot,
                  const clattn_attention_desc *desc, const int32_t *table)
{
    const int64_t *stride = desc->tensor[slot].stride;
    const int64_t dim = slot == CLATTN_SLOT_K ? p->head_dim : p->value_dim;
    const fuzz_memory *m = &set->slot[slot];
    const size_t size = (size_t)fuzz_size_of(m->dtype);
    const size_t count = (size_t)(desc->n_pages * stride[0]);
    unsigned char *pool = fuzz_alloc(count, size);
    memset(pool, 0xff, count * size);
    for (int64_t n = 0; n < p->batch * p->n_kv_head * p->n_kv * dim; n++) {
        const int64_t d = n % dim, j = n / dim % p->n_kv;
        const int64_t h = n / dim / p->n_kv % p->n_kv_head, b = n / dim / p->n_kv / p->n_kv_head;
        const int64_t at[] = {b, h, j, d};
        const int64_t page = table[b * desc->page_limit + j / p->page_size];
        const int64_t to =
            page * stride[0] + h * stride[1] + j % p->page_size * stride[2] + d * stride[3];
        memcpy(pool + (size_t)to * size, m->bytes + (size_t)fuzz_element(p, set, slot, at) * size,
               size);
    }
    return pool;
}

void fuzz_pages_make(const fuzz_problem *p, const fuzz_set *set, clattn_attention_desc *desc,
                     fuzz_pages *pages)
{
    describe(p, desc);
    const int64_t count = p->batch * desc->page_limit;
    pages->table = fuzz_alloc((size_t)count, sizeof *pages->table);
    for (int64_t n = 0; n < count; n++)
        pages->table[n] = (int32_t)(count - n);
    for (int values = 0; values < 2; values++) {
        const int slot = CLATTN_SLOT_K + values;
        describe_tensor(p, values ? p->value_dim : p->head_dim, &desc->tensor[slot]);
        pages->pool[values] = fill(p, set, slot, desc, pages->table);
    }
}

void fuzz_pages_free(fuzz_pages *pages)
{
    free(pages->pool[0]);
    free(pages->pool[1]);
    free(pages->table);
}
