/* Random numbers by position: Philox4x32-10 of Salmon et al. 2011, "Parallel Random Numbers: As
 * Easy as 1, 2, 3", and how dropout uses it. */
#ifndef PHILOX_H
#define PHILOX_H

#include <stdbool.h>
#include <stdint.h>

/* word: (4) the result for this counter and this key. */
void oracle_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t word[4]);

/* The random word of the weight of key at[3] for query at[2] in head at[1] of batch entry at[0]:
 * word (j / 16) mod 4 of Philox(((j / 64) * 16 + j mod 16, i, h, b), key'), where key' are the
 * first two words of Philox((offset, 0, 0), seed), 64-bit numbers low word first. */
uint32_t oracle_dropout_word(uint64_t seed, uint64_t offset, const int64_t at[4]);

/* Whether dropout with this probability keeps the weight of a random word. */
bool oracle_dropout_keeps(uint32_t word, float probability);

#endif
