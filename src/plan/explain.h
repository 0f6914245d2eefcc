/* The text of clattn_explain(). */
#ifndef CLATTN_PLAN_EXPLAIN_H
#define CLATTN_PLAN_EXPLAIN_H

#include "plan/plan.h"

/* Makes plan->explanation; `declined` has a line for each kernel that declined. */
clattn_status clattn__plan_explain(clattn_plan *plan, const char *declined);

#endif
