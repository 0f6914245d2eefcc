/* Choosing a device by a selector. Pure functions of what the devices say about themselves. */
#ifndef CLATTN_OPENCL_SELECT_H
#define CLATTN_OPENCL_SELECT_H

#include <stdbool.h>

#include "base/status.h"

/* Whether device number `index` fits the selector (NULL: every device does). */
bool clattn__selector_fits(const char *selector, const clattn_device_info *info, uint32_t index);

/* An estimate of arithmetic speed, for choosing among devices that fit. */
double clattn__device_score(const clattn_device_info *info);

/* The best device that fits into *chosen; CLATTN_ERR_NO_DEVICE names those that exist. */
clattn_status clattn__select_device(const char *selector, const clattn_device_info *infos,
                                    uint32_t count, uint32_t *chosen);

#endif
