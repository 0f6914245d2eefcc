/* The contract of docs/numerics.md for additive attention and its gradients, over several problems
 * of a shape and magnitude. */
#ifndef TESTS_DEVICE_ADDITIVE_CONTRACT_H
#define TESTS_DEVICE_ADDITIVE_CONTRACT_H

#include "additive_rig.h"

/* Maxima of a slot's error, of the plain computation's, and of the numbers themselves. */
typedef struct additive_worst {
    double own, plain, largest;
} additive_worst;

/* Runs a problem, and adds its errors to those before, which begin with 0. */
void additive_contract_add(clattn_context *context, clattn_dispatcher *dispatcher,
                           const additive_form *form, additive_worst of[CLATTN_SLOT_LIMIT]);

/* Fails the test unless they keep the contract. Of OUT max |v| counts, which is 1. Weights of the
 * gradients are exp(score - LSE), and so have the rounding of LSE. */
void additive_contract_check(const additive_worst of[CLATTN_SLOT_LIMIT], clattn_dtype dtype);

#endif
