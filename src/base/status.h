/* Failing with a sentence. The status goes up the call chain, the sentence waits in the thread
 * until clattn_error_message() asks for it. */
#ifndef CLATTN_BASE_STATUS_H
#define CLATTN_BASE_STATUS_H

#include <clattn/clattn.h>

/* By the name `printf` gcc means the system's own formats on Windows. */
#if defined(__MINGW32__) && !defined(__clang__)
#define CLATTN__PRINTF(format_index, first) __attribute__((format(gnu_printf, format_index, first)))
#elif defined(__GNUC__)
#define CLATTN__PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define CLATTN__PRINTF(format_index, first)
#endif

/* Remembers the sentence for the calling thread and returns `status`. */
clattn_status clattn__fail(clattn_status status, const char *format, ...) CLATTN__PRINTF(2, 3);

/* The sentence of the calling thread's last failure; never NULL. */
const char *clattn__message(void);

/* Leaves the function with the status of `call` unless it is CLATTN_OK. */
#define CLATTN__TRY(call)                                                                          \
    do {                                                                                           \
        const clattn_status try_status = (call);                                                   \
        if (try_status != CLATTN_OK)                                                               \
            return try_status;                                                                     \
    } while (0)

#endif
