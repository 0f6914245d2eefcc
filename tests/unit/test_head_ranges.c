/* Head queues as intervals of sequences and heads. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "schedule/head_ranges.h"

static uint64_t random_state;

static uint32_t below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

static clattn__head_ranges ranges_of(clattn__head_range *memory, const uint64_t *ids,
                                     uint64_t count, uint32_t head, uint32_t head_end)
{
    clattn__head_ranges ranges = {.range = memory};
    clattn__head_ranges_add(&ranges, ids, count, head, head_end);
    clattn__head_ranges_close(&ranges);
    return ranges;
}

Test(head_ranges, neighbouring_sequences_are_one_interval)
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

/* Whatever the order in which they came, and however qsort() treats equals. */
Test(head_ranges, order_of_intervals)
{
    static const clattn__head_range expected[] = {
        {3, 3, 7, 9}, {5, 5, 0, 1}, {5, 5, 0, 2}, {5, 6, 0, 2}, {5, 5, 4, 6}};
    enum { N = sizeof expected / sizeof expected[0] };
    for (int begin = 0; begin < N; begin++)
        for (int stride = 1; stride < N; stride++) {
            clattn__head_range memory[N];
            clattn__head_ranges ranges = {.range = memory, .count = N};
            for (int i = 0; i < N; i++)
                memory[i] = expected[(begin + i * stride) % N];
            clattn__head_ranges_close(&ranges);
            for (int i = 0; i < N; i++)
                cr_assert(memory[i].last == expected[i].last &&
                              memory[i].head == expected[i].head &&
                              memory[i].head_end == expected[i].head_end,
                          "%d of those from %d on, every %d.", i, begin, stride);
        }
}

enum { SETS = 12, IDS = 24 };

/* Against the definition: a table of which head queues each set has. */
Test(head_ranges, ranges_meet_where_a_head_queue_is_in_both)
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
