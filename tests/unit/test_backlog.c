/* The backlog of the dispatcher, run by simulation: invented devices of speeds that it has to find
 * out, thousands of random loads, and what must hold for each: order in every head queue, nothing
 * lost or run twice, no idle lane beside ready work, nobody left waiting. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/backlog.h"

static uint64_t random_state;

static uint32_t below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

/* ---- head ranges ----------------------------------------------------------------------------- */

static clattn__head_ranges ranges_of(clattn__head_range *memory, const uint64_t *ids,
                                     uint64_t count, uint32_t head, uint32_t head_end)
{
    clattn__head_ranges ranges = {.range = memory};
    clattn__head_ranges_add(&ranges, ids, count, head, head_end);
    clattn__head_ranges_close(&ranges);
    return ranges;
}

Test(backlog, neighbouring_sequences_are_one_interval)
{
    clattn__head_range memory[70];
    uint64_t ids[64];
    for (uint64_t i = 0; i < 64; i++)
        ids[i] = 1000 + i;
    clattn__head_ranges ranges = ranges_of(memory, ids, 64, 0, 32);
    cr_assert_eq(ranges.count, 1);
    cr_assert_eq(ranges.least, 1000);
    cr_assert_eq(ranges.most, 1063);
    clattn__head_ranges_add(&ranges, ids, 64, 0, 32); /* the next step of the same submission */
    cr_assert_eq(ranges.count, 1);
    const uint64_t none[3] = {0, 0, 0};
    cr_assert_eq(ranges_of(memory, none, 3, 0, 1).count, 0, "id 0 has no order");
    const uint64_t last[2] = {UINT64_MAX, 0};
    cr_assert_eq(ranges_of(memory, last, 2, 0, 1).count, 1);
}

enum { SETS = 12, IDS = 24 };

/* Against the definition: a table of which head queues each set has. */
Test(backlog, ranges_meet_where_a_head_queue_is_in_both)
{
    for (uint32_t load = 0; load < 2000; load++) {
        static bool has[2][IDS + 1][8];
        clattn__head_range memory[2][SETS * 4];
        clattn__head_ranges set[2] = {{.range = memory[0]}, {.range = memory[1]}};
        random_state = load;
        memset(has, 0, sizeof has);
        for (int s = 0; s < 2; s++) {
            for (uint32_t n = below(SETS); n > 0; n--) {
                uint64_t ids[4];
                const uint32_t head = below(6), end = head + 1 + below(2);
                const uint32_t count = 1 + below(4);
                ids[0] = below(IDS);
                for (uint32_t i = 1; i < count; i++)
                    ids[i] = below(2) && ids[i - 1] + 1 < IDS ? ids[i - 1] + 1 : below(IDS);
                for (uint32_t i = 0; i < count; i++)
                    for (uint32_t h = head; ids[i] && h < end; h++)
                        has[s][ids[i]][h] = true;
                clattn__head_ranges_add(&set[s], ids, count, head, end);
            }
            clattn__head_ranges_close(&set[s]);
        }
        bool meet = false;
        for (int id = 1; id < IDS; id++)
            for (int h = 0; h < 8; h++)
                meet = meet || (has[0][id][h] && has[1][id][h]);
        cr_assert_eq(clattn__head_ranges_meet(&set[0], &set[1]), meet, "load %u", load);
        cr_assert_eq(clattn__head_ranges_meet(&set[1], &set[0]), meet, "load %u", load);
    }
}

/* ---- simulation ------------------------------------------------------------------------------ */

enum { JOBS = 60, LANES = 4, BATCH = 16 };

typedef struct sim_job {
    clattn__job job;
    clattn__head_range range[4];
    uint64_t arrives, begins, ends; /* ns; 0: not yet */
    double work, left;
    int32_t priority;
    int launches, finishes;
    bool dropped;
    uint32_t waits_for; /* index + 1 of the job whose launch it waits for; 0: none */
} sim_job;

typedef struct flight {
    uint64_t ends;
    double work;
    uint64_t took;
    sim_job *done[BATCH];
    uint32_t count;
} flight;

typedef struct sim {
    clattn__backlog backlog;
    double speed[LANES]; /* the true ones */
    flight flight[LANES][JOBS * 40];
    uint32_t first[LANES], last[LANES];
    uint64_t busy_until[LANES], beside[LANES];
    sim_job job[JOBS];
    uint32_t jobs, added, settled;
    uint64_t now, longest; /* launch */
    uint32_t load;
} sim;

static void invent(sim *s, uint32_t load)
{
    memset(s, 0, sizeof *s);
    random_state = load * 77u + 5;
    s->load = load;
    s->jobs = 1 + below(JOBS);
    clattn__backlog_init(&s->backlog, 1 + below(LANES), 1e6);
    for (uint32_t i = 0; i < s->backlog.lane_count; i++)
        s->speed[i] = 0.2 + 0.01 * below(400);
    uint64_t at = 1000;
    const uint32_t sequences = 1 + below(12);
    for (uint32_t i = 0; i < s->jobs; i++) {
        sim_job *j = &s->job[i];
        uint64_t ids[3];
        j->arrives = at;
        at += below(3) ? below(300000) : 0;
        j->work = j->left = 1000 + below(below(10) ? 200000 : 20000000);
        j->priority = (int32_t)below(5) - 2;
        j->job.ranges.range = j->range;
        j->job.family = below(4);
        j->job.work = j->work;
        j->job.home = (int32_t)below(s->backlog.lane_count + 1) - 1;
        for (int n = 0; n < 3; n++)
            ids[n] = below(sequences + 1);
        const uint32_t head = below(3);
        clattn__head_ranges_add(&j->job.ranges, ids, 1 + below(3), head, head + 1 + below(2));
        clattn__head_ranges_close(&j->job.ranges);
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
        if (!clattn__head_ranges_meet(&other->job.ranges, &begun->job.ranges))
            continue;
        const bool launched = other->launches > 0 && other->left <= 0;
        cr_assert(other->dropped || other->finishes ||
                      (launched && other->job.lane == (int32_t)lane),
                  "load %u: job %d overtakes job %d of its head queue", s->load,
                  (int)(begun - s->job), (int)(other - s->job));
    }
}

static void put(sim *s, uint32_t lane, double work, sim_job *const *done, uint32_t count)
{
    flight *f = &s->flight[lane][s->last[lane]++];
    const uint64_t start = s->busy_until[lane] > s->now ? s->busy_until[lane] : s->now;
    f->took = (uint64_t)(work / s->speed[lane]) + 1;
    f->ends = start + f->took;
    f->work = work;
    f->count = count;
    for (uint32_t i = 0; i < count; i++)
        f->done[i] = done[i];
    s->backlog.lane[lane].flights++;
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
    clattn__backlog_begun(&s->backlog, &j->job, lane, part, s->now);
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
        clattn__backlog_launched(&s->backlog, &j->job, lane);
        wake_waiters(s, j);
    }
    put(s, lane, work, done, count);
}

static bool launch_one(sim *s, uint32_t lane)
{
    clattn__job *chosen[BATCH];
    if (!clattn__backlog_has_room(&s->backlog, lane, 0))
        return false;
    const uint32_t count = clattn__backlog_pick(&s->backlog, lane, chosen, BATCH);
    if (count == 0 || !clattn__backlog_has_room(&s->backlog, lane, chosen[0]->family))
        return false;
    sim_job *j = of(chosen[0]);
    check_order(s, j, lane);
    const uint32_t items = 1000;
    const uint32_t share =
        count == 1 ? clattn__backlog_share(&s->backlog, lane, j->left, items) : items;
    if (share < items)
        launch_part(s, lane, j, share, items);
    else
        launch_whole(s, lane, chosen, count);
    return true;
}

static bool can_run(const sim *s, const sim_job *j, uint32_t lane)
{
    if (j->left <= 0 || j->dropped || j >= s->job + s->added || j->job.waits ||
        (j->job.lane >= 0 && j->job.lane != (int32_t)lane))
        return false;
    for (const sim_job *other = s->job; other < j; other++)
        if (!other->finishes && !other->dropped &&
            clattn__head_ranges_meet(&other->job.ranges, &j->job.ranges))
            return false;
    return true;
}

static bool has_ready_work(const sim *s, uint32_t lane)
{
    for (uint32_t i = 0; i < s->added; i++)
        if (can_run(s, &s->job[i], lane))
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
    clattn__lane_landed(&s->backlog.lane[lane], f->work, (double)f->took, last);
    for (uint32_t i = 0; i < f->count; i++) {
        sim_job *j = f->done[i];
        j->finishes++;
        j->ends = s->now;
        s->settled++;
        clattn__backlog_done(&s->backlog, &j->job);
    }
}

static void arrive(sim *s)
{
    sim_job *j = &s->job[s->added++];
    const sim_job *other = j->waits_for ? &s->job[j->waits_for - 1] : NULL;
    j->job.waits = other && other->left > 0 && !other->dropped;
    clattn__job_due(&j->job, s->now, j->priority, UINT64_MAX);
    const int32_t lane = clattn__backlog_pass(&s->backlog, &j->job);
    if (lane < 0) {
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

/* Now and then somebody changes his mind. */
static void cancel_some(sim *s)
{
    sim_job *j = &s->job[below(s->jobs)];
    if (below(8) || j >= s->job + s->added || j->launches || j->dropped)
        return;
    j->dropped = true;
    s->settled++;
    clattn__backlog_drop(&s->backlog, &j->job);
    wake_waiters(s, j);
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
        cancel_some(s);
        for (uint32_t lane = 0; lane < s->backlog.lane_count; lane++)
            while (launch_one(s, lane))
                ;
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

Test(backlog, ten_thousand_random_loads, .timeout = 240)
{
    static sim s;
    for (uint32_t load = 0; load < 10000; load++) {
        invent(&s, load);
        simulate(&s);
        check_end(&s);
    }
}

/* ---- single decisions ------------------------------------------------------------------------ */

/* A stream of urgent jobs never keeps one of low priority from its turn. */
Test(backlog, nothing_starves)
{
    clattn__backlog backlog;
    static clattn__job job[400];
    clattn__job low, *chosen[1];
    uint64_t now = 1000000;
    memset(&low, 0, sizeof low);
    clattn__backlog_init(&backlog, 1, 1e6);
    clattn__job_due(&low, now, -3, UINT64_MAX);
    clattn__backlog_add(&backlog, &low);
    int turn = -1;
    for (int i = 0; i < 400 && turn < 0; i++) {
        clattn__job_due(&job[i], now, 3, UINT64_MAX);
        clattn__backlog_add(&backlog, &job[i]);
        cr_assert_eq(clattn__backlog_pick(&backlog, 0, chosen, 1), 1);
        if (chosen[0] == &low)
            turn = i;
        clattn__backlog_launched(&backlog, chosen[0], 0);
        now += 1000000;
    }
    cr_assert(turn > 6 * 20 - 2 && turn < 6 * 20 + 2, "6 steps of priority are 120 ms: %d", turn);
}

Test(backlog, a_deadline_goes_before_what_came_earlier)
{
    clattn__backlog backlog;
    clattn__job early = {0}, late = {0}, *chosen[1];
    clattn__backlog_init(&backlog, 1, 1e6);
    clattn__job_due(&early, 500000000, -1, UINT64_MAX);
    clattn__job_due(&late, 510000000, -1, 515000000);
    clattn__backlog_add(&backlog, &early);
    clattn__backlog_add(&backlog, &late);
    clattn__backlog_pick(&backlog, 0, chosen, 1);
    cr_assert_eq(chosen[0], &late);
}

Test(backlog, what_shares_launches)
{
    clattn__backlog backlog;
    clattn__job job[6], *chosen[6];
    static const uint64_t family[6] = {7, 8, 7, 0, 7, 7};
    static const double work[6] = {4e5, 1, 4e5, 1, 4e5, 1e5};
    memset(job, 0, sizeof job);
    clattn__backlog_init(&backlog, 1, 1e6);
    for (int i = 0; i < 6; i++) {
        job[i].family = family[i];
        job[i].work = work[i];
        clattn__job_due(&job[i], 1000, 0, UINT64_MAX);
        clattn__backlog_add(&backlog, &job[i]);
    }
    cr_assert_eq(clattn__backlog_pick(&backlog, 0, chosen, 6), 3);
    cr_assert(chosen[0] == &job[0] && chosen[1] == &job[2] && chosen[2] == &job[5],
              "as many as fit into a millisecond");
    cr_assert_eq(clattn__backlog_pick(&backlog, 0, chosen, 2), 2);
}

Test(backlog, chunks_and_turns)
{
    clattn__backlog backlog;
    clattn__job prefill = {.work = 1e7, .family = 1}, decode = {.work = 1e4, .family = 2};
    clattn__job *chosen[4];
    clattn__backlog_init(&backlog, 1, 1e6);
    cr_assert_eq(clattn__backlog_share(&backlog, 0, 1e7, 1000), 100);
    cr_assert_eq(clattn__backlog_share(&backlog, 0, 1e7, 3), 1, "never less than one item");
    cr_assert_eq(clattn__backlog_share(&backlog, 0, 1.4e6, 1000), 1000, "not worth dividing");
    clattn__job_due(&prefill, 1000, 0, UINT64_MAX);
    clattn__backlog_add(&backlog, &prefill);
    clattn__job_due(&decode, 2000, 0, UINT64_MAX);
    clattn__backlog_add(&backlog, &decode);
    clattn__backlog_pick(&backlog, 0, chosen, 4);
    cr_assert_eq(chosen[0], &prefill);
    clattn__backlog_begun(&backlog, &prefill, 0, 1e6, 3000);
    clattn__backlog_pick(&backlog, 0, chosen, 4);
    cr_assert_eq(chosen[0], &decode, "between two parts others have their turn");
    cr_assert(!clattn__backlog_has_room(&backlog, 0, 0), "a launch's time is in flight");
}

Test(backlog, lanes_by_speed_and_home)
{
    clattn__lane_state lane[3];
    for (int i = 0; i < 3; i++)
        clattn__lane_state_init(&lane[i]);
    for (int i = 0; i < 100; i++) {
        lane[1].flying = lane[2].flying = 1000;
        clattn__lane_landed(&lane[1], 1000, 100, true);
        clattn__lane_landed(&lane[2], 1000, 2000, true);
    }
    cr_assert_float_eq(lane[1].speed, 10, 0.01);
    cr_assert_float_eq(lane[2].speed, 0.5, 0.01);
    cr_assert_eq(clattn__lane_choose(lane, 3, -1, 100), 1);
    cr_assert_eq(clattn__lane_choose(lane, 3, 2, 100), 1, "home is too slow");
    lane[1].flying = 880;
    cr_assert_eq(clattn__lane_choose(lane, 3, -1, 100), 1);
    cr_assert_eq(clattn__lane_choose(lane, 3, 0, 100), 0, "home is nearly as good");
    lane[1].flying = 5000;
    cr_assert_eq(clattn__lane_choose(lane, 3, -1, 100), 0);
    cr_assert(clattn__lane_should_take(lane, 3, 0, 100, 0, 1e6));
    cr_assert(!clattn__lane_should_take(lane, 3, 2, 100, 0, 1e6));
    cr_assert(clattn__lane_should_take(lane, 3, 2, 100, 5000, 1e6), "others have enough to do");
    lane[0].flying = 500;
    cr_assert(clattn__lane_should_take(lane, 3, 2, 400, 0, 400), "nobody can begin it soon");
    lane[0].flying = 0;
    lane[0].dead = lane[1].dead = true;
    cr_assert(clattn__lane_should_take(lane, 3, 2, 100, 0, 1e6));
    cr_assert_eq(clattn__lane_choose(lane, 3, 0, 100), 2);
    lane[2].dead = true;
    cr_assert_eq(clattn__lane_choose(lane, 3, 0, 100), -1);
}
