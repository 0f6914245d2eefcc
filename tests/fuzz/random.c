/* The generators of random.h. */
#include "random.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t rotated(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

fuzz_random fuzz_random_of(uint64_t seed, uint64_t stream)
{
    fuzz_random r;
    uint64_t state = seed;
    state = splitmix(&state) ^ (stream + 1) * 0xd1342543de82ef95;
    for (int n = 0; n < 4; n++)
        r.s[n] = splitmix(&state);
    return r;
}

uint64_t fuzz_word(fuzz_random *r)
{
    const uint64_t result = rotated(r->s[1] * 5, 7) * 9, shifted = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= shifted;
    r->s[3] = rotated(r->s[3], 45);
    return result;
}

double fuzz_unit(fuzz_random *r)
{
    return (double)(fuzz_word(r) >> 11) * 0x1p-53;
}

int64_t fuzz_between(fuzz_random *r, int64_t low, int64_t high)
{
    return low + (int64_t)(fuzz_word(r) % (uint64_t)(high - low + 1));
}

bool fuzz_chance(fuzz_random *r, int percent)
{
    return fuzz_between(r, 0, 99) < percent;
}

int64_t fuzz_pick(fuzz_random *r, const int64_t *list, size_t count)
{
    return list[fuzz_between(r, 0, (int64_t)count - 1)];
}
