/* The backlog of the dispatcher, run by simulation: invented devices of speeds that it has to find
 * out, thousands of random loads with priorities, deadlines, cancels and lanes that die, and what
 * must hold for each: order in every head queue, nothing lost or run twice, no lane idle beside
 * ready work for longer than a launch, and nobody ready for longer than three launches passed by
 * what is due later, which is what bounds waiting. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/turn.h"

static uint64_t random_state;

static uint32_t below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

enum { JOBS = 60, LANES = 4, BATCH = 16, FLIGHTS = JOBS * 40 };

static const uint64_t launch_ns = 1000000, priority_ns = 20000000, home_ns = 1000000;

typedef struct sim_job {
    clattn__job job;
    clattn__head_range range[4];
    uint64_t arrives, begins, ends; /* ns; 0: not yet */
    uint64_t patience;              /* ns until its deadline, 0: none */
    int64_t due;                    /* ns */
    uint64_t ready[LANES];          /* since when each lane could take it; 0: it can't */
    uint64_t ahead;                 /* bit i: job i goes before it in some head queue */
    double work, left;
    int32_t priority;
    int launches, finishes;
    bool dropped;
    uint32_t waits_for; /* index + 1 of the job whose launch it waits for; 0: none */
} sim_job;

typedef struct flight {
    uint64_t ends;
    double work, part; /* part: of a long one, 0: it isn't */
    uint64_t took;
    sim_job *done[BATCH];
    uint32_t count;
} flight;

typedef struct sim {
    clattn__backlog backlog;
    double speed[LANES]; /* the true ones */
    flight flight[LANES][FLIGHTS];
    uint32_t first[LANES], last[LANES];
    uint64_t busy_until[LANES], beside[LANES];
    sim_job job[JOBS];
    uint32_t jobs, added, settled;
    uint64_t now, longest;    /* launch */
    uint64_t gone;            /* bit i: job i has ended */
    uint32_t losses;          /* of lanes */
    uint32_t expired, waited; /* waited: times that something had when another one went */
    uint32_t load;
} sim;

static void invent(sim *s, uint32_t load)
{
    memset(s, 0, sizeof *s);
    random_state = load * 77u + 5;
    s->load = load;
    s->jobs = 1 + below(JOBS);
    clattn__backlog_init(&s->backlog, 1 + below(LANES), (double)launch_ns);
    for (uint32_t i = 0; i < s->backlog.lane_count; i++)
        s->speed[i] = 0.2 + 0.01 * below(400);
    uint64_t at = 1000;
    const uint32_t sequences = 1 + below(12);
    const uint32_t pace = below(4) ? 1 : 12; /* over several steps of priority */
    for (uint32_t i = 0; i < s->jobs; i++) {
        sim_job *j = &s->job[i];
        uint64_t ids[3];
        j->arrives = at;
        at += below(3) ? below(300000 * pace) : 0;
        j->work = j->left = 1000 + below(below(10) ? 200000 * pace : 20000000);
        j->patience = below(6) ? 0 : 1 + below(4000000 * pace);
        j->priority = (int32_t)below(5) - 2;
        j->job.ranges.range = j->range;
        j->job.family = below(4);
        j->job.work = j->work;
        if (s->backlog.lane_count > 1 && below(10) == 0) /* lane 0 never dies: see lose_some */
            j->job.barred = 1u << (1 + below(s->backlog.lane_count - 1));
        for (int n = 0; n < 3; n++)
            ids[n] = below(sequences + 1);
        const uint32_t head = below(3);
        clattn__head_ranges_add(&j->job.ranges, ids, 1 + below(3), head, head + 1 + below(2));
        clattn__head_ranges_close(&j->job.ranges);
        for (uint32_t before = 0; before < i; before++)
            if (clattn__head_ranges_meet(&s->job[before].job.ranges, &j->job.ranges))
                j->ahead |= (uint64_t)1 << before;
        j->waits_for = below(5) == 0 && i ? 1 + below(i) : 0;
    }
}

static sim_job *of(clattn__job *job)
{
    return (sim_job *)((char *)job - offsetof(sim_job, job));
}

/* Everybody before it in a head queue has ended, or is on the same lane before it. */
static void check_order(const sim *s, const sim_job *begun, uint32_t lane)
{
    for (const sim_job *other = s->job; other < begun; other++) {
        if (!(begun->ahead >> (other - s->job) & 1))
            continue;
        const bool launched = other->launches > 0 && other->left <= 0;
        cr_assert(other->dropped || other->finishes ||
                      (launched && other->job.lane == (int32_t)lane),
                  "load %u: job %d overtakes job %d of its head queue", s->load,
                  (int)(begun - s->job), (int)(other - s->job));
    }
}

/* ---- whose turn it is ------------------------------------------------------------------------ */

/* Where its priority puts a job that comes now. */
static int64_t due_now(const sim *s, const sim_job *j)
{
    return (int64_t)s->now - j->priority * (int64_t)priority_ns;
}

static bool is_free(const sim *s, const sim_job *j)
{
    return j->left > 0 && !j->dropped && j < s->job + s->added && !j->job.waits &&
           !(j->ahead & ~s->gone);
}

static bool may_run_on(const sim *s, const sim_job *j, uint32_t lane)
{
    return !s->backlog.lane[lane].dead && !(j->job.barred >> lane & 1) &&
           (j->job.lane < 0 || j->job.lane == (int32_t)lane);
}

/* Looks which jobs each lane could take now. */
static void note_ready(sim *s)
{
    for (uint32_t i = 0; i < s->added; i++) {
        sim_job *j = &s->job[i];
        const bool is_one = is_free(s, j);
        for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++) {
            uint64_t *since = &j->ready[lane];
            *since = !is_one || !may_run_on(s, j, lane) ? 0 : *since ? *since : s->now;
        }
    }
}

/* What the lane could have taken for three launches isn't passed by what is due later, but for the
 * little by which lanes prefer what is at home there: it may leave it to another lane that can
 * begin it within a launch's time, by what is known of it, and on which two are in flight. So
 * nothing waits for more than what is due before it, and that. */
static void check_turn(sim *s, const sim_job *chosen, uint32_t lane)
{
    const uint64_t bound = 3 * (s->longest > launch_ns ? s->longest : launch_ns);
    for (uint32_t i = 0; i < s->added; i++) {
        const sim_job *j = &s->job[i];
        if (j == chosen || !j->ready[lane] || s->now - j->ready[lane] <= bound)
            continue;
        s->waited++;
        cr_assert(j->due + (int64_t)home_ns >= chosen->due,
                  "load %u: job %u waits for lane %u since %d us, and job %d goes, due %d us later",
                  s->load, i, lane, (int)((s->now - j->ready[lane]) / 1000), (int)(chosen - s->job),
                  (int)((chosen->due - j->due) / 1000));
    }
}

/* ---- launches -------------------------------------------------------------------------------- */

static void put(sim *s, uint32_t lane, double work, sim_job *const *done, uint32_t count)
{
    cr_assert(s->last[lane] < FLIGHTS);
    flight *f = &s->flight[lane][s->last[lane]++];
    const uint64_t start = s->busy_until[lane] > s->now ? s->busy_until[lane] : s->now;
    f->took = (uint64_t)(work / s->speed[lane]) + 1;
    f->ends = start + f->took;
    f->work = work;
    f->count = count;
    for (uint32_t i = 0; i < count; i++)
        f->done[i] = done[i];
    clattn__lane_launched(&s->backlog.lane[lane], count, s->now);
    s->busy_until[lane] = f->ends;
    s->longest = f->took > s->longest ? f->took : s->longest;
}

static void wake_waiters(sim *s, const sim_job *launched)
{
    for (uint32_t i = 0; i < s->added; i++)
        if (s->job[i].waits_for == (uint32_t)(launched - s->job) + 1)
            s->job[i].job.waits = 0;
}

static void launch_part(sim *s, uint32_t lane, sim_job *j, uint32_t share, uint32_t items)
{
    const double part = j->left * share / items;
    j->launches++;
    j->begins = j->begins ? j->begins : s->now;
    j->left -= part;
    put(s, lane, part, NULL, 0);
    flight *f = &s->flight[lane][s->last[lane] - 1];
    f->part = part;
    f->work = clattn__backlog_begun(&s->backlog, &j->job, lane, part, s->now);
    j->due = due_now(s, j) > j->due ? due_now(s, j) : j->due;
}

static void launch_whole(sim *s, uint32_t lane, clattn__job *const *chosen, uint32_t count)
{
    sim_job *done[BATCH];
    double work = 0;
    for (uint32_t i = 0; i < count; i++) {
        sim_job *j = done[i] = of(chosen[i]);
        cr_assert(j->left > 0 && !j->finishes, "load %u: launched twice", s->load);
        check_order(s, j, lane);
        j->launches++;
        j->begins = j->begins ? j->begins : s->now;
        work += j->left;
        j->left = 0;
        memset(j->ready, 0, sizeof j->ready);
        clattn__backlog_launched(&s->backlog, &j->job, lane);
        wake_waiters(s, j);
    }
    put(s, lane, work, done, count);
}

static void launch(sim *s, uint32_t lane, clattn__job **chosen, uint32_t count)
{
    sim_job *j = of(chosen[0]);
    check_order(s, j, lane);
    check_turn(s, j, lane);
    const uint32_t items = 1000;
    const double work = count == 1 ? clattn__backlog_share(&s->backlog, lane, j->left) : j->left;
    const uint32_t share = j->left > 0 ? (uint32_t)(items * work / j->left) : items;
    if (share < items)
        launch_part(s, lane, j, share ? share : 1, items);
    else
        launch_whole(s, lane, chosen, count);
}

static void take_turn(sim *s, uint32_t lane)
{
    clattn__job *chosen[BATCH];
    clattn__turn turn = {.backlog = &s->backlog, .lane = lane};
    uint32_t count = 1;
    clattn__turn_begin(&turn);
    while (count > 0 && clattn__turn_goes_on(&turn)) {
        count = clattn__turn_next(&turn, s->now, chosen, BATCH);
        if (count > 0)
            launch(s, lane, chosen, count);
    }
}

static bool has_ready_work(const sim *s, uint32_t lane)
{
    for (uint32_t i = 0; i < s->added; i++)
        if (is_free(s, &s->job[i]) && may_run_on(s, &s->job[i], lane))
            return true;
    return false;
}

/* After every lane had its chance: none is left idle beside ready work for longer than a launch. */
static void check_idle(sim *s)
{
    for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++) {
        if (s->first[lane] < s->last[lane] || !has_ready_work(s, lane)) {
            s->beside[lane] = 0;
            continue;
        }
        s->beside[lane] = s->beside[lane] ? s->beside[lane] : s->now;
        cr_assert(s->now - s->beside[lane] <= s->longest, "load %u: lane %u is idle", s->load,
                  lane);
    }
}

static void land(sim *s, uint32_t lane)
{
    flight *f = &s->flight[lane][s->first[lane]++];
    const bool last = s->first[lane] == s->last[lane];
    if (f->part > 0)
        clattn__lane_part_landed(&s->backlog.lane[lane], f->part, (double)f->took);
    clattn__lane_landed(&s->backlog.lane[lane], f->work, (double)f->took, last);
    s->backlog.lane[lane].began = s->now;
    for (uint32_t i = 0; i < f->count; i++) {
        sim_job *j = f->done[i];
        j->finishes++;
        j->ends = s->now;
        s->settled++;
        s->gone |= (uint64_t)1 << (j - s->job);
        clattn__backlog_done(&s->backlog, &j->job);
    }
}

static void arrive(sim *s)
{
    sim_job *j = &s->job[s->added++];
    const sim_job *other = j->waits_for ? &s->job[j->waits_for - 1] : NULL;
    j->job.waits = other && other->left > 0 && !other->dropped;
    j->job.order = s->added;
    const uint64_t expires = j->patience ? s->now + j->patience : UINT64_MAX;
    clattn__job_due(&j->job, s->now, j->priority, expires);
    j->due = due_now(s, j);
    if (j->patience && (int64_t)expires < j->due)
        j->due = (int64_t)expires;
    const int32_t lane = clattn__backlog_pass(&s->backlog, &j->job, s->now);
    if (lane < 0 || clattn__backlog_share(&s->backlog, (uint32_t)lane, j->work) < j->work) {
        clattn__backlog_add(&s->backlog, &j->job);
        return;
    }
    sim_job *done[1] = {j};
    check_order(s, j, (uint32_t)lane);
    clattn__backlog_passed(&s->backlog, &j->job, (uint32_t)lane);
    j->launches = 1;
    j->begins = s->now;
    j->left = 0;
    put(s, (uint32_t)lane, j->work, done, 1);
}

static void drop(sim *s, sim_job *j)
{
    j->dropped = true;
    s->settled++;
    s->gone |= (uint64_t)1 << (j - s->job);
    clattn__backlog_drop(&s->backlog, &j->job);
    wake_waiters(s, j);
}

/* Now and then somebody changes his mind. What has begun once can't be taken back. */
static void cancel_some(sim *s)
{
    sim_job *j = &s->job[below(s->jobs)];
    if (below(8) == 0 && j < s->job + s->added && !j->begins && !j->dropped)
        drop(s, j);
}

/* And what hasn't begun by its deadline doesn't run. */
static void expire_some(sim *s)
{
    for (uint32_t i = 0; i < s->added; i++) {
        sim_job *j = &s->job[i];
        if (j->patience == 0 || j->begins || j->dropped || j->arrives + j->patience > s->now)
            continue;
        drop(s, j);
        s->expired++;
    }
}

static void begin_again(sim *s, sim_job *j)
{
    j->left = j->work;
    j->launches = 0;
    memset(j->ready, 0, sizeof j->ready);
    for (uint32_t i = 0; i < s->added; i++)
        if (s->job[i].waits_for == (uint32_t)(j - s->job) + 1 && s->job[i].launches == 0)
            s->job[i].job.waits = 1;
}

/* A lane dies, but never the first one: what it had begins again elsewhere. */
static void lose_some(sim *s)
{
    const uint32_t lane = below(s->backlog.lane_count);
    if (below(100) || lane == 0 || s->backlog.lane[lane].dead)
        return;
    s->backlog.lane[lane].dead = true;
    s->losses++;
    while (s->first[lane] < s->last[lane]) {
        flight *f = &s->flight[lane][s->first[lane]++];
        clattn__lane_landed(&s->backlog.lane[lane], f->work, 0, s->first[lane] == s->last[lane]);
        for (uint32_t i = 0; i < f->count; i++) {
            begin_again(s, f->done[i]);
            clattn__backlog_done(&s->backlog, &f->done[i]->job);
            clattn__backlog_return(&s->backlog, &f->done[i]->job);
        }
    }
    for (uint32_t i = 0; i < s->added; i++) {
        sim_job *j = &s->job[i];
        if (j->finishes || j->dropped || j->left <= 0 || j->job.lane != (int32_t)lane)
            continue;
        begin_again(s, j); /* some of it was launched */
        clattn__backlog_restart(&s->backlog, &j->job);
    }
}

/* The next moment at which something happens; false: nothing will. */
static bool advance(sim *s)
{
    uint64_t next = UINT64_MAX;
    if (s->added < s->jobs)
        next = s->job[s->added].arrives;
    for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++)
        if (s->first[lane] < s->last[lane] && s->flight[lane][s->first[lane]].ends < next)
            next = s->flight[lane][s->first[lane]].ends;
    s->now = next > s->now && next != UINT64_MAX ? next : s->now;
    return next != UINT64_MAX;
}

static void simulate(sim *s)
{
    while (advance(s)) {
        for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++)
            while (s->first[lane] < s->last[lane] && s->flight[lane][s->first[lane]].ends <= s->now)
                land(s, lane);
        while (s->added < s->jobs && s->job[s->added].arrives <= s->now)
            arrive(s);
        expire_some(s);
        cancel_some(s);
        lose_some(s);
        note_ready(s);
        for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++)
            take_turn(s, lane);
        check_idle(s);
    }
}

static void check_end(const sim *s)
{
    cr_assert_eq(s->settled, s->jobs, "load %u: %u of %u jobs ended", s->load, s->settled, s->jobs);
    cr_assert_eq(clattn__backlog_count(&s->backlog), 0);
    for (uint32_t i = 0; i < s->jobs; i++)
        cr_assert_eq(s->job[i].finishes + s->job[i].dropped, 1, "load %u: job %u", s->load, i);
    for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++)
        cr_assert_eq(s->backlog.lane[lane].flying, 0);
}

Test(backlog_loads, ten_thousand, .timeout = 240)
{
    static sim s;
    uint32_t losses = 0, expired = 0, waited = 0;
    for (uint32_t load = 0; load < 10000; load++) {
        invent(&s, load);
        simulate(&s);
        check_end(&s);
        losses += s.losses;
        expired += s.expired;
        waited += s.waited;
    }
    cr_assert(losses > 500, "%u lanes were lost", losses);
    cr_assert(expired > 500, "%u deadlines passed", expired);
    cr_assert(waited > 10000, "%u times something had waited", waited);
}
