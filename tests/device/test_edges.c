/* Tensors that end where memory ends, or begin where it begins: whoever reads or writes an element
 * too many dies of it. On devices that use the caller's memory without a copy. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const rig_shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, CLATTN_ALIGN_NONE},
    {1, 2, 1, 5, 7, 8, 8, CLATTN_ALIGN_NONE},
    {2, 2, 2, 49, 65, 64, 64, CLATTN_ALIGN_BOTTOM_RIGHT},
    {1, 3, 3, 47, 130, 33, 17, CLATTN_ALIGN_TOP_LEFT},
    {1, 1, 1, 7, 257, 16, 100, CLATTN_ALIGN_NONE},
    {1, 2, 2, 13, 31, 65, 129, CLATTN_ALIGN_NONE},
};

/* Pages between two that nobody may touch. */
typedef struct fenced {
    unsigned char *begin; /* of what may be touched */
    size_t size, whole;   /* of it; of the mapping */
} fenced;

static fenced map_fenced(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    fenced made;
    made.size = (bytes + page - 1) / page * page;
    made.whole = made.size + 2 * page;
    unsigned char *mapping =
        mmap(NULL, made.whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(mapping, MAP_FAILED);
    made.begin = mapping + page;
    cr_assert_eq(mprotect(mapping, page, PROT_NONE), 0);
    cr_assert_eq(mprotect(made.begin + made.size, page, PROT_NONE), 0);
    memset(made.begin, 0xff, made.size); /* NaN */
    return made;
}

static void unmap_fenced(const fenced *of)
{
    cr_assert_eq(munmap(of->begin - (of->whole - of->size) / 2, of->whole), 0);
}

/* Moves the elements of a contiguous tensor to one end of fenced memory. */
static float *move(const rig_tensor *tensor, bool to_the_end, fenced *to)
{
    int64_t count;
    float *elements = rig_gather(tensor, &count);
    const size_t bytes = (size_t)count * sizeof(float);
    *to = map_fenced(bytes);
    float *at = (float *)(void *)(to_the_end ? to->begin + to->size - bytes : to->begin);
    memcpy(at, elements, bytes);
    free(elements);
    return at;
}

/* Takes the outputs back, so that rig_check sees them. */
static void take_back(rig_problem *problem, float *const at[RIG_SLOTS])
{
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++) {
        rig_tensor *tensor = &problem->tensor[slot];
        int64_t count;
        free(rig_gather(tensor, &count));
        memcpy(tensor->memory + tensor->origin, at[slot], (size_t)count * sizeof(float));
    }
}

static void run_fenced(clattn_context *context, const rig_shape *shape, bool to_the_end)
{
    rig_problem problem;
    fenced memory[RIG_SLOTS];
    float *at[RIG_SLOTS];
    clattn_host_binding bindings[RIG_SLOTS];
    clattn_attention_desc desc;
    rig_make(&problem, shape, RIG_FULL, &rig_contiguous);
    rig_expect(&problem);
    rig_describe(&problem, &desc);
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        at[slot] = move(&problem.tensor[slot], to_the_end, &memory[slot]);
        bindings[slot] = (clattn_host_binding){(clattn_slot)slot, 0, at[slot]};
    }
    cr_assert_eq(clattn_run(context, &desc, bindings, RIG_SLOTS), CLATTN_OK, "%s: %s", rig_said(),
                 clattn_error_message());
    take_back(&problem, at);
    rig_check(&problem);
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        unmap_fenced(&memory[slot]);
    rig_free(&problem);
}

static void stay_inside(clattn_context *context, const char *kernel)
{
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int end = 0; end < 2; end++) {
            rig_say("%s, shape %d, at the %s", kernel, (int)i, end ? "end" : "begin");
            run_fenced(context, &shapes[i], end);
        }
}

Test(edges, nothing_beyond_a_tensor_is_touched)
{
    rig_each_kernel(stay_inside);
}
