/* The rows of test_rules.c about clattn_additive_desc. */
#include "rules_table.h"

#define DESC clattn_additive_desc

/* base 0: the forward pass, 1: the gradients */
const rules_row rules_additive_rows[] = {
    {0, BAD, "desc: struct_size is 3; use clattn_additive_desc_init", {WORD(struct_size, 3)}},
    {0, BAD, "reserved: is 9, must be 0", {WORD(reserved, 9)}},
    {0, BAD, "batch: is -1", {LONG(batch, -1)}},
    {0, BAD, "n_head: is 0", {LONG(n_head, 0)}},
    {0, BAD, "n_q: is -1", {LONG(n_q, -1)}},
    {0, BAD, "n_kv: is 2147483648", {LONG(n_kv, P31)}},
    {0, BAD, "channels: is 0", {LONG(channels, 0)}},
    {0, BAD, "channels: is 4097", {LONG(channels, 4097)}},
    {0, BAD, "value_dim: is 0", {LONG(value_dim, 0)}},
    {0, BAD, "value_dim: is 4097", {LONG(value_dim, 4097)}},
    {0, NOT, "slots: this version has no slot 63", {SLOTS(CLATTN_SLOT_BIT(63))}},
    {0, BAD, "slots: W_SCORE always takes part", {SLOTS(BIT(W_SCORE))}},
    {0, BAD, "slots: BIAS has no part", {SLOTS(BIT(BIAS))}},
    {0, BAD, "slots: GRAD_Q has no part", {SLOTS(BIT(GRAD_Q))}},
    {0, BAD, "slots: SINK has no part", {SLOTS(BIT(SINK))}},
    {0, NOT, "W_SCORE: can't be of type i32", {WORD(tensor[CLATTN_SLOT_W_SCORE].dtype, 4)}},
    {0, BAD, "OUT: is written, but stride[0] = 0", {WORD(tensor[CLATTN_SLOT_OUT].strided, 1)}},
    {1, BAD, "slots: none of GRAD_Q, GRAD_K", {SLOTS(0)}},
    {1, BAD, "slots: GRAD_CHANNEL_BIAS takes part, but", {SLOTS(BIT(GRAD_CHANNEL_BIAS))}},
    {1, BAD, "slots: LSE always takes part", {SLOTS(BIT(LSE) | BIT(GRAD_Q))}},
    {1, BAD, "slots: WEIGHTS has no part", {SLOTS(BIT(WEIGHTS) | BIT(GRAD_Q))}},
    {1, BAD, "channels: is -1", {LONG(channels, -1)}},
};
const size_t rules_additive_row_count = sizeof rules_additive_rows / sizeof rules_additive_rows[0];
