/* Sets of bytes as intervals, against the definition: a flag for each byte. */
#include <criterion/criterion.h>
#include <string.h>

#include "opencl/intervals.h"

enum { BYTES = 4096 };

static uint64_t random_state = 3;

static uint64_t below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

static void check_form(const clattn__intervals *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        cr_assert(set->of[i].begin < set->of[i].end);
        cr_assert(i == 0 || set->of[i - 1].end < set->of[i].begin, "they meet or touch");
    }
}

/* `exact`: no interval was forgotten, and so gaps are what the flags say. */
static void check_gaps(const clattn__intervals *set, const bool *has, bool exact)
{
    uint64_t begin = below(BYTES), gap_begin, gap_end;
    const uint64_t end = begin + below(BYTES - begin + 1);
    while (clattn__intervals_gap(set, begin, end, &gap_begin, &gap_end)) {
        cr_assert(begin <= gap_begin && gap_begin < gap_end && gap_end <= end);
        for (uint64_t at = begin; at < gap_begin; at++)
            cr_assert(has[at], "byte %d isn't there", (int)at);
        for (uint64_t at = gap_begin; exact && at < gap_end; at++)
            cr_assert(!has[at], "byte %d is there", (int)at);
        begin = gap_end;
    }
    for (uint64_t at = begin; at < end; at++)
        cr_assert(has[at]);
}

/* With short intervals there are too many of them, and some are forgotten: never is a byte said to
 * be there that isn't. */
static void play(uint64_t longest, bool exact)
{
    static bool has[BYTES];
    clattn__intervals set = {.count = 0};
    memset(has, 0, sizeof has);
    for (int turn = 0; turn < 5000; turn++) {
        const uint64_t begin = below(BYTES), size = below(longest);
        const uint64_t end = begin + size < BYTES ? begin + size : BYTES;
        const bool add = below(2);
        (add ? clattn__intervals_add : clattn__intervals_remove)(&set, begin, end);
        if (begin < end)
            memset(has + begin, add, (size_t)(end - begin));
        check_form(&set);
        check_gaps(&set, has, exact);
    }
}

Test(intervals, few_and_long)
{
    play(BYTES / 4, true);
}

Test(intervals, many_and_short)
{
    play(12, false);
    play(40, false);
}

Test(intervals, borders)
{
    clattn__intervals set = {.count = 0};
    uint64_t begin, end;
    clattn__intervals_add(&set, 5, 5);
    cr_assert_eq(set.count, 0);
    clattn__intervals_add(&set, 0, UINT64_MAX);
    cr_assert_not(clattn__intervals_gap(&set, 0, UINT64_MAX, &begin, &end));
    clattn__intervals_remove(&set, 7, 7);
    cr_assert_eq(set.count, 1);
    clattn__intervals_remove(&set, 7, 8);
    cr_assert_eq(set.count, 2);
    cr_assert(clattn__intervals_gap(&set, 0, 100, &begin, &end));
    cr_assert(begin == 7 && end == 8);
    clattn__intervals_add(&set, 7, 8);
    cr_assert_eq(set.count, 1, "they touch");
}
