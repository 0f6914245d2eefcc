/* Contexts and devices: the public functions. */
#include "api/contexts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/check.h"
#include "api/remembered.h"
#include "plan/tuning.h"

static bool is_kernel(const char *name)
{
    for (uint32_t i = 0; i < clattn__kernel_count(); i++)
        if (strcmp(clattn__kernel_get(i)->name, name) == 0)
            return true;
    return false;
}

static clattn_status refuse_kernel(const char *name)
{
    char names[896] = "";
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        const size_t size = strlen(names);
        snprintf(names + size, sizeof names - size, "%s%s", i ? ", " : "",
                 clattn__kernel_get(i)->name);
    }
    return clattn__fail(CLATTN_ERR_ARGUMENT, "kernel: there is no \"%s\"; there are %s", name,
                        names);
}

/* Whether options->kernel names kernels, if anything. */
static clattn_status check_kernels(const char *list)
{
    while (list) {
        char name[128];
        const size_t size = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", size < sizeof name ? (int)size : 0, list);
        if (!is_kernel(name))
            return refuse_kernel(size < sizeof name ? name : list);
        list = list[size] ? list + size + 1 : NULL;
    }
    return CLATTN_OK;
}

clattn_status clattn__context_begin(const clattn_context_options *options, clattn_context **context)
{
    clattn__env env;
    CLATTN__TRY(clattn__env_init(&env, options));
    clattn_context *made = NULL;
    clattn_status status = check_kernels(env.kernel);
    if (status != CLATTN_OK)
        goto no_context;
    made = clattn__alloc_array(&env, 1, sizeof *made);
    status = CLATTN_ERR_OUT_OF_MEMORY;
    if (!made)
        goto no_context;
    status = clattn__mutex_init(&made->lock);
    if (status != CLATTN_OK)
        goto no_lock;
    made->env = env;
    made->process = clattn__process_generation();
    atomic_init(&made->live, 0);
    *context = made;
    return CLATTN_OK;

no_lock:
    clattn__free(&env, made);
no_context:
    clattn__env_finish(&env);
    return status;
}

void clattn__context_free(clattn_context *context)
{
    clattn__env env = context->env;
    clattn__free(&env, context->tuning);
    if (context->device)
        clattn__device_close(context->device); /* its memory is that of its peers, too */
    for (uint32_t i = 0; i < context->peer_count; i++)
        clattn__context_free(context->peer[i]);
    clattn__free(&env, context->peer);
    clattn__mutex_finish(&context->lock);
    clattn__free(&env, context);
    clattn__env_finish(&env);
}

clattn_status clattn__context_complete(clattn_context *made, clattn_status opened,
                                       clattn_context **context)
{
    clattn_status status = opened;
    if (opened == CLATTN_OK)
        status = clattn__tuning_load(&made->env, clattn__device_info(made->device), &made->tuning);
    if (status != CLATTN_OK)
        clattn__context_free(made);
    else
        *context = made;
    return status;
}

/* ---- several devices ------------------------------------------------------------------------- */

static clattn_status set_selector(clattn__env *env, uint32_t device)
{
    char number[16];
    snprintf(number, sizeof number, "%" PRIu32, device);
    char *copy = clattn__copy_text(env, number);
    if (!copy)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn__free(env, env->device);
    env->device = copy;
    return CLATTN_OK;
}

static clattn_status open_peer(const clattn_context_options *options, uint32_t device,
                               clattn_context **peer)
{
    clattn_context *made;
    CLATTN__TRY(clattn__context_begin(options, &made));
    clattn_status status = set_selector(&made->env, device);
    if (status == CLATTN_OK)
        status = clattn__device_open(&made->env, &made->device);
    return clattn__context_complete(made, status, peer);
}

static clattn_status open_peers(clattn_context *context, const clattn_context_options *options,
                                const clattn__chosen *chosen)
{
    clattn__device *devices[CLATTN__MAX_DEVICES];
    context->peer = clattn__alloc_array(&context->env, chosen->count, sizeof(clattn_context *));
    if (!context->peer)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 1; i < chosen->count; i++) {
        CLATTN__TRY(open_peer(options, chosen->device[i], &context->peer[context->peer_count]));
        devices[context->peer_count] = context->peer[context->peer_count]->device;
        context->peer_count++;
    }
    return clattn__device_join(context->device, devices, context->peer_count);
}

static clattn_status open_several(clattn_context *context, const clattn_context_options *options)
{
    clattn__chosen chosen;
    if (context->env.parts > 1)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "parts: a context of several devices can't divide them");
    CLATTN__TRY(clattn__device_choose(&context->env, &chosen));
    CLATTN__TRY(set_selector(&context->env, chosen.device[0]));
    CLATTN__TRY(clattn__device_open(&context->env, &context->device));
    return chosen.count > 1 ? open_peers(context, options, &chosen) : CLATTN_OK;
}

clattn_status clattn_context_create(const clattn_context_options *options, clattn_context **context)
{
    clattn_context *made;
    CLATTN__TRY(clattn__require(context, "context"));
    CLATTN__TRY(clattn__context_begin(options, &made));
    const clattn_status opened = clattn__selector_is_list(made->env.device)
                                     ? open_several(made, options)
                                     : clattn__device_open(&made->env, &made->device);
    return clattn__context_complete(made, opened, context);
}

clattn_status clattn_context_destroy(clattn_context *context)
{
    if (!context)
        return CLATTN_OK;
    CLATTN__TRY(clattn__context_check(context));
    const int own = clattn__remembered_objects(context->remembered);
    const int live = atomic_load(&context->live) - own;
    if (live > 0)
        return clattn__fail(CLATTN_ERR_BUSY,
                            "context: %d of its plans, buffers, dispatchers or events still exist",
                            live);
    clattn__remembered_destroy(context);
    clattn__context_free(context);
    return CLATTN_OK;
}

clattn_status clattn_device_list(const clattn_context_options *options, clattn_device_info *infos,
                                 uint32_t capacity, uint32_t *count)
{
    clattn__env env;
    CLATTN__TRY(clattn__require(count, "count"));
    if (capacity && !infos)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "infos: is NULL, but capacity is %" PRIu32,
                            capacity);
    CLATTN__TRY(clattn__env_init(&env, options));
    /* The environment's choice is for opening; a list shows what there is. */
    if (!options || !options->device) {
        clattn__free(&env, env.device);
        env.device = NULL;
    }
    const clattn_status status = clattn__device_list(&env, infos, capacity, count);
    clattn__env_finish(&env);
    return status;
}

static clattn_status copy_info(const clattn__device *device, clattn_device_info *info)
{
    clattn_device_info own = *clattn__device_info(device);
    own.lost = clattn__device_is_lost(device);
    return clattn__struct_copy(info, &own, sizeof own, "info");
}

clattn_status clattn_context_device_info(clattn_context *context, clattn_device_info *info)
{
    CLATTN__TRY(clattn__context_check(context));
    return copy_info(context->device, info);
}

uint32_t clattn_context_device_count(const clattn_context *context)
{
    return context ? clattn__context_device_count(context) : 0;
}

clattn_status clattn_context_get_device(clattn_context *context, uint32_t index,
                                        clattn_device_info *info)
{
    CLATTN__TRY(clattn__context_check(context));
    if (index >= clattn__context_device_count(context))
        return clattn__fail(CLATTN_ERR_ARGUMENT,
                            "index: is %" PRIu32 ", but the context has %" PRIu32 " devices", index,
                            clattn__context_device_count(context));
    return copy_info(clattn__context_device(context, index), info);
}

clattn_status clattn_device_measure(clattn_context *context, clattn_device_measurement *measurement)
{
    clattn_device_measurement made = {0};
    CLATTN__TRY(clattn__context_check(context));
    CLATTN__TRY(clattn__require(measurement, "measurement"));
    CLATTN__TRY(clattn__device_measure(context->device, &made));
    return clattn__struct_copy(measurement, &made, sizeof made, "measurement");
}
