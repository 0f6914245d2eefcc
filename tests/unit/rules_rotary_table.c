/* The rows of test_rules.c about RMS normalisation and rotary embedding, and about shifts. */
#include <math.h>

#include "rules_table.h"

#define DESC clattn_rotary_desc
const rules_row rules_rotary_rows[] = {
    {0, BAD, "desc: struct_size is 3; use clattn_rotary_desc_init", {WORD(struct_size, 3)}},
    {0, BAD, "batch: is -1", {LONG(batch, -1)}},
    {0, BAD, "n_head: is 0", {LONG(n_head, 0)}},
    {0, BAD, "n: is 2147483648", {LONG(n, P31)}},
    {0, BAD, "head_dim: is 577", {LONG(head_dim, 577)}},
    {0, BAD, "interleaved: is 2, must be 0 or 1", {WORD(interleaved, 2)}},
    {0, BAD, "rotary_dim: is 7, must be even and 2 to head_dim, 8", {LONG(rotary_dim, 7)}},
    {0, BAD, "rotary_dim: is 10, must be even", {LONG(rotary_dim, 10)}},
    {0, BAD, "rotary_dim: is 0, must be even and 2", {LONG(rotary_dim, 0), LONG(n_positions, 0)}},
    {0, BAD, "n_positions: is 0", {LONG(n_positions, 0)}},
    {0, BAD, "n_positions: is 2147483648", {LONG(n_positions, P31)}},
    {0, BAD, "rms_norm: is 2, must be 0 or 1", {WORD(rms_norm, 2), REAL(rms_epsilon, 1e-6f)}},
    {0, BAD, "rms_epsilon: is 0.5, but rms_norm is 0", {REAL(rms_epsilon, 0.5f)}},
    {0, BAD, "rms_epsilon: is 0, must be 2^-90 to 2^90", {WORD(rms_norm, 1)}},
    {0, BAD, "rms_epsilon: is -1, must be", {WORD(rms_norm, 1), REAL(rms_epsilon, -1)}},
    {0, BAD, "rms_epsilon: is nan, must be", {WORD(rms_norm, 1), REAL(rms_epsilon, NAN)}},
    {0, BAD, "rms_epsilon: is inf, must be", {WORD(rms_norm, 1), REAL(rms_epsilon, INFINITY)}},
    {0, BAD, "rms_epsilon: is 4.03897e-28", {WORD(rms_norm, 1), REAL(rms_epsilon, 0x1p-91f)}},
    {0, BAD, "slots: RMS_WEIGHT takes part, but rms_norm is 0", {SLOTS(BIT(RMS_WEIGHT))}},
    {0, BAD, "slots: POSITIONS and ANGLES take part by rotary_dim", {SLOTS(BIT(ANGLES))}},
    {0, BAD, "slots: K has no part in this operation", {SLOTS(BIT(K))}},
    {0, NOT, "slots: this version has no slot 60", {SLOTS(CLATTN_SLOT_BIT(60))}},
    {0,
     BAD,
     "rotary_dim: is 0, n_positions 9, interleaved 0, but ANGLES",
     {WORD(rms_norm, 1), REAL(rms_epsilon, 1), LONG(rotary_dim, 0)}},
    {0,
     NOT,
     "RMS_WEIGHT: can't be of type i32",
     {WORD(rms_norm, 1), REAL(rms_epsilon, 1), SLOTS(BIT(RMS_WEIGHT)), DTYPE(RMS_WEIGHT, 4)}},
    {0, NOT, "ANGLES: can't be of type f16", {DTYPE(ANGLES, 1)}},
    {0, NOT, "POSITIONS: can't be of type f16", {DTYPE(POSITIONS, 1)}},
    {0,
     NOT,
     "TOKEN_POSITIONS: can't be of type f16",
     {SLOTS(BIT(TOKEN_POSITIONS)), DTYPE(TOKEN_POSITIONS, 1)}},
    {0, BAD, "slots: POSITIONS and ANGLES take part", {SLOTS(BIT(POSITIONS))}},
    {0,
     BAD,
     "slots: TOKEN_POSITIONS takes part, but ANGLES does not",
     {WORD(rms_norm, 1), REAL(rms_epsilon, 1), LONG(rotary_dim, 0), LONG(n_positions, 0),
      SLOTS(BIT(TOKEN_POSITIONS))}},
    {0,
     BAD,
     "TOKEN_POSITIONS: spans more than 2^58 elements (stride[1] is",
     {SLOTS(BIT(TOKEN_POSITIONS)), STRIDED(TOKEN_POSITIONS), STEP(TOKEN_POSITIONS, 1, P58 + 1)}},
};
const size_t rules_rotary_row_count = sizeof rules_rotary_rows / sizeof rules_rotary_rows[0];

#undef DESC
#define DESC clattn_shift_desc
const rules_row rules_shift_rows[] = {
    {0, BAD, "desc: struct_size is 3; use clattn_shift_desc_init", {WORD(struct_size, 3)}},
    {0, BAD, "batch: is -1", {LONG(batch, -1)}},
    {0, BAD, "n_kv_head: is 0", {LONG(n_kv_head, 0)}},
    {0, BAD, "n_kv: is -1", {LONG(n_kv, -1)}},
    {0, BAD, "head_dim: is 0", {LONG(head_dim, 0)}},
    {0, BAD, "page_size: is 0", {LONG(page_size, 0)}},
    {0, BAD, "n_pages: is 2147483648", {LONG(n_pages, P31)}},
    {0, BAD, "page_limit: is 0", {LONG(page_limit, 0)}},
    {0, BAD, "interleaved: is 2", {WORD(interleaved, 2)}},
    {0, BAD, "rotary_dim: is 0, must be even", {LONG(rotary_dim, 0)}},
    {0, BAD, "rotary_dim: is 10", {LONG(rotary_dim, 10)}},
    {0, BAD, "n_positions: is 0", {LONG(n_positions, 0)}},
    {0, NOT, "PRESENT_K: is of type i8, which can't be rotated", {DTYPE(PRESENT_K, 6)}},
    {0, NOT, "PRESENT_K: is of type i4, which can't be rotated", {DTYPE(PRESENT_K, 7)}},
    {0, NOT, "PRESENT_K: can't be of type i32", {DTYPE(PRESENT_K, 4)}},
    {0, NOT, "SHIFTS: can't be of type f16", {DTYPE(SHIFTS, 1)}},
    {0, BAD, "PRESENT_K: is written, but stride[0] = 0", {STRIDED(PRESENT_K)}},
};
const size_t rules_shift_row_count = sizeof rules_shift_rows / sizeof rules_shift_rows[0];
