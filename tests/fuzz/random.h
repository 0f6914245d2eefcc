/* Random numbers that are the same on every machine: xoshiro256** (Blackman and Vigna 2018), its
 * state filled by splitmix64. */
#ifndef FUZZ_RANDOM_H
#define FUZZ_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_random {
    uint64_t s[4];
} fuzz_random;

/* Different streams of one seed don't resemble each other. */
fuzz_random fuzz_random_of(uint64_t seed, uint64_t stream);

uint64_t fuzz_word(fuzz_random *r);
double fuzz_unit(fuzz_random *r);                                /* [0, 1), 53 bits */
int64_t fuzz_between(fuzz_random *r, int64_t low, int64_t high); /* both ends included */
bool fuzz_chance(fuzz_random *r, int percent);
int64_t fuzz_pick(fuzz_random *r, const int64_t *list, size_t count); /* an element of the list */

#define FUZZ_PICK(r, ...)                                                                          \
    fuzz_pick(r, (const int64_t[]){__VA_ARGS__},                                                   \
              sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

#endif
