/* Checks and counts that every object with a context shares. */
#include "plan/context.h"

clattn_status clattn__context_check(const clattn_context *context)
{
    if (!context)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "context: is NULL");
    if (context->process != clattn__process_generation())
        return clattn__fail(CLATTN_ERR_WRONG_PROCESS,
                            "context: was made by another process, before fork(); OpenCL does not "
                            "survive fork(), open it after fork() only");
    return CLATTN_OK;
}

uint32_t clattn__context_device_count(const clattn_context *context)
{
    return 1 + context->peer_count;
}

clattn__device *clattn__context_device(const clattn_context *context, uint32_t index)
{
    return index ? context->peer[index - 1]->device : context->device;
}

void clattn__context_hold(clattn_context *context)
{
    atomic_fetch_add(&context->live, 1);
}

void clattn__context_drop(clattn_context *context)
{
    atomic_fetch_sub(&context->live, 1);
}
