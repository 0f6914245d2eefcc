/* Waiting for all and for the first of several submissions: who is woken, by whom, and when it is
 * too late. Lanes are held where something must not end. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

enum { DISPATCHERS = 2 };

/* Dispatchers of a lane each, all held, with a submission in flight on each. */
typedef struct scene {
    heads h;
    uint32_t first; /* of the lanes */
    clattn_dispatcher *dispatcher[DISPATCHERS];
    clattn_event *event[DISPATCHERS];
    bool held[DISPATCHERS];
} scene;

/* Bit i of `direct`: dispatcher i holds nothing back. Waits don't look before they sleep. */
static void open_scene(scene *s, uint32_t direct)
{
    clattn_context_options options;
    failing_cl_options(&options);
    options.flags = CLATTN_CONTEXT_SLEEPY_WAITS;
    memset(s, 0, sizeof *s);
    open_heads(&s->h, &options);
    s->first = failing_cl_lanes();
    for (uint32_t i = 0; i < DISPATCHERS; i++) {
        clattn_dispatcher_options with;
        clattn_dispatcher_options_init(&with);
        with.direct = direct >> i & 1;
        s->dispatcher[i] = open_dispatcher(&s->h, &with);
        failing_cl_hold(s->first + i);
        s->held[i] = true;
        s->event[i] = submit_head(&s->h, s->dispatcher[i], 1 + 2 * (int)i, NULL, 0);
    }
}

static void release(scene *s, uint32_t index)
{
    s->held[index] = false;
    failing_cl_release(s->first + index);
}

static void close_scene(scene *s)
{
    for (uint32_t i = 0; i < DISPATCHERS; i++)
        if (s->held[i])
            release(s, i);
    for (uint32_t i = 0; i < DISPATCHERS; i++) {
        cr_assert_eq(clattn_event_wait(s->event[i], UINT64_MAX), CLATTN_OK);
        clattn_event_release(s->event[i]);
        clattn_dispatcher_destroy(s->dispatcher[i]);
    }
    close_heads(&s->h);
}

static void sleep_ms(long ms)
{
    const struct timespec time = {.tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

/* ---- too late -------------------------------------------------------------------------------- */

Test(dispatch_waits, any_runs_out)
{
    static const uint64_t timeouts[] = {0, 1, 1000000, 30000000};
    for (uint32_t direct = 0; direct < 4; direct++) {
        scene s;
        uint32_t index = 99;
        open_scene(&s, direct);
        for (int i = 0; i < 4; i++) {
            const uint64_t before = now_ns();
            cr_assert_eq(clattn_event_wait_any(s.event, 2, timeouts[i], &index),
                         CLATTN_ERR_TIMEOUT);
            cr_assert(now_ns() - before >= timeouts[i], "too early");
            cr_assert(strstr(clattn_error_message(), "none is done"), "%s", clattn_error_message());
            cr_assert_eq(clattn_event_wait_any(s.event, 1, timeouts[i], &index), CLATTN_ERR_TIMEOUT,
                         "of one");
            cr_assert_eq(index, 99, "none is done");
        }
        release(&s, 1);
        cr_assert_eq(clattn_event_wait_any(s.event, 2, UINT64_MAX, &index), CLATTN_OK, "%s",
                     clattn_error_message());
        cr_assert_eq(index, 1);
        cr_assert_eq(clattn_event_wait_any(s.event, 2, 0, &index), CLATTN_OK, "it stays done");
        close_scene(&s);
    }
}

Test(dispatch_waits, all_runs_out)
{
    static const uint64_t timeouts[] = {0, 1000000, 30000000};
    for (uint32_t direct = 0; direct < 2; direct++) {
        scene s;
        open_scene(&s, direct ? 3 : 0);
        for (int i = 0; i < 3; i++) {
            const uint64_t before = now_ns();
            cr_assert_eq(clattn_event_wait_all(s.event, 2, timeouts[i]), CLATTN_ERR_TIMEOUT);
            cr_assert(now_ns() - before >= timeouts[i], "too early");
            cr_assert(strstr(clattn_error_message(), "events[0]"), "%s", clattn_error_message());
        }
        release(&s, 0);
        cr_assert_eq(clattn_event_wait(s.event[0], UINT64_MAX), CLATTN_OK);
        cr_assert_eq(clattn_event_wait_all(s.event, 2, 5000000), CLATTN_ERR_TIMEOUT);
        cr_assert(strstr(clattn_error_message(), "events[1]"), "%s", clattn_error_message());
        release(&s, 1);
        cr_assert_eq(clattn_event_wait_all(s.event, 2, UINT64_MAX), CLATTN_OK);
        close_scene(&s);
    }
}

/* Who only looks starts no thread that would see the end. */
Test(dispatch_waits, a_look_needs_no_thread)
{
    const int none = threads_of_process();
    if (none == 0)
        cr_skip_test("this system doesn't count threads");
    scene s;
    uint32_t index = 99;
    open_scene(&s, 0);
    const int before = threads_of_process();
    for (int i = 0; i < 20; i++)
        cr_assert_eq(clattn_event_wait_any(s.event, 2, 0, &index), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(threads_of_process(), before);
    cr_assert_eq(clattn_event_wait_any(s.event, 2, 1, &index), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(threads_of_process(), before + DISPATCHERS, "who waits has them started");
    close_scene(&s);
}

/* While submissions meet, the thread of a lane sleeps: one that looked would take the cores from
 * those that work. Waits that look do so for a millisecond. */
Test(dispatch_waits, a_crowd_is_waited_for_asleep)
{
    enum { FEW = 30 };
    heads h;
    blocker b = {0};
    clattn_context_options options;
    failing_cl_options(&options);
    open_heads(&h, &options);
    const uint32_t lane = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    failing_cl_hold(lane);
    block(&h, dispatcher, &b, 1500);
    const uint32_t before = failing_cl_status_asked();
    clattn_event *held = submit_head(&h, dispatcher, 1, NULL, 0);
    sleep_ms(30);
    const uint32_t asked = failing_cl_status_asked() - before;
    cr_assert_eq(statistics_of(dispatcher).waiting, 1);
    cr_assert(asked <= FEW, "%u looks", asked);
    failing_cl_release(lane);
    cr_assert_eq(clattn_event_wait(held, UINT64_MAX), CLATTN_OK);
    clattn_event_release(held);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}

/* ---- woken ----------------------------------------------------------------------------------- */

/* Who is woken looks by himself after 100 ms. To be woken takes less than this, on a machine that
 * has other things to do in one of some tries. */
#define WOKEN_NS 50000000u
enum { TRIES = 10 };

/* Something that another thread does after a while. */
typedef struct later {
    scene *s;
    clattn_event *cancelled; /* NULL: lane `index` is released */
    uint32_t index;
    atomic_bool done;
} later;

static void *do_later(void *user)
{
    later *of = user;
    sleep_ms(10);
    atomic_store(&of->done, true);
    if (of->cancelled)
        cr_assert_eq(clattn_event_cancel(of->cancelled), CLATTN_OK, "%s", clattn_error_message());
    else
        release(of->s, of->index);
    return NULL;
}

/* How long one waited for the first, ns; *looks (out): how often anybody asked OpenCL meanwhile how
 * far a command is. */
static uint64_t wait_for_release(scene *s, uint32_t index, uint32_t *looks)
{
    pthread_t thread;
    uint32_t found = 99;
    later of = {.s = s, .index = index};
    clattn_event *events[3] = {s->event[0], s->event[1], s->event[0]}; /* one twice */
    const uint32_t asked = failing_cl_status_asked();
    const uint64_t before = now_ns();
    cr_assert_eq(pthread_create(&thread, NULL, do_later, &of), 0);
    cr_assert_eq(clattn_event_wait_any(events, 3, UINT64_MAX, &found), CLATTN_OK, "%s",
                 clattn_error_message());
    const uint64_t took = now_ns() - before;
    cr_assert(atomic_load(&of.done), "too early");
    cr_assert_eq(found, index);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    *looks = failing_cl_status_asked() - asked;
    return took;
}

/* Threads of dispatchers wake who waits, so that nobody looks meanwhile; with one that has none it
 * takes a look every millisecond. */
Test(dispatch_waits, any_is_woken)
{
    enum { FEW = 30 }; /* for each look at three events, and what the threads ask */
    static const struct {
        uint32_t direct, index;
        bool few;
    } table[] = {{0, 0, true}, {0, 1, true}, {1, 0, false}, {1, 1, false}, {3, 0, false}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint64_t took = WOKEN_NS;
        for (int n = 0; n < TRIES && took >= WOKEN_NS; n++) {
            scene s;
            uint32_t looks;
            open_scene(&s, table[i].direct);
            took = wait_for_release(&s, table[i].index, &looks);
            cr_assert(!table[i].few || looks <= FEW, "case %d: %u looks", (int)i, looks);
            close_scene(&s);
        }
        cr_assert(took < WOKEN_NS, "case %d: it took %d us", (int)i, (int)(took / 1000));
    }
}

/* Of one dispatcher that holds nothing back it is known what is done first. */
Test(dispatch_waits, any_of_one_direct_dispatcher)
{
    scene s;
    pthread_t thread;
    uint32_t index = 99;
    open_scene(&s, 1);
    clattn_event *next = submit_head(&s.h, s.dispatcher[0], 5, NULL, 0);
    clattn_event *events[2] = {next, s.event[0]};
    later of = {.s = &s, .index = 0};
    const uint32_t before = failing_cl_status_asked();
    cr_assert_eq(pthread_create(&thread, NULL, do_later, &of), 0);
    cr_assert_eq(clattn_event_wait_any(events, 2, UINT64_MAX, &index), CLATTN_OK);
    cr_assert(atomic_load(&of.done) && index < 2);
    cr_assert(failing_cl_status_asked() - before <= 30);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    clattn_event_release(next);
    close_scene(&s);
}

static void *release_first(void *user)
{
    release(user, 0);
    return NULL;
}

/* One that is named again and again, and ends while all these places are looked at. */
Test(dispatch_waits, any_names_the_first_place)
{
    enum { PLACES = 256, ROUNDS = 20 };
    for (int round = 0; round < ROUNDS; round++) {
        scene s;
        pthread_t thread;
        clattn_event *events[PLACES];
        uint32_t index = 99;
        open_scene(&s, 1);
        for (int i = 0; i < PLACES; i++)
            events[i] = s.event[0];
        cr_assert_eq(pthread_create(&thread, NULL, release_first, &s), 0);
        clattn_status status;
        do
            status = clattn_event_wait_any(events, PLACES, 0, &index);
        while (status == CLATTN_ERR_TIMEOUT);
        cr_assert_eq(status, CLATTN_OK, "%s", clattn_error_message());
        cr_assert_eq(index, 0, "round %d: place %u", round, index);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        close_scene(&s);
    }
}

/* What is taken back is done. Returns how long one waited for that, ns. */
static uint64_t wait_for_cancel(void)
{
    scene s;
    pthread_t thread;
    uint32_t index = 99;
    open_scene(&s, 0);
    clattn_event *full = submit_head(&s.h, s.dispatcher[0], 5, NULL, 0);
    clattn_event *waiting = submit_head(&s.h, s.dispatcher[0], 7, NULL, 0);
    clattn_event *events[3] = {s.event[0], waiting, s.event[1]};
    later of = {.s = &s, .cancelled = waiting};
    const uint64_t before = now_ns();
    cr_assert_eq(pthread_create(&thread, NULL, do_later, &of), 0);
    cr_assert_eq(clattn_event_wait_any(events, 3, UINT64_MAX, &index), CLATTN_ERR_CANCELLED);
    const uint64_t took = now_ns() - before;
    cr_assert_eq(index, 1);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    release(&s, 0);
    cr_assert_eq(clattn_event_wait(full, UINT64_MAX), CLATTN_OK);
    clattn_event_release(full);
    clattn_event_release(waiting);
    close_scene(&s);
    return took;
}

/* A deadline that has passed is an event's own failure, and no wait that has run out. Returns the
 * same. */
static uint64_t wait_for_deadline(void)
{
    scene s;
    pthread_t thread;
    clattn_submission like;
    uint32_t index = 99;
    open_scene(&s, 0);
    clattn_submission_init(&like);
    clattn_event *full = submit_head(&s.h, s.dispatcher[0], 5, NULL, 0);
    like.deadline_ns = 2000000;
    clattn_event *late = submit_head(&s.h, s.dispatcher[0], 7, &like, 0);
    clattn_event *events[2] = {s.event[1], late};
    later of = {.s = &s, .index = 0};
    const uint64_t before = now_ns();
    cr_assert_eq(pthread_create(&thread, NULL, do_later, &of), 0);
    cr_assert_eq(clattn_event_wait_any(events, 2, UINT64_MAX, &index), CLATTN_ERR_TIMEOUT);
    const uint64_t took = now_ns() - before;
    cr_assert_eq(index, 1);
    cr_assert(strstr(clattn_error_message(), "deadline"), "%s", clattn_error_message());
    cr_assert_eq(clattn_event_wait_any(&late, 1, 1000, &index), CLATTN_ERR_TIMEOUT);
    cr_assert_eq(index, 0, "alone, too");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(clattn_event_wait(full, UINT64_MAX), CLATTN_OK);
    clattn_event_release(full);
    clattn_event_release(late);
    close_scene(&s);
    return took;
}

/* The shortest of some tries, as far as these are needed. */
static uint64_t best_of(uint64_t (*wait)(void))
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < TRIES && best >= WOKEN_NS; i++) {
        const uint64_t took = wait();
        best = took < best ? took : best;
    }
    return best;
}

Test(dispatch_waits, any_is_woken_by_a_cancel)
{
    const uint64_t took = best_of(wait_for_cancel);
    cr_assert(took < WOKEN_NS, "it took %d us", (int)(took / 1000));
}

Test(dispatch_waits, any_of_what_missed_its_deadline)
{
    const uint64_t took = best_of(wait_for_deadline);
    cr_assert(took < WOKEN_NS, "it took %d us", (int)(took / 1000));
}

/* Several threads wait for the first of the same submissions, again and again. */
enum { WAITERS = 3, ROUNDS = 40, EVENTS = 6 };

typedef struct waiter {
    clattn_event *event[EVENTS];
    atomic_int failed;
} waiter;

static void *wait_for_some(void *user)
{
    waiter *of = user;
    clattn_event *left[EVENTS];
    memcpy(left, of->event, sizeof left);
    for (uint32_t count = EVENTS; count > 0; count--) {
        uint32_t index = 0;
        atomic_fetch_add(&of->failed,
                         clattn_event_wait_any(left, count, UINT64_MAX, &index) != CLATTN_OK);
        left[index] = left[count - 1];
    }
    return NULL;
}

Test(dispatch_waits, many_wait_for_any)
{
    heads h;
    clattn_dispatcher *dispatcher[DISPATCHERS];
    open_heads(&h, NULL);
    for (int i = 0; i < DISPATCHERS; i++)
        dispatcher[i] = open_dispatcher(&h, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        waiter of = {.failed = 0};
        pthread_t thread[WAITERS];
        for (int i = 0; i < EVENTS; i++)
            of.event[i] = submit_head(&h, dispatcher[i % DISPATCHERS], (round + i) % HEADS, NULL,
                                      (uint64_t)(i % 2));
        for (int i = 0; i < WAITERS; i++)
            cr_assert_eq(pthread_create(&thread[i], NULL, wait_for_some, &of), 0);
        for (int i = 0; i < WAITERS; i++)
            cr_assert_eq(pthread_join(thread[i], NULL), 0);
        cr_assert_eq(atomic_load(&of.failed), 0);
        for (int i = 0; i < EVENTS; i++)
            clattn_event_release(of.event[i]);
    }
    for (int i = 0; i < DISPATCHERS; i++)
        clattn_dispatcher_destroy(dispatcher[i]);
    close_heads(&h);
}

Test(dispatch_waits, any_of_two_dispatchers)
{
    heads h;
    blocker b = {0};
    uint32_t index = 99;
    open_heads(&h, NULL);
    clattn_dispatcher *one = open_dispatcher(&h, NULL), *other = open_dispatcher(&h, NULL);
    block(&h, one, &b, 3000);
    clattn_event *events[2] = {b.event, submit_head(&h, other, 3, NULL, 0)};
    cr_assert_eq(clattn_event_wait_any(events, 0, 0, &index), CLATTN_ERR_ARGUMENT);
    cr_assert_eq(clattn_event_wait_any(events, 2, UINT64_MAX, &index), CLATTN_OK);
    cr_assert(index < 2);
    cr_assert_eq(clattn_event_wait_all(events, 2, UINT64_MAX), CLATTN_OK);
    cr_assert_eq(clattn_event_wait_all(events, 2, 0), CLATTN_OK, "it stays done");
    clattn_event_release(events[1]);
    unblock(&b);
    clattn_dispatcher_destroy(one);
    clattn_dispatcher_destroy(other);
    close_heads(&h);
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_waits_any_runs_out();
    dispatch_waits_all_runs_out();
    dispatch_waits_a_look_needs_no_thread();
    dispatch_waits_a_crowd_is_waited_for_asleep();
    dispatch_waits_any_of_what_missed_its_deadline();
    dispatch_waits_any_is_woken();
    dispatch_waits_any_names_the_first_place();
    dispatch_waits_any_of_one_direct_dispatcher();
    dispatch_waits_any_is_woken_by_a_cancel();
    dispatch_waits_many_wait_for_any();
    dispatch_waits_any_of_two_dispatchers();
    return 0;
}
#endif
