/* The text of clattn_explain(). */
#ifndef CLATTN_PLAN_EXPLAIN_H
#define CLATTN_PLAN_EXPLAIN_H

#include "plan/plan.h"

/* Adds that of a plan for another device of its context; NULL: why there is none, which is the
 * thread's message. */
clattn_status clattn__plan_explain_peer(clattn_plan *plan, const clattn_context *context,
                                        const clattn_plan *peer);
/* Makes plan->explanation; `declined` has a line for each kernel that declined. */
clattn_status clattn__plan_explain(clattn_plan *plan, const char *declined);

#endif
