/* Random layouts and contents of one tensor. */
#ifndef FUZZ_GENERATE_TENSOR_H
#define FUZZ_GENERATE_TENSOR_H

#include "problem.h"
#include "random.h"

/* Sets all of p->tensor[slot] but `present`. */
void fuzz_generate_tensor(fuzz_problem *p, int slot, fuzz_random *r);

#endif
