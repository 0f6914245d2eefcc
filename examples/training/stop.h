/* How the examples of training end when something fails: with one line, "program: what: why". */
#ifndef EXAMPLES_TRAINING_STOP_H
#define EXAMPLES_TRAINING_STOP_H

#include <clattn/clattn.h>

/* The program's name in messages; borrowed. */
void stop_set_program(const char *name);

/* Prints the line on stderr and exits with 1. `format` is of printf and makes the why. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3), noreturn))
#endif
void stop(const char *what, const char *format, ...);

/* The same with 2, for a command line that is wrong. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3), noreturn))
#endif
void stop_usage(const char *what, const char *format, ...);

/* Goes on where the status of a call to clattn is CLATTN_OK. */
void check(clattn_status status);

#endif
