/* The test's own OpenCL objects. */
#include "own_cl.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void load(own_cl *cl)
{
    const char *named = getenv("CLATTN_OPENCL_LIBRARY");
    void *library = dlopen(named && *named ? named : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    void *address;
    cr_assert_not_null(library, "%s", dlerror());
#define LOAD(name, parameters)                                                                     \
    address = dlsym(library, #name);                                                               \
    cr_assert_not_null(address);                                                                   \
    memcpy(&cl->name, &address, sizeof address);
#define LOAD_OBJECT(type, name, parameters) LOAD(name, parameters)
    OWN_CL_STATUS(LOAD)
    OWN_CL_OBJECT(LOAD_OBJECT)
}

void own_cl_open(own_cl *cl)
{
    cl_int error;
    memset(cl, 0, sizeof *cl);
    load(cl);
    cr_assert_eq(cl->clGetPlatformIDs(1, &cl->platform, NULL), CL_SUCCESS);
    cr_assert_eq(cl->clGetDeviceIDs(cl->platform, CL_DEVICE_TYPE_ALL, 1, &cl->device, NULL),
                 CL_SUCCESS);
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)cl->platform, 0};
    cl->context = cl->clCreateContext(properties, 1, &cl->device, NULL, NULL, &error);
    cr_assert_not_null(cl->context, "clCreateContext: %d", error);
}

void own_cl_close(own_cl *cl)
{
    cr_assert_eq(cl->clReleaseContext(cl->context), CL_SUCCESS);
}

cl_uint own_cl_context_references(const own_cl *cl)
{
    cl_uint count = 0;
    cl->clGetContextInfo(cl->context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL);
    return count;
}

cl_uint own_cl_queue_references(const own_cl *cl, cl_command_queue queue)
{
    cl_uint count = 0;
    cl->clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT, sizeof count, &count, NULL);
    return count;
}

cl_uint own_cl_memory_references(const own_cl *cl, cl_mem memory)
{
    cl_uint count = 0;
    cl->clGetMemObjectInfo(memory, CL_MEM_REFERENCE_COUNT, sizeof count, &count, NULL);
    return count;
}

bool own_cl_memory_is_free(const own_cl *cl, cl_mem memory)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int tries = 0; tries < 10000 && own_cl_memory_references(cl, memory) != 1; tries++)
        nanosleep(&moment, NULL);
    return own_cl_memory_references(cl, memory) == 1;
}

void own_lane_open(own_lane *lane, cl_command_queue_properties properties)
{
    own_cl *cl = &lane->cl;
    cl_int error;
    memset(lane, 0, sizeof *lane);
    own_cl_open(cl);
    lane->queue = cl->clCreateCommandQueue(cl->context, cl->device, properties, &error);
    cr_assert_not_null(lane->queue, "clCreateCommandQueue: %d", error);
    cr_assert_eq(clattn_context_create_from_cl(cl->context, cl->device, NULL, &lane->context),
                 CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_dispatcher_create_from_cl(lane->context, lane->queue, &lane->dispatcher),
                 CLATTN_OK, "%s", clattn_error_message());
}

void own_lane_close(own_lane *lane)
{
    own_lane_go(lane, CL_COMPLETE);
    clattn_dispatcher_destroy(lane->dispatcher);
    cr_assert_eq(clattn_context_destroy(lane->context), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(lane->cl.clReleaseCommandQueue(lane->queue), CL_SUCCESS);
    own_cl_close(&lane->cl);
}

void own_lane_hold(own_lane *lane)
{
    cl_int error;
    lane->gate = lane->cl.clCreateUserEvent(lane->cl.context, &error);
    cr_assert_not_null(lane->gate, "clCreateUserEvent: %d", error);
    cr_assert_eq(lane->cl.clEnqueueBarrierWithWaitList(lane->queue, 1, &lane->gate, NULL),
                 CL_SUCCESS);
}

void own_lane_go(own_lane *lane, cl_int status)
{
    if (!lane->gate)
        return;
    cr_assert_eq(lane->cl.clSetUserEventStatus(lane->gate, status), CL_SUCCESS);
    cr_assert_eq(lane->cl.clReleaseEvent(lane->gate), CL_SUCCESS);
    lane->gate = NULL;
}
