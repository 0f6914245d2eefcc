/* What follows from the values of a problem: shapes, layouts, descriptions. */
#include "problem.h"

#include "functions.h"

/* Extents, by which the table of slots names shapes. */
typedef enum extent {
    ONE,
    PARTS,
    BATCH,
    BATCH_LENGTHS,
    KEY_LENGTHS,
    HEAD,
    KV_HEAD,
    QUERIES,
    KEYS,
    PAST,
    ALL_KEYS,
    DIM,
    VALUE_DIM,
    LISTS,
    LIMIT,
    PARAMS,
    TWO,
    EXTENTS
} extent;

static const struct {
    fuzz_slot slot;
    uint8_t shape[CLATTN_RANK_LIMIT]; /* extents */
} table[FUZZ_SLOTS] = {
    {{"Q", 4, false, true, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, DIM}},
    {{"K", 4, false, true, false, CLATTN_F32}, {BATCH, KV_HEAD, KEYS, DIM}},
    {{"V", 4, false, true, false, CLATTN_F32}, {BATCH, KV_HEAD, KEYS, VALUE_DIM}},
    {{"OUT", 4, true, true, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, VALUE_DIM}},
    {{"LSE", 3, true, false, false, CLATTN_F32}, {BATCH, HEAD, QUERIES}},
    {{"WEIGHTS", 4, true, false, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, ALL_KEYS}},
    {{"MASK", 4, false, false, false, CLATTN_BOOL}, {BATCH, HEAD, QUERIES, ALL_KEYS}},
    {{"BIAS", 4, false, true, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, ALL_KEYS}},
    {{"ALIBI", 1, false, false, true, CLATTN_F32}, {HEAD}},
    {{"SINK", 1, false, false, true, CLATTN_F32}, {HEAD}},
    {{"Q_LENGTHS", 1, false, false, true, CLATTN_I32}, {BATCH_LENGTHS}},
    {{"KV_LENGTHS", 1, false, false, true, CLATTN_I32}, {KEY_LENGTHS}},
    {{"BLOCK_COUNT", 3, false, false, true, CLATTN_I32}, {BATCH, HEAD, LISTS}},
    {{"BLOCK_INDEX", 4, false, false, true, CLATTN_I32}, {BATCH, HEAD, LISTS, LIMIT}},
    {{"PARAMS", 1, false, false, true, CLATTN_F32}, {PARAMS}},
    {{"SEED", 1, false, false, true, CLATTN_I64}, {TWO}},
    {{"PAST_K", 4, false, true, false, CLATTN_F32}, {BATCH, KV_HEAD, PAST, DIM}},
    {{"PAST_V", 4, false, true, false, CLATTN_F32}, {BATCH, KV_HEAD, PAST, VALUE_DIM}},
    {{"PRESENT_K", 4, true, true, false, CLATTN_F32}, {BATCH, KV_HEAD, ALL_KEYS, DIM}},
    {{"PRESENT_V", 4, true, true, false, CLATTN_F32}, {BATCH, KV_HEAD, ALL_KEYS, VALUE_DIM}},
    {{"WEIGHTS_MEAN", 3, true, false, false, CLATTN_F32}, {BATCH, QUERIES, ALL_KEYS}},
    {{"WEIGHTS_SUM", 3, true, false, false, CLATTN_F32}, {BATCH, HEAD, ALL_KEYS}},
    {{"SCORES", 4, true, false, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, ALL_KEYS}},
    {{"PARTIAL_OUT", 5, false, true, false, CLATTN_F32}, {PARTS, BATCH, HEAD, QUERIES, VALUE_DIM}},
    {{"PARTIAL_LSE", 4, false, false, false, CLATTN_F32}, {PARTS, BATCH, HEAD, QUERIES}},
    {{"GRAD_OUT", 4, false, true, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, VALUE_DIM}},
    {{"GRAD_LSE", 3, false, false, false, CLATTN_F32}, {BATCH, HEAD, QUERIES}},
    {{"GRAD_Q", 4, true, true, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, DIM}},
    {{"GRAD_K", 4, true, true, false, CLATTN_F32}, {BATCH, KV_HEAD, KEYS, DIM}},
    {{"GRAD_V", 4, true, true, false, CLATTN_F32}, {BATCH, KV_HEAD, KEYS, VALUE_DIM}},
    {{"GRAD_BIAS", 4, true, true, false, CLATTN_F32}, {BATCH, HEAD, QUERIES, ALL_KEYS}},
    {{"GRAD_SINK", 1, true, false, false, CLATTN_F32}, {HEAD}},
    {{"GRAD_PAST_K", 4, true, true, false, CLATTN_F32}, {BATCH, KV_HEAD, PAST, DIM}},
    {{"GRAD_PAST_V", 4, true, true, false, CLATTN_F32}, {BATCH, KV_HEAD, PAST, VALUE_DIM}},
};

const fuzz_slot *fuzz_slot_of(int slot)
{
    return &table[slot].slot;
}

int fuzz_size_of(clattn_dtype dtype)
{
    static const int size[] = {4, 2, 2, 1, 4, 8};
    return size[dtype];
}

bool fuzz_is_query_slot(int slot)
{
    return slot != CLATTN_SLOT_K && slot != CLATTN_SLOT_V && slot != CLATTN_SLOT_GRAD_K &&
           slot != CLATTN_SLOT_GRAD_V;
}

bool fuzz_has_ragged_keys(const fuzz_problem *p)
{
    return p->ragged && !p->page_size;
}

bool fuzz_is_ragged(const fuzz_problem *p, int slot)
{
    const bool has_tokens =
        slot <= CLATTN_SLOT_LSE || (slot >= CLATTN_SLOT_GRAD_OUT && slot <= CLATTN_SLOT_GRAD_V);
    return has_tokens && (fuzz_is_query_slot(slot) ? p->ragged : fuzz_has_ragged_keys(p));
}

bool fuzz_is_written(const fuzz_problem *p, int slot)
{
    if (p->gradient && (slot == CLATTN_SLOT_OUT || slot == CLATTN_SLOT_LSE))
        return false;
    return fuzz_slot_of(slot)->written;
}

uint8_t fuzz_bias_sums(const fuzz_problem *p)
{
    const fuzz_tensor *own = &p->tensor[CLATTN_SLOT_GRAD_BIAS];
    const fuzz_tensor *as = own->strided ? own : &p->tensor[CLATTN_SLOT_BIAS];
    return as->strided ? as->broadcast : 0;
}

int64_t fuzz_total(const fuzz_problem *p, bool of_queries)
{
    int64_t total = of_queries ? p->spare_q : p->spare_kv;
    for (int64_t b = 0; b < p->batch; b++)
        total += of_queries ? p->q_length[b] : p->kv_length[b];
    return total;
}

static int64_t extent_of(const fuzz_problem *p, extent which)
{
    const int64_t block_q = p->block_q ? p->block_q : 1;
    const int64_t all[EXTENTS] = {[ONE] = 1,
                                  [PARTS] = p->parts,
                                  [BATCH] = p->batch,
                                  [BATCH_LENGTHS] = p->batch + p->ragged,
                                  [KEY_LENGTHS] = p->batch + fuzz_has_ragged_keys(p),
                                  [HEAD] = p->n_head,
                                  [KV_HEAD] = p->n_kv_head,
                                  [QUERIES] = p->n_q,
                                  [KEYS] = p->n_kv,
                                  [PAST] = p->n_past,
                                  [ALL_KEYS] = fuzz_keys(p),
                                  [DIM] = p->head_dim,
                                  [VALUE_DIM] = p->value_dim,
                                  [LISTS] = (p->n_q + block_q - 1) / block_q,
                                  [LIMIT] = p->block_limit,
                                  [PARAMS] = fuzz_functions_of(p->functions)->n_params,
                                  [TWO] = 2};
    return all[which];
}

int fuzz_shape(const fuzz_problem *p, int slot, int64_t shape[CLATTN_RANK_LIMIT])
{
    const int rank = table[slot].slot.rank;
    for (int d = 0; d < CLATTN_RANK_LIMIT; d++)
        shape[d] = d < rank ? extent_of(p, (extent)table[slot].shape[d]) : 1;
    if (fuzz_is_ragged(p, slot)) {
        shape[0] = 1;
        shape[2] = fuzz_total(p, table[slot].shape[2] == QUERIES);
    }
    for (int d = 0; d < rank && slot == CLATTN_SLOT_GRAD_BIAS; d++)
        shape[d] = fuzz_bias_sums(p) >> d & 1 ? 1 : shape[d];
    return rank;
}

/* Row-major; tokens of a ragged problem are (token, head, dim). */
static void set_contiguous(const fuzz_problem *p, int slot, const int64_t *shape, int rank,
                           fuzz_layout *layout)
{
    int64_t run = 1;
    for (int d = rank - 1; d >= 0; d--) {
        layout->stride[d] = run;
        run *= shape[d];
    }
    if (fuzz_is_ragged(p, slot)) {
        const int64_t dim = rank == 4 ? shape[3] : 1;
        layout->stride[1] = dim;
        layout->stride[2] = dim * shape[1];
    }
}

static void set_strided(const fuzz_tensor *t, const int64_t *shape, int rank, fuzz_layout *layout)
{
    int64_t run = t->step;
    for (int n = 0; n < rank; n++) {
        const int d = t->order[n];
        layout->stride[d] = t->broadcast >> d & 1 ? 0 : t->negative >> d & 1 ? -run : run;
        if (layout->stride[d])
            run = run * (shape[d] ? shape[d] : 1) + t->gap[n];
    }
}

fuzz_layout fuzz_layout_of(const fuzz_problem *p, int slot)
{
    const fuzz_tensor *t = &p->tensor[slot];
    fuzz_layout layout = {.origin = t->shift, .count = 1};
    int64_t shape[CLATTN_RANK_LIMIT];
    const int rank = fuzz_shape(p, slot, shape);
    if (t->strided)
        set_strided(t, shape, rank, &layout);
    else
        set_contiguous(p, slot, shape, rank, &layout);
    bool is_empty = false;
    for (int d = 0; d < rank; d++) {
        const int64_t reach = (shape[d] - 1) * layout.stride[d];
        layout.origin += reach < 0 ? -reach : 0;
        layout.count += reach < 0 ? -reach : reach;
        is_empty |= shape[d] == 0;
    }
    if (is_empty) {
        layout.origin = t->shift;
        layout.count = 0;
    }
    layout.count += t->shift;
    return layout;
}

static uint64_t describe_tensors(const fuzz_problem *p, clattn_tensor *tensor)
{
    uint64_t slots = 0;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++) {
        const fuzz_tensor *t = &p->tensor[slot];
        if (!t->present)
            continue;
        const fuzz_layout layout = fuzz_layout_of(p, slot);
        slots |= CLATTN_SLOT_BIT(slot);
        tensor[slot].dtype = fuzz_slot_of(slot)->is_float || t->named ? t->dtype : CLATTN_F32;
        tensor[slot].strided = t->strided;
        for (int d = 0; t->strided && d < CLATTN_RANK_LIMIT; d++)
            tensor[slot].stride[d] = layout.stride[d];
    }
    return slots;
}

#define ALWAYS                                                                                     \
    (CLATTN_SLOT_BIT(CLATTN_SLOT_Q) | CLATTN_SLOT_BIT(CLATTN_SLOT_K) |                             \
     CLATTN_SLOT_BIT(CLATTN_SLOT_V) | CLATTN_SLOT_BIT(CLATTN_SLOT_OUT) |                           \
     CLATTN_SLOT_BIT(CLATTN_SLOT_GRAD_OUT))

void fuzz_describe(const fuzz_problem *p, clattn_attention_desc *desc)
{
    const fuzz_functions *functions = fuzz_functions_of(p->functions);
    clattn_attention_desc_init(desc);
    desc->has_scale = p->has_scale;
    desc->scale = p->scale;
    desc->softcap = p->softcap;
    desc->causal = p->causal;
    desc->align = p->align;
    desc->align_offset = p->align_offset;
    desc->has_window = p->has_window;
    desc->dropout = p->dropout;
    desc->window_left = p->window_left;
    desc->window_right = p->window_right;
    desc->flags = p->weights_dropped ? CLATTN_ATTENTION_WEIGHTS_DROPPED : 0;
    desc->score_stage = p->score_stage;
    desc->ragged = p->ragged;
    desc->total_q = p->ragged ? fuzz_total(p, true) : 0;
    desc->total_kv = fuzz_has_ragged_keys(p) ? fuzz_total(p, false) : 0;
    desc->batch = p->batch;
    desc->n_head = p->n_head;
    desc->n_kv_head = p->n_kv_head;
    desc->n_q = p->n_q;
    desc->n_kv = p->n_kv;
    desc->n_past = p->n_past;
    desc->head_dim = p->head_dim;
    desc->value_dim = p->value_dim;
    desc->block_q = p->block_q;
    desc->block_kv = p->block_kv;
    desc->block_limit = p->block_limit;
    desc->n_params = functions->n_params;
    desc->score_function = functions->score;
    desc->mask_function = functions->mask;
    desc->top_k = p->top_k;
    desc->sample = p->sample;
    desc->score_gradient = p->gradient ? functions->gradient : NULL;
    desc->slots = describe_tensors(p, desc->tensor) & ~ALWAYS;
}

void fuzz_describe_merge(const fuzz_problem *p, clattn_merge_desc *desc)
{
    clattn_merge_desc_init(desc);
    desc->parts = p->parts;
    desc->batch = p->batch;
    desc->n_head = p->n_head;
    desc->n_q = p->n_q;
    desc->value_dim = p->value_dim;
    desc->slots = describe_tensors(p, desc->tensor) &
                  (CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_SINK));
}
