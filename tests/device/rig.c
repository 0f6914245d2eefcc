/* Kernels and devices, and the two ways of running a problem. Tensors are in rig_tensors.c. */
#include "rig.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/for_attention.h"

static char said[256];

void rig_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(said, sizeof said, format, arguments);
    va_end(arguments);
}

const char *rig_said(void)
{
    return said;
}

/* `device` NULL: what CLATTN_DEVICE says. */
static clattn_context *open_context(const char *device, const char *kernel)
{
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = device;
    options.kernel = kernel;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

clattn_context *rig_open(void)
{
    const char *named = getenv("CLATTN_DEVICE");
    return open_context(named && *named ? NULL : "0", NULL);
}

void rig_close(clattn_context *context)
{
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK, "%s", clattn_error_message());
}

bool rig_one_kind(clattn_context *context)
{
    clattn_device_info first = {.struct_size = sizeof first}, other = first;
    cr_assert_eq(clattn_context_get_device(context, 0, &first), CLATTN_OK);
    for (uint32_t i = 1; i < clattn_context_device_count(context); i++) {
        cr_assert_eq(clattn_context_get_device(context, i, &other), CLATTN_OK);
        if (strcmp(first.name, other.name) != 0 || strcmp(first.platform, other.platform) != 0)
            return false;
    }
    return true;
}

/* Kernels for few queries have a companion that takes the other problems; `alone`: not. */
static void each_kernel(rig_body body, bool alone)
{
    uint32_t devices = 0, ran = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &devices), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(devices > 0);
    for (uint32_t n = 0; n < clattn_kernel_count(); n++) {
        const char *kernel = clattn_kernel_name(n);
        for (uint32_t device = 0; !is_left_out(kernel) && device < devices; device++) {
            char selector[16], names[64];
            const bool accompanied = !alone && is_for_few_queries(kernel);
            snprintf(selector, sizeof selector, "%u", (unsigned)device);
            snprintf(names, sizeof names, "%s%s", kernel,
                     accompanied ? ",attention_reference" : "");
            clattn_context *context = open_context(selector, names);
            rig_say("%s on device %u", kernel, (unsigned)device);
            if (is_for_attention(context, kernel)) {
                body(context, kernel);
                ran++;
            }
            rig_close(context);
        }
    }
    cr_assert(ran >= devices, "the reference kernel runs everywhere");
}

void rig_each_kernel(rig_body body)
{
    each_kernel(body, false);
}

void rig_each_kernel_alone(rig_body body)
{
    each_kernel(body, true);
}

void rig_describe(const rig_problem *problem, clattn_attention_desc *desc)
{
    const rig_shape *shape = &problem->shape;
    clattn_attention_desc_init(desc);
    desc->batch = shape->batch;
    desc->n_head = shape->n_head;
    desc->n_kv_head = shape->n_kv_head;
    desc->n_q = shape->n_q;
    desc->n_kv = shape->n_kv;
    desc->head_dim = shape->head_dim;
    desc->value_dim = shape->value_dim;
    desc->causal = shape->align != CLATTN_ALIGN_NONE;
    desc->align = shape->align;
    desc->has_scale = problem->has_scale;
    desc->scale = problem->scale;
    desc->slots = problem->slots;
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        desc->tensor[slot].strided = problem->tensor[slot].rank > 0;
        memcpy(desc->tensor[slot].stride, problem->tensor[slot].stride,
               sizeof desc->tensor[slot].stride);
    }
}

void rig_expect_kernel(clattn_context *context, const clattn_attention_desc *desc,
                       const char *kernel)
{
    clattn_plan *plan;
    clattn_plan_info info = {.struct_size = sizeof info};
    cr_assert_eq(clattn_plan_attention(context, desc, &plan), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    cr_assert_str_eq(info.kernel, kernel, "%s: runs %s", rig_said(), info.kernel);
    clattn_plan_destroy(plan);
}

clattn_status rig_run(clattn_context *context, rig_problem *problem)
{
    clattn_host_binding bindings[RIG_SLOTS];
    clattn_attention_desc desc;
    uint32_t count = 0;
    rig_describe(problem, &desc);
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        const rig_tensor *tensor = &problem->tensor[slot];
        if (tensor->rank)
            bindings[count++] =
                (clattn_host_binding){(clattn_slot)slot, 0, tensor->memory + tensor->origin};
    }
    return clattn_run(context, &desc, bindings, count);
}

static void make_buffer(clattn_context *context, rig_stage *stage, int slot)
{
    const rig_tensor *tensor = &stage->problem->tensor[slot];
    const uint64_t size = (uint64_t)tensor->count * sizeof(float);
    clattn_buffer **buffer = &stage->buffer[slot];
    if (!tensor->rank)
        return;
    if (!tensor->shared) {
        cr_assert_eq(clattn_buffer_create(context, size, buffer), CLATTN_OK, "%s: %s", said,
                     clattn_error_message());
        cr_assert_eq(clattn_buffer_write(*buffer, 0, tensor->memory, size), CLATTN_OK, "%s: %s",
                     said, clattn_error_message());
    }
    stage->binding[stage->step.binding_count++] = (clattn_binding){
        .slot = (clattn_slot)slot,
        .buffer = tensor->shared ? stage->buffer[CLATTN_SLOT_Q] : *buffer,
        .offset = (uint64_t)tensor->origin * sizeof(float),
    };
}

clattn_status rig_stage_make(clattn_context *context, rig_problem *problem, rig_stage *stage)
{
    clattn_attention_desc desc;
    memset(stage, 0, sizeof *stage);
    rig_describe(problem, &desc);
    const clattn_status status = clattn_plan_attention(context, &desc, &stage->plan);
    if (status != CLATTN_OK)
        return status;
    stage->problem = problem;
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        make_buffer(context, stage, slot);
    stage->step.plan = stage->plan;
    stage->step.bindings = stage->binding;
    clattn_submission_init(&stage->submission);
    stage->submission.steps = &stage->step;
    stage->submission.step_count = 1;
    return CLATTN_OK;
}

void rig_stage_fetch(rig_stage *stage)
{
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++) {
        rig_tensor *tensor = &stage->problem->tensor[slot];
        if (tensor->rank)
            cr_assert_eq(clattn_buffer_read(stage->buffer[slot], 0, tensor->memory,
                                            (uint64_t)tensor->count * sizeof(float)),
                         CLATTN_OK, "%s: %s", said, clattn_error_message());
    }
}

void rig_stage_free(rig_stage *stage)
{
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        cr_assert_eq(clattn_buffer_destroy(stage->buffer[slot]), CLATTN_OK, "%s",
                     clattn_error_message());
    clattn_plan_destroy(stage->plan);
    memset(stage, 0, sizeof *stage);
}

void rig_full_make(clattn_context *context, const rig_shape *shape, rig_problem *problem,
                   rig_stage *stage)
{
    rig_make(problem, shape, RIG_FULL, &rig_contiguous);
    cr_assert_eq(rig_stage_make(context, problem, stage), CLATTN_OK, "%s: %s", said,
                 clattn_error_message());
}

void rig_full_free(rig_problem *problem, rig_stage *stage)
{
    rig_stage_free(stage);
    rig_free(problem);
}

clattn_dispatcher *rig_dispatcher(clattn_context *context)
{
    clattn_dispatcher *dispatcher = NULL;
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK, "%s",
                 clattn_error_message());
    return dispatcher;
}

void rig_submit(clattn_dispatcher *dispatcher, const clattn_submission *submission)
{
    clattn_event *event = NULL;
    cr_assert_eq(clattn_submit(dispatcher, submission, &event), CLATTN_OK, "%s: %s", said,
                 clattn_error_message());
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK, "%s: %s", said,
                 clattn_error_message());
    clattn_event_release(event);
}

clattn_status rig_run_staged(clattn_context *context, rig_problem *problem)
{
    rig_stage stage;
    const clattn_status status = rig_stage_make(context, problem, &stage);
    if (status != CLATTN_OK)
        return status;
    clattn_dispatcher *dispatcher = rig_dispatcher(context);
    rig_submit(dispatcher, &stage.submission);
    clattn_dispatcher_destroy(dispatcher);
    rig_stage_fetch(&stage);
    rig_stage_free(&stage);
    return CLATTN_OK;
}

void rig_step(clattn_dispatcher *dispatcher, const clattn_plan *plan,
              const clattn_binding *bindings, uint32_t count)
{
    const clattn_step step = {.plan = plan, .bindings = bindings, .binding_count = count};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    rig_submit(dispatcher, &submission);
}

clattn_buffer *rig_filled(clattn_context *context, const void *data, uint64_t bytes)
{
    clattn_buffer *buffer;
    cr_assert_eq(clattn_buffer_create(context, bytes, &buffer), CLATTN_OK, "%s: %s", said,
                 clattn_error_message());
    if (data)
        cr_assert_eq(clattn_buffer_write(buffer, 0, data, bytes), CLATTN_OK, "%s: %s", said,
                     clattn_error_message());
    return buffer;
}

static clattn_buffer *given_buffer(clattn_context *context, const rig_given *given)
{
    const uint64_t size = given->bytes ? given->bytes : 1;
    void *bytes = malloc(size);
    cr_assert(bytes);
    memset(bytes, 0xff, size);
    if (given->data && given->bytes)
        memcpy(bytes, given->data, given->bytes);
    clattn_buffer *buffer = rig_filled(context, bytes, size);
    free(bytes);
    return buffer;
}

void rig_run_plan(clattn_context *context, clattn_dispatcher *dispatcher, const clattn_plan *plan,
                  const rig_given *given, uint32_t count)
{
    clattn_binding bindings[16];
    cr_assert(count <= 16);
    for (uint32_t i = 0; i < count; i++)
        bindings[i] =
            (clattn_binding){.slot = given[i].slot, .buffer = given_buffer(context, &given[i])};
    rig_step(dispatcher, plan, bindings, count);
    for (uint32_t i = 0; i < count; i++) {
        if (given[i].result)
            cr_assert_eq(clattn_buffer_read(bindings[i].buffer, 0, given[i].result, given[i].bytes),
                         CLATTN_OK, "%s: %s", said, clattn_error_message());
        cr_assert_eq(clattn_buffer_destroy(bindings[i].buffer), CLATTN_OK);
    }
}
