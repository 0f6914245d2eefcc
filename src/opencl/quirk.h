/* Quirks: what is known about drivers and devices that OpenCL does not say. */
#ifndef CLATTN_OPENCL_QUIRK_H
#define CLATTN_OPENCL_QUIRK_H

#include "base/caps.h"

/* Changes caps by every row of the table whose patterns the device matches. */
void clattn__quirks_apply(const clattn_device_info *info, clattn__caps *caps);

/* Vector registers of a core whose native float vector has this many elements. */
uint32_t clattn__vector_registers(uint32_t vector_width);

#endif
