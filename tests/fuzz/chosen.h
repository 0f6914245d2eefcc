/* What top_k and sample leave of a problem. */
#ifndef FUZZ_CHOSEN_H
#define FUZZ_CHOSEN_H

#include "expected.h"
#include "tests/oracle/oracle.h"

/* Hides all keys of a query but those of highest score: o->mask becomes a new one, owned by the
 * caller. Queries whose choice rounding decides become unsure. */
void fuzz_choose(const fuzz_problem *p, oracle_problem *o, fuzz_expected *e);

/* Once the oracle has computed what the chosen keys give: leaves of each query the key that its
 * number draws. The same where rounding decides. */
void fuzz_draw(const fuzz_problem *p, const oracle_problem *o, fuzz_expected *e);

#endif
