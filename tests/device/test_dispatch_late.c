/* What ends while its lane is busy and can't look: deadlines, seen by whoever asks, and submissions
 * in wait lists that fail while others wait for their launch. Lanes are held where something must
 * not end. */
#include <pthread.h>
#include <time.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

/* A dispatcher whose lane is held, with as much in flight as it takes, and one submission behind
 * that. */
typedef struct queue {
    heads h;
    uint32_t lane; /* of failing_cl.h */
    clattn_dispatcher *dispatcher;
    clattn_event *flying[2], *held;
} queue;

static void open_queue(queue *q, uint64_t deadline_ns)
{
    clattn_context_options options;
    clattn_submission like;
    failing_cl_options(&options);
    open_heads(&q->h, &options);
    q->lane = failing_cl_lanes();
    q->dispatcher = open_dispatcher(&q->h, NULL);
    failing_cl_hold(q->lane);
    for (int i = 0; i < 2; i++)
        q->flying[i] = submit_head(&q->h, q->dispatcher, 1 + i, NULL, 0);
    clattn_submission_init(&like);
    like.deadline_ns = deadline_ns;
    q->held = submit_head(&q->h, q->dispatcher, 3, &like, 0);
    cr_assert_eq(statistics_of(q->dispatcher).waiting, 1);
}

static void close_queue(queue *q)
{
    failing_cl_release(q->lane);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(clattn_event_wait(q->flying[i], UINT64_MAX), CLATTN_OK);
        clattn_event_release(q->flying[i]);
    }
    clattn_event_release(q->held);
    clattn_dispatcher_destroy(q->dispatcher);
    close_heads(&q->h);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

#define DEADLINE_NS 3000000u
/* Long after the deadline, and before any test gives up. */
#define LIMIT_NS 10000000000u

static clattn_status by_wait(const queue *q)
{
    return clattn_event_wait(q->held, UINT64_MAX);
}

static clattn_status by_wait_with_limit(const queue *q)
{
    return clattn_event_wait(q->held, LIMIT_NS);
}

static clattn_status by_wait_all(const queue *q)
{
    return clattn_event_wait_all(&q->held, 1, LIMIT_NS);
}

static clattn_status by_wait_any(const queue *q)
{
    clattn_event *events[2] = {q->flying[0], q->held};
    uint32_t index = 99;
    const clattn_status status = clattn_event_wait_any(events, 2, LIMIT_NS, &index);
    cr_assert_eq(index, 1);
    return status;
}

static clattn_status by_poll(const queue *q)
{
    const uint64_t end = now_ns() + LIMIT_NS;
    clattn_status status;
    do
        status = clattn_event_poll(q->held);
    while (status == CLATTN_PENDING && now_ns() < end);
    return status;
}

Test(dispatch_late, deadlines_are_seen_by_who_asks)
{
    static const struct {
        const char *name;
        clattn_status (*ask)(const queue *q);
    } table[] = {{"wait", by_wait},
                 {"wait with a limit", by_wait_with_limit},
                 {"wait for all", by_wait_all},
                 {"wait for any", by_wait_any},
                 {"poll", by_poll}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        queue q;
        const uint64_t before = now_ns();
        open_queue(&q, DEADLINE_NS);
        const uint64_t asked = now_ns();
        cr_assert_eq(table[i].ask(&q), CLATTN_ERR_TIMEOUT, "%s", table[i].name);
        const uint64_t now = now_ns();
        cr_assert(now - before >= DEADLINE_NS && now - asked < LIMIT_NS / 2, "%s: %d us",
                  table[i].name, (int)((now - asked) / 1000));
        cr_assert(strstr(clattn_event_message(q.held), "deadline"), "%s: %s", table[i].name,
                  clattn_event_message(q.held));
        const clattn_dispatcher_statistics seen = statistics_of(q.dispatcher);
        cr_assert(seen.expired == 1 && seen.waiting == 0 && seen.finished == 0, "%s",
                  table[i].name);
        close_queue(&q);
    }
}

/* What has begun has no deadline any more, and who waits for it isn't told of one. */
Test(dispatch_late, what_has_begun_has_no_deadline)
{
    queue q;
    clattn_submission like;
    clattn_submission_init(&like);
    like.deadline_ns = DEADLINE_NS;
    open_queue(&q, 0);
    clattn_dispatcher *other = open_dispatcher(&q.h, NULL);
    failing_cl_hold(q.lane + 1);
    clattn_event *begun = submit_head(&q.h, other, 5, &like, 0);
    cr_assert_eq(clattn_event_wait(begun, 4 * DEADLINE_NS), CLATTN_ERR_TIMEOUT);
    cr_assert(strstr(clattn_error_message(), "not done after"), "%s", clattn_error_message());
    cr_assert_eq(clattn_event_poll(begun), CLATTN_PENDING);
    failing_cl_release(q.lane + 1);
    cr_assert_eq(clattn_event_wait(begun, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_cancel(q.held), CLATTN_OK);
    clattn_event_release(begun);
    clattn_dispatcher_destroy(other);
    close_queue(&q);
}

/* ---- wait lists ------------------------------------------------------------------------------ */

static void *cancel_later(void *user)
{
    const struct timespec time = {.tv_nsec = 20000000};
    nanosleep(&time, NULL);
    cr_assert_eq(clattn_event_cancel(user), CLATTN_OK, "%s", clattn_error_message());
    return NULL;
}

/* On a dispatcher that holds nothing back the call waits for the launch of what another one holds:
 * if that never comes, nothing is launched behind it. Elsewhere the submission fails. */
Test(dispatch_late, nothing_runs_behind_what_was_cancelled)
{
    for (uint32_t direct = 0; direct < 2; direct++) {
        queue q;
        pthread_t thread;
        head_step of = {.sequence = 0};
        clattn_event *event = NULL;
        clattn_dispatcher_options options;
        clattn_dispatcher_options_init(&options);
        options.direct = direct;
        open_queue(&q, 0);
        clattn_dispatcher *other = open_dispatcher(&q.h, &options);
        const clattn_step step = step_of(&q.h, 5, &of);
        clattn_submission submission;
        clattn_submission_init(&submission);
        submission.steps = &step;
        submission.step_count = 1;
        submission.wait = &q.held;
        submission.wait_count = 1;
        cr_assert_eq(pthread_create(&thread, NULL, cancel_later, q.held), 0);
        clattn_status status = clattn_submit(other, &submission, &event);
        cr_assert_eq(status == CLATTN_OK, !direct, "%s", clattn_error_message());
        if (status == CLATTN_OK)
            status = clattn_event_wait(event, UINT64_MAX);
        cr_assert_eq(status, CLATTN_ERR_CANCELLED, "%d: %s", (int)direct, clattn_error_message());
        cr_assert(!direct || strstr(clattn_error_message(), "wait[0]"), "%s",
                  clattn_error_message());
        cr_assert_eq(pthread_join(thread, NULL), 0);
        const clattn_dispatcher_statistics seen = statistics_of(other);
        cr_assert_eq(seen.lane[0].launches, 0, "%d: it ran", (int)direct);
        cr_assert_eq(seen.submissions, direct ? 0 : 1);
        clattn_event_release(event);
        clattn_dispatcher_destroy(other);
        close_queue(&q);
    }
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_late_deadlines_are_seen_by_who_asks();
    dispatch_late_what_has_begun_has_no_deadline();
    dispatch_late_nothing_runs_behind_what_was_cancelled();
    return 0;
}
#endif
