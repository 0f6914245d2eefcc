/* Finding the platforms and devices there are. Private to src/opencl. */
#ifndef CLATTN_OPENCL_ENUMERATE_H
#define CLATTN_OPENCL_ENUMERATE_H

#include "opencl/device_private.h"

typedef struct clattn__found {
    uint32_t count;           /* devices that can be used */
    uint32_t skipped;         /* and others */
    const char *lacking;      /* what is wrong with the last of these; NULL: there is none */
    cl_platform_id *platform; /* (count) owned */
    cl_device_id *device;     /* (count) owned */
    clattn_device_info *info; /* (count) owned */
    clattn__caps *caps;       /* (count) owned */
} clattn__found;

/* The devices of all platforms that are available and have a compiler. CLATTN_ERR_NO_PLATFORM,
 * CLATTN_ERR_NO_DEVICE. */
clattn_status clattn__enumerate(const clattn__env *env, const clattn__cl *cl, clattn__found *found);
void clattn__found_finish(const clattn__env *env, clattn__found *found);

/* Asks one device for all there is to know. What a driver does not say gets a careful default. */
void clattn__inspect(const clattn__cl *cl, cl_platform_id platform, cl_device_id device,
                     clattn_device_info *info, clattn__caps *caps);

#endif
