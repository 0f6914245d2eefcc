/* Makes a failing problem smaller, so that a person sees what matters in it. */
#ifndef FUZZ_SHRINK_H
#define FUZZ_SHRINK_H

#include "problem.h"

typedef bool (*fuzz_fails)(void *context, const fuzz_problem *p);

/* Simplifies *p, step by step, as long as it still fails. */
void fuzz_shrink(fuzz_problem *p, fuzz_fails fails, void *context);

#endif
