/* Submissions that begin once more from their beginning, elsewhere, because what they had was lost
 * or rests on what was. All with the dispatcher's lock held. */
#ifndef CLATTN_DISPATCH_AGAIN_H
#define CLATTN_DISPATCH_AGAIN_H

#include "dispatch/dispatcher.h"

/* Whether what it has read wasn't what it should have been: something that it waits for, or
 * follows, begins again. */
bool clattn__rests_on_moved(const clattn_event *event);

/* Whether doing the submission once more is as good as doing it once, and some lane may. `lane` is
 * where it failed; -1: nowhere, it rests on what did. */
bool clattn__can_begin_again(clattn_dispatcher *dispatcher, int32_t lane, clattn_event *event);
/* Makes it ready for that; to put it among those that wait is the caller's. */
clattn_status clattn__begin_again(clattn_dispatcher *dispatcher, int32_t lane, clattn_event *event);

/* Counts it among those that must be told when what it waits for, and what begins again, is
 * launched. */
clattn_status clattn__watch_moved(clattn_event *event);

#endif
