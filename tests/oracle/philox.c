/* The generator of philox.h, as the paper defines it: ten rounds, the key bumped before each but
 * the first. */
#include "philox.h"

#include <math.h>

#define ROUNDS 10

static void philox_round(uint32_t x[4], const uint32_t key[2])
{
    const uint64_t first = (uint64_t)0xD2511F53 * x[0];
    const uint64_t second = (uint64_t)0xCD9E8D57 * x[2];
    const uint32_t next[4] = {(uint32_t)(second >> 32) ^ x[1] ^ key[0], (uint32_t)second,
                              (uint32_t)(first >> 32) ^ x[3] ^ key[1], (uint32_t)first};
    for (int n = 0; n < 4; n++)
        x[n] = next[n];
}

void oracle_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t word[4])
{
    uint32_t bumped[2] = {key[0], key[1]};
    for (int n = 0; n < 4; n++)
        word[n] = counter[n];
    for (int round = 0; round < ROUNDS; round++) {
        philox_round(word, bumped);
        bumped[0] += 0x9E3779B9; /* the golden ratio */
        bumped[1] += 0xBB67AE85; /* the square root of 3, less 1 */
    }
}

uint32_t oracle_dropout_word(uint64_t seed, uint64_t offset, const int64_t at[4])
{
    const uint32_t seed_words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t offset_words[4] = {(uint32_t)offset, (uint32_t)(offset >> 32), 0, 0};
    const uint32_t j = (uint32_t)at[3];
    const uint32_t position[4] = {j / 64 * 16 + j % 16, (uint32_t)at[2], (uint32_t)at[1],
                                  (uint32_t)at[0]};
    uint32_t key[4], word[4];
    oracle_philox(offset_words, seed_words, key);
    oracle_philox(position, key, word);
    return word[j / 16 % 4];
}

bool oracle_dropout_keeps(uint32_t word, float probability)
{
    return (double)word >= floor((double)probability * 4294967296.0);
}
