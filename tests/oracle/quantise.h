/* Keys and values as integers with scales: what is left of a row. Each group of `channels`
 * elements, or with 0 the whole row, is divided by a scale, its largest absolute value / 127 (8
 * bits) or / 7 (4 bits), and rounded to the nearest integer. */
#ifndef QUANTISE_H
#define QUANTISE_H

#include <stdint.h>

/* x, left: (dim), may be the same. integers: (dim). scales: (one a group). */
typedef struct oracle_integers {
    int bits;
    int64_t channels;
    int8_t *integers;
    float *scales;
} oracle_integers;

void oracle_quantise(const oracle_integers *to, const float *x, int64_t dim, float *left);

#endif
