/* Gradients as the formulas say them, pair by pair: what the reference kernels of gradients share.
 * With p the weights, D = GRAD_OUT . OUT - GRAD_LSE of a query, and kept what dropout makes of a
 * weight:
 *    d weight(i, j) = kept(i, j) GRAD_OUT(i) . v(j)
 *    d score(i, j)  = p(i, j) (d weight(i, j) - D(i))
 * and d score times the slope of softcap and caller's function, times scale, is that of q . k. */
#ifndef CLATTN_REFERENCE_GRADIENT_H
#define CLATTN_REFERENCE_GRADIENT_H

#include "common/gradient.h"
#include "common/reference.h"

/* One query, and what its gradients are made of. */
typedef struct query_gradient {
    query x;
    rows_of values;
    __global const void *grad_out;  /* the memory object */
    long grad_begin;                /* element (batch, head, i, 0) */
    float shift, normaliser, delta; /* see gradient_rows.cl; 0 beyond the queries */
} query_gradient;

static query_gradient query_gradient_init(__global const clattn_problem_row *row,
                                          const clattn_base *base, int batch, int head, int i,
                                          GRADIENT_PARAMETERS, OPTION_PARAMETERS)
{
    __global const clattn_tensor_row *t = row->tensor;
    query_gradient g;
    g.x = query_init(row, base, batch, head, i, q, k, past_k, OPTION_ARGUMENTS);
    g.values = rows_init(row, base, past_v, CLATTN_T_PAST_V, v, CLATTN_T_V, batch,
                         head / row->group, g.x.of.keys.first, pages);
    const long token = g.x.of.queries.first + i;
    g.grad_out = grad_out;
    g.grad_begin = tensor_begin(row, base, CLATTN_T_GRAD_OUT, batch, head) +
                   token * t[CLATTN_T_GRAD_OUT].stride[2];
    g.shift = g.normaliser = g.delta = 0.0f;
    if (i < g.x.of.queries.count) {
        __global const float *own = gradient_rows +
                                    tensor_begin(row, base, CLATTN_T_GRADIENT_ROWS, batch, head) +
                                    token * CLATTN_GRADIENT_ROW;
        g.shift = own[0];
        g.normaliser = own[1];
        g.delta = own[2];
    }
    return g;
}

/* What a pair gives to gradients; all 0 where the pair isn't visible. */
typedef struct pair_gradient {
    int visible;
    float kept;    /* the weight after dropout, by which GRAD_OUT goes into that of the value */
    float score;   /* gradient of the final score */
    float product; /* gradient of q . k */
} pair_gradient;

/* Key j must be in a run of the query. */
static pair_gradient pair(const query_gradient *g, int j)
{
    const pairs *of = &g->x.of;
    __global const clattn_problem_row *row = of->row;
    const float capped = cap_scores(of, product(&g->x, j));
    const float s = finish_scores(of, capped, g->x.i, j, 0, of->keys.count);
    pair_gradient d = {0, 0.0f, 0.0f, 0.0f};
    if (s == -INFINITY)
        return d;
    const int past = j < g->values.n_past ? 0 : 1;
    const long value = g->values.begin[past] + j * g->values.step[past];
    float weight = 0.0f;
    for (int c = 0; c < row->value_dim; c++)
        weight +=
            load_element(g->grad_out, g->grad_begin + c * row->tensor[CLATTN_T_GRAD_OUT].stride[3],
                         row->dtype[CLATTN_T_GRAD_OUT]) *
            load_element(g->values.memory[past], value + c * g->values.inner[past],
                         g->values.dtype[past]);
    const float p = exp(softmax_exponent(s, g->shift)) * g->normaliser;
    d.visible = 1;
    d.kept = p;
    if (of->flags & CLATTN_F_DROPOUT) {
        d.kept = drop_weight(of, p, g->x.i, j);
        weight = drop_weight(of, weight, g->x.i, j);
    }
    d.score = p * (weight - g->delta);
    d.product = d.score * score_slopes(of, capped, 1, g->x.i, j) * row->scale;
    return d;
}

/* A row of GRAD_K, GRAD_V or their past: `to` as rows_init made it of the gradients' tensors, that
 * of past ones and that of new ones; bits: of either, in row->gradients. */
static void store_row(const float *x, int dim, const rows_of *to, int j, uint past_bit,
                      uint new_bit, uint gradients)
{
    const int past = j < to->n_past ? 0 : 1;
    if (!(gradients & (past ? new_bit : past_bit)))
        return;
    for (int d = 0; d < dim; d++)
        store_element(x[d], (__global void *)to->memory[past],
                      to->begin[past] + j * to->step[past] + d * to->inner[past], to->dtype[past]);
}

#endif
