/* Adam, and gradient descent with momentum. */
#include "optimiser.h"

#include <math.h>
#include <string.h>

struct optimiser {
    const char *name;
    float rate; /* of the first step */
    void (*run)(device *d, const parameters *p, float rate, long step);
};

static void run_adam(device *d, const parameters *p, float rate, long step)
{
    const float mean_part = (float)(1 - pow(0.9, (double)step + 1));
    const float square_part = (float)(1 - pow(0.999, (double)step + 1));
    LAUNCH(d, KERNEL_ADAM, p->count, TENSOR(&p->value), TENSOR(&p->gradient),
           TENSOR(&p->average[0]), TENSOR(&p->average[1]), ARGUMENT(rate), ARGUMENT(mean_part),
           ARGUMENT(square_part));
}

static void run_sgd(device *d, const parameters *p, float rate, long step)
{
    const float momentum = 0.9f;
    (void)step;
    LAUNCH(d, KERNEL_SGD, p->count, TENSOR(&p->value), TENSOR(&p->gradient), TENSOR(&p->average[0]),
           ARGUMENT(rate), ARGUMENT(momentum));
}

static const optimiser optimisers[] = {
    {"adam", 6e-3f, run_adam},
    {"sgd", 0.3f, run_sgd},
};
const char optimiser_names[] = "adam or sgd (with momentum)";

const optimiser *optimiser_find(const char *name)
{
    for (size_t i = 0; i < sizeof optimisers / sizeof optimisers[0]; i++)
        if (strcmp(name, optimisers[i].name) == 0)
            return &optimisers[i];
    return NULL;
}

void optimiser_step(const optimiser *o, device *d, const parameters *p, long step, long steps)
{
    const float left = 1 - (float)step / (float)steps;
    o->run(d, p, o->rate * (left < 0.5f ? 2 * left : 1), step);
}
