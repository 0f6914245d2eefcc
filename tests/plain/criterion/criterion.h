/* The part of Criterion's interface that the unit tests use, for systems that don't have Criterion
 * (Windows, other processors, musl): the same names, each test in a process of its own, the same
 * last line. plain.c is the rest. */
#ifndef CLATTN_TESTS_PLAIN_CRITERION_H
#define CLATTN_TESTS_PLAIN_CRITERION_H

#if defined(__GNUC__)
#pragma GCC system_header /* macros with an optional message are no C11 */
#endif

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct plain_test {
    const char *suite, *name;
    void (*function)(void); /* NULL: a suite, whose init and fini are around its tests */
    void (*init)(void);
    void (*fini)(void);
    double timeout; /* seconds, 0: plain.c's own */
    bool disabled;
    struct plain_test *next;
} plain_test;

/* What Test and TestSuite call before main. */
void plain_add(plain_test *test);

/* Reports what didn't hold; `ends` leaves the test. `format` is the message, "" for none. */
void plain_failed(bool ends, const char *file, int line, const char *what, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define PLAIN_REGISTER(variable, ...)                                                              \
    static plain_test variable = {__VA_ARGS__};                                                    \
    __attribute__((constructor)) static void variable##_register(void)                             \
    {                                                                                              \
        plain_add(&variable);                                                                      \
    }

#define Test(suite_name, test_name, ...)                                                           \
    static void suite_name##_##test_name##_function(void);                                         \
    PLAIN_REGISTER(suite_name##_##test_name##_test, .suite = #suite_name, .name = #test_name,      \
                   .function = suite_name##_##test_name##_function, ##__VA_ARGS__)                 \
    static void suite_name##_##test_name##_function(void)

#define TestSuite(suite_name, ...)                                                                 \
    PLAIN_REGISTER(suite_name##_suite, .suite = #suite_name, ##__VA_ARGS__)                        \
    typedef int suite_name##_ends_with_a_semicolon

/* The message's format is a literal, if there is one. */
#define PLAIN_CHECK(ends, holds, text, ...)                                                        \
    do {                                                                                           \
        if (!(holds))                                                                              \
            plain_failed(ends, __FILE__, __LINE__, text, "" __VA_ARGS__);                          \
    } while (0)

#define PLAIN_2(ends, a, op, b, ...) PLAIN_CHECK(ends, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define PLAIN_TEXT(ends, a, op, b, ...)                                                            \
    PLAIN_CHECK(ends, strcmp((a), (b)) op 0, #a " " #op " " #b, __VA_ARGS__)
#define PLAIN_NEAR(ends, a, b, e, ...)                                                             \
    PLAIN_CHECK(ends, fabs((double)(a) - (double)(b)) <= (double)(e), #a " near " #b, __VA_ARGS__)
#define PLAIN_BYTES(ends, a, b, size, ...)                                                         \
    PLAIN_CHECK(ends, memcmp((a), (b), (size)) == 0, #a " has the bytes of " #b, __VA_ARGS__)

#define cr_assert(c, ...)                 PLAIN_CHECK(true, (c), #c, __VA_ARGS__)
#define cr_assert_not(c, ...)             PLAIN_CHECK(true, !(c), "not " #c, __VA_ARGS__)
#define cr_assert_null(p, ...)            PLAIN_2(true, p, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...)        PLAIN_2(true, p, !=, NULL, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)           PLAIN_2(true, a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)          PLAIN_2(true, a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)           PLAIN_2(true, a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)          PLAIN_2(true, a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)           PLAIN_2(true, a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)          PLAIN_2(true, a, >=, b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)       PLAIN_TEXT(true, a, ==, b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)      PLAIN_TEXT(true, a, !=, b, __VA_ARGS__)
#define cr_assert_str_not_empty(a, ...)   PLAIN_TEXT(true, a, !=, "", __VA_ARGS__)
#define cr_assert_float_eq(a, b, e, ...)  PLAIN_NEAR(true, a, b, e, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) PLAIN_BYTES(true, a, b, size, __VA_ARGS__)
#define cr_assert_fail(...)               PLAIN_CHECK(true, false, "not reached", __VA_ARGS__)

#define cr_expect(c, ...)                 PLAIN_CHECK(false, (c), #c, __VA_ARGS__)
#define cr_expect_not(c, ...)             PLAIN_CHECK(false, !(c), "not " #c, __VA_ARGS__)
#define cr_expect_null(p, ...)            PLAIN_2(false, p, ==, NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...)        PLAIN_2(false, p, !=, NULL, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)           PLAIN_2(false, a, ==, b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)          PLAIN_2(false, a, <=, b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)           PLAIN_2(false, a, >, b, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)       PLAIN_TEXT(false, a, ==, b, __VA_ARGS__)
#define cr_expect_float_eq(a, b, e, ...)  PLAIN_NEAR(false, a, b, e, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, size, ...) PLAIN_BYTES(false, a, b, size, __VA_ARGS__)

#endif
