/* Optimisers: one launch over all parameters. */
#ifndef EXAMPLES_TRAINING_OPTIMISER_H
#define EXAMPLES_TRAINING_OPTIMISER_H

#include "layers.h"

typedef struct optimiser optimiser;

/* NULL where there is none of this name; optimiser_names is for messages. */
const optimiser *optimiser_find(const char *name);
extern const char optimiser_names[];

/* Changes the parameters by their gradients; step 0 .. steps - 1, over which the rate falls to 0.
 */
void optimiser_step(const optimiser *o, device *d, const parameters *p, long step, long steps);

#endif
