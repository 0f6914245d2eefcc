/* Makes random problems. */
#ifndef FUZZ_GENERATE_H
#define FUZZ_GENERATE_H

#include "problem.h"

/* The problem of this seed and index; the same on every machine. */
void fuzz_generate(uint64_t seed, uint64_t index, fuzz_problem *p);

/* A problem of gradients that finite differences can check: small, smooth, of tame numbers. Its
 * index has the upper half of its own; it is the same again from that. */
void fuzz_generate_smooth(uint64_t seed, uint64_t index, fuzz_problem *p);

/* Takes back what contradicts the rest: alignment without use, past slots without past, values that
 * would leave float32, and the like. The result is a valid problem. */
void fuzz_settle(fuzz_problem *p);

#endif
