/* What the one-call form keeps in a context: a dispatcher, and the plans used lately. */
#ifndef CLATTN_API_REMEMBERED_H
#define CLATTN_API_REMEMBERED_H

#include "dispatch/submission.h"

/* A plan for the problem, with a reference for the caller; made if it is not remembered. */
clattn_status clattn__remembered_plan(clattn_context *context, const clattn__problem *problem,
                                      const clattn__functions *functions, const clattn_plan **plan);

/* The context's own dispatcher, made at the first call. */
clattn_status clattn__remembered_dispatcher(clattn_context *context,
                                            clattn_dispatcher **dispatcher);

/* How many objects are counted as live in the context because of what is remembered. */
int clattn__remembered_objects(const struct clattn__remembered *remembered);
void clattn__remembered_destroy(clattn_context *context);

#endif
