/* Opening and closing a device. */
#include <inttypes.h>
#include <string.h>

#include "opencl/enumerate.h"
#include "opencl/select.h"

/* Locks and queue of a device whose context, id and caps are known. */
static clattn_status set_up(clattn__device *device)
{
    cl_int error;
    CLATTN__TRY(clattn__mutex_init(&device->memory_lock));
    CLATTN__TRY(clattn__mutex_init(&device->program_lock));
    device->transfer = device->cl.clCreateCommandQueue(device->context, device->id, 0, &error);
    if (!device->transfer)
        return clattn__cl_fail(error, "clCreateCommandQueue");
    return CLATTN_OK;
}

static clattn_status begin(const clattn__env *env, clattn__device **device)
{
    clattn__device *made = clattn__alloc_array(env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    made->env = env;
    const clattn_status status = clattn__cl_load(env, &made->cl);
    if (status != CLATTN_OK)
        clattn__free(env, made);
    else
        *device = made;
    return status;
}

static clattn_status choose(clattn__device *device)
{
    clattn__found found;
    uint32_t at = 0;
    CLATTN__TRY(clattn__enumerate(device->env, &device->cl, &found));
    const clattn_status status =
        clattn__select_device(device->env->device, found.info, found.count, &at);
    if (status == CLATTN_OK) {
        device->platform = found.platform[at];
        device->id = found.device[at];
        device->info = found.info[at];
        device->caps = found.caps[at];
    }
    clattn__found_finish(device->env, &found);
    return status;
}

/* How many units each part has: as equal as they can be, and none is left over. */
static void by_counts(cl_uint units, cl_uint parts, cl_device_partition_property *by)
{
    *by++ = CL_DEVICE_PARTITION_BY_COUNTS;
    for (cl_uint i = 0; i < parts; i++)
        *by++ = (cl_device_partition_property)(units / parts) + (i < units % parts);
    *by++ = CL_DEVICE_PARTITION_BY_COUNTS_LIST_END;
    *by = 0;
}

/* Keeps the first `wanted` of the `count` parts that there will be. */
static clattn_status create_parts(clattn__device *device, const cl_device_partition_property *by,
                                  cl_uint wanted, cl_uint count)
{
    device->part = clattn__alloc_array(device->env, count, sizeof *device->part);
    if (!device->part)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const cl_int error = device->cl.clCreateSubDevices(device->id, by, count, device->part, NULL);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clCreateSubDevices");
    device->part_count = count;
    while (device->part_count > wanted)
        device->cl.clReleaseDevice(device->part[--device->part_count]);
    return CLATTN_OK;
}

/* Divides the device into env->parts parts. */
static clattn_status divide(clattn__device *device)
{
    const cl_uint units = device->caps.compute_units;
    const cl_uint wanted = device->env->parts;
    cl_uint count = 0;
    if (wanted < 2)
        return CLATTN_OK;
    if (!device->cl.clCreateSubDevices || !device->cl.clRetainDevice ||
        !device->cl.clReleaseDevice || wanted > units)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "parts: %s has %" PRIu32 " compute units and can't be divided into "
                            "%" PRIu32 " parts",
                            device->info.name, units, wanted);
    cl_device_partition_property by[CLATTN__MAX_PARTS + 3];
    by_counts(units, wanted, by);
    cl_int error = device->cl.clCreateSubDevices(device->id, by, 0, NULL, &count);
    if (error != CL_SUCCESS || count < wanted) { /* not every driver divides by counts */
        by[0] = CL_DEVICE_PARTITION_EQUALLY;
        by[1] = (cl_device_partition_property)(units / wanted);
        by[2] = 0;
        error = device->cl.clCreateSubDevices(device->id, by, 0, NULL, &count);
    }
    if (error != CL_SUCCESS || count < wanted)
        return clattn__fail(CLATTN_ERR_UNSUPPORTED,
                            "parts: %s can't be divided: clCreateSubDevices: %s (%d)",
                            device->info.name, clattn__cl_error_name(error), (int)error);
    return create_parts(device, by, wanted, count);
}

/* The device, and its parts where it has some, so that they share memory and programs. */
static clattn_status create_context(clattn__device *device)
{
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)device->platform, 0};
    cl_device_id all[1 + CLATTN__MAX_PARTS] = {device->id};
    cl_int error;
    CLATTN__TRY(divide(device));
    for (uint32_t i = 0; i < device->part_count; i++)
        all[1 + i] = device->part[i];
    device->context =
        device->cl.clCreateContext(properties, 1 + device->part_count, all, NULL, NULL, &error);
    if (!device->context)
        return clattn__cl_fail(error, "clCreateContext");
    return CLATTN_OK;
}

clattn_status clattn__device_open(const clattn__env *env, clattn__device **device)
{
    clattn__device *made;
    CLATTN__TRY(begin(env, &made));
    clattn_status status = choose(made);
    if (status == CLATTN_OK)
        status = create_context(made);
    if (status == CLATTN_OK)
        status = set_up(made);
    if (status != CLATTN_OK)
        clattn__device_close(made);
    else
        *device = made;
    return status;
}

static clattn_status check_membership(const clattn__device *device, cl_context context,
                                      cl_device_id id)
{
    size_t size = 0;
    CLATTN__CL_TRY(&device->cl, clGetContextInfo, context, CL_CONTEXT_DEVICES, 0, NULL, &size);
    cl_device_id *ids = clattn__alloc(device->env, size);
    if (!ids)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const cl_int error = device->cl.clGetContextInfo(context, CL_CONTEXT_DEVICES, size, ids, NULL);
    bool member = false;
    for (size_t i = 0; error == CL_SUCCESS && i < size / sizeof *ids; i++)
        member = member || ids[i] == id;
    clattn__free(device->env, ids);
    if (error != CL_SUCCESS)
        return clattn__cl_fail(error, "clGetContextInfo");
    if (!member)
        return clattn__fail(CLATTN_ERR_ARGUMENT, "device: is not one of the context's devices");
    return CLATTN_OK;
}

static clattn_status adopt(clattn__device *device, cl_context context, cl_device_id id)
{
    CLATTN__TRY(check_membership(device, context, id));
    CLATTN__CL_TRY(&device->cl, clGetDeviceInfo, id, CL_DEVICE_PLATFORM, sizeof device->platform,
                   &device->platform, NULL);
    CLATTN__CL_TRY(&device->cl, clRetainContext, context);
    device->context = context;
    device->id = id;
    clattn__inspect(&device->cl, device->platform, id, &device->info, &device->caps);
    return set_up(device);
}

clattn_status clattn__device_open_from_cl(const clattn__env *env, cl_context context,
                                          cl_device_id id, clattn__device **device)
{
    clattn__device *made;
    CLATTN__TRY(begin(env, &made));
    const clattn_status status = adopt(made, context, id);
    if (status != CLATTN_OK)
        clattn__device_close(made);
    else
        *device = made;
    return status;
}

clattn_status clattn__device_open_again(const clattn__env *env, const clattn__device *device,
                                        clattn__device **again)
{
    return clattn__device_open_from_cl(env, device->context, device->id, again);
}

void clattn__device_close(clattn__device *device)
{
    if (device->transfer) { /* the last thing that set_up makes */
        device->cl.clFinish(device->transfer);
        clattn__programs_close(device);
        clattn__arenas_close(device);
        device->cl.clReleaseCommandQueue(device->transfer);
        clattn__mutex_finish(&device->program_lock);
        clattn__mutex_finish(&device->memory_lock);
    }
    if (device->context)
        device->cl.clReleaseContext(device->context);
    clattn__parts_close(device);
    clattn__free(device->env, device->peer);
    clattn__free(device->env, device);
}

clattn_status clattn__device_choose(const clattn__env *env, clattn__chosen *chosen)
{
    clattn__cl cl;
    clattn__found found;
    CLATTN__TRY(clattn__cl_load(env, &cl));
    CLATTN__TRY(clattn__enumerate(env, &cl, &found));
    const clattn_status status =
        clattn__select_devices(env->device, found.info, found.count, chosen);
    clattn__found_finish(env, &found);
    return status;
}

clattn_status clattn__device_join(clattn__device *device, clattn__device *const *peers,
                                  uint32_t count)
{
    device->peer = clattn__alloc_array(device->env, count, sizeof(clattn__device *));
    if (!device->peer)
        return CLATTN_ERR_OUT_OF_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        device->peer[i] = peers[i];
    device->peer_count = count;
    return CLATTN_OK;
}

bool clattn__device_has_peers(const clattn__device *device)
{
    return device->peer_count > 0;
}

uint32_t clattn__device_parts(const clattn__device *device)
{
    return device->part_count;
}

bool clattn__device_is_lost(const clattn__device *device)
{
    return atomic_load(&device->lost);
}

void clattn__device_set_lost(clattn__device *device, bool lost)
{
    atomic_store(&device->lost, lost);
}

const clattn__env *clattn__device_env(const clattn__device *device)
{
    return device->env;
}

const clattn__caps *clattn__device_caps(const clattn__device *device)
{
    return &device->caps;
}

const clattn_device_info *clattn__device_info(const clattn__device *device)
{
    return &device->info;
}

clattn_status clattn__device_list(const clattn__env *env, clattn_device_info *infos,
                                  uint32_t capacity, uint32_t *count)
{
    clattn__cl cl;
    clattn__found found;
    uint32_t fitting = 0, ignored;
    CLATTN__TRY(clattn__cl_load(env, &cl));
    CLATTN__TRY(clattn__enumerate(env, &cl, &found));
    clattn_status status = CLATTN_OK;
    if (env->device)
        status = clattn__select_device(env->device, found.info, found.count, &ignored);
    for (uint32_t i = 0; status == CLATTN_OK && i < found.count; i++) {
        if (!clattn__selector_fits(env->device, &found.info[i], i))
            continue;
        if (fitting < capacity)
            infos[fitting] = found.info[i];
        fitting++;
    }
    clattn__found_finish(env, &found);
    if (status == CLATTN_OK)
        *count = fitting;
    return status;
}
