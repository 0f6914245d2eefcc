/* What comparing one tensor found so far. */
#ifndef CLATTN_TOOL_VERIFY_TALLY_H
#define CLATTN_TOOL_VERIFY_TALLY_H

#include <stdint.h>

#include "tests/oracle/storage.h"

typedef struct verify_tally {
    double error, plain_error, largest;
} verify_tally;

/* x, expected, plain: (count). Expected values beyond the type count as infinite. */
void verify_compare(verify_tally *sum, oracle_type type, const float *x, const double *expected,
                    const double *plain, int64_t count);

#endif
