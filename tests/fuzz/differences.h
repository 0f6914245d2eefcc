/* Whether the oracle's gradients are what finite differences of attention in double precision say.
 */
#ifndef FUZZ_DIFFERENCES_H
#define FUZZ_DIFFERENCES_H

#include <stddef.h>

#include "random.h"
#include "tests/oracle/gradient.h"

/* Looks at some elements of each gradient, chosen at random. false: one is wrong, and `why` says
 * which. The problem's inputs are changed and restored. */
bool fuzz_differences(const oracle_problem *o, const oracle_loss *loss,
                      const oracle_gradients *exact, fuzz_random *r, char *why, size_t size);

#endif
