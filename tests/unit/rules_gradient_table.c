/* The rows of test_rules.c about the gradients of attention. */
#include "rules_table.h"

#define DESC clattn_attention_desc
#define LSE  (BIT(LSE))

const rules_row rules_gradient_rows[] = {
    {PLAIN, NOT, "top_k: is 2, must be 0 for gradients", {LONG(top_k, 2)}},
    {PLAIN, BAD, "desc: struct_size is 0", {WORD(struct_size, 0)}},
    {PLAIN, BAD, "n_head: is 0, must be 1", {LONG(n_head, 0)}},
    {PLAIN, BAD, "slots: LSE must take part: gradients are", {SLOTS(BIT(GRAD_Q))}},
    {PLAIN, BAD, "slots: none of GRAD_Q, GRAD_K, GRAD_V,", {SLOTS(LSE)}},
    {PLAIN, BAD, "slots: none of GRAD_Q", {SLOTS(LSE | BIT(GRAD_LSE))}},
    {PLAIN, BAD, "slots: OUT always takes part", {SLOTS(LSE | BIT(OUT))}},
    {PLAIN, BAD, "slots: GRAD_OUT always takes part", {SLOTS(LSE | BIT(GRAD_OUT))}},
    {PLAIN, BAD, "slots: WEIGHTS has no part", {SLOTS(LSE | BIT(GRAD_Q) | BIT(WEIGHTS))}},
    {PLAIN, BAD, "slots: WEIGHTS_MEAN has no part", {SLOTS(LSE | BIT(WEIGHTS_MEAN))}},
    {PLAIN, BAD, "slots: WEIGHTS_SUM has no part", {SLOTS(LSE | BIT(WEIGHTS_SUM))}},
    {PLAIN, BAD, "slots: SCORES has no part", {SLOTS(LSE | BIT(SCORES))}},
    {PLAIN, BAD, "slots: PRESENT_K has no part", {SLOTS(LSE | BIT(PRESENT_K))}},
    {PLAIN, BAD, "slots: PRESENT_V has no part", {SLOTS(LSE | BIT(PRESENT_V))}},
    {PLAIN, BAD, "slots: PARTIAL_OUT has no part", {SLOTS(LSE | BIT(PARTIAL_OUT))}},
    {PLAIN, BAD, "slots: GRAD_BIAS takes part, but BIAS does", {SLOTS(LSE | BIT(GRAD_BIAS))}},
    {PLAIN, BAD, "slots: GRAD_SINK takes part, but SINK does", {SLOTS(LSE | BIT(GRAD_SINK))}},
    {PLAIN, BAD, "slots: GRAD_PAST_K takes part, but PAST_K", {SLOTS(LSE | BIT(GRAD_PAST_K))}},
    {PLAIN, BAD, "slots: GRAD_PAST_V takes part, but PAST_V", {SLOTS(LSE | BIT(GRAD_PAST_V))}},
    {PLAIN, BAD, "score_stage: is 2, but SCORES", {WORD(score_stage, 2)}},
    {EVERYTHING, BAD, "score_gradient: is NULL, but gradients", {TEXT(score_gradient, NULL)}},
    {EVERYTHING, BAD, "score_gradient: is given, but score_", {TEXT(score_function, NULL)}},
    {EVERYTHING, BAD, "slots: SEED takes part, but dropout", {FIELD(dropout, real, 0)}},
    {PLAIN, NOT, "GRAD_OUT: can't be of type i32", {DTYPE(GRAD_OUT, CLATTN_I32)}},
    {PLAIN, NOT, "GRAD_Q: can't be of type bool", {DTYPE(GRAD_Q, CLATTN_BOOL)}},
    {PLAIN, NOT, "LSE: can't be of type f16", {DTYPE(LSE, CLATTN_F16)}},
    {EVERYTHING, NOT, "GRAD_LSE: can't be of type bf16", {DTYPE(GRAD_LSE, CLATTN_BF16)}},
    {EVERYTHING, NOT, "GRAD_SINK: can't be of type f16", {DTYPE(GRAD_SINK, CLATTN_F16)}},
    {EVERYTHING, NOT, "GRAD_BIAS: can't be of type i64", {DTYPE(GRAD_BIAS, CLATTN_I64)}},
    {PLAIN,
     BAD,
     "GRAD_K: is written, but stride[2] = 0 makes",
     {STRIDED(GRAD_K), STEP(GRAD_K, 0, 960), STEP(GRAD_K, 1, 120), STEP(GRAD_K, 3, 1)}},
    {EVERYTHING,
     BAD,
     "GRAD_BIAS: is written, but stride[3] = 1 makes",
     {STRIDED(GRAD_BIAS), STEP(GRAD_BIAS, 0, 0), STEP(GRAD_BIAS, 1, 1), STEP(GRAD_BIAS, 3, 1)}},
};
const size_t rules_gradient_row_count = sizeof rules_gradient_rows / sizeof rules_gradient_rows[0];
