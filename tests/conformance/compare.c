/* The comparison of compare.h. */
#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Torch cases whose scores are large, so that rounding them to float shows more. */
static const char *const large_scores[] = {"large_logits", "softcap_50_large_logits"};

bool is_gradient(const test_case *c, const char *output)
{
    return strcmp(c->kind, "onnx") != 0 && output[0] == 'd';
}

tolerance tolerance_of(const test_case *c, const case_array *output)
{
    const char *type = output->array.type;
    if (type[0] != 'f')
        return (tolerance){0};
    if (strcmp(c->kind, "onnx") == 0)
        return strcmp(type, "f2") == 0 ? (tolerance){.absolute = 1e-3, .relative = 3e-3}
                                       : (tolerance){.absolute = 1e-7, .relative = 1e-3};
    tolerance allowed = {.of_largest = is_gradient(c, output->name) ? 5e-5 : 1e-5};
    for (size_t i = 0; i < sizeof large_scores / sizeof large_scores[0]; i++)
        if (strcmp(c->folder, large_scores[i]) == 0)
            allowed.of_largest *= 10;
    return allowed;
}

static double largest_finite(const npy_array *array)
{
    double most = 0;
    for (int64_t i = 0; i < array->count; i++)
        if (isfinite(array->value[i]))
            most = fmax(most, fabs(array->value[i]));
    return most;
}

/* How far x is outside of what is allowed around ref; 0 and less: within. */
static double excess(double x, double ref, double allowed)
{
    if (isnan(ref))
        return isnan(x) ? 0 : (double)INFINITY;
    if (isinf(ref))
        return x == ref ? 0 : (double)INFINITY;
    return isfinite(x) ? fabs(x - ref) - allowed : (double)INFINITY;
}

bool compare_arrays(const npy_array *x, const npy_array *ref, tolerance allowed, char *why,
                    size_t size)
{
    const double constant = allowed.absolute + allowed.of_largest * fmax(1, largest_finite(ref));
    double worst = 0;
    int64_t at = -1;
    if (x->count != ref->count) {
        snprintf(why, size, "has %lld elements instead of %lld", (long long)x->count,
                 (long long)ref->count);
        return false;
    }
    for (int64_t i = 0; i < ref->count; i++) {
        const double limit = constant + allowed.relative * fabs(ref->value[i]);
        const double over = excess(x->value[i], ref->value[i], limit);
        if (over > worst) {
            worst = over;
            at = i;
        }
    }
    if (at >= 0)
        snprintf(why, size, "is %.9g instead of %.9g at element %lld (allowed: %.2g)", x->value[at],
                 ref->value[at], (long long)at, constant + allowed.relative * fabs(ref->value[at]));
    return at < 0;
}
