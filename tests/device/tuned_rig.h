/* A folder of its own for each test, with a tuning file that the test writes row by row. */
#ifndef TESTS_DEVICE_TUNED_RIG_H
#define TESTS_DEVICE_TUNED_RIG_H

#include <clattn/clattn.h>

typedef struct tuned_rig {
    char folder[64], path[96]; /* of programs and tuning, of the tuning file */
    clattn_context_options options;
} tuned_rig;

/* Makes the folder; there is no tuning file yet. The options are for device 0. */
void tuned_begin(tuned_rig *r);
/* Removes it and all that is in it. */
void tuned_finish(const tuned_rig *r);

/* A context that knows the file as it is now; fails the test where there is none. */
clattn_context *tuned_open(const tuned_rig *r);
clattn_device_info tuned_device(clattn_context *context);
/* Adds a row to the file, as docs/tuning.md has it. */
void tuned_add_row(const tuned_rig *r, const char *kernel, const clattn_device_info *info,
                   const char *problem, const char *configuration);

#endif
