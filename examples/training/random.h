/* Random numbers that are the same everywhere: Steele et al. 2014, "Fast Splittable Pseudorandom
 * Number Generators", as SplitMix64. */
#ifndef EXAMPLES_TRAINING_RANDOM_H
#define EXAMPLES_TRAINING_RANDOM_H

#include <stdint.h>

static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* 0 <= number < below; `below` is small, so that nobody minds the remainder's bias. */
static inline uint32_t random_below(uint64_t *state, uint32_t below)
{
    return (uint32_t)((random_next(state) >> 32) % below);
}

/* 0 <= number < 1. */
static inline float random_fraction(uint64_t *state)
{
    return (float)(random_next(state) >> 40) * 0x1p-24f;
}

#endif
