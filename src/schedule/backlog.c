/* Order, merging and placement of jobs. Order within head queues is kept by counting, for each job,
 * those before it that share one; counts are made anew for the followers of a job that moves. */
#include "schedule/backlog.h"

#include <string.h>

static void append(clattn__job_list *list, clattn__job *job)
{
    job->next = NULL;
    job->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = job;
    list->last = job;
    list->count++;
}

static void take_out(clattn__job_list *list, clattn__job *job)
{
    *(job->previous ? &job->previous->next : &list->first) = job->next;
    *(job->next ? &job->next->previous : &list->last) = job->previous;
    job->next = job->previous = NULL;
    list->count--;
}

void clattn__backlog_init(clattn__backlog *backlog, uint32_t lane_count, double launch_ns)
{
    memset(backlog, 0, sizeof *backlog);
    backlog->lane_count = lane_count;
    backlog->launch_ns = launch_ns;
    for (uint32_t i = 0; i < lane_count; i++)
        clattn__lane_state_init(&backlog->lane[i]);
}

void clattn__job_due(clattn__job *job, uint64_t now, int32_t priority, uint64_t expires)
{
    const int32_t most = CLATTN__MAX_PRIORITY;
    const int32_t clamped = priority > most ? most : priority < -most ? -most : priority;
    job->lead = clamped * CLATTN__PRIORITY_NS;
    job->key = (int64_t)now - job->lead;
    if (expires <= INT64_MAX && (int64_t)expires < job->key)
        job->key = (int64_t)expires;
}

/* Counts who is before the job, among those ahead of it in the list and those in flight. */
static void look_ahead(const clattn__backlog *backlog, clattn__job *job)
{
    job->before = 0;
    job->tied = -1;
    if (job->ranges.count == 0)
        return;
    for (const clattn__job *at = job->previous; at; at = at->previous)
        job->before += clattn__head_ranges_meet(&at->ranges, &job->ranges);
    for (uint32_t i = 0; backlog->lane_count > 1 && i < backlog->lane_count; i++)
        for (const clattn__job *at = backlog->flying[i].first; at; at = at->next) {
            if (!clattn__head_ranges_meet(&at->ranges, &job->ranges))
                continue;
            if (job->tied >= 0 && job->tied != (int32_t)i)
                job->before++; /* in flight on two lanes: one of them must be done */
            else
                job->tied = (int32_t)i;
        }
}

static void begin(clattn__job *job)
{
    job->next = job->previous = NULL;
    job->lane = -1;
}

void clattn__backlog_add(clattn__backlog *backlog, clattn__job *job)
{
    begin(job);
    append(&backlog->waiting, job);
    look_ahead(backlog, job);
}

/* Followers of a job that has moved. */
static void look_again(clattn__backlog *backlog, const clattn__job *moved)
{
    if (moved->ranges.count == 0)
        return;
    for (clattn__job *at = backlog->waiting.first; at; at = at->next)
        if (clattn__head_ranges_meet(&at->ranges, &moved->ranges))
            look_ahead(backlog, at);
}

bool clattn__backlog_has_room(const clattn__backlog *backlog, uint32_t lane, uint64_t family)
{
    const clattn__lane_state *state = &backlog->lane[lane];
    if (state->dead || (family && state->flights >= CLATTN__MOST_FLIGHTS))
        return false;
    return !(state->flying > 0) || backlog->launch_ns <= 0 ||
           clattn__lane_time(state, 0) < backlog->launch_ns;
}

int32_t clattn__backlog_pass(const clattn__backlog *backlog, clattn__job *job)
{
    if (backlog->waiting.count || job->waits)
        return -1;
    begin(job);
    look_ahead(backlog, job);
    if (job->before)
        return -1;
    const int32_t lane = job->tied >= 0 ? job->tied
                                        : clattn__lane_choose(backlog->lane, backlog->lane_count,
                                                              job->home, job->work);
    return lane >= 0 && clattn__backlog_has_room(backlog, (uint32_t)lane, job->family) ? lane : -1;
}

void clattn__backlog_passed(clattn__backlog *backlog, clattn__job *job, uint32_t lane)
{
    job->lane = (int32_t)lane;
    backlog->lane[lane].flying += job->work;
    append(&backlog->flying[lane], job);
}

static bool is_ready(const clattn__job *job, uint32_t lane)
{
    return job->waits == 0 && job->before == 0 && (job->tied < 0 || job->tied == (int32_t)lane) &&
           (job->lane < 0 || job->lane == (int32_t)lane);
}

static bool may_choose(const clattn__job *job)
{
    return job->tied < 0 && job->lane < 0;
}

/* The ready job that is due first, of those that are due after `after` (NULL: of all). */
static clattn__job *next_due(const clattn__backlog *backlog, uint32_t lane,
                             const clattn__job *after)
{
    clattn__job *best = NULL;
    bool passed = after == NULL; /* equal keys are in order of arrival */
    for (clattn__job *at = backlog->waiting.first; at; at = at->next) {
        const bool later = !after || at->key > after->key || (at->key == after->key && passed);
        passed = passed || at == after;
        if (later && (!best || at->key < best->key) && is_ready(at, lane))
            best = at;
    }
    return best;
}

/* Work of the jobs that go before this one, wherever. */
static double work_ahead(const clattn__backlog *backlog, const clattn__job *job)
{
    double work = 0;
    for (const clattn__job *at = backlog->waiting.first; at; at = at->next)
        work += at != job && at->key <= job->key ? at->work : 0;
    return work;
}

static bool should_take(const clattn__backlog *backlog, uint32_t lane, const clattn__job *job)
{
    const double soon = backlog->launch_ns > 0 ? backlog->launch_ns : 1e300;
    return !may_choose(job) || clattn__lane_should_take(backlog->lane, backlog->lane_count, lane,
                                                        job->work, work_ahead(backlog, job), soon);
}

/* The job that is due first, but for those that another lane is about to take and will have done
 * clearly earlier. */
static clattn__job *first_due(const clattn__backlog *backlog, uint32_t lane)
{
    clattn__job *at = next_due(backlog, lane, NULL);
    while (at && backlog->lane_count > 1 && !should_take(backlog, lane, at))
        at = next_due(backlog, lane, at);
    return at;
}

/* Work that may go into one launch: as long as a launch may take, and with several lanes no more
 * than this lane's part of what could be merged. */
static double room_for(const clattn__backlog *backlog, uint32_t lane, const clattn__job *best)
{
    double ready = 0, speeds = 0;
    const double speed = backlog->lane[lane].speed;
    const double most = backlog->launch_ns > 0 ? backlog->launch_ns * speed : 1e300;
    if (backlog->lane_count == 1)
        return most;
    for (const clattn__job *at = backlog->waiting.first; at; at = at->next)
        if (at->family == best->family && is_ready(at, lane))
            ready += at->work;
    for (uint32_t i = 0; i < backlog->lane_count; i++)
        speeds += backlog->lane[i].dead ? 0 : backlog->lane[i].speed;
    const double part = ready * speed / speeds;
    return part < most ? part : most;
}

uint32_t clattn__backlog_pick(const clattn__backlog *backlog, uint32_t lane, clattn__job **chosen,
                              uint32_t capacity)
{
    clattn__job *best = backlog->lane[lane].dead ? NULL : first_due(backlog, lane);
    uint32_t count = 0;
    if (!best || capacity == 0)
        return 0;
    chosen[count++] = best;
    if (best->family == 0 || best->lane >= 0)
        return count;
    const double room = room_for(backlog, lane, best);
    double work = best->work;
    for (clattn__job *at = backlog->waiting.first; at && count < capacity; at = at->next) {
        if (at == best || at->family != best->family || at->lane >= 0 || !is_ready(at, lane) ||
            work + at->work > room)
            continue;
        work += at->work;
        chosen[count++] = at;
    }
    return count;
}

uint32_t clattn__backlog_share(const clattn__backlog *backlog, uint32_t lane, double work,
                               uint32_t items)
{
    const double ns = work / backlog->lane[lane].speed;
    if (backlog->launch_ns <= 0 || ns <= 1.5 * backlog->launch_ns)
        return items;
    const double share = items * backlog->launch_ns / ns;
    return share < 1 ? 1 : (uint32_t)share;
}

void clattn__backlog_begun(clattn__backlog *backlog, clattn__job *job, uint32_t lane, double work,
                           uint64_t now)
{
    job->lane = (int32_t)lane;
    job->work -= work;
    if (job->work < 0)
        job->work = 0;
    backlog->lane[lane].flying += work;
    if ((int64_t)now - job->lead > job->key)
        job->key = (int64_t)now - job->lead;
}

void clattn__backlog_launched(clattn__backlog *backlog, clattn__job *job, uint32_t lane)
{
    take_out(&backlog->waiting, job);
    job->lane = (int32_t)lane;
    backlog->lane[lane].flying += job->work;
    append(&backlog->flying[lane], job);
    look_again(backlog, job);
}

void clattn__backlog_done(clattn__backlog *backlog, clattn__job *job)
{
    take_out(&backlog->flying[job->lane], job);
    if (backlog->lane_count > 1)
        look_again(backlog, job);
}

void clattn__backlog_drop(clattn__backlog *backlog, clattn__job *job)
{
    take_out(&backlog->waiting, job);
    look_again(backlog, job);
}

uint32_t clattn__backlog_count(const clattn__backlog *backlog)
{
    uint32_t count = backlog->waiting.count;
    for (uint32_t i = 0; i < backlog->lane_count; i++)
        count += backlog->flying[i].count;
    return count;
}
