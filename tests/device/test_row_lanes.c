/* Operations on rows whose work-items share them: on a device that claims to be a GPU they must
 * have the bits that they have on this one, where a work-item has rows for itself. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "claimed_opencl.h"
#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { HEADS = 3, TOKENS = 39, LIMIT = 64, PAGE = 8, MOST = 576, SHIFT = 5 };

static const struct shape {
    clattn_dtype stored, given;
    int64_t head_dim, rotary_dim, scale_channels;
    uint32_t interleaved, rms_norm;
} shapes[] = {
    {CLATTN_F32, CLATTN_F32, 64, 64, 0, 0, 1},    {CLATTN_F32, CLATTN_F32, 576, 576, 0, 1, 1},
    {CLATTN_F32, CLATTN_F32, 97, 34, 0, 0, 1},    {CLATTN_F16, CLATTN_F32, 80, 32, 0, 1, 0},
    {CLATTN_BF16, CLATTN_F32, 128, 128, 0, 0, 0}, {CLATTN_F32, CLATTN_F32, 1, 0, 0, 0, 1},
    {CLATTN_F32, CLATTN_F16, 33, 2, 0, 1, 0},     {CLATTN_I8, CLATTN_F32, 64, 64, 0, 0, 0},
    {CLATTN_I8, CLATTN_F32, 128, 64, 32, 1, 1},   {CLATTN_I8, CLATTN_F32, 35, 0, 0, 0, 0},
    {CLATTN_I4, CLATTN_F32, 96, 96, 32, 0, 1},    {CLATTN_I4, CLATTN_F32, 34, 34, 0, 1, 0},
};

enum { ELEMENTS = HEADS * TOKENS * MOST };

/* What one device makes of a shape. */
typedef struct outcome {
    float rotated[ELEMENTS];
    unsigned char k[2][4 * ELEMENTS], v[4 * ELEMENTS]; /* k: before and after it is shifted */
    float k_scales[ELEMENTS], v_scales[ELEMENTS];
} outcome;

/* A row of zeros, one of large numbers, infinite as float16, and one that isn't finite: the last
 * two aren't shifted, where the sign of NaN would be the compiler's choice. */
static float rows[ELEMENTS], weight[MOST], angles[LIMIT * MOST];

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

static void make_rows(const struct shape *shape)
{
    const int64_t dim = shape->head_dim;
    uint32_t seed = 3;
    for (int i = 0; i < ELEMENTS; i++)
        rows[i] = rig_number(&seed);
    for (int i = 0; i < MOST; i++)
        weight[i] = rig_number(&seed);
    for (int64_t d = 0; d < dim; d++) {
        rows[3 * dim + d] = 0;
        rows[2 * dim + d] *= 1e20f;
    }
    rows[dim + dim / 2] = INFINITY;
    if (shape->rotary_dim)
        good(clattn_rotary_angles(LIMIT, shape->rotary_dim, 10000, NULL, angles));
}

static uint64_t slots_of(const struct shape *shape)
{
    return (shape->rms_norm ? CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT) : 0) |
           (shape->rotary_dim ? CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES) : 0);
}

/* Else there would be nothing to compare. */
static void expect_group(const clattn_plan *plan, uint32_t work_items)
{
    clattn_plan_info info = {.struct_size = sizeof info};
    char expected[32];
    good(clattn_plan_get_info(plan, &info));
    snprintf(expected, sizeof expected, "WG_SIZE=%u", (unsigned)work_items);
    cr_assert(strstr(info.configuration, expected), "%s: %s isn't %s", rig_said(),
              info.configuration, expected);
}

static void rotate(clattn_context *context, clattn_dispatcher *dispatcher,
                   const struct shape *shape, uint32_t work_items, outcome *to)
{
    static const int32_t position = LIMIT - TOKENS;
    const uint64_t bytes = (uint64_t)(HEADS * TOKENS * shape->head_dim) * 4;
    clattn_rotary_desc desc;
    clattn_plan *plan;
    clattn_rotary_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = HEADS;
    desc.n = TOKENS;
    desc.head_dim = shape->head_dim;
    desc.rotary_dim = shape->rotary_dim;
    desc.interleaved = shape->interleaved;
    desc.n_positions = LIMIT;
    desc.rms_norm = shape->rms_norm;
    desc.rms_epsilon = shape->rms_norm ? 1e-6f : 0;
    desc.slots = slots_of(shape) & CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT);
    desc.tensor[CLATTN_SLOT_RMS_WEIGHT] = (clattn_tensor){.strided = 1, .stride = {0, 1}};
    good(clattn_plan_rotary(context, &desc, &plan));
    expect_group(plan, work_items);
    rig_given given[] = {{CLATTN_SLOT_Q, rows, NULL, bytes},
                         {CLATTN_SLOT_OUT, NULL, to->rotated, bytes},
                         {CLATTN_SLOT_ANGLES, angles, NULL, sizeof angles},
                         {CLATTN_SLOT_POSITIONS, &position, NULL, sizeof position},
                         {CLATTN_SLOT_RMS_WEIGHT, weight, NULL, sizeof weight}};
    rig_run_plan(context, dispatcher, plan, given, shape->rms_norm ? 5 : 4);
    clattn_plan_destroy(plan);
}

/* ---- a cache --------------------------------------------------------------------------------- */

typedef struct subject {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_kv_cache *cache;
    const struct shape *shape;
    uint32_t work_items; /* of a group */
    int32_t pages[LIMIT / PAGE];
    clattn_buffer *rows, *weight, *angles;
} subject;

static void open_cache(subject *s)
{
    static const uint64_t id = 0;
    static const int64_t tokens = TOKENS;
    clattn_kv_cache_desc desc;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = 1;
    desc.n_kv_head = HEADS;
    desc.head_dim = desc.value_dim = s->shape->head_dim;
    desc.page_size = PAGE;
    desc.pages = LIMIT / PAGE;
    desc.dtype = s->shape->stored;
    desc.scale_channels = s->shape->scale_channels;
    good(clattn_kv_cache_create(s->context, &desc, &s->cache));
    good(clattn_kv_cache_add(s->cache, id));
    good(clattn_kv_cache_extend(s->cache, s->dispatcher, &id, &tokens, 1));
    good(clattn_kv_cache_tables(s->cache, &id, 1, LIMIT / PAGE, s->pages, NULL));
}

static bool has_scales(const struct shape *shape)
{
    return shape->stored >= CLATTN_I8;
}

static void append(subject *s)
{
    static const int32_t position = 0;
    const struct shape *shape = s->shape;
    clattn_append_desc desc;
    clattn_plan *plan;
    clattn_append_desc_init(&desc);
    desc.batch = 1;
    desc.n_kv = TOKENS;
    desc.rms_norm = shape->rms_norm;
    desc.rms_epsilon = shape->rms_norm ? 1e-6f : 0;
    desc.rotary_dim = shape->rotary_dim;
    desc.interleaved = shape->interleaved;
    desc.n_positions = shape->rotary_dim ? LIMIT : 0;
    desc.slots = slots_of(shape);
    desc.tensor[CLATTN_SLOT_K].dtype = desc.tensor[CLATTN_SLOT_V].dtype = shape->given;
    desc.tensor[CLATTN_SLOT_RMS_WEIGHT] = (clattn_tensor){.strided = 1, .stride = {0, 1}};
    good(clattn_kv_cache_describe_append(s->cache, LIMIT, &desc));
    good(clattn_plan_append(s->context, &desc, &plan));
    expect_group(plan, s->work_items);
    clattn_binding bindings[10] = {{.slot = CLATTN_SLOT_K, .buffer = s->rows},
                                   {.slot = CLATTN_SLOT_V, .buffer = s->rows},
                                   {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
                                   {.slot = CLATTN_SLOT_POSITIONS, .host = &position}};
    uint32_t count = 6;
    good(clattn_kv_cache_bind(s->cache, 0, 1, bindings + 4));
    if (has_scales(shape)) {
        good(clattn_kv_cache_bind_scales(s->cache, 0, bindings + count));
        count += 2;
    }
    if (shape->rms_norm)
        bindings[count++] = (clattn_binding){.slot = CLATTN_SLOT_RMS_WEIGHT, .buffer = s->weight};
    if (shape->rotary_dim)
        bindings[count++] = (clattn_binding){.slot = CLATTN_SLOT_ANGLES, .buffer = s->angles};
    rig_step(s->dispatcher, plan, bindings, count);
    clattn_plan_destroy(plan);
}

/* All keys but the first 3. */
static void shift(subject *s)
{
    static const int32_t position = 3, length = TOKENS - 3, more = SHIFT;
    clattn_shift_desc desc;
    clattn_plan *plan;
    clattn_shift_desc_init(&desc);
    desc.batch = 1;
    desc.rotary_dim = s->shape->rotary_dim;
    desc.interleaved = s->shape->interleaved;
    desc.n_positions = LIMIT;
    good(clattn_kv_cache_describe_shift(s->cache, LIMIT, &desc));
    good(clattn_plan_shift(s->context, &desc, &plan));
    expect_group(plan, s->work_items);
    clattn_binding bindings[7] = {{.slot = CLATTN_SLOT_ANGLES, .buffer = s->angles},
                                  {.slot = CLATTN_SLOT_PAGES, .host = s->pages},
                                  {.slot = CLATTN_SLOT_POSITIONS, .host = &position},
                                  {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &length},
                                  {.slot = CLATTN_SLOT_SHIFTS, .host = &more}};
    good(clattn_kv_cache_bind(s->cache, 0, 1, bindings + 5));
    rig_step(s->dispatcher, plan, bindings, 6);
    clattn_plan_destroy(plan);
}

static void fill_cache(subject *s, outcome *to)
{
    const clattn_kv_range all = {0, 0, 0, TOKENS};
    open_cache(s);
    append(s);
    good(clattn_kv_cache_read(s->cache, &all, to->k[0], to->v));
    if (has_scales(s->shape))
        good(clattn_kv_cache_read_scales(s->cache, &all, to->k_scales, to->v_scales));
    else if (s->shape->rotary_dim) {
        shift(s);
        good(clattn_kv_cache_read(s->cache, &all, to->k[1], NULL));
    }
    clattn_kv_cache_destroy(s->cache);
}

static void run(clattn_context *context, const struct shape *shape, uint32_t work_items,
                outcome *to)
{
    subject s = {.context = context, .shape = shape, .work_items = work_items};
    memset(to, 0, sizeof *to);
    good(clattn_dispatcher_create(context, NULL, &s.dispatcher));
    s.rows = rig_filled(context, rows, sizeof rows);
    s.weight = rig_filled(context, weight, sizeof weight);
    s.angles = rig_filled(context, angles, sizeof angles);
    if (shape->rotary_dim)
        rotate(context, s.dispatcher, shape, work_items, to);
    fill_cache(&s, to);
    clattn_dispatcher_destroy(s.dispatcher);
    good(clattn_buffer_destroy(s.rows));
    good(clattn_buffer_destroy(s.weight));
    good(clattn_buffer_destroy(s.angles));
}

static void compare(const outcome *a, const outcome *b)
{
    const struct {
        const char *name;
        const void *a, *b;
        size_t size;
    } parts[] = {
        {"rotary", a->rotated, b->rotated, sizeof a->rotated},
        {"keys", a->k[0], b->k[0], sizeof a->k[0]},
        {"shifted keys", a->k[1], b->k[1], sizeof a->k[1]},
        {"values", a->v, b->v, sizeof a->v},
        {"scales of keys", a->k_scales, b->k_scales, sizeof a->k_scales},
        {"scales of values", a->v_scales, b->v_scales, sizeof a->v_scales},
    };
    for (size_t i = 0; i < COUNT(parts); i++)
        cr_assert_eq(memcmp(parts[i].a, parts[i].b, parts[i].size), 0, "%s: %s", rig_said(),
                     parts[i].name);
}

Test(row_lanes, have_the_bits_of_one_work_item)
{
    const claimed_device gpu = {.is_gpu = 1, .local_memory = 16384, .work_group = 64},
                         as_it_is = {0};
    clattn_context *one = claimed_open(&as_it_is, NULL), *lanes = claimed_open(&gpu, NULL);
    outcome *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    cr_assert(a && b);
    for (size_t n = 0; n < COUNT(shapes); n++) {
        rig_say("shape %d", (int)n);
        make_rows(&shapes[n]);
        run(one, &shapes[n], 1, a);
        run(lanes, &shapes[n], 64, b);
        compare(a, b);
    }
    free(a);
    free(b);
    rig_close(one);
    rig_close(lanes);
}
