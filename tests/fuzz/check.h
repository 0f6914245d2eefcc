/* One problem on one kernel and device. */
#ifndef FUZZ_CHECK_H
#define FUZZ_CHECK_H

#include "compare.h"
#include "run.h"

typedef enum fuzz_outcome {
    FUZZ_PASSED,
    FUZZ_DECLINED,
    FUZZ_UNSUPPORTED,
    FUZZ_FAILED
} fuzz_outcome;

/* set, e: of this problem. The verdict says why it failed, or why it was declined. */
fuzz_outcome fuzz_check(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *set,
                        const fuzz_expected *e, fuzz_verdict *verdict);

/* The same with set and expectation made here. */
fuzz_outcome fuzz_check_alone(const fuzz_target *t, const fuzz_problem *p, fuzz_verdict *verdict);

#endif
