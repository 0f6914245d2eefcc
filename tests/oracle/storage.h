/* Storage types of tensors: float32, IEEE 754 binary16, and bfloat16, the upper half of a float32.
 * Rounding is to nearest, ties to even; NaN stays NaN. */
#ifndef STORAGE_H
#define STORAGE_H

#include <stdint.h>

typedef enum oracle_type { ORACLE_F32 = 0, ORACLE_F16 = 1, ORACLE_BF16 = 2 } oracle_type;

uint16_t oracle_to_f16(float x);
float oracle_from_f16(uint16_t bits);
uint16_t oracle_to_bf16(float x);
float oracle_from_bf16(uint16_t bits);

/* The nearest number of the type. */
float oracle_rounded(oracle_type type, float x);

/* The distance of numbers next to 1: 2^-23, 2^-10, 2^-7. */
double oracle_ulp(oracle_type type);

/* The largest finite number. */
float oracle_largest(oracle_type type);

#endif
