/* Attention weights to look at: as characters on a terminal, and as files that `clattn heatmap`
 * draws. */
#ifndef EXAMPLES_TRAINING_PICTURES_H
#define EXAMPLES_TRAINING_PICTURES_H

#include <stddef.h>

/* FOLDER/NAME.npy: float32, (head, row, column). The folder is made where it is missing. */
typedef struct picture {
    const char *folder, *name;
    size_t heads, rows, columns;
} picture;
void picture_write(const picture *p, const float *weights);

/* The same on stdout, heads beside each other, a character for each weight: the darker, the larger.
 * Labels of rows and columns, a character each; folder and name have no part. */
void picture_print(const picture *p, const char *rows, const char *columns, const float *weights);

/* FOLDER/NAME.json: an array of strings, one for each character of `text`, which is ASCII. */
void picture_write_labels(const char *folder, const char *name, const char *text);

#endif
