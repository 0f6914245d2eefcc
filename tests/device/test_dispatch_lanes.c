/* Which lane has what: head queues stay where they were, and lanes that have nothing to do take
 * them. Parts of one device, or it twice, stand for devices. */
#include <time.h>

#include "dispatch_rig.h"
#include "failing_cl.h"
#include "own_cl.h"

Test(dispatch_lanes, two_lanes)
{
    heads h;
    clattn_context_options options;
    clattn_dispatcher_options few;
    clattn_event *events[HEADS * 4];
    clattn_context_options_init(&options);
    if (!divides(&options, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    open_heads(&h, &options);
    expect_heads(&h);
    forget_outputs(&h);
    clattn_dispatcher_options_init(&few);
    few.lanes = 3;
    clattn_dispatcher *dispatcher = NULL;
    cr_assert_eq(clattn_dispatcher_create(h.context, &few, &dispatcher), CLATTN_ERR_UNSUPPORTED);
    dispatcher = open_dispatcher(&h, NULL);
    for (int i = 0; i < HEADS * 4; i++)
        events[i] = submit_head(&h, dispatcher, i % HEADS, NULL, 1 + (uint64_t)(i % HEADS));
    cr_assert_eq(clattn_event_wait_all(events, HEADS * 4, UINT64_MAX), CLATTN_OK);
    check_heads(&h);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.lanes, 2);
    cr_assert(made.lane[0].submissions && made.lane[1].submissions, "a lane had nothing to do");
    for (int i = 0; i < HEADS * 4; i++)
        clattn_event_release(events[i]);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* Events that the caller took end after all else: PoCL then looks at the part of the device that
 * its lane was on. meson fills freed memory. */
Test(dispatch_lanes, events_outlive_lanes)
{
    heads h;
    own_cl cl;
    cl_event done[HEADS];
    clattn_context_options options;
    clattn_context_options_init(&options);
    if (!divides(&options, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    own_cl_open(&cl);
    open_heads(&h, &options);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (int i = 0; i < HEADS; i++) {
        clattn_event *event = submit_head(&h, dispatcher, i, NULL, 1 + (uint64_t)i);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        cr_assert_eq(clattn_event_get_cl(event, &done[i]), CLATTN_OK);
        clattn_event_release(event);
    }
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
    for (int i = 0; i < HEADS; i++)
        cr_assert_eq(cl.clReleaseEvent(done[i]), CL_SUCCESS);
    own_cl_close(&cl);
}

/* Buffers live longer than a dispatcher, and PoCL has the last event of each: its end waits for
 * nothing, and no part is left behind. */
Test(dispatch_lanes, buffers_outlive_lanes)
{
    heads h;
    if (!open_parts(&h, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    for (int round = 0; round < 3; round++) {
        clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
        for (int i = 0; i < HEADS; i++)
            clattn_event_release(submit_head(&h, dispatcher, i, NULL, 1 + (uint64_t)i));
        cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
        clattn_dispatcher_destroy(dispatcher);
    }
    check_heads(&h);
    close_heads(&h);
    cr_assert_eq(failing_cl_abandoned(), 0);
}

/* ---- homes ----------------------------------------------------------------------------------- */

/* The lane that has ended some submission. */
static uint32_t lane_with_work(clattn_dispatcher *dispatcher)
{
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    return made.lane[0].submissions ? 0 : 1;
}

/* Two lanes are full, and the one that a sequence isn't at home on is free first: it takes all that
 * waits of the sequence, which is one head queue. */
Test(dispatch_lanes, followers_of_a_stolen_head_queue_are_no_steals)
{
    enum { FOLLOWERS = 5 };
    heads h;
    blocker b[2] = {{0}};
    clattn_event *events[1 + FOLLOWERS];
    if (!open_parts(&h, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    events[0] = submit_head(&h, dispatcher, 1, NULL, 7);
    cr_assert_eq(clattn_event_wait(events[0], UINT64_MAX), CLATTN_OK);
    const uint32_t home = lane_with_work(dispatcher);
    failing_cl_hold(first);
    failing_cl_hold(first + 1);
    for (int i = 0; i < 2; i++)
        block(&h, dispatcher, &b[i], 3000);
    for (int i = 1; i <= FOLLOWERS; i++)
        events[i] = submit_head(&h, dispatcher, 1 + i, NULL, 7);
    cr_assert(statistics_of(dispatcher).waiting >= FOLLOWERS, "a lane has room");
    failing_cl_release(first + 1 - home);
    cr_assert_eq(clattn_event_wait_all(events, 1 + FOLLOWERS, UINT64_MAX), CLATTN_OK, "%s",
                 clattn_error_message());
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.steals, 1, "%d steals", (int)made.steals);
    cr_assert(made.lane[1 - home].submissions >= FOLLOWERS, "they ran at home");
    failing_cl_release(first + home);
    for (int i = 0; i < 2; i++)
        unblock(&b[i]);
    for (int i = 0; i <= FOLLOWERS; i++)
        clattn_event_release(events[i]);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- memory of which lanes have copies ------------------------------------------------------- */

/* The first device twice, of which the second one has memory of its own. */
static void open_copies(heads *h)
{
    clattn_context_options options;
    failing_cl_options(&options);
    options.device = "0+0";
    failing_cl_separate(4);
    open_heads(h, &options);
    cr_assert_eq(clattn_context_device_count(h->context), 2);
}

/* Until so many are held back, which the lanes' threads see to. */
static void await_waiting(clattn_dispatcher *dispatcher, uint64_t waiting)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    uint64_t found = statistics_of(dispatcher).waiting;
    for (int i = 0; i < 10000 && found != waiting; i++) {
        nanosleep(&moment, NULL);
        found = statistics_of(dispatcher).waiting;
    }
    cr_assert_eq(found, waiting, "%d wait", (int)found);
}

/* What would have to be sent to a lane is part of what that costs: a long submission goes behind a
 * short one on the lane that has all memory, and not to the other, which has nothing to do. */
Test(dispatch_lanes, what_must_be_moved_counts)
{
    heads h;
    blocker b = {0};
    open_copies(&h);
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    failing_cl_hold(first);
    clattn_event *before = submit_head(&h, dispatcher, 1, NULL, 0);
    block(&h, dispatcher, &b, 200);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.lane[0].in_flight, 2);
    cr_assert_eq(made.lane[1].in_flight, 0);
    failing_cl_release(first);
    cr_assert_eq(clattn_event_wait(before, UINT64_MAX), CLATTN_OK);
    clattn_event_release(before);
    unblock(&b);
    cr_assert_eq(statistics_of(dispatcher).bytes_moved, 0);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* What writes where something on another lane does waits for that; what is due later doesn't. */
Test(dispatch_lanes, a_conflict_keeps_nobody_else_waiting)
{
    enum { SAME = 4 };
    heads h;
    clattn_event *same[SAME];
    open_copies(&h);
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    failing_cl_hold(first);
    for (int i = 0; i < SAME; i++) /* as many as share launches at most fly, the others wait */
        same[i] = submit_head(&h, dispatcher, 1, NULL, 0);
    await_waiting(dispatcher, SAME - 2);
    cr_assert_eq(statistics_of(dispatcher).lane[1].submissions, 0, "two devices on one memory");
    clattn_event *other = submit_head(&h, dispatcher, 3, NULL, 0);
    cr_assert_eq(clattn_event_wait(other, 10000000000), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_event_poll(same[SAME - 1]), CLATTN_PENDING);
    failing_cl_release(first);
    cr_assert_eq(clattn_event_wait_all(same, SAME, UINT64_MAX), CLATTN_OK, "%s",
                 clattn_error_message());
    for (int i = 0; i < SAME; i++)
        clattn_event_release(same[i]);
    clattn_event_release(other);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* One query to the first of many keys, which are shared: `memory` is keys, then values. */
enum { MANY = 65536, MANY_DIM = 64 };

static clattn_event *submit_many(clattn_dispatcher *dispatcher, const clattn_plan *plan,
                                 clattn_buffer *memory, clattn_buffer *own, uint64_t sequence)
{
    const uint64_t row = MANY_DIM * sizeof(float);
    const int32_t length = 16;
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_Q, .buffer = own},
        {.slot = CLATTN_SLOT_K, .buffer = memory},
        {.slot = CLATTN_SLOT_V, .buffer = memory, .offset = row * MANY},
        {.slot = CLATTN_SLOT_OUT, .buffer = own, .offset = row},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &length},
    };
    const clattn_step step = {
        .plan = plan, .bindings = bindings, .binding_count = 5, .sequences = &sequence};
    clattn_submission submission;
    clattn_event *event = NULL;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &submission, &event), CLATTN_OK, "%s",
                 clattn_error_message());
    return event;
}

static clattn_plan *plan_many(const heads *h)
{
    clattn_attention_desc desc;
    clattn_plan *plan = NULL;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
    desc.n_kv = MANY;
    desc.head_dim = desc.value_dim = MANY_DIM;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    cr_assert_eq(clattn_plan_attention(h->context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    return plan;
}

static clattn_buffer *make_buffer(const heads *h, uint64_t size)
{
    clattn_buffer *buffer = NULL;
    cr_assert_eq(clattn_buffer_create(h->context, size, &buffer), CLATTN_OK);
    return buffer;
}

/* Keys that would take long to send keep one submission from the lane with a copy. Once another one
 * has had them sent there, which is bound to it by its sequence, they keep nobody any more. */
Test(dispatch_lanes, what_another_one_had_sent_counts)
{
    const uint64_t row = MANY_DIM * sizeof(float);
    heads h;
    blocker b = {0};
    open_copies(&h);
    clattn_plan *plan = plan_many(&h);
    clattn_buffer *keys = make_buffer(&h, 2 * row * MANY);
    clattn_buffer *own[2] = {make_buffer(&h, 2 * row), make_buffer(&h, 2 * row)};
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    failing_cl_hold(first);
    failing_cl_hold(first + 1);
    block(&h, dispatcher, &b, 400); /* it keeps the lane that has all memory */
    clattn_event *before = submit_head(&h, dispatcher, 1, NULL, 7);
    clattn_event *kept = submit_many(dispatcher, plan, keys, own[0], 0);
    await_waiting(dispatcher, 1);
    clattn_event *sender = submit_many(dispatcher, plan, keys, own[1], 7);
    cr_assert_eq(statistics_of(dispatcher).lane[1].in_flight, 2);
    cr_assert(statistics_of(dispatcher).bytes_moved > row * MANY);
    failing_cl_release(first + 1);
    cr_assert_eq(clattn_event_wait(kept, 10000000000), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(statistics_of(dispatcher).lane[1].submissions, 3);
    failing_cl_release(first);
    unblock(&b);
    cr_assert_eq(clattn_event_wait(before, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(sender, UINT64_MAX), CLATTN_OK);
    clattn_event_release(before);
    clattn_event_release(kept);
    clattn_event_release(sender);
    clattn_dispatcher_destroy(dispatcher);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(clattn_buffer_destroy(own[i]), CLATTN_OK);
    cr_assert_eq(clattn_buffer_destroy(keys), CLATTN_OK);
    clattn_plan_destroy(plan);
    close_heads(&h);
}

/* Keys and values that all steps share have to be sent once: the lane with a copy has that done,
 * and the steps, before the other one is through with what it has. */
Test(dispatch_lanes, what_steps_share_is_sent_once)
{
    heads h;
    blocker b = {0};
    head_step of[HEADS];
    clattn_step steps[HEADS];
    clattn_submission submission;
    open_copies(&h);
    const uint32_t first = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    failing_cl_hold(first);
    block(&h, dispatcher, &b, 100); /* about 0.11 ms, by the estimate */
    cr_assert_eq(statistics_of(dispatcher).lane[0].in_flight, 1);
    memset(of, 0, sizeof of);
    for (int head = 0; head < HEADS; head++) {
        steps[head] = step_of(&h, head, &of[head]);
        of[head].bindings[1].offset = of[head].bindings[2].offset = 0; /* 9 us at 10 GB/s */
    }
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = HEADS;
    cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(statistics_of(dispatcher).lane[1].submissions, 1);
    failing_cl_release(first);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}
