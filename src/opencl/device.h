/* An opened device: OpenCL's function table, a cl_context of its own (or the caller's), what the
 * device can do, and its programs. Other rooms see OpenCL's objects only as pointers. */
#ifndef CLATTN_OPENCL_DEVICE_H
#define CLATTN_OPENCL_DEVICE_H

#include "base/caps.h"
#include "base/env.h"
#include "opencl/select.h"

struct _cl_context;
struct _cl_device_id;

typedef struct clattn__device clattn__device;

/* Opens the device that env->device selects, the best one if that is NULL. `env` is borrowed and
 * must outlive the device. */
clattn_status clattn__device_open(const clattn__env *env, clattn__device **device);

/* The same on the caller's context, which is retained. */
clattn_status clattn__device_open_from_cl(const clattn__env *env, struct _cl_context *context,
                                          struct _cl_device_id *id, clattn__device **device);

/* The same device in the same cl_context once more, with programs and memory of its own. */
clattn_status clattn__device_open_again(const clattn__env *env, const clattn__device *device,
                                        clattn__device **again);

/* The devices that env->device selects, by their numbers in clattn_device_list. */
clattn_status clattn__device_choose(const clattn__env *env, clattn__chosen *chosen);

/* From now on memory that is made for `device` is for its peers as well, devices of the same
 * library: see clattn__memory_cl_on. Before any is made. */
clattn_status clattn__device_join(clattn__device *device, clattn__device *const *peers,
                                  uint32_t count);
/* Whether there are any. */
bool clattn__device_has_peers(const clattn__device *device);

/* Number of parts that the device was divided into when it was opened; 0: it was not. */
uint32_t clattn__device_parts(const clattn__device *device);

/* Whether work on it failed and it did not answer any more. Any thread. */
bool clattn__device_is_lost(const clattn__device *device);
void clattn__device_set_lost(clattn__device *device, bool lost);

/* Releases programs, memory and context. Nothing of it may be in use. */
void clattn__device_close(clattn__device *device);

const clattn__env *clattn__device_env(const clattn__device *device);
const clattn__caps *clattn__device_caps(const clattn__device *device);
const clattn_device_info *clattn__device_info(const clattn__device *device);

/* All devices that fit env->device (all if NULL), see clattn_device_list. */
clattn_status clattn__device_list(const clattn__env *env, clattn_device_info *infos,
                                  uint32_t capacity, uint32_t *count);

/* See clattn_device_measure. */
clattn_status clattn__device_measure(clattn__device *device,
                                     clattn_device_measurement *measurement);

#endif
