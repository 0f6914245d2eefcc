/* The plain unfused computation that the accuracy of results is measured by: scores, then weights,
 * then output, each a tensor of its own in a storage type; sums in float32, in ascending order. It
 * is what a program without fused attention does. Not exact: oracle.h has what is right. */
#ifndef PLAIN_H
#define PLAIN_H

#include "oracle.h"
#include "storage.h"

/* Fills the same outputs as oracle_attention(). Scores, weights and out are rounded to `type`, and
 * so are the outputs made from them; lse is float32. A score beyond the type's largest number
 * becomes that number. The caller's functions get and give float32. false: out of memory. */
bool oracle_plain(const oracle_problem *problem, oracle_type type);

/* The same outputs as oracle_merge(): the parts' shares and out are rounded to `type`. */
void oracle_plain_merge(const oracle_merge_problem *problem, oracle_type type);

#endif
