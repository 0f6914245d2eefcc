/* Waiting for submissions, on the caller's thread, and what can be asked of them. */
#ifndef CLATTN_DISPATCH_WAITING_H
#define CLATTN_DISPATCH_WAITING_H

#include "dispatch/dispatcher.h"

/* See the functions of clattn/submit.h; events are checked. */
clattn_status clattn__event_poll(clattn_event *event);
clattn_status clattn__event_wait(clattn_event *event, uint64_t timeout_ns);
clattn_status clattn__event_wait_any(clattn_event *const *events, uint32_t count,
                                     uint64_t timeout_ns, uint32_t *index);
/* When a wait is over that begins now, by the monotonic clock; UINT64_MAX: never. */
uint64_t clattn__wait_end(uint64_t timeout_ns);
clattn_status clattn__event_set_callback(clattn_event *event, clattn_event_fn function, void *user);
/* See clattn_event_get_cl. */
clattn_status clattn__event_take_cl(clattn_event *event, struct _cl_event **cl);
clattn_status clattn__event_profile(clattn_event *event, clattn_event_profile *profile);

#endif
