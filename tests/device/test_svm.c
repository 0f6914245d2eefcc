/* Shared virtual memory of the caller's: what the host writes there is what kernels read, and the
 * other way round, without a copy. Where the device has none the tests are skipped, but for the one
 * that asks for it there. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "own_cl.h"
#include "rig.h"

/* Of OpenCL 2.0, which headers for 1.2 leave out. */
#define DEVICE_SVM_CAPABILITIES 0x1053
#define SVM_COARSE              1u
#define SVM_FINE                2u
#define MEM_SVM_FINE            (1u << 10)

#define SVM_CALLS(X)                                                                               \
    X(void *, clSVMAlloc, (cl_context, cl_bitfield, size_t, cl_uint))                              \
    X(void, clSVMFree, (cl_context, void *))                                                       \
    X(cl_int, clEnqueueSVMMap,                                                                     \
      (cl_command_queue, cl_bool, cl_map_flags, void *, size_t, cl_uint, const cl_event *,         \
       cl_event *))                                                                                \
    X(cl_int, clEnqueueSVMUnmap,                                                                   \
      (cl_command_queue, void *, cl_uint, const cl_event *, cl_event *))                           \
    X(cl_int, clGetDeviceInfo, (cl_device_id, cl_device_info, size_t, void *, size_t *))

static const rig_shape shape = {2, 4, 2, 19, 40, 16, 16, CLATTN_ALIGN_TOP_LEFT};

/* A problem whose tensors lie one after the other in one piece of shared memory. */
typedef struct shared {
    own_lane lane;
#define FIELD(type, name, parameters) type(CL_API_CALL *name) parameters;
    SVM_CALLS(FIELD)
#undef FIELD
    rig_problem problem;
    rig_stage stage;
    clattn_buffer *buffer;
    unsigned char *memory;
    size_t size, offset[RIG_SLOTS]; /* bytes */
    bool fine;
} shared;

static void load(shared *s)
{
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW), *address;
    cr_assert_not_null(library);
#define LOAD(type, name, parameters)                                                               \
    address = dlsym(library, #name);                                                               \
    memcpy(&s->name, &address, sizeof address);
    SVM_CALLS(LOAD)
#undef LOAD
    cr_assert_not_null(s->clGetDeviceInfo);
}

/* False: the device has no such memory. */
static bool open_lane(shared *s, bool fine)
{
    cl_bitfield can = 0;
    memset(s, 0, sizeof *s);
    own_lane_open(&s->lane, 0);
    load(s);
    s->fine = fine;
    if (s->clSVMAlloc &&
        s->clGetDeviceInfo(s->lane.cl.device, DEVICE_SVM_CAPABILITIES, sizeof can, &can, NULL) ==
            CL_SUCCESS &&
        can & (fine ? SVM_FINE : SVM_COARSE))
        return true;
    own_lane_close(&s->lane);
    return false;
}

static unsigned char *allocate(const shared *s, size_t size)
{
    unsigned char *memory = s->clSVMAlloc(
        s->lane.cl.context, CL_MEM_READ_WRITE | (s->fine ? MEM_SVM_FINE : 0), size, 0);
    cr_assert_not_null(memory);
    return memory;
}

/* The host may touch all of it until touch_no_more. */
static void touch(const shared *s)
{
    if (!s->fine)
        cr_assert_eq(s->clEnqueueSVMMap(s->lane.queue, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE,
                                        s->memory, s->size, 0, NULL, NULL),
                     CL_SUCCESS);
}

static void touch_no_more(const shared *s)
{
    if (s->fine)
        return;
    cr_assert_eq(s->clEnqueueSVMUnmap(s->lane.queue, s->memory, 0, NULL, NULL), CL_SUCCESS);
    cr_assert_eq(s->lane.cl.clFinish(s->lane.queue), CL_SUCCESS);
}

/* Tensors are bound by offsets into one buffer. */
static bool open_shared(shared *s, bool fine)
{
    if (!open_lane(s, fine))
        return false;
    rig_make(&s->problem, &shape, RIG_FULL, &rig_contiguous);
    rig_expect(&s->problem);
    cr_assert_eq(rig_stage_make(s->lane.context, &s->problem, &s->stage), CLATTN_OK, "%s",
                 clattn_error_message());
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        s->offset[slot] = s->size;
        s->size += ((size_t)s->problem.tensor[slot].count * 4 + 255) / 256 * 256;
    }
    s->memory = allocate(s, s->size);
    cr_assert_eq(clattn_buffer_wrap_svm(s->lane.context, s->memory, s->size, &s->buffer), CLATTN_OK,
                 "%s", clattn_error_message());
    cr_assert_eq(clattn_buffer_size(s->buffer), s->size);
    for (int slot = 0; slot < RIG_SLOTS; slot++) {
        s->stage.binding[slot].buffer = s->buffer;
        s->stage.binding[slot].offset += s->offset[slot];
    }
    return true;
}

static void close_shared(shared *s)
{
    rig_stage_free(&s->stage);
    rig_free(&s->problem);
    cr_assert_eq(clattn_buffer_destroy(s->buffer), CLATTN_OK);
    s->clSVMFree(s->lane.cl.context, s->memory);
    own_lane_close(&s->lane);
}

static void write_tensors(const shared *s)
{
    touch(s);
    for (int slot = 0; slot < RIG_SLOTS; slot++)
        memcpy(s->memory + s->offset[slot], s->problem.tensor[slot].memory,
               (size_t)s->problem.tensor[slot].count * 4);
    touch_no_more(s);
}

static void check_tensors(shared *s)
{
    touch(s);
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++)
        memcpy(s->problem.tensor[slot].memory, s->memory + s->offset[slot],
               (size_t)s->problem.tensor[slot].count * 4);
    touch_no_more(s);
    rig_check(&s->problem);
}

static void forget_outputs(const shared *s)
{
    touch(s);
    for (int slot = CLATTN_SLOT_OUT; slot < RIG_SLOTS; slot++)
        memcpy(s->memory + s->offset[slot], s->problem.tensor[slot].before,
               (size_t)s->problem.tensor[slot].count * 4);
    touch_no_more(s);
}

/* On the caller's queue, then on one of clattn's own, twice. */
static void attend(bool fine)
{
    shared s;
    clattn_dispatcher *own = NULL;
    if (!open_shared(&s, fine))
        cr_skip_test("the first device has no shared virtual memory of %s grain",
                     fine ? "fine" : "coarse");
    write_tensors(&s);
    rig_submit(s.lane.dispatcher, &s.stage.submission);
    check_tensors(&s);
    cr_assert_eq(clattn_dispatcher_create(s.lane.context, NULL, &own), CLATTN_OK);
    for (int i = 0; i < 2; i++) {
        forget_outputs(&s);
        rig_submit(own, &s.stage.submission);
        check_tensors(&s);
    }
    clattn_dispatcher_destroy(own);
    close_shared(&s);
}

Test(svm, memory_of_coarse_grain)
{
    attend(false);
}

Test(svm, memory_of_fine_grain)
{
    attend(true);
}

/* Reading, writing and mapping as of any buffer. */
static void use_buffer(bool fine)
{
    shared s;
    uint32_t words[4] = {1, 2, 3, 4}, found[4] = {0};
    void *mapped = NULL;
    if (!open_lane(&s, fine))
        cr_skip_test("the first device has no shared virtual memory of %s grain",
                     fine ? "fine" : "coarse");
    s.size = 4096;
    s.memory = allocate(&s, s.size);
    cr_assert_eq(clattn_buffer_wrap_svm(s.lane.context, s.memory, s.size, &s.buffer), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(s.buffer, 1000, words, sizeof words), CLATTN_OK);
    touch(&s);
    cr_assert_arr_eq(s.memory + 1000, words, sizeof words);
    s.memory[1000] = 99;
    touch_no_more(&s);
    cr_assert_eq(clattn_buffer_read(s.buffer, 1000, found, sizeof found), CLATTN_OK);
    cr_assert_eq(found[0], 99);
    cr_assert_eq(clattn_buffer_map(s.buffer, &mapped), CLATTN_OK);
    cr_assert_eq(((unsigned char *)mapped)[1000], 99);
    ((unsigned char *)mapped)[1001] = 77;
    cr_assert_eq(clattn_buffer_unmap(s.buffer), CLATTN_OK);
    touch(&s);
    cr_assert_eq(s.memory[1001], 77);
    touch_no_more(&s);
    cr_assert_eq(clattn_buffer_destroy(s.buffer), CLATTN_OK);
    s.clSVMFree(s.lane.cl.context, s.memory);
    own_lane_close(&s.lane);
}

Test(svm, buffers_of_coarse_grain)
{
    use_buffer(false);
}

Test(svm, buffers_of_fine_grain)
{
    use_buffer(true);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void expect_refusal(clattn_status status, clattn_status expected, const char *sentence)
{
    cr_assert_eq(status, expected, "%s", clattn_status_string(status));
    cr_assert(strstr(clattn_error_message(), sentence), "%s", clattn_error_message());
}

Test(svm, what_is_no_shared_memory)
{
    shared s;
    clattn_buffer *buffer = NULL;
    if (!open_lane(&s, false))
        cr_skip_test("the first device has no shared virtual memory");
    clattn_context *context = s.lane.context;
    void *memory = aligned_alloc(4096, 4096), *svm = allocate(&s, 64);
    cr_assert_not_null(memory);
    expect_refusal(clattn_buffer_wrap_svm(NULL, svm, 64, &buffer), CLATTN_ERR_ARGUMENT, "context");
    expect_refusal(clattn_buffer_wrap_svm(context, NULL, 64, &buffer), CLATTN_ERR_ARGUMENT, "svm");
    expect_refusal(clattn_buffer_wrap_svm(context, svm, 0, &buffer), CLATTN_ERR_ARGUMENT, "size");
    expect_refusal(clattn_buffer_wrap_svm(context, svm, 64, NULL), CLATTN_ERR_ARGUMENT, "buffer");
    expect_refusal(clattn_buffer_wrap_svm(context, memory, 4096, &buffer), CLATTN_ERR_ARGUMENT,
                   "clSVMAlloc");
    cr_assert_null(buffer);
    free(memory);
    s.clSVMFree(s.lane.cl.context, svm);
    own_lane_close(&s.lane);
}

/* Two buffers over the same memory are known to be the same. */
Test(svm, memory_that_is_written_and_read)
{
    shared s;
    clattn_buffer *again = NULL;
    if (!open_shared(&s, false))
        cr_skip_test("the first device has no shared virtual memory");
    cr_assert_eq(clattn_buffer_wrap_svm(s.lane.context, s.memory, s.size, &again), CLATTN_OK);
    s.stage.binding[CLATTN_SLOT_LSE].buffer = again;
    s.stage.binding[CLATTN_SLOT_LSE].offset = s.stage.binding[CLATTN_SLOT_Q].offset;
    expect_refusal(clattn_submit(s.lane.dispatcher, &s.stage.submission, NULL), CLATTN_ERR_ARGUMENT,
                   "LSE: is written and shares memory with Q");
    cr_assert_eq(clattn_buffer_destroy(again), CLATTN_OK);
    close_shared(&s);
}

static cl_int(CL_API_CALL *real_device_info)(cl_device_id, cl_device_info, size_t, void *,
                                             size_t *);

/* As a device of OpenCL 1.2 answers. */
static cl_int CL_API_CALL old_device_info(cl_device_id device, cl_device_info name, size_t size,
                                          void *value, size_t *needed)
{
    return name == DEVICE_SVM_CAPABILITIES ? CL_INVALID_VALUE
                                           : real_device_info(device, name, size, value, needed);
}

static void *get_proc(void *library, const char *name)
{
    void *found = dlsym(library, name), *result = found;
    cl_int(CL_API_CALL * own)(cl_device_id, cl_device_info, size_t, void *, size_t *) =
        old_device_info;
    if (strcmp(name, "clGetDeviceInfo") == 0) {
        memcpy(&real_device_info, &found, sizeof found);
        memcpy(&result, &own, sizeof own);
    }
    return result;
}

Test(svm, devices_without)
{
    clattn_context_options options;
    clattn_context *context = NULL;
    clattn_buffer *buffer = NULL;
    char memory[64];
    clattn_context_options_init(&options);
    options.get_proc = get_proc;
    options.get_proc_user = dlopen("libOpenCL.so.1", RTLD_NOW);
    cr_assert_not_null(options.get_proc_user);
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    expect_refusal(clattn_buffer_wrap_svm(context, memory, sizeof memory, &buffer),
                   CLATTN_ERR_UNSUPPORTED, "has no shared virtual memory");
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    clattn_context_options_init(&options);
    options.device = "0+0";
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK);
    expect_refusal(clattn_buffer_wrap_svm(context, memory, sizeof memory, &buffer),
                   CLATTN_ERR_UNSUPPORTED, "several devices");
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    cr_assert_null(buffer);
}
