/* The rows of test_rules.c about clattn_merge_desc. */
#include "rules_table.h"

#define DESC clattn_merge_desc

const rules_row rules_merge_rows[] = {
    {0, BAD, "desc: struct_size is 3; use clattn_merge_desc_init", {WORD(struct_size, 3)}},
    {0, BAD, "desc: struct_size is 4294967295", {WORD(struct_size, UINT32_MAX)}},
    {0, BAD, "reserved: is 9, must be 0", {WORD(reserved, 9)}},
    {0, BAD, "parts: is 0, must be 1 to 2147483647", {LONG(parts, 0)}},
    {0, BAD, "parts: is 2147483648", {LONG(parts, P31)}},
    {0, BAD, "batch: is -1", {LONG(batch, -1)}},
    {0, BAD, "n_head: is 0", {LONG(n_head, 0)}},
    {0, BAD, "n_q: is -1", {LONG(n_q, -1)}},
    {0, BAD, "value_dim: is 0, must be 1 to 576", {LONG(value_dim, 0)}},
    {0, BAD, "value_dim: is 577", {LONG(value_dim, 577)}},
    {0, NOT, "slots: this version has no slot 60", {SLOTS(CLATTN_SLOT_BIT(60))}},
    {0, BAD, "slots: OUT always takes part", {SLOTS(BIT(OUT))}},
    {0, BAD, "slots: PARTIAL_LSE always takes part", {SLOTS(BIT(PARTIAL_LSE))}},
    {0, BAD, "slots: Q has no part in this operation", {SLOTS(BIT(Q))}},
    {0, BAD, "slots: WEIGHTS has no part", {SLOTS(BIT(WEIGHTS))}},
    {0, BAD, "slots: Q_LENGTHS has no part", {SLOTS(BIT(Q_LENGTHS))}},
    {0, BAD, "PARTIAL_OUT: strided is 2", {WORD(tensor[CLATTN_SLOT_PARTIAL_OUT].strided, 2)}},
    {0, NOT, "PARTIAL_LSE: can't be of type f16", {WORD(tensor[CLATTN_SLOT_PARTIAL_LSE].dtype, 1)}},
    {0, NOT, "OUT: can't be of type bool", {WORD(tensor[CLATTN_SLOT_OUT].dtype, 3)}},
    {0, NOT, "OUT: this version has no data type 9", {WORD(tensor[CLATTN_SLOT_OUT].dtype, 9)}},
    {0,
     BAD,
     "PARTIAL_OUT: spans more than 2^58 elements (stride[0]",
     {WORD(tensor[CLATTN_SLOT_PARTIAL_OUT].strided, 1),
      LONG(tensor[CLATTN_SLOT_PARTIAL_OUT].stride[0], INT64_MAX)}},
    {0,
     BAD,
     "PARTIAL_OUT: spans more than 2^58 elements (stride[4]",
     {WORD(tensor[CLATTN_SLOT_PARTIAL_OUT].strided, 1),
      LONG(tensor[CLATTN_SLOT_PARTIAL_OUT].stride[4], INT64_MIN)}},
    {0,
     BAD,
     "OUT: is written, but stride[0] = 0 makes",
     {WORD(tensor[CLATTN_SLOT_OUT].strided, 1)}},
};
const size_t rules_merge_row_count = sizeof rules_merge_rows / sizeof rules_merge_rows[0];
