/* Values that index: lengths and block lists, checked where the host can read them. */
#ifndef CLATTN_PROBLEM_VALUES_H
#define CLATTN_PROBLEM_VALUES_H

#include "problem/problem.h"

/* at (CLATTN_SLOT_LIMIT): address of element (0, 0, ...) of each slot that the host can read, NULL
 * for the others. */
clattn_status clattn__values_check(const clattn__problem *problem, const void *const *at);

#endif
