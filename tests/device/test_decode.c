/* Few queries, many keys: sizes around the splits of 512 keys and around vectors, heads that share
 * keys, and the same bits whatever else is in the batch. Every kernel, every device; that the
 * kernel made for it is chosen where it should be is asked of the plan. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define LSE          CLATTN_SLOT_BIT(CLATTN_SLOT_LSE)

static const rig_shape shapes[] = {
    {1, 1, 1, 1, 511, 16, 16, CLATTN_ALIGN_NONE},
    {1, 2, 2, 1, 512, 64, 64, CLATTN_ALIGN_NONE},
    {2, 4, 2, 1, 513, 128, 128, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 3, 1, 1, 1537, 17, 31, CLATTN_ALIGN_NONE},
    {1, 8, 1, 1, 1024, 33, 129, CLATTN_ALIGN_NONE},
    {2, 6, 2, 5, 1031, 65, 80, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 4, 1, 16, 2049, 64, 48, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 4, 1, 16, 600, 64, 48, CLATTN_ALIGN_TOP_LEFT}, /* splits that nobody sees */
    {1, 2, 1, 3, 1100, 576, 575, CLATTN_ALIGN_NONE},
    {1, 17, 1, 1, 777, 256, 100, CLATTN_ALIGN_NONE},
    {1, 5, 1, 13, 1023, 80, 64, CLATTN_ALIGN_BOTTOM_RIGHT},  /* many rows, no whole block */
    {1, 10, 1, 13, 8201, 32, 24, CLATTN_ALIGN_BOTTOM_RIGHT}, /* more rows than accepted */
};

static void run_one(clattn_context *context, const rig_shape *shape, uint64_t slots)
{
    rig_problem problem;
    rig_make(&problem, shape, slots, &rig_contiguous);
    rig_expect(&problem);
    cr_assert_eq(rig_run(context, &problem), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    rig_check(&problem);
    rig_free(&problem);
}

static void all_shapes(clattn_context *context, const char *kernel)
{
    for (size_t i = 0; i < COUNT(shapes); i++) {
        rig_say("%s, shape %d", kernel, (int)i);
        run_one(context, &shapes[i], 0);
        run_one(context, &shapes[i], LSE);
    }
}

Test(decode, agrees_with_the_oracle)
{
    rig_each_kernel(all_shapes);
}

/* Output of the problem, contiguous, owned by the caller. */
static float *outputs_of(clattn_context *context, rig_problem *problem, int64_t *count)
{
    cr_assert_eq(rig_run(context, problem), CLATTN_OK, "%s", clattn_error_message());
    return rig_gather(&problem->tensor[CLATTN_SLOT_OUT], count);
}

/* Copies what heads and batch entries from `from` on of a read tensor are into one that is smaller
 * in these dimensions. */
static void copy_part(const rig_tensor *whole, rig_tensor *part, int64_t entry, int64_t head)
{
    for (int64_t b = 0; b < part->extent[0]; b++)
        for (int64_t h = 0; h < part->extent[1]; h++)
            for (int64_t i = 0; i < part->extent[2]; i++)
                for (int64_t d = 0; d < part->extent[3]; d++)
                    part->memory[rig_index(part, (int64_t[4]){b, h, i, d})] =
                        whole->memory[rig_index(whole, (int64_t[4]){b + entry, h + head, i, d})];
}

/* One head of one entry alone has the bits that it has among others, although other tiles compute
 * it. */
static void one_head_alone(clattn_context *context, const char *kernel)
{
    const rig_shape many = {3, 6, 1, 1, 1300, 72, 40, CLATTN_ALIGN_NONE};
    rig_shape single = many;
    rig_problem all, one;
    int64_t whole, size;
    single.batch = single.n_head = 1;
    rig_say("%s, one head alone", kernel);
    rig_make(&all, &many, 0, &rig_contiguous);
    float *together = outputs_of(context, &all, &whole);
    for (int64_t b = 0; b < many.batch; b++)
        for (int64_t h = 0; h < many.n_head; h++) {
            rig_make(&one, &single, 0, &rig_contiguous);
            copy_part(&all.tensor[CLATTN_SLOT_Q], &one.tensor[CLATTN_SLOT_Q], b, h);
            copy_part(&all.tensor[CLATTN_SLOT_K], &one.tensor[CLATTN_SLOT_K], b, 0);
            copy_part(&all.tensor[CLATTN_SLOT_V], &one.tensor[CLATTN_SLOT_V], b, 0);
            float *alone = outputs_of(context, &one, &size);
            cr_assert_eq(memcmp(together + (b * many.n_head + h) * size, alone,
                                (size_t)size * sizeof *alone),
                         0, "%s: entry %d, head %d differs", rig_said(), (int)b, (int)h);
            free(alone);
            rig_free(&one);
        }
    free(together);
    rig_free(&all);
}

Test(decode, one_head_alone_has_the_same_bits)
{
    rig_each_kernel(one_head_alone);
}

/* Of all kernels that may be. */
static void expect_kernel(clattn_context *context, const rig_shape *shape, const char *kernel)
{
    rig_problem problem;
    clattn_attention_desc desc;
    clattn_device_info device = {.struct_size = sizeof device};
    cr_assert_eq(clattn_context_device_info(context, &device), CLATTN_OK);
    if (strcmp(device.family, "simd") != 0)
        return;
    rig_begin(&problem, shape, 0);
    rig_describe(&problem, &desc);
    rig_expect_kernel(context, &desc, kernel);
}

Test(decode, is_chosen_for_few_queries)
{
    static const rig_shape few = {1, 8, 1, 16, 4096, 64, 64, CLATTN_ALIGN_NONE};
    static const rig_shape many = {1, 8, 1, 17, 4096, 64, 64, CLATTN_ALIGN_NONE};
    static const rig_shape heads = {1, 9, 1, 16, 4096, 64, 64, CLATTN_ALIGN_NONE};
    static const rig_shape shorter = {1, 8, 1, 16, 600, 64, 64, CLATTN_ALIGN_NONE};
    static const rig_shape longer = {1, 9, 1, 16, 65536, 64, 64, CLATTN_ALIGN_NONE};
    static const rig_shape narrow = {1, 8, 2, 1, 4096, 2, 64, CLATTN_ALIGN_NONE};
    clattn_context *context = rig_open();
    expect_kernel(context, &few, "attention_decode_simd");
    expect_kernel(context, &many, "attention_simd");
    expect_kernel(context, &heads, "attention_simd");
    expect_kernel(context, &shorter, "attention_decode_simd");
    expect_kernel(context, &longer, "attention_simd");
    expect_kernel(context, &narrow, "attention_simd");
    rig_close(context);
}
