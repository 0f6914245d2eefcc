/* The conversions of storage.h, by the fields of the formats. */
#include "storage.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* binary16 has 5 bits of exponent with bias 15 and 10 of fraction; below 2^-14 steps of 2^-24. */
uint16_t oracle_to_f16(float x)
{
    const uint16_t sign = (uint16_t)(bits_of(x) >> 16 & 0x8000);
    const double size = fabs((double)x);
    if (isnan(x))
        return sign | 0x7e00;
    if (size >= 65520) /* half a step above the largest number */
        return sign | 0x7c00;
    int exponent;
    frexp(size, &exponent); /* size = m * 2^exponent, m in [0.5, 1) */
    if (size == 0 || exponent < -13)
        return sign | (uint16_t)nearbyint(ldexp(size, 24));
    /* m * 2^11 is 1024 .. 2048; the leading 1, and a carry, add to the exponent's field. */
    const double fraction = nearbyint(ldexp(size, 11 - exponent));
    return sign | (uint16_t)((exponent + 13) * 1024 + (int)fraction);
}

float oracle_from_f16(uint16_t bits)
{
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float x;
    if (exponent == 31)
        x = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        x = ldexpf((float)fraction, -24);
    else
        x = ldexpf((float)(fraction + 1024), exponent - 25);
    return bits >> 15 ? -x : x;
}

uint16_t oracle_to_bf16(float x)
{
    const uint32_t bits = bits_of(x);
    const uint32_t upper = bits >> 16, lower = bits & 0xffff;
    if (isnan(x))
        return (uint16_t)(upper | 0x40);
    const uint32_t up = lower > 0x8000 || (lower == 0x8000 && (upper & 1));
    return (uint16_t)(upper + up);
}

float oracle_from_bf16(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

float oracle_rounded(oracle_type type, float x)
{
    if (type == ORACLE_F16)
        return oracle_from_f16(oracle_to_f16(x));
    return type == ORACLE_BF16 ? oracle_from_bf16(oracle_to_bf16(x)) : x;
}

double oracle_ulp(oracle_type type)
{
    static const double ulp[] = {0x1p-23, 0x1p-10, 0x1p-7};
    return ulp[type];
}

float oracle_largest(oracle_type type)
{
    static const float largest[] = {0x1.fffffep127f, 65504, 0x1.fep127f};
    return largest[type];
}
