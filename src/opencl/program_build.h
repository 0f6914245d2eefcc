/* Making a program: from the cache on disk, or from source. Private to src/opencl. */
#ifndef CLATTN_OPENCL_PROGRAM_BUILD_H
#define CLATTN_OPENCL_PROGRAM_BUILD_H

#include "opencl/program_private.h"

/* Fills program->key, ->program and ->built. With the device's program lock held. */
clattn_status clattn__program_build(clattn__program *program,
                                    const clattn__program_request *request);

/* Ends the mark of a build from source and stores its result. */
void clattn__program_store(clattn__program *program);

#endif
