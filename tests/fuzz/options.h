/* The command line. */
#ifndef FUZZ_OPTIONS_H
#define FUZZ_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct fuzz_options {
    uint64_t seed, first, count;
    double seconds;              /* 0: without limit */
    const char *kernel, *device; /* NULL: all */
    bool verbose, shrink, allow_unsupported, differences;
} fuzz_options;

/* false: usage was printed. */
bool fuzz_options_parse(fuzz_options *o, int argc, char **argv);

#endif
