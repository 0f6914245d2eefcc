/* Long submissions, some items of a launch at a time. */
#include "dispatch/transfer.h"
#include "schedule/work_cost.h"

uint64_t clattn__items_left(const clattn__lane *lane, const clattn_event *event)
{
    uint64_t left = 0;
    for (uint32_t i = event->part_entry; i < event->entry_count; i++)
        left += clattn__plan_on(event->entry[i].plan, lane->device)->groups;
    if (event->part_entry < event->entry_count) {
        const clattn_plan *plan =
            clattn__plan_on(event->entry[event->part_entry].plan, lane->device);
        for (uint32_t i = 0; i < event->part.launch; i++)
            left -= plan->launch[i].count;
        left -= event->part.first;
    }
    return left;
}

/* Where the next item's cost begins in those of its plan; NULL: all were launched, or there are
 * none. *count (out): how many items its launch has left. */
static const double *next_costs(const clattn__lane *lane, const clattn_event *event,
                                uint32_t *count)
{
    if (event->part_entry == event->entry_count)
        return NULL;
    const clattn_plan *plan = clattn__plan_on(event->entry[event->part_entry].plan, lane->device);
    uint32_t launch = event->part.launch, first = event->part.first;
    while (launch < plan->variant.launch_count && first >= plan->launch[launch].count) {
        first = 0;
        launch++;
    }
    if (launch == plan->variant.launch_count)
        return NULL;
    *count = plan->launch[launch].count - first;
    return plan->costs + plan->launch[launch].first + first;
}

/* What one item's cost is worth of the step's work. */
static double work_of_cost(const clattn_plan *plan, double work)
{
    return work / plan->costs[plan->groups];
}

double clattn__work_left(const clattn__lane *lane, const clattn_event *event)
{
    uint32_t count;
    const double *costs = next_costs(lane, event, &count);
    double left = 0;
    for (uint32_t i = event->part_entry; i < event->entry_count; i++) {
        const clattn_plan *plan = clattn__plan_on(event->entry[i].plan, lane->device);
        const double work = event->sharer[i].work;
        if (i > event->part_entry)
            left += work;
        else if (costs)
            left += (plan->costs[plan->groups] - costs[0]) * work_of_cost(plan, work);
    }
    return left;
}

uint32_t clattn__items_of_work(const clattn__lane *lane, const clattn_event *event, double work)
{
    uint32_t count;
    const double *costs = next_costs(lane, event, &count);
    if (!costs)
        return 1;
    const clattn_plan *plan = clattn__plan_on(event->entry[event->part_entry].plan, lane->device);
    const double whole = event->sharer[event->part_entry].work;
    return clattn__items_within(costs, count, work / work_of_cost(plan, whole),
                                lane->dispatcher->backlog.lane[lane->index].units);
}

/* What cuts a launch of the plan, from item `first` on; `work` is its step's. */
static clattn__cut cut_of(const clattn__lane *lane, const clattn_plan *plan, double work,
                          uint32_t launch, uint32_t first)
{
    const clattn__lane_state *state = &lane->dispatcher->backlog.lane[lane->index];
    if (!plan->costs) /* it has no items */
        return (clattn__cut){.count = 0};
    return (clattn__cut){.sums = plan->costs + plan->launch[launch].first + first,
                         .count = plan->launch[launch].count - first,
                         .whole = plan->costs[plan->groups],
                         .work = work,
                         .most = clattn__lane_most_work(state),
                         .units = state->units};
}

uint32_t clattn__slice_of(const clattn__lane *lane, const clattn_plan *plan, double work,
                          uint32_t launch, uint32_t first)
{
    const clattn__cut cut = cut_of(lane, plan, work, launch, first);
    return clattn__slice(&cut);
}

uint32_t clattn__slices_of(const clattn__lane *lane, const clattn_plan *plan, double work)
{
    uint32_t slices = 0;
    for (uint32_t i = 0; i < plan->variant.launch_count; i++) {
        const clattn__cut cut = cut_of(lane, plan, work, i, 0);
        slices += cut.count ? clattn__slices(&cut) : 1;
    }
    return slices;
}

/* Scratch memory that stays the submission's own until its last part is done, and the host arrays.
 */
static clattn_status begin_parts(clattn__making *m)
{
    clattn_event *event = m->events[0];
    uint64_t workspace = 0;
    clattn__memory *own = NULL;
    CLATTN__TRY(clattn__making_list(m));
    for (uint32_t i = 0; i < event->entry_count; i++)
        if (clattn__entry_scratch(&event->entry[i]) > workspace)
            workspace = clattn__entry_scratch(&event->entry[i]);
    CLATTN__TRY(clattn__making_bind(m));
    CLATTN__TRY(clattn__making_send(m));
    if (m->lane->dispatcher->distant)
        CLATTN__TRY(clattn__transfer_in(m));
    if (workspace == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__memory_create(m->lane->device, workspace, &own));
    const clattn_status status = clattn__event_keep_memory(event, own);
    for (uint32_t i = 0; i < event->entry_count; i++)
        if (clattn__entry_scratch(&event->entry[i]))
            event->entry[i].bound.workspace = (clattn__place){own, clattn__memory_offset(own)};
    clattn__memory_release(own);
    return status;
}

/* Moves on to the next launch that has items. */
static void skip_empty(clattn_event *event)
{
    while (event->part_entry < event->entry_count) {
        const clattn_plan *plan = event->entry[event->part_entry].use;
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

static clattn_status launch_part(clattn__making *m, uint32_t items)
{
    clattn_event *event = m->events[0];
    struct _cl_event *command;
    if (!event->begun)
        CLATTN__TRY(begin_parts(m));
    CLATTN__TRY(clattn__making_reserve(m));
    CLATTN__TRY(clattn__making_wait(m, (clattn__wait_list){0}));
    skip_empty(event);
    const clattn__entry *entry = &event->entry[event->part_entry];
    /* never more than a launch may be, even if the crowd is over and `items` are all that is left
     */
    const uint32_t most =
        clattn__slice_of(m->lane, entry->use, event->sharer[event->part_entry].work,
                         event->part.launch, event->part.first);
    event->part.count = items < most ? items : most;
    CLATTN__TRY(clattn__plan_launch(entry->use, event->part, &entry->bound, m->lane->queue, m->wait,
                                    &command));
    event->commands.item[event->commands.count++] = command;
    clattn__making_note(m, event, command);
    event->part.first += event->part.count;
    skip_empty(event);
    if (event->part_entry == event->entry_count) /* its scratch memory is cleared as it is freed */
        CLATTN__TRY(clattn__making_clear(m, event->table, event->copy_size));
    if (m->lane->dispatcher->distant && event->part_entry == event->entry_count)
        CLATTN__TRY(clattn__transfer_out(m, event));
    return clattn__queue_flush(m->lane->queue);
}

clattn_status clattn__lane_launch_part(clattn__lane *lane, clattn_event *event, uint32_t items,
                                       uint64_t *left, clattn__enqueued *result)
{
    *result = (clattn__enqueued){0};
    clattn__making m = {
        .lane = lane, .events = &event, .event_count = 1, .in_parts = true, .result = result};
    const clattn_status status = launch_part(&m, items);
    if (status != CLATTN_OK) /* what was enqueued must end before its memory may go */
        clattn__queue_finish(lane->queue);
    *left = clattn__items_left(lane, event);
    return status;
}
