/* Checks a whole submission and turns its steps into entries. */
#include "dispatch/prepare.h"

#include <inttypes.h>
#include <string.h>

#include "base/unknown.h"
#include "dispatch/dispatcher.h"
#include "schedule/estimate.h"

static clattn_status check_sizes(const clattn_submission *submission)
{
    CLATTN__TRY(clattn__check_known(submission, sizeof *submission, "submission",
                                    "clattn_submission_init"));
    if (submission->step_size < sizeof(clattn_step) || submission->step_size > 65536)
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "submission: step_size is %" PRIu32 "; use clattn_submission_init",
                            submission->step_size);
    return CLATTN_OK;
}

clattn_status clattn__submission_check(const clattn_submission *submission)
{
    CLATTN__TRY(check_sizes(submission));
    if (submission->reserved != 0)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: reserved is %" PRIu32 ", must be 0",
                            submission->reserved);
    if (submission->step_count && !submission->steps)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: steps is NULL");
    if (submission->wait_count && !submission->wait)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "submission: wait is NULL");
    return CLATTN_OK;
}

static const clattn_step *step_at(const clattn_submission *submission, uint32_t index)
{
    return (const clattn_step *)((const char *)submission->steps +
                                 (size_t)index * submission->step_size);
}

static clattn_status check_step(const clattn_event *event, const clattn_submission *submission,
                                const clattn_step *step)
{
    CLATTN__TRY(clattn__plan_check(step->plan));
    if (step->plan->context != event->dispatcher->context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "plan: belongs to another context");
    if (step->first_kv_head > INT32_MAX)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "first_kv_head: is %" PRIu32 ", more than 2^31-1",
                            step->first_kv_head);
    if (!clattn__unknown_is_zero(step, sizeof *step, submission->step_size))
        return clattn__fail(CLATTN_ERR_UNSUPPORTED, "has fields that version %s does not know",
                            clattn_version_string());
    return CLATTN_OK;
}

static clattn_status name_step(clattn_status status, uint32_t index, uint32_t count)
{
    if (status == CLATTN_OK || count < 2)
        return status;
    return clattn__fail(status, "steps[%" PRIu32 "]: %s", index, clattn__message());
}

/* Entries can share launches if the functions are the same and so is the memory of every slot;
 * host arrays go to one table in any case. */
static uint64_t family_of(const clattn__entry *entry)
{
    uint64_t family = entry->plan->family;
    if (family == 0)
        return 0;
    for (uint32_t i = 0; i < entry->plan->slot_count; i++) {
        const uint32_t slot = entry->plan->slot[i].slot;
        const clattn__memory *memory = entry->bound.slot[slot].memory;
        const uint64_t object = entry->bound.host[slot] ? 1
                                : memory ? (uint64_t)(uintptr_t)clattn__memory_cl(memory)
                                         : 0;
        family = (family ^ object ^ (uint64_t)slot << 56) * 0x9e3779b97f4a7c15u;
        family ^= family >> 29;
    }
    return family | 1;
}

static clattn_status bind_step(clattn_event *event, const clattn_submission *submission,
                               uint32_t index)
{
    const clattn_step *step = step_at(submission, index);
    clattn__entry *entry = &event->entry[index];
    clattn__sharer *sharer = &event->sharer[index];
    CLATTN__TRY(check_step(event, submission, step));
    entry->plan = step->plan;
    entry->use = NULL;
    entry->scratch = false;
    *sharer = (clattn__sharer){.next = CLATTN__NOBODY};
    CLATTN__TRY(clattn__bind(step->plan, step->bindings, step->binding_count, &entry->bound));
    if (clattn__plan_workspace(step->plan) && submission->workspace)
        return clattn__bind_workspace(step->plan, submission->workspace,
                                      submission->workspace_offset, &entry->bound);
    sharer->family = family_of(entry);
    entry->scratch = true;
    return CLATTN_OK;
}

/* The caller's scratch memory is one for all steps: what any step needs of it may be nobody's
 * tensor. */
static clattn_status check_caller_workspace(const clattn_submission *submission)
{
    uint64_t most = 0;
    if (!submission->workspace)
        return CLATTN_OK;
    for (uint32_t i = 0; i < submission->step_count; i++) {
        const uint64_t needed = clattn__plan_workspace(step_at(submission, i)->plan);
        most = needed > most ? needed : most;
    }
    for (uint32_t i = 0; i < submission->step_count; i++)
        CLATTN__TRY(name_step(clattn__check_workspace(step_at(submission, i), submission->workspace,
                                                      submission->workspace_offset, most),
                              i, submission->step_count));
    return CLATTN_OK;
}

static clattn_status reserve_entries(clattn_event *event, uint32_t count)
{
    if (event->entry_capacity >= count)
        return CLATTN_OK;
    clattn__entry *grown =
        clattn__resize(&event->dispatcher->context->env, event->entry, count * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    event->entry = grown;
    clattn__sharer *sharers =
        clattn__resize(&event->dispatcher->context->env, event->sharer, count * sizeof *sharers);
    if (!sharers)
        return CLATTN_ERR_OUT_OF_MEMORY;
    event->sharer = sharers;
    event->entry_capacity = count;
    return CLATTN_OK;
}

static clattn_status bind_steps(clattn_event *event, const clattn_submission *submission)
{
    const uint32_t count = submission->step_count;
    CLATTN__TRY(reserve_entries(event, count));
    for (uint32_t i = 0; i < count; i++)
        CLATTN__TRY(name_step(bind_step(event, submission, i), i, count));
    event->entry_count = count;
    return check_caller_workspace(submission);
}

/* What entries use stays until they are done. */
static clattn_status keep(clattn_event *event, const clattn__entry *entry)
{
    CLATTN__TRY(clattn__keep_add(&event->dispatcher->context->env, &event->plans,
                                 (void *)(uintptr_t)entry->plan));
    clattn__plan_retain(entry->plan);
    for (uint32_t i = 0; i < entry->plan->slot_count; i++)
        CLATTN__TRY(
            clattn__event_keep_memory(event, entry->bound.slot[entry->plan->slot[i].slot].memory));
    return clattn__event_keep_memory(event, entry->bound.workspace.memory);
}

/* Where host arrays will be among the copies; they are copied once it is known where to. */
static void place_arrays(clattn_event *event)
{
    event->copy_size = 0;
    event->copied = false;
    for (uint32_t i = 0; i < event->entry_count; i++) {
        event->entry[i].copies = event->copy_size;
        event->copy_size += event->entry[i].bound.host_size;
    }
}

static bool meet(const void *user, uint32_t later, uint32_t earlier)
{
    const clattn__entry *entry = user, *a = &entry[later], *b = &entry[earlier];
    return clattn__spans_meet(a->span, a->span_count, b->span, b->span_count);
}

/* Steps that share nothing that is written are of one level, and may run in any order. */
static void find_levels(clattn_event *event)
{
    for (uint32_t i = 0; i < event->entry_count; i++) {
        clattn__entry *entry = &event->entry[i];
        entry->span_count = clattn__bound_spans(entry->plan, &entry->bound, entry->span);
    }
    clattn__sharing_levels(event->sharer, event->entry_count, meet, event->entry);
}

static clattn_status reserve_ranges(clattn_event *event, uint64_t more)
{
    const uint32_t count = event->job.ranges.count;
    if (event->range_capacity - count >= more)
        return CLATTN_OK;
    const uint32_t capacity = 2 * count + (uint32_t)more;
    clattn__head_range *grown = clattn__resize(&event->dispatcher->context->env,
                                               event->job.ranges.range, capacity * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    event->job.ranges.range = grown;
    event->range_capacity = capacity;
    return CLATTN_OK;
}

/* One past the last head of a step; plans without heads, as projections, have their sequences
 * whole.
 */
static uint32_t heads_end(const clattn_step *step)
{
    const uint32_t count = (uint32_t)step->plan->problem.extent[CLATTN__N_KV_HEAD];
    return count ? step->first_kv_head + count : UINT32_MAX;
}

static clattn_status find_ranges(clattn_event *event, const clattn_submission *submission,
                                 uint64_t sequence)
{
    clattn__head_ranges *ranges = &event->job.ranges;
    ranges->count = 0;
    if (sequence) {
        CLATTN__TRY(reserve_ranges(event, 1));
        clattn__head_ranges_add(ranges, &sequence, 1, 0, UINT32_MAX);
    }
    for (uint32_t i = 0; i < submission->step_count; i++) {
        const clattn_step *step = step_at(submission, i);
        const int64_t *extent = step->plan->problem.extent;
        const uint64_t batch = (uint64_t)extent[CLATTN__BATCH];
        if (!step->sequences)
            continue;
        CLATTN__TRY(reserve_ranges(event, batch));
        clattn__head_ranges_add(ranges, step->sequences, batch, step->first_kv_head,
                                heads_end(step));
    }
    clattn__head_ranges_close(ranges);
    return CLATTN_OK;
}

/* Lengths as an array, NULL where they aren't known or aren't side by side. */
static const int32_t *lengths_of(const clattn__entry *entry)
{
    const clattn__problem *problem = &entry->plan->problem;
    const bool plain = problem->layout[CLATTN_SLOT_KV_LENGTHS].stride[0] == 1 ||
                       problem->extent[CLATTN__BATCH] == 1;
    return plain ? entry->bound.host[CLATTN_SLOT_KV_LENGTHS] : NULL;
}

static void estimate(clattn_event *event)
{
    double work = 0;
    for (uint32_t i = 0; i < event->entry_count; i++) {
        const clattn__entry *entry = &event->entry[i];
        event->sharer[i].work = clattn__estimate_work(
            &entry->plan->problem, entry->plan->variant.launch_count, lengths_of(entry));
        work += event->sharer[i].work;
    }
    event->job.work = work > 1 ? work : 1;
    event->job.family = clattn__sharing_family(event->sharer, event->entry_count);
}

/* Lanes whose device has no plan for some step. */
static void bar_lanes(clattn_event *event)
{
    const clattn_dispatcher *dispatcher = event->dispatcher;
    for (uint32_t i = 0; dispatcher->distant && i < dispatcher->backlog.lane_count; i++)
        for (uint32_t e = 0; e < event->entry_count; e++)
            if (!clattn__plan_on(event->entry[e].plan, dispatcher->lane[i].device))
                event->job.barred |= (uint32_t)1 << i;
}

clattn_status clattn__prepare(clattn_event *event, const clattn_submission *submission,
                              uint64_t sequence)
{
    CLATTN__TRY(bind_steps(event, submission));
    place_arrays(event);
    CLATTN__TRY(find_ranges(event, submission, sequence));
    if (event->entry_count > 1 || event->dispatcher->distant)
        find_levels(event);
    estimate(event);
    bar_lanes(event);
    for (uint32_t i = 0; i < event->entry_count; i++)
        CLATTN__TRY(keep(event, &event->entry[i]));
    return CLATTN_OK;
}
