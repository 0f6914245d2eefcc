/* Making a public buffer around memory. */
#ifndef CLATTN_API_BUFFERS_H
#define CLATTN_API_BUFFERS_H

#include "plan/buffer.h"

/* Takes over the reference to `memory`, also on failure. `host` is what was wrapped, or NULL. */
clattn_status clattn__buffer_make(clattn_context *context, clattn__memory *memory, const void *host,
                                  clattn_buffer **buffer);

#endif
