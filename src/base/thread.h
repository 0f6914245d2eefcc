/* Locks and process identity. One implementation a system: thread_posix.c. */
#ifndef CLATTN_BASE_THREAD_H
#define CLATTN_BASE_THREAD_H

#include <stdint.h>

#include "base/status.h"

#if defined(_WIN32)
#error "thread.h has no implementation for this system yet"
#else
#include <pthread.h>
typedef struct clattn__mutex {
    pthread_mutex_t native;
} clattn__mutex;
#endif

clattn_status clattn__mutex_init(clattn__mutex *mutex);
void clattn__mutex_finish(clattn__mutex *mutex);
void clattn__mutex_lock(clattn__mutex *mutex);
void clattn__mutex_unlock(clattn__mutex *mutex);

/* Changes after fork(). */
uint64_t clattn__process_id(void);

/* Whether a process of this id runs now; 1 also where that can't be known. */
int clattn__process_runs(uint64_t id);

#endif
