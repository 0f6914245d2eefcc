/* Lanes that fail, and what becomes of their work. All with the dispatcher's lock held. */
#ifndef CLATTN_DISPATCH_LOST_H
#define CLATTN_DISPATCH_LOST_H

#include "dispatch/dispatcher.h"

/* Something has failed on the lane: asks its device whether it is still there. The thread's message
 * stays. */
void clattn__lane_examine(clattn__lane *lane);
/* Moves or fails what lanes had that have died since the last call, and what waits for none but
 * these. */
void clattn__bury_lanes(clattn_dispatcher *dispatcher);
/* CLATTN_ERR_DEVICE_LOST where no lane is left. */
clattn_status clattn__check_lanes(const clattn_dispatcher *dispatcher);

/* A submission, in no list of the backlog, that was on the lane has ended with this status and the
 * thread's message: it is settled, or, where it failed and can, begins again on another lane. */
void clattn__end(clattn__lane *lane, clattn_event *event, clattn_status status);
/* The same for one that waits, of which some may have been launched. */
void clattn__end_waiting(clattn__lane *lane, clattn_event *event, clattn_status status);

#endif
