/* Queries that attention normalises and rotates: the bits must be those of clattn_plan_rotary
 * before attention, with every kernel, wherever positions come from. */
#include <clattn/layer.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "tests/oracle/storage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { BATCH = 3, POSITIONS = 1200 };

static const struct shape {
    int64_t n_head, n_kv_head, n_q, n_kv, head_dim, rotary_dim;
    clattn_align align;
    int64_t align_offset, page_size, top_k;
    clattn_dtype type;                                                /* of Q */
    uint32_t interleaved, rms_norm, causal, given, q_lengths, ragged; /* given: 2: each token's */
} shapes[] = {
    {8, 2, 1, 1030, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 16, 0, CLATTN_F32, 0, 1, 1, 0, 0, 0},
    {4, 4, 16, 600, 32, 16, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 5, 0, CLATTN_F16, 1, 1, 1, 0, 1, 0},
    {4, 1, 3, 40, 48, 48, CLATTN_ALIGN_NONE, 0, 16, 0, CLATTN_BF16, 0, 0, 0, 1, 0, 0},
    {6, 3, 70, 70, 64, 64, CLATTN_ALIGN_TOP_LEFT, 0, 0, 0, CLATTN_F32, 0, 0, 1, 0, 0, 0},
    {2, 2, 130, 300, 64, 32, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 64, 0, CLATTN_F32, 1, 1, 1, 0, 1, 0},
    {2, 1, 9, 33, 50, 50, CLATTN_ALIGN_OFFSET, 700, 0, 0, CLATTN_F32, 0, 1, 0, 0, 0, 0},
    {4, 2, 37, 45, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 0, 0, CLATTN_F32, 0, 1, 1, 0, 1, 1},
    {4, 2, 5, 45, 33, 0, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 0, 0, CLATTN_F32, 0, 1, 1, 0, 0, 0},
    {4, 2, 2, 900, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 16, 20, CLATTN_F32, 0, 1, 1, 0, 0, 0},
    {4, 4, 2, 5, 60, 60, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 4, 3, CLATTN_F16, 1, 0, 1, 1, 1, 0},
    {4, 2, 37, 45, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT, 0, 0, 0, CLATTN_F32, 0, 1, 1, 2, 1, 1},
    {4, 1, 5, 40, 48, 48, CLATTN_ALIGN_NONE, 0, 16, 0, CLATTN_BF16, 0, 0, 0, 2, 1, 0},
};

static void good(clattn_status status)
{
    cr_assert_eq(status, CLATTN_OK, "%s: %s", rig_said(), clattn_error_message());
}

/* Lengths of the batch entries: some are less than they may be, one is 0 where it may. */
static const int64_t queries_less[BATCH] = {0, 1, 3};
static const int64_t keys_less[BATCH] = {0, 5, 2};

typedef struct subject {
    const struct shape *shape;
    int64_t tokens_q, tokens_kv; /* of a head and batch entry; ragged: of all */
    void *q;
    float *rotated, *k, *v, *angles, *weight, *out[2], *lse[2];
    int32_t q_lengths[BATCH + 1], kv_lengths[BATCH + 1], positions[BATCH], *pages;
    int32_t each[POSITIONS]; /* as queries lie: (BATCH, n_q), ragged (tokens_q) */
    int64_t page_limit, n_pages;
} subject;

static float *numbers(int64_t count, uint32_t seed)
{
    float *made = malloc((size_t)(count + 1) * sizeof *made);
    cr_assert(made);
    for (int64_t i = 0; i < count; i++)
        made[i] = rig_number(&seed);
    return made;
}

static int64_t entries(const subject *s)
{
    return s->shape->ragged ? 1 : BATCH;
}

static int64_t count_q(const subject *s)
{
    return entries(s) * s->tokens_q * s->shape->n_head * s->shape->head_dim;
}

static int64_t count_kv(const subject *s)
{
    const int64_t tokens =
        s->shape->page_size ? s->n_pages * s->shape->page_size : entries(s) * s->tokens_kv;
    return tokens * s->shape->n_kv_head * s->shape->head_dim;
}

static void make_lengths(subject *s)
{
    const struct shape *shape = s->shape;
    const int ragged = (int)shape->ragged; /* cumulative lengths begin with 0 */
    s->tokens_q = shape->n_q;
    s->tokens_kv = shape->n_kv;
    for (int b = 0; b < BATCH; b++) {
        const int64_t q = shape->n_q > queries_less[b] ? shape->n_q - queries_less[b] : 0;
        s->q_lengths[b + ragged] = (int32_t)(q + (ragged ? s->q_lengths[b] : 0));
        s->kv_lengths[b + ragged] =
            (int32_t)(shape->n_kv - keys_less[b] + (ragged ? s->kv_lengths[b] : 0));
        s->positions[b] = (int32_t)(100 * b + 7);
    }
    for (int i = 0; i < POSITIONS; i++)
        s->each[i] = i * 331 % POSITIONS / 2;
    if (shape->ragged) {
        s->tokens_q = s->q_lengths[BATCH];
        s->tokens_kv = s->kv_lengths[BATCH];
    }
}

/* Pages of an entry from the last one back. */
static void make_pages(subject *s)
{
    const int64_t size = s->shape->page_size;
    s->page_limit = size ? (s->shape->n_kv - 1) / size + 1 : 0;
    s->n_pages = BATCH * s->page_limit;
    s->pages = malloc(sizeof *s->pages * (size_t)(s->n_pages + 1));
    cr_assert(s->pages);
    for (int64_t i = 0; i < s->n_pages; i++)
        s->pages[i] = (int32_t)(s->n_pages - 1 - i);
}

static void make(subject *s, const struct shape *shape)
{
    memset(s, 0, sizeof *s);
    s->shape = shape;
    make_lengths(s);
    make_pages(s);
    const int64_t q = count_q(s);
    float *plain = numbers(q, 1);
    s->q = plain;
    for (int64_t i = 0; shape->type != CLATTN_F32 && i < q; i++)
        ((uint16_t *)s->q)[i] =
            shape->type == CLATTN_F16 ? oracle_to_f16(plain[i]) : oracle_to_bf16(plain[i]);
    s->rotated = numbers(q, 2);
    s->k = numbers(count_kv(s), 3);
    s->v = numbers(count_kv(s), 4);
    s->weight = numbers(shape->n_head * shape->head_dim, 5);
    s->angles = numbers(POSITIONS * shape->rotary_dim, 6);
    for (int i = 0; i < 2; i++) {
        s->out[i] = numbers(q, 7);
        s->lse[i] = numbers(q, 7);
    }
    if (shape->rotary_dim)
        good(clattn_rotary_angles(POSITIONS, shape->rotary_dim, 10000, NULL, s->angles));
}

static void drop(subject *s)
{
    float *const arrays[] = {s->q,      s->rotated, s->k,      s->v,      s->weight,
                             s->angles, s->out[0],  s->out[1], s->lse[0], s->lse[1]};
    for (size_t i = 0; i < COUNT(arrays); i++)
        free(arrays[i]);
    free(s->pages);
}

/* ---- the two ways ---------------------------------------------------------------------------- */

static void describe(const subject *s, clattn_attention_desc *desc)
{
    const struct shape *shape = s->shape;
    clattn_attention_desc_init(desc);
    desc->batch = BATCH;
    desc->n_head = shape->n_head;
    desc->n_kv_head = shape->n_kv_head;
    desc->n_q = shape->n_q;
    desc->n_kv = shape->n_kv;
    desc->head_dim = desc->value_dim = shape->head_dim;
    desc->causal = shape->causal;
    desc->align = shape->align;
    desc->align_offset = shape->align_offset;
    desc->top_k = shape->top_k;
    desc->ragged = shape->ragged;
    desc->total_q = shape->ragged ? s->tokens_q : 0;
    desc->total_kv = shape->ragged ? s->tokens_kv : 0;
    desc->page_size = shape->page_size;
    desc->n_pages = s->n_pages;
    desc->page_limit = s->page_limit;
    desc->slots = CLATTN_SLOT_BIT(CLATTN_SLOT_LSE) | CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    if (shape->q_lengths)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_Q_LENGTHS);
    if (shape->page_size)
        desc->slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_PAGES);
}

/* What both ways bind alike. */
static uint32_t give(const subject *s, rig_given *given, int way)
{
    const uint64_t rows = (uint64_t)(count_q(s) / s->shape->head_dim), size = sizeof(float);
    uint32_t n = 0;
    const uint64_t lengths = (BATCH + s->shape->ragged) * sizeof(int32_t);
    given[n++] = (rig_given){CLATTN_SLOT_K, s->k, NULL, (uint64_t)count_kv(s) * size};
    given[n++] = (rig_given){CLATTN_SLOT_V, s->v, NULL, (uint64_t)count_kv(s) * size};
    given[n++] = (rig_given){CLATTN_SLOT_OUT, NULL, s->out[way], (uint64_t)count_q(s) * size};
    given[n++] = (rig_given){CLATTN_SLOT_LSE, NULL, s->lse[way], rows * size};
    given[n++] = (rig_given){CLATTN_SLOT_KV_LENGTHS, s->kv_lengths, NULL, lengths};
    if (s->shape->q_lengths)
        given[n++] = (rig_given){CLATTN_SLOT_Q_LENGTHS, s->q_lengths, NULL, lengths};
    if (s->shape->page_size)
        given[n++] =
            (rig_given){CLATTN_SLOT_PAGES, s->pages, NULL, (uint64_t)s->n_pages * sizeof(int32_t)};
    return n;
}

static rig_given give_weight(const subject *s)
{
    return (rig_given){CLATTN_SLOT_RMS_WEIGHT, s->weight, NULL,
                       (uint64_t)(s->shape->n_head * s->shape->head_dim) * sizeof(float)};
}

static rig_given give_angles(const subject *s)
{
    return (rig_given){CLATTN_SLOT_ANGLES, s->angles, NULL,
                       (uint64_t)(POSITIONS * s->shape->rotary_dim) * sizeof(float)};
}

static rig_given give_q(const subject *s)
{
    return (rig_given){CLATTN_SLOT_Q, s->q, NULL,
                       (uint64_t)count_q(s) * (s->shape->type == CLATTN_F32 ? 4 : 2)};
}

/* Attention does it; false: the kernel declined. */
static bool together(clattn_context *context, clattn_dispatcher *dispatcher, const subject *s)
{
    const struct shape *shape = s->shape;
    clattn_attention_desc desc;
    clattn_plan *plan;
    rig_given given[16];
    describe(s, &desc);
    desc.tensor[CLATTN_SLOT_Q].dtype = shape->type;
    uint32_t n = give(s, given, 0);
    given[n++] = give_q(s);
    if (shape->rms_norm) {
        desc.rms_norm = 1;
        desc.rms_epsilon = 1e-6f;
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT);
        given[n++] = give_weight(s);
    }
    if (shape->rotary_dim) {
        desc.rotary_dim = shape->rotary_dim;
        desc.interleaved = shape->interleaved;
        desc.n_positions = POSITIONS;
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_ANGLES);
        given[n++] = give_angles(s);
    }
    if (shape->given == 2) {
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
        given[n++] = (rig_given){CLATTN_SLOT_TOKEN_POSITIONS, s->each, NULL,
                                 (uint64_t)(entries(s) * s->tokens_q) * sizeof(int32_t)};
    } else if (shape->given) {
        desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_POSITIONS);
        given[n++] = (rig_given){CLATTN_SLOT_POSITIONS, s->positions, NULL, sizeof s->positions};
    }
    const clattn_status status = clattn_plan_attention(context, &desc, &plan);
    if (status == CLATTN_ERR_UNSUPPORTED)
        return false;
    good(status);
    rig_run_plan(context, dispatcher, plan, given, n);
    clattn_plan_destroy(plan);
    return true;
}

/* Where a batch entry's query 0 is. */
static int64_t position_of(const subject *s, int b)
{
    const struct shape *shape = s->shape;
    const int ragged = (int)shape->ragged;
    int64_t queries = shape->n_q, keys = s->kv_lengths[b + ragged];
    if (shape->given)
        return s->positions[b];
    if (shape->align == CLATTN_ALIGN_OFFSET)
        return shape->align_offset;
    if (shape->align != CLATTN_ALIGN_BOTTOM_RIGHT)
        return 0;
    if (shape->q_lengths)
        queries = s->q_lengths[b + ragged];
    if (ragged) {
        queries -= s->q_lengths[b];
        keys -= s->kv_lengths[b];
    }
    return keys - queries;
}

/* Rotates tokens of one entry, (token, head, dim) if ragged, else (head, token, dim). */
static void rotate_entry(clattn_context *context, clattn_dispatcher *dispatcher, const subject *s,
                         int b)
{
    const struct shape *shape = s->shape;
    const int64_t dim = shape->head_dim, ragged = shape->ragged;
    const int64_t token = ragged ? s->q_lengths[b] : b * shape->n_q;
    const int64_t first = token * shape->n_head * dim;
    const int64_t tokens = ragged ? s->q_lengths[b + 1] - s->q_lengths[b] : shape->n_q;
    const uint64_t count = (uint64_t)(tokens * shape->n_head * dim);
    const uint64_t size = shape->type == CLATTN_F32 ? 4 : 2;
    const int32_t position = (int32_t)position_of(s, b);
    clattn_rotary_desc desc;
    clattn_plan *plan;
    clattn_rotary_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = shape->n_head;
    desc.n = tokens;
    desc.head_dim = dim;
    desc.rotary_dim = shape->rotary_dim;
    desc.interleaved = shape->interleaved;
    desc.n_positions = shape->rotary_dim ? POSITIONS : 0;
    clattn_tensor *q = &desc.tensor[CLATTN_SLOT_Q];
    *q = (clattn_tensor){.strided = 1, .stride = {0, tokens * dim, dim, 1}};
    if (ragged) {
        q->stride[1] = dim;
        q->stride[2] = shape->n_head * dim;
    }
    desc.tensor[CLATTN_SLOT_OUT] = *q;
    q->dtype = shape->type;
    rig_given given[6] = {
        {CLATTN_SLOT_Q, (char *)s->q + (uint64_t)first * size, NULL, count * size},
        {CLATTN_SLOT_OUT, NULL, s->rotated + first, count * sizeof(float)}};
    uint32_t n = 2;
    if (shape->rms_norm) {
        desc.rms_norm = 1;
        desc.rms_epsilon = 1e-6f;
        desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_RMS_WEIGHT);
        given[n++] = give_weight(s);
    }
    if (shape->rotary_dim) {
        given[n++] = give_angles(s);
        given[n++] = (rig_given){CLATTN_SLOT_POSITIONS, &position, NULL, sizeof position};
        if (shape->given == 2) {
            desc.slots |= CLATTN_SLOT_BIT(CLATTN_SLOT_TOKEN_POSITIONS);
            given[n - 1] = (rig_given){CLATTN_SLOT_TOKEN_POSITIONS, s->each + token, NULL,
                                       (uint64_t)tokens * sizeof(int32_t)};
        }
    }
    good(clattn_plan_rotary(context, &desc, &plan));
    rig_run_plan(context, dispatcher, plan, given, n);
    clattn_plan_destroy(plan);
}

static void apart(clattn_context *context, clattn_dispatcher *dispatcher, const subject *s)
{
    clattn_attention_desc desc;
    clattn_plan *plan;
    rig_given given[16];
    for (int b = 0; b < BATCH; b++)
        rotate_entry(context, dispatcher, s, b);
    describe(s, &desc);
    uint32_t n = give(s, given, 1);
    given[n++] = (rig_given){CLATTN_SLOT_Q, s->rotated, NULL, (uint64_t)count_q(s) * sizeof(float)};
    good(clattn_plan_attention(context, &desc, &plan));
    rig_run_plan(context, dispatcher, plan, given, n);
    clattn_plan_destroy(plan);
}

static bool run_shape(clattn_context *context, clattn_dispatcher *dispatcher,
                      const struct shape *shape)
{
    subject s;
    make(&s, shape);
    const bool ran = together(context, dispatcher, &s);
    if (ran) {
        apart(context, dispatcher, &s);
        const size_t bytes = (size_t)count_q(&s) * sizeof(float);
        cr_assert_eq(memcmp(s.out[0], s.out[1], bytes), 0, "%s: other bits", rig_said());
        cr_assert_eq(memcmp(s.lse[0], s.lse[1], bytes / (size_t)shape->head_dim), 0,
                     "%s: other LSE", rig_said());
    }
    drop(&s);
    return ran;
}

/* Returns a bit for each shape that the kernel does; *simd: the device is one of vectors. */
static uint32_t run_kernel(const char *kernels, bool *simd)
{
    clattn_device_info info = {.struct_size = sizeof info};
    clattn_context_options options;
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    uint32_t ran = 0;
    clattn_context_options_init(&options);
    options.kernel = kernels;
    good(clattn_context_create(&options, &context));
    good(clattn_context_device_info(context, &info));
    *simd = strcmp(info.family, "simd") == 0;
    good(clattn_dispatcher_create(context, NULL, &dispatcher));
    for (size_t n = 0; n < COUNT(shapes); n++) {
        rig_say("%s, shape %d", kernels, (int)n);
        if (run_shape(context, dispatcher, &shapes[n]))
            ran |= 1u << n;
    }
    clattn_dispatcher_destroy(dispatcher);
    good(clattn_context_destroy(context));
    return ran;
}

Test(query_rotation, has_the_bits_of_the_operation)
{
    static const struct {
        const char *kernels;
        uint32_t simd, others; /* what runs on devices of vectors, and on others */
    } rows[] = {{"attention_reference,rotary", 0xfff, 0xfff},
                {"top_k_reference,rotary", 0xfff, 0xfff},
                {"attention_decode_simd,rotary", 0xba7, 0x300},
                {"attention_simd,rotary", 0xfff, 0x300},
                {"attention_decode_tile,rotary", 0xba7, 0xba7},
                {"attention_tile,rotary", 0xfff, 0xfff},
                {"top_k_simd,rotary", 0xfff, 0xcff},
                {NULL, 0xfff, 0xfff}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool simd;
        const uint32_t ran = run_kernel(rows[i].kernels, &simd);
        cr_expect_eq(ran, simd ? rows[i].simd : rows[i].others, "%s: shapes 0x%x", rows[i].kernels,
                     (unsigned)ran);
    }
}
