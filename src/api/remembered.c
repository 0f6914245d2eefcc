/* The plans of the one-call form, found by the bytes of their problem; the oldest goes first. */
#include "api/remembered.h"

#include <string.h>

#include "base/hash.h"

#define MOST_PLANS 64

typedef struct remembered_plan {
    clattn__hash hash;
    uint64_t last_use;
    const clattn_plan *plan; /* a reference; NULL: free */
} remembered_plan;

struct clattn__remembered {
    clattn_dispatcher *dispatcher; /* owned */
    uint64_t uses;
    remembered_plan plan[MOST_PLANS];
};

/* One lane, which is the first device's: the plans are for that one alone. Every call waits for its
 * submission, so that there is nothing to hold back. */
static clattn_status make_dispatcher(clattn_context *context, clattn_dispatcher **dispatcher)
{
    const clattn__dispatcher_settings settings = {.lanes = 1, .direct = true, .limit = UINT32_MAX};
    return clattn__dispatcher_create(context, &settings, dispatcher);
}

/* With the context's lock held. */
static clattn_status begin(clattn_context *context)
{
    if (context->remembered)
        return CLATTN_OK;
    struct clattn__remembered *made = clattn__alloc_array(&context->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const clattn_status status = make_dispatcher(context, &made->dispatcher);
    if (status != CLATTN_OK)
        clattn__free(&context->env, made);
    else
        context->remembered = made;
    return status;
}

clattn_status clattn__remembered_dispatcher(clattn_context *context, clattn_dispatcher **dispatcher)
{
    clattn__mutex_lock(&context->lock);
    const clattn_status status = begin(context);
    if (status == CLATTN_OK)
        *dispatcher = context->remembered->dispatcher;
    clattn__mutex_unlock(&context->lock);
    return status;
}

/* The entry of this problem, or else the one to be replaced. */
static remembered_plan *find(struct clattn__remembered *remembered, clattn__hash hash,
                             const clattn__problem *problem)
{
    remembered_plan *oldest = &remembered->plan[0];
    for (size_t i = 0; i < MOST_PLANS; i++) {
        remembered_plan *entry = &remembered->plan[i];
        if (entry->plan && clattn__hash_equal(entry->hash, hash) &&
            memcmp(&entry->plan->problem, problem, sizeof *problem) == 0)
            return entry;
        if (oldest->plan && (!entry->plan || entry->last_use < oldest->last_use))
            oldest = entry;
    }
    return oldest;
}

static clattn_status plan_locked(clattn_context *context, const clattn__problem *problem,
                                 const clattn__functions *functions, const clattn_plan **plan)
{
    CLATTN__TRY(begin(context));
    const clattn__hash hash = clattn__hash_bytes(problem, sizeof *problem);
    remembered_plan *entry = find(context->remembered, hash, problem);
    const bool known = entry->plan && clattn__hash_equal(entry->hash, hash) &&
                       memcmp(&entry->plan->problem, problem, sizeof *problem) == 0;
    if (!known) {
        clattn_plan *made;
        CLATTN__TRY(clattn__plan_create_first(context, problem, functions, &made));
        clattn__plan_release(entry->plan);
        entry->plan = made;
        entry->hash = hash;
    }
    entry->last_use = ++context->remembered->uses;
    clattn__plan_retain(entry->plan);
    *plan = entry->plan;
    return CLATTN_OK;
}

clattn_status clattn__remembered_plan(clattn_context *context, const clattn__problem *problem,
                                      const clattn__functions *functions, const clattn_plan **plan)
{
    clattn__mutex_lock(&context->lock);
    const clattn_status status = plan_locked(context, problem, functions, plan);
    clattn__mutex_unlock(&context->lock);
    return status;
}

int clattn__remembered_objects(const struct clattn__remembered *remembered)
{
    int objects = 0;
    if (!remembered)
        return 0;
    for (size_t i = 0; i < MOST_PLANS; i++)
        objects += remembered->plan[i].plan != NULL;
    return objects + 1;
}

void clattn__remembered_destroy(clattn_context *context)
{
    struct clattn__remembered *remembered = context->remembered;
    if (!remembered)
        return;
    clattn__dispatcher_close(remembered->dispatcher);
    for (size_t i = 0; i < MOST_PLANS; i++)
        clattn__plan_release(remembered->plan[i].plan);
    clattn__free(&context->env, remembered);
    context->remembered = NULL;
}
