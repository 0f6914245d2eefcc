/* Keys and values as integers with scales: what is left of a row. Each group of `channels`
 * elements, or with 0 the whole row, is divided by a scale, its largest absolute value / 127 (8
 * bits) or / 7 (4 bits), and rounded to the nearest integer. */
#ifndef QUANTISE_H
#define QUANTISE_H

#include <stdint.h>

/* x, left: (dim), may be the same. integers: (dim), or NULL; scales: (one a group), or NULL. */
void oracle_quantise(const float *x, int64_t dim, int bits, int64_t channels, float *left,
                     int8_t *integers, float *scales);

#endif
