/* Monotonic time on POSIX systems. */
#include "base/clock.h"

#include <sched.h>
#include <time.h>

uint64_t clattn__now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void clattn__sleep_ns(uint64_t nanoseconds)
{
    struct timespec time = {.tv_sec = (time_t)(nanoseconds / 1000000000u),
                            .tv_nsec = (long)(nanoseconds % 1000000000u)};
    nanosleep(&time, NULL);
}

void clattn__yield(void)
{
    sched_yield();
}

uint64_t clattn__wall_seconds(void)
{
    const time_t now = time(NULL);
    return now < 0 ? 0 : (uint64_t)now;
}
