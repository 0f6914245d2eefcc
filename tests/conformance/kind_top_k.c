/* Torch cases of the kind "top_k": each query attends to the k keys of highest score. Keys and
 * values in pages must give the same bits as side by side, whatever the pages' size. */
#include <stdlib.h>
#include <string.h>

#include "call_names.h"

static const slot_name inputs[] = {
    {"q", CLATTN_SLOT_Q, LAYOUT_PLAIN},
    {"k", CLATTN_SLOT_K, LAYOUT_PLAIN},
    {"v", CLATTN_SLOT_V, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const slot_name outputs[] = {
    {"out", CLATTN_SLOT_OUT, LAYOUT_PLAIN},
    {"weights", CLATTN_SLOT_WEIGHTS, LAYOUT_PLAIN},
    {"indices", CLATTN_SLOT_INDICES, LAYOUT_PLAIN},
    {NULL, 0, LAYOUT_PLAIN},
};

static const char *const attributes[] = {"k", NULL};

static bool set_extents(attention_call *call)
{
    const npy_array *q = input_of_rank(call, CLATTN_SLOT_Q, 4);
    const npy_array *k = input_of_rank(call, CLATTN_SLOT_K, 4);
    const npy_array *v = input_of_rank(call, CLATTN_SLOT_V, 4);
    clattn_attention_desc *d = &call->desc;
    if (!q || !k || !v)
        return false;
    d->batch = q->shape[0];
    d->n_head = q->shape[1];
    d->n_q = q->shape[2];
    d->head_dim = q->shape[3];
    d->n_kv_head = k->shape[1];
    d->n_kv = k->shape[2];
    d->value_dim = v->shape[3];
    d->top_k = (int64_t)case_number(call->c, "k", 0);
    return true;
}

/* ---- in pages -------------------------------------------------------------------------------- */

/* The same call with keys and values in pages, and memory of its own for what is compared. */
typedef struct paged {
    clattn_attention_desc desc;
    unsigned char *data[CLATTN_SLOT_LIMIT]; /* by slot, owned */
    int32_t *table;                         /* (batch, page_limit), the last page first */
} paged;

/* Every byte that no token has is 0xff, which makes a NaN. */
static unsigned char *make_pool(const attention_call *call, const paged *p, clattn_slot slot)
{
    const npy_array *array = call->slot[slot].array; /* (batch, n_kv_head, n_kv, dim) */
    const int64_t heads = array->shape[1], tokens = array->shape[2], size = p->desc.page_size;
    const size_t row = (size_t)array->shape[3] * npy_type_size(call->slot[slot].memory);
    const size_t bytes = (size_t)(p->desc.n_pages * heads * size) * row;
    unsigned char *pool = malloc(bytes + 1);
    if (!pool)
        return NULL;
    memset(pool, 0xff, bytes);
    for (int64_t n = 0; n < p->desc.batch * heads * tokens; n++) {
        const int64_t b = n / tokens / heads, h = n / tokens % heads, token = n % tokens;
        const int64_t page = p->table[b * p->desc.page_limit + token / size];
        memcpy(pool + (size_t)((page * heads + h) * size + token % size) * row,
               call->slot[slot].data + (size_t)n * row, row);
    }
    return pool;
}

/* Outputs that are compared with what the case has; others go to the first call's memory. */
static size_t compared_size(const call_slot *slot)
{
    return slot->result ? (size_t)slot->array->count * npy_type_size(slot->memory) : 0;
}

static bool make_paged(const attention_call *call, int64_t page_size, paged *p)
{
    *p = (paged){.desc = call->desc};
    clattn_attention_desc *d = &p->desc;
    d->page_size = page_size;
    d->page_limit = (d->n_kv + page_size - 1) / page_size;
    d->n_pages = d->batch * d->page_limit + 1; /* one is nobody's */
    d->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES);
    p->table = malloc((size_t)d->n_pages * sizeof *p->table);
    for (int64_t n = 0; p->table && n < d->n_pages; n++)
        p->table[n] = (int32_t)(d->n_pages - 1 - n);
    for (int i = CLATTN_SLOT_K; p->table && i <= CLATTN_SLOT_V; i++) {
        d->tensor[i] = (clattn_tensor){.dtype = d->tensor[i].dtype};
        p->data[i] = make_pool(call, p, (clattn_slot)i);
    }
    bool made = p->data[CLATTN_SLOT_K] && p->data[CLATTN_SLOT_V];
    for (int i = CLATTN_SLOT_OUT; i < CLATTN_SLOT_LIMIT; i++)
        if (compared_size(&call->slot[i])) {
            p->data[i] = calloc(compared_size(&call->slot[i]), 1);
            made = made && p->data[i];
        }
    return made;
}

static void free_paged(paged *p)
{
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++)
        free(p->data[i]);
    free(p->table);
}

/* NULL, or what is wrong. */
static const char *compare_in_pages(const attention_call *call, const paged *p)
{
    clattn_host_binding bindings[CLATTN_SLOT_LIMIT + 1] = {{CLATTN_SLOT_PAGES, 0, p->table}};
    uint32_t count = 1;
    for (int i = 0; i < CLATTN_SLOT_LIMIT; i++)
        if (call->slot[i].takes_part)
            bindings[count++] = (clattn_host_binding){(clattn_slot)i, 0,
                                                      p->data[i] ? p->data[i] : call->slot[i].data};
    if (clattn_run(call->context, &p->desc, bindings, count) != CLATTN_OK)
        return clattn_error_message();
    for (int i = CLATTN_SLOT_OUT; i < CLATTN_SLOT_LIMIT; i++)
        if (p->data[i] &&
            memcmp(p->data[i], call->slot[i].data, compared_size(&call->slot[i])) != 0)
            return "other bits than side by side";
    return NULL;
}

/* What was computed side by side doesn't count where pages give something else. */
static void run_in_pages(attention_call *call, int64_t page_size)
{
    paged p;
    const bool made = make_paged(call, page_size, &p);
    const char *wrong = made ? compare_in_pages(call, &p) : "no memory";
    free_paged(&p);
    for (int i = 0; wrong && i < CLATTN_SLOT_LIMIT; i++)
        if (call->slot[i].result && call->slot[i].result->computed) {
            npy_free(&call->slot[i].result->array);
            call->slot[i].result->computed = false;
        }
    if (wrong)
        results_decline(call->c, call->r, "in pages of %d tokens: %s", (int)page_size, wrong);
}

/* Oclgrind can't run what compilers make of divisions by the page size: see ci/matrix.py. */
static void run_both_ways(attention_call *call)
{
    static const int64_t sizes[] = {1, 16, 64};
    const bool ran = attention_call_run_forward(call) && !getenv("CLATTN_TEST_NO_PAGES");
    for (size_t i = 0; ran && i < sizeof sizes / sizeof sizes[0]; i++)
        run_in_pages(call, sizes[i]);
    attention_call_finish(call);
}

void run_top_k(clattn_context *context, const test_case *c, results *r)
{
    attention_call call;
    attention_call_init(&call, context, c, r);
    give_inputs(&call, inputs);
    want_outputs(&call, outputs);
    if (!set_extents(&call))
        results_decline(c, r, "q, k and v must be there and have 4 dimensions");
    else if (knows_all(&call, attributes))
        run_both_ways(&call);
    results_decline(c, r, "no slot is for this output");
}
