/* Layers to test, one of each option and some of several. */
#ifndef TESTS_DEVICE_LAYER_CASES_H
#define TESTS_DEVICE_LAYER_CASES_H

#include <stddef.h>

#include "layer_oracle.h"

extern const layer_case layer_cases[];
extern const size_t layer_case_count;

/* The one of this name, which must be there. */
const layer_case *layer_case_named(const char *name);

#endif
