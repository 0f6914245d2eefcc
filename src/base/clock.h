/* Monotonic time. One implementation a system: clock_posix.c, clock_windows.c. */
#ifndef CLATTN_BASE_CLOCK_H
#define CLATTN_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some fixed moment. */
uint64_t clattn__now_ns(void);

/* Gives the core away for about this long. */
void clattn__sleep_ns(uint64_t nanoseconds);

/* Lets other threads that are ready use the core; returns at once where there are none. */
void clattn__yield(void);

/* Seconds since 1970, of a clock that someone may set. */
uint64_t clattn__wall_seconds(void);

#endif
