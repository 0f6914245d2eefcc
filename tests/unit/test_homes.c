/* Where head queues are at home: what is remembered, and how steals are counted. */
#include <criterion/criterion.h>
#include <string.h>

#include "schedule/backlog.h"

/* Sequences first .. last, heads head .. head_end - 1. */
static clattn__head_ranges one_range(clattn__head_range *memory, uint64_t first, uint64_t last,
                                     uint32_t head, uint32_t head_end)
{
    *memory = (clattn__head_range){first, last, head, head_end};
    return (clattn__head_ranges){.range = memory, .count = 1, .least = first, .most = last};
}

Test(homes, all_sequences_of_a_batch)
{
    static clattn__homes homes;
    clattn__head_range memory[2];
    const clattn__head_ranges none = {.range = memory};
    clattn__head_ranges batch = one_range(&memory[0], 100, 163, 0, 8);
    cr_assert_eq(clattn__homes_find(&homes, &batch), -1);
    cr_assert_eq(clattn__homes_set(&homes, &batch, 2), 0, "it was nowhere");
    cr_assert_eq(clattn__homes_find(&homes, &batch), 2);
    cr_assert_eq(clattn__homes_set(&homes, &batch, 2), 0, "it stays");
    for (uint64_t id = 100; id < 164; id++) {
        const clattn__head_ranges one = one_range(&memory[1], id, id, 0, 8);
        cr_assert_eq(clattn__homes_find(&homes, &one), 2, "sequence %d", (int)id);
    }
    const clattn__head_ranges stranger = one_range(&memory[1], 164, 164, 0, 8);
    cr_assert_eq(clattn__homes_find(&homes, &stranger), -1);
    cr_assert_eq(clattn__homes_find(&homes, &none), -1, "id 0 is at home nowhere");
    cr_assert_eq(clattn__homes_set(&homes, &none, 1), 0);
    const clattn__head_ranges some = one_range(&memory[1], 100, 109, 0, 8);
    cr_assert_eq(clattn__homes_set(&homes, &some, 1), 10 * 8);
    cr_assert_eq(clattn__homes_find(&homes, &batch), 2, "where most are");
    cr_assert_eq(clattn__homes_set(&homes, &batch, 0), 64 * 8);
}

/* Heads of one sequence may be on different lanes, and all that it may have count as one. */
Test(homes, heads)
{
    static clattn__homes homes;
    clattn__head_range memory[3];
    const clattn__head_ranges low = one_range(&memory[0], 7, 7, 0, 4);
    const clattn__head_ranges high = one_range(&memory[1], 7, 7, 4, 8);
    const clattn__head_ranges all = one_range(&memory[2], 9, 9, 0, UINT32_MAX);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(clattn__homes_set(&homes, &low, 0), 0);
        cr_assert_eq(clattn__homes_set(&homes, &high, 1), 0);
    }
    cr_assert_eq(clattn__homes_find(&homes, &low), 0);
    cr_assert_eq(clattn__homes_find(&homes, &high), 1);
    clattn__homes_set(&homes, &all, 0);
    cr_assert_eq(clattn__homes_set(&homes, &all, 1), 1);
}

/* The work is bounded: of a batch without end the first sequences are looked at. */
Test(homes, as_many_as_are_looked_at)
{
    static clattn__homes homes;
    clattn__head_range memory[2];
    const clattn__head_ranges endless = one_range(&memory[0], 1, UINT64_MAX, 0, 1);
    clattn__homes_set(&homes, &endless, 3);
    cr_assert_eq(clattn__homes_find(&homes, &endless), 3);
    const uint64_t moved = clattn__homes_set(&homes, &endless, 4);
    cr_assert(moved > CLATTN__MOST_HOMES / 2 && moved <= CLATTN__MOST_HOMES, "%d", (int)moved);
    const clattn__head_ranges later =
        one_range(&memory[1], 1 + CLATTN__MOST_HOMES, 1 + CLATTN__MOST_HOMES, 0, 1);
    cr_assert_eq(clattn__homes_find(&homes, &later), -1);
}

/* Few of as many sequences as a server has are forgotten. */
Test(homes, neighbours_rarely_collide)
{
    static clattn__homes homes;
    clattn__head_range memory;
    uint32_t known = 0;
    for (uint64_t id = 1; id <= CLATTN__HOMES / 2; id++) {
        const clattn__head_ranges one = one_range(&memory, id, id, 0, 1);
        clattn__homes_set(&homes, &one, (int32_t)(id % 4));
    }
    for (uint64_t id = 1; id <= CLATTN__HOMES / 2; id++) {
        const clattn__head_ranges one = one_range(&memory, id, id, 0, 1);
        known += clattn__homes_find(&homes, &one) == (int32_t)(id % 4);
    }
    cr_assert(known > CLATTN__HOMES * 4 / 10, "%u of %u", known, CLATTN__HOMES / 2);
}

/* ---- steals ---------------------------------------------------------------------------------- */

enum { FOLLOWERS = 4 };

typedef struct queue {
    clattn__backlog backlog;
    clattn__head_range range;
    clattn__job job[1 + FOLLOWERS];
} queue;

/* A job of sequence 7, heads 0 and 1, that has run on lane 0, and others that wait. */
static void begin_queue(queue *q)
{
    memset(q, 0, sizeof *q);
    clattn__backlog_init(&q->backlog, 2, 1e6);
    for (int i = 0; i <= FOLLOWERS; i++) {
        q->job[i].ranges = one_range(&q->range, 7, 7, 0, 2);
        q->job[i].work = 1e5;
        clattn__job_due(&q->job[i], 1000 + (uint64_t)i, 0, UINT64_MAX);
        clattn__backlog_add(&q->backlog, &q->job[i]);
        if (i > 0)
            continue;
        clattn__backlog_launched(&q->backlog, &q->job[0], 0);
        clattn__backlog_done(&q->backlog, &q->job[0]);
        clattn__lane_landed(&q->backlog.lane[0], 1e5, 1e5, true);
    }
}

Test(homes, followers_of_a_stolen_head_queue_are_no_steals)
{
    static queue q;
    begin_queue(&q);
    for (int i = 1; i <= FOLLOWERS; i++)
        cr_assert_eq(q.job[i].home, 0);
    for (int i = 1; i <= FOLLOWERS; i++) {
        clattn__backlog_launched(&q.backlog, &q.job[i], 1);
        cr_assert_eq(q.backlog.steals, 2, "two heads, and not those that follow: %d",
                     (int)q.backlog.steals);
        for (int later = i + 1; later <= FOLLOWERS; later++)
            cr_assert_eq(q.job[later].home, 1, "they are at home where it is now");
    }
    for (int i = 1; i <= FOLLOWERS; i++)
        clattn__backlog_done(&q.backlog, &q.job[i]);
    clattn__lane_landed(&q.backlog.lane[1], FOLLOWERS * 1e5, FOLLOWERS * 1e5, true);
    cr_assert_eq(clattn__backlog_pass(&q.backlog, &q.job[0], 0), 1);
    clattn__backlog_passed(&q.backlog, &q.job[0], 0);
    cr_assert_eq(q.backlog.steals, 4, "back again");
}

Test(homes, parts_are_one_steal)
{
    static queue q;
    begin_queue(&q);
    clattn__backlog_begun(&q.backlog, &q.job[1], 1, 1e4, 2000);
    clattn__backlog_begun(&q.backlog, &q.job[1], 1, 1e4, 3000);
    cr_assert_eq(q.backlog.steals, 2);
    clattn__backlog_launched(&q.backlog, &q.job[1], 1);
    cr_assert_eq(q.backlog.steals, 2);
}
