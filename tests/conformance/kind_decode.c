/* Torch cases of the kind "decode": a key/value cache in use. Prompts of different lengths are
 * appended and attended to, then some tokens a step; with rotary embedding before. Every size of
 * pages must give the same bits: 1, 16, 64, and one page that holds a sequence side by side. */
#include <clattn/layer.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.h"

/* The case in numbers, and its work in progress. */
typedef struct decode {
    const test_case *c;
    const stored_as *stored; /* NULL: float32 */
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    int64_t batch, heads, kv_heads, dim, rows; /* rows: prompt, then steps */
    int64_t prompt, steps, step_length;        /* prompt: the longest */
    int32_t *lengths;                          /* (batch) of prompts, owned */
    uint64_t *ids;                             /* (batch) owned */
    clattn_buffer *q, *k, *v, *out;            /* (batch, heads, rows, dim) */
} decode;

static clattn_status make_buffer(decode *d, const npy_array *array, clattn_buffer **buffer)
{
    const uint64_t size = (uint64_t)array->count * sizeof(float);
    clattn_status status = clattn_buffer_create(d->context, size, buffer);
    if (status == CLATTN_OK)
        status = clattn_buffer_write(*buffer, 0, array->bytes, size);
    return status;
}

/* A tensor (batch, heads, some rows, dim) of one with all rows. */
static clattn_tensor some_rows(const decode *d, int64_t heads)
{
    const clattn_tensor tensor = {
        .strided = 1, .stride = {heads * d->rows * d->dim, d->rows * d->dim, d->dim, 1}};
    return tensor;
}

static uint64_t row_offset(const decode *d, int64_t row)
{
    return (uint64_t)(row * d->dim) * sizeof(float);
}

static clattn_status submit(decode *d, const clattn_plan *plan, const clattn_binding *bindings,
                            uint32_t count)
{
    const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = count};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    const clattn_status status = clattn_submit(d->dispatcher, &submission, NULL);
    return status == CLATTN_OK ? clattn_dispatcher_finish(d->dispatcher) : status;
}

/* ---- rotary embedding ------------------------------------------------------------------------ */

typedef struct rotation {
    clattn_rotary_desc desc;
    clattn_buffer *angles;
    clattn_buffer *from, *to;
} rotation;

/* Rows `first` and on of all heads; entry b's are at positions[b] and on. */
static clattn_status rotate_rows(decode *d, rotation *r, int64_t first, const int32_t *positions)
{
    clattn_plan *plan = NULL;
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_Q, .buffer = r->from, .offset = row_offset(d, first)},
        {.slot = CLATTN_SLOT_OUT, .buffer = r->to, .offset = row_offset(d, first)},
        {.slot = CLATTN_SLOT_ANGLES, .buffer = r->angles},
        {.slot = CLATTN_SLOT_POSITIONS, .host = positions},
    };
    clattn_status status = clattn_plan_rotary(d->context, &r->desc, &plan);
    if (status == CLATTN_OK)
        status = submit(d, plan, bindings, 4);
    clattn_plan_destroy(plan);
    return status;
}

static clattn_status make_angles(decode *d, rotation *r)
{
    const int64_t count = r->desc.n_positions * r->desc.rotary_dim;
    float *angles = malloc((size_t)count * sizeof *angles);
    if (!angles)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status =
        clattn_rotary_angles(r->desc.n_positions, r->desc.rotary_dim,
                             case_number(d->c, "rotary_base", 10000), NULL, angles);
    if (status == CLATTN_OK)
        status = clattn_buffer_create(d->context, (uint64_t)count * sizeof *angles, &r->angles);
    if (status == CLATTN_OK)
        status = clattn_buffer_write(r->angles, 0, angles, (uint64_t)count * sizeof *angles);
    free(angles);
    return status;
}

/* Prompts begin at position 0; what follows, behind the entry's own prompt. */
static clattn_status rotate_all(decode *d, rotation *r)
{
    int32_t *zeros = calloc((size_t)d->batch + 1, sizeof *zeros);
    if (!zeros)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status = make_angles(d, r);
    r->desc.n = d->prompt;
    if (status == CLATTN_OK)
        status = rotate_rows(d, r, 0, zeros);
    r->desc.n = d->steps * d->step_length;
    if (status == CLATTN_OK)
        status = rotate_rows(d, r, d->prompt, d->lengths);
    free(zeros);
    return status;
}

/* *buffer becomes the rotated one. */
static clattn_status rotate(decode *d, clattn_buffer **buffer, int64_t heads)
{
    rotation r = {.from = *buffer};
    clattn_rotary_desc_init(&r.desc);
    r.desc.batch = d->batch;
    r.desc.n_head = heads;
    r.desc.head_dim = d->dim;
    r.desc.rotary_dim = (int64_t)case_number(d->c, "rotary_dim", 0);
    r.desc.interleaved = case_flag(d->c, "rotary_interleaved");
    r.desc.n_positions = d->rows;
    r.desc.tensor[CLATTN_SLOT_Q] = r.desc.tensor[CLATTN_SLOT_OUT] = some_rows(d, heads);
    if (r.desc.rotary_dim == 0)
        return CLATTN_OK;
    clattn_status status = clattn_buffer_create(d->context, clattn_buffer_size(*buffer), &r.to);
    if (status == CLATTN_OK)
        status = rotate_all(d, &r);
    clattn_buffer_destroy(r.angles);
    clattn_buffer_destroy(status == CLATTN_OK ? r.from : r.to);
    if (status == CLATTN_OK)
        *buffer = r.to;
    return status;
}

/* Adds the scales' bindings where the cache has some. */
static clattn_status bind_scales(decode *d, clattn_binding *bindings, uint32_t *count)
{
    if (!d->stored || (d->stored->dtype != CLATTN_I8 && d->stored->dtype != CLATTN_I4))
        return CLATTN_OK;
    *count += 2;
    return clattn_kv_cache_bind_scales(d->cache, 0, bindings);
}

/* ---- appending and attending ----------------------------------------------------------------- */

/* Rows `first` to `first` + n - 1 of every entry, added[b] of them; NULL: all. */
typedef struct chunk {
    int64_t first, n;
    int32_t *added; /* (batch) */
    int32_t *pages, *lengths, *positions;
    int64_t limit;
} chunk;

static clattn_status append(decode *d, const chunk *of)
{
    clattn_append_desc desc;
    clattn_plan *plan = NULL;
    uint32_t count = 7;
    clattn_binding bindings[9] = {
        {.slot = CLATTN_SLOT_K, .buffer = d->k, .offset = row_offset(d, of->first)},
        {.slot = CLATTN_SLOT_V, .buffer = d->v, .offset = row_offset(d, of->first)},
        {.slot = CLATTN_SLOT_PAGES, .host = of->pages},
        {.slot = CLATTN_SLOT_POSITIONS, .host = of->positions},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = of->added},
    };
    clattn_append_desc_init(&desc);
    desc.batch = d->batch;
    desc.n_kv = of->n;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    clattn_status status = clattn_kv_cache_describe_append(d->cache, d->rows, &desc);
    desc.tensor[CLATTN_SLOT_K] = desc.tensor[CLATTN_SLOT_V] = some_rows(d, d->kv_heads);
    if (status == CLATTN_OK)
        status = clattn_kv_cache_bind(d->cache, 0, 1, bindings + 5);
    if (status == CLATTN_OK)
        status = bind_scales(d, bindings + 7, &count);
    if (status == CLATTN_OK)
        status = clattn_plan_append(d->context, &desc, &plan);
    if (status == CLATTN_OK)
        status = submit(d, plan, bindings, count);
    clattn_plan_destroy(plan);
    return status;
}

static void describe_attention(const decode *d, const chunk *of, clattn_attention_desc *desc)
{
    const cJSON *window = case_attribute(d->c, "window");
    clattn_attention_desc_init(desc);
    desc->batch = d->batch;
    desc->n_head = d->heads;
    desc->n_q = of->n;
    desc->n_kv = d->rows;
    desc->causal = 1;
    desc->align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc->has_scale = 1;
    desc->scale = (float)case_number(d->c, "scale", 1);
    desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS);
    desc->has_window = window ? 1 : 0;
    if (window) {
        desc->window_left = (int64_t)cJSON_GetArrayItem(window, 0)->valuedouble;
        desc->window_right = (int64_t)cJSON_GetArrayItem(window, 1)->valuedouble;
    }
    desc->tensor[CLATTN_SLOT_Q] = desc->tensor[CLATTN_SLOT_OUT] = some_rows(d, d->heads);
}

static clattn_status attend(decode *d, const chunk *of)
{
    clattn_attention_desc desc;
    clattn_plan *plan = NULL;
    uint32_t count = 7;
    clattn_binding bindings[9] = {
        {.slot = CLATTN_SLOT_Q, .buffer = d->q, .offset = row_offset(d, of->first)},
        {.slot = CLATTN_SLOT_OUT, .buffer = d->out, .offset = row_offset(d, of->first)},
        {.slot = CLATTN_SLOT_PAGES, .host = of->pages},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = of->lengths},
        {.slot = CLATTN_SLOT_Q_LENGTHS, .host = of->added},
    };
    describe_attention(d, of, &desc);
    clattn_status status = clattn_kv_cache_describe_attention(d->cache, &desc);
    if (status == CLATTN_OK)
        status = clattn_kv_cache_bind(d->cache, 0, 0, bindings + 5);
    if (status == CLATTN_OK)
        status = bind_scales(d, bindings + 7, &count);
    if (status == CLATTN_OK)
        status = clattn_plan_attention(d->context, &desc, &plan);
    if (status == CLATTN_OK)
        status = submit(d, plan, bindings, count);
    clattn_plan_destroy(plan);
    return status;
}

static clattn_status run_chunk(decode *d, chunk *of)
{
    clattn_status status = CLATTN_OK;
    for (int64_t b = 0; status == CLATTN_OK && b < d->batch; b++) {
        const int64_t tokens = of->added[b];
        status = clattn_kv_cache_extend(d->cache, d->dispatcher, &d->ids[b], &tokens, 1);
    }
    if (status == CLATTN_OK)
        status = clattn_kv_cache_tables(d->cache, d->ids, (uint32_t)d->batch, of->limit, of->pages,
                                        of->lengths);
    for (int64_t b = 0; status == CLATTN_OK && b < d->batch; b++)
        of->positions[b] = of->lengths[b] - of->added[b];
    if (status == CLATTN_OK)
        status = append(d, of);
    return status == CLATTN_OK ? attend(d, of) : status;
}

/* The prompts, then step by step. `of` has room for everything. */
static clattn_status run_chunks(decode *d, chunk *of)
{
    clattn_status status = CLATTN_OK;
    for (int64_t b = 0; status == CLATTN_OK && b < d->batch; b++) {
        d->ids[b] = (uint64_t)(100 - b);
        status = clattn_kv_cache_add(d->cache, d->ids[b]);
        of->added[b] = d->lengths[b];
    }
    of->n = d->prompt;
    if (status == CLATTN_OK)
        status = run_chunk(d, of);
    of->first = d->prompt;
    of->n = d->step_length;
    for (int64_t b = 0; b < d->batch; b++)
        of->added[b] = (int32_t)d->step_length;
    for (int64_t step = 0; status == CLATTN_OK && step < d->steps; step++) {
        status = run_chunk(d, of);
        of->first += d->step_length;
    }
    return status;
}

/* All of it in pages of this size, into d->out. */
static clattn_status run_in_pages(decode *d, int64_t page_size)
{
    clattn_kv_cache_desc desc;
    chunk of = {.limit = (d->rows + page_size - 1) / page_size};
    clattn_kv_cache_desc_init(&desc);
    if (d->stored) {
        desc.dtype = d->stored->dtype;
        desc.scale_channels = d->stored->scale_channels;
    }
    desc.layers = 1;
    desc.n_kv_head = d->kv_heads;
    desc.head_dim = desc.value_dim = d->dim;
    desc.page_size = page_size;
    desc.pages = d->batch * of.limit;
    of.pages = calloc((size_t)desc.pages, sizeof *of.pages);
    of.lengths = calloc((size_t)d->batch * 3, sizeof *of.lengths);
    clattn_status status = CLATTN_ERR_OUT_OF_MEMORY;
    if (of.pages && of.lengths) {
        of.positions = of.lengths + d->batch;
        of.added = of.positions + d->batch;
        status = clattn_kv_cache_create(d->context, &desc, &d->cache);
    }
    if (status == CLATTN_OK)
        status = run_chunks(d, &of);
    clattn_kv_cache_destroy(d->cache);
    d->cache = NULL;
    free(of.pages);
    free(of.lengths);
    return status;
}

/* ---- results --------------------------------------------------------------------------------- */

/* Rows `first` and on of every head, as many as the output has; those beyond an entry's prompt are
 * 0, as in the reference. */
static void give_rows(const decode *d, results *r, const char *name, int64_t first,
                      const float *out)
{
    result *to = results_find(d->c, r, name);
    const npy_array *expected = NULL;
    for (int i = 0; i < d->c->output_count; i++)
        if (strcmp(d->c->output[i].name, name) == 0)
            expected = &d->c->output[i].array;
    if (!to || !expected)
        return;
    const int64_t n = expected->shape[2], size = n * d->dim;
    float *picked = malloc((size_t)(expected->count + 1) * sizeof *picked);
    for (int64_t h = 0; picked && h < d->batch * d->heads; h++)
        memcpy(picked + h * size, out + (h * d->rows + first) * d->dim,
               (size_t)size * sizeof *picked);
    to->computed = picked && expected->count == d->batch * d->heads * size &&
                   npy_from_bytes(expected, "f4", picked, &to->array);
    free(picked);
}

static clattn_status run_all_pages(decode *d, float *out, float *again, uint64_t size)
{
    const int64_t sizes[] = {16, 1, 64, d->rows};
    for (int i = 0; i < 4; i++) {
        clattn_status status = run_in_pages(d, sizes[i]);
        if (status == CLATTN_OK)
            status = clattn_buffer_read(d->out, 0, i ? again : out, size);
        if (status != CLATTN_OK)
            return status;
        if (i && memcmp(out, again, (size_t)size) != 0)
            return CLATTN_ERR_INTERNAL;
    }
    return CLATTN_OK;
}

static void compute(decode *d, results *r)
{
    const uint64_t size = (uint64_t)(d->batch * d->heads * d->rows * d->dim) * sizeof(float);
    float *out = calloc(1, (size_t)size), *again = malloc((size_t)size);
    clattn_status status = CLATTN_ERR_OUT_OF_MEMORY;
    if (out && again)
        status = clattn_buffer_create(d->context, size, &d->out);
    if (status == CLATTN_OK)
        status = clattn_buffer_write(d->out, 0, out, size);
    if (status == CLATTN_OK)
        status = rotate(d, &d->q, d->heads);
    if (status == CLATTN_OK)
        status = rotate(d, &d->k, d->kv_heads);
    if (status == CLATTN_OK)
        status = run_all_pages(d, out, again, size);
    if (status == CLATTN_OK) {
        give_rows(d, r, "out_prompt", 0, out);
        give_rows(d, r, "out_steps", d->prompt, out);
    } else if (status == CLATTN_ERR_INTERNAL) {
        results_decline(d->c, r, "pages of another size give other bits");
    } else if (status == CLATTN_ERR_UNSUPPORTED) {
        results_decline_by_library(d->c, r);
    } else {
        results_decline(d->c, r, "%s", clattn_error_message());
    }
    free(out);
    free(again);
}

static bool set_extents(decode *d)
{
    const npy_array *q = case_input(d->c, "q"), *k = case_input(d->c, "k");
    const npy_array *v = case_input(d->c, "v"), *lengths = case_input(d->c, "prompt_lengths");
    if (!q || !k || !v || !lengths || q->rank != 4 || k->rank != 4 || lengths->rank != 1 ||
        strcmp(q->type, "f4") != 0 || strcmp(k->type, "f4") != 0 || strcmp(v->type, "f4") != 0 ||
        k->count != v->count || k->shape[2] != q->shape[2] || lengths->count != q->shape[0])
        return false;
    d->batch = q->shape[0];
    d->heads = q->shape[1];
    d->rows = q->shape[2];
    d->dim = q->shape[3];
    d->kv_heads = k->shape[1];
    d->steps = (int64_t)case_number(d->c, "steps", 0);
    d->step_length = (int64_t)case_number(d->c, "step_len", 1);
    d->prompt = d->rows - d->steps * d->step_length;
    d->lengths = calloc((size_t)d->batch + 1, sizeof *d->lengths);
    d->ids = calloc((size_t)d->batch + 1, sizeof *d->ids);
    for (int64_t b = 0; d->lengths && b < d->batch; b++)
        d->lengths[b] = (int32_t)lengths->value[b];
    return d->lengths && d->ids && d->prompt >= 0;
}

void run_decode(clattn_context *context, const test_case *c, results *r)
{
    decode d = {.c = c, .stored = r->stored, .context = context};
    clattn_status status = CLATTN_ERR_ARGUMENT;
    if (!set_extents(&d))
        results_decline(c, r, "inputs are missing, or have other shapes or types");
    else
        status = clattn_dispatcher_create(context, NULL, &d.dispatcher);
    if (status == CLATTN_OK)
        status = make_buffer(&d, case_input(c, "q"), &d.q);
    if (status == CLATTN_OK)
        status = make_buffer(&d, case_input(c, "k"), &d.k);
    if (status == CLATTN_OK)
        status = make_buffer(&d, case_input(c, "v"), &d.v);
    if (status == CLATTN_OK)
        compute(&d, r);
    clattn_dispatcher_destroy(d.dispatcher);
    clattn_buffer *const buffers[] = {d.q, d.k, d.v, d.out};
    for (int i = 0; i < 4; i++)
        clattn_buffer_destroy(buffers[i]);
    free(d.lengths);
    free(d.ids);
    results_decline(c, r, "%s", clattn_error_message());
}
