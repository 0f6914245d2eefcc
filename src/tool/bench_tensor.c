/* The table of tensors. Masks are broadcast over batch and heads, biases over the batch. */
#include "tool/bench_tensor.h"

#include <string.h>

#include <clattn/layer.h>

static double query_elements(const bench_shape *shape)
{
    return (double)shape->batch * (double)shape->n_head * (double)shape->n_q *
           (double)shape->head_dim;
}

static clattn_dtype integers_of(const bench_shape *shape)
{
    return shape->feature ? shape->feature->integers : CLATTN_F32;
}

static double key_rows(const bench_shape *shape)
{
    return (double)shape->batch * (double)shape->n_kv_head * (double)shape->n_kv;
}

static double page_elements(const bench_shape *shape)
{
    return (double)shape->batch * (double)bench_shape_pages(shape);
}

/* Two integers of 4 bits count as one; pages are whole. */
static double key_elements(const bench_shape *shape)
{
    const double pages = (double)bench_shape_first_page(shape, shape->batch);
    const double rows = pages > 0 ? pages * BENCH_PAGE * (double)shape->n_kv_head : key_rows(shape);
    const double all = rows * (double)shape->head_dim;
    return integers_of(shape) == CLATTN_I4 ? all / 2 : all;
}

static double row_elements(const bench_shape *shape)
{
    return (double)shape->batch * (double)shape->n_head * (double)shape->n_q;
}

static double mask_elements(const bench_shape *shape)
{
    return (double)shape->n_q * (double)shape->n_kv;
}

static double bias_elements(const bench_shape *shape)
{
    return (double)shape->n_head * mask_elements(shape);
}

static double head_elements(const bench_shape *shape)
{
    return (double)shape->n_head;
}

static double channel_elements(const bench_shape *shape)
{
    return (double)shape->n_head * (double)shape->head_dim;
}

static double batch_elements(const bench_shape *shape)
{
    return (double)shape->batch;
}

static double two_elements(const bench_shape *shape)
{
    (void)shape;
    return 2;
}

static double x_elements(const bench_shape *shape)
{
    return (double)shape->batch * (double)shape->n_q * (double)shape->n_kv;
}

static double w_elements(const bench_shape *shape)
{
    return (double)shape->head_dim * (double)shape->n_kv;
}

static double b_elements(const bench_shape *shape)
{
    return (double)shape->head_dim;
}

static double y_elements(const bench_shape *shape)
{
    return (double)shape->batch * (double)shape->n_q * (double)shape->head_dim;
}

static double angle_elements(const bench_shape *shape)
{
    const int64_t even = shape->head_dim / 2 * 2;
    return (double)bench_shape_positions(shape) * (double)even;
}

/* Numbers between -1 and 1; the same for every run. */
static void fill_numbers(const stored_type *type, void *data, uint64_t count)
{
    unsigned char *to = data;
    uint32_t state = 12345;
    for (uint64_t i = 0; i < count; i++, to += type->bytes) {
        state = state * 1664525u + 1013904223u;
        float value = (float)(state >> 8) * 0x1p-23f - 1.0f;
        stored_type_narrow(type, &value, 1);
        memcpy(to, &value, type->bytes);
    }
}

static void fill_stored(const bench_shape *shape, void *data, uint64_t count)
{
    fill_numbers(shape->type, data, count);
}

static void fill_keys(const bench_shape *shape, void *data, uint64_t count)
{
    uint8_t *to = data;
    uint32_t state = 12345;
    if (!integers_of(shape)) {
        fill_stored(shape, data, count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = (uint8_t)(state >> 24);
    }
}

static void fill_scales(const bench_shape *shape, void *data, uint64_t count)
{
    float *to = data;
    for (uint64_t i = 0; i < count; i++)
        to[i] = integers_of(shape) == CLATTN_I4 ? 1.0f / 7 : 1.0f / 127;
}

static void fill_floats(const bench_shape *shape, void *data, uint64_t count)
{
    (void)shape;
    fill_numbers(stored_type_get(0), data, count);
}

static void fill_mask(const bench_shape *shape, void *data, uint64_t count)
{
    uint8_t *to = data;
    for (uint64_t i = 0; i < count; i++)
        to[i] = bench_shape_mask(i / (uint64_t)shape->n_kv, i % (uint64_t)shape->n_kv);
}

static void fill_slopes(const bench_shape *shape, void *data, uint64_t count)
{
    float *to = data;
    (void)shape;
    for (uint64_t i = 0; i < count; i++)
        to[i] = 1 / (float)(i + 2);
}

static void fill_lengths(const bench_shape *shape, void *data, uint64_t count)
{
    int32_t *to = data;
    for (uint64_t b = 0; b < count; b++)
        to[b] = (int32_t)bench_shape_length(shape, (int64_t)b);
}

static void fill_seed(const bench_shape *shape, void *data, uint64_t count)
{
    (void)shape;
    memset(data, 0, count * sizeof(int64_t));
}

static void fill_angles(const bench_shape *shape, void *data, uint64_t count)
{
    (void)count;
    clattn_rotary_angles(bench_shape_positions(shape), shape->head_dim / 2 * 2, 10000, NULL, data);
}

/* Each entry's own, side by side; behind its tokens those of the next one, and at last none. */
static void fill_pages(const bench_shape *shape, void *data, uint64_t count)
{
    int32_t *to = data;
    const int64_t limit = bench_shape_pages(shape);
    const int64_t last = bench_shape_first_page(shape, shape->batch) - 1;
    for (int64_t n = 0; n < (int64_t)count; n++) {
        const int64_t page = bench_shape_first_page(shape, n / limit) + n % limit;
        to[n] = (int32_t)(page < last ? page : last);
    }
}

static const bench_tensor table[] = {
    {CLATTN_SLOT_Q, 0, query_elements, fill_stored},
    {CLATTN_SLOT_K, 0, key_elements, fill_keys},
    {CLATTN_SLOT_V, 0, key_elements, fill_keys},
    {CLATTN_SLOT_OUT, 0, query_elements, fill_stored},
    {CLATTN_SLOT_LSE, 4, row_elements, fill_floats},
    {CLATTN_SLOT_GRAD_OUT, 0, query_elements, fill_stored},
    {CLATTN_SLOT_GRAD_Q, 0, query_elements, fill_stored},
    {CLATTN_SLOT_GRAD_K, 0, key_elements, fill_stored},
    {CLATTN_SLOT_GRAD_V, 0, key_elements, fill_stored},
    {CLATTN_SLOT_MASK, 1, mask_elements, fill_mask},
    {CLATTN_SLOT_BIAS, 4, bias_elements, fill_floats},
    {CLATTN_SLOT_ALIBI, 4, head_elements, fill_slopes},
    {CLATTN_SLOT_KV_LENGTHS, 4, batch_elements, fill_lengths},
    {CLATTN_SLOT_SEED, 8, two_elements, fill_seed},
    {CLATTN_SLOT_X, 0, x_elements, fill_stored},
    {CLATTN_SLOT_W, 0, w_elements, fill_stored},
    {CLATTN_SLOT_B, 0, b_elements, fill_stored},
    {CLATTN_SLOT_Y, 0, y_elements, fill_stored},
    {CLATTN_SLOT_W_SCORE, 0, channel_elements, fill_stored},
    {CLATTN_SLOT_GRAD_W_SCORE, 0, channel_elements, fill_stored},
    {CLATTN_SLOT_K_SCALES, 4, key_rows, fill_scales},
    {CLATTN_SLOT_V_SCALES, 4, key_rows, fill_scales},
    {CLATTN_SLOT_PAGES, 4, page_elements, fill_pages},
    {CLATTN_SLOT_ANGLES, 4, angle_elements, fill_angles},
    {CLATTN_SLOT_RMS_WEIGHT, 4, channel_elements, fill_floats},
};

const bench_tensor *bench_tensor_get(uint32_t index)
{
    return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

bool bench_tensor_takes_part(const bench_tensor *tensor, const bench_shape *shape)
{
    const bool is_linear = tensor->slot >= CLATTN_SLOT_X && tensor->slot <= CLATTN_SLOT_Y;
    if (is_linear || shape->linear)
        return is_linear && shape->linear &&
               (tensor->slot != CLATTN_SLOT_B || shape->linear != BENCH_LINEAR_X);
    if (shape->additive)
        return bench_shape_additive_slots(shape) >> tensor->slot & 1;
    if (tensor->slot == CLATTN_SLOT_LSE ||
        (tensor->slot >= CLATTN_SLOT_GRAD_OUT && tensor->slot <= CLATTN_SLOT_GRAD_PAST_V))
        return shape->backward;
    return tensor->slot <= CLATTN_SLOT_OUT ||
           (shape->feature && shape->feature->slots & CLATTN_SLOT_BIT(tensor->slot));
}

uint32_t bench_tensor_element_size(const bench_tensor *tensor, const bench_shape *shape)
{
    const bool of_keys = tensor->slot == CLATTN_SLOT_K || tensor->slot == CLATTN_SLOT_V;
    if (of_keys && integers_of(shape))
        return 1;
    return tensor->bytes ? tensor->bytes : shape->type->bytes;
}

void bench_tensor_describe(const bench_shape *shape, clattn_attention_desc *desc)
{
    const int64_t pairs = shape->n_q * shape->n_kv;
    desc->tensor[CLATTN_SLOT_MASK] =
        (clattn_tensor){.strided = 1, .stride = {0, 0, shape->n_kv, 1}};
    desc->tensor[CLATTN_SLOT_BIAS] =
        (clattn_tensor){.strided = 1, .stride = {0, pairs, shape->n_kv, 1}};
    desc->page_limit = bench_shape_pages(shape);
    desc->n_pages = bench_shape_first_page(shape, shape->batch);
    desc->page_size = desc->page_limit ? BENCH_PAGE : 0;
}
