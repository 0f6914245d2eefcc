/* Lanes are lost while they work: what they had goes on elsewhere, where that is possible, with the
 * same results; else it fails, and nothing but that. Parts of one device stand for devices. */
#include <stdbool.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

enum { LANES = 2 };

static void check_end(const heads *h, clattn_dispatcher *dispatcher, uint64_t lost)
{
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    clattn_device_info info = {.struct_size = sizeof info};
    check_heads(h);
    cr_assert_eq(made.lost, lost, "lost: %d", (int)made.lost);
    cr_assert_eq(made.failed, 0);
    cr_assert_eq(made.finished, made.submissions);
    cr_assert_eq(made.waiting, 0);
    cr_assert_eq(clattn_context_device_info(h->context, &info), CLATTN_OK);
    cr_assert_eq(info.lost, lost != 0);
}

/* Each head several times in a sequence of its own, so that there is order to keep. */
static void lose_while_busy(failing_cl_way way, uint32_t lane, uint64_t expected)
{
    enum { TIMES = 12 };
    heads h;
    clattn_event *events[HEADS * TIMES];
    if (!open_parts(&h, LANES))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (int i = 0; i < HEADS * TIMES; i++) {
        if (i == HEADS * TIMES / 3)
            failing_cl_lose(first + lane, way);
        events[i] = submit_head(&h, dispatcher, i % HEADS, NULL, 1 + (uint64_t)(i % HEADS));
    }
    cr_assert_eq(clattn_event_wait_all(events, HEADS * TIMES, UINT64_MAX), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK, "%s", clattn_error_message());
    check_end(&h, dispatcher, expected);
    for (int i = 0; i < HEADS * TIMES; i++)
        clattn_event_release(events[i]);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch_lost, a_lane_refuses_everything)
{
    lose_while_busy(FAILING_CL_REFUSES, 0, 1);
}

Test(dispatch_lost, a_lane_ends_everything_badly)
{
    lose_while_busy(FAILING_CL_ENDS_BADLY, 1, 2);
}

Test(dispatch_lost, a_lane_fails_once)
{
    lose_while_busy(FAILING_CL_ONCE, 1, 0);
}

/* A long submission, one that follows it in its sequence and one that waits for it. */
Test(dispatch_lost, followers_and_waiters_begin_again_too)
{
    heads h;
    blocker b = {0};
    clattn_submission waiting;
    if (!open_parts(&h, LANES))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    const uint32_t lane = lane_in_flight(dispatcher);
    clattn_submission_init(&waiting);
    waiting.wait = &b.event;
    waiting.wait_count = 1;
    clattn_event *events[HEADS];
    for (int i = 0; i < HEADS; i++)
        events[i] = submit_head(&h, dispatcher, i, i % 2 ? &waiting : NULL, 1 + (uint64_t)i % 5);
    failing_cl_lose(first + lane, FAILING_CL_REFUSES);
    cr_assert_eq(clattn_event_wait_all(events, HEADS, UINT64_MAX), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_event_poll(b.event), CLATTN_OK, "%s", clattn_event_message(b.event));
    cr_assert(statistics_of(dispatcher).moved >= 1);
    check_end(&h, dispatcher, (uint64_t)1 << lane);
    for (int i = 0; i < HEADS; i++)
        clattn_event_release(events[i]);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* What waits on a good lane for something on one that is lost isn't done before that has begun
 * again, however its own marker ended, and ends as that does. */
static void lose_before_waiters(void)
{
    enum { WAITERS = 4 };
    heads h;
    blocker shorter = {0}, longer = {0};
    clattn_submission waiting;
    clattn_event *events[WAITERS];
    if (!open_parts(&h, LANES))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &shorter, 200);
    const uint32_t lane = 1 - lane_in_flight(dispatcher);
    block(&h, dispatcher, &longer, 2000);
    clattn_submission_init(&waiting);
    waiting.wait = &longer.event;
    waiting.wait_count = 1;
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(clattn_submit(dispatcher, &waiting, &events[i]), CLATTN_OK);
    failing_cl_lose(first + lane, FAILING_CL_ENDS_BADLY);
    for (int i = 0; i < WAITERS; i++) {
        cr_assert_eq(clattn_event_wait(events[i], UINT64_MAX), CLATTN_OK, "waiter %d: %s", i,
                     clattn_error_message());
        cr_assert_eq(clattn_event_poll(longer.event), CLATTN_OK, "waiter %d was done first", i);
        clattn_event_release(events[i]);
    }
    cr_assert_eq(statistics_of(dispatcher).lost, (uint64_t)1 << lane);
    cr_assert_eq(statistics_of(dispatcher).failed, 0);
    unblock(&shorter);
    unblock(&longer);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch_lost, a_waiter_on_another_lane_is_not_done_first)
{
    for (int i = 0; i < 3; i++) /* which lane is looked at first isn't the test's */
        lose_before_waiters();
}

/* One of which parts have run begins again from its beginning. */
Test(dispatch_lost, a_submission_that_goes_in_parts)
{
    heads h;
    blocker b = {0};
    clattn_dispatcher_options options;
    if (!open_parts(&h, LANES))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    clattn_dispatcher_options_init(&options);
    options.launch_ns = 1000000;
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, &options);
    block(&h, dispatcher, &b, 2000);
    float before[64], after[64];
    clattn_dispatcher_statistics made = statistics_of(dispatcher);
    while (made.lane[0].launches + made.lane[1].launches < 3)
        made = statistics_of(dispatcher);
    const uint32_t lane = made.lane[0].launches ? 0 : 1;
    failing_cl_lose(first + lane, FAILING_CL_REFUSES);
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_OK, "%s", clattn_error_message());
    made = statistics_of(dispatcher);
    cr_assert_eq(made.lost, (uint64_t)1 << lane);
    cr_assert_eq(made.moved, 1);
    const uint64_t out = 3 * (uint64_t)4 * 64 * 2000 * sizeof(float);
    cr_assert_eq(clattn_buffer_read(b.memory, out, before, sizeof before), CLATTN_OK);
    clattn_event_release(b.event);
    clattn_plan_destroy(b.plan);
    block(&h, dispatcher, &b, 2000); /* on the other lane from the beginning */
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(b.memory, out, after, sizeof after), CLATTN_OK);
    cr_assert_eq(memcmp(before, after, sizeof after), 0);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* What overwrites its own input can't be done twice: it fails, and nobody else. */
Test(dispatch_lost, what_overwrites_its_input_fails)
{
    heads h;
    blocker b = {0};
    head_step of[2];
    clattn_step steps[2];
    clattn_submission submission;
    clattn_event *event;
    if (!open_parts(&h, LANES))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    const uint32_t lane = lane_in_flight(dispatcher);
    memset(of, 0, sizeof of);
    steps[0] = step_of(&h, 1, &of[0]);
    steps[1] = step_of(&h, 2, &of[1]);
    of[0].sequence = of[1].sequence = 77;
    of[1].bindings[3] = of[0].bindings[0]; /* the second step's OUT is the first one's Q */
    of[1].bindings[3].slot = CLATTN_SLOT_OUT;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = 2;
    submission.wait = &b.event; /* to be on its lane, behind it */
    submission.wait_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &submission, &event), CLATTN_OK);
    clattn_event *other = submit_head(&h, dispatcher, 3, NULL, 5);
    failing_cl_lose(first + lane, FAILING_CL_ENDS_BADLY);
    const clattn_status status = clattn_event_wait(event, UINT64_MAX);
    /* it may not have been launched yet, and then nothing is lost */
    cr_assert(status == CLATTN_OK || status == CLATTN_ERR_DEVICE_LOST, "%s",
              clattn_status_string(status));
    cr_assert_eq(clattn_event_wait(other, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(event);
    clattn_event_release(other);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* No lane is left: everything fails with a sentence, the context stays usable, and once the device
 * answers again a new dispatcher works. */
Test(dispatch_lost, all_lanes)
{
    heads h;
    blocker b = {0};
    clattn_event *events[HEADS];
    clattn_context_options options;
    clattn_device_info info = {.struct_size = sizeof info};
    failing_cl_options(&options);
    open_heads(&h, &options);
    expect_heads(&h);
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    for (int head = 0; head < HEADS; head++)
        events[head] = submit_head(&h, dispatcher, head, NULL, 1 + (uint64_t)head);
    failing_cl_lose(first, FAILING_CL_REFUSES);
    for (int head = 0; head < HEADS; head++) {
        cr_assert_eq(clattn_event_wait(events[head], UINT64_MAX), CLATTN_ERR_DEVICE_LOST);
        cr_assert_str_not_empty(clattn_event_message(events[head]));
        clattn_event_release(events[head]);
    }
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_ERR_DEVICE_LOST);
    clattn_event_release(b.event);
    clattn_plan_destroy(b.plan);
    head_step of;
    of.sequence = 0;
    const clattn_step step = step_of(&h, 1, &of);
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_ERR_DEVICE_LOST);
    cr_assert(strstr(clattn_error_message(), "no lane"), "%s", clattn_error_message());
    cr_assert_eq(statistics_of(dispatcher).lost, 1);
    cr_assert_eq(clattn_context_device_info(h.context, &info), CLATTN_OK);
    cr_assert_eq(info.lost, 1);
    clattn_dispatcher_destroy(dispatcher);
    dispatcher = open_dispatcher(&h, NULL); /* on a new queue, which is well */
    cr_assert_eq(clattn_context_device_info(h.context, &info), CLATTN_OK);
    cr_assert_eq(info.lost, 0);
    for (int head = 0; head < HEADS; head++) {
        clattn_event *event = submit_head(&h, dispatcher, head, NULL, 0);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        clattn_event_release(event);
    }
    check_heads(&h);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(clattn_buffer_destroy(b.memory), CLATTN_OK);
    close_heads(&h);
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_lost_a_lane_refuses_everything();
    dispatch_lost_a_lane_ends_everything_badly();
    dispatch_lost_a_lane_fails_once();
    dispatch_lost_followers_and_waiters_begin_again_too();
    dispatch_lost_a_waiter_on_another_lane_is_not_done_first();
    dispatch_lost_a_submission_that_goes_in_parts();
    dispatch_lost_what_overwrites_its_input_fails();
    dispatch_lost_all_lanes();
    return 0;
}
#endif
