/* Locks, threads and process identity on POSIX systems. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

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

clattn_status clattn__cond_init(clattn__cond *cond)
{
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    if (!failed) {
        failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        failed = failed ? failed : pthread_cond_init(&cond->native, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    return failed ? clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "a condition could not be made")
                  : CLATTN_OK;
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
    const struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                                   .tv_nsec = (long)(until_ns % 1000000000u)};
    pthread_cond_timedwait(&cond->native, &mutex->native, &until);
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

int clattn__thread_is_self(const clattn__thread *thread)
{
    return pthread_equal(thread->native, pthread_self());
}

uint64_t clattn__process_id(void)
{
    return (uint64_t)getpid();
}

int clattn__process_runs(uint64_t id)
{
    if (id == 0 || id > INT32_MAX)
        return 0;
    return kill((pid_t)id, 0) == 0 || errno == EPERM;
}
