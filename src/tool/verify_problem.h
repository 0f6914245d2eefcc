/* What --verify computes at a time: some queries of one batch entry, all heads, as the oracle takes
 * them: contiguous, past and new keys in one, ragged sequences padded, broadcast tensors expanded.
 */
#ifndef CLATTN_TOOL_VERIFY_PROBLEM_H
#define CLATTN_TOOL_VERIFY_PROBLEM_H

#include "tests/oracle/oracle.h"
#include "tool/attention_tensors.h"
#include "tool/verify_tally.h"

typedef struct verify_problem {
    const clattn_attention_desc *desc;
    const attention_tensors *tensors;
    int64_t b, first, block; /* queries first .. first + oracle.n_q - 1, at most block */
    oracle_problem oracle;   /* without outputs */
    int32_t q_length, kv_length;
    float *q;      /* (n_head, block, head_dim) */
    float *k, *v;  /* (n_kv_head, keys, head_dim), (n_kv_head, keys, value_dim) */
    float *bias;   /* (n_head, block, keys), or NULL */
    uint8_t *mask; /* (n_head, block, keys), or NULL; with --top-k there is one */
} verify_problem;

/* For arrays of floats, after the device has computed. false: out of memory. */
bool verify_problem_init(verify_problem *of, const clattn_attention_desc *desc,
                         const attention_tensors *tensors);
void verify_problem_finish(verify_problem *of);

/* Takes the keys and values of a batch entry, then a block of its queries. */
void verify_problem_take_entry(verify_problem *of, int64_t b);
void verify_problem_take_block(verify_problem *of, int64_t first);

/* With --top-k: checks INDICES of the block, for a tally of how much a key that was left out is
 * above one that is listed (infinite: not a list of visible keys, each once), and hides all other
 * keys. false: out of memory. verify_choice.c. */
bool verify_choice(verify_problem *of, verify_tally *sum);

/* Element (at, 0) of an array of a slot, of floats: at has batch entry, head and token, of which
 * those count that the slot's shape has before its last dimension; (at) for the LSE. */
int64_t verify_element(const attention_tensors *tensors, clattn_slot slot, const int64_t at[3]);

#endif
