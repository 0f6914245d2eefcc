/* Locks, threads and process identity on Windows, from Vista on. */
#include "base/thread.h"
#include "base/windows.h"

#include <process.h>

#include "base/clock.h"

/* thread.h has pointers, so that nobody else includes the system's header. */
_Static_assert(sizeof(clattn__mutex) == sizeof(SRWLOCK), "a lock is a pointer");
_Static_assert(sizeof(clattn__cond) == sizeof(CONDITION_VARIABLE), "a condition is a pointer");

static SRWLOCK *lock_of(clattn__mutex *mutex)
{
    return (SRWLOCK *)&mutex->native;
}

static CONDITION_VARIABLE *condition_of(clattn__cond *cond)
{
    return (CONDITION_VARIABLE *)&cond->native;
}

clattn_status clattn__mutex_init(clattn__mutex *mutex)
{
    InitializeSRWLock(lock_of(mutex));
    return CLATTN_OK;
}

void clattn__mutex_finish(clattn__mutex *mutex)
{
    (void)mutex; /* it has nothing of the system's */
}

void clattn__mutex_lock(clattn__mutex *mutex)
{
    AcquireSRWLockExclusive(lock_of(mutex));
}

void clattn__mutex_unlock(clattn__mutex *mutex)
{
    ReleaseSRWLockExclusive(lock_of(mutex));
}

clattn_status clattn__cond_init(clattn__cond *cond)
{
    InitializeConditionVariable(condition_of(cond));
    return CLATTN_OK;
}

void clattn__cond_finish(clattn__cond *cond)
{
    (void)cond;
}

void clattn__cond_wait(clattn__cond *cond, clattn__mutex *mutex)
{
    SleepConditionVariableSRW(condition_of(cond), lock_of(mutex), INFINITE, 0);
}

/* Whole milliseconds, rounded up: a caller that waits again until the time has come does not spin
 * through the last one. */
void clattn__cond_wait_until(clattn__cond *cond, clattn__mutex *mutex, uint64_t until_ns)
{
    const uint64_t now = clattn__now_ns(), left = until_ns > now ? until_ns - now : 0;
    const uint64_t milliseconds = left / 1000000u + (left % 1000000u != 0);
    const DWORD limit = milliseconds < INFINITE ? (DWORD)milliseconds : INFINITE - 1;
    SleepConditionVariableSRW(condition_of(cond), lock_of(mutex), limit, 0);
}

void clattn__cond_broadcast(clattn__cond *cond)
{
    WakeAllConditionVariable(condition_of(cond));
}

static unsigned __stdcall begin(void *user)
{
    clattn__thread *thread = user;
    thread->function(thread->user);
    return 0;
}

clattn_status clattn__thread_start(clattn__thread *thread, void *(*function)(void *), void *user)
{
    thread->function = function;
    thread->user = user;
    /* and not CreateThread: the C library has memory for each thread */
    const uintptr_t handle = _beginthreadex(NULL, 0, begin, thread, 0, NULL);
    if (!handle)
        return clattn__fail(CLATTN_ERR_OUT_OF_MEMORY, "a thread could not be started (%lu)",
                            GetLastError());
    thread->native = (void *)handle;
    return CLATTN_OK;
}

void clattn__thread_join(clattn__thread *thread)
{
    WaitForSingleObject(thread->native, INFINITE);
    CloseHandle(thread->native);
}

uint64_t clattn__process_id(void)
{
    return GetCurrentProcessId();
}

uint64_t clattn__process_generation(void)
{
    return 0; /* no fork() */
}

int clattn__process_runs(uint64_t id)
{
    if (id == 0 || id > UINT32_MAX)
        return 0;
    const HANDLE process = OpenProcess(SYNCHRONIZE, FALSE, (DWORD)id);
    if (!process)
        return GetLastError() == ERROR_ACCESS_DENIED;
    const DWORD state = WaitForSingleObject(process, 0);
    CloseHandle(process);
    return state == WAIT_TIMEOUT;
}
