/* Defects on purpose, one a program by DEFECT: each must make it fail, see meson.build. */
#include <criterion/criterion.h>
#include <stdlib.h>

#ifndef DEFECT
#define DEFECT 1
#endif

Test(planted, holds)
{
    cr_assert_eq(1 + 1, 2);
}

static void begin(void)
{
    cr_assert(DEFECT != 5, "in init");
}

TestSuite(planted, .init = begin);

Test(planted, defect, .timeout = DEFECT == 4 ? 1 : 60)
{
    volatile int number = DEFECT;
    cr_assert_neq(number, 1);
    cr_expect_str_eq(number == 2 ? "a" : "b", "b", "and it goes on after %d", number);
    if (number == 3)
        abort();
    while (number == 4)
        continue;
}
