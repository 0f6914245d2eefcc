/* What callbacks do to the thread that calls them: they keep it from launching, and submit. */
#include <stdatomic.h>
#include <time.h>

#include "dispatch_rig.h"

typedef struct gate {
    atomic_bool reached, open;
} gate;

static void stand_at(void *user, clattn_event *event, clattn_status status)
{
    gate *of = user;
    (void)event;
    (void)status;
    atomic_store(&of->reached, true);
    while (!atomic_load(&of->open))
        ;
}

/* The dispatcher's thread is busy, so another submission frees what is held back: not what is late.
 */
Test(callbacks, a_deadline_holds_whoever_launches)
{
    heads h;
    blocker b = {0};
    gate at = {.reached = false};
    clattn_submission like;
    open_heads(&h, NULL);
    forget_outputs(&h);
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    clattn_event *first = submit_head(&h, dispatcher, 1, NULL, 0);
    cr_assert_eq(clattn_event_set_callback(first, stand_at, &at), CLATTN_OK);
    while (!atomic_load(&at.reached))
        ;
    block(&h, dispatcher, &b, 1000);
    clattn_submission_init(&like);
    like.deadline_ns = 1;
    clattn_event *late = submit_head(&h, dispatcher, 3, &like, 7);
    cr_assert_eq(clattn_event_wait(b.event, UINT64_MAX), CLATTN_OK);
    clattn_event *follower = submit_head(&h, dispatcher, 4, NULL, 7);
    clattn_event *next = submit_head(&h, dispatcher, 5, NULL, 0);
    cr_assert_eq(clattn_event_wait(late, UINT64_MAX), CLATTN_ERR_TIMEOUT, "it ran too late");
    cr_assert_eq(clattn_event_wait(follower, UINT64_MAX), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(clattn_event_wait(next, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(statistics_of(dispatcher).expired, 2);
    atomic_store(&at.open, true);
    clattn_event_release(first);
    clattn_event_release(late);
    clattn_event_release(follower);
    clattn_event_release(next);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

typedef struct chain {
    const heads *h;
    clattn_dispatcher *dispatcher;
    atomic_int done, failed; /* of STEPS */
} chain;
enum { STEPS = 5 };

static void go_on(void *user, clattn_event *event, clattn_status status)
{
    chain *of = user;
    const struct timespec pause = {.tv_nsec = 2000000};
    (void)event;
    nanosleep(&pause, NULL); /* destroy has nothing else to wait for */
    atomic_fetch_add(&of->failed, status != CLATTN_OK);
    if (atomic_fetch_add(&of->done, 1) + 1 == STEPS)
        return;
    clattn_event *next = submit_head(of->h, of->dispatcher, 1, NULL, 4);
    atomic_fetch_add(&of->failed, clattn_event_set_callback(next, go_on, of) != CLATTN_OK);
    clattn_event_release(next);
}

/* Each callback submits what comes next; destroying the dispatcher waits for all of it. */
Test(callbacks, callbacks_that_submit)
{
    heads h;
    chain of = {.done = 0};
    open_heads(&h, NULL);
    of.h = &h;
    of.dispatcher = open_dispatcher(&h, NULL);
    clattn_event *event = submit_head(&h, of.dispatcher, 1, NULL, 4);
    cr_assert_eq(clattn_event_set_callback(event, go_on, &of), CLATTN_OK);
    clattn_event_release(event);
    clattn_dispatcher_destroy(of.dispatcher);
    cr_assert_eq(atomic_load(&of.done), STEPS);
    cr_assert_eq(atomic_load(&of.failed), 0);
    close_heads(&h);
}
