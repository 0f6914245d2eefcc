/* Monotonic time on Windows. */
#include "base/clock.h"
#include "base/windows.h"

/* Ticks of 100 ns from 1601 to 1970. */
#define TICKS_TO_1970 116444736000000000u

uint64_t clattn__now_ns(void)
{
    LARGE_INTEGER frequency, counter;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&counter);
    const uint64_t a_second = (uint64_t)frequency.QuadPart, ticks = (uint64_t)counter.QuadPart;
    /* in two parts: ticks * 1e9 would overflow after 15 minutes at 10 MHz */
    return ticks / a_second * 1000000000u + ticks % a_second * 1000000000u / a_second;
}

void clattn__sleep_ns(uint64_t nanoseconds)
{
    const uint64_t milliseconds = (nanoseconds + 999999u) / 1000000u;
    Sleep(milliseconds < INFINITE ? (DWORD)milliseconds : INFINITE - 1);
}

void clattn__yield(void)
{
    SwitchToThread();
}

uint64_t clattn__wall_seconds(void)
{
    FILETIME time;
    GetSystemTimeAsFileTime(&time);
    const uint64_t ticks = (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime;
    return ticks < TICKS_TO_1970 ? 0 : (ticks - TICKS_TO_1970) / 10000000u;
}
