/* Locks and process identity on POSIX systems. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
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
