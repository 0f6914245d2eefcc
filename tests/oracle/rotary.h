/* RMS normalisation and rotary embedding of a row, in double precision. */
#ifndef ROTARY_H
#define ROTARY_H

#include <stdbool.h>
#include <stdint.h>

/* Zhang and Sennrich 2019. x, weight (NULL: none), out: (dim) */
void oracle_rms_norm(const float *x, const float *weight, int64_t dim, double epsilon, double *out);

/* Su et al. 2021. The angle of pair n at position p is p * base^(-2 n / rotary_dim). */
typedef struct oracle_rotation {
    int64_t rotary_dim;
    bool interleaved; /* pairs (2 n, 2 n + 1), else (n, n + rotary_dim / 2) */
    double base;
} oracle_rotation;

/* x: rotary_dim elements, rotated where they are. */
void oracle_rotate(const oracle_rotation *by, double position, double *x);

#endif
