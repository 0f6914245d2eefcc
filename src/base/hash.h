/* 128-bit checksums (XXH3) for cache keys and payloads. Not for security. */
#ifndef CLATTN_BASE_HASH_H
#define CLATTN_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct clattn__hash {
    uint64_t low, high;
} clattn__hash;

clattn__hash clattn__hash_bytes(const void *bytes, size_t size);
bool clattn__hash_equal(clattn__hash a, clattn__hash b);

/* 32 hexadecimal digits and a final 0. */
void clattn__hash_text(clattn__hash hash, char text[33]);

#endif
