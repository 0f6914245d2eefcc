/* clattn: attention on any OpenCL device.
 *
 * These headers are the manual:
 *    clattn/status.h      versions, statuses, error messages
 *    clattn/context.h     contexts and devices, the program cache, tuning
 *    clattn/attention.h   attention: description, the call on host memory, gradients, plans
 *    clattn/submit.h      buffers, dispatchers, submissions, events
 * This one includes them all. clattn/layer.h adds to it what models are made of: linear
 * projections, rotary embedding, the key/value cache, layers. None of them needs an OpenCL header;
 * clattn/opencl.h is for callers that bring their own OpenCL objects. Link with -lclattn; OpenCL
 * itself is found at run time.
 *
 * Conventions that hold everywhere:
 *  - A function that can fail returns a clattn_status and writes its result only on CLATTN_OK;
 *    clattn_error_message() then has a sentence for the calling thread.
 *  - Objects are opaque; *_destroy and *_release accept NULL.
 *  - Structs begin with struct_size and are set up by their _init function; later versions only
 *    append fields, so a program keeps working with a newer library.
 *  - Extents count elements, strides are signed and count elements, sizes and offsets of memory
 *    count bytes.
 *  - Texts are UTF-8, paths on Windows too.
 */
#ifndef CLATTN_CLATTN_H
#define CLATTN_CLATTN_H

#include <clattn/attention.h>
#include <clattn/context.h>
#include <clattn/status.h>
#include <clattn/submit.h>

#endif
