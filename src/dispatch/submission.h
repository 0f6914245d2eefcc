/* The way of a submission into a dispatcher: straight to a lane, or into the backlog. */
#ifndef CLATTN_DISPATCH_SUBMISSION_H
#define CLATTN_DISPATCH_SUBMISSION_H

#include "dispatch/dispatcher.h"

/* See clattn_submit; `more` are cl_events to wait for besides, which only direct dispatchers take.
 */
clattn_status clattn__submit(clattn_dispatcher *dispatcher, const clattn_submission *submission,
                             clattn__wait_list more, clattn_event **event);

/* The same for submissions of layers: they run in the order in which they came this way. */
clattn_status clattn__submit_layer(clattn_dispatcher *dispatcher,
                                   const clattn_submission *submission, clattn_event **event);

/* See clattn_event_cancel. */
clattn_status clattn__cancel(clattn_event *event);

/* Launches what is ready on the lane, as much as it has room for; true if there was something. With
 * the lock held. */
bool clattn__lane_feed(clattn__lane *lane);

#endif
