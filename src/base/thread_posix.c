/* Locks, threads and process identity on POSIX systems. */
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE /* pthread_cond_timedwait_relative_np */
#endif
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

clattn_status clattn__mutex_init(clattn__mutex *mutex)
{
    if (pthread_mutex_init(&mutex->native, NULL) != 0)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "a lock could not be made");
    return CLATTN_OK;
}

void clattn__mutex_finish(clattn__mutex *mutex)
{
    pthread_mutex_destroy(&mutex->native);
}

void clattn__mutex_lock(clattn__mutex *mutex)
{
    pthread_mutex_lock(&mutex->native);
}

void clattn__mutex_unlock(clattn__mutex *mutex)
{
    pthread_mutex_unlock(&mutex->native);
}

/* Seconds that time_t does not hold (32 bits) become the last that it does. */
static struct timespec timespec_of(uint64_t nanoseconds)
{
    const uint64_t seconds = nanoseconds / 1000000000u;
    const uint64_t most = sizeof(time_t) > 4 ? INT64_MAX : INT32_MAX;
    const struct timespec time = {.tv_sec = (time_t)(seconds < most ? seconds : most),
                                  .tv_nsec = (long)(nanoseconds % 1000000000u)};
    return time;
}

/* macOS has one clock for conditions, which someone may set: there waiting is told how long, not
 * until when. */
#if defined(__APPLE__)
static int init_monotonic(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL);
}

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t until_ns)
{
    const uint64_t now = clattn__now_ns();
    const struct timespec left = timespec_of(until_ns > now ? until_ns - now : 0);
    pthread_cond_timedwait_relative_np(cond, mutex, &left);
}
#else
static int init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    if (!failed) {
        failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        failed = failed ? failed : pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    return failed;
}

static void wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t until_ns)
{
    const struct timespec until = timespec_of(until_ns);
    pthread_cond_timedwait(cond, mutex, &until);
}
#endif

clattn_status clattn__cond_init(clattn__cond *cond)
{
    return init_monotonic(&cond->native) == 0
               ? CLATTN_OK
               : clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "a condition could not be made");
}

void clattn__cond_finish(clattn__cond *cond)
{
    pthread_cond_destroy(&cond->native);
}

void clattn__cond_wait(clattn__cond *cond, clattn__mutex *mutex)
{
    pthread_cond_wait(&cond->native, &mutex->native);
}

void clattn__cond_wait_until(clattn__cond *cond, clattn__mutex *mutex, uint64_t until_ns)
{
    wait_until(&cond->native, &mutex->native, until_ns);
}

void clattn__cond_broadcast(clattn__cond *cond)
{
    pthread_cond_broadcast(&cond->native);
}

clattn_status clattn__thread_start(clattn__thread *thread, void *(*function)(void *), void *user)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread->native, NULL, function, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "a thread could not be started (%d)",
                                 failed)
                  : CLATTN_OK;
}

void clattn__thread_join(clattn__thread *thread)
{
    pthread_join(thread->native, NULL);
}

uint64_t clattn__process_id(void)
{
    return (uint64_t)getpid();
}

#if defined(__APPLE__)
/* getpid() is no system call there, and what fork() is to call outlives an unloaded library. */
uint64_t clattn__process_generation(void)
{
    return clattn__process_id();
}
#else
static _Atomic uint64_t generation;

static void count_fork(void)
{
    atomic_fetch_add(&generation, 1);
}

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, count_fork) != 0)
        atomic_store(&generation, UINT64_MAX);
}

uint64_t clattn__process_generation(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    const uint64_t found = atomic_load(&generation);
    return found == UINT64_MAX ? clattn__process_id() : found; /* forks can't be watched */
}
#endif

int clattn__process_runs(uint64_t id)
{
    if (id == 0 || id > INT32_MAX)
        return 0;
    return kill((pid_t)id, 0) == 0 || errno == EPERM;
}
