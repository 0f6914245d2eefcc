/* Gradients of attention as the chain rule writes them, in double precision: of a loss whose
 * derivatives by out and lse are given. For query i, with w the weights, kept what dropout leaves
 * of each (0 or 1 / (1 - dropout)), and g, e the derivatives by out and lse: a[j]     = kept[j] g .
 * v[j]                                    derivative by w[j] s'[j]    = w[j] (a[j] - sum over n of
 * w[n] a[n] + e)           by the score sink'    = w_sink (0 - sum over n of w[n] a[n] + e) by the
 * sink t'[j]    = s'[j] score_function'(..) (1 - tanh^2)              by scale * q . k q'       =
 * sum over j of scale t'[j] k[j] k'[j]    = sum over i of scale t'[j] q,  v'[j] = sum over i of
 * kept[j] w[j] g Pairs that aren't visible give nothing. */
#ifndef GRADIENT_H
#define GRADIENT_H

#include "oracle.h"
#include "storage.h"

/* One number for each input; NULL: not wanted. */
typedef struct oracle_gradients {
    double *q;    /* (batch, n_head, n_q, head_dim) */
    double *k;    /* (batch, n_kv_head, n_kv, head_dim) */
    double *v;    /* (batch, n_kv_head, n_kv, value_dim) */
    double *bias; /* (batch, n_head, n_q, n_kv) */
    double *sink; /* (n_head) */
} oracle_gradients;

typedef struct oracle_loss {
    const float *by_out;            /* (batch, n_head, n_q, value_dim) */
    const float *by_lse;            /* (batch, n_head, n_q), or NULL: 0 */
    oracle_score_fn score_gradient; /* derivative of the problem's score_function by s */
} oracle_loss;

/* Fills what is wanted of `to`, and of `terms` the sums of the absolute values of what each number
 * is made of, with the terms of its scores: relative rounding by u makes an error of some u *
 * terms. false: out of memory. The outputs of the problem itself are not used. */
bool oracle_gradient(const oracle_problem *problem, const oracle_loss *loss,
                     const oracle_gradients *to, const oracle_gradients *terms);

/* The same as a program does it that isn't fused: scores, weights, their derivatives and the
 * results are tensors of the type, sums are float32 and in ascending order. */
bool oracle_plain_gradient(const oracle_problem *problem, const oracle_loss *loss, oracle_type type,
                           const oracle_gradients *to);

#endif
