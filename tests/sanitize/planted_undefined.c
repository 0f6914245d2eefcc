/* A signed overflow on purpose: ci/sanitize.sh must see it in the log of the checker, or it would
 * not see a real one either. Not part of the test suite. */
#include <limits.h>

#include <criterion/criterion.h>

static volatile int largest = INT_MAX;

Test(planted, undefined)
{
    largest = largest + 1;
    cr_assert(largest != 0);
}
