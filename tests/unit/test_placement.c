/* Which lane has what, in single decisions: by speed and by where memory is, and what happens to
 * jobs that a lane can't have yet. */
#include <criterion/criterion.h>
#include <string.h>

#include "schedule/turn.h"

static clattn__task task(double work, int32_t home)
{
    return (clattn__task){.work = work, .home = home};
}

Test(placement, lanes_by_speed_and_home)
{
    clattn__lane_state lane[3];
    const clattn__task none = task(100, -1), at0 = task(100, 0), at2 = task(100, 2);
    const clattn__task longer = task(400, -1);
    for (int i = 0; i < 3; i++)
        clattn__lane_state_init(&lane[i]);
    for (int i = 0; i < 100; i++) {
        lane[1].flying = lane[2].flying = 1000;
        clattn__lane_landed(&lane[1], 1000, 100, true);
        clattn__lane_landed(&lane[2], 1000, 2000, true);
    }
    cr_assert_float_eq(lane[1].speed, 10, 0.01);
    cr_assert_float_eq(lane[2].speed, 0.5, 0.01);
    cr_assert_eq(clattn__lane_choose(lane, 3, &none), 1);
    cr_assert_eq(clattn__lane_choose(lane, 3, &at2), 1, "home is too slow");
    lane[1].flying = 880;
    cr_assert_eq(clattn__lane_choose(lane, 3, &none), 1);
    cr_assert_eq(clattn__lane_choose(lane, 3, &at0), 0, "home is nearly as good");
    lane[1].flying = 5000;
    cr_assert_eq(clattn__lane_choose(lane, 3, &none), 0);
    cr_assert(clattn__lane_should_take(lane, 3, 0, &none, 0, 1e6));
    cr_assert(!clattn__lane_should_take(lane, 3, 2, &none, 0, 1e6));
    cr_assert(clattn__lane_should_take(lane, 3, 2, &none, 5000, 1e6), "others have enough to do");
    lane[0].flying = 500;
    cr_assert(clattn__lane_should_take(lane, 3, 2, &longer, 0, 400), "nobody can begin it soon");
    lane[0].flying = 0;
    clattn__task barred = none;
    barred.barred = 3;
    cr_assert(clattn__lane_should_take(lane, 3, 2, &barred, 0, 1e6), "nobody else can have it");
    cr_assert_eq(clattn__lane_choose(lane, 3, &barred), 2);
    lane[0].dead = lane[1].dead = true;
    cr_assert(clattn__lane_should_take(lane, 3, 2, &none, 0, 1e6));
    cr_assert_eq(clattn__lane_choose(lane, 3, &at0), 2);
    lane[2].dead = true;
    cr_assert_eq(clattn__lane_choose(lane, 3, &at0), -1);
}

/* Bytes that have to be moved are part of what a lane costs, and of how long another one has to
 * begin. */
Test(placement, lanes_by_what_must_be_moved)
{
    clattn__lane_state lane[3];
    const double moving[3] = {0, 5000, 200};
    clattn__task moved = task(100, -1);
    for (int i = 0; i < 3; i++)
        clattn__lane_state_init(&lane[i]);
    lane[1].speed = 10;
    moved.moving = moving;
    cr_assert_eq(clattn__lane_choose(lane, 3, &moved), 0, "the fast one has nothing of it yet");
    lane[0].flying = 300;
    cr_assert_eq(clattn__lane_choose(lane, 3, &moved), 2);
    lane[0].flying = lane[2].flying = 6000;
    cr_assert_eq(clattn__lane_choose(lane, 3, &moved), 1);
    cr_assert(clattn__lane_should_take(lane, 3, 1, &moved, 0, 1000), "others have enough to do");
    lane[0].flying = 2000;
    cr_assert(!clattn__lane_should_take(lane, 3, 1, &moved, 0, 1000),
              "it begins later than a launch's time, and is done before it could be moved");
    lane[0].flights = CLATTN__MOST_FLIGHTS;
    cr_assert(!clattn__lane_should_take(lane, 3, 1, &moved, 0, 1000),
              "so it is if two launches must be done first");
    moved.moving = NULL;
    cr_assert(clattn__lane_should_take(lane, 3, 1, &moved, 0, 1000));
}

/* Home has what it can begin soon, unless that would take half as long again; a lane that has
 * nothing to do takes the rest. */
Test(placement, home_or_a_lane_that_is_idle)
{
    clattn__lane_state lane[2];
    const clattn__task at1 = task(100, 1);
    for (int i = 0; i < 2; i++)
        clattn__lane_state_init(&lane[i]);
    cr_assert(!clattn__lane_should_take(lane, 2, 0, &at1, 0, 1e6), "home is as idle");
    cr_assert(clattn__lane_leaves_home(lane, 0, &at1, 0));
    lane[1].flying = 40;
    cr_assert(!clattn__lane_should_take(lane, 2, 0, &at1, 0, 1e6), "it is nearly as good");
    lane[1].flying = 60;
    cr_assert(clattn__lane_should_take(lane, 2, 0, &at1, 0, 1e6));
    cr_assert(!clattn__lane_leaves_home(lane, 0, &at1, 0));
    cr_assert(clattn__lane_leaves_home(lane, 0, &at1, 100), "nor is it done earlier here");
    cr_assert(!clattn__lane_leaves_home(lane, 1, &at1, 100), "it is here");
    lane[1].flying = 0;
    cr_assert(clattn__lane_should_take(lane, 2, 0, &at1, 60, 1e6), "others go before it there");
    lane[0].speed = 1.6;
    cr_assert(clattn__lane_should_take(lane, 2, 1, &at1, 0, 1e6), "home isn't clearly later");
    cr_assert(!clattn__lane_leaves_home(lane, 0, &at1, 0));
    lane[0].speed = 2;
    cr_assert(!clattn__lane_should_take(lane, 2, 1, &at1, 0, 1e6));
    lane[1].dead = true;
    cr_assert(!clattn__lane_leaves_home(lane, 0, &at1, 1000));
    cr_assert_eq(clattn__lane_choose(lane, 2, &at1), 0);
}

/* Jobs of one sequence each, which were on this lane. */
static void add_at_home(clattn__backlog *backlog, clattn__job *job, clattn__head_range *range,
                        uint64_t id, int32_t lane)
{
    *range = (clattn__head_range){id, id, 0, 1};
    job->ranges = (clattn__head_ranges){.range = range, .count = 1, .least = id, .most = id};
    clattn__homes_set(&backlog->homes, &job->ranges, lane);
    clattn__backlog_add(backlog, job);
    cr_assert_eq(job->home, lane);
}

/* Held-back work that shares launches goes where it is at home. */
Test(placement, what_is_at_home_goes_together)
{
    enum { N = 8 };
    static clattn__backlog backlog;
    static clattn__job job[2 * N], *chosen[2 * N];
    clattn__head_range range[2 * N];
    clattn__backlog_init(&backlog, 2, 1e6);
    for (uint32_t i = 0; i < 2 * N; i++) {
        job[i].work = 1000;
        job[i].family = 5;
        clattn__job_due(&job[i], 1000 + i, 0, UINT64_MAX);
        add_at_home(&backlog, &job[i], &range[i], 1 + i, i % 2);
    }
    for (uint32_t lane = 0; lane < 2; lane++) {
        cr_assert_eq(clattn__backlog_pick(&backlog, lane, chosen, 2 * N), N);
        for (int i = 0; i < N; i++)
            cr_assert_eq(chosen[i]->home, (int32_t)lane);
    }
    backlog.lane[1].flying = 50000; /* it has enough to do */
    cr_assert(clattn__backlog_pick(&backlog, 0, chosen, 2 * N) == N);
    for (int i = 0; i < N; i++)
        clattn__backlog_launched(&backlog, &job[2 * i], 0);
    const uint32_t stolen = clattn__backlog_pick(&backlog, 0, chosen, 2 * N);
    cr_assert_eq(stolen, N / 2, "its part of what could be merged: %u", stolen);
    for (uint32_t i = 0; i < stolen; i++)
        cr_assert_eq(chosen[i]->home, 1, "it takes the other's");
}

/* What is at home on a lane goes first there, but for what has waited longer by a launch's time. */
Test(placement, guests_have_their_turn)
{
    static clattn__backlog backlog;
    static clattn__job own[40];
    static clattn__head_range range[41];
    clattn__job guest = {.work = 1000}, *chosen[1];
    uint64_t now = 5000000;
    int turn = -1;
    clattn__backlog_init(&backlog, 2, 1e6);
    backlog.lane[1].flights = CLATTN__MOST_FLIGHTS; /* it can't have its own */
    clattn__job_due(&guest, now, 0, UINT64_MAX);
    add_at_home(&backlog, &guest, &range[40], 1000, 1);
    for (int i = 0; i < 40 && turn < 0; i++) {
        own[i].work = 1000;
        clattn__job_due(&own[i], now, 0, UINT64_MAX);
        add_at_home(&backlog, &own[i], &range[i], 1 + (uint64_t)i, 0);
        cr_assert_eq(clattn__backlog_pick(&backlog, 0, chosen, 1), 1);
        if (chosen[0] == &guest)
            turn = i;
        clattn__backlog_launched(&backlog, chosen[0], 0);
        now += 100000;
    }
    cr_assert(turn >= 9 && turn <= 11, "after 1 ms of the others: %d", turn);
}

/* A lane passes over what it can't have yet, and keeps the order of head queues. */
Test(placement, blocked_jobs_are_passed_over)
{
    static clattn__backlog backlog;
    clattn__head_range one = {7, 7, 0, 1}, other = {8, 8, 0, 1};
    clattn__job job[4], *chosen[4];
    memset(job, 0, sizeof job);
    clattn__backlog_init(&backlog, 2, 1e6);
    backlog.lane[0].flights = CLATTN__MOST_FLIGHTS; /* it has enough to do */
    for (int i = 0; i < 4; i++) {
        job[i].work = 1000;
        job[i].ranges = (clattn__head_ranges){.range = i < 2 ? &one : &other,
                                              .count = 1,
                                              .least = i < 2 ? 7 : 8,
                                              .most = i < 2 ? 7 : 8};
        clattn__job_due(&job[i], 1000 + (uint64_t)i, 0, UINT64_MAX);
        clattn__backlog_add(&backlog, &job[i]);
    }
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 4), 1);
    cr_assert_eq(chosen[0], &job[0]);
    cr_assert(clattn__backlog_block(&job[0], 1), "that is news");
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 4), 1);
    cr_assert_eq(chosen[0], &job[2], "what follows in its head queue waits with it");
    cr_assert(clattn__backlog_block(&job[2], 1));
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 4), 0);
    cr_assert_eq(clattn__backlog_pick(&backlog, 0, chosen, 4), 1, "another lane can have it");
    cr_assert_eq(chosen[0], &job[0]);
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 4), 1);
    cr_assert_eq(chosen[0], &job[0], "it is looked at anew");
    cr_assert(!clattn__backlog_block(&job[0], 1), "that was known");
    clattn__backlog_look(&backlog, 1);
    clattn__backlog_look(&backlog, 1);
    cr_assert(clattn__backlog_block(&job[0], 1), "it was not blocked in between");
}

/* Jobs by a number that is in their user's set. */
static bool is_in_set(void *user, clattn__job *job)
{
    return (*(const uint64_t *)user >> job->order & 1) != 0;
}

enum { TURNS = 60 };

static clattn__turn begin_turn(clattn__backlog *backlog, uint64_t *set)
{
    clattn__turn turn = {.backlog = backlog, .lane = 1, .is_kept = is_in_set, .user = set};
    clattn__turn_begin(&turn);
    return turn;
}

/* What is kept from the lane doesn't go, neither first nor along with others. */
Test(placement, turns)
{
    static clattn__backlog backlog;
    static clattn__job job[TURNS], *chosen[TURNS];
    uint64_t set = 0;
    clattn__backlog_init(&backlog, 2, 1e6);
    backlog.lane[0].flights = CLATTN__MOST_FLIGHTS; /* nothing is left to it */
    clattn__turn turn = begin_turn(&backlog, &set);
    cr_assert(!clattn__turn_goes_on(&turn), "nothing waits");
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, TURNS), 0);
    for (uint32_t i = 0; i < TURNS; i++) {
        job[i] = (clattn__job){.work = 1, .family = i < 4 ? 1 : 0, .order = i};
        clattn__job_due(&job[i], 1000 + i, 0, UINT64_MAX);
        clattn__backlog_add(&backlog, &job[i]);
    }
    turn = begin_turn(&backlog, &set);
    cr_assert(clattn__turn_goes_on(&turn));
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 2, "its part of four");
    cr_assert(!turn.news && turn.looks == CLATTN__MOST_LOOKS);
    set = 2;
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 1, "the second stays");
    cr_assert(chosen[0] == &job[0] && turn.news && turn.looks == CLATTN__MOST_LOOKS);
    set = 1 | 2;
    turn = begin_turn(&backlog, &set);
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 1);
    cr_assert_eq(chosen[0], &job[2]);
    cr_assert(turn.news && turn.looks == CLATTN__MOST_LOOKS - 2, "of the first of them");
    turn = begin_turn(&backlog, &set);
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 1);
    cr_assert(!turn.news, "those were kept from it before");
    turn.looks = 3;
    set = UINT64_MAX;
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 0, "enough");
    cr_assert_eq(turn.looks, 0);
    set = 0;
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 0);
    turn = begin_turn(&backlog, &set);
    backlog.lane[1].flights = CLATTN__MOST_FLIGHTS;
    cr_assert(clattn__turn_goes_on(&turn), "for what shares no launches");
    cr_assert_eq(clattn__turn_next(&turn, 0, chosen, 3), 0, "what is due first has no room");
}

/* Work is left to a lane that has it done clearly earlier, but not to one that can't have it. */
Test(placement, nothing_is_left_to_a_lane_that_is_blocked)
{
    static clattn__backlog backlog;
    clattn__job job = {.work = 1e5}, *chosen[1];
    clattn__backlog_init(&backlog, 2, 1e6);
    backlog.lane[0].speed = 10;
    clattn__job_due(&job, 1000, 0, UINT64_MAX);
    clattn__backlog_add(&backlog, &job);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 0, "the other is ten times as fast");
    clattn__backlog_block(&job, 0);
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 1);
}

static uint32_t count_left(const clattn__job *job, uint32_t count, uint32_t lane)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++)
        left += job[i].left >> lane & 1;
    return left;
}

/* A look for work is short, whatever waits: after some that are left to another lane nothing is
 * considered but what is bound to this lane, or at home on it. */
Test(placement, few_are_left_to_others)
{
    enum { N = 3 * CLATTN__MOST_LEFT };
    static clattn__backlog backlog;
    static clattn__job job[N];
    clattn__job *chosen[1];
    clattn__backlog_init(&backlog, 2, 1e6);
    backlog.lane[0].speed = 1e3;
    for (uint32_t i = 0; i < N; i++) {
        job[i].work = 1000;
        clattn__job_due(&job[i], 1000 + i, 0, UINT64_MAX);
        clattn__backlog_add(&backlog, &job[i]);
    }
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 0);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 0, "nothing has changed");
    cr_assert_eq(count_left(job, N, 1), CLATTN__MOST_LEFT);
    job[N - 1].lane = 1; /* it has begun there */
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 1);
    cr_assert_eq(chosen[0], &job[N - 1]);
    cr_assert_eq(clattn__backlog_pick(&backlog, 0, chosen, 1), 1, "each lane counts its own");
    cr_assert_eq(chosen[0], &job[0]);
    backlog.lane[0].flights = CLATTN__MOST_FLIGHTS;
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 1);
    cr_assert_eq(chosen[0], &job[0], "it is considered anew");
}

/* Of what is at home on it, a lane leaves as many again. */
Test(placement, home_is_left_last)
{
    enum { N = 3 * CLATTN__MOST_LEFT };
    static clattn__backlog backlog;
    static clattn__job job[N + 1];
    clattn__head_range range;
    clattn__job *chosen[1];
    clattn__backlog_init(&backlog, 2, 1e6);
    backlog.lane[0].speed = 1e3;
    for (uint32_t i = 0; i < N; i++) {
        job[i].work = 1000;
        clattn__job_due(&job[i], 1000 + i, 0, UINT64_MAX);
        clattn__backlog_add(&backlog, &job[i]);
    }
    clattn__job_due(&job[N], 5000000, 0, UINT64_MAX); /* the last, by more than home is worth */
    job[N].work = 1000;
    job[N].moving[0] = 1e6; /* its memory is here */
    add_at_home(&backlog, &job[N], &range, 7, 1);
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 1);
    cr_assert_eq(chosen[0], &job[N]);
    cr_assert_eq(count_left(job, N, 1), CLATTN__MOST_LEFT);
    for (uint32_t i = 0; i < N; i++)
        job[i].home = 1;
    clattn__backlog_look(&backlog, 1);
    cr_assert_eq(clattn__backlog_pick(&backlog, 1, chosen, 1), 0);
    cr_assert_eq(count_left(job, N, 1), 2 * CLATTN__MOST_LEFT, "a look is short all the same");
}

/* How much a launch may be where long ones are ended: by the slower of what was measured. */
Test(placement, ceilings)
{
    clattn__lane_state lane;
    clattn__lane_state_init(&lane);
    cr_assert(clattn__lane_most_work(&lane) > 1e200);
    lane.ceiling_ns = 1e8;
    cr_assert_float_eq(clattn__lane_most_work(&lane), 1e8, 1);
    lane.speed = 4;
    cr_assert_float_eq(clattn__lane_most_work(&lane), 4e8, 1);
    lane.part_speed = 0.5;
    cr_assert_float_eq(clattn__lane_most_work(&lane), 5e7, 1);
    lane.part_speed = 8;
    cr_assert_float_eq(clattn__lane_most_work(&lane), 4e8, 1);
}

/* A long job is launched whole while it is alone; in parts once others came, and for a while. */
Test(placement, parts_while_jobs_meet)
{
    static clattn__backlog backlog;
    clattn__job first = {.work = 1e7}, second = {.work = 1e7};
    const uint64_t now = 5000000;
    clattn__backlog_init(&backlog, 1, 1e6);
    clattn__backlog_arrived(&backlog, &first, now);
    cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, now), 1e7, 1, "it is alone");
    cr_assert_eq(clattn__backlog_pass(&backlog, &first, now), 0);
    clattn__backlog_passed(&backlog, &first, 0);
    clattn__backlog_arrived(&backlog, &second, now + 10);
    clattn__backlog_add(&backlog, &second);
    cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, now + 10), 1e6, 1);
    const uint64_t later = now + 10 + CLATTN__CROWDED_NS;
    cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, later - 1), 1e6, 1);
    cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, later), 1e7, 1);
    backlog.parts = true;
    cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, later), 1e6, 1, "always");
    backlog.launch_ns = 0;
    cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, later), 1e7, 1, "no bound");
}

/* Jobs of one sequence can't have their turn before each other: they don't meet, in flight or
 * waiting; one of another sequence meets all of them, and so do very many. */
Test(placement, followers_do_not_meet)
{
    enum { CHAIN = 18 };
    static clattn__backlog backlog;
    clattn__head_range range[CHAIN + 1];
    clattn__job job[CHAIN + 1];
    const uint64_t now = 5000000;
    for (int i = 0; i <= CHAIN; i++) {
        const uint64_t id = i < CHAIN ? 7 : 8;
        job[i] = (clattn__job){.work = 1e7, .order = 1 + (uint64_t)i, .ranges.range = &range[i]};
        clattn__head_ranges_add(&job[i].ranges, &id, 1, 0, UINT32_MAX);
        clattn__head_ranges_close(&job[i].ranges);
    }
    for (int among = 1; among <= CHAIN; among++) {
        clattn__backlog_init(&backlog, 1, 1e6);
        for (int i = 0; i < among; i++) {
            clattn__backlog_arrived(&backlog, &job[i], now);
            if (i == 0)
                cr_assert_eq(clattn__backlog_pass(&backlog, &job[i], now), 0);
            if (i == 0)
                clattn__backlog_passed(&backlog, &job[i], 0);
            else
                clattn__backlog_add(&backlog, &job[i]);
        }
        const double alone = clattn__backlog_portion(&backlog, 0, 1e7, now);
        cr_assert_float_eq(alone, among <= 17 ? 1e7 : 1e6, 1, "%d jobs", among);
        clattn__backlog_arrived(&backlog, &job[CHAIN], now);
        cr_assert_float_eq(clattn__backlog_portion(&backlog, 0, 1e7, now), 1e6, 1);
    }
}
