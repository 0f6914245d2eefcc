/* A problem in words. */
#ifndef FUZZ_DESCRIBE_H
#define FUZZ_DESCRIBE_H

#include <stdio.h>

#include "problem.h"

void fuzz_print(FILE *to, const fuzz_problem *p);

#endif
