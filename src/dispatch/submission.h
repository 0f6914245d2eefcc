/* Handing a submission to the lane. */
#ifndef CLATTN_DISPATCH_SUBMISSION_H
#define CLATTN_DISPATCH_SUBMISSION_H

#include "dispatch/dispatcher.h"
#include "plan/launch.h"

/* See clattn_submit. */
clattn_status clattn__submit(clattn_dispatcher *dispatcher, const clattn_submission *submission,
                             clattn_event **event);

#endif
