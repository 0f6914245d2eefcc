/* Memory between devices that don't share it: what a submission reads goes to its device before,
 * what it writes comes back to the host behind it. Only in contexts of several devices; all with
 * the dispatcher's lock held. */
#ifndef CLATTN_DISPATCH_TRANSFER_H
#define CLATTN_DISPATCH_TRANSFER_H

#include "dispatch/making.h"

/* Enqueues what the lane's device lacks (`uploads` of the submissions), and notes what it is about
 * to write. */
clattn_status clattn__transfer_in(clattn__making *m);
/* Enqueues the way back of what one of the submissions writes; its commands have room for that. */
clattn_status clattn__transfer_out(clattn__making *m, clattn_event *event);
/* How many commands that makes at most. */
uint32_t clattn__transfers_of(const clattn__making *m, const clattn_event *event);

/* Estimates for each lane how long it takes until what that lacks of the submission's memory is
 * there. */
void clattn__transfer_estimate(clattn_event *event);
/* The same for all others that wait, where what they share with the submission was just sent for it
 * or is about to be written. */
void clattn__transfer_estimate_sharers(const clattn_event *event);

/* The submission has ended badly on the lane, perhaps because something didn't get there that was
 * sent for it: what has begun behind it and reads that too begins again. */
void clattn__transfer_failed(const clattn__lane *lane, const clattn_event *event);

/* Nobody but the host has what the submission's memory is. */
void clattn__transfer_forget(clattn_event *event);

/* Whether the submission must not go to this lane yet: something in flight on another one has
 * memory in common with it that would have to be moved, in neither's order. */
bool clattn__transfer_conflicts(const clattn__lane *lane, const clattn_event *event);

#endif
