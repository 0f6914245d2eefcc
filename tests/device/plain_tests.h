/* The few words of Criterion that the dispatcher's stress test uses, for builds in which Criterion
 * can't run: its memory lies where ThreadSanitizer has its own. */
#ifndef TESTS_DEVICE_PLAIN_TESTS_H
#define TESTS_DEVICE_PLAIN_TESTS_H

#include <stdio.h>
#include <stdlib.h>

#define PLAIN_CHECK(condition, ...)                                                                \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define PLAIN_CHECK_EQ(a, b, ...) PLAIN_CHECK((a) == (b), 0)
#define cr_assert(...)            PLAIN_CHECK(__VA_ARGS__, 0)
#define cr_assert_eq(...)         PLAIN_CHECK_EQ(__VA_ARGS__, 0)
#define cr_assert_not_null(...)   PLAIN_CHECK(__VA_ARGS__, 0)
#define cr_skip_test(...)         return
#define Test(suite, name)         static void suite##_##name(void)

#endif
