/* The sentence of each thread's last failure. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_message[1024];

clattn_status clattn__fail(clattn_status status, const char *format, ...)
{
    char sentence[sizeof last_message]; /* an argument may be the last message itself */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    memcpy(last_message, sentence, sizeof sentence);
    return status;
}

const char *clattn__message(void)
{
    return last_message;
}
