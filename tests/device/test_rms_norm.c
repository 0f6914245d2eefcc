/* RMS normalisation of queries and keys, before they are rotated, against the formula in double
 * precision; while they are appended it must have the bits that it has as an operation, and in a
 * batch those that it has alone. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/rotary.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 2, HEADS = 3, TOKENS = 21, POSITIONS = 300, MOST = 576 };
enum { ROWS = BATCH * HEADS * TOKENS };

typedef enum weights { NONE, SHARED, OF_HEADS } weights;

static const struct shape {
    int64_t head_dim, rotary_dim;
    uint32_t interleaved;
    weights weights;
    clattn_dtype type, weight_type;
    float epsilon, size;
} shapes[] = {
    {64, 64, 0, SHARED, CLATTN_F32, CLATTN_F32, 1e-6f, 1},
    {128, 128, 1, OF_HEADS, CLATTN_F32, CLATTN_F16, 1e-6f, 30},
    {128, 64, 0, NONE, CLATTN_F32, CLATTN_F32, 1e-5f, 1e-4f},
    {1, 0, 0, OF_HEADS, CLATTN_F32, CLATTN_F32, 1e-6f, 1},
    {15, 6, 1, SHARED, CLATTN_F32, CLATTN_BF16, 1e-6f, 1},
    {17, 16, 0, OF_HEADS, CLATTN_F32, CLATTN_F32, 1, 1},
    {33, 0, 0, NONE, CLATTN_F32, CLATTN_F32, 0x1p-90f, 1e-12f},
    {97, 34, 0, SHARED, CLATTN_F32, CLATTN_F32, 1e-6f, 1e19f},
    {576, 576, 1, OF_HEADS, CLATTN_F32, CLATTN_F32, 1e-6f, 1e38f},
    {576, 66, 0, NONE, CLATTN_F32, CLATTN_F32, 0x1p90f, 1e17f},
    {80, 80, 0, SHARED, CLATTN_F16, CLATTN_F32, 1e-6f, 1},
    {72, 36, 1, OF_HEADS, CLATTN_BF16, CLATTN_BF16, 1e-6f, 100},
};

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* A problem with all that it needs. */
typedef struct subject {
    const struct shape *shape;
    float *x, *weight,
        *angles; /* (batch, head, token, dim), (head, dim), (POSITIONS, rotary_dim) */
    void *stored, *stored_weight; /* the same of the types of the tensors */
    uint64_t bytes, weight_bytes;
    int32_t positions[BATCH];
} subject;

static uint64_t size_of(clattn_dtype type)
{
    return type == CLATTN_F32 ? 4 : 2;
}

static void store(float x, clattn_dtype type, void *to, int64_t at)
{
    if (type == CLATTN_F32)
        ((float *)to)[at] = x;
    else
        ((uint16_t *)to)[at] = type == CLATTN_F16 ? oracle_to_f16(x) : oracle_to_bf16(x);
}

static float load(const void *from, clattn_dtype type, int64_t at)
{
    if (type == CLATTN_F32)
        return ((const float *)from)[at];
    const uint16_t bits = ((const uint16_t *)from)[at];
    return type == CLATTN_F16 ? oracle_from_f16(bits) : oracle_from_bf16(bits);
}

/* Numbers as a tensor of the type has them, in both forms. */
static void make_numbers(float *x, void *stored, clattn_dtype type, int64_t count, float size)
{
    uint32_t state = 11;
    for (int64_t i = 0; i < count; i++) {
        store(size * rig_number(&state), type, stored, i);
        x[i] = load(stored, type, i);
    }
}

/* One row of zeros, and one with a large number alone. */
static void make_rows_special(subject *s)
{
    const int64_t dim = s->shape->head_dim;
    for (int64_t d = 0; d < 2 * dim; d++)
        store(d == dim + dim / 2 ? 100 * s->x[d] : 0, s->shape->type, s->stored, d);
    for (int64_t d = 0; d < 2 * dim; d++)
        s->x[d] = load(s->stored, s->shape->type, d);
    if (!isfinite(s->x[dim + dim / 2]))
        store(s->x[dim + dim / 2] = 1, s->shape->type, s->stored, dim + dim / 2);
}

static void make(subject *s, const struct shape *shape)
{
    const int64_t count = ROWS * shape->head_dim;
    memset(s, 0, sizeof *s);
    s->shape = shape;
    s->bytes = (uint64_t)count * size_of(shape->type);
    s->weight_bytes = (uint64_t)(HEADS * shape->head_dim) * size_of(shape->weight_type);
    s->x = malloc((size_t)count * sizeof *s->x);
    s->weight = malloc(sizeof *s->weight * (size_t)(HEADS * shape->head_dim));
    s->angles = calloc((size_t)(POSITIONS * shape->rotary_dim + 1), sizeof *s->angles);
    s->stored = malloc(s->bytes);
    s->stored_weight = malloc(s->weight_bytes);
    cr_assert(s->x && s->weight && s->angles && s->stored && s->stored_weight);
    make_numbers(s->x, s->stored, shape->type, count, shape->size);
    make_numbers(s->weight, s->stored_weight, shape->weight_type, HEADS * shape->head_dim, 2);
    make_rows_special(s);
    s->positions[1] = POSITIONS - TOKENS;
    if (shape->rotary_dim)
        good(clattn_rotary_angles(POSITIONS, shape->rotary_dim, 10000, NULL, s->angles));
}

static void drop(subject *s)
{
    free(s->x);
    free(s->weight);
    free(s->angles);
    free(s->stored);
    free(s->stored_weight);
}

static clattn_tensor weight_of(const struct shape *shape)
{
    clattn_tensor tensor = {.dtype = shape->weight_type};
    if (shape->weights == SHARED) {
        tensor.strided = 1;
        tensor.stride[1] = 1;
    }
    return tensor;
}

/* Batch entries `first` to `first` + batch - 1; out: (batch, head, token, dim). */
typedef struct part {
    int64_t first, batch;
    clattn_dtype type; /* of out */
    void *out;
} part;

/* The operation on a part of the batch. */
static void compute(clattn_context *context, clattn_dispatcher *dispatcher, const subject *s,
                    const part *of)
{
    const struct shape *shape = s->shape;
    const uint64_t entry = (uint64_t)(HEADS * TOKENS * shape->head_dim);
    clattn_rotary_desc desc;
    clattn_plan *plan;
    clattn_rotary_desc_init(&desc);
    desc.batch = of->batch;
    desc.n_head = HEADS;
    desc.n = TOKENS;
    desc.head_dim = shape->head_dim;
    desc.rotary_dim = shape->rotary_dim;
    desc.interleaved = shape->interleaved;
    desc.n_positions = shape->rotary_dim ? POSITIONS : 0;
    desc.rms_norm = 1;
    desc.rms_epsilon = shape->epsilon;
    desc.slots = shape->weights ? CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT) : 0;
    desc.tensor[CLATTN_SLOT_Q].dtype = shape->type;
    desc.tensor[CLATTN_SLOT_OUT].dtype = of->type;
    desc.tensor[CLATTN_SLOT_RMS_WEIGHT] = weight_of(shape);
    good(clattn_plan_rotary(context, &desc, &plan));
    rig_given given[5] = {
        {CLATTN_SLOT_Q, (char *)s->stored + (uint64_t)of->first * entry * size_of(shape->type),
         NULL, (uint64_t)of->batch * entry * size_of(shape->type)},
        {CLATTN_SLOT_OUT, NULL, of->out, (uint64_t)of->batch * entry * size_of(of->type)}};
    uint32_t count = 2;
    if (shape->weights)
        given[count++] =
            (rig_given){CLATTN_SLOT_RMS_WEIGHT, s->stored_weight, NULL, s->weight_bytes};
    if (shape->rotary_dim) {
        given[count++] = (rig_given){CLATTN_SLOT_ANGLES, s->angles, NULL,
                                     (uint64_t)(POSITIONS * shape->rotary_dim) * sizeof(float)};
        given[count++] = (rig_given){CLATTN_SLOT_POSITIONS, s->positions + of->first, NULL,
                                     (uint64_t)of->batch * sizeof(int32_t)};
    }
    rig_run_plan(context, dispatcher, plan, given, count);
    clattn_plan_destroy(plan);
}

/* docs/numerics.md: the error of a row, and of rotation, which is of two of its elements. */
static void check_row(const subject *s, int64_t row, const float *got)
{
    const struct shape *shape = s->shape;
    const int64_t dim = shape->head_dim, head = row / TOKENS % HEADS;
    const int64_t position = s->positions[row / TOKENS / HEADS] + row % TOKENS;
    const float *weight = s->weight + (shape->weights == OF_HEADS ? head * dim : 0);
    const oracle_rotation by = {shape->rotary_dim, shape->interleaved, 10000};
    double expected[MOST], most = 0;
    oracle_rms_norm(s->x + row * dim, shape->weights ? weight : NULL, dim, (double)shape->epsilon,
                    expected);
    for (int64_t d = 0; d < dim; d++)
        most = fmax(most, fabs(expected[d]));
    oracle_rotate(&by, (double)position, expected);
    const double bound = ((double)dim / 32 + 20) * 0x1p-24 * most;
    for (int64_t d = 0; d < dim; d++)
        cr_assert(fabs((double)got[d] - expected[d]) <= bound,
                  "%s: row %d, element %d is %.9g, not %.9g, bound %g", rig_said(), (int)row,
                  (int)d, (double)got[d], expected[d], bound);
}

static void run_shape(clattn_context *context, clattn_dispatcher *dispatcher, size_t n)
{
    const int64_t dim = shapes[n].head_dim, entry = HEADS * TOKENS * dim;
    const size_t bytes = (size_t)(ROWS * dim) * sizeof(float);
    subject s;
    float *out = malloc(bytes), *again = malloc(bytes);
    uint16_t *halves = malloc(bytes);
    cr_assert(out && again && halves);
    make(&s, &shapes[n]);
    compute(context, dispatcher, &s, &(part){0, BATCH, CLATTN_F32, out});
    for (int64_t row = 0; row < ROWS; row++)
        check_row(&s, row, out + row * dim);
    compute(context, dispatcher, &s, &(part){1, 1, CLATTN_F32, again});
    cr_assert_eq(memcmp(again, out + entry, bytes / BATCH), 0, "%s: alone other bits", rig_said());
    compute(context, dispatcher, &s, &(part){0, BATCH, CLATTN_F16, halves});
    for (int64_t i = 0; i < ROWS * dim; i++)
        cr_assert_eq(halves[i], oracle_to_f16(out[i]), "%s: element %d", rig_said(), (int)i);
    drop(&s);
    free(out);
    free(again);
    free(halves);
}

static void each_shape(void (*body)(clattn_context *, clattn_dispatcher *, size_t))
{
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    for (size_t n = 0; n < COUNT(shapes); n++) {
        rig_say("shape %d", (int)n);
        body(context, dispatcher, n);
    }
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

Test(rms_norm, follows_the_formula)
{
    each_shape(run_shape);
}

/* A row with something that isn't finite is NaN, and no other. */
Test(rms_norm, what_is_not_finite_shows)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    float out[ROWS * 64];
    subject s;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    make(&s, &shapes[0]);
    for (size_t i = 0; i < COUNT(odd); i++)
        ((float *)s.stored)[(7 + 3 * i) * 64 + 5 * i] = odd[i];
    compute(context, dispatcher, &s, &(part){0, BATCH, CLATTN_F32, out});
    for (int row = 0; row < ROWS; row++)
        for (int d = 0; d < 64; d++)
            cr_assert_eq(isnan(out[row * 64 + d]) != 0, row == 7 || row == 10 || row == 13,
                         "row %d, element %d: %g", row, d, (double)out[row * 64 + d]);
    drop(&s);
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

/* ---- while appending ------------------------------------------------------------------------- */

static clattn_kv_cache *open_cache(clattn_context *context, const struct shape *shape)
{
    static const uint64_t ids[BATCH] = {0, 1};
    clattn_kv_cache_desc desc;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = 1;
    desc.n_kv_head = HEADS;
    desc.head_dim = desc.value_dim = shape->head_dim;
    desc.page_size = 16;
    desc.pages = 2 * (POSITIONS / 16 + 2);
    good(clattn_kv_cache_create(context, &desc, &cache));
    for (int i = 0; i < BATCH; i++)
        good(clattn_kv_cache_add(cache, ids[i]));
    return cache;
}

static void append(clattn_context *context, clattn_dispatcher *dispatcher, clattn_kv_cache *cache,
                   const subject *s)
{
    enum { LIMIT = POSITIONS / 16 + 1 };
    static const uint64_t ids[BATCH] = {0, 1};
    const struct shape *shape = s->shape;
    const int64_t tokens[BATCH] = {s->positions[0] + TOKENS, s->positions[1] + TOKENS};
    int32_t pages[BATCH * LIMIT];
    clattn_append_desc desc;
    clattn_plan *plan;
    clattn_buffer *buffer[3];
    const void *const data[] = {s->stored, s->stored_weight, s->angles};
    const uint64_t bytes[] = {s->bytes, s->weight_bytes,
                              (uint64_t)(POSITIONS * shape->rotary_dim + 1) * sizeof(float)};
    clattn_append_desc_init(&desc);
    desc.batch = BATCH;
    desc.n_kv = TOKENS;
    desc.rms_norm = 1;
    desc.rms_epsilon = shape->epsilon;
    desc.rotary_dim = shape->rotary_dim;
    desc.interleaved = shape->interleaved;
    desc.n_positions = shape->rotary_dim ? POSITIONS : 0;
    desc.slots = (shape->weights ? CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT) : 0) |
                 (shape->rotary_dim ? CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES) : 0);
    desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = shape->type;
    desc.tensor[CLATTN_SLOT_RMS_WEIGHT] = weight_of(shape);
    good(clattn_kv_cache_describe_append(cache, POSITIONS, &desc));
    good(clattn_plan_append(context, &desc, &plan));
    good(clattn_kv_cache_extend(cache, dispatcher, ids, tokens, BATCH));
    good(clattn_kv_cache_tables(cache, ids, BATCH, desc.page_limit, pages, NULL));
    for (int i = 0; i < 3; i++)
        buffer[i] = rig_filled(context, data[i], bytes[i]);
    clattn_binding bindings[8] = {{.slot = CLATTN_SLOT_K, .buffer = buffer[0]},
                                  {.slot = CLATTN_SLOT_V, .buffer = buffer[0]},
                                  {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = s->positions}};
    uint32_t count = 6;
    good(clattn_kv_cache_bind(cache, 0, 1, bindings + 4));
    if (shape->weights)
        bindings[count++] = (clattn_binding){.slot = CLATTN_SLOT_RMS_WEIGHT, .buffer = buffer[1]};
    if (shape->rotary_dim)
        bindings[count++] = (clattn_binding){.slot = CLATTN_SLOT_ANGLES, .buffer = buffer[2]};
    rig_step(dispatcher, plan, bindings, count);
    clattn_plan_destroy(plan);
    for (int i = 0; i < 3; i++)
        good(clattn_buffer_destroy(buffer[i]));
}

static void append_shape(clattn_context *context, clattn_dispatcher *dispatcher, size_t n)
{
    const int64_t entry = HEADS * TOKENS * shapes[n].head_dim;
    const size_t bytes = (size_t)entry * sizeof(float);
    float *k = malloc(bytes), *v = malloc(bytes), *expected = malloc(bytes * BATCH);
    subject s;
    cr_assert(k && v && expected);
    make(&s, &shapes[n]);
    clattn_kv_cache *cache = open_cache(context, &shapes[n]);
    append(context, dispatcher, cache, &s);
    compute(context, dispatcher, &s, &(part){0, BATCH, CLATTN_F32, expected});
    for (int b = 0; b < BATCH; b++) {
        const clattn_kv_range range = {(uint64_t)b, 0, s.positions[b], TOKENS};
        good(clattn_kv_cache_read(cache, &range, k, v));
        cr_assert_eq(memcmp(k, expected + b * entry, bytes), 0, "%s: keys of %d", rig_said(), b);
        cr_assert_eq(memcmp(v, s.x + b * entry, bytes), 0, "%s: values of %d", rig_said(), b);
    }
    clattn_kv_cache_destroy(cache);
    drop(&s);
    free(k);
    free(v);
    free(expected);
}

Test(rms_norm, of_keys_while_they_are_appended)
{
    each_shape(append_shape);
}
