/* How submissions end, and who learns of it. All with the dispatcher's lock held. */
#ifndef CLATTN_DISPATCH_SETTLE_H
#define CLATTN_DISPATCH_SETTLE_H

#include "dispatch/dispatcher.h"

/* Settles what is done on every lane, and who was waiting for what failed. */
void clattn__reap(clattn_dispatcher *dispatcher);
/* The same, without those who were waiting for it; true if there was something. */
bool clattn__reap_lanes(clattn_dispatcher *dispatcher);
/* Ends everything that is in flight on the lane with this failure and the thread's message. */
void clattn__lane_drop_flights(clattn__lane *lane, clattn_status status);

/* Ends every submission in flight with this failure: the driver will not. */
void clattn__give_up(clattn_dispatcher *dispatcher, clattn_status status);

/* Ends a submission of the backlog that was not launched, with the thread's message. */
void clattn__settle_waiting(clattn_dispatcher *dispatcher, clattn_event *event,
                            clattn_status status);
/* Ends one that is in no list of the backlog any more; followers fail with it. */
void clattn__settle(clattn_dispatcher *dispatcher, clattn_event *event, clattn_status status);

/* It can't end well: with this status, and the thread's message behind `why` (NULL: alone). The
 * first reason counts. */
void clattn__condemn(clattn_event *event, clattn_status status, const char *why);

/* Ends waiting submissions that can't run any more, because what they wait for has failed. */
void clattn__settle_condemned(clattn_dispatcher *dispatcher);
/* An event of another dispatcher, which `watcher` waits for, was launched or has failed. Takes the
 * lock of the watcher's dispatcher, and its reference. */
void clattn__hear(clattn_event *watcher);

/* Ends waiting submissions whose time to begin is over, and those that can't run any more. */
void clattn__drop_expired(clattn_dispatcher *dispatcher, uint64_t now);

/* Tells those who wait for the launch of `event`, or for its end without one. */
void clattn__tell_watchers(clattn_dispatcher *dispatcher, clattn_event *event,
                           clattn_status status);

/* Why what waits for `event` can't run: its failure; CLATTN_OK while there is none. With the
 * sentence. */
clattn_status clattn__failure_of(const clattn_event *event);

#endif
