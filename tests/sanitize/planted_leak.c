/* A leak on purpose: ci/sanitize.sh must see it in the log of the leak checker, or it would not
 * see a real one either. Not part of the test suite. */
#include <stdlib.h>

#include <criterion/criterion.h>

/* Written through a volatile pointer, so that the compiler keeps the allocation. */
static char *volatile kept;

Test(planted, leak)
{
    kept = malloc(1234);
    cr_assert_not_null(kept);
    kept[0] = 1;
    kept = NULL;
}
