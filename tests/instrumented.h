/* Whether the test was built with AddressSanitizer. It sees what the host's code does to memory,
 * which doesn't depend on how often a test repeats a way through the code, nor on the numbers that
 * kernels compute. What only repeats is cut down there; the plain build runs all of it. */
#ifndef TESTS_INSTRUMENTED_H
#define TESTS_INSTRUMENTED_H

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

#endif
