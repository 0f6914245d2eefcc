/* How much work a problem is, roughly: what decides whether it is split, merged, and where it goes.
 * Pure functions. */
#ifndef CLATTN_SCHEDULE_ESTIMATE_H
#define CLATTN_SCHEDULE_ESTIMATE_H

#include "problem/problem.h"

/* Nanoseconds on a device that doesn't exist, of 100e9 operations and 10e9 bytes a second, with one
 * item at a time and `launches` launches; a real one is so much faster or slower, which is measured
 * (clattn__lane_state.speed). kv_lengths (batch) are the numbers of keys that count, NULL: all. */
double clattn__estimate_work(const clattn__problem *problem, uint32_t launches,
                             const int32_t *kv_lengths);

/* Nanoseconds that bytes take to a device with memory of its own, about; nobody measures it. */
double clattn__estimate_transfer(uint64_t bytes);

#endif
