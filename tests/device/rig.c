/* Kernels and devices, and the two ways of running a problem. Tensors are in rig_tensors.c. */
#include "rig.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
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

static clattn_context *open_context(uint32_t device, const char *kernel)
{
    char selector[16];
    clattn_context *context;
    clattn_context_options options;
    clattn_context_options_init(&options);
    snprintf(selector, sizeof selector, "%u", (unsigned)device);
    options.device = selector;
    options.kernel = kernel;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

clattn_context *rig_open(void)
{
    return open_context(0, NULL);
}

void rig_close(clattn_context *context)
{
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK, "%s", clattn_error_message());
}

/* Kernels for some problems alone have a companion that takes the others. */
static const char *with_companion(const char *kernel)
{
    if (strcmp(kernel, "attention_decode_simd") == 0)
        return "attention_decode_simd,attention_reference";
    return kernel;
}

void rig_each_kernel(rig_body body)
{
    uint32_t devices = 0, ran = 0;
    cr_assert_eq(clattn_device_list(NULL, NULL, 0, &devices), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(devices > 0);
    for (uint32_t n = 0; n < clattn_kernel_count(); n++) {
        const char *kernel = clattn_kernel_name(n);
        for (uint32_t device = 0; device < devices; device++) {
            clattn_context *context = open_context(device, with_companion(kernel));
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
    clattn_dispatcher *dispatcher;
    const clattn_status status = rig_stage_make(context, problem, &stage);
    if (status != CLATTN_OK)
        return status;
    cr_assert_eq(clattn_dispatcher_create(context, NULL, &dispatcher), CLATTN_OK);
    rig_submit(dispatcher, &stage.submission);
    clattn_dispatcher_destroy(dispatcher);
    rig_stage_fetch(&stage);
    rig_stage_free(&stage);
    return CLATTN_OK;
}
