/* A write behind the end of a block on purpose: ci/sanitize.sh must see it in the log of the
 * checker, or it would not see a real one either. Not part of the test suite. */
#include <stdlib.h>

#include <criterion/criterion.h>

static volatile size_t one_too_far = 16;

Test(planted, write)
{
    volatile char *block = malloc(16);
    cr_assert_not_null((void *)block);
    block[one_too_far] = 1;
    free((void *)block);
}
