/* From the caller's submission to the entries of a record: everything is checked, bound and copied
 * here, so that the launch can happen at any time, on any lane, and can only fail in OpenCL. */
#ifndef CLATTN_DISPATCH_PREPARE_H
#define CLATTN_DISPATCH_PREPARE_H

#include "dispatch/event.h"

/* Checks what doesn't depend on a dispatcher. */
clattn_status clattn__submission_check(const clattn_submission *submission);

/* Fills entries, head ranges, family and work of the record. `sequence`: what the whole submission
 * has in common with others, besides what its steps name; 0: nothing. Takes no lock. Host arrays
 * are the caller's until clattn__event_copy_arrays. */
clattn_status clattn__prepare(clattn_event *event, const clattn_submission *submission,
                              uint64_t sequence);

#endif
