/* clattn with the caller's own OpenCL objects. The only public header that needs OpenCL's headers.
 *
 * Objects are retained by clattn and stay the caller's. All of them must come from the OpenCL
 * library that clattn uses: the system's, or the one given by options->get_proc.
 */
#ifndef CLATTN_OPENCL_H
#define CLATTN_OPENCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include <clattn/clattn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A context on the caller's cl_context, for one of its devices. options->device is not used;
 * `options` may be NULL. CLATTN_ERR_ARGUMENT if the device is not one of the context's. */
CLATTN_API clattn_status clattn_context_create_from_cl(cl_context cl, cl_device_id device,
                                                       const clattn_context_options *options,
                                                       clattn_context **context);

/* A buffer on the caller's cl_mem, whole. CLATTN_ERR_ARGUMENT unless it belongs to the context's
 * cl_context; CLATTN_ERR_UNSUPPORTED where the context has several devices. */
CLATTN_API clattn_status clattn_buffer_wrap_cl(clattn_context *context, cl_mem memory,
                                               clattn_buffer **buffer);

/* A buffer on the first `size` bytes of shared virtual memory of the caller's: `svm` is what
 * clSVMAlloc (OpenCL 2.0) of the context's cl_context returned, of coarse or fine grain. The buffer
 * is a cl_mem over that memory (CL_MEM_USE_HOST_PTR), and nothing is copied. The memory stays the
 * caller's, who frees it when the buffer is destroyed and what was submitted with it is done. The
 * host may touch it when no unfinished submission uses it: memory of fine grain as it is, of coarse
 * grain between clEnqueueSVMMap and clEnqueueSVMUnmap, or clattn_buffer_map and _unmap.
 * CLATTN_ERR_UNSUPPORTED where the device has no shared virtual memory, and in contexts of several
 * devices; CLATTN_ERR_ARGUMENT if `svm` is something else, where the driver can tell. Since 0.1. */
CLATTN_API clattn_status clattn_buffer_wrap_svm(clattn_context *context, void *svm, uint64_t size,
                                                clattn_buffer **buffer);

/* A dispatcher that enqueues on the caller's queue, in order with what the caller enqueues there.
 * The queue must belong to the context's cl_context and device. If it executes out of order,
 * clattn orders its own work by events; the caller's is ordered by clattn_event_get_cl. */
CLATTN_API clattn_status clattn_dispatcher_create_from_cl(clattn_context *context,
                                                          cl_command_queue queue,
                                                          clattn_dispatcher **dispatcher);

/* clattn_submit on such a dispatcher, after `wait` (wait_count; may be NULL with 0) as well. *done
 * (may be NULL) is the cl_event of the last command, retained for the caller; `event` may be NULL.
 * No thread of clattn's takes part. CLATTN_ERR_ARGUMENT on other dispatchers. Where OpenCL refuses
 * one of its later commands, the status says so, but those before it run, and the outputs are
 * undefined; what clattn_submit reports by the event alone is reported here at once. */
CLATTN_API clattn_status clattn_submit_cl(clattn_dispatcher *dispatcher,
                                          const clattn_submission *submission, uint32_t wait_count,
                                          const cl_event *wait, cl_event *done,
                                          clattn_event **event);

/* The cl_event of a submission, retained for the caller, who releases it. CLATTN_ERR_BUSY while it
 * is held back, and has none yet. */
CLATTN_API clattn_status clattn_event_get_cl(clattn_event *event, cl_event *cl);

#ifdef __cplusplus
}
#endif

#endif
