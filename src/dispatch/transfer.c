/* See transfer.h. Whole spans of tensors are moved, gaps included, so that submissions whose spans
 * meet are never in flight on two devices of which one has a copy. */
#include "dispatch/transfer.h"

#include "schedule/estimate.h"

/* What the submission rests on, but for what others had sent before. */
static clattn_status upload(clattn__making *m, clattn_event *event, const clattn__span *span)
{
    clattn_dispatcher *dispatcher = m->lane->dispatcher;
    const clattn__env *env = &dispatcher->context->env;
    clattn__sent sent = {.end = span->begin};
    do { /* the set of what is there may be too full to remember it: never the same twice */
        CLATTN__TRY(clattn__keep_reserve(env, &event->uploads, 1));
        CLATTN__TRY(
            clattn__memory_upload(span->memory, m->lane->queue, sent.end, span->end, &sent));
        if (!sent.event)
            break;
        event->uploads.item[event->uploads.count++] = sent.event;
        dispatcher->done.bytes_moved += sent.end - sent.begin;
    } while (sent.end < span->end);
    return CLATTN_OK;
}

static clattn_status bring(clattn__making *m, clattn_event *event, const clattn__span *span)
{
    if (clattn__memory_must_move(span->memory, m->lane->device))
        CLATTN__TRY(upload(m, event, span));
    if (span->written)
        clattn__memory_written(span->memory, m->lane->device, span->begin, span->end);
    return CLATTN_OK;
}

clattn_status clattn__transfer_in(clattn__making *m)
{
    for (uint32_t e = 0; e < m->event_count; e++)
        for (uint32_t i = 0; i < m->events[e]->entry_count; i++) {
            const clattn__entry *entry = &m->events[e]->entry[i];
            for (uint32_t s = 0; s < entry->span_count; s++)
                CLATTN__TRY(bring(m, m->events[e], &entry->span[s]));
        }
    return CLATTN_OK;
}

static bool comes_back(const clattn__making *m, const clattn__span *span)
{
    return span->written && span->begin < span->end &&
           clattn__memory_must_move(span->memory, m->lane->device);
}

uint32_t clattn__transfers_of(const clattn__making *m, const clattn_event *event)
{
    uint32_t count = 0;
    for (uint32_t i = 0; m->lane->dispatcher->distant && i < event->entry_count; i++)
        for (uint32_t s = 0; s < event->entry[i].span_count; s++)
            count += comes_back(m, &event->entry[i].span[s]);
    return count;
}

clattn_status clattn__transfer_out(clattn__making *m, clattn_event *event)
{
    for (uint32_t i = 0; i < event->entry_count; i++)
        for (uint32_t s = 0; s < event->entry[i].span_count; s++) {
            const clattn__span *span = &event->entry[i].span[s];
            struct _cl_event *command;
            if (!comes_back(m, span))
                continue;
            CLATTN__TRY(clattn__memory_download(span->memory, m->lane->queue, span->begin,
                                                span->end, &command));
            m->lane->dispatcher->done.bytes_moved += span->end - span->begin;
            clattn__making_note(m, event, command);
            event->commands.item[event->commands.count++] = command;
        }
    return CLATTN_OK;
}

static bool overlap(const clattn__entry *a, const clattn__entry *b)
{
    for (uint32_t i = 0; i < a->span_count; i++)
        for (uint32_t j = 0; j < b->span_count; j++)
            if (a->span[i].object == b->span[j].object && a->span[i].begin < b->span[j].end &&
                b->span[j].begin < a->span[i].end)
                return true;
    return false;
}

static bool share_memory(const clattn_event *a, const clattn_event *b)
{
    for (uint32_t i = 0; i < a->entry_count; i++)
        for (uint32_t j = 0; j < b->entry_count; j++)
            if (overlap(&a->entry[i], &b->entry[j]))
                return true;
    return false;
}

/* Whether one of them writes what is in both. */
static bool meet(const clattn_event *a, const clattn_event *b)
{
    for (uint32_t i = 0; i < a->entry_count; i++)
        for (uint32_t j = 0; j < b->entry_count; j++)
            if (clattn__spans_meet(a->entry[i].span, a->entry[i].span_count, b->entry[j].span,
                                   b->entry[j].span_count))
                return true;
    return false;
}

/* Of one of the lists of the backlog, those that have begun on the lane. */
static void spoil(const clattn__lane *lane, clattn__job *first, const clattn_event *failed)
{
    for (clattn__job *at = first; at; at = at->next) {
        clattn_event *event = clattn__event_of(at);
        if (event != failed && event->begun && at->lane == (int32_t)lane->index &&
            share_memory(event, failed))
            event->stale = true;
    }
}

void clattn__transfer_failed(const clattn__lane *lane, const clattn_event *event)
{
    const clattn__backlog *backlog = &lane->dispatcher->backlog;
    if (!lane->dispatcher->distant || event->uploads.count == 0)
        return;
    spoil(lane, backlog->flying[lane->index].first, event);
    spoil(lane, backlog->waiting.first, event);
}

/* ---- what it costs --------------------------------------------------------------------------- */

/* Whether a span before this one, of step `entry`, has its bytes: steps share keys and values. */
static bool is_counted(const clattn_event *event, uint32_t entry, const clattn__span *span)
{
    for (uint32_t i = 0; i <= entry; i++)
        for (uint32_t s = 0; s < event->entry[i].span_count; s++) {
            const clattn__span *before = &event->entry[i].span[s];
            if (before == span)
                return false;
            if (before->object == span->object && before->begin <= span->begin &&
                span->end <= before->end)
                return true;
        }
    return false;
}

static uint64_t lacks(const clattn_event *event, const clattn__device *device)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < event->entry_count; i++)
        for (uint32_t s = 0; s < event->entry[i].span_count; s++) {
            const clattn__span *span = &event->entry[i].span[s];
            const uint64_t lacking =
                clattn__memory_lacks(span->memory, device, span->begin, span->end);
            bytes += lacking && !is_counted(event, i, span) ? lacking : 0;
        }
    return bytes;
}

void clattn__transfer_estimate(clattn_event *event)
{
    const clattn_dispatcher *dispatcher = event->dispatcher;
    if (!dispatcher->distant || dispatcher->backlog.lane_count == 1)
        return;
    for (uint32_t i = 0; i < dispatcher->backlog.lane_count; i++)
        event->job.moving[i] = clattn__estimate_transfer(lacks(event, dispatcher->lane[i].device));
}

/* For all others that wait and of which this says that what they share has moved. */
static void estimate_others(const clattn_event *event,
                            bool (*has_moved)(const clattn_event *a, const clattn_event *b))
{
    const clattn_dispatcher *dispatcher = event->dispatcher;
    const bool matters = dispatcher->distant && dispatcher->backlog.lane_count > 1;
    clattn__job *at = matters ? dispatcher->backlog.waiting.first : NULL;
    for (; at; at = at->next)
        if (at != &event->job && has_moved(clattn__event_of(at), event))
            clattn__transfer_estimate(clattn__event_of(at));
}

void clattn__transfer_estimate_sharers(const clattn_event *event)
{
    /* where nothing was sent, what it only reads is where it was */
    estimate_others(event, event->uploads.count ? share_memory : meet);
}

void clattn__transfer_forget(clattn_event *event)
{
    for (uint32_t i = 0; i < event->entry_count; i++)
        for (uint32_t s = 0; s < event->entry[i].span_count; s++) {
            const clattn__span *span = &event->entry[i].span[s];
            clattn__memory_written(span->memory, NULL, span->begin, span->end);
        }
    clattn__transfer_estimate(event); /* it may wait again soon */
    estimate_others(event, share_memory);
}

/* ---- conflicts ------------------------------------------------------------------------------- */

static bool copies(const clattn__device *device, const clattn_event *event)
{
    for (uint32_t i = 0; i < event->entry_count; i++)
        for (uint32_t s = 0; s < event->entry[i].span_count; s++)
            if (clattn__memory_must_move(event->entry[i].span[s].memory, device))
                return true;
    return false;
}

static bool meets_any(const clattn_event *event, clattn__job *first, int32_t lane)
{
    for (clattn__job *at = first; at; at = at->next)
        if (at->lane == lane && &event->job != at && meet(event, clattn__event_of(at)))
            return true;
    return false;
}

bool clattn__transfer_conflicts(const clattn__lane *lane, const clattn_event *event)
{
    const clattn_dispatcher *dispatcher = lane->dispatcher;
    const clattn__backlog *backlog = &dispatcher->backlog;
    const bool here = copies(lane->device, event);
    for (uint32_t i = 0; i < backlog->lane_count; i++) {
        if (i == lane->index || !(here || copies(dispatcher->lane[i].device, event)))
            continue;
        if (meets_any(event, backlog->flying[i].first, (int32_t)i) ||
            meets_any(event, backlog->waiting.first, (int32_t)i)) /* in parts */
            return true;
    }
    return false;
}
