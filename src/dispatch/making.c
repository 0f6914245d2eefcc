/* What goes into a launch: steps are listed, and linked where they share launches, scratch memory
 * is placed, and a table of rows, items and host arrays is written. Nothing of it touches the
 * device but the table's way there. */
#include "dispatch/making.h"

#include "dispatch/transfer.h"

#define ALIGNMENT 256u

static uint64_t round_up(uint64_t size)
{
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- what there is to launch ----------------------------------------------------------------- */

static clattn_status reserve_units(clattn__lane *lane, uint32_t count)
{
    if (lane->unit_capacity >= count)
        return CLATTN_OK;
    clattn__unit *grown = clattn__resize(&lane->dispatcher->context->env, lane->unit,
                                         2 * (size_t)count * sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    lane->unit = grown;
    clattn__sharer *sharers = clattn__resize(&lane->dispatcher->context->env, lane->sharer,
                                             2 * (size_t)count * sizeof *sharers);
    if (!sharers)
        return CLATTN_ERR_OUT_OF_MEMORY;
    lane->sharer = sharers;
    lane->unit_capacity = 2 * count;
    return CLATTN_OK;
}

clattn_status clattn__making_list(clattn__making *m)
{
    uint32_t count = 0;
    for (uint32_t e = 0; e < m->event_count; e++)
        count += m->events[e]->entry_count;
    CLATTN__TRY(reserve_units(m->lane, count));
    for (uint32_t e = 0; e < m->event_count; e++) {
        clattn_event *event = m->events[e];
        for (uint32_t i = 0; i < event->entry_count; i++) {
            clattn__entry *entry = &event->entry[i];
            entry->use = clattn__plan_on(entry->plan, m->lane->device);
            entry->bound.device = m->lane->device;
            m->lane->sharer[m->units] = event->sharer[i];
            m->lane->unit[m->units++] = (clattn__unit){.event = event, .entry = entry};
            m->levels =
                event->sharer[i].level >= m->levels ? event->sharer[i].level + 1 : m->levels;
        }
        m->copies += round_up(event->copy_size);
    }
    return CLATTN_OK;
}

uint64_t clattn__entry_scratch(const clattn__entry *entry)
{
    return entry->scratch ? entry->use->variant.workspace : 0;
}

void clattn__making_join(clattn__making *m)
{
    const clattn__sharer *sharer = m->lane->sharer;
    const double most = clattn__lane_most_work(&m->lane->dispatcher->backlog.lane[m->lane->index]);
    clattn__sharing_join(m->lane->sharer, m->units, most);
    for (uint32_t i = 0; i < m->units; i++) {
        if (!clattn__sharing_is_shared(&sharer[i]))
            continue;
        m->rows++;
        m->items += m->lane->unit[i].entry->use->groups;
    }
}

/* Units of one level have their own, levels follow each other. */
clattn_status clattn__making_place(clattn__making *m)
{
    uint64_t most = 0;
    for (uint32_t level = 0; level < m->levels; level++) {
        uint64_t used = 0;
        for (uint32_t i = 0; i < m->units; i++) {
            clattn__unit *unit = &m->lane->unit[i];
            if (m->lane->sharer[i].level != level)
                continue;
            unit->workspace = used;
            used += round_up(clattn__entry_scratch(unit->entry));
        }
        most = used > most ? used : most;
    }
    m->scratch = most;
    return clattn__lane_reserve(m->lane, most);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static clattn_status bind_unit(const clattn__making *m, const clattn__unit *unit, uint64_t copies)
{
    clattn__bound *bound = &unit->entry->bound;
    if (clattn__entry_scratch(unit->entry) && !m->in_parts) {
        bound->workspace.memory = m->lane->workspace;
        bound->workspace.offset = clattn__memory_offset(m->lane->workspace) + unit->workspace;
        CLATTN__TRY(clattn__event_keep_memory(unit->event, m->lane->workspace));
    }
    if (bound->host_size)
        clattn__bind_copies(unit->entry->use, m->table.memory, copies + unit->entry->copies, bound);
    return CLATTN_OK;
}

/* Rows, then items, then the host arrays of every submission. */
static clattn_status fill_table(clattn__making *m)
{
    const uint64_t rows = round_up(m->rows * sizeof(clattn_problem_row));
    const uint64_t items = round_up(m->items * sizeof(clattn_work_item));
    uint64_t at = rows + items;
    if (at + m->copies == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__tables_take(&m->lane->tables, at + m->copies, &m->table));
    m->next_item = (uint32_t)(rows / sizeof(clattn_work_item));
    for (uint32_t e = 0; e < m->event_count; e++) {
        clattn_event *event = m->events[e];
        CLATTN__TRY(clattn__event_keep_memory(event, m->table.memory));
        event->table = m->table.memory;
        clattn__event_put_copies(event, m->table.host + at);
        at += round_up(event->copy_size);
    }
    return CLATTN_OK;
}

clattn_status clattn__making_bind(clattn__making *m)
{
    CLATTN__TRY(fill_table(m));
    uint64_t copies = round_up(m->rows * sizeof(clattn_problem_row)) +
                      round_up(m->items * sizeof(clattn_work_item));
    uint32_t i = 0;
    for (uint32_t e = 0; e < m->event_count; e++) {
        for (uint32_t n = 0; n < m->events[e]->entry_count; n++)
            CLATTN__TRY(bind_unit(m, &m->lane->unit[i++], copies));
        copies += round_up(m->events[e]->copy_size);
    }
    for (i = 0; i < m->units; i++) {
        clattn__unit *unit = &m->lane->unit[i];
        if (!clattn__sharing_is_shared(&m->lane->sharer[i]))
            continue;
        unit->row = m->next_row++;
        clattn__shared_row(unit->entry->use, &unit->entry->bound,
                           (clattn_problem_row *)(void *)m->table.host + unit->row);
    }
    return CLATTN_OK;
}

/* Sends the table, on which every submission rests. */
static clattn_status send(const clattn__making *m, uint64_t size)
{
    const clattn__env *env = &m->lane->dispatcher->context->env;
    struct _cl_event *command;
    for (uint32_t e = 0; e < m->event_count; e++)
        CLATTN__TRY(clattn__keep_reserve(env, &m->events[e]->uploads, 1));
    CLATTN__TRY(clattn__table_send(&m->lane->tables, &m->table, size, m->lane->queue, &command));
    for (uint32_t e = 0; command && e < m->event_count; e++) {
        clattn__keep *uploads = &m->events[e]->uploads;
        if (e > 0)
            CLATTN__TRY(clattn__event_retain_cl(m->lane->device, command));
        uploads->item[uploads->count++] = command;
    }
    return CLATTN_OK;
}

uint64_t clattn__making_table_size(const clattn__making *m)
{
    return round_up(m->rows * sizeof(clattn_problem_row)) +
           round_up(m->items * sizeof(clattn_work_item)) + m->copies;
}

clattn_status clattn__making_send(clattn__making *m)
{
    const clattn__unit *unit = m->lane->unit;
    const clattn__sharer *sharer = m->lane->sharer;
    uint32_t at = m->next_item, leader = CLATTN__NOBODY;
    const uint64_t size = clattn__making_table_size(m);
    if (size == 0)
        return CLATTN_OK;
    while ((leader = clattn__sharing_after(sharer, m->units, leader)) != CLATTN__NOBODY) {
        if (!clattn__sharing_is_shared(&sharer[leader]))
            continue;
        for (uint32_t n = 0; n < unit[leader].entry->use->variant.launch_count; n++)
            for (uint32_t u = leader; u != CLATTN__NOBODY; u = sharer[u].next)
                at += clattn__shared_items(unit[u].entry->use, n, unit[u].row,
                                           (clattn_work_item *)(void *)m->table.host + at);
    }
    return send(m, size);
}

/* ---- waiting, and room ----------------------------------------------------------------------- */

clattn_status clattn__making_wait(clattn__making *m, clattn__wait_list more)
{
    clattn__keep *wait = &m->lane->wait;
    const clattn_dispatcher *dispatcher = m->lane->dispatcher;
    const clattn__env *env = &dispatcher->context->env;
    wait->count = 0;
    for (uint32_t e = 0; e < m->event_count; e++)
        for (uint32_t i = 0; i < m->events[e]->waits.count; i++) {
            const clattn_event *other = m->events[e]->waits.item[i];
            const bool before = !dispatcher->direct && other->dispatcher == dispatcher &&
                                other->job.lane == (int32_t)m->lane->index;
            if (!before && atomic_load(&other->status) == CLATTN_PENDING)
                CLATTN__TRY(clattn__keep_add(env, wait, clattn__event_last(other)));
        }
    for (uint32_t i = 0; i < more.count; i++)
        CLATTN__TRY(clattn__keep_add(env, wait, more.event[i]));
    m->wait =
        (clattn__wait_list){(struct _cl_event *const *)(void *const *)wait->item, wait->count};
    return CLATTN_OK;
}

static clattn_status reserve_flight(clattn__lane *lane)
{
    if (lane->flight_count < lane->flight_capacity)
        return CLATTN_OK;
    const uint32_t capacity = lane->flight_capacity ? lane->flight_capacity * 2 : 64;
    clattn__flight *grown =
        clattn__alloc_array(&lane->dispatcher->context->env, capacity, sizeof *grown);
    if (!grown)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < lane->flight_count; i++) /* none without capacity */
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
        grown[i] = lane->flight[(lane->flight_first + i) % lane->flight_capacity];
    clattn__free(&lane->dispatcher->context->env, lane->flight);
    lane->flight = grown;
    lane->flight_first = 0;
    lane->flight_capacity = capacity;
    return CLATTN_OK;
}

clattn_status clattn__making_reserve(const clattn__making *m)
{
    CLATTN__TRY(reserve_flight(m->lane));
    const clattn__env *env = &m->lane->dispatcher->context->env;
    for (uint32_t e = 0; e < m->event_count; e++) {
        uint32_t launches = 1 + clattn__transfers_of(m, m->events[e]); /* a part, or a marker */
        launches += env->clears ? 2 : 0;                               /* scratch memory, table */
        for (uint32_t i = 0; !m->in_parts && i < m->events[e]->entry_count; i++)
            launches += clattn__slices_of(m->lane, m->events[e]->entry[i].use,
                                          m->events[e]->sharer[i].work);
        CLATTN__TRY(clattn__keep_reserve(env, &m->events[e]->commands, launches));
    }
    return CLATTN_OK;
}

void clattn__making_note(clattn__making *m, clattn_event *event, struct _cl_event *command)
{
    clattn__enqueued *result = m->result;
    if (!result->first)
        *result = (clattn__enqueued){.opener = event, .first = command};
    result->closer = event;
    result->last = command;
    result->launches++;
}

clattn_status clattn__making_clear(clattn__making *m, clattn__memory *memory, uint64_t size)
{
    struct _cl_event *command;
    if (size == 0 || !m->lane->dispatcher->context->env.clears)
        return CLATTN_OK;
    CLATTN__TRY(clattn__queue_clear(m->lane->queue, memory, round_up(size), &command));
    for (uint32_t e = 0; e < m->event_count; e++) {
        clattn_event *event = m->events[e];
        if (e > 0)
            CLATTN__TRY(clattn__event_retain_cl(m->lane->device, command));
        clattn__making_note(m, event, command);
        event->commands.item[event->commands.count++] = command;
    }
    return CLATTN_OK;
}
