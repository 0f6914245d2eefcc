/* Rotary embedding against the formula in double precision: both pairings, part of the dimensions,
 * types, strides, positions; on every device. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/rotary.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 2, HEADS = 3, TOKENS = 70, POSITIONS = 5000 };

static const struct {
    int64_t head_dim, rotary_dim;
    uint32_t interleaved;
    double base;
    bool half, tokens_first;
} cases[] = {
    {64, 64, 0, 10000, false, false},   {64, 64, 1, 10000, false, true},
    {80, 32, 0, 500000, false, true},   {33, 2, 1, 10, false, false},
    {576, 576, 0, 10000, false, false}, {16, 8, 1, 10000, true, false},
};

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* What a row becomes, (head_dim). */
static void expect_row(const float *x, size_t n, int64_t position, double *expected)
{
    const oracle_rotation by = {cases[n].rotary_dim, cases[n].interleaved, cases[n].base};
    for (int64_t d = 0; d < cases[n].head_dim; d++)
        expected[d] = (double)x[d];
    oracle_rotate(&by, (double)position, expected);
}

/* One case with its arrays. */
typedef struct rotation {
    clattn_rotary_desc desc;
    int64_t count;    /* elements of either tensor */
    float *x, *out;   /* (count) as the rows lie in memory */
    float *angles;    /* (POSITIONS, rotary_dim) */
    uint16_t *halves; /* (count) x, then out, where they are stored as float16 */
    uint64_t bytes, angle_bytes;
    bool each; /* tokens have positions of their own */
} rotation;

static const int32_t positions[BATCH] = {0, POSITIONS - TOKENS};

/* Positions below `limit` that neither ascend nor differ, as in a tree of drafts. */
static int32_t scattered(int64_t token, int64_t limit)
{
    return (int32_t)(token * 3331 % limit / 2);
}

static int64_t position_of(const rotation *r, int64_t b, int64_t i)
{
    return r->each ? scattered(b * TOKENS + i, POSITIONS) : positions[b] + i;
}

static void describe(rotation *r, size_t n)
{
    const int64_t dim = cases[n].head_dim;
    clattn_rotary_desc_init(&r->desc);
    r->desc.interleaved = cases[n].interleaved;
    r->desc.batch = BATCH;
    r->desc.n_head = HEADS;
    r->desc.n = TOKENS;
    r->desc.head_dim = dim;
    r->desc.rotary_dim = cases[n].rotary_dim;
    r->desc.n_positions = POSITIONS;
    clattn_tensor *q = &r->desc.tensor[CLATTN_SLOT_Q];
    q->dtype = cases[n].half ? CLATTN_F16 : CLATTN_F32;
    q->strided = 1;
    q->stride[0] = HEADS * TOKENS * dim;
    q->stride[1] = cases[n].tokens_first ? dim : TOKENS * dim;
    q->stride[2] = cases[n].tokens_first ? HEADS * dim : dim;
    q->stride[3] = 1;
    r->desc.tensor[CLATTN_SLOT_OUT] = *q;
    if (r->each)
        r->desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
    r->desc.tensor[CLATTN_SLOT_TOKEN_POSITIONS] =
        (clattn_tensor){.strided = 1, .stride = {1, BATCH}}; /* of both entries side by side */
}

static void make(rotation *r, size_t n)
{
    uint32_t state = 7;
    describe(r, n);
    r->count = BATCH * HEADS * TOKENS * cases[n].head_dim;
    r->bytes = (uint64_t)r->count * (cases[n].half ? sizeof *r->halves : sizeof *r->x);
    r->angle_bytes = (uint64_t)(POSITIONS * cases[n].rotary_dim) * sizeof *r->angles;
    r->x = malloc((size_t)r->count * sizeof *r->x);
    r->out = malloc((size_t)r->count * sizeof *r->out);
    r->halves = malloc((size_t)r->count * sizeof *r->halves);
    r->angles = malloc((size_t)r->angle_bytes);
    cr_assert(r->x && r->out && r->halves && r->angles);
    for (int64_t i = 0; i < r->count; i++) {
        r->x[i] = rig_number(&state);
        r->halves[i] = oracle_to_f16(r->x[i]);
        if (cases[n].half)
            r->x[i] = oracle_from_f16(r->halves[i]);
    }
    good(clattn_rotary_angles(POSITIONS, cases[n].rotary_dim, cases[n].base, NULL, r->angles));
}

static void compute(clattn_context *context, clattn_dispatcher *dispatcher, rotation *r, bool half)
{
    int32_t each[TOKENS][BATCH];
    clattn_plan *plan;
    good(clattn_plan_rotary(context, &r->desc, &plan));
    for (int64_t i = 0; i < TOKENS; i++)
        for (int64_t b = 0; b < BATCH; b++)
            each[i][b] = (int32_t)position_of(r, b, i);
    clattn_buffer *buffer[] = {
        rig_filled(context, half ? (void *)r->halves : (void *)r->x, r->bytes),
        rig_filled(context, NULL, r->bytes), rig_filled(context, r->angles, r->angle_bytes)};
    clattn_binding bindings[] = {{.slot = CLATTN_SLOT_Q, .buffer = buffer[0]},
                                 {.slot = CLATTN_SLOT_OUT, .buffer = buffer[1]},
                                 {.slot = CLATTN_SLOT_ANGLES, .buffer = buffer[2]},
                                 {.slot = CLATTN_SLOT_POSITIONS, .host = positions}};
    if (r->each)
        bindings[3] = (clattn_binding){.slot = CLATTN_SLOT_TOKEN_POSITIONS, .host = each};
    rig_step(dispatcher, plan, bindings, 4);
    good(clattn_buffer_read(buffer[1], 0, half ? (void *)r->halves : (void *)r->out, r->bytes));
    clattn_plan_destroy(plan);
    for (int i = 0; i < 3; i++)
        good(clattn_buffer_destroy(buffer[i]));
}

static void check_row(const rotation *r, size_t n, int64_t row, int64_t position)
{
    double expected[576];
    expect_row(r->x + row, n, position, expected);
    for (int64_t d = 0; d < cases[n].head_dim; d++) {
        const double got = cases[n].half ? oracle_from_f16(r->halves[row + d]) : r->out[row + d];
        cr_assert(fabs(got - expected[d]) <= (cases[n].half ? 1e-3 : 1e-6),
                  "%s: element %d at position %d is %g, not %g", rig_said(), (int)d, (int)position,
                  got, expected[d]);
    }
}

static void run_case(clattn_context *context, clattn_dispatcher *dispatcher, size_t n, bool each)
{
    rotation r = {.each = each};
    make(&r, n);
    compute(context, dispatcher, &r, cases[n].half);
    const int64_t *stride = r.desc.tensor[CLATTN_SLOT_Q].stride;
    for (int64_t b = 0; b < BATCH; b++)
        for (int64_t h = 0; h < HEADS; h++)
            for (int64_t i = 0; i < TOKENS; i++)
                check_row(&r, n, b * stride[0] + h * stride[1] + i * stride[2],
                          position_of(&r, b, i));
    free(r.x);
    free(r.out);
    free(r.halves);
    free(r.angles);
}

Test(rotary, follows_the_formula)
{
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    for (size_t n = 0; n < COUNT(cases); n++) {
        rig_say("case %d", (int)n);
        run_case(context, dispatcher, n, false);
        rig_say("case %d, positions of tokens", (int)n);
        run_case(context, dispatcher, n, true);
    }
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}

Test(rotary, angles_are_those_of_the_frequencies)
{
    static const double frequencies[] = {0.5, 2};
    float angles[3][2][2];
    good(clattn_rotary_angles(3, 4, 0, frequencies, &angles[0][0][0]));
    cr_expect_float_eq(angles[2][0][0], (float)cos(1.0), 1e-7);
    cr_expect_float_eq(angles[2][1][1], (float)sin(4.0), 1e-7);
    cr_expect_eq(clattn_rotary_angles(3, 3, 1, NULL, &angles[0][0][0]), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_rotary_angles(-1, 4, 1, NULL, &angles[0][0][0]), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_rotary_angles(3, 4, 0, NULL, &angles[0][0][0]), CLATTN_ERR_ARGUMENT);
    cr_expect_eq(clattn_rotary_angles(3, 4, 1, NULL, NULL), CLATTN_ERR_ARGUMENT);
}

/* ---- while appending ------------------------------------------------------------------------- */

enum { LATER = 30 }; /* tokens that are appended first */

static clattn_kv_cache *open_cache(clattn_context *context, size_t n)
{
    clattn_kv_cache_desc desc;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc_init(&desc);
    desc.layers = 1;
    desc.n_kv_head = HEADS;
    desc.head_dim = desc.value_dim = cases[n].head_dim;
    desc.page_size = 16;
    desc.pages = 8;
    good(clattn_kv_cache_create(context, &desc, &cache));
    good(clattn_kv_cache_add(cache, 1));
    return cache;
}

static clattn_plan *plan_append(clattn_context *context, clattn_kv_cache *cache, size_t n,
                                int64_t tokens, bool each)
{
    const int64_t dim = cases[n].head_dim;
    clattn_append_desc desc;
    clattn_plan *plan;
    clattn_append_desc_init(&desc);
    desc.batch = 1;
    desc.n_kv = tokens;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
    if (each)
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
    desc.rotary_dim = cases[n].rotary_dim;
    desc.interleaved = cases[n].interleaved;
    desc.n_positions = TOKENS;
    good(clattn_kv_cache_describe_append(cache, TOKENS, &desc));
    for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++)
        desc.tensor[slot] = (clattn_tensor){.strided = 1, .stride = {0, TOKENS * dim, dim, 1}};
    good(clattn_plan_append(context, &desc, &plan));
    return plan;
}

/* Tokens `begin` to `end` - 1 of x (HEADS, TOKENS, head_dim), as keys and as values. */
static void append_chunk(clattn_context *context, clattn_dispatcher *dispatcher,
                         clattn_kv_cache *cache, const rotation *r, size_t n, int64_t begin)
{
    const int64_t tokens = begin ? TOKENS - begin : LATER, dim = cases[n].head_dim;
    const uint64_t id = 1, bytes = (uint64_t)(HEADS * TOKENS * dim) * sizeof(float);
    const int32_t position = (int32_t)begin;
    int32_t pages[5], length, each[TOKENS];
    clattn_plan *plan = plan_append(context, cache, n, tokens, r->each);
    for (int64_t i = 0; i < tokens; i++)
        each[i] = scattered(begin + i, TOKENS);
    good(clattn_kv_cache_extend(cache, dispatcher, &id, &tokens, 1));
    good(clattn_kv_cache_tables(cache, &id, 1, 5, pages, &length));
    clattn_binding bindings[8] = {
        {.slot = CLATTN_SLOT_K, .buffer = rig_filled(context, r->x, bytes)},
        {.slot = CLATTN_SLOT_V, .buffer = rig_filled(context, r->x, bytes)},
        {.slot = CLATTN_SLOT_ANGLES,
         .buffer = rig_filled(context, r->angles,
                              (uint64_t)(TOKENS * cases[n].rotary_dim) * sizeof(float))},
        {.slot = CLATTN_SLOT_PAGES, .host = pages},
        {.slot = CLATTN_SLOT_POSITIONS, .host = &position},
    };
    bindings[0].offset = bindings[1].offset = (uint64_t)(begin * dim) * sizeof(float);
    good(clattn_kv_cache_bind(cache, 0, 1, bindings + 5));
    bindings[7] = (clattn_binding){.slot = CLATTN_SLOT_TOKEN_POSITIONS, .host = each};
    rig_step(dispatcher, plan, bindings, r->each ? 8 : 7);
    clattn_plan_destroy(plan);
    for (int i = 0; i < 3; i++)
        good(clattn_buffer_destroy(bindings[i].buffer));
}

static void append_case(clattn_context *context, clattn_dispatcher *dispatcher, size_t n, bool each)
{
    const int64_t dim = cases[n].head_dim, count = HEADS * TOKENS * dim;
    const clattn_kv_range all = {1, 0, 0, TOKENS};
    float *k = malloc((size_t)count * sizeof *k), *v = malloc((size_t)count * sizeof *v);
    rotation r = {.each = each};
    cr_assert(k && v);
    make(&r, n);
    clattn_kv_cache *cache = open_cache(context, n);
    append_chunk(context, dispatcher, cache, &r, n, 0);
    append_chunk(context, dispatcher, cache, &r, n, LATER);
    good(clattn_kv_cache_read(cache, &all, k, v));
    cr_assert_eq(memcmp(v, r.x, (size_t)count * sizeof *v), 0, "%s: values changed", rig_said());
    for (int64_t row = 0; row < HEADS * TOKENS; row++) {
        const int64_t token = row % TOKENS;
        double expected[576];
        expect_row(r.x + row * dim, n, each ? scattered(token, TOKENS) : token, expected);
        for (int64_t d = 0; d < dim; d++)
            cr_assert(fabs((double)k[row * dim + d] - expected[d]) <= 1e-6,
                      "%s: element %d of token %d", rig_said(), (int)d, (int)token);
    }
    clattn_kv_cache_destroy(cache);
    free(r.x);
    free(r.out);
    free(r.halves);
    free(r.angles);
    free(k);
    free(v);
}

Test(rotary, of_keys_while_they_are_appended)
{
    clattn_context *context = rig_open();
    clattn_dispatcher *dispatcher;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    for (size_t n = 0; n < COUNT(cases); n++) {
        rig_say("case %d", (int)n);
        append_case(context, dispatcher, n, false);
        rig_say("case %d, positions of tokens", (int)n);
        append_case(context, dispatcher, n, true);
    }
    clattn_dispatcher_destroy(dispatcher);
    rig_close(context);
}
