/* What the dispatcher does with submissions that it holds back: sharing of launches, cancelling,
 * deadlines, full queues, callbacks, wait lists, statistics, trace. A long submission keeps
 * the lane where something is to wait. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

/* ---- shared launches ------------------------------------------------------------------------- */

Test(dispatch, steps_that_are_independent_share_launches)
{
    heads h;
    head_step of[HEADS];
    clattn_step steps[HEADS];
    clattn_submission submission;
    memset(of, 0, sizeof of);
    open_heads(&h, NULL);
    expect_heads(&h);
    forget_outputs(&h);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    for (int head = 0; head < HEADS; head++)
        steps[head] = step_of(&h, head, &of[head]);
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = HEADS;
    cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    check_heads(&h);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert(made.lane[0].launches <= 3, "%d launches", (int)made.lane[0].launches);
    cr_assert_eq(made.lane[0].shared, HEADS);
    /* each step reads what the one before wrote: no sharing, and the order holds */
    for (int head = 1; head < HEADS; head++) {
        of[head].bindings[0].buffer = h.out;
        of[head].bindings[0].offset = of[head - 1].bindings[3].offset;
    }
    cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    float together[HEADS * DIM], alone[HEADS * DIM];
    cr_assert_eq(clattn_buffer_read(h.out, 0, together, sizeof together), CLATTN_OK);
    cr_assert_eq(statistics_of(dispatcher).lane[0].shared, HEADS, "dependent steps were merged");
    for (int head = 0; head < HEADS; head++) {
        submission.steps = &steps[head];
        submission.step_count = 1;
        cr_assert_eq(clattn_submit(dispatcher, &submission, NULL), CLATTN_OK);
        cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    }
    cr_assert_eq(clattn_buffer_read(h.out, 0, alone, sizeof alone), CLATTN_OK);
    cr_assert_eq(memcmp(together, alone, sizeof alone), 0);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch, submissions_that_wait_share_launches)
{
    heads h;
    blocker b = {0};
    clattn_event *events[HEADS];
    open_heads(&h, NULL);
    expect_heads(&h);
    forget_outputs(&h);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    for (int head = 0; head < HEADS; head++)
        events[head] = submit_head(&h, dispatcher, head, NULL, 100 + (uint64_t)head);
    cr_assert_eq(clattn_event_wait_all(events, HEADS, UINT64_MAX), CLATTN_OK);
    check_heads(&h);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert(made.lane[0].shared >= HEADS / 2, "%d shared", (int)made.lane[0].shared);
    cr_assert_eq(made.finished, HEADS + 1);
    cr_assert(made.waiting_ns > 0 && made.lane[0].busy_ns > 0);
    for (int head = 0; head < HEADS; head++)
        clattn_event_release(events[head]);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- what doesn't run ------------------------------------------------------------------------ */

Test(dispatch, cancelling_and_its_followers)
{
    heads h;
    blocker b = {0};
    clattn_event *event[5];
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    cr_assert_eq(clattn_event_cancel(b.event), CLATTN_ERR_BUSY, "it has begun");
    clattn_submission like;
    clattn_submission_init(&like);
    event[0] = submit_head(&h, dispatcher, 0, NULL, 7);
    event[1] = submit_head(&h, dispatcher, 1, NULL, 7); /* follows it */
    event[2] = submit_head(&h, dispatcher, 2, NULL, 8); /* has nothing to do with it */
    like.wait = &event[0];
    like.wait_count = 1;
    event[3] = submit_head(&h, dispatcher, 3, &like, 9); /* waits for it */
    like.wait = &event[3];
    event[4] = submit_head(&h, dispatcher, 4, &like, 0); /* and this for that */
    cr_assert_eq(clattn_event_cancel(event[0]), CLATTN_OK, "%s", clattn_error_message());
    for (int i = 0; i < 5; i++)
        cr_assert_eq(clattn_event_wait(event[i], UINT64_MAX),
                     i == 2 ? CLATTN_OK : CLATTN_ERR_CANCELLED, "%d: %s", i,
                     clattn_event_message(event[i]));
    cr_assert_eq(clattn_event_cancel(event[0]), CLATTN_ERR_BUSY, "it is done");
    cr_assert(strstr(clattn_event_message(event[1]), "sequence"), "%s",
              clattn_event_message(event[1]));
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    for (int i = 0; i < 5; i++)
        clattn_event_release(event[i]);
    event[0] = submit_head(&h, dispatcher, 0, NULL, 7); /* the sequence itself is well */
    cr_assert_eq(clattn_event_wait(event[0], UINT64_MAX), CLATTN_OK);
    clattn_event_release(event[0]);
    cr_assert_eq(statistics_of(dispatcher).cancelled, 4);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch, full_queues)
{
    heads h;
    blocker b = {0};
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.queue_limit = 3;
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, &options);
    block(&h, dispatcher, &b, 3000);
    clattn_event_release(submit_head(&h, dispatcher, 0, NULL, 5));
    clattn_event_release(submit_head(&h, dispatcher, 1, NULL, 5));
    clattn_submission like;
    clattn_submission_init(&like);
    head_step of;
    of.sequence = 0;
    const clattn_step step = step_of(&h, 2, &of);
    like.steps = &step;
    like.step_count = 1;
    cr_assert_eq(clattn_submit(dispatcher, &like, NULL), CLATTN_ERR_BUSY);
    cr_assert(strstr(clattn_error_message(), "3"), "%s", clattn_error_message());
    like.busy_ns = UINT64_MAX;
    cr_assert_eq(clattn_submit(dispatcher, &like, NULL), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert_eq(made.refused, 1);
    cr_assert_eq(made.most_unfinished, 3);
    cr_assert_eq(made.finished, 4);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

Test(dispatch, deadlines)
{
    heads h;
    blocker b = {0};
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    clattn_submission like;
    clattn_submission_init(&like);
    like.deadline_ns = 1000;
    clattn_event *late = submit_head(&h, dispatcher, 0, &like, 5);
    cr_assert_eq(clattn_event_wait(late, UINT64_MAX), CLATTN_ERR_TIMEOUT);
    cr_assert(strstr(clattn_event_message(late), "deadline"), "%s", clattn_event_message(late));
    cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_ERR_TIMEOUT);
    clattn_event_release(late);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- who learns of it ------------------------------------------------------------------------ */

typedef struct called {
    atomic_int times, status;
    pthread_t thread;
} called;

static void on_done(void *user, clattn_event *event, clattn_status status)
{
    called *of = user;
    of->thread = pthread_self();
    atomic_store(&of->status, clattn_event_poll(event) == status ? (int)status : 99);
    atomic_fetch_add(&of->times, 1);
}

Test(dispatch, callbacks_and_profiles)
{
    heads h;
    called of[3];
    memset(of, 0, sizeof of);
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    clattn_event *event = submit_head(&h, dispatcher, 1, NULL, 0);
    cr_assert_eq(clattn_event_set_callback(event, NULL, NULL), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_event_set_callback(event, on_done, &of[0]), CLATTN_OK);
    cr_assert_eq(clattn_event_set_callback(event, on_done, &of[1]), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_set_callback(event, on_done, &of[2]), CLATTN_OK, "after the end");
    clattn_event_profile profile = {.struct_size = sizeof profile};
    cr_assert_eq(clattn_event_get_profile(event, &profile), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert(profile.launches >= 1 && profile.device_ns > 0 &&
              profile.ran_ns >= profile.device_ns / 2);
    clattn_event_release(event);
    clattn_dispatcher_destroy(dispatcher); /* waits for the callbacks */
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(atomic_load(&of[i].times), 1, "callback %d", i);
        cr_assert_eq(atomic_load(&of[i].status), CLATTN_OK);
        cr_assert(!pthread_equal(of[i].thread, pthread_self()));
    }
    close_heads(&h);
}

/* A dispatcher waits for what another one holds back. */
Test(dispatch, wait_lists_across_dispatchers)
{
    heads h;
    blocker b = {0};
    clattn_submission like;
    open_heads(&h, NULL);
    expect_heads(&h);
    forget_outputs(&h);
    clattn_dispatcher *one = open_dispatcher(&h, NULL), *other = open_dispatcher(&h, NULL);
    block(&h, one, &b, 3000);
    clattn_submission_init(&like);
    clattn_event *events[HEADS];
    for (int head = 0; head < HEADS; head++) {
        like.wait = &events[head - (head > 0)];
        like.wait_count = head > 0;
        events[head] = submit_head(&h, head % 2 ? other : one, head, &like, 0);
    }
    cr_assert_eq(clattn_event_wait(events[HEADS - 1], UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_wait_all(events, HEADS, UINT64_MAX), CLATTN_OK);
    check_heads(&h);
    for (int head = 0; head < HEADS; head++)
        clattn_event_release(events[head]);
    unblock(&b);
    clattn_dispatcher_destroy(one);
    clattn_dispatcher_destroy(other);
    close_heads(&h);
}

/* A dispatcher may go before what one of its submissions, taken back by now, has waited for. */
Test(dispatch, a_watcher_outlives_its_dispatcher)
{
    heads h;
    blocker b = {0};
    clattn_submission like;
    open_heads(&h, NULL);
    clattn_dispatcher *one = open_dispatcher(&h, NULL), *other = open_dispatcher(&h, NULL);
    block(&h, one, &b, 3000);
    clattn_event *held = submit_head(&h, one, 0, NULL, 0);
    clattn_submission_init(&like);
    like.wait = &held;
    like.wait_count = 1;
    clattn_event *watcher = submit_head(&h, other, 1, &like, 0);
    cr_assert_eq(clattn_event_cancel(watcher), CLATTN_OK, "%s", clattn_error_message());
    clattn_event_release(watcher);
    clattn_dispatcher_destroy(other);
    cr_assert_eq(clattn_event_poll(held), CLATTN_PENDING, "the test comes too late");
    cr_assert_eq(clattn_event_wait(held, UINT64_MAX), CLATTN_OK);
    clattn_event_release(held);
    unblock(&b);
    clattn_dispatcher_destroy(one);
    close_heads(&h); /* CLATTN_ERR_BUSY if the other dispatcher is still there */
}

/* ---- finishing --------------------------------------------------------------------------------
 */

static void *finish(void *user)
{
    return clattn_dispatcher_finish(user) == CLATTN_OK ? user : NULL;
}

/* Who waits for the end keeps nobody else from submitting. */
Test(dispatch, submitting_while_another_thread_finishes)
{
    heads h;
    blocker b = {0};
    pthread_t thread;
    void *result = NULL;
    const struct timespec pause = {.tv_nsec = 5000000};
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    block(&h, dispatcher, &b, 3000);
    cr_assert_eq(pthread_create(&thread, NULL, finish, dispatcher), 0);
    nanosleep(&pause, NULL); /* it sleeps by now */
    clattn_event *event = submit_head(&h, dispatcher, 1, NULL, 0);
    cr_assert_eq(clattn_event_poll(b.event), CLATTN_PENDING, "submitting has waited, too");
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, dispatcher);
    cr_assert_eq(clattn_event_poll(b.event), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(event);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- trace and idleness ---------------------------------------------------------------------- */

Test(dispatch, trace)
{
    heads h;
    char path[] = "/tmp/clattn-trace-XXXXXX", text[4096] = "";
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.trace_size = 4;
    const int made = mkstemp(path);
    cr_assert(made >= 0);
    close(made);
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    cr_assert_eq(clattn_dispatcher_write_trace(dispatcher, path), CLATTN_ERR_UNSUPPORTED);
    clattn_dispatcher_destroy(dispatcher);
    dispatcher = open_dispatcher(&h, &options);
    for (int i = 0; i < 6; i++) {
        clattn_event_release(submit_head(&h, dispatcher, i, NULL, 0));
        cr_assert_eq(clattn_dispatcher_finish(dispatcher), CLATTN_OK);
    }
    cr_assert_eq(clattn_dispatcher_write_trace(dispatcher, path), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_dispatcher_write_trace(dispatcher, "/nowhere/trace"), CLATTN_ERR_IO);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    unlink(path);
    int spans = 0;
    for (const char *at = text; (at = strstr(at, "\"ph\":\"X\"")); at++)
        spans++;
    cr_assert_eq(spans, 4, "%d spans", spans);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

static uint64_t thread_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* What a wait costs: processor time of the thread, and how often it has looked. */
typedef struct waited {
    uint64_t ns;
    uint32_t looks;
    bool by_own_threads; /* of PoCL's CPU devices, which are looked at */
} waited;

static bool has_own_threads(clattn_context *context)
{
    clattn_device_info info = {.struct_size = sizeof info};
    cr_assert_eq(clattn_context_device_info(context, &info), CLATTN_OK);
    return info.type == CLATTN_DEVICE_CPU && strstr(info.platform, "Portable Computing Language");
}

/* Of something long. `held`: it doesn't begin in time. */
static waited wait_for_long(uint32_t flags, bool held, uint64_t timeout_ns)
{
    heads h;
    blocker b = {0};
    clattn_context_options options;
    failing_cl_options(&options);
    options.flags = flags;
    open_heads(&h, &options);
    const uint32_t lane = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    if (held)
        failing_cl_hold(lane);
    block(&h, dispatcher, &b, 3000);
    waited cost = {.by_own_threads = has_own_threads(h.context)};
    const uint64_t before = thread_ns();
    const uint32_t looks = failing_cl_status_asked();
    cr_assert_eq(clattn_event_wait(b.event, timeout_ns), held ? CLATTN_ERR_TIMEOUT : CLATTN_OK);
    cost.looks = failing_cl_status_asked() - looks;
    cost.ns = thread_ns() - before;
    if (held)
        failing_cl_release(lane);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
    return cost;
}

/* A wait may look again and again for 1 ms; the rest of the time it sleeps. */
Test(dispatch, waits_sleep)
{
    const uint64_t limits[] = {UINT64_MAX, 60000000000};
    for (int i = 0; i < 2; i++) {
        const waited awake = wait_for_long(0, false, limits[i]);
        const waited asleep = wait_for_long(CLATTN_CONTEXT_SLEEPY_WAITS, false, limits[i]);
        cr_assert(awake.ns < 10000000, "%d us awake", (int)(awake.ns / 1000));
        cr_assert(asleep.ns < 10000000, "%d us asleep", (int)(asleep.ns / 1000));
    }
}

/* With nothing else to do on any core, 1 ms is enough for a hundred looks; beside other load, for
 * one, so that there are several tries. A wait with a limit that sleeps has 20 us, 40 us, and so on
 * up to 1 ms between them. */
Test(dispatch, waits_look_only_where_they_may)
{
    enum { TRIES = 50, ASLEEP = 30 };
    waited awake = wait_for_long(0, true, 20000000);
    const waited asleep = wait_for_long(CLATTN_CONTEXT_SLEEPY_WAITS, true, 20000000);
    cr_assert(asleep.looks <= ASLEEP, "%d looks asleep", (int)asleep.looks);
    for (int i = 1; i < TRIES && awake.by_own_threads && awake.looks <= 2 * ASLEEP; i++)
        awake = wait_for_long(0, true, 20000000);
    cr_assert_eq(awake.looks > 2 * ASLEEP, awake.by_own_threads, "%d looks", (int)awake.looks);
}

/* No work, no processor time, once threads exist too. */
Test(dispatch, idle_dispatchers_sleep)
{
    heads h;
    called of = {.times = 0};
    struct timespec before, after;
    const struct timespec pause = {.tv_nsec = 300000000};
    open_heads(&h, NULL);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    clattn_event *event = submit_head(&h, dispatcher, 1, NULL, 0);
    cr_assert_eq(clattn_event_set_callback(event, on_done, &of), CLATTN_OK);
    cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
    clattn_event_release(event);
    while (!atomic_load(&of.times))
        ;
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    nanosleep(&pause, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    const double spent =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
    cr_assert(spent < 0.01, "%.3f s of 0.3", spent);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}
