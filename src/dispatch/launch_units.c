/* From submissions that are ready to launches on a lane: steps of one level and family share them,
 * through a table of rows and items that is written just before. */
#include <string.h>

#include "dispatch/dispatcher.h"
#include "dispatch/settle.h"

#define NOBODY    UINT32_MAX
#define ALIGNMENT 256u

/* A launch in the making. */
typedef struct making {
    clattn__lane *lane;
    clattn_event *const *events;
    uint32_t event_count;
    uint32_t units;
    uint32_t levels;
    uint64_t rows, items, copies; /* numbers of what goes into the table; copies in bytes */
    clattn__table table;
    uint32_t next_item; /* in units of an item, from the table's beginning */
    uint32_t next_row;
    bool in_parts;          /* scratch memory is the submission's own */
    clattn__wait_list wait; /* of the next launch */
} making;

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
    lane->unit_capacity = 2 * count;
    return CLATTN_OK;
}

static clattn_status list_units(making *m)
{
    uint32_t count = 0;
    for (uint32_t e = 0; e < m->event_count; e++)
        count += m->events[e]->entry_count;
    CLATTN__TRY(reserve_units(m->lane, count));
    for (uint32_t e = 0; e < m->event_count; e++) {
        clattn_event *event = m->events[e];
        for (uint32_t i = 0; i < event->entry_count; i++) {
            clattn__entry *entry = &event->entry[i];
            m->lane->unit[m->units++] = (clattn__unit){
                .event = event, .entry = entry, .level = entry->level, .next = NOBODY};
            m->levels = entry->level >= m->levels ? entry->level + 1 : m->levels;
        }
        m->copies += round_up(event->copy_size);
    }
    return CLATTN_OK;
}

static uint64_t items_of(const clattn__entry *entry)
{
    return entry->plan->groups;
}

/* Links the units that share launches, each to the next one. */
static void join_units(making *m)
{
    clattn__unit *unit = m->lane->unit;
    for (uint32_t i = 0; m->units > 1 && i < m->units; i++) {
        uint32_t last = i;
        if (unit[i].led || unit[i].entry->family == 0)
            continue;
        for (uint32_t j = i + 1; j < m->units; j++) {
            if (unit[j].level != unit[i].level || unit[j].led ||
                unit[j].entry->family != unit[i].entry->family)
                continue;
            unit[last].next = j;
            unit[j].led = true;
            last = j;
            m->rows++;
            m->items += items_of(unit[j].entry);
        }
        if (last != i) {
            m->rows++;
            m->items += items_of(unit[i].entry);
        }
    }
}

/* Scratch memory: units of one level have their own, levels follow each other. */
static clattn_status place_workspaces(making *m)
{
    uint64_t most = 0;
    for (uint32_t level = 0; level < m->levels; level++) {
        uint64_t used = 0;
        for (uint32_t i = 0; i < m->units; i++) {
            clattn__unit *unit = &m->lane->unit[i];
            if (unit->level != level)
                continue;
            unit->workspace = used;
            used += round_up(unit->entry->workspace);
        }
        most = used > most ? used : most;
    }
    return clattn__lane_reserve(m->lane, most);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static clattn_status bind_unit(const making *m, const clattn__unit *unit, uint64_t copies)
{
    clattn__bound *bound = &unit->entry->bound;
    if (unit->entry->workspace && !m->in_parts) {
        bound->workspace.memory = m->lane->workspace;
        bound->workspace.offset = clattn__memory_offset(m->lane->workspace) + unit->workspace;
        CLATTN__TRY(clattn__event_keep_memory(unit->event, m->lane->workspace));
    }
    if (bound->host_size)
        clattn__bind_copies(unit->entry->plan, m->table.memory, copies + unit->entry->copies,
                            bound);
    return CLATTN_OK;
}

/* Rows, then items, then the host arrays of every submission. */
static clattn_status fill_table(making *m)
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
        if (event->copy_size)
            memcpy(m->table.host + at, event->copies, (size_t)event->copy_size);
        at += round_up(event->copy_size);
    }
    return CLATTN_OK;
}

static clattn_status bind_units(making *m)
{
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
        if (unit->next == NOBODY && !unit->led)
            continue;
        unit->row = m->next_row++;
        clattn__shared_row(unit->entry->plan, &unit->entry->bound,
                           (clattn_problem_row *)(void *)m->table.host + unit->row);
    }
    return CLATTN_OK;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* The cl_events to wait for that the order of the lane doesn't cover. */
static clattn_status gather_wait(making *m, clattn__wait_list more)
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

/* ---- launching ------------------------------------------------------------------------------- */

/* Room for all commands, so that an enqueued one is never lost. */
static clattn_status reserve_commands(const making *m)
{
    const clattn__env *env = &m->lane->dispatcher->context->env;
    for (uint32_t e = 0; e < m->event_count; e++) {
        uint32_t launches = 1;
        for (uint32_t i = 0; i < m->events[e]->entry_count; i++)
            launches += m->events[e]->entry[i].plan->variant.launch_count;
        CLATTN__TRY(clattn__keep_reserve(env, &m->events[e]->commands, launches));
    }
    return CLATTN_OK;
}

/* The command belongs to every submission that has a part in it, once. */
static clattn_status share_command(const making *m, uint32_t unit, struct _cl_event *command)
{
    for (uint32_t i = unit; i != NOBODY; i = m->lane->unit[i].next) {
        clattn__keep *commands = &m->lane->unit[i].event->commands;
        if (commands->count && commands->item[commands->count - 1] == command)
            continue;
        if (i != unit)
            CLATTN__TRY(clattn__event_retain_cl(m->lane->dispatcher->context->device, command));
        commands->item[commands->count++] = command;
    }
    return CLATTN_OK;
}

static clattn_status launch_alone(making *m, uint32_t at)
{
    const clattn__unit *unit = &m->lane->unit[at];
    const clattn_plan *plan = unit->entry->plan;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        struct _cl_event *command;
        if (plan->launch[i].count == 0)
            continue;
        CLATTN__TRY(clattn__plan_launch(plan, clattn__plan_part(plan, i), &unit->entry->bound,
                                        m->lane->queue, m->wait, &command));
        m->wait.count = 0;
        CLATTN__TRY(share_command(m, at, command));
    }
    return CLATTN_OK;
}

static clattn_status launch_together(making *m, uint32_t at)
{
    const clattn__unit *unit = m->lane->unit;
    const clattn_plan *plan = unit[at].entry->plan;
    if (m->wait.count) { /* rare: a launch of its own waits for all */
        struct _cl_event *marker;
        CLATTN__TRY(clattn__queue_marker(m->lane->queue, m->wait.event, m->wait.count, &marker));
        clattn__event_release_cl(m->lane->dispatcher->context->device, marker);
        m->wait.count = 0;
    }
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        struct _cl_event *command;
        clattn__shared_tables tables = {m->table.memory, m->table.memory, m->next_item, 0};
        for (uint32_t u = at; u != NOBODY; u = unit[u].next)
            tables.count += unit[u].entry->plan->launch[i].count;
        m->next_item += tables.count;
        if (tables.count == 0)
            continue;
        CLATTN__TRY(clattn__shared_launch(plan, i, &unit[at].entry->bound, &tables, m->lane->queue,
                                          &command));
        CLATTN__TRY(share_command(m, at, command));
    }
    return CLATTN_OK;
}

/* Writes the items of shared launches in the order in which these are made, and sends all. */
static clattn_status send_table(making *m)
{
    const clattn__unit *unit = m->lane->unit;
    uint32_t at = m->next_item;
    const uint64_t size = round_up(m->rows * sizeof(clattn_problem_row)) +
                          round_up(m->items * sizeof(clattn_work_item)) + m->copies;
    if (size == 0)
        return CLATTN_OK;
    for (uint32_t level = 0; level < m->levels; level++)
        for (uint32_t i = 0; i < m->units; i++) {
            if (unit[i].level != level || unit[i].led || unit[i].next == NOBODY)
                continue;
            for (uint32_t n = 0; n < unit[i].entry->plan->variant.launch_count; n++)
                for (uint32_t u = i; u != NOBODY; u = unit[u].next)
                    at += clattn__shared_items(unit[u].entry->plan, n, unit[u].row,
                                               (clattn_work_item *)(void *)m->table.host + at);
        }
    return clattn__table_send(&m->lane->tables, &m->table, size, m->lane->queue);
}

static clattn_status launch_levels(making *m)
{
    for (uint32_t level = 0; level < m->levels; level++)
        for (uint32_t i = 0; i < m->units; i++) {
            const clattn__unit *unit = &m->lane->unit[i];
            if (unit->level != level || unit->led)
                continue;
            CLATTN__TRY(unit->next == NOBODY ? launch_alone(m, i) : launch_together(m, i));
        }
    return CLATTN_OK;
}

/* Submissions without any launch still end after what was before them. */
static clattn_status mark_empty(making *m)
{
    for (uint32_t e = 0; e < m->event_count; e++) {
        struct _cl_event *marker;
        clattn__keep *commands = &m->events[e]->commands;
        if (commands->count)
            continue;
        CLATTN__TRY(clattn__queue_marker(m->lane->queue, m->wait.event, m->wait.count, &marker));
        commands->item[commands->count++] = marker;
    }
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

static clattn_status launch(making *m, clattn__wait_list more)
{
    CLATTN__TRY(reserve_flight(m->lane));
    CLATTN__TRY(list_units(m));
    join_units(m);
    CLATTN__TRY(place_workspaces(m));
    CLATTN__TRY(fill_table(m));
    CLATTN__TRY(bind_units(m));
    CLATTN__TRY(send_table(m));
    CLATTN__TRY(gather_wait(m, more));
    CLATTN__TRY(reserve_commands(m));
    CLATTN__TRY(launch_levels(m));
    CLATTN__TRY(mark_empty(m));
    return clattn__queue_flush(m->lane->queue);
}

clattn_status clattn__lane_launch(clattn__lane *lane, clattn_event *const *events, uint32_t count,
                                  clattn__wait_list more)
{
    making m = {.lane = lane, .events = events, .event_count = count};
    const clattn_status status = launch(&m, more);
    if (status != CLATTN_OK) /* what was enqueued must end before its memory may go */
        clattn__queue_finish(lane->queue);
    lane->done.shared += m.rows;
    return status;
}

/* ---- parts ----------------------------------------------------------------------------------- */

uint64_t clattn__items_left(const clattn_event *event)
{
    uint64_t left = 0;
    for (uint32_t i = event->part_entry; i < event->entry_count; i++)
        left += event->entry[i].plan->groups;
    if (event->part_entry < event->entry_count) {
        const clattn_plan *plan = event->entry[event->part_entry].plan;
        for (uint32_t i = 0; i < event->part.launch; i++)
            left -= plan->launch[i].count;
        left -= event->part.first;
    }
    return left;
}

/* Scratch memory that stays the submission's own until its last part is done, and the host arrays.
 */
static clattn_status begin_parts(making *m)
{
    clattn_event *event = m->events[0];
    uint64_t workspace = 0;
    clattn__memory *own = NULL;
    for (uint32_t i = 0; i < event->entry_count; i++)
        if (event->entry[i].workspace > workspace)
            workspace = event->entry[i].workspace;
    CLATTN__TRY(list_units(m));
    CLATTN__TRY(fill_table(m));
    CLATTN__TRY(bind_units(m));
    CLATTN__TRY(send_table(m));
    if (workspace == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__memory_create(m->lane->dispatcher->context->device, workspace, &own));
    const clattn_status status = clattn__event_keep_memory(event, own);
    for (uint32_t i = 0; i < event->entry_count; i++)
        if (event->entry[i].workspace)
            event->entry[i].bound.workspace = (clattn__place){own, clattn__memory_offset(own)};
    clattn__memory_release(own);
    return status;
}

/* Moves on to the next launch that has items. */
static void skip_empty(clattn_event *event)
{
    while (event->part_entry < event->entry_count) {
        const clattn_plan *plan = event->entry[event->part_entry].plan;
        if (event->part.launch < plan->variant.launch_count &&
            event->part.first < plan->launch[event->part.launch].count)
            return;
        event->part.first = 0;
        if (++event->part.launch >= plan->variant.launch_count) {
            event->part.launch = 0;
            event->part_entry++;
        }
    }
}

static clattn_status launch_part(making *m, uint32_t items)
{
    clattn_event *event = m->events[0];
    struct _cl_event *command;
    CLATTN__TRY(reserve_flight(m->lane));
    if (!event->begun)
        CLATTN__TRY(begin_parts(m));
    CLATTN__TRY(gather_wait(m, (clattn__wait_list){0}));
    skip_empty(event);
    const clattn__entry *entry = &event->entry[event->part_entry];
    const uint32_t left = entry->plan->launch[event->part.launch].count - event->part.first;
    event->part.count = items < left ? items : left;
    CLATTN__TRY(clattn__keep_reserve(&m->lane->dispatcher->context->env, &event->commands, 1));
    CLATTN__TRY(clattn__plan_launch(entry->plan, event->part, &entry->bound, m->lane->queue,
                                    m->wait, &command));
    event->commands.item[event->commands.count++] = command;
    event->part.first += event->part.count;
    skip_empty(event);
    return clattn__queue_flush(m->lane->queue);
}

clattn_status clattn__lane_launch_part(clattn__lane *lane, clattn_event *event, uint32_t items,
                                       uint64_t *left)
{
    making m = {.lane = lane, .events = &event, .event_count = 1, .in_parts = true};
    const clattn_status status = launch_part(&m, items);
    if (status != CLATTN_OK)
        clattn__queue_finish(lane->queue);
    *left = clattn__items_left(event);
    return status;
}
