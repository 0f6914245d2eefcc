/* Runs the tests of a program, each in a process of its own, so that a crash and what a test
 * changes stay with it. "program" runs all, "program --only NUMBER" one, in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "criterion/criterion.h"
#include "plain_process.h"

#define USUAL_TIMEOUT 600.0 /* seconds; processors are emulated */

static plain_test *first, **last = &first;
static jmp_buf out_of_the_test;
static int failures;

void plain_add(plain_test *test)
{
    *last = test;
    last = &test->next;
}

void plain_failed(bool ends, const char *file, int line, const char *what, const char *format, ...)
{
    va_list arguments;
    failures++;
    printf("[----] %s:%d: does not hold: %s", file, line, what);
    if (*format) {
        printf(": ");
        va_start(arguments, format);
        vprintf(format, arguments);
        va_end(arguments);
    }
    printf("\n");
    fflush(stdout);
    if (ends)
        longjmp(out_of_the_test, 1);
}

static const plain_test *suite_of(const plain_test *test)
{
    static const plain_test none;
    for (const plain_test *suite = first; suite; suite = suite->next)
        if (!suite->function && strcmp(suite->suite, test->suite) == 0)
            return suite;
    return &none;
}

static int run(const plain_test *test)
{
    const plain_test *suite = suite_of(test);
    void (*const parts[])(void) = {suite->init, test->init, test->function, test->fini,
                                   suite->fini};
    for (volatile size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i] && setjmp(out_of_the_test) == 0)
            parts[i]();
        else if (parts[i])
            break;
    fflush(NULL);
    return failures ? 1 : 0;
}

static const plain_test *number(int which)
{
    const plain_test *test = first;
    for (; test; test = test->next)
        if (test->function && !test->disabled && which-- == 0)
            break;
    return test;
}

static int run_all(const char *program)
{
    int tested = 0, failing = 0, crashing = 0;
    for (const plain_test *test; (test = number(tested)) != NULL; tested++) {
        const int code =
            plain_run(program, tested, test->timeout > 0 ? test->timeout : USUAL_TIMEOUT);
        if (code != 0)
            printf("[FAIL] %s::%s%s\n", test->suite, test->name,
                   code == 1 ? "" : " (crashed, or ran out of time)");
        failing += code != 0;
        crashing += code != 0 && code != 1;
    }
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d\n", tested,
           tested - failing, failing, crashing);
    return failing || tested == 0;
}

int plain_run_number(int which)
{
    const plain_test *test = number(which);
    return test ? run(test) : 2;
}

int main(int count, char **arguments)
{
    if (count == 3 && strcmp(arguments[1], "--only") == 0)
        return plain_run_number((int)strtol(arguments[2], NULL, 10));
    return run_all(arguments[0]);
}
