/* What binding refuses beyond the required slots: host arrays in submissions, the options' slots in
 * the one-call forms, texts that don't compile, merging. Each with its sentence, and nothing is
 * written. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(slot)    CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)

enum { MOST = 16, BYTES = 1 << 12, GUARD = 0x5a };

/* A good submission of two batch entries with every small tensor as a host array, all other tensors
 * in one buffer, one slot every 256 bytes. */
typedef struct bench {
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    clattn_plan *plan;
    clattn_buffer *buffer;
    clattn_binding binding[MOST];
    uint32_t count;
    float alibi[2], sink[2], params[3];
    int32_t kv_lengths[4], block_count[4], block_index[8];
    int64_t seed[3];
} bench;

static clattn_attention_desc describe(void)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 2;
    desc.n_head = desc.n_kv_head = 1;
    desc.n_q = 2;
    desc.n_kv = 3;
    desc.head_dim = desc.value_dim = 2;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.dropout = 0.5f;
    desc.block_q = 1;
    desc.block_kv = 2;
    desc.block_limit = 2;
    desc.n_params = 3;
    desc.mask_function = "int visible(int batch, int head, int q, int k, __global const float *p)\n"
                         "{ return p[2] > 0.0f || k == 0; }\n";
    desc.slots = BIT(ALIBI) | BIT(SINK) | BIT(KV_LENGTHS) | BIT(BLOCK_COUNT) | BIT(BLOCK_INDEX) |
                 BIT(PARAMS) | BIT(SEED);
    return desc;
}

static clattn_binding *binding_of(bench *b, clattn_slot slot)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->binding[i].slot == slot)
            return &b->binding[i];
    return &b->binding[0];
}

static void set_bindings(bench *b)
{
    const clattn_binding hosts[] = {
        {CLATTN_SLOT_ALIBI, 0, NULL, 0, b->alibi},
        {CLATTN_SLOT_SINK, 0, NULL, 0, b->sink},
        {CLATTN_SLOT_KV_LENGTHS, 0, NULL, 0, b->kv_lengths},
        {CLATTN_SLOT_BLOCK_COUNT, 0, NULL, 0, b->block_count},
        {CLATTN_SLOT_BLOCK_INDEX, 0, NULL, 0, b->block_index},
        {CLATTN_SLOT_PARAMS, 0, NULL, 0, b->params},
        {CLATTN_SLOT_SEED, 0, NULL, 0, b->seed},
    };
    b->count = 0;
    for (int slot = CLATTN_SLOT_Q; slot <= CLATTN_SLOT_OUT; slot++)
        b->binding[b->count++] =
            (clattn_binding){(clattn_slot)slot, 0, b->buffer, 256u * (uint64_t)slot, NULL};
    for (size_t i = 0; i < COUNT(hosts); i++)
        b->binding[b->count++] = hosts[i];
}

static void set_up(clattn_context *context, bench *b)
{
    static const unsigned char zero[BYTES];
    const clattn_attention_desc desc = describe();
    memset(b, 0, sizeof *b);
    b->context = context;
    b->kv_lengths[0] = 3;
    b->kv_lengths[1] = 1;
    for (int i = 0; i < 4; i++) {
        b->block_count[i] = 2;
        b->block_index[2 * i + 1] = 1;
    }
    cr_assert_eq(clattn_plan_attention(context, &desc, &b->plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &b->dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(context, BYTES, &b->buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(b->buffer, 0, zero, BYTES), CLATTN_OK);
    set_bindings(b);
}

static void tear_down(bench *b)
{
    clattn_dispatcher_destroy(b->dispatcher);
    cr_assert_eq(clattn_buffer_destroy(b->buffer), CLATTN_OK);
    clattn_plan_destroy(b->plan);
}

static clattn_status submit(const bench *b)
{
    const clattn_step step = {.plan = b->plan, .bindings = b->binding, .binding_count = b->count};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    const clattn_status status = clattn_submit(b->dispatcher, &submission, NULL);
    cr_assert_eq(clattn_dispatcher_finish(b->dispatcher), CLATTN_OK);
    return status;
}

static void nothing_wrong(bench *b)
{
    (void)b;
}
static void host_of_a_large_slot(bench *b)
{
    *binding_of(b, CLATTN_SLOT_K) = (clattn_binding){.slot = CLATTN_SLOT_K, .host = b->block_index};
}
static void host_of_an_output(bench *b)
{
    *binding_of(b, CLATTN_SLOT_OUT) =
        (clattn_binding){.slot = CLATTN_SLOT_OUT, .host = b->block_index};
}
static void host_and_buffer(bench *b)
{
    binding_of(b, CLATTN_SLOT_SINK)->buffer = b->buffer;
}
static void large_host_and_buffer(bench *b)
{
    binding_of(b, CLATTN_SLOT_Q)->host = b->alibi;
}
static void host_with_offset(bench *b)
{
    binding_of(b, CLATTN_SLOT_ALIBI)->offset = 4;
}
static void odd_host(bench *b)
{
    binding_of(b, CLATTN_SLOT_KV_LENGTHS)->host = (const char *)b->kv_lengths + 2;
}
static void odd_seed(bench *b)
{
    binding_of(b, CLATTN_SLOT_SEED)->host = (const char *)b->seed + 4;
}
static void neither(bench *b)
{
    binding_of(b, CLATTN_SLOT_PARAMS)->host = NULL;
}
static void host_reserved(bench *b)
{
    binding_of(b, CLATTN_SLOT_SEED)->reserved = 1;
}
static void odd_seed_offset(bench *b)
{
    *binding_of(b, CLATTN_SLOT_SEED) =
        (clattn_binding){.slot = CLATTN_SLOT_SEED, .buffer = b->buffer, .offset = 1028};
}
static void lengths_behind_the_end(bench *b)
{
    *binding_of(b, CLATTN_SLOT_KV_LENGTHS) =
        (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .buffer = b->buffer, .offset = BYTES - 4};
}
static void out_over_lengths(bench *b)
{
    *binding_of(b, CLATTN_SLOT_KV_LENGTHS) = (clattn_binding){
        .slot = CLATTN_SLOT_KV_LENGTHS, .buffer = b->buffer, .offset = 256 * 3 + 24};
}
static void wrong_length(bench *b)
{
    b->kv_lengths[1] = 4;
}
static void wrong_count(bench *b)
{
    b->block_count[3] = 3;
}
static void wrong_list(bench *b)
{
    b->block_index[6] = 1;
}
static void not_of_the_plan(bench *b)
{
    b->binding[b->count++] =
        (clattn_binding){.slot = CLATTN_SLOT_Q_LENGTHS, .host = b->block_count};
}
static void merge_slot(bench *b)
{
    b->binding[b->count++] = (clattn_binding){.slot = CLATTN_SLOT_PARTIAL_LSE, .buffer = b->buffer};
}
static void host_twice(bench *b)
{
    b->binding[b->count] = *binding_of(b, CLATTN_SLOT_SINK);
    b->count++;
}
static void one_missing(bench *b)
{
    b->count--;
}

static const struct {
    void (*spoil)(bench *b);
    clattn_status status;
    const char *says; /* how the sentence begins */
} submissions[] = {
    {nothing_wrong, CLATTN_OK, ""},
    {host_of_a_large_slot, CLATTN_ERR_ARGUMENT, "K: host: only small tensors can be"},
    {host_of_an_output, CLATTN_ERR_ARGUMENT, "OUT: host: only small tensors can be"},
    {host_and_buffer, CLATTN_ERR_ARGUMENT, "SINK: has both a buffer and a host array"},
    {large_host_and_buffer, CLATTN_ERR_ARGUMENT, "Q: has both a buffer and a host array"},
    {host_with_offset, CLATTN_ERR_ARGUMENT, "ALIBI: offset must be 0 with a host array"},
    {odd_host, CLATTN_ERR_ARGUMENT, "KV_LENGTHS: host is not aligned to the element's 4"},
    {odd_seed, CLATTN_ERR_ARGUMENT, "SEED: host is not aligned to the element's 8"},
    {neither, CLATTN_ERR_ARGUMENT, "PARAMS: buffer is NULL"},
    {host_reserved, CLATTN_ERR_ARGUMENT, "SEED: reserved is 1"},
    {odd_seed_offset, CLATTN_ERR_ARGUMENT, "SEED: offset 1028 is not a multiple of"},
    {lengths_behind_the_end, CLATTN_ERR_ARGUMENT, "KV_LENGTHS: needs 8 bytes from offset 4092"},
    {out_over_lengths, CLATTN_ERR_ARGUMENT, "OUT: is written and shares memory with KV_LENGTHS"},
    {wrong_length, CLATTN_ERR_ARGUMENT, "KV_LENGTHS: element 1 is 4, must be 0 to 3"},
    {wrong_count, CLATTN_ERR_ARGUMENT, "BLOCK_COUNT: query block 1 has 3 entries"},
    {wrong_list, CLATTN_ERR_ARGUMENT, "BLOCK_INDEX: entry 1 of query block 1 is 1 after 1"},
    {not_of_the_plan, CLATTN_ERR_ARGUMENT, "Q_LENGTHS: is bound, but the plan was made without"},
    {merge_slot, CLATTN_ERR_ARGUMENT, "PARTIAL_LSE: is bound, but the plan was made without"},
    {host_twice, CLATTN_ERR_ARGUMENT, "SINK: is bound twice"},
    {one_missing, CLATTN_ERR_ARGUMENT, "SEED: is not bound"},
};

static void expect(size_t row, clattn_status status, clattn_status wanted, const char *says)
{
    cr_assert_eq(status, wanted, "row %d (%s): %s: %s", (int)row, says,
                 clattn_status_string(status), clattn_error_message());
    cr_assert(status == CLATTN_OK || strncmp(clattn_error_message(), says, strlen(says)) == 0,
              "row %d: \"%s\" does not begin with \"%s\"", (int)row, clattn_error_message(), says);
}

Test(refusals, submissions)
{
    clattn_context *context = rig_open();
    bench good;
    set_up(context, &good);
    for (size_t i = 0; i < COUNT(submissions); i++) {
        bench b = good;
        unsigned char before[BYTES], after[BYTES];
        set_bindings(&b);
        cr_assert_eq(clattn_buffer_read(b.buffer, 0, before, BYTES), CLATTN_OK);
        submissions[i].spoil(&b);
        expect(i, submit(&b), submissions[i].status, submissions[i].says);
        cr_assert_eq(clattn_buffer_read(b.buffer, 0, after, BYTES), CLATTN_OK);
        cr_assert_eq(memcmp(before, after, BYTES), 0, "row %d: was written", (int)i);
    }
    tear_down(&good);
    rig_close(context);
}

/* Wrong values in buffers are nobody's error; they are clamped or ignored. */
Test(refusals, wrong_values_in_buffers)
{
    static const int32_t wrong[8] = {INT32_MAX, -1, INT32_MIN, 7, 1, 1, 0, INT32_MAX};
    static const clattn_slot slots[] = {CLATTN_SLOT_KV_LENGTHS, CLATTN_SLOT_BLOCK_COUNT,
                                        CLATTN_SLOT_BLOCK_INDEX};
    clattn_context *context = rig_open();
    bench b;
    set_up(context, &b);
    cr_assert_eq(clattn_buffer_write(b.buffer, 2048, wrong, sizeof wrong), CLATTN_OK);
    for (size_t i = 0; i < COUNT(slots); i++)
        *binding_of(&b, slots[i]) =
            (clattn_binding){.slot = slots[i], .buffer = b.buffer, .offset = 2048};
    cr_assert_eq(submit(&b), CLATTN_OK, "%s", clattn_error_message());
    tear_down(&b);
    rig_close(context);
}

/* --- the one call ----------------------------------------------------------------------------- */

/* 2 queries, 3 keys; each slot 64 floats of `data`. */
typedef struct call {
    clattn_attention_desc desc;
    _Alignas(64) unsigned char data[24][256];
    clattn_host_binding binding[24];
    uint32_t count;
} call;

static void set_call(call *c)
{
    memset(c, 0, sizeof *c);
    memset(c->data, GUARD, sizeof c->data);
    clattn_attention_desc_init(&c->desc);
    c->desc.batch = c->desc.n_head = c->desc.n_kv_head = 1;
    c->desc.n_q = 2;
    c->desc.n_kv = 3;
    c->desc.head_dim = c->desc.value_dim = 4;
}

static void bind_call(call *c)
{
    static const int32_t ints[] = {0, 1};
    for (int slot = 0; slot <= CLATTN_SLOT_SCORES; slot++)
        if (slot <= CLATTN_SLOT_OUT || c->desc.slots >> slot & 1)
            c->binding[c->count++] = (clattn_host_binding){(clattn_slot)slot, 0, c->data[slot]};
    for (int slot = CLATTN_SLOT_Q_LENGTHS; slot <= CLATTN_SLOT_BLOCK_INDEX; slot++)
        memcpy(c->data[slot], ints, sizeof ints);
}

static clattn_host_binding *slot_of(call *c, clattn_slot slot)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->binding[i].slot == slot)
            return &c->binding[i];
    return &c->binding[0];
}

static int32_t *ints_of(call *c, clattn_slot slot)
{
    return (int32_t *)(void *)c->data[slot];
}

static void odd_bias(call *c)
{
    slot_of(c, CLATTN_SLOT_BIAS)->data = c->data[CLATTN_SLOT_BIAS] + 2;
}
static void odd_half(call *c)
{
    slot_of(c, CLATTN_SLOT_K)->data = c->data[CLATTN_SLOT_K] + 1;
}
static void null_mask(call *c)
{
    slot_of(c, CLATTN_SLOT_MASK)->data = NULL;
}
static void long_queries(call *c)
{
    ints_of(c, CLATTN_SLOT_Q_LENGTHS)[0] = 3;
}
static void two_of_two(call *c)
{
    ints_of(c, CLATTN_SLOT_BLOCK_COUNT)[0] = 2;
}
static void far_block(call *c)
{
    ints_of(c, CLATTN_SLOT_BLOCK_COUNT)[0] = 1;
    ints_of(c, CLATTN_SLOT_BLOCK_INDEX)[0] = 2;
}
static void ragged_from_one(call *c)
{
    ints_of(c, CLATTN_SLOT_KV_LENGTHS)[0] = 1;
}
static void weights_over_mask(call *c)
{
    slot_of(c, CLATTN_SLOT_WEIGHTS)->data = c->data[CLATTN_SLOT_MASK];
}
static void present_over_k(call *c)
{
    slot_of(c, CLATTN_SLOT_PRESENT_K)->data = c->data[CLATTN_SLOT_K] + 16;
}
static void as_it_is(call *c)
{
    (void)c;
}

static const struct {
    uint64_t slots;
    uint32_t ragged;
    clattn_dtype keys;
    const char *function; /* a mask function */
    void (*spoil)(call *c);
    clattn_status status;
    const char *says;
} calls[] = {
    {BIT(BIAS), 0, 0, NULL, odd_bias, CLATTN_ERR_ARGUMENT, "BIAS: data is not aligned"},
    {0, 0, CLATTN_BF16, NULL, odd_half, CLATTN_ERR_ARGUMENT,
     "K: data is not aligned to the element's 2 bytes"},
    {BIT(MASK), 0, 0, NULL, null_mask, CLATTN_ERR_ARGUMENT, "MASK: data is NULL"},
    {BIT(Q_LENGTHS), 0, 0, NULL, long_queries, CLATTN_ERR_ARGUMENT,
     "Q_LENGTHS: element 0 is 3, must be 0 to 2"},
    {BIT(BLOCK_COUNT) | BIT(BLOCK_INDEX), 0, 0, NULL, two_of_two, CLATTN_ERR_ARGUMENT,
     "BLOCK_COUNT: query block 0 has 2 entries, must have 0 to 1"},
    {BIT(BLOCK_COUNT) | BIT(BLOCK_INDEX), 0, 0, NULL, far_block, CLATTN_ERR_ARGUMENT,
     "BLOCK_INDEX: entry 0 of query block 0 is 2, must be 0 to 1"},
    {BIT(Q_LENGTHS) | BIT(KV_LENGTHS), 1, 0, NULL, ragged_from_one, CLATTN_ERR_ARGUMENT,
     "KV_LENGTHS: begins with 1, must begin with 0"},
    {BIT(MASK) | BIT(WEIGHTS), 0, 0, NULL, weights_over_mask, CLATTN_ERR_ARGUMENT,
     "WEIGHTS: is written and shares memory with MASK"},
    {BIT(PRESENT_K), 0, 0, NULL, present_over_k, CLATTN_ERR_ARGUMENT,
     "PRESENT_K: is written and shares memory with K"},
    {0, 0, 0, "", as_it_is, CLATTN_ERR_ARGUMENT, "mask_function: is an empty text"},
    {0, 0, 0, "int visible(int x) { return x +; }", as_it_is, CLATTN_ERR_BUILD, "mask_function: "},
    {0, 0, 0, "int invisible(void) { return 1; }", as_it_is, CLATTN_ERR_BUILD, "mask_function: "},
    {0, 0, 0, "\"", as_it_is, CLATTN_ERR_BUILD, "mask_function: "},
    {0, 0, 0, "int visible(int b, int h, int q, int k, __global const float *p) { return 1; ",
     as_it_is, CLATTN_ERR_BUILD, "mask_function: "},
};

Test(refusals, calls)
{
    clattn_context *context = rig_open();
    for (size_t i = 0; i < COUNT(calls); i++) {
        call c, before;
        set_call(&c);
        c.desc.slots = calls[i].slots;
        c.desc.tensor[CLATTN_SLOT_K].dtype = calls[i].keys;
        c.desc.mask_function = calls[i].function;
        c.desc.ragged = calls[i].ragged;
        c.desc.total_q = c.desc.total_kv = calls[i].ragged ? 5 : 0;
        if (calls[i].slots & BIT(BLOCK_INDEX)) {
            c.desc.block_q = c.desc.block_kv = 2;
            c.desc.block_limit = 1;
        }
        bind_call(&c);
        calls[i].spoil(&c);
        before = c;
        expect(i, clattn_run(context, &c.desc, c.binding, c.count), calls[i].status, calls[i].says);
        cr_assert_eq(memcmp(before.data, c.data, sizeof c.data), 0, "row %d: was written", (int)i);
    }
    rig_close(context);
}

/* --- merging ---------------------------------------------------------------------------------- */

Test(refusals, merging)
{
    clattn_context *context = rig_open();
    float partial[2][2][4] = {{{0}}}, lse[2][2] = {{0}}, out[2][4];
    clattn_merge_desc desc;
    clattn_merge_desc_init(&desc);
    desc.parts = 2;
    desc.batch = desc.n_head = 1;
    desc.n_q = 2;
    desc.value_dim = 4;
    const clattn_host_binding good[] = {{CLATTN_SLOT_PARTIAL_OUT, 0, partial},
                                        {CLATTN_SLOT_PARTIAL_LSE, 0, lse},
                                        {CLATTN_SLOT_OUT, 0, out}};
    clattn_host_binding bad[3];
    expect(0, clattn_merge(context, &desc, good, 3), CLATTN_OK, "");
    expect(1, clattn_merge(context, &desc, good, 2), CLATTN_ERR_ARGUMENT, "OUT: is not bound");
    memcpy(bad, good, sizeof bad);
    bad[2].data = partial[1];
    expect(2, clattn_merge(context, &desc, bad, 3), CLATTN_ERR_ARGUMENT,
           "OUT: is written and shares memory with PARTIAL_OUT");
    bad[2].data = lse;
    expect(3, clattn_merge(context, &desc, bad, 3), CLATTN_ERR_ARGUMENT, "OUT: is written");
    bad[2] = good[2];
    bad[1].slot = CLATTN_SLOT_Q;
    expect(4, clattn_merge(context, &desc, bad, 3), CLATTN_ERR_ARGUMENT, "Q: is bound, but desc");
    desc.parts = 0;
    expect(5, clattn_merge(context, &desc, good, 3), CLATTN_ERR_ARGUMENT, "parts: is 0");
    expect(6, clattn_merge(context, NULL, good, 3), CLATTN_ERR_ARGUMENT, "desc: is NULL");
    expect(7, clattn_run(context, NULL, good, 3), CLATTN_ERR_ARGUMENT, "desc: is NULL");
    expect(8, clattn_merge(NULL, &desc, good, 3), CLATTN_ERR_ARGUMENT, "context: is NULL");
    rig_close(context);
}
