/* The few words of Criterion that the dispatcher's stress test uses, for builds in which Criterion
 * can't run: its memory lies where ThreadSanitizer has its own. */
#ifndef TESTS_DEVICE_PLAIN_TESTS_H
#define TESTS_DEVICE_PLAIN_TESTS_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clattn/clattn.h>

static inline void plain_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (format)
        vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

#define PLAIN_CHECK(condition, ...)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,                     \
                    clattn_error_message());                                                       \
            plain_say(__VA_ARGS__);                                                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define PLAIN_CHECK_EQ(a, b, ...)  PLAIN_CHECK((a) == (b), __VA_ARGS__)
#define PLAIN_CHECK_STR(a, b, ...) PLAIN_CHECK(strcmp(a, b) == 0, __VA_ARGS__)
#define PLAIN_CHECK_NULL(a, ...)   PLAIN_CHECK(!(a), __VA_ARGS__)
#define cr_assert(...)             PLAIN_CHECK(__VA_ARGS__, 0)
#define cr_assert_eq(...)          PLAIN_CHECK_EQ(__VA_ARGS__, 0)
#define cr_assert_not_null(...)    PLAIN_CHECK(__VA_ARGS__, 0)
#define cr_assert_null(...)        PLAIN_CHECK_NULL(__VA_ARGS__, 0)
#define cr_assert_str_eq(a, ...)   PLAIN_CHECK_STR(a, __VA_ARGS__, 0)
#define cr_assert_str_not_empty(a) PLAIN_CHECK(*(a), 0)
#define cr_skip_test(...)          return
#define Test(suite, name)          static void suite##_##name(void)

#endif
