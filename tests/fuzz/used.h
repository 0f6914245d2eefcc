/* Which elements of its inputs a problem's results may depend on; all others may hold anything. */
#ifndef FUZZ_USED_H
#define FUZZ_USED_H

#include "expected.h"
#include "tests/oracle/oracle.h"

/* Sets e->used by the rules of visibility; o: the same problem in the oracle's form. */
void fuzz_mark(const fuzz_problem *p, const fuzz_set *set, const oracle_problem *o,
               fuzz_expected *e);
void fuzz_mark_merge(const fuzz_problem *p, const fuzz_set *set, fuzz_expected *e);

/* Writes into everything that is not used. */
void fuzz_poison_set(const fuzz_problem *p, const fuzz_expected *e, fuzz_set *set);

#endif
