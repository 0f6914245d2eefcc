/* Whether a test leaves out what only repeats ways through the code. It does where it was built
 * with AddressSanitizer, which sees what the host's code does to memory, and that depends neither
 * on how often something is done nor on the numbers that kernels compute; and where
 * CLATTN_SHORT_TESTS is set, as in ci/test.sh. ci/test.sh --all and `meson test` run all of it. */
#ifndef TESTS_SHORTENED_H
#define TESTS_SHORTENED_H

#include <stdbool.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define INSTRUMENTED 1
#endif
#endif
#ifndef INSTRUMENTED
#define INSTRUMENTED 0
#endif

static inline bool is_shortened(void)
{
    return INSTRUMENTED || getenv("CLATTN_SHORT_TESTS");
}

#endif
