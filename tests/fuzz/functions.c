/* The functions of functions.h. */
#include "functions.h"

#include <math.h>

#define PARAMETERS "int batch, int head, int q, int k, __global const float *params)\n"

/* Hides every seventh key by its score. */
static double near_keys(const void *user, double s, const int64_t at[4])
{
    (void)user;
    if ((at[3] + at[1]) % 7 == 3)
        return -INFINITY;
    return 0.5 * s - 0.015625 * fabs((double)(at[2] - at[3]));
}

static double half(const void *user, double s, const int64_t at[4])
{
    (void)user;
    (void)at;
    return s == s ? 0.5 : s;
}

static double first_param(const void *user, double s, const int64_t at[4])
{
    (void)at;
    return s == s ? (double)*(const float *)user : s;
}

static bool not_every_fourth(const void *user, const int64_t at[4])
{
    (void)user;
    return ((at[2] - at[3]) & 3) != 1 || at[0] == at[1];
}

static double by_params(const void *user, double s, const int64_t at[4])
{
    const float *params = user;
    return s * (double)params[0] +
           (double)params[1] * (double)((at[0] + 2 * at[1] + at[3] - at[2]) & 15);
}

static bool by_modulus(const void *user, const int64_t at[4])
{
    const float *params = user;
    return at[3] % (int64_t)params[2] != 1;
}

static const fuzz_functions functions[FUZZ_FUNCTIONS] = {
    {.name = "none"},
    {.name = "score",
     .score = "float score(float s, " PARAMETERS "{\n"
              "    return (k + head) % 7 == 3 ? -INFINITY\n"
              "                               : 0.5f * s - 0.015625f * fabs((float)(q - k));\n"
              "}\n",
     .gradient = "float score_gradient(float s, " PARAMETERS "{ return s == s ? 0.5f : s; }\n",
     .score_function = near_keys,
     .score_gradient = half},
    {.name = "mask",
     .mask = "int visible(" PARAMETERS "{\n"
             "    return ((q - k) & 3) != 1 || batch == head;\n"
             "}\n",
     .mask_function = not_every_fourth},
    {.name = "score and mask",
     .score = "float score(float s, " PARAMETERS "{\n"
              "    return s * params[0] + params[1] * (float)((batch + 2 * head + k - q) & 15);\n"
              "}\n",
     .mask = "int visible(" PARAMETERS "{\n"
             "    return k % (int)params[2] != 1;\n"
             "}\n",
     .gradient = "float score_gradient(float s, " PARAMETERS "{ return s == s ? params[0] : s; }\n",
     .score_function = by_params,
     .score_gradient = first_param,
     .mask_function = by_modulus,
     .n_params = 3},
};

const fuzz_functions *fuzz_functions_of(int index)
{
    return &functions[index];
}
