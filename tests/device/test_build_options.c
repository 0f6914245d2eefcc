/* Options that only some compilers know: who gets them, and what becomes of the others. */
#include <criterion/criterion.h>
#include <stdbool.h>

#include "claimed_opencl.h"

/* One query and two keys. */
static void describe(clattn_attention_desc *desc)
{
    clattn_attention_desc_init(desc);
    desc->batch = desc->n_head = desc->n_kv_head = desc->n_q = 1;
    desc->n_kv = 2;
    desc->head_dim = desc->value_dim = 4;
}

/* Attention by this kernel: the mean of values where keys are the same. */
static void attend(const claimed_device *claims, const char *kernel)
{
    const float x[4] = {1, 0, 0, 0}, v[8] = {2, 4, 6, 8, 4, 8, 12, 16};
    const float k[8] = {0, 1, 0, 0, 0, 1, 0, 0};
    float out[4] = {0};
    clattn_context *context = claimed_open(claims, kernel);
    clattn_attention_desc desc;
    describe(&desc);
    cr_assert_eq(clattn_attention(context, &desc, x, k, v, out), CLATTN_OK, "%s",
                 clattn_error_message());
    for (int i = 0; i < 4; i++)
        cr_assert_float_eq(out[i], 3.0f * (float)(i + 1), 1e-5f);
    clattn_context_destroy(context);
}

static claimed_builds builds_of(const claimed_device *claims, const char *kernel)
{
    const claimed_builds before = claimed_count_builds();
    attend(claims, kernel);
    const claimed_builds after = claimed_count_builds();
    return (claimed_builds){after.wished - before.wished, after.plain - before.plain};
}

static const char intel[] = "Intel(R) OpenCL Graphics";

Test(build_options, tiles_have_more_registers_on_intels_gpus)
{
    const claimed_device gpu = {.is_gpu = 1, .platform = intel}, other = {.is_gpu = 1},
                         cpu = {.platform = intel};
    claimed_builds made = builds_of(&gpu, "attention_tile");
    cr_assert(made.wished >= 1 && made.plain == 0);
    made = builds_of(&gpu, "attention_reference");
    cr_assert(made.wished == 0 && made.plain >= 1);
    made = builds_of(&other, "attention_tile");
    cr_assert(made.wished == 0 && made.plain >= 1);
    made = builds_of(&cpu, "attention_simd");
    cr_assert(made.wished == 0 && made.plain >= 1);
}

/* Whether a plan of the same comes from the cache on disk. */
static bool is_cached(const claimed_device *claims, const char *kernel)
{
    clattn_plan *plan = NULL;
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_context *context = claimed_open(claims, kernel);
    clattn_attention_desc desc;
    describe(&desc);
    cr_assert_eq(clattn_plan_attention(context, &desc, &plan), CLATTN_OK);
    cr_assert_eq(clattn_plan_get_info(plan, &info), CLATTN_OK);
    clattn_plan_destroy(plan);
    clattn_context_destroy(context);
    return info.from_cache;
}

/* An older driver: built all the same, without, and found in the cache afterwards. */
Test(build_options, a_driver_that_refuses_them)
{
    const claimed_device gpu = {.is_gpu = 1, .platform = intel, .refuses_wishes = 1};
    const claimed_builds made = builds_of(&gpu, "attention_tile");
    cr_assert(made.wished >= 1 && made.plain == made.wished);
    cr_assert(is_cached(&gpu, "attention_tile"));
}
