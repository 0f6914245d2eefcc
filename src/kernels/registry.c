/* The list of kernels, and what is done alike for all of them. */
#include "kernels/launches.h"

#include <string.h>

extern const clattn__kernel clattn__append;
extern const clattn__kernel clattn__rotary;
extern const clattn__kernel clattn__shift;
extern const clattn__kernel clattn__top_k_simd;
extern const clattn__kernel clattn__top_k_reference;
extern const clattn__kernel clattn__attention_decode_simd;
extern const clattn__kernel clattn__attention_simd;
extern const clattn__kernel clattn__attention_decode_tile;
extern const clattn__kernel clattn__attention_tile;
extern const clattn__kernel clattn__attention_reference;
extern const clattn__kernel clattn__merge;
extern const clattn__kernel clattn__gradient_simd;
extern const clattn__kernel clattn__gradient_tile;
extern const clattn__kernel clattn__gradient_reference;
extern const clattn__kernel clattn__linear_simd, clattn__linear_tile, clattn__linear_reference;
extern const clattn__kernel clattn__linear_x_simd, clattn__linear_x_tile;
extern const clattn__kernel clattn__linear_x_reference;
extern const clattn__kernel clattn__linear_w_simd, clattn__linear_w_tile;
extern const clattn__kernel clattn__linear_w_reference;
extern const clattn__kernel clattn__linear_pack;
extern const clattn__kernel clattn__additive_simd;
extern const clattn__kernel clattn__additive_tile;
extern const clattn__kernel clattn__additive_reference;
extern const clattn__kernel clattn__additive_gradient_simd;
extern const clattn__kernel clattn__additive_gradient_tile;
extern const clattn__kernel clattn__additive_gradient_reference;

/* In order of preference; the last of a kind accepts every valid problem. */
static const clattn__kernel *const kernels[] = {
    &clattn__attention_decode_simd,
    &clattn__attention_simd,
    &clattn__attention_decode_tile,
    &clattn__attention_tile,
    &clattn__attention_reference,
    &clattn__merge,
    &clattn__gradient_simd,
    &clattn__gradient_tile,
    &clattn__gradient_reference,
    &clattn__append,
    &clattn__rotary,
    &clattn__shift,
    &clattn__top_k_simd,
    &clattn__top_k_reference,
    &clattn__linear_simd,
    &clattn__linear_tile,
    &clattn__linear_reference,
    &clattn__linear_x_simd,
    &clattn__linear_x_tile,
    &clattn__linear_x_reference,
    &clattn__linear_w_simd,
    &clattn__linear_w_tile,
    &clattn__linear_w_reference,
    &clattn__linear_pack,
    &clattn__additive_simd,
    &clattn__additive_tile,
    &clattn__additive_reference,
    &clattn__additive_gradient_simd,
    &clattn__additive_gradient_tile,
    &clattn__additive_gradient_reference,
};

uint32_t clattn__kernel_count(void)
{
    return (uint32_t)(sizeof kernels / sizeof kernels[0]);
}

const clattn__kernel *clattn__kernel_get(uint32_t index)
{
    return kernels[index];
}

bool clattn__kernel_is_in(const clattn__kernel *kernel, const char *list)
{
    const size_t size = strlen(kernel->name);
    while (list) {
        if (strncmp(list, kernel->name, size) == 0 && (list[size] == ',' || list[size] == 0))
            return true;
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return false;
}

bool clattn__kernel_accepts(const clattn__kernel *kernel, const clattn__problem *problem,
                            const clattn__caps *caps, clattn__text *reason)
{
    return !kernel->check || kernel->check(problem, caps, reason);
}

void clattn__kernel_make_variant(const clattn__kernel *kernel, const clattn__problem *problem,
                                 const clattn__caps *caps, const clattn__config *config,
                                 clattn__variant *variant)
{
    memset(variant, 0, sizeof *variant);
    variant->config = *config;
    if (kernel->cut)
        kernel->cut(problem, caps, &variant->config);
    if (kernel->workspace)
        kernel->workspace(problem, caps, variant);
    clattn__add_query_rotation(problem, caps, variant);
    kernel->launches(problem, variant);
}
