/* The contents of a problem's inputs. */
#ifndef FUZZ_CONTENTS_H
#define FUZZ_CONTENTS_H

#include "memory.h"

/* Fills every input of the set, gaps included. */
void fuzz_fill(const fuzz_problem *p, fuzz_set *set);

/* Calls visit(context, at) for every index of the slot's shape; tokens of ragged problems by
 * sequence, only those that there are. */
void fuzz_each(const fuzz_problem *p, int slot, void (*visit)(void *context, const int64_t *at),
               void *context);

#endif
