/* Choosing a device by a selector. Pure functions of what the devices say about themselves. */
#ifndef CLATTN_OPENCL_SELECT_H
#define CLATTN_OPENCL_SELECT_H

#include <stdbool.h>

#include "base/env.h"

/* Whether device number `index` fits the selector (NULL: every device does). */
bool clattn__selector_fits(const char *selector, const clattn_device_info *info, uint32_t index);

/* An estimate of arithmetic speed, for choosing among devices that fit. */
double clattn__device_score(const clattn_device_info *info);

/* The best device that fits into *chosen; CLATTN_ERR_NO_DEVICE names those that exist. */
clattn_status clattn__select_device(const char *selector, const clattn_device_info *infos,
                                    uint32_t count, uint32_t *chosen);

/* Whether it means several devices: selectors separated by '+', or "all". NULL: one. */
bool clattn__selector_is_list(const char *selector);

/* A set of device numbers, in order of choice. */
typedef struct clattn__chosen {
    uint32_t device[CLATTN__MAX_DEVICES];
    uint32_t count;
} clattn__chosen;

/* The devices of several selectors, which are separated by '+': for each the best one that fits and
 * isn't taken yet; an index is exact, and may be said several times. "all": every device, at most
 * as many as there may be. */
clattn_status clattn__select_devices(const char *selectors, const clattn_device_info *infos,
                                     uint32_t count, clattn__chosen *chosen);

#endif
