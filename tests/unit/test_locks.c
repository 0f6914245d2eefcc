/* Locks, conditions, threads and time, as each system has them. */
#include <criterion/criterion.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/thread.h"

enum { THREADS = 4, ROUNDS = 20000 };
#define MILLISECOND 1000000u

typedef struct shared {
    clattn__mutex mutex;
    clattn__cond cond;
    clattn__thread threads[THREADS];
    uint64_t count; /* what the mutex protects */
    int turn, arrived;
} shared;

static void begin(shared *of)
{
    memset(of, 0, sizeof *of);
    cr_assert_eq(clattn__mutex_init(&of->mutex), CLATTN_OK);
    cr_assert_eq(clattn__cond_init(&of->cond), CLATTN_OK);
}

static void finish(shared *of)
{
    clattn__cond_finish(&of->cond);
    clattn__mutex_finish(&of->mutex);
}

static void start(shared *of, void *(*function)(void *))
{
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(clattn__thread_start(&of->threads[i], function, of), CLATTN_OK);
}

static void join(shared *of)
{
    for (int i = 0; i < THREADS; i++)
        clattn__thread_join(&of->threads[i]);
}

static void *add(void *user)
{
    shared *of = user;
    for (int i = 0; i < ROUNDS; i++) {
        clattn__mutex_lock(&of->mutex);
        of->count++;
        clattn__mutex_unlock(&of->mutex);
    }
    return NULL;
}

Test(locks, nothing_is_lost)
{
    shared of;
    begin(&of);
    start(&of, add);
    join(&of);
    cr_assert_eq(of.count, (uint64_t)THREADS * ROUNDS);
    finish(&of);
}

/* Each waits for its turn; a wake-up that is lost would never end. */
static void *take_turns(void *user)
{
    shared *of = user;
    clattn__mutex_lock(&of->mutex);
    const int own = of->arrived++;
    for (int round = 0; round < 50; round++) {
        while (of->turn != own)
            clattn__cond_wait(&of->cond, &of->mutex);
        of->turn = (of->turn + 1) % THREADS;
        of->count++;
        clattn__cond_broadcast(&of->cond);
    }
    clattn__mutex_unlock(&of->mutex);
    return NULL;
}

Test(locks, conditions_wake_all)
{
    shared of;
    begin(&of);
    start(&of, take_turns);
    join(&of);
    cr_assert_eq(of.count, 50 * THREADS);
    finish(&of);
}

/* How long a wait until `ahead` nanoseconds from now takes where nobody ends it. */
static uint64_t waited(shared *of, int64_t ahead)
{
    const uint64_t begun = clattn__now_ns();
    clattn__mutex_lock(&of->mutex);
    clattn__cond_wait_until(&of->cond, &of->mutex, begun + (uint64_t)ahead);
    clattn__mutex_unlock(&of->mutex);
    return clattn__now_ns() - begun;
}

Test(locks, waiting_has_a_limit)
{
    shared of;
    begin(&of);
    cr_assert_geq(waited(&of, 30 * MILLISECOND), 30 * MILLISECOND);
    cr_assert_geq(waited(&of, 1), 1);
    cr_assert_lt(waited(&of, 0), 5000 * (uint64_t)MILLISECOND);
    cr_assert_lt(waited(&of, -(int64_t)MILLISECOND), 5000 * (uint64_t)MILLISECOND);
    finish(&of);
}

static void *wake(void *user)
{
    shared *of = user;
    clattn__sleep_ns(5 * MILLISECOND);
    clattn__mutex_lock(&of->mutex);
    of->turn = 1;
    clattn__cond_broadcast(&of->cond);
    clattn__mutex_unlock(&of->mutex);
    return NULL;
}

/* Limits that no wait reaches: an hour, and the last moment of the clock. */
Test(locks, waiting_ends_before_its_limit)
{
    const uint64_t limits[] = {clattn__now_ns() + 3600000000000u, UINT64_MAX};
    for (int i = 0; i < 2; i++) {
        shared of;
        begin(&of);
        start(&of, wake);
        clattn__mutex_lock(&of.mutex);
        while (of.turn == 0)
            clattn__cond_wait_until(&of.cond, &of.mutex, limits[i]);
        clattn__mutex_unlock(&of.mutex);
        join(&of);
        finish(&of);
    }
}

Test(locks, time_goes_forward)
{
    uint64_t last = clattn__now_ns();
    for (int i = 0; i < 100000; i++) {
        const uint64_t now = clattn__now_ns();
        cr_assert_geq(now, last);
        last = now;
    }
    cr_assert_gt(clattn__wall_seconds(), 1700000000u); /* after 2023 */
    cr_assert_lt(clattn__wall_seconds(), 5000000000u); /* before 2128: seconds, since 1970 */
}
