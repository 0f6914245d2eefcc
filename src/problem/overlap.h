/* Whether two tensors of an operation share memory in a way that does harm. Pure arithmetic. */
#ifndef CLATTN_PROBLEM_OVERLAP_H
#define CLATTN_PROBLEM_OVERLAP_H

#include "problem/problem.h"

/* `a_at` and `b_at` are the addresses of the elements (0, 0, ...) in bytes, in one address space.
 * False where nothing of either is written, where elements lie between each other without
 * touching, as slices of a larger tensor do, and where PRESENT_K or PRESENT_V hold what is copied
 * into them already. True may err where layouts are too odd to be told apart. */
bool clattn__slots_collide(const clattn__problem *problem, clattn_slot a, uint64_t a_at,
                           clattn_slot b, uint64_t b_at);

#endif
