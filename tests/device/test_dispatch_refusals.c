/* OpenCL refuses single launches: of a launch that many share, and in the middle of a submission.
 * Nobody fails but those whose own commands were refused, their followers, and those who wait. */
#include "dispatch_rig.h"
#include "failing_cl.h"

static const uint64_t first_sequence = 100; /* sequence of head 0; the others follow */

static void open_failing(heads *h)
{
    clattn_context_options options;
    failing_cl_options(&options);
    open_heads(h, &options);
    expect_heads(h);
    forget_outputs(h);
}

static void settle_all(clattn_event **events, int count)
{
    for (int i = 0; i < count; i++)
        clattn_event_release(events[i]);
}

/* All heads wait behind a long submission, then share launches, of which `refused` are refused. */
static void submit_shared(heads *h, clattn_dispatcher *dispatcher, blocker *b, uint64_t refused,
                          clattn_event **events)
{
    block(h, dispatcher, b, 3000);
    for (int head = 0; head < HEADS; head++)
        events[head] = submit_head(h, dispatcher, head, NULL, first_sequence + (uint64_t)head);
    failing_cl_refuse(refused);
}

/* A launch of all: once refused it is made for each, the first kernel of a plan or a later one. */
static void refuse_shared(uint64_t refused)
{
    heads h;
    blocker b = {0};
    clattn_event *events[HEADS];
    open_failing(&h);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    submit_shared(&h, dispatcher, &b, refused, events);
    cr_assert_eq(clattn_event_wait_all(events, HEADS, UINT64_MAX), CLATTN_OK, "%s",
                 clattn_error_message());
    check_heads(&h);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.failed, 0);
    cr_assert_eq(made.finished, HEADS + 1);
    cr_assert(failing_cl_asked() > HEADS, "nothing was shared, or nothing was refused");
    settle_all(events, HEADS);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch_refusals, the_first_launch_that_is_shared)
{
    refuse_shared(1);
}

Test(dispatch_refusals, a_later_launch_that_is_shared)
{
    refuse_shared(2);
}

/* One is refused alone as well: it fails, with its follower and who waits for it. */
Test(dispatch_refusals, one_of_those_that_shared)
{
    enum { VICTIM = 4 };
    heads h;
    blocker b = {0};
    clattn_submission waiting;
    clattn_event *events[HEADS], *follower, *waiter, *stranger;
    open_failing(&h);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    submit_shared(&h, dispatcher, &b, 0, events);
    clattn_submission_init(&waiting);
    waiting.wait = &events[VICTIM];
    waiting.wait_count = 1;
    waiter = submit_head(&h, dispatcher, VICTIM, &waiting, 0);
    follower = submit_head(&h, dispatcher, VICTIM, NULL, first_sequence + VICTIM);
    waiting.wait = &events[VICTIM + 1];
    stranger = submit_head(&h, dispatcher, VICTIM + 1, &waiting, 0);
    failing_cl_refuse(1u | 2u << VICTIM); /* the one of all, and then the victim's */
    const clattn_status all = clattn_event_wait_all(events, HEADS, UINT64_MAX);
    cr_assert_eq(all, CLATTN_ERR_OPENCL, "%s", clattn_status_string(all));
    for (int head = 0; head < HEADS; head++)
        cr_assert_eq(clattn_event_poll(events[head]),
                     head == VICTIM ? CLATTN_ERR_OPENCL : CLATTN_OK, "head %d: %s", head,
                     clattn_event_message(events[head]));
    cr_assert_eq(clattn_event_wait(waiter, UINT64_MAX), CLATTN_ERR_OPENCL);
    cr_assert_eq(clattn_event_wait(follower, UINT64_MAX), CLATTN_ERR_OPENCL);
    cr_assert(strstr(clattn_event_message(follower), "sequence"), "%s",
              clattn_event_message(follower));
    cr_assert_eq(clattn_event_wait(stranger, UINT64_MAX), CLATTN_OK);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.failed, 3);
    cr_assert_eq(made.finished, HEADS + 1); /* the blocker and the stranger, but for the victim */
    /* all but the victim's rows are there */
    clattn_event *again = submit_head(&h, dispatcher, VICTIM, NULL, first_sequence + VICTIM);
    cr_assert_eq(clattn_event_wait(again, UINT64_MAX), CLATTN_OK, "the sequence itself is well");
    check_heads(&h);
    clattn_event *others[] = {waiter, follower, stranger, again};
    settle_all(others, 4);
    settle_all(events, HEADS);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- in the middle of a submission ----------------------------------------------------------- */

/* Two steps: the second reads what the first one writes. */
static clattn_status submit_two(const heads *h, clattn_dispatcher *dispatcher, clattn_event **event)
{
    head_step of[2];
    clattn_step steps[2];
    clattn_submission submission;
    for (int i = 0; i < 2; i++) {
        of[i].sequence = first_sequence;
        steps[i] = step_of(h, 1 + 11 * i, &of[i]); /* 700 keys: more than one kernel a step */
    }
    of[1].bindings[0].buffer = h->out;
    of[1].bindings[0].offset = of[0].bindings[3].offset;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = 2;
    return clattn_submit(dispatcher, &submission, event);
}

static bool is_forgotten(const heads *h, int head)
{
    float found[DIM], nothing[DIM];
    memset(nothing, 0xff, sizeof nothing);
    cr_assert_eq(clattn_buffer_read(h->out, (uint64_t)head * sizeof found, found, sizeof found),
                 CLATTN_OK);
    return memcmp(found, nothing, sizeof found) == 0;
}

/* Kernels of those two steps. */
static uint32_t count_launches(const heads *h, clattn_dispatcher *dispatcher)
{
    clattn_event *event;
    failing_cl_refuse(0);
    cr_assert_eq(submit_two(h, dispatcher, &event), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(event);
    return failing_cl_asked();
}

/* Refused at once, nothing is done and the call says so; refused later, the event fails, and with
 * it what follows in its sequence, even if that was enqueued meanwhile. */
Test(dispatch_refusals, every_launch_of_a_submission)
{
    heads h;
    open_failing(&h);
    for (int direct = 0; direct < 2; direct++) {
        clattn_dispatcher_options options;
        clattn_dispatcher_options_init(&options);
        options.direct = (uint32_t)direct;
        clattn_dispatcher *dispatcher = open_dispatcher(&h, &options);
        const uint32_t launches = count_launches(&h, dispatcher);
        cr_assert(launches >= 4, "%u launches", launches);
        for (uint32_t at = 0; at < launches; at++) {
            clattn_event *event = NULL;
            forget_outputs(&h);
            failing_cl_refuse((uint64_t)1 << at);
            const clattn_status status = submit_two(&h, dispatcher, &event);
            cr_assert_eq(failing_cl_asked(), at + 1, "something was tried again, or went on");
            cr_assert(is_forgotten(&h, 12), "the last step can't have been done");
            if (at == 0) {
                cr_assert_eq(status, CLATTN_ERR_OPENCL);
                cr_assert_null(event);
                cr_assert(is_forgotten(&h, 1));
                continue;
            }
            cr_assert_eq(status, CLATTN_OK, "launch %u: it has begun", at);
            clattn_event *follower = submit_head(&h, dispatcher, 3, NULL, first_sequence);
            clattn_event *other = submit_head(&h, dispatcher, 4, NULL, first_sequence + 1);
            cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_ERR_OPENCL);
            cr_assert(strstr(clattn_event_message(event), "undefined"), "%s",
                      clattn_event_message(event));
            /* it may have come when the failure was over already */
            const clattn_status followed = clattn_event_wait(follower, UINT64_MAX);
            cr_assert(followed == CLATTN_ERR_OPENCL || followed == CLATTN_OK);
            cr_assert_eq(clattn_event_wait(other, UINT64_MAX), CLATTN_OK);
            cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_ERR_OPENCL);
            cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
            clattn_event *events[] = {event, follower, other};
            settle_all(events, 3);
        }
        const clattn_dispatcher_statistics made = statistics_of(dispatcher);
        cr_assert_eq(made.finished + made.failed, made.submissions);
        clattn_dispatcher_destroy(dispatcher);
    }
    close_heads(&h);
}

/* Submits the two steps behind a blocker on the lane, which is held: a thread that isn't scheduled
 * for a while would find the blocker done. False: the lane had room for them, all is as before. */
static bool hold_two(heads *h, clattn_dispatcher *dispatcher, uint32_t lane, int64_t length,
                     blocker *b, clattn_event **event)
{
    *b = (blocker){0};
    failing_cl_hold(lane);
    block(h, dispatcher, b, length);
    const uint64_t launches = statistics_of(dispatcher).lane[0].launches;
    cr_assert_eq(submit_two(h, dispatcher, event), CLATTN_OK);
    if (statistics_of(dispatcher).lane[0].launches == launches)
        return true;
    failing_cl_release(lane);
    cr_assert_eq(clattn_event_wait(*event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(*event);
    unblock(b);
    return false;
}

/* The same behind a blocker, where all followers are there before anything is launched. */
Test(dispatch_refusals, a_submission_that_was_held_back)
{
    heads h;
    blocker b;
    open_failing(&h);
    const uint32_t lane = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    const uint32_t launches = count_launches(&h, dispatcher);
    int64_t length = 3000;
    failing_cl_refuse(0);
    for (uint32_t at = 0; at < launches; at++) {
        clattn_event *event, *follower, *other;
        clattn_submission waiting;
        while (!hold_two(&h, dispatcher, lane, length, &b, &event))
            cr_assert((length *= 2) < 1 << 20);
        follower = submit_head(&h, dispatcher, 3, NULL, first_sequence);
        clattn_submission_init(&waiting);
        waiting.wait = &event;
        waiting.wait_count = 1;
        clattn_event *waiter = submit_head(&h, dispatcher, 5, &waiting, 0);
        failing_cl_refuse((uint64_t)1 << at);
        other = submit_head(&h, dispatcher, 4, NULL, first_sequence + 1);
        failing_cl_release(lane);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_ERR_OPENCL, "launch %u", at);
        cr_assert_eq(clattn_event_wait(follower, UINT64_MAX), CLATTN_ERR_OPENCL);
        cr_assert_eq(clattn_event_wait(waiter, UINT64_MAX), CLATTN_ERR_OPENCL);
        cr_assert_eq(clattn_event_wait(other, UINT64_MAX), CLATTN_OK);
        clattn_event *events[] = {event, follower, waiter, other};
        settle_all(events, 4);
        unblock(&b);
    }
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}
