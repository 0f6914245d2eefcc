/* One row of queries: where it is, what it sees, and its scores. Shared by the computation in
 * double precision and the plain one. */
#ifndef ORACLE_ROW_H
#define ORACLE_ROW_H

#include "oracle.h"

/* Query i of head h (key/value head g) in batch entry b. */
typedef struct oracle_row {
    int64_t b, h, g, i;
    int64_t queries, keys; /* of the batch entry */
    int64_t position;      /* i + offset */
} oracle_row;

oracle_row oracle_row_at(const oracle_problem *p, int64_t b, int64_t h, int64_t i);

/* Element (b, h, i, 0) of a tensor (batch, n_head, n_q, width). */
int64_t oracle_row_element(const oracle_problem *p, const oracle_row *row, int64_t width);

/* First element of the key/value head of a tensor (batch, n_kv_head, n_kv, width). */
int64_t oracle_keys_element(const oracle_problem *p, const oracle_row *row, int64_t width);

/* Both lengths contain the pair. */
bool oracle_is_within(const oracle_row *row, int64_t j);

/* No rule hides key j from the query; its score may still be -inf. */
bool oracle_is_visible(const oracle_problem *p, const oracle_row *row, int64_t j);

/* Whether dropout keeps the weight of key j. */
bool oracle_is_kept(const oracle_problem *p, const oracle_row *row, int64_t j);

/* The score of a key at its stages. */
typedef struct oracle_score {
    double scaled, capped; /* -inf beyond a length */
    double seen;           /* after everything; -inf where not visible */
    double terms;          /* see oracle.h; 0 beyond a length */
} oracle_score;

oracle_score oracle_score_of(const oracle_problem *p, const oracle_row *row, int64_t j);

#endif
