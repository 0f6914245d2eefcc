/* NumPy's arrays and JSON, as far as they are needed, and shades of characters. */
#include "pictures.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "stop.h"

enum { PATH = 4096 };

/* FOLDER/NAME, opened for writing. */
static FILE *open_file(const char *folder, const char *name, const char *ending, char path[PATH])
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        stop(folder, "%s", strerror(errno));
    if (snprintf(path, PATH, "%s/%s.%s", folder, name, ending) >= PATH)
        stop(folder, "the path is too long");
    FILE *file = fopen(path, "wb");
    if (!file)
        stop(path, "%s", strerror(errno));
    return file;
}

static void close_file(FILE *file, const char *path)
{
    const int failed = ferror(file);
    if (fclose(file) != 0 || failed)
        stop(path, "can't be written");
}

void picture_write(const picture *p, const float *weights)
{
    enum { PREAMBLE = 10, HEADER = 118 }; /* together 128, a multiple of 64 */
    char path[PATH], header[HEADER + 1];
    const int length =
        snprintf(header, sizeof header,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu, %zu), }", p->heads,
                 p->rows, p->columns);
    FILE *file = open_file(p->folder, p->name, "npy", path);
    fwrite("\x93NUMPY\x01\x00", 1, PREAMBLE - 2, file);
    fputc(HEADER % 256, file);
    fputc(HEADER / 256, file);
    fprintf(file, "%s%*s\n", header, HEADER - 1 - length, "");
    fwrite(weights, sizeof *weights, p->heads * p->rows * p->columns, file);
    close_file(file, path);
}

void picture_write_labels(const char *folder, const char *name, const char *text)
{
    char path[PATH];
    FILE *file = open_file(folder, name, "json", path);
    for (size_t i = 0; text[i]; i++)
        fprintf(file, "%s\"%s%c\"", i ? ", " : "[", strchr("\"\\", text[i]) ? "\\" : "", text[i]);
    fprintf(file, "%s]\n", *text ? "" : "[");
    close_file(file, path);
}

/* From 0 to 1. Shades go with the root, so that weights that are even are not all as white as 0. */
static const char shades[] = " .:-=+*#%@";
enum { DARKEST = sizeof shades - 2 };

static char shade_of(float weight)
{
    if (!(weight >= 0 && weight <= 1.01F))
        return '?'; /* no weight at all */
    return shades[(int)(DARKEST * sqrt((double)weight) + 0.5)];
}

void picture_print(const picture *p, const char *rows, const char *columns, const float *weights)
{
    printf("   ");
    for (size_t head = 0; head < p->heads; head++)
        printf("%s ", columns);
    for (size_t row = 0; row < p->rows; row++) {
        printf("\n%c |", rows[row]);
        for (size_t head = 0; head < p->heads; head++) {
            const float *of_row = weights + (head * p->rows + row) * p->columns;
            for (size_t column = 0; column < p->columns; column++)
                putchar(shade_of(of_row[column]));
            putchar('|');
        }
    }
    printf("\n\n");
}
