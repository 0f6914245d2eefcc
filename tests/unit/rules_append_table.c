/* The rows of test_rules.c about clattn_append_desc. */
#include "rules_table.h"

#define FIELD(field, member, x)                                                                    \
    {                                                                                              \
        offsetof(clattn_append_desc, field), sizeof(((clattn_append_desc *)0)->field),             \
        {                                                                                          \
            .member = x                                                                            \
        }                                                                                          \
    }
#define WORD(field, x) FIELD(field, word, (uint32_t)(x))
#define LONG(field, x) FIELD(field, integer, x)
#define SLOTS(bits)    LONG(slots, (int64_t)(bits))

#define BAD CLATTN_ERR_ARGUMENT
#define NOT CLATTN_ERR_UNSUPPORTED
#define P31 ((int64_t)1 << 31)

const rules_row rules_append_rows[] = {
    {0, BAD, "desc: struct_size is 3; use clattn_append_desc_init", {WORD(struct_size, 3)}},
    {0, BAD, "reserved: is 9, must be 0", {WORD(reserved, 9)}},
    {0, BAD, "batch: is -1", {LONG(batch, -1)}},
    {0, BAD, "n_kv_head: is 0", {LONG(n_kv_head, 0)}},
    {0, BAD, "n_kv: is -1", {LONG(n_kv, -1)}},
    {0, BAD, "head_dim: is 577", {LONG(head_dim, 577)}},
    {0, BAD, "value_dim: is 0", {LONG(value_dim, 0)}},
    {0, BAD, "page_size: is 0", {LONG(page_size, 0)}},
    {0, BAD, "n_pages: is 2147483648", {LONG(n_pages, P31)}},
    {0, BAD, "page_limit: is 0", {LONG(page_limit, 0)}},
    {0, NOT, "slots: this version has no slot 60", {SLOTS(CLATTN_SLOT_BIT(60))}},
    {0, BAD, "slots: PAGES always takes part", {SLOTS(BIT(PAGES))}},
    {0, BAD, "slots: Q has no part", {SLOTS(BIT(Q))}},
    {0, BAD, "slots: OUT has no part", {SLOTS(BIT(OUT))}},
    {0, NOT, "PRESENT_K: can't be of type i32", {WORD(tensor[CLATTN_SLOT_PRESENT_K].dtype, 4)}},
    {0, NOT, "POSITIONS: can't be of type f16", {WORD(tensor[CLATTN_SLOT_POSITIONS].dtype, 1)}},
    {0, NOT, "K: can't be of type i8 in this", {WORD(tensor[CLATTN_SLOT_K].dtype, 6)}},
    {0,
     BAD,
     "slots: K_SCALES does not take part, but PRESENT_K is of type i8",
     {WORD(tensor[CLATTN_SLOT_PRESENT_K].dtype, 6)}},
    {0, BAD, "slots: V_SCALES takes part, but PRESENT_V is of type f32", {SLOTS(BIT(V_SCALES))}},
    {0, BAD, "rotary_dim: is 4, n_positions 0, interleaved 0, but ANGLES", {LONG(rotary_dim, 4)}},
    {0, BAD, "padding: is 1, must be 0", {WORD(padding, 1)}},
    {0,
     BAD,
     "rotary_dim: is 10, must be even and 2 to head_dim, 8",
     {SLOTS(BIT(ANGLES)), LONG(rotary_dim, 10), LONG(n_positions, 9)}},
    {0,
     BAD,
     "n_positions: is 0, must be 1 to 2147483647",
     {SLOTS(BIT(ANGLES)), LONG(rotary_dim, 4)}},
    {0,
     BAD,
     "interleaved: is 2, must be 0 or 1",
     {SLOTS(BIT(ANGLES)), LONG(rotary_dim, 4), LONG(n_positions, 9), WORD(interleaved, 2)}},
    {0, BAD, "scale_channels: is 16, must be 0 or 32", {LONG(scale_channels, 16)}},
    {0,
     BAD,
     "scale_channels: is 32, but neither K_SCALES nor V_SCALES takes part",
     {LONG(scale_channels, 32)}},
    {0,
     BAD,
     "PRESENT_V: value_dim is 5, must be even for two elements in a byte",
     {SLOTS(BIT(V_SCALES)), WORD(tensor[CLATTN_SLOT_PRESENT_V].dtype, 7), LONG(value_dim, 5)}},
    {0,
     BAD,
     "PRESENT_V: is written, but stride[0] = 0 makes",
     {WORD(tensor[CLATTN_SLOT_PRESENT_V].strided, 1)}},
};
const size_t rules_append_row_count = sizeof rules_append_rows / sizeof rules_append_rows[0];
