/* Buffers: sizes that nobody has, and the caller's memory wrapped, which kernels use as it is. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { DIM = 4, KEYS = 3, PAGE = 4096 };

/* The tensors of one query, each on a cache line of its own. */
typedef struct memory {
    float q[16], k[16], v[16], out[16];
} memory;

static void fill(memory *m)
{
    static const memory start = {
        .q = {0, 500, 0, 0},
        .k = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0},
        .v = {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9},
    };
    *m = start;
    for (int i = 0; i < 16; i++)
        m->out[i] = NAN;
}

/* The query is far more like key 1 than like the others, so it has that one's value. */
static void expect_result(const memory *m)
{
    cr_assert_arr_eq(m->out, m->v + DIM, DIM * sizeof(float));
    for (int i = DIM; i < 16; i++)
        cr_assert(isnan(m->out[i]), "wrote beyond the end");
}

static clattn_plan *plan_one_query(clattn_context *context)
{
    clattn_plan *plan = NULL;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = KEYS;
    desc.head_dim = desc.value_dim = DIM;
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    return plan;
}

/* Q, K and V from one buffer, OUT in another, which may be the same. */
static clattn_status submit(clattn_context *context, clattn_buffer *inputs, clattn_buffer *output,
                            uint64_t output_offset)
{
    clattn_dispatcher *dispatcher = NULL;
    clattn_submission submission;
    clattn_plan *plan = plan_one_query(context);
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_Q, .buffer = inputs, .offset = offsetof(memory, q)},
        {.slot = CLATTN_SLOT_K, .buffer = inputs, .offset = offsetof(memory, k)},
        {.slot = CLATTN_SLOT_V, .buffer = inputs, .offset = offsetof(memory, v)},
        {.slot = CLATTN_SLOT_OUT, .buffer = output, .offset = output_offset}};
    const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = 4};
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    const clattn_status status = clattn_submit(dispatcher, &submission, NULL);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    clattn_dispatcher_destroy(dispatcher);
    clattn_plan_destroy(plan);
    return status;
}

static bool shares_memory(clattn_context *context)
{
    clattn_device_info info = {.struct_size = sizeof info};
    cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
    return info.unified_memory;
}

static clattn_buffer *wrap(clattn_context *context, void *data, uint64_t size)
{
    clattn_buffer *buffer = NULL;
    cr_assert_eq(clattn_buffer_wrap_host(context, data, size, &buffer), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_buffer_size(buffer), size);
    return buffer;
}

Test(buffers, wrapped_memory_is_used_as_it_is)
{
    memory *m = aligned_alloc(PAGE, PAGE);
    void *mapped = NULL;
    clattn_context *context = rig_open();
    if (!shares_memory(context)) {
        clattn_buffer *buffer = NULL;
        cr_assert_eq(clattn_buffer_wrap_host(context, m, sizeof *m, &buffer),
                     CLATTN_ERR_UNSUPPORTED);
        cr_assert(strstr(clattn_error_message(), "does not share memory"), "%s",
                  clattn_error_message());
        cr_assert_null(buffer);
    } else {
        fill(m);
        clattn_buffer *buffer = wrap(context, m, sizeof *m);
        cr_assert_eq(submit(context, buffer, buffer, offsetof(memory, out)), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(clattn_buffer_map(buffer, &mapped), CLATTN_OK);
        cr_assert_eq(mapped, (void *)m);
        expect_result(m);
        m->q[1] = 0;
        m->q[2] = 500; /* key 2 */
        cr_assert_eq(clattn_buffer_unmap(buffer), CLATTN_OK);
        cr_assert_eq(submit(context, buffer, buffer, offsetof(memory, out)), CLATTN_OK);
        float out[DIM];
        cr_assert_eq(clattn_buffer_read(buffer, offsetof(memory, out), out, sizeof out), CLATTN_OK);
        cr_assert_arr_eq(out, m->v + 2 * (size_t)DIM, sizeof out);
        cr_assert_eq(clattn_buffer_destroy(buffer), CLATTN_OK);
    }
    rig_close(context);
    free(m);
}

/* Two buffers around the same memory overlap, although they are two objects of OpenCL's. */
Test(buffers, overlap_across_wrapped_buffers)
{
    memory *m = aligned_alloc(PAGE, PAGE);
    clattn_context *context = rig_open();
    if (shares_memory(context)) {
        fill(m);
        clattn_buffer *inputs = wrap(context, m, sizeof *m);
        clattn_buffer *rest = wrap(context, m->v, sizeof m->v + sizeof m->out);
        cr_assert_eq(submit(context, inputs, rest, 0), CLATTN_ERR_ARGUMENT);
        cr_assert(strstr(clattn_error_message(), "OUT: is written and shares memory with V"), "%s",
                  clattn_error_message());
        cr_assert(isnan(m->out[0]) && m->v[0] == 1, "something was written");
        cr_assert_eq(submit(context, inputs, rest, sizeof m->v), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(clattn_buffer_destroy(rest), CLATTN_OK);
        cr_assert_eq(clattn_buffer_destroy(inputs), CLATTN_OK);
        expect_result(m);
    }
    rig_close(context);
    free(m);
}

static void refuse(clattn_status status, clattn_status expected, const char *sentence)
{
    cr_expect_eq(status, expected, "%s: status %d", sentence, (int)status);
    cr_expect(strstr(clattn_error_message(), sentence), "\"%s\", not \"%s\"",
              clattn_error_message(), sentence);
}

Test(buffers, sizes_that_nobody_has)
{
    unsigned char byte = 0;
    clattn_context *context = rig_open();
    clattn_buffer *buffer = NULL;
    clattn_device_info info = {.struct_size = sizeof info};
    cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
    const uint64_t sizes[] = {info.max_allocation + 1, (uint64_t)1 << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        refuse(clattn_buffer_create(context, sizes[i], &buffer), CLATTN_ERR_OUT_OF_MEMORY,
               "more than the device's largest allocation");
        if (info.unified_memory)
            refuse(clattn_buffer_wrap_host(context, &byte, sizes[i], &buffer),
                   CLATTN_ERR_OUT_OF_MEMORY, "more than the device's largest allocation");
    }
    refuse(clattn_buffer_create(context, 0, &buffer), CLATTN_ERR_ARGUMENT, "size: is 0");
    refuse(clattn_buffer_wrap_host(context, &byte, 0, &buffer), CLATTN_ERR_ARGUMENT, "size: is 0");
    refuse(clattn_buffer_wrap_host(context, NULL, 1, &buffer), CLATTN_ERR_ARGUMENT,
           "data: is NULL");
    refuse(clattn_buffer_wrap_host(context, &byte, 1, NULL), CLATTN_ERR_ARGUMENT,
           "buffer: is NULL");
    refuse(clattn_buffer_create(context, 1, NULL), CLATTN_ERR_ARGUMENT, "buffer: is NULL");
    cr_expect_null(buffer, "the result was written although the call failed");
    rig_close(context);
}
