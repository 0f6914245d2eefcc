/* Lanes of which some have copies of memory, by simulation: jobs on the same memory are never in
 * flight on two of them, whatever has to be moved takes time, and head queues stay where they are
 * while lanes have enough to do. */
#include <criterion/criterion.h>
#include <string.h>

#include "schedule/turn.h"

static const uint64_t launch_ns = 1000000;

enum { FEW = 60, JOBS = 160, LANES = 3, TOGETHER = 4, MEMORIES = 6 };

typedef struct piece {
    clattn__job job; /* first */
    clattn__head_range range;
    uint64_t arrives;
    uint32_t memory; /* what it writes */
    bool begun, ended;
} piece;

typedef struct trip {
    uint64_t ends, took;
    double work, moving;
    piece *of[TOGETHER];
    uint32_t count;
} trip;

typedef struct world {
    clattn__backlog backlog;
    uint64_t random, load, now, longest;
    double speed[LANES];
    bool copies[LANES];        /* it has copies of its own of memory */
    bool has[LANES][MEMORIES]; /* and these are up to date */
    double moved[MEMORIES];    /* ns that it takes to a lane with copies */
    trip trip[LANES][JOBS];
    uint32_t first[LANES], last[LANES];
    uint64_t idle_since[LANES]; /* beside work that it could have; 0: it isn't */
    piece job[JOBS];
    uint32_t jobs, added, ended, blocked;
    uint32_t away;      /* jobs that went to another lane than the one before of their sequence */
    uint32_t looks_cut; /* looks at which a lane left as many to others as it may */
    bool news;          /* of blocked jobs: all lanes look again */
} world;

static uint32_t below(world *w, uint32_t bound)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % bound);
}

/* `moves`: to bring memory to a lane takes time. */
static void invent(world *w, uint64_t load, bool moves)
{
    uint64_t at = 1000;
    memset(w, 0, sizeof *w);
    w->load = load;
    w->random = load * 977 + 3;
    w->jobs = 2 + below(w, FEW - 1);
    clattn__backlog_init(&w->backlog, 2 + below(w, LANES - 1), (double)launch_ns);
    for (uint32_t i = 0; i < w->backlog.lane_count; i++) {
        w->speed[i] = 0.2 + 0.01 * below(w, 400);
        w->copies[i] = below(w, 2);
    }
    for (uint32_t i = 0; i < MEMORIES; i++)
        w->moved[i] = moves && below(w, 2) ? below(w, 2000000) : 0;
    for (uint32_t i = 0; i < w->jobs; i++) {
        piece *p = &w->job[i];
        const uint64_t id = below(w, 8);
        p->arrives = at;
        at += below(w, 3) ? below(w, 300000) : 0;
        p->memory = below(w, MEMORIES);
        p->job.work = 1000 + below(w, 400000);
        p->job.family = below(w, 3);
        p->range = (clattn__head_range){id, id, 0, 1};
        p->job.ranges =
            (clattn__head_ranges){.range = &p->range, .count = id > 0, .least = id, .most = id};
    }
}

static bool same_queue(const piece *a, const piece *b)
{
    return a->range.first && a->range.first == b->range.first;
}

/* Something on the same memory is in flight elsewhere, and one of the two lanes has a copy. */
static bool conflicts(const world *w, const piece *p, uint32_t lane)
{
    for (const piece *other = w->job; other < w->job + w->added; other++)
        if (other->begun && !other->ended && other->memory == p->memory &&
            other->job.lane != (int32_t)lane && (w->copies[lane] || w->copies[other->job.lane]))
            return true;
    return false;
}

static double moving_to(const world *w, const piece *p, uint32_t lane)
{
    return w->copies[lane] && !w->has[lane][p->memory] ? w->moved[p->memory] : 0;
}

/* As the dispatcher does it: of a new job, and of those that share memory with one that was
 * launched. */
static void estimate_moving(const world *w, piece *p)
{
    for (uint32_t lane = 0; lane < w->backlog.lane_count; lane++)
        p->job.moving[lane] = moving_to(w, p, lane);
}

/* Whether the one before it in its head queue was on another lane. */
static bool is_away(const world *w, const piece *p, uint32_t lane)
{
    for (const piece *other = p; other-- > w->job;)
        if (same_queue(other, p))
            return other->job.lane != (int32_t)lane;
    return false;
}

static void work_on(world *w, const piece *p, uint32_t lane)
{
    for (uint32_t i = 0; i < w->backlog.lane_count; i++)
        w->has[i][p->memory] = i == lane;
    for (piece *other = w->job; other < w->job + w->added; other++)
        if (!other->begun && other->memory == p->memory)
            estimate_moving(w, other);
}

static void launch(world *w, uint32_t lane, clattn__job *const *jobs, uint32_t count)
{
    trip *t = &w->trip[lane][w->last[lane]];
    uint64_t start = w->now;
    if (w->last[lane] > w->first[lane] && t[-1].ends > start)
        start = t[-1].ends;
    t->count = count;
    for (uint32_t i = 0; i < count; i++) {
        piece *p = t->of[i] = (piece *)jobs[i];
        for (const piece *other = w->job; other < p; other++)
            cr_assert(!same_queue(other, p) || other->ended ||
                          (other->begun && other->job.lane == (int32_t)lane),
                      "load %d: job %d overtakes job %d", (int)w->load, (int)(p - w->job),
                      (int)(other - w->job));
        cr_assert(!conflicts(w, p, lane), "load %d: job %d", (int)w->load, (int)(p - w->job));
        t->work += p->job.work;
        t->moving += moving_to(w, p, lane);
        p->begun = true;
        w->away += is_away(w, p, lane);
        work_on(w, p, lane);
        if (jobs[i]->order) /* else it goes past the backlog */
            clattn__backlog_launched(&w->backlog, jobs[i], lane);
        else
            clattn__backlog_passed(&w->backlog, jobs[i], lane);
    }
    t->took = (uint64_t)(t->work / w->speed[lane]) + 1;
    t->ends = start + t->took + (uint64_t)t->moving;
    w->longest = t->ends - start > w->longest ? t->ends - start : w->longest;
    clattn__lane_launched(&w->backlog.lane[lane], count, w->now);
    w->last[lane]++;
}

/* A lane whose turn it is. */
typedef struct looker {
    world *world;
    uint32_t lane;
} looker;

static bool is_kept(void *user, clattn__job *job)
{
    const looker *l = user;
    const bool kept = conflicts(l->world, (const piece *)job, l->lane);
    l->world->blocked += kept;
    return kept;
}

static void feed(world *w, uint32_t lane)
{
    clattn__job *jobs[TOGETHER];
    looker l = {w, lane};
    clattn__turn turn = {&w->backlog, lane, is_kept, &l, 0, false};
    uint32_t count;
    if (!clattn__turn_goes_on(&turn))
        return;
    clattn__turn_begin(&turn);
    while (clattn__turn_goes_on(&turn) &&
           (count = clattn__turn_next(&turn, w->now, jobs, TOGETHER)) > 0)
        launch(w, lane, jobs, count);
    w->news = turn.news || w->news;
    w->looks_cut += w->backlog.left[lane] >= CLATTN__MOST_LEFT;
}

static void arrive(world *w)
{
    piece *p = &w->job[w->added++];
    clattn__job *job = &p->job;
    clattn__job_due(job, w->now, 0, UINT64_MAX);
    estimate_moving(w, p);
    const int32_t lane = clattn__backlog_pass(&w->backlog, job, w->now);
    if (lane >= 0 && !conflicts(w, p, (uint32_t)lane)) {
        launch(w, (uint32_t)lane, &job, 1);
        job->order = w->added;
        return;
    }
    job->order = w->added;
    clattn__backlog_add(&w->backlog, job);
}

static void land(world *w, uint32_t lane)
{
    const trip *t = &w->trip[lane][w->first[lane]++];
    clattn__lane_landed(&w->backlog.lane[lane], t->work, (double)t->took,
                        w->first[lane] == w->last[lane]);
    w->backlog.lane[lane].began = w->now;
    for (uint32_t i = 0; i < t->count; i++) {
        t->of[i]->ended = true;
        w->ended++;
        clattn__backlog_done(&w->backlog, &t->of[i]->job);
    }
}

static bool could_run(const world *w, const piece *p, uint32_t lane)
{
    if (p->begun || conflicts(w, p, lane))
        return false;
    for (const piece *other = w->job; other < p; other++)
        if (same_queue(other, p) && !other->ended)
            return false;
    return true;
}

/* What it takes at least to bring what the lane could do now there; UINT64_MAX: there is nothing.
 */
static uint64_t least_moving(const world *w, uint32_t lane)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < w->added && least > 0; i++)
        if (could_run(w, &w->job[i], lane)) {
            const uint64_t moving = (uint64_t)moving_to(w, &w->job[i], lane);
            least = moving < least ? moving : least;
        }
    return least;
}

/* No lane is idle beside work that it could do for longer than a launch. If all of it had to be
 * brought there, for as long as that takes and another lane, which has it, may take to begin: two
 * launches, since it doesn't know for sure how fast that is. */
static void check_idle(world *w)
{
    for (uint32_t lane = 0; lane < w->backlog.lane_count; lane++) {
        const bool idle = w->first[lane] == w->last[lane];
        const uint64_t moving = idle ? least_moving(w, lane) : UINT64_MAX;
        const uint64_t launch = w->longest > launch_ns ? w->longest : launch_ns;
        const uint64_t most = moving > 0 ? 2 * launch + moving : launch;
        if (moving == UINT64_MAX) {
            w->idle_since[lane] = 0;
            continue;
        }
        if (w->idle_since[lane] == 0)
            w->idle_since[lane] = w->now;
        cr_assert(w->now - w->idle_since[lane] <= most, "load %d: lane %u is idle for %d ns",
                  (int)w->load, lane, (int)(w->now - w->idle_since[lane]));
    }
}

/* The next moment at which something happens; false: nothing will. */
static bool advance(world *w)
{
    uint64_t next = w->added < w->jobs ? w->job[w->added].arrives : UINT64_MAX;
    for (uint32_t lane = 0; lane < w->backlog.lane_count; lane++)
        if (w->first[lane] < w->last[lane] && w->trip[lane][w->first[lane]].ends < next)
            next = w->trip[lane][w->first[lane]].ends;
    w->now = next > w->now && next != UINT64_MAX ? next : w->now;
    return next != UINT64_MAX;
}

static void simulate(world *w)
{
    while (advance(w)) {
        for (uint32_t lane = 0; lane < w->backlog.lane_count; lane++)
            while (w->first[lane] < w->last[lane] && w->trip[lane][w->first[lane]].ends <= w->now)
                land(w, lane);
        while (w->added < w->jobs && w->job[w->added].arrives <= w->now)
            arrive(w);
        do {
            w->news = false;
            for (uint32_t lane = 0; lane < w->backlog.lane_count; lane++)
                feed(w, lane);
        } while (w->news);
        check_idle(w);
    }
    cr_assert_eq(w->ended, w->jobs, "load %d: %u of %u", (int)w->load, w->ended, w->jobs);
}

/* All ends, in order, without two lanes on the same memory, and no lane waits without need. */
Test(lanes, memory_of_which_lanes_have_copies, .timeout = 120)
{
    static world w;
    uint32_t blocked = 0;
    for (uint64_t load = 0; load < 4000; load++) {
        invent(&w, load, load % 2);
        simulate(&w);
        blocked += w.blocked;
    }
    cr_assert(blocked > 1000, "%u jobs were passed over", blocked);
}

/* Many sequences on equal lanes, with more work than they can do at once. */
static void invent_crowd(world *w, uint64_t load, uint32_t sequences)
{
    memset(w, 0, sizeof *w);
    w->load = load;
    w->random = load * 31 + 7;
    w->jobs = FEW;
    clattn__backlog_init(&w->backlog, 2, (double)launch_ns);
    w->speed[0] = w->speed[1] = 1;
    for (uint32_t i = 0; i < w->jobs; i++) {
        piece *p = &w->job[i];
        const uint64_t id = 1 + below(w, sequences);
        p->arrives = 1000 + (uint64_t)i * 40000;
        p->memory = i % MEMORIES;
        p->job.work = 60000 + below(w, 40000);
        p->job.family = below(w, 2);
        p->range = (clattn__head_range){id, id, 0, 1};
        p->job.ranges =
            (clattn__head_ranges){.range = &p->range, .count = 1, .least = id, .most = id};
    }
}

/* With homes that nobody looked at, every second job would be away; lanes are never idle, all the
 * same. */
Test(lanes, head_queues_stay)
{
    static world w;
    uint32_t away = 0, jobs = 0;
    for (uint64_t load = 0; load < 500; load++) {
        invent_crowd(&w, load, 12);
        simulate(&w);
        away += w.away;
        jobs += w.jobs;
    }
    cr_assert(away * 5 < jobs, "%u of %u jobs went to another lane", away, jobs);
}

/* A lane that is a hundred times as fast as the others and has all memory, which takes long to get
 * to most of these: first some jobs by which that is learnt, then more at once than a lane leaves
 * to others. */
static void invent_rush(world *w, uint64_t load)
{
    memset(w, 0, sizeof *w);
    w->load = load;
    w->random = load * 53 + 11;
    w->jobs = JOBS;
    clattn__backlog_init(&w->backlog, 2 + below(w, LANES - 1), (double)launch_ns);
    for (uint32_t i = 0; i < w->backlog.lane_count; i++) {
        w->speed[i] = i ? 1 : 100;
        w->copies[i] = i > 0 && below(w, 4);
    }
    for (uint32_t i = 0; i < MEMORIES; i++)
        w->moved[i] = below(w, 4) ? 10000000 : 0;
    for (uint32_t i = 0; i < w->jobs; i++) {
        piece *p = &w->job[i];
        const uint64_t id = below(w, 400);
        p->arrives = i < 30 ? 1000 + (uint64_t)i * 400000 : 13000000;
        p->memory = below(w, MEMORIES);
        p->job.work = 20000 + below(w, 300000);
        p->job.family = below(w, 3);
        p->range = (clattn__head_range){id, id, 0, 1};
        p->job.ranges =
            (clattn__head_ranges){.range = &p->range, .count = id > 0, .least = id, .most = id};
    }
}

Test(lanes, a_rush_beside_a_fast_lane)
{
    static world w;
    uint32_t looks_cut = 0;
    for (uint64_t load = 0; load < 200; load++) {
        invent_rush(&w, load);
        simulate(&w);
        looks_cut += w.looks_cut;
    }
    cr_assert(looks_cut > 100, "%u looks ended at the bound", looks_cut);
}
