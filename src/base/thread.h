/* Locks, threads and process identity. One implementation a system: thread_posix.c,
 * thread_windows.c. */
#ifndef CLATTN_BASE_THREAD_H
#define CLATTN_BASE_THREAD_H

#include <stdint.h>

#include "base/status.h"

#if defined(_WIN32)
typedef struct clattn__mutex {
    void *native; /* an SRWLOCK */
} clattn__mutex;
typedef struct clattn__cond {
    void *native; /* a CONDITION_VARIABLE */
} clattn__cond;
typedef struct clattn__thread {
    void *native; /* a handle */
    void *(*function)(void *);
    void *user; /* borrowed */
} clattn__thread;
#else
#include <pthread.h>
typedef struct clattn__mutex {
    pthread_mutex_t native;
} clattn__mutex;
typedef struct clattn__cond {
    pthread_cond_t native;
} clattn__cond;
typedef struct clattn__thread {
    pthread_t native;
} clattn__thread;
#endif

clattn_status clattn__mutex_init(clattn__mutex *mutex);
void clattn__mutex_finish(clattn__mutex *mutex);
void clattn__mutex_lock(clattn__mutex *mutex);
void clattn__mutex_unlock(clattn__mutex *mutex);

/* Waiting for something that others do under a mutex, which the waiting thread holds. */
clattn_status clattn__cond_init(clattn__cond *cond);
void clattn__cond_finish(clattn__cond *cond);
void clattn__cond_wait(clattn__cond *cond, clattn__mutex *mutex);
/* The same until the monotonic clock shows `until_ns`, at the longest. */
void clattn__cond_wait_until(clattn__cond *cond, clattn__mutex *mutex, uint64_t until_ns);
void clattn__cond_broadcast(clattn__cond *cond);

/* A thread that gets none of the process's signals. *thread stays where it is until the join. */
clattn_status clattn__thread_start(clattn__thread *thread, void *(*function)(void *), void *user);
void clattn__thread_join(clattn__thread *thread);

uint64_t clattn__process_id(void); /* may be a system call */

/* Changes in the child of a fork(), and costs no system call. Counts from its first call on. */
uint64_t clattn__process_generation(void);

/* Whether a process of this id runs now; 1 also where that can't be known. */
int clattn__process_runs(uint64_t id);

#endif
