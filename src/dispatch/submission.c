/* Checks a whole submission, then enqueues its launches in order on the one lane. */
#include "dispatch/submission.h"

#include <inttypes.h>
#include <string.h>

#include "base/unknown.h"

/* A submission on its way: the caller's, by struct_size, and what it becomes. */
typedef struct passage {
    clattn_dispatcher *dispatcher;
    const clattn_submission *submission;
    clattn_event *event;
    uint64_t workspace; /* bytes of the dispatcher's scratch memory that the largest step needs */
    uint64_t copies;    /* bytes of all host arrays */
} passage;

static clattn_status check_sizes(const clattn_submission *submission)
{
    if (!submission)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: is NULL");
    if (submission->struct_size < sizeof *submission || submission->struct_size > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "submission: struct_size is %" PRIu32 "; use clattn_submission_init",
                            submission->struct_size);
    if (submission->step_size < sizeof(clattn_step) || submission->step_size > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "submission: step_size is %" PRIu32 "; use clattn_submission_init",
                            submission->step_size);
    if (!clattn__unknown_is_zero(submission, sizeof *submission, submission->struct_size))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "submission: has fields that version %s does not know",
                            clattn_version_string());
    return CLATTN_OK;
}

static clattn_status check_fields(const clattn_submission *submission)
{
    if (submission->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: reserved is %" PRIu32 ", must be 0",
                            submission->reserved);
    if (submission->step_count && !submission->steps)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: steps is NULL");
    if (submission->wait_count && !submission->wait)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: wait is NULL");
    if (submission->priority != 0)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "submission: priority is not supported yet");
    if (submission->deadline_ns != 0)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "submission: deadline is not supported yet");
    return CLATTN_OK;
}

static const clattn_step *step_at(const clattn_submission *submission, uint32_t index)
{
    return (const clattn_step *)((const char *)submission->steps +
                                 (size_t)index * submission->step_size);
}

/* Events to wait for: of the same context, and not failed already. */
static clattn_status check_wait(const passage *way)
{
    for (uint32_t i = 0; i < way->submission->wait_count; i++) {
        const clattn_event *other = way->submission->wait[i];
        if (!other)
            return clattn__fail(CLATTN_ERR_ARGUMENT, "wait[%" PRIu32 "]: is NULL", i);
        if (other->dispatcher->context != way->dispatcher->context)
            return clattn__fail(CLATTN_ERR_ARGUMENT,
                                "wait[%" PRIu32 "]: the event belongs to another context", i);
        const clattn_status status = (clattn_status)atomic_load(&other->status);
        if (status < 0)
            return clattn__fail(status, "wait[%" PRIu32 "]: has failed: %s", i, other->message);
    }
    return CLATTN_OK;
}

static clattn_status check_step(const passage *way, const clattn_step *step)
{
    CLATTN__TRY(clattn__plan_check(step->plan));
    if (step->plan->context != way->dispatcher->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "plan: belongs to another context");
    if (step->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "reserved: is %" PRIu32 ", must be 0",
                            step->reserved);
    if (!clattn__unknown_is_zero(step, sizeof *step, way->submission->step_size))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "has fields that version %s does not know",
                            clattn_version_string());
    return CLATTN_OK;
}

/* What the step needs of the dispatcher's scratch memory. */
static uint64_t scratch_of(const passage *way, const clattn_step *step)
{
    return way->submission->workspace ? 0 : step->plan->variant.workspace;
}

/* Binds one step. */
static clattn_status bind_step(const passage *way, const clattn_step *step, clattn__bound *bound)
{
    const clattn_submission *submission = way->submission;
    CLATTN__TRY(check_step(way, step));
    CLATTN__TRY(clattn__bind(step->plan, step->bindings, step->binding_count, bound));
    if (step->plan->variant.workspace == 0 || !submission->workspace)
        return CLATTN_OK;
    return clattn__bind_workspace(step->plan, submission->workspace, submission->workspace_offset,
                                  bound);
}

/* The same for a step that was bound before. */
static clattn_status bind_step_again(const passage *way, const clattn_step *step,
                                     clattn__bound *bound)
{
    const clattn_submission *submission = way->submission;
    const clattn__memory *own = way->dispatcher->workspace;
    clattn__bind_again(step->plan, step->bindings, step->binding_count, bound);
    if (step->plan->variant.workspace == 0)
        return CLATTN_OK;
    if (submission->workspace)
        return clattn__bind_workspace(step->plan, submission->workspace,
                                      submission->workspace_offset, bound);
    bound->workspace.memory = way->dispatcher->workspace;
    bound->workspace.offset = clattn__memory_offset(own);
    return CLATTN_OK;
}

static clattn_status name_step(clattn_status status, uint32_t index, uint32_t count)
{
    if (status == CLATTN_OK || count < 2)
        return status;
    return clattn__fail(status, "steps[%" PRIu32 "]: %s", index, clattn__message());
}

/* The caller's scratch memory is one for all steps: what any step needs of it may be nobody's
 * tensor. */
static clattn_status check_caller_workspace(const passage *way)
{
    const clattn_submission *submission = way->submission;
    uint64_t most = 0;
    for (uint32_t i = 0; i < submission->step_count; i++) {
        const uint64_t needed = step_at(submission, i)->plan->variant.workspace;
        most = needed > most ? needed : most;
    }
    for (uint32_t i = 0; i < submission->step_count; i++)
        CLATTN__TRY(name_step(clattn__check_workspace(step_at(submission, i), submission->workspace,
                                                      submission->workspace_offset, most),
                              i, submission->step_count));
    return CLATTN_OK;
}

static clattn_status check_steps(passage *way)
{
    for (uint32_t i = 0; i < way->submission->step_count; i++) {
        clattn__bound bound;
        const clattn_step *step = step_at(way->submission, i);
        CLATTN__TRY(name_step(bind_step(way, step, &bound), i, way->submission->step_count));
        const uint64_t needed = scratch_of(way, step);
        if (needed > way->workspace)
            way->workspace = needed;
        /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): failing is never CLATTN_OK */
        way->copies += bound.host_size;
    }
    return way->submission->workspace ? check_caller_workspace(way) : CLATTN_OK;
}

static clattn_status keep_memory(const passage *way, clattn__memory *memory)
{
    if (!memory)
        return CLATTN_OK;
    CLATTN__TRY(clattn__keep_add(&way->dispatcher->context->env, &way->event->memories, memory));
    clattn__memory_retain(memory);
    return CLATTN_OK;
}

static clattn_status keep_step(const passage *way, const clattn_plan *plan,
                               const clattn__bound *bound)
{
    CLATTN__TRY(clattn__keep_add(&way->dispatcher->context->env, &way->event->plans, (void *)plan));
    clattn__plan_retain(plan);
    const uint32_t slots = clattn__slot_count();
    for (uint32_t slot = 0; slot < slots; slot++)
        CLATTN__TRY(keep_memory(way, bound->slot[slot].memory));
    return keep_memory(way, bound->workspace.memory);
}

/* Room for one more command, so that an enqueued command is never lost. */
static clattn_status reserve_command(const passage *way)
{
    clattn__keep *commands = &way->event->commands;
    CLATTN__TRY(clattn__keep_add(&way->dispatcher->context->env, commands, NULL));
    commands->count--;
    return CLATTN_OK;
}

/* Room for the host arrays of all steps in the record, which keeps it from use to use. */
static clattn_status reserve_copies(const passage *way)
{
    clattn__memory *grown;
    if (way->copies == 0 ||
        (way->event->copies && clattn__memory_size(way->event->copies) >= way->copies))
        return CLATTN_OK;
    CLATTN__TRY(clattn__memory_create(way->dispatcher->context->device, way->copies, &grown));
    clattn__memory_release(way->event->copies);
    way->event->copies = grown;
    return CLATTN_OK;
}

/* *copied is where the step's host arrays go in the record's memory; moves on behind them. */
static clattn_status launch_step(const passage *way, uint32_t index, struct _cl_event *const *wait,
                                 uint64_t *copied)
{
    const clattn_step *step = step_at(way->submission, index);
    const clattn_plan *plan = step->plan;
    clattn__keep *commands = &way->event->commands;
    clattn__bound bound;
    CLATTN__TRY(bind_step_again(way, step, &bound));
    CLATTN__TRY(clattn__bind_copies(plan, way->event->copies, *copied, &bound));
    *copied += bound.host_size;
    CLATTN__TRY(keep_step(way, plan, &bound));
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        struct _cl_event *command;
        clattn__wait_list list = {wait, commands->count ? 0 : way->submission->wait_count};
        if (plan->launch[i].count == 0)
            continue;
        CLATTN__TRY(reserve_command(way));
        CLATTN__TRY(clattn__plan_launch(plan, i, &bound, way->dispatcher->queue, list, &command));
        commands->item[commands->count++] = command;
    }
    return CLATTN_OK;
}

static clattn_status launch_all(const passage *way, struct _cl_event *const *wait)
{
    clattn__keep *commands = &way->event->commands;
    uint64_t copied = 0;
    for (uint32_t i = 0; i < way->submission->step_count; i++)
        CLATTN__TRY(launch_step(way, i, wait, &copied));
    if (commands->count == 0) {
        struct _cl_event *marker;
        CLATTN__TRY(reserve_command(way));
        CLATTN__TRY(clattn__queue_marker(way->dispatcher->queue, wait, way->submission->wait_count,
                                         &marker));
        commands->item[commands->count++] = marker;
    }
    return clattn__queue_flush(way->dispatcher->queue);
}

/* Collects the cl_events to wait for, enqueues, and forgets the collection. */
static clattn_status launch(const passage *way)
{
    const clattn__env *env = &way->dispatcher->context->env;
    const uint32_t count = way->submission->wait_count;
    struct _cl_event *few[16], **wait = few;
    if (count > 16) {
        wait = clattn__alloc_array(env, count, sizeof *wait);
        if (!wait)
            return CLATTN_ERR_OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++)
        wait[i] = clattn__event_last(way->submission->wait[i]);
    const clattn_status status = launch_all(way, wait);
    if (wait != few)
        clattn__free(env, wait);
    return status;
}

/* After a failure in the middle: what was enqueued must end before its memory may go. */
static void abandon(const passage *way)
{
    clattn__queue_finish(way->dispatcher->queue);
}

static clattn_status submit_locked(passage *way)
{
    clattn_dispatcher *dispatcher = way->dispatcher;
    clattn__dispatcher_reap(dispatcher);
    CLATTN__TRY(clattn__dispatcher_reserve(dispatcher, way->workspace));
    CLATTN__TRY(clattn__dispatcher_take_event(dispatcher, &way->event));
    clattn_status status = reserve_copies(way);
    if (status == CLATTN_OK)
        status = launch(way);
    if (status == CLATTN_OK)
        clattn__dispatcher_add_flight(dispatcher, way->event);
    else
        abandon(way);
    return status;
}

clattn_status clattn__submit(clattn_dispatcher *dispatcher, const clattn_submission *submission,
                             clattn_event **event)
{
    CLATTN__TRY(check_sizes(submission));
    CLATTN__TRY(check_fields(submission));
    passage way = {.dispatcher = dispatcher, .submission = submission};
    CLATTN__TRY(check_wait(&way));
    CLATTN__TRY(check_steps(&way));
    clattn__mutex_lock(&dispatcher->lock);
    const clattn_status status = submit_locked(&way);
    clattn__mutex_unlock(&dispatcher->lock);
    if (way.event && (status != CLATTN_OK || !event))
        clattn__event_unref(way.event);
    else if (status == CLATTN_OK)
        *event = way.event;
    return status;
}
