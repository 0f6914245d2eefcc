/* The file of a dispatcher's trace: every device has a clock of its own. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch/trace.h"

/* When the span that begins with submission `number` begins in the file, us; -1: it isn't there. */
static double time_of(const char *text, int number)
{
    char name[32];
    snprintf(name, sizeof name, "of #%d\"", number);
    const char *at = strstr(text, name), *time = NULL;
    if (!at)
        return -1;
    for (const char *next = strstr(text, "\"ts\":"); next && next < at;
         next = strstr(next + 1, "\"ts\":"))
        time = next;
    return time ? strtod(time + 5, NULL) : -1;
}

/* Lane 1 counts from its device's start, lane 0 from the host's: what ran at the same time is side
 * by side. The smallest difference counts, because the others have been seen later. */
Test(trace, every_lane_has_its_clock)
{
    clattn__env env;
    clattn__trace trace;
    clattn__text text;
    const uint64_t late = 7000000; /* lane 1's clock is so much behind */
    cr_assert_eq(clattn__env_init(&env, NULL), CLATTN_OK);
    cr_assert_eq(clattn__trace_init(&trace, &env, 3), CLATTN_OK);
    for (uint64_t i = 0; i < 4; i++) { /* the first falls out of the ring */
        const uint64_t began = 10000000 + i * 100000, lane = i % 2;
        const clattn__trace_span span = {.began = began - lane * late,
                                         .ended = began + 50000 - lane * late,
                                         .number = i,
                                         .lane = (uint32_t)lane,
                                         .entries = 1};
        clattn__trace_add(&trace, &span, began + 50000 + (i < 2 ? 2000 : 0));
    }
    clattn__text_init(&text, &env);
    clattn__trace_write(&trace, &text);
    cr_assert_eq(clattn__text_status(&text), CLATTN_OK);
    cr_expect_float_eq(time_of(clattn__text_get(&text), 1), 10100, 1e-6);
    cr_expect_float_eq(time_of(clattn__text_get(&text), 2), 10200, 1e-6);
    cr_expect_float_eq(time_of(clattn__text_get(&text), 3), 10300, 1e-6);
    cr_expect_float_eq(time_of(clattn__text_get(&text), 0), -1, 0);
    cr_expect(strstr(clattn__text_get(&text), "lane 1"));
    clattn__text_finish(&text);
    clattn__trace_finish(&trace);
    clattn__env_finish(&env);
}
