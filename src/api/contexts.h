/* Making a context, however its device is found. */
#ifndef CLATTN_API_CONTEXTS_H
#define CLATTN_API_CONTEXTS_H

#include "plan/context.h"

/* A context without a device yet; the caller opens context->device. */
clattn_status clattn__context_begin(const clattn_context_options *options,
                                    clattn_context **context);

/* The rest, once opening the device has ended with `opened`: on failure the context is freed. */
clattn_status clattn__context_complete(clattn_context *made, clattn_status opened,
                                       clattn_context **context);

/* Frees a context with or without a device. */
void clattn__context_free(clattn_context *context);

#endif
