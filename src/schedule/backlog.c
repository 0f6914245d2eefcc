/* Order, merging and placement of jobs. Order within head queues is kept by counting, for each job,
 * those before it that share one; counts are made anew for the followers of a job that moves. */
#include "schedule/backlog.h"

#include <string.h>

/* Submissions a launch, on average, from which on the next ones are worth waiting for. */
#define COMPANY 2.0

/* Jobs of which a new one is asked whether it follows them all; more meet in any case. */
#define MOST_FOLLOWED 16u

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
    job->hurries = expires != UINT64_MAX;
    job->key = (int64_t)now - job->lead;
    if (expires <= INT64_MAX && (int64_t)expires < job->key)
        job->key = (int64_t)expires;
}

/* Counts who is before the job, among those ahead of it in the list and those in flight, and looks
 * up where it is at home. */
static void look_ahead(const clattn__backlog *backlog, clattn__job *job)
{
    job->before = 0;
    job->tied = job->home = -1;
    if (job->ranges.count == 0)
        return;
    if (backlog->lane_count > 1)
        job->home = clattn__homes_find(&backlog->homes, &job->ranges);
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
    job->blocked = job->was_blocked = job->left = 0;
    job->whole = job->work;
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

/* The job is on the lane, and its head queues with it. */
static void settle_on(clattn__backlog *backlog, clattn__job *job, uint32_t lane)
{
    job->lane = (int32_t)lane;
    if (backlog->lane_count > 1)
        backlog->steals += clattn__homes_set(&backlog->homes, &job->ranges, job->lane);
}

static bool is_barred(const clattn__job *job, uint32_t lane)
{
    return (job->barred >> lane & 1) != 0;
}

static clattn__task task_of(const clattn__job *job)
{
    return (clattn__task){.work = job->work,
                          .barred = job->barred | job->blocked,
                          .home = job->home,
                          .moving = job->moving};
}

bool clattn__backlog_has_room(const clattn__backlog *backlog, uint32_t lane, uint64_t family)
{
    const clattn__lane_state *state = &backlog->lane[lane];
    if (state->dead || (family && state->flights >= CLATTN__MOST_FLIGHTS))
        return false;
    return !(state->flying > 0) || backlog->launch_ns <= 0 ||
           clattn__lane_time(state, 0) < backlog->launch_ns;
}

bool clattn__backlog_is_worth(const clattn__backlog *backlog, uint32_t lane,
                              clattn__job *const *jobs, uint32_t count, uint64_t now)
{
    const clattn__lane_state *state = &backlog->lane[lane];
    double work = 0;
    if (!jobs[0]->family || state->flights == 0 || state->together < COMPANY)
        return true;
    bool hurries = false;
    for (uint32_t i = 0; i < count; i++) {
        work += jobs[i]->work;
        hurries = hurries || jobs[i]->hurries;
    }
    return hurries || work >= state->speed * clattn__lane_remaining(state, now);
}

/* Whether a job has to wait for all of a list in any case. */
static bool follows(const clattn__job *job, const clattn__job_list *list)
{
    for (const clattn__job *at = list->first; at; at = at->next)
        if (!clattn__head_ranges_meet(&at->ranges, &job->ranges))
            return false;
    return true;
}

void clattn__backlog_arrived(clattn__backlog *backlog, const clattn__job *job, uint64_t now)
{
    bool alone = clattn__backlog_count(backlog) <= MOST_FOLLOWED && follows(job, &backlog->waiting);
    for (uint32_t i = 0; i < backlog->lane_count && alone; i++)
        alone = follows(job, &backlog->flying[i]);
    if (!alone)
        backlog->crowded_till = now + CLATTN__CROWDED_NS;
}

int32_t clattn__backlog_pass(const clattn__backlog *backlog, clattn__job *job, uint64_t now)
{
    if (backlog->waiting.count || job->waits)
        return -1;
    begin(job);
    look_ahead(backlog, job);
    if (job->before)
        return -1;
    const clattn__task task = task_of(job);
    const int32_t lane =
        job->tied >= 0 ? job->tied : clattn__lane_choose(backlog->lane, backlog->lane_count, &task);
    const bool open = lane >= 0 && !is_barred(job, (uint32_t)lane) &&
                      clattn__backlog_has_room(backlog, (uint32_t)lane, job->family) &&
                      clattn__backlog_is_worth(backlog, (uint32_t)lane, &job, 1, now);
    return open ? lane : -1;
}

void clattn__backlog_passed(clattn__backlog *backlog, clattn__job *job, uint32_t lane)
{
    settle_on(backlog, job, lane);
    backlog->lane[lane].flying += job->work;
    append(&backlog->flying[lane], job);
}

static bool is_ready(const clattn__job *job, uint32_t lane)
{
    return job->waits == 0 && job->before == 0 && !is_barred(job, lane) &&
           !(job->blocked >> lane & 1) && (job->tied < 0 || job->tied == (int32_t)lane) &&
           (job->lane < 0 || job->lane == (int32_t)lane);
}

static bool may_choose(const clattn__job *job)
{
    return job->tied < 0 && job->lane < 0;
}

/* When the job is due for this lane, which prefers what is at home here. */
static int64_t due_on(const clattn__job *job, uint32_t lane)
{
    return job->home == (int32_t)lane ? job->key - CLATTN__HOME_NS : job->key;
}

/* Whether the lane leaves the job to others, as far as it has looked. */
static bool is_left(const clattn__backlog *backlog, uint32_t lane, const clattn__job *job)
{
    const uint32_t most = job->home == (int32_t)lane ? 2 * CLATTN__MOST_LEFT : CLATTN__MOST_LEFT;
    return (job->left >> lane & 1) || (backlog->left[lane] >= most && may_choose(job));
}

/* Jobs that are considered in one walk through those that wait. */
enum { CONSIDERED = 16 };

/* The ready jobs that are due first, of those that aren't left to others, into due (at most
 * `most`), in their order. Returns their number. */
static uint32_t next_due(const clattn__backlog *backlog, uint32_t lane, clattn__job **due,
                         uint32_t most)
{
    uint32_t count = 0;
    for (clattn__job *at = backlog->waiting.first; at; at = at->next) {
        if (count == most && due_on(at, lane) >= due_on(due[count - 1], lane))
            continue;
        if (!is_ready(at, lane) || is_left(backlog, lane, at))
            continue;
        uint32_t place = count < most ? count++ : count - 1;
        for (; place > 0 && due_on(at, lane) < due_on(due[place - 1], lane); place--)
            due[place] = due[place - 1];
        due[place] = at;
    }
    return count;
}

/* Work of the jobs that go before each of these, wherever. */
static void works_ahead(const clattn__backlog *backlog, clattn__job *const *due, uint32_t count,
                        double *ahead)
{
    for (uint32_t i = 0; i < count; i++)
        ahead[i] = -due[i]->work; /* it will be counted, too */
    for (const clattn__job *at = backlog->waiting.first; at; at = at->next)
        for (uint32_t i = 0; i < count; i++)
            ahead[i] += at->key <= due[i]->key ? at->work : 0;
}

static bool should_take(const clattn__backlog *backlog, uint32_t lane, const clattn__job *job,
                        double ahead)
{
    const double soon = backlog->launch_ns > 0 ? backlog->launch_ns : 1e300;
    const clattn__task task = task_of(job);
    return !may_choose(job) ||
           clattn__lane_should_take(backlog->lane, backlog->lane_count, lane, &task, ahead, soon);
}

/* The first of these that another lane isn't about to take and will have done clearly earlier;
 * NULL: there is none. */
static clattn__job *first_to_take(clattn__backlog *backlog, uint32_t lane, clattn__job *const *due,
                                  uint32_t count)
{
    double ahead[CONSIDERED];
    if (count && should_take(backlog, lane, due[0], 0)) /* more so behind others */
        return due[0];
    works_ahead(backlog, due, count, ahead);
    for (uint32_t i = 0; i < count; i++) {
        if (is_left(backlog, lane, due[i])) /* it has left enough meanwhile */
            continue;
        if (should_take(backlog, lane, due[i], ahead[i] > 0 ? ahead[i] : 0))
            return due[i];
        due[i]->left |= (uint32_t)1 << lane;
        backlog->left[lane]++;
    }
    return NULL;
}

/* The job that is due first, but for what is left to others. That stays so while this lane goes on
 * to look: it has ever more to do. */
static clattn__job *first_due(clattn__backlog *backlog, uint32_t lane)
{
    clattn__job *due[CONSIDERED], *found = NULL;
    uint32_t count;
    if (backlog->lane_count == 1)
        return next_due(backlog, lane, due, 1) ? due[0] : NULL;
    do {
        count = next_due(backlog, lane, due, CONSIDERED);
        found = first_to_take(backlog, lane, due, count);
    } while (!found && count == CONSIDERED);
    return found;
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

/* Whether the job goes along with `best`, behind `work` that is chosen already. Those at home on
 * another lane come last, and stay if that has them done in time. */
static bool goes_along(const clattn__backlog *backlog, uint32_t lane, const clattn__job *best,
                       const clattn__job *job, double work)
{
    if (job == best || job->family != best->family || job->lane >= 0 || !is_ready(job, lane))
        return false;
    const clattn__task task = task_of(job);
    return !may_choose(job) || !clattn__lane_leaves_home(backlog->lane, lane, &task, work);
}

static bool is_guest(const clattn__job *job, uint32_t lane)
{
    return job->home >= 0 && job->home != (int32_t)lane;
}

uint32_t clattn__backlog_pick(clattn__backlog *backlog, uint32_t lane, clattn__job **chosen,
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
    for (int guests = 0; guests < (backlog->lane_count > 1 ? 2 : 1); guests++)
        for (clattn__job *at = backlog->waiting.first; at && count < capacity; at = at->next) {
            if (is_guest(at, lane) != (guests == 1) || work + at->work > room ||
                !goes_along(backlog, lane, best, at, work))
                continue;
            work += at->work;
            chosen[count++] = at;
        }
    return count;
}

void clattn__backlog_look(clattn__backlog *backlog, uint32_t lane)
{
    const uint32_t bit = (uint32_t)1 << lane;
    for (clattn__job *at = backlog->waiting.first; at; at = at->next) {
        at->was_blocked = (at->was_blocked & ~bit) | (at->blocked & bit);
        at->blocked &= ~bit;
        at->left &= ~bit;
    }
    backlog->left[lane] = 0;
}

bool clattn__backlog_block(clattn__job *job, uint32_t lane)
{
    job->blocked |= (uint32_t)1 << lane;
    return !(job->was_blocked >> lane & 1);
}

double clattn__backlog_share(const clattn__backlog *backlog, uint32_t lane, double work)
{
    const clattn__lane_state *state = &backlog->lane[lane];
    const double speed = state->part_speed > 0 ? state->part_speed : state->speed;
    if (backlog->launch_ns <= 0 || work <= 1.5 * backlog->launch_ns * speed)
        return work;
    return backlog->launch_ns * speed;
}

double clattn__backlog_portion(const clattn__backlog *backlog, uint32_t lane, double work,
                               uint64_t now)
{
    return backlog->parts || now < backlog->crowded_till
               ? clattn__backlog_share(backlog, lane, work)
               : work;
}

double clattn__backlog_begun(clattn__backlog *backlog, clattn__job *job, uint32_t lane, double work,
                             uint64_t now)
{
    settle_on(backlog, job, lane);
    job->work -= work;
    if (job->work < 0)
        job->work = 0;
    const double weight = clattn__lane_part_weight(&backlog->lane[lane], work);
    backlog->lane[lane].flying += weight;
    if ((int64_t)now - job->lead > job->key)
        job->key = (int64_t)now - job->lead;
    return weight;
}

void clattn__backlog_launched(clattn__backlog *backlog, clattn__job *job, uint32_t lane)
{
    take_out(&backlog->waiting, job);
    settle_on(backlog, job, lane);
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

void clattn__backlog_return(clattn__backlog *backlog, clattn__job *job)
{
    clattn__job_list *list = &backlog->waiting;
    clattn__job *behind = list->first;
    while (behind && behind->order < job->order)
        behind = behind->next;
    job->work = job->whole;
    begin(job);
    if (behind) {
        job->next = behind;
        job->previous = behind->previous;
        *(behind->previous ? &behind->previous->next : &list->first) = job;
        behind->previous = job;
        list->count++;
    } else {
        append(list, job);
    }
    look_ahead(backlog, job);
    look_again(backlog, job);
}

void clattn__backlog_restart(clattn__backlog *backlog, clattn__job *job)
{
    take_out(&backlog->waiting, job);
    clattn__backlog_return(backlog, job);
}

bool clattn__job_follows(const clattn__job *job, const clattn__job *other)
{
    return job->order > other->order && clattn__head_ranges_meet(&job->ranges, &other->ranges);
}

bool clattn__backlog_has_lane(const clattn__backlog *backlog, const clattn__job *job)
{
    for (uint32_t i = 0; i < backlog->lane_count; i++)
        if (!backlog->lane[i].dead && !is_barred(job, i))
            return true;
    return false;
}

uint32_t clattn__backlog_count(const clattn__backlog *backlog)
{
    uint32_t count = backlog->waiting.count;
    for (uint32_t i = 0; i < backlog->lane_count; i++)
        count += backlog->flying[i].count;
    return count;
}
