/* See additive_contract.h. */
#include "additive_contract.h"

#include <criterion/criterion.h>
#include <math.h>

#include "rig.h"

/* The largest sum of what a channel of GRAD_CHANNEL_BIAS is made of: it cancels, because gradients
 * of a query's scores sum up to 0, and tanh changes slowly. */
static double summed(const additive_problem *p, const double *grad_k)
{
    double most = 0;
    for (int64_t c = 0; c < p->form.channels; c++) {
        double sum = 0;
        for (int64_t j = 0; j < p->form.n_kv; j++)
            sum += fabs(grad_k[j * p->form.channels + c]);
        most = fmax(most, sum);
    }
    return most;
}

void additive_contract_add(clattn_context *context, clattn_dispatcher *dispatcher,
                           const additive_form *form, additive_worst of[CLATTN_SLOT_LIMIT])
{
    additive_problem p;
    additive_expected exact, plain;
    additive_make(form, &p);
    additive_run(context, dispatcher, &p);
    additive_expect(&p, false, &exact);
    additive_expect(&p, true, &plain);
    for (int slot = CLATTN_SLOT_OUT; slot < CLATTN_SLOT_LIMIT; slot++) {
        if (!exact.value[slot])
            continue;
        double largest;
        const double own =
            additive_error(p.value[slot], exact.value[slot], p.count[slot], &largest);
        double other = 0;
        if (slot == CLATTN_SLOT_GRAD_CHANNEL_BIAS)
            largest = fmax(largest, summed(&p, exact.value[CLATTN_SLOT_GRAD_K]));
        for (int64_t i = 0; i < p.count[slot]; i++)
            other = fmax(other, fabs(plain.value[slot][i] - exact.value[slot][i]));
        of[slot].own = fmax(of[slot].own, own);
        of[slot].plain = fmax(of[slot].plain, other);
        of[slot].largest = fmax(of[slot].largest, largest);
    }
    additive_expected_free(&exact);
    additive_expected_free(&plain);
    additive_free(&p);
}

void additive_contract_check(const additive_worst of[CLATTN_SLOT_LIMIT], clattn_dtype dtype)
{
    const double ulp = oracle_ulp((oracle_type)dtype);
    const double lse = 0x1p-24 * of[CLATTN_SLOT_LSE].largest;
    const additive_worst *out = &of[CLATTN_SLOT_OUT];
    cr_assert(out->own <= 2 * out->plain + 2 * ulp, "%s: OUT: error %g, plain %g", rig_said(),
              out->own, out->plain);
    for (int slot = CLATTN_SLOT_GRAD_Q; slot < CLATTN_SLOT_LIMIT; slot++)
        cr_assert(of[slot].own <= 3 * of[slot].plain + (4 * ulp + lse) * of[slot].largest,
                  "%s: slot %d: error %g, plain %g, largest %g", rig_said(), slot, of[slot].own,
                  of[slot].plain, of[slot].largest);
}
