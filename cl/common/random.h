/* Random words by position: Philox4x32-10 (Salmon et al. 2011, "Parallel Random Numbers: As Easy as
 * 1, 2, 3"), so that dropout doesn't depend on tiling. The mapping is in docs/numerics.md. */
#ifndef CLATTN_RANDOM_H
#define CLATTN_RANDOM_H

#include "common/vector.h"

/* Both halves of a * factor. Lanes in pairs, because that is what processors multiply in full:
 * mul_hi of vectors is five times as long in PoCL. GPUs have it; some haven't 64-bit products. */
INLINE void multiply(vuint a, uint factor, vuint *high, vuint *low)
{
#if VEC == 1 || defined(WORK_ITEMS_ARE_LANES)
    *high = mul_hi(a, (vuint)(factor));
    *low = a * factor;
#else
    const vpairs lower = (vpairs)(0xffffffffUL), pairs = as_pairs(a);
    const vpairs even = (pairs & lower) * (vpairs)(factor);
    const vpairs odd = (pairs >> 32) * (vpairs)(factor);
    *high = as_vuint((even >> 32) | (odd & ~lower));
    *low = as_vuint((even & lower) | (odd << 32));
#endif
}

/* word (4): the counter on entry, four random words on return, lane by lane. */
INLINE void philox(vuint *word, uint2 key)
{
    for (int round = 0; round < 10; round++) {
        vuint high0, low0, high2, low2;
        multiply(word[0], 0xD2511F53u, &high0, &low0);
        multiply(word[2], 0xCD9E8D57u, &high2, &low2);
        word[0] = high2 ^ word[1] ^ key.x;
        word[1] = low2;
        word[2] = high0 ^ word[3] ^ key.y;
        word[3] = low0;
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
}

/* The key of a seed and an offset: the generator applied to the offset. */
INLINE uint2 philox_key(ulong seed, ulong offset)
{
    vuint word[4] = {(vuint)(uint)offset, (vuint)(uint)(offset >> 32), (vuint)0, (vuint)0};
    philox(word, (uint2)((uint)seed, (uint)(seed >> 32)));
#if VEC == 1
    return (uint2)(word[0], word[1]);
#else
    return (uint2)(word[0].s0, word[1].s0);
#endif
}

/* The words of keys 64 g + 16 w + lane, w = 0..3, where `lane` counts from `first` on. */
INLINE void random_words(vuint *word, int g, int first, int query, int head, int batch, uint2 key)
{
    word[0] = (vuint)(uint)(g * 16 + first) + convert_vuint(LANES);
    word[1] = (vuint)(uint)query;
    word[2] = (vuint)(uint)head;
    word[3] = (vuint)(uint)batch;
    philox(word, key);
}

#endif
