/* See bench_time.h. */
#include "tool/bench_time.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool/bench_median.h"
#include "tool/bench_tensor.h"

/* Runs that don't count: the first one compiles and takes its workspace, the next ones bring
 * threads and caches to where they stay. */
#define WARM_UP_SECONDS 0.05
#define WARM_UP_RUNS    2
#define LEAST_RUNS      3
#define MOST_RUNS       100000

/* What is needed to run one shape. */
typedef struct bench_case {
    clattn_plan *plan;
    clattn_dispatcher *dispatcher;
    clattn_buffer *buffers[BENCH_TENSORS];
    clattn_binding bindings[BENCH_TENSORS];
    uint32_t count;      /* of both */
    clattn_plan *append; /* of what goes before, or NULL */
    clattn_buffer *positions;
    clattn_binding added[6];
} bench_case;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static clattn_status make_buffer(clattn_context *context, const bench_shape *shape,
                                 const bench_tensor *tensor, clattn_buffer **buffer)
{
    const uint64_t count = (uint64_t)tensor->elements(shape);
    void *data;
    clattn_status status =
        clattn_buffer_create(context, count * bench_tensor_element_size(tensor, shape), buffer);
    if (status != CLATTN_OK)
        return status;
    status = clattn_buffer_map(*buffer, &data);
    if (status != CLATTN_OK)
        return status;
    tensor->fill(shape, data, count);
    return clattn_buffer_unmap(*buffer);
}

static clattn_status plan(clattn_context *context, const bench_shape *shape, clattn_plan **made)
{
    clattn_attention_desc desc;
    clattn_linear_desc linear;
    clattn_additive_desc additive;
    if (shape->linear) {
        bench_shape_describe_linear(shape, &linear);
        return clattn_plan_linear(context, &linear, made);
    }
    if (shape->additive) {
        bench_shape_describe_additive(shape, &additive);
        return shape->backward ? clattn_plan_additive_gradient(context, &additive, made)
                               : clattn_plan_additive(context, &additive, made);
    }
    bench_shape_describe(shape, &desc);
    return shape->backward ? clattn_plan_attention_gradient(context, &desc, made)
                           : clattn_plan_attention(context, &desc, made);
}

static clattn_status case_init(bench_case *of, clattn_context *context, const bench_shape *shape)
{
    clattn_status status = plan(context, shape, &of->plan);
    if (status == CLATTN_OK)
        status = clattn_dispatcher_create(context, NULL, &of->dispatcher);
    for (uint32_t i = 0; bench_tensor_get(i) && status == CLATTN_OK; i++) {
        const bench_tensor *tensor = bench_tensor_get(i);
        if (!bench_tensor_takes_part(tensor, shape))
            continue;
        const uint32_t at = of->count++;
        status = make_buffer(context, shape, tensor, &of->buffers[at]);
        of->bindings[at] = (clattn_binding){.slot = tensor->slot, .buffer = of->buffers[at]};
    }
    return status;
}

static clattn_buffer *buffer_of(const bench_case *of, clattn_slot slot)
{
    for (uint32_t i = 0; i < of->count; i++)
        if (of->bindings[i].slot == slot)
            return of->bindings[i].buffer;
    return NULL;
}

static clattn_status make_positions(bench_case *of, clattn_context *context,
                                    const bench_shape *shape)
{
    const int64_t first = shape->n_q < shape->n_kv ? shape->n_kv - shape->n_q : 0;
    void *data;
    clattn_status status =
        clattn_buffer_create(context, (uint64_t)shape->batch * sizeof(int32_t), &of->positions);
    if (status == CLATTN_OK)
        status = clattn_buffer_map(of->positions, &data);
    if (status != CLATTN_OK)
        return status;
    for (int64_t b = 0; b < shape->batch; b++)
        ((int32_t *)data)[b] = (int32_t)first;
    return clattn_buffer_unmap(of->positions);
}

/* What is appended is what queries are made of, which are at least as many numbers. */
static clattn_status add_append(bench_case *of, clattn_context *context, const bench_shape *shape)
{
    clattn_append_desc desc;
    if (!shape->feature || !shape->feature->append)
        return CLATTN_OK;
    bench_shape_describe_append(shape, &desc);
    clattn_status status = clattn_plan_append(context, &desc, &of->append);
    if (status == CLATTN_OK)
        status = make_positions(of, context, shape);
    const clattn_binding added[] = {
        {.slot = CLATTN_SLOT_K, .buffer = buffer_of(of, CLATTN_SLOT_Q)},
        {.slot = CLATTN_SLOT_V, .buffer = buffer_of(of, CLATTN_SLOT_Q)},
        {.slot = CLATTN_SLOT_PRESENT_K, .buffer = buffer_of(of, CLATTN_SLOT_K)},
        {.slot = CLATTN_SLOT_PRESENT_V, .buffer = buffer_of(of, CLATTN_SLOT_V)},
        {.slot = CLATTN_SLOT_PAGES, .buffer = buffer_of(of, CLATTN_SLOT_PAGES)},
        {.slot = CLATTN_SLOT_POSITIONS, .buffer = of->positions},
    };
    memcpy(of->added, added, sizeof added);
    return status;
}

static void case_finish(bench_case *of)
{
    clattn_dispatcher_destroy(of->dispatcher);
    clattn_buffer_destroy(of->positions);
    clattn_plan_destroy(of->append);
    for (uint32_t i = 0; i < of->count; i++)
        clattn_buffer_destroy(of->buffers[i]);
    clattn_plan_destroy(of->plan);
}

static clattn_status run_once(const bench_case *of, double *seconds)
{
    const clattn_step steps[] = {
        {.plan = of->append, .bindings = of->added, .binding_count = 6},
        {.plan = of->plan, .bindings = of->bindings, .binding_count = of->count}};
    const uint32_t first = of->append ? 0 : 1; /* of them */
    clattn_submission submission;
    clattn_event *event;
    clattn_submission_init(&submission);
    submission.steps = steps + first;
    submission.step_count = 2 - first;
    const double start = now();
    clattn_status status = clattn_submit(of->dispatcher, &submission, &event);
    if (status != CLATTN_OK)
        return status;
    status = clattn_event_wait(event, UINT64_MAX);
    *seconds = now() - start;
    clattn_event_release(event);
    return status;
}

/* Runs at least `least` times and until `budget` seconds are spent, at most MOST_RUNS times. Writes
 * the seconds of each run to `each` (may be NULL) and their number to *count. */
static clattn_status run_many(const bench_case *of, uint32_t least, double budget, double *each,
                              uint32_t *count)
{
    double spent = 0;
    for (*count = 0; *count < MOST_RUNS && (*count < least || spent < budget); ++*count) {
        double passed;
        const clattn_status status = run_once(of, &passed);
        if (status != CLATTN_OK)
            return status;
        spent += passed;
        if (each)
            each[*count] = passed;
    }
    return CLATTN_OK;
}

static clattn_status time_case(const bench_case *of, double seconds, double *each,
                               bench_timing *timing)
{
    uint32_t count;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_status status = run_many(of, WARM_UP_RUNS, WARM_UP_SECONDS, NULL, &count);
    if (status == CLATTN_OK)
        status = run_many(of, LEAST_RUNS, seconds, each, &count);
    if (status == CLATTN_OK)
        status = clattn_plan_get_info(of->plan, &info);
    if (status != CLATTN_OK)
        return status;
    timing->median = bench_median(each, count);
    timing->min = each[0];
    memcpy(timing->kernel, info.kernel, sizeof timing->kernel);
    return CLATTN_OK;
}

clattn_status bench_time(clattn_context *context, const bench_shape *shape, double seconds,
                         bench_timing *timing)
{
    static double each[MOST_RUNS]; /* the tool has one thread */
    bench_case of = {0};
    clattn_status status = case_init(&of, context, shape);
    if (status == CLATTN_OK)
        status = add_append(&of, context, shape);
    if (status == CLATTN_OK)
        status = time_case(&of, seconds, each, timing);
    case_finish(&of);
    return status;
}

clattn_status bench_time_check(clattn_context *context, const bench_shape *shape,
                               uint64_t *workspace)
{
    clattn_plan *made = NULL;
    clattn_status status = plan(context, shape, &made);
    if (status == CLATTN_OK)
        status = clattn_plan_workspace_size(made, workspace);
    clattn_plan_destroy(made);
    return status;
}
