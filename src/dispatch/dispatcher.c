/* The life of a dispatcher and of the records of its submissions. */
#include "dispatch/dispatcher.h"

#include <stdio.h>
#include <string.h>

clattn_status clattn__dispatcher_create(clattn_context *context, clattn__queue *queue,
                                        uint64_t workspace, clattn_dispatcher **dispatcher)
{
    clattn_dispatcher *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    atomic_init(&made->references, 1);
    made->context = context;
    clattn_status status = clattn__mutex_init(&made->lock);
    if (status != CLATTN_OK)
        goto no_lock;
    status = clattn__dispatcher_reserve(made, workspace);
    if (status != CLATTN_OK)
        goto no_workspace;
    made->queue = queue;
    clattn__context_hold(context);
    *dispatcher = made;
    return CLATTN_OK;

no_workspace:
    clattn__mutex_finish(&made->lock);
no_lock:
    clattn__free(&context->env, made);
    return status;
}

static void unref_dispatcher(clattn_dispatcher *dispatcher)
{
    if (atomic_fetch_sub(&dispatcher->references, 1) != 1)
        return;
    clattn_context *context = dispatcher->context;
    while (dispatcher->spare) {
        clattn_event *event = dispatcher->spare;
        dispatcher->spare = event->next;
        clattn__event_free(&context->env, event);
    }
    clattn__memory_release(dispatcher->workspace);
    clattn__mutex_finish(&dispatcher->lock);
    clattn__free(&context->env, dispatcher);
    clattn__context_drop(context);
}

clattn_status clattn__dispatcher_check(const clattn_dispatcher *dispatcher)
{
    if (!dispatcher)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "dispatcher: is NULL");
    return clattn__context_check(dispatcher->context);
}

clattn_status clattn__dispatcher_reserve(clattn_dispatcher *dispatcher, uint64_t size)
{
    if (size == 0 || (dispatcher->workspace && clattn__memory_size(dispatcher->workspace) >= size))
        return CLATTN_OK;
    clattn__memory *grown;
    CLATTN__TRY(clattn__memory_create(dispatcher->context->device, size, &grown));
    clattn__memory_release(dispatcher->workspace); /* submissions in flight keep the old one */
    dispatcher->workspace = grown;
    return CLATTN_OK;
}

clattn_status clattn__dispatcher_take_event(clattn_dispatcher *dispatcher, clattn_event **event)
{
    clattn_event *record = dispatcher->spare;
    if (record) {
        dispatcher->spare = record->next;
    } else {
        record = clattn__alloc_array(&dispatcher->context->env, 1, sizeof *record);
        if (!record)
            return CLATTN_ERR_OUT_OF_MEMORY;
    }
    record->dispatcher = dispatcher;
    atomic_fetch_add(&dispatcher->references, 1);
    atomic_store(&record->references, 1);
    atomic_store(&record->status, CLATTN_PENDING);
    record->message[0] = 0;
    record->next = NULL;
    *event = record;
    return CLATTN_OK;
}

/* The last reference is gone and the lock is held; the caller drops the dispatcher's reference. */
static void make_spare(clattn_event *event)
{
    clattn__event_reset(event);
    event->next = event->dispatcher->spare;
    event->dispatcher->spare = event;
}

void clattn__event_ref(clattn_event *event)
{
    atomic_fetch_add(&event->references, 1);
}

void clattn__event_unref(clattn_event *event)
{
    if (atomic_fetch_sub(&event->references, 1) != 1)
        return;
    clattn_dispatcher *dispatcher = event->dispatcher;
    clattn__mutex_lock(&dispatcher->lock);
    make_spare(event);
    clattn__mutex_unlock(&dispatcher->lock);
    unref_dispatcher(dispatcher);
}

void clattn__dispatcher_add_flight(clattn_dispatcher *dispatcher, clattn_event *event)
{
    atomic_fetch_add(&event->references, 1);
    if (dispatcher->newest)
        dispatcher->newest->next = event;
    else
        dispatcher->oldest = event;
    dispatcher->newest = event;
}

/* Writes down how a submission ended; the record leaves the list of those in flight. */
static void settle(clattn_dispatcher *dispatcher, clattn_event *event, clattn_status status)
{
    dispatcher->oldest = event->next;
    if (!dispatcher->oldest)
        dispatcher->newest = NULL;
    event->next = NULL;
    if (status != CLATTN_OK) {
        snprintf(event->message, sizeof event->message, "%s", clattn__message());
        if (dispatcher->failure == CLATTN_OK) {
            dispatcher->failure = status;
            memcpy(dispatcher->message, event->message, sizeof dispatcher->message);
        }
    }
    clattn__event_drop_kept(event);
    atomic_store(&event->status, status);
    if (atomic_fetch_sub(&event->references, 1) == 1) {
        make_spare(event);
        /* Never the last reference: whoever holds the lock has one. */
        atomic_fetch_sub(&dispatcher->references, 1);
    }
}

void clattn__dispatcher_reap(clattn_dispatcher *dispatcher)
{
    while (dispatcher->oldest) {
        const clattn_status status = clattn__event_ask(dispatcher->oldest);
        if (status == CLATTN_PENDING)
            return;
        settle(dispatcher, dispatcher->oldest, status);
    }
}

clattn_status clattn__dispatcher_finish(clattn_dispatcher *dispatcher)
{
    clattn__mutex_lock(&dispatcher->lock);
    clattn_status status = clattn__queue_finish(dispatcher->queue);
    clattn__dispatcher_reap(dispatcher);
    while (status != CLATTN_OK && dispatcher->oldest) /* the queue is dead: nothing will end */
        settle(dispatcher, dispatcher->oldest, status);
    if (dispatcher->failure != CLATTN_OK)
        status = clattn__fail(dispatcher->failure, "%s", dispatcher->message);
    dispatcher->failure = CLATTN_OK;
    clattn__mutex_unlock(&dispatcher->lock);
    return status;
}

void clattn__dispatcher_close(clattn_dispatcher *dispatcher)
{
    clattn__dispatcher_finish(dispatcher);
    clattn__mutex_lock(&dispatcher->lock);
    while (dispatcher->oldest) /* a driver that says finished, and its events do not */
        settle(dispatcher, dispatcher->oldest,
               clattn__fail(CLATTN_ERR_DEVICE_LOST, "the dispatcher was destroyed before the end"));
    clattn__queue_destroy(dispatcher->queue);
    dispatcher->queue = NULL;
    clattn__mutex_unlock(&dispatcher->lock);
    unref_dispatcher(dispatcher);
}
