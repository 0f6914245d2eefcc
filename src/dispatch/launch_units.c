/* From submissions that are ready to launches on a lane, which steps share (schedule/sharing.h).
 * What OpenCL refuses fails nobody but the submission it is of: a launch that several share is
 * tried once more, each submission's part by itself. */
#include <stdio.h>

#include "dispatch/transfer.h"

/* Nothing more of the submission is launched; what was enqueued goes on. */
static void refuse(clattn_event *event, clattn_status status)
{
    snprintf(event->message, sizeof event->message, "%s%s",
             event->commands.count ? "OpenCL refused a part of it, and its outputs are undefined: "
                                   : "",
             clattn__message());
    atomic_store(&event->refused, status);
}

static bool is_refused(const clattn_event *event)
{
    return atomic_load(&event->refused) != CLATTN_OK;
}

/* ---- commands -------------------------------------------------------------------------------- */

/* The command belongs to every submission that has a part in it, once: unit `at`, and with `chain`
 * those that share its launches. */
static void share_command(clattn__making *m, uint32_t at, bool chain, struct _cl_event *command)
{
    const clattn__unit *unit = m->lane->unit;
    const clattn__sharer *sharer = m->lane->sharer;
    clattn__making_note(m, unit[at].event, command);
    for (uint32_t i = at; i != CLATTN__NOBODY; i = chain ? sharer[i].next : CLATTN__NOBODY) {
        clattn__keep *commands = &unit[i].event->commands;
        if (commands->count && commands->item[commands->count - 1] == command)
            continue;
        if (i != at) {
            const clattn_status status = clattn__event_retain_cl(m->lane->device, command);
            if (status != CLATTN_OK) { /* it runs, and nothing will say when it is done */
                clattn__queue_finish(m->lane->queue);
                refuse(unit[i].event, status);
                continue;
            }
        }
        commands->item[commands->count++] = command;
    }
}

/* ---- launching ------------------------------------------------------------------------------- */

/* Launch `index` of the unit, as one or, where the device has a watchdog, as several, each sent on
 * its way: drivers that collect commands (Windows) may time all of a batch as one. Where that
 * fails, the end of all launches has to say so. */
static clattn_status launch_slices(clattn__making *m, uint32_t at, uint32_t index)
{
    const clattn__entry *entry = m->lane->unit[at].entry;
    const uint32_t count = entry->use->launch[index].count;
    clattn__launch_part part = {.launch = index};
    while (part.first < count) {
        struct _cl_event *command;
        part.count =
            clattn__slice_of(m->lane, entry->use, m->lane->sharer[at].work, index, part.first);
        CLATTN__TRY(clattn__plan_launch(entry->use, part, &entry->bound, m->lane->queue, m->wait,
                                        &command));
        m->wait.count = 0; /* the lane's order does the rest */
        share_command(m, at, false, command);
        part.first += part.count;
        if (part.count < count)
            (void)clattn__queue_flush(m->lane->queue);
    }
    return CLATTN_OK;
}

static void launch_alone(clattn__making *m, uint32_t at)
{
    const clattn__unit *unit = &m->lane->unit[at];
    clattn_status status = CLATTN_OK;
    for (uint32_t i = 0; i < unit->entry->use->variant.launch_count && status == CLATTN_OK; i++)
        status = launch_slices(m, at, i);
    if (status != CLATTN_OK)
        refuse(unit->event, status);
}

static bool anybody_refused(const clattn__making *m, uint32_t at)
{
    for (uint32_t u = at; u != CLATTN__NOBODY; u = m->lane->sharer[u].next)
        if (is_refused(m->lane->unit[u].event))
            return true;
    return false;
}

/* Launch `index` of unit `at`, from the common table; with `chain` that of those that share it. */
static clattn_status launch_shared(clattn__making *m, uint32_t at, bool chain, uint32_t index,
                                   const clattn__shared_tables *tables)
{
    const clattn__entry *entry = m->lane->unit[at].entry;
    struct _cl_event *command;
    CLATTN__TRY(
        clattn__shared_launch(entry->use, index, &entry->bound, tables, m->lane->queue, &command));
    m->wait.count = 0;
    share_command(m, at, chain, command);
    return CLATTN_OK;
}

/* The same launch as several, one for each that isn't refused. */
static void launch_apart(clattn__making *m, uint32_t at, uint32_t index,
                         clattn__shared_tables tables)
{
    const clattn__unit *unit = m->lane->unit;
    for (uint32_t u = at; u != CLATTN__NOBODY; u = m->lane->sharer[u].next) {
        tables.count = unit[u].entry->use->launch[index].count;
        tables.wait = m->wait;
        if (tables.count && !is_refused(unit[u].event)) {
            const clattn_status status = launch_shared(m, u, false, index, &tables);
            if (status != CLATTN_OK)
                refuse(unit[u].event, status);
        }
        tables.first += tables.count;
    }
}

static void launch_together(clattn__making *m, uint32_t at)
{
    const clattn__unit *unit = m->lane->unit;
    const clattn_plan *plan = unit[at].entry->use;
    bool apart = false;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        clattn__shared_tables tables = {m->table.memory, m->table.memory, m->next_item, 0, m->wait};
        for (uint32_t u = at; u != CLATTN__NOBODY; u = m->lane->sharer[u].next)
            tables.count += unit[u].entry->use->launch[i].count;
        m->next_item += tables.count;
        if (tables.count == 0)
            continue;
        apart =
            apart || anybody_refused(m, at) || launch_shared(m, at, true, i, &tables) != CLATTN_OK;
        if (apart)
            launch_apart(m, at, i, tables);
    }
}

static void launch_all(clattn__making *m)
{
    const clattn__sharer *sharer = m->lane->sharer;
    uint32_t at = CLATTN__NOBODY;
    while ((at = clattn__sharing_after(sharer, m->units, at)) != CLATTN__NOBODY) {
        if (clattn__sharing_is_shared(&sharer[at]))
            launch_together(m, at);
        else if (!is_refused(m->lane->unit[at].event))
            launch_alone(m, at);
    }
}

/* Submissions without any launch still end after what was before them. */
static void mark_empty(clattn__making *m)
{
    for (uint32_t e = 0; e < m->event_count; e++) {
        struct _cl_event *marker;
        clattn_event *event = m->events[e];
        if (event->commands.count || is_refused(event))
            continue;
        const clattn_status status =
            clattn__queue_marker(m->lane->queue, m->wait.event, m->wait.count, &marker);
        if (status != CLATTN_OK) {
            refuse(event, status);
            continue;
        }
        m->wait.count = 0;
        clattn__making_note(m, event, marker);
        event->commands.item[event->commands.count++] = marker;
    }
}

/* Zeros for what all submissions have used, behind their launches. */
static void clear_used(clattn__making *m)
{
    clattn_status status = clattn__making_clear(m, m->lane->workspace, m->scratch);
    if (status == CLATTN_OK)
        status = clattn__making_clear(m, m->table.memory, clattn__making_table_size(m));
    for (uint32_t e = 0; status != CLATTN_OK && e < m->event_count; e++)
        if (!is_refused(m->events[e]))
            refuse(m->events[e], status);
}

static void fetch_results(clattn__making *m)
{
    for (uint32_t e = 0; m->lane->dispatcher->distant && e < m->event_count; e++) {
        clattn_event *event = m->events[e];
        const clattn_status status = is_refused(event) ? CLATTN_OK : clattn__transfer_out(m, event);
        if (status != CLATTN_OK)
            refuse(event, status);
    }
}

/* Where what was enqueued can't be sent on its way, waiting for it does that. */
static void flush(const clattn__making *m)
{
    if (clattn__queue_flush(m->lane->queue) == CLATTN_OK)
        return;
    const clattn_status status = clattn__queue_finish(m->lane->queue);
    for (uint32_t e = 0; status != CLATTN_OK && e < m->event_count; e++)
        refuse(m->events[e], status);
}

static clattn_status prepare(clattn__making *m, clattn__wait_list more)
{
    CLATTN__TRY(clattn__making_list(m));
    clattn__making_join(m);
    CLATTN__TRY(clattn__making_place(m));
    CLATTN__TRY(clattn__making_reserve(m));
    CLATTN__TRY(clattn__making_bind(m));
    CLATTN__TRY(clattn__making_wait(m, more));
    CLATTN__TRY(clattn__making_send(m));
    return m->lane->dispatcher->distant ? clattn__transfer_in(m) : CLATTN_OK;
}

clattn_status clattn__lane_launch(clattn__lane *lane, clattn_event *const *events, uint32_t count,
                                  clattn__wait_list more, clattn__enqueued *result)
{
    clattn__making m = {.lane = lane, .events = events, .event_count = count, .result = result};
    *result = (clattn__enqueued){0};
    const clattn_status status = prepare(&m, more);
    if (status != CLATTN_OK) {
        clattn__queue_finish(lane->queue); /* the table may be on its way */
        return status;
    }
    launch_all(&m);
    fetch_results(&m);
    clear_used(&m);
    mark_empty(&m);
    flush(&m);
    lane->done.shared += m.rows;
    return CLATTN_OK;
}
