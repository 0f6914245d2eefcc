/* The runs of check.h: with clean memory, with poisoned memory, or both. */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "used.h"

/* Runs on a copy of `set`, which goes to *after, and compares. */
static clattn_status run_and_compare(const fuzz_target *t, const fuzz_problem *p,
                                     const fuzz_set *set, const fuzz_expected *e, fuzz_set *after,
                                     fuzz_verdict *verdict)
{
    char message[256];
    fuzz_set_copy(set, after);
    const clattn_status status = fuzz_run(t, p, after, message, sizeof message);
    if (status == CLATTN_OK) {
        fuzz_compare(p, e, set, after, verdict);
    } else {
        verdict->good = false;
        snprintf(verdict->why, sizeof verdict->why, "%s", message);
    }
    return status;
}

fuzz_outcome fuzz_check(const fuzz_target *t, const fuzz_problem *p, const fuzz_set *set,
                        const fuzz_expected *e, fuzz_verdict *verdict)
{
    fuzz_set poisoned = {0}, clean_after = {0}, after = {0};
    clattn_status status = CLATTN_OK;
    *verdict = (fuzz_verdict){.good = e->wrong[0] == 0};
    if (!verdict->good) {
        snprintf(verdict->why, sizeof verdict->why, "%s", e->wrong);
        return FUZZ_FAILED;
    }
    if (p->poison != FUZZ_POISON)
        status = run_and_compare(t, p, set, e, &clean_after, verdict);
    if (p->poison != FUZZ_CLEAN && verdict->good) {
        fuzz_set_copy(set, &poisoned);
        fuzz_poison_set(p, e, &poisoned);
        status = run_and_compare(t, p, &poisoned, e, &after, verdict);
        if (!verdict->good && status == CLATTN_OK)
            strncat(verdict->why, " [poisoned]", sizeof verdict->why - strlen(verdict->why) - 1);
    }
    if (p->poison == FUZZ_BOTH && verdict->good)
        fuzz_compare_runs(p, &clean_after, &after, verdict);
    fuzz_set_free(&poisoned);
    fuzz_set_free(&clean_after);
    fuzz_set_free(&after);
    if (verdict->good)
        return FUZZ_PASSED;
    if (status != CLATTN_ERR_UNSUPPORTED)
        return FUZZ_FAILED;
    return t->must_accept && !p->merge ? FUZZ_UNSUPPORTED : FUZZ_DECLINED;
}

fuzz_outcome fuzz_check_alone(const fuzz_target *t, const fuzz_problem *p, fuzz_verdict *verdict)
{
    fuzz_set set;
    fuzz_expected e;
    fuzz_set_make(p, &set);
    fuzz_expect(p, &set, &e);
    const fuzz_outcome outcome = fuzz_check(t, p, &set, &e, verdict);
    fuzz_expected_free(&e);
    fuzz_set_free(&set);
    return outcome;
}
