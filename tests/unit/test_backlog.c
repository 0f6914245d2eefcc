/* Single decisions of the dispatcher's backlog: whose turn it is, what goes together, and how long
 * work is cut. test_placement.c has those on lanes; test_backlog_loads.c runs it as a whole. */
#include <criterion/criterion.h>
#include <string.h>

#include "schedule/backlog.h"

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
    cr_assert_float_eq(clattn__backlog_share(&backlog, 0, 1e7), 1e6, 1);
    cr_assert_float_eq(clattn__backlog_share(&backlog, 0, 1.4e6), 1.4e6, 1, "not worth dividing");
    backlog.lane[0].part_speed = 0.5;
    cr_assert_float_eq(clattn__backlog_share(&backlog, 0, 1e7), 5e5, 1, "as parts were measured");
    backlog.lane[0].part_speed = 0;
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

/* Short work is fast by its estimate and parts are slow: parts are cut by their own speed, and
 * count in flight for as long as they take. */
Test(backlog, parts_by_their_own_speed)
{
    clattn__backlog backlog;
    clattn__job prefill = {.work = 1e7};
    clattn__backlog_init(&backlog, 1, 1e6);
    clattn__lane_state *lane = &backlog.lane[0];
    for (int i = 0; i < 100; i++) {
        clattn__lane_landed(lane, 3000, 1000, true);
        clattn__lane_part_landed(lane, 1000, 2000);
    }
    cr_assert_float_eq(lane->speed, 3, 1e-6);
    cr_assert_float_eq(lane->part_speed, 0.5, 1e-6);
    cr_assert_float_eq(clattn__backlog_share(&backlog, 0, 1e7), 5e5, 1, "of 20 ms");
    clattn__job_due(&prefill, 1000, 0, UINT64_MAX);
    clattn__backlog_add(&backlog, &prefill);
    const double weight = clattn__backlog_begun(&backlog, &prefill, 0, 5e5, 2000);
    cr_assert_float_eq(clattn__lane_time(lane, 0), 1e6, 1e-3);
    cr_assert(!clattn__backlog_has_room(&backlog, 0, 0));
    clattn__lane_landed(lane, weight, 0, true);
    cr_assert_eq(lane->flying, 0);
    clattn__lane_part_landed(lane, 0, 10);
    clattn__lane_part_landed(lane, 10, 0);
    cr_assert_float_eq(lane->part_speed, 0.5, 1e-6);
}

/* Where launches were of several lately, a second one waits till it is as long as the first, so
 * that what comes meanwhile comes together; elsewhere, and where nothing is in flight, it doesn't.
 */
Test(backlog, company_is_waited_for)
{
    enum { N = 8 };
    const uint64_t now = 7000000;
    clattn__backlog backlog;
    clattn__job job[N], *chosen[N];
    memset(job, 0, sizeof job);
    clattn__backlog_init(&backlog, 1, 1e6);
    clattn__lane_state *lane = &backlog.lane[0];
    for (uint32_t i = 0; i < N; i++) {
        chosen[i] = &job[i];
        job[i].family = 3;
        job[i].work = 1e4;
    }
    lane->flying = 3.5e4;
    clattn__lane_launched(lane, 1, now);
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now), "nobody knows of others");
    for (int i = 0; i < 20; i++) {
        lane->flights = 0;
        clattn__lane_launched(lane, 4, now);
        clattn__lane_launched(lane, 0, now); /* parts say nothing about that */
    }
    lane->flights = 1;
    cr_assert(!clattn__backlog_is_worth(&backlog, 0, chosen, 1, now));
    cr_assert(!clattn__backlog_is_worth(&backlog, 0, chosen, 3, now));
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 4, now), "it is as long");
    cr_assert(!clattn__backlog_is_worth(&backlog, 0, chosen, 1, now + 24999));
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now + 25000), "as what is left");
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now + 900000), "that takes long");
    job[0].work = 1e5;
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now), "long ones need none");
    job[0].work = 1e4;
    cr_assert_eq(clattn__backlog_pass(&backlog, &job[0], now), -1, "nor does it pass the backlog");
    clattn__job_due(&job[0], 1000, 0, 5000);
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now), "it has a deadline");
    clattn__job_due(&job[0], 1000, 0, UINT64_MAX);
    cr_assert(!clattn__backlog_is_worth(&backlog, 0, chosen, 1, now));
    job[0].family = 0;
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now), "it shares with nobody");
    job[0].family = 3;
    lane->flights = 0;
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now));
    for (int i = 0; i < 20; i++)
        clattn__lane_launched(lane, 1, now);
    lane->flights = 1;
    cr_assert(clattn__backlog_is_worth(&backlog, 0, chosen, 1, now), "they have gone");
}
