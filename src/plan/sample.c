/* Memory for sample problems, and running plans on it without a dispatcher. */
#include "plan/sample.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

/* What two correct kernels may differ by, relative to the largest result; inputs are below 1. */
#define TOLERANCE 1e-3f

/* A step of a linear congruential generator (Knuth's MMIX); the upper bits are the random ones. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Values of one element from 31 random bits: floats from -1 to 1, a mask that hides one in eight.
 */
static float value_f32(uint32_t random)
{
    return (float)random / (float)(1u << 30) - 1.0f;
}

static uint16_t value_f16(uint32_t random)
{
    return (uint16_t)((random & 0x8000u) | 0x3800u | (random & 0x3ffu)); /* 0.5 to 1 */
}

static uint16_t value_bf16(uint32_t random)
{
    return (uint16_t)((random & 0x8000u) | 0x3f00u | (random & 0x7fu)); /* 0.5 to 1 */
}

static uint8_t value_bool(uint32_t random)
{
    return random >> 20 & 7 ? 1 : 0;
}

static clattn_status fill(void *data, size_t count, uint32_t dtype, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        const uint32_t random = next_random(&seed);
        switch (dtype) {
        case CLATTN_F32:
            ((float *)data)[i] = value_f32(random);
            break;
        case CLATTN_F16:
            ((uint16_t *)data)[i] = value_f16(random);
            break;
        case CLATTN_BF16:
            ((uint16_t *)data)[i] = value_bf16(random);
            break;
        case CLATTN_BOOL:
            ((uint8_t *)data)[i] = value_bool(random);
            break;
        default:
            return clattn__fail(CLATTN_ERR_INTERNAL, "sample: a slot of type %u can't be made up",
                                (unsigned)dtype);
        }
    }
    return CLATTN_OK;
}

/* Memory of one slot with contents. */
static clattn_status make_slot(clattn__sample *sample, const clattn__slot_info *info)
{
    const clattn__env *env = &sample->context->env;
    clattn__place *place = &sample->bound.slot[info->slot];
    const uint32_t dtype = sample->problem.dtype[info->slot];
    int64_t low, high;
    clattn__slot_span(&sample->problem, info->slot, &low, &high);
    const uint64_t size = (uint64_t)(high - low);
    if (size == 0)
        return CLATTN_OK;
    CLATTN__TRY(clattn__memory_create(sample->context->device, size, &place->memory));
    place->offset = clattn__memory_offset(place->memory) + (uint64_t)-low;
    void *data = clattn__alloc(env, (size_t)size);
    if (!data)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const size_t count = (size_t)size / clattn__dtype_get((clattn_dtype)dtype)->size;
    clattn_status status = fill(data, count, dtype, (uint64_t)info->slot + 1);
    if (status == CLATTN_OK)
        status = clattn__memory_write(place->memory, 0, data, size);
    clattn__free(env, data);
    if (clattn__problem_writes(&sample->problem, info->slot) && dtype == CLATTN_F32 &&
        sample->result < 0) {
        sample->result = (int32_t)info->slot;
        sample->result_count = count;
    }
    return status;
}

static clattn_status make(clattn__sample *sample)
{
    const clattn__env *env = &sample->context->env;
    for (uint32_t slot = 0; slot < clattn__slot_count(); slot++)
        if (clattn__problem_has(&sample->problem, (clattn_slot)slot))
            CLATTN__TRY(make_slot(sample, clattn__slot_get(slot)));
    sample->expected = clattn__alloc_array(env, sample->result_count + 1, sizeof(float));
    sample->found = clattn__alloc_array(env, sample->result_count + 1, sizeof(float));
    return sample->expected && sample->found ? CLATTN_OK : CLATTN_ERR_OUT_OF_MEMORY;
}

clattn_status clattn__sample_init(clattn__sample *sample, clattn_context *context,
                                  const clattn__problem *problem)
{
    memset(sample, 0, sizeof *sample);
    sample->context = context;
    sample->problem = *problem;
    sample->result = -1;
    const clattn_status status = make(sample);
    if (status != CLATTN_OK)
        clattn__sample_finish(sample);
    return status;
}

void clattn__sample_finish(clattn__sample *sample)
{
    for (uint32_t slot = 0; slot < CLATTN_SLOT_LIMIT; slot++)
        clattn__memory_release(sample->bound.slot[slot].memory);
    clattn__memory_release(sample->workspace);
    if (sample->context) {
        clattn__free(&sample->context->env, sample->expected);
        clattn__free(&sample->context->env, sample->found);
    }
    memset(sample, 0, sizeof *sample);
}

static clattn_status reserve(clattn__sample *sample, uint64_t size)
{
    if (size == 0 || (sample->workspace && clattn__memory_size(sample->workspace) >= size))
        return CLATTN_OK;
    clattn__memory_release(sample->workspace);
    sample->workspace = NULL;
    CLATTN__TRY(clattn__memory_create(sample->context->device, size, &sample->workspace));
    sample->bound.workspace.memory = sample->workspace;
    sample->bound.workspace.offset = clattn__memory_offset(sample->workspace);
    return CLATTN_OK;
}

clattn_status clattn__sample_run(clattn__sample *sample, const clattn_plan *plan,
                                 clattn__queue *queue, double *seconds)
{
    const clattn__wait_list nothing = {0};
    CLATTN__TRY(reserve(sample, plan->variant.workspace));
    const uint64_t start = clattn__now_ns();
    for (uint32_t i = 0; i < plan->variant.launch_count; i++)
        if (plan->launch[i].count)
            CLATTN__TRY(clattn__plan_launch(plan, clattn__plan_part(plan, i), &sample->bound, queue,
                                            nothing, NULL));
    CLATTN__TRY(clattn__queue_finish(queue));
    *seconds = (double)(clattn__now_ns() - start) * 1e-9;
    return CLATTN_OK;
}

/* Runs a plan and copies its result, where nothing of an earlier one is left. */
static clattn_status run_into(clattn__sample *sample, const clattn_plan *plan, clattn__queue *queue,
                              float *result)
{
    const size_t size = sample->result_count * sizeof *result;
    double seconds;
    if (sample->result < 0)
        return clattn__sample_run(sample, plan, queue, &seconds);
    clattn__memory *memory = sample->bound.slot[sample->result].memory;
    memset(result, 0xff, size); /* NaN */
    CLATTN__TRY(clattn__memory_write(memory, 0, result, size));
    CLATTN__TRY(clattn__sample_run(sample, plan, queue, &seconds));
    return clattn__memory_read(memory, 0, result, size);
}

clattn_status clattn__sample_expect(clattn__sample *sample, const clattn_plan *plan,
                                    clattn__queue *queue)
{
    return run_into(sample, plan, queue, sample->expected);
}

clattn_status clattn__sample_check(clattn__sample *sample, const clattn_plan *plan,
                                   clattn__queue *queue)
{
    float largest = 0;
    CLATTN__TRY(run_into(sample, plan, queue, sample->found));
    for (size_t i = 0; i < sample->result_count; i++)
        largest = fmaxf(largest, fabsf(sample->expected[i]));
    for (size_t i = 0; i < sample->result_count; i++)
        if (!(fabsf(sample->found[i] - sample->expected[i]) <= TOLERANCE * largest))
            return clattn__fail(CLATTN_ERR_INTERNAL, "gives other results than built in");
    return CLATTN_OK;
}
