/* The end of a program that can't go on. */
#include "stop.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *program = "training";

void stop_set_program(const char *name)
{
    program = name;
}

static void say(const char *what, const char *format, va_list values)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s: ", program, what);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
}

void stop(const char *what, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say(what, format, values);
    va_end(values);
    exit(1);
}

void stop_usage(const char *what, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say(what, format, values);
    va_end(values);
    exit(2);
}

void check(clattn_status status)
{
    if (status != CLATTN_OK)
        stop(clattn_status_string(status), "%s", clattn_error_message());
}
