/* See kv_model.h. */
#include "kv_model.h"

#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/storage.h"

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

bool kv_has_scales(clattn_dtype dtype)
{
    return dtype == CLATTN_I8 || dtype == CLATTN_I4;
}

/* ---- what the cache has ---------------------------------------------------------------------- */

/* Element i of an array of the cache's type. */
static float widened(clattn_dtype dtype, const void *data, int64_t i)
{
    const uint8_t *bytes = data;
    uint16_t half;
    float x;
    switch (dtype) {
    case CLATTN_I8:
        return (int8_t)bytes[i];
    case CLATTN_I4:
        return (float)((((bytes[i / 2] >> (i % 2 ? 4 : 0)) & 15) ^ 8) - 8);
    case CLATTN_F32:
        memcpy(&x, bytes + 4 * i, sizeof x);
        return x;
    default:
        memcpy(&half, bytes + 2 * i, sizeof half);
        return dtype == CLATTN_F16 ? oracle_from_f16(half) : oracle_from_bf16(half);
    }
}

/* One row of what was read, (head, token, dim). */
static void take_row(clattn_dtype dtype, const void *read, int64_t row, int64_t dim, float *to)
{
    for (int64_t d = 0; d < dim; d++)
        to[d] = widened(dtype, read, row * dim + d);
}

void kv_model_fetch(clattn_kv_cache *cache, clattn_dtype dtype, const clattn_kv_range *range,
                    kv_rows *rows)
{
    static float k[KV_HEADS * LONGEST * DIM], v[KV_HEADS * LONGEST * VALUE_DIM];
    static float scales[2][KV_HEADS * LONGEST];
    good(clattn_kv_cache_read(cache, range, k, v));
    if (kv_has_scales(dtype))
        good(clattn_kv_cache_read_scales(cache, range, scales[0], scales[1]));
    for (int64_t h = 0; h < KV_HEADS; h++)
        for (int64_t i = 0; i < range->count; i++) {
            const int64_t at = range->begin + i, row = h * range->count + i;
            take_row(dtype, k, row, DIM, rows->k[at][h]);
            take_row(dtype, v, row, VALUE_DIM, rows->v[at][h]);
            rows->k_scale[at][h] = kv_has_scales(dtype) ? scales[0][row] : 1;
            rows->v_scale[at][h] = kv_has_scales(dtype) ? scales[1][row] : 1;
        }
}

/* Numbers are compared as such: -0 and 0 are equal. */
static void expect_equal(const float *a, const float *b, int64_t count, const char *of)
{
    for (int64_t i = 0; i < count; i++)
        cr_assert_eq(a[i], b[i], "%s: %s %d is %g, not %g", rig_said(), of, (int)i, (double)a[i],
                     (double)b[i]);
}

void kv_model_compare(clattn_kv_cache *cache, clattn_dtype dtype, const clattn_kv_range *range,
                      const kv_rows *rows)
{
    static kv_rows read;
    const int64_t begin = range->begin, count = range->count;
    kv_model_fetch(cache, dtype, range, &read);
    expect_equal(read.k[begin][0], rows->k[begin][0], count * KV_HEADS * DIM, "key");
    expect_equal(read.v[begin][0], rows->v[begin][0], count * KV_HEADS * VALUE_DIM, "value");
    expect_equal(read.k_scale[begin], rows->k_scale[begin], count * KV_HEADS, "key's scale");
    expect_equal(read.v_scale[begin], rows->v_scale[begin], count * KV_HEADS, "value's scale");
}

/* ---- what happens to sequences --------------------------------------------------------------- */

void kv_model_turn(float row[DIM], int64_t quarters)
{
    for (int64_t i = 0; i < (quarters % 4 + 4) % 4; i++)
        for (int n = 0; n < DIM / 2; n++) {
            const float a = row[n];
            row[n] = -row[n + DIM / 2];
            row[n + DIM / 2] = a;
        }
}

void kv_model_lose(kv_sequence *of, int64_t begin, int64_t lost, bool turned)
{
    of->length -= lost;
    for (int layer = 0; lost && layer < LAYERS; layer++) {
        kv_rows *rows = &of->layer[layer];
        const size_t left = (size_t)(of->length - begin);
        memmove(rows->k[begin], rows->k[begin + lost], left * sizeof rows->k[0]);
        memmove(rows->v[begin], rows->v[begin + lost], left * sizeof rows->v[0]);
        memmove(rows->k_scale[begin], rows->k_scale[begin + lost], left * sizeof rows->k_scale[0]);
        memmove(rows->v_scale[begin], rows->v_scale[begin + lost], left * sizeof rows->v_scale[0]);
        for (int64_t i = begin; turned && i < of->length; i++)
            for (int h = 0; h < KV_HEADS; h++)
                kv_model_turn(rows->k[i][h], -lost);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* Keys and values side by side, (head, token, dim). Floats are float32, whatever the cache has. */
typedef struct side_by_side {
    float k[KV_HEADS * LONGEST * DIM], v[KV_HEADS * LONGEST * VALUE_DIM];
    float k_scales[KV_HEADS * LONGEST], v_scales[KV_HEADS * LONGEST];
} side_by_side;

static void put_row(clattn_dtype dtype, const float *from, int64_t row, int64_t dim, float *to)
{
    uint8_t *bytes = (uint8_t *)to;
    if (!kv_has_scales(dtype)) {
        memcpy(to + row * dim, from, (size_t)dim * sizeof *to);
        return;
    }
    for (int64_t d = 0; d < dim; d++) {
        const int n = (int)from[d] & 255;
        const int64_t at = row * dim + d;
        if (dtype == CLATTN_I8)
            bytes[at] = (uint8_t)n;
        else
            bytes[at / 2] = (uint8_t)(at % 2 ? bytes[at / 2] | (n & 15) << 4 : n & 15);
    }
}

static void lay_out(clattn_dtype dtype, const kv_sequence *of, int layer, side_by_side *to)
{
    const kv_rows *rows = &of->layer[layer];
    for (int64_t h = 0; h < KV_HEADS; h++)
        for (int64_t i = 0; i < of->length; i++) {
            const int64_t row = h * of->length + i;
            put_row(dtype, rows->k[i][h], row, DIM, to->k);
            put_row(dtype, rows->v[i][h], row, VALUE_DIM, to->v);
            to->k_scales[row] = rows->k_scale[i][h];
            to->v_scales[row] = rows->v_scale[i][h];
        }
}

void kv_model_attend(clattn_context *context, clattn_dtype dtype, const kv_sequence *of, int layer,
                     kv_queries q, kv_outputs out)
{
    static side_by_side data;
    clattn_attention_desc desc;
    lay_out(dtype, of, layer, &data);
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_q = QUERIES;
    desc.n_kv = of->length;
    desc.head_dim = DIM;
    desc.value_dim = VALUE_DIM;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    if (kv_has_scales(dtype)) {
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_K_SCALES) | CLATTN_SLOT_BIT(CLATTN_SLOT_V_SCALES);
        desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = dtype;
    }
    const clattn_host_binding bindings[] = {
        {CLATTN_SLOT_Q, 0, (void *)(uintptr_t)q},
        {CLATTN_SLOT_K, 0, data.k},
        {CLATTN_SLOT_V, 0, data.v},
        {CLATTN_SLOT_OUT, 0, out},
        {CLATTN_SLOT_K_SCALES, 0, data.k_scales},
        {CLATTN_SLOT_V_SCALES, 0, data.v_scales},
    };
    good(clattn_run(context, &desc, bindings, kv_has_scales(dtype) ? 6 : 4));
}
