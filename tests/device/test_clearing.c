/* CLATTN_CONTEXT_CLEAR_MEMORY: what the library hands out again is zeros once those who used it are
 * done. A wrapper of clCreateBuffer notes all memory that is made, which begins as zeros, and tests
 * read it by a queue of their own: with the flag there is nothing in it, and without it there is.
 * Tensors lie in host memory that is wrapped, and count for nothing; nor do constants of plans,
 * which have sizes alone. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>
#include <clattn/clattn.h>

#include "real_cl.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BIT(slot)    CLATTN_SLOT_BIT(CLATTN_SLOT_##slot)

/* --- the wrapper ------------------------------------------------------------------------------ */

/* Declares `real_NAME`, the library's function. */
#define REAL(name)                                                                                 \
    __typeof__(name) *real_##name;                                                                 \
    any_function *const found_##name = real_cl_load(#name);                                        \
    memcpy(&real_##name, &found_##name, sizeof real_##name)

static struct {
    cl_mem mem;
    size_t size;
    cl_context context;
    bool is_host; /* it lies in memory of the library's, which goes with it */
} made[64];
static size_t made_count;
static size_t left_in_host; /* bytes that weren't 0 when such memory went */

/* What of the library's own is for launches to write to, or has host arrays. */
static bool is_noted(cl_mem_flags flags)
{
    const cl_mem_flags arena = CL_MEM_READ_WRITE, table = CL_MEM_READ_ONLY;
    return flags == arena || flags == table || flags == (table | CL_MEM_USE_HOST_PTR);
}

static cl_command_queue open_queue(cl_context context)
{
    cl_device_id device;
    cl_int error;
    REAL(clGetContextInfo);
    REAL(clCreateCommandQueue);
    cr_assert_eq(real_clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof device, &device, NULL),
                 CL_SUCCESS);
    cl_command_queue queue = real_clCreateCommandQueue(context, device, 0, &error);
    cr_assert_eq(error, CL_SUCCESS);
    return queue;
}

static size_t count_bytes(size_t n)
{
    const size_t size = made[n].size;
    size_t count = 0;
    unsigned char *bytes = malloc(size);
    cl_command_queue queue = open_queue(made[n].context);
    REAL(clEnqueueReadBuffer);
    REAL(clReleaseCommandQueue);
    cr_assert_not_null(bytes);
    cr_assert_eq(
        real_clEnqueueReadBuffer(queue, made[n].mem, CL_TRUE, 0, size, bytes, 0, NULL, NULL),
        CL_SUCCESS);
    cr_assert_eq(real_clReleaseCommandQueue(queue), CL_SUCCESS);
    for (size_t i = 0; i < size; i++)
        count += bytes[i] != 0;
    free(bytes);
    return count;
}

static void fill_with_zeros(cl_context context, cl_mem mem, size_t size)
{
    void *zeros = calloc(size, 1);
    cl_command_queue queue = open_queue(context);
    REAL(clEnqueueWriteBuffer);
    REAL(clReleaseCommandQueue);
    cr_assert_not_null(zeros);
    cr_assert_eq(real_clEnqueueWriteBuffer(queue, mem, CL_TRUE, 0, size, zeros, 0, NULL, NULL),
                 CL_SUCCESS);
    cr_assert_eq(real_clReleaseCommandQueue(queue), CL_SUCCESS);
    free(zeros);
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t size,
                                        void *host, cl_int *error)
{
    REAL(clCreateBuffer);
    REAL(clRetainMemObject);
    cl_mem mem = real_clCreateBuffer(context, flags, size, host, error);
    if (mem && is_noted(flags)) {
        if (!host)
            fill_with_zeros(context, mem, size);
        cr_assert(made_count < COUNT(made));
        cr_assert_eq(real_clRetainMemObject(mem), CL_SUCCESS); /* to be read after it was freed */
        made[made_count].mem = mem;
        made[made_count].context = context;
        made[made_count].is_host = host != NULL;
        made[made_count++].size = size;
    }
    return mem;
}

/* Memory of the library's is read before it is freed. */
static cl_int CL_API_CALL release_mem(cl_mem mem)
{
    REAL(clReleaseMemObject);
    for (size_t i = 0; i < made_count; i++)
        if (made[i].mem == mem && made[i].is_host) {
            left_in_host += count_bytes(i);
            cr_assert_eq(real_clReleaseMemObject(mem), CL_SUCCESS);
            made[i] = made[--made_count];
            break;
        }
    return real_clReleaseMemObject(mem);
}

static void *get_proc(void *user, const char *name)
{
    any_function *found = real_cl_load(name);
    void *address;
    (void)user;
    if (strcmp(name, "clCreateBuffer") == 0)
        found = (any_function *)create_buffer;
    if (strcmp(name, "clReleaseMemObject") == 0)
        found = (any_function *)release_mem;
    memcpy(&address, &found, sizeof address);
    return address;
}

/* Bytes of all that was made that aren't 0. */
static size_t left_behind(void)
{
    size_t count = left_in_host;
    for (size_t i = 0; i < made_count; i++)
        count += count_bytes(i);
    return count;
}

static clattn_context *open_context(bool clears)
{
    clattn_context *context;
    clattn_context_options options;
    left_in_host = 0;
    clattn_context_options_init(&options);
    options.device = "0";
    options.get_proc = get_proc;
    options.flags = clears ? CLATTN_CONTEXT_CLEAR_MEMORY : 0;
    cr_assert_eq(clattn_context_create(&options, &context), CLATTN_OK, "%s",
                 clattn_error_message());
    return context;
}

static void close_context(clattn_context *context)
{
    REAL(clReleaseMemObject);
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    while (made_count > 0)
        cr_assert_eq(real_clReleaseMemObject(made[--made_count].mem), CL_SUCCESS);
}

/* --- submissions ------------------------------------------------------------------------------ */

enum { QUERIES = 300, KEYS = 700, DIM = 40, HEADS = 2, MOST = 6 };

/* Attention of some queries with lengths in a host array. */
typedef struct job {
    clattn_plan *plan;
    clattn_buffer *buffer[4];
    float *memory[4];
    clattn_binding binding[5];
    int32_t length;
    clattn_step step;
    clattn_submission submission;
    clattn_event *event;
} job;

static void make_tensor(clattn_context *context, job *j, int n, clattn_slot slot, size_t count)
{
    const size_t bytes = (count * sizeof(float) + 4095) / 4096 * 4096;
    j->memory[n] = aligned_alloc(4096, bytes);
    cr_assert_not_null(j->memory[n]);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        j->memory[n][i] = slot == CLATTN_SLOT_OUT ? -1.0F : 0.25F + (float)(i % 7);
    cr_assert_eq(clattn_buffer_wrap_host(context, j->memory[n], bytes, &j->buffer[n]), CLATTN_OK,
                 "%s", clattn_error_message());
    j->binding[n] = (clattn_binding){.slot = slot, .buffer = j->buffer[n]};
}

/* Bytes of scratch memory that a job needs; some devices need none. */
static uint64_t scratch;

static void make_job(clattn_context *context, job *j)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_kv_head = 1;
    desc.n_head = HEADS;
    desc.n_q = QUERIES;
    desc.n_kv = KEYS;
    desc.head_dim = desc.value_dim = DIM;
    desc.slots = BIT(KV_LENGTHS);
    *j = (job){.length = KEYS - 5};
    cr_assert_eq(clattn_plan_attention(context, &desc, &j->plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_plan_workspace_size(j->plan, &scratch), CLATTN_OK);
    make_tensor(context, j, 0, CLATTN_SLOT_Q, (size_t)HEADS * QUERIES * DIM);
    make_tensor(context, j, 1, CLATTN_SLOT_K, (size_t)KEYS * DIM);
    make_tensor(context, j, 2, CLATTN_SLOT_V, (size_t)KEYS * DIM);
    make_tensor(context, j, 3, CLATTN_SLOT_OUT, (size_t)HEADS * QUERIES * DIM);
    j->binding[4] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = &j->length};
    j->step = (clattn_step){.plan = j->plan, .bindings = j->binding, .binding_count = 5};
    clattn_submission_init(&j->submission);
    j->submission.steps = &j->step;
    j->submission.step_count = 1;
}

static void free_job(job *j)
{
    for (int n = 0; n < 4; n++) {
        cr_assert_eq(clattn_buffer_destroy(j->buffer[n]), CLATTN_OK);
        free(j->memory[n]);
    }
    clattn_event_release(j->event);
    clattn_plan_destroy(j->plan);
}

/* `count` submissions at a time; what is left when their events are done. */
static size_t run_jobs(bool clears, const clattn_dispatcher_options *options, int count)
{
    clattn_context *context = open_context(clears);
    clattn_dispatcher *dispatcher;
    job jobs[MOST];
    cr_assert_eq(clattn_dispatcher_create(context, options, &dispatcher), CLATTN_OK);
    for (int n = 0; n < count; n++)
        make_job(context, &jobs[n]);
    for (int n = 0; n < count; n++)
        cr_assert_eq(clattn_submit(dispatcher, &jobs[n].submission, &jobs[n].event), CLATTN_OK,
                     "%s", clattn_error_message());
    for (int n = 0; n < count; n++)
        cr_assert_eq(clattn_event_wait(jobs[n].event, UINT64_MAX), CLATTN_OK, "%s",
                     clattn_error_message());
    for (int n = 0; n < count; n++) { /* means of values */
        const float *out = jobs[n].memory[3];
        for (int i = 0; i < HEADS * QUERIES * DIM; i++)
            cr_assert(out[i] > 0.2F && out[i] < 6.3F, "element %d is %g", i, (double)out[i]);
    }
    const size_t left = left_behind();
    for (int n = 0; n < count; n++)
        free_job(&jobs[n]);
    clattn_dispatcher_destroy(dispatcher);
    close_context(context);
    return left;
}

/* Without the flag: the lengths, and whatever keys there are in scratch memory. */
static void expect_left(const clattn_dispatcher_options *options, int count)
{
    const size_t left = run_jobs(false, options, count);
    cr_expect_gt(left, scratch / 8, "%d bytes", (int)left);
}

Test(clearing, scratch_memory_and_host_arrays, .timeout = 600)
{
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    expect_left(&options, 1);
    cr_expect_eq(run_jobs(true, &options, 1), 0);
    options.direct = 1;
    cr_expect_eq(run_jobs(true, &options, 1), 0, "direct");
}

/* Those that share launches, and those that wait for others with copies of their arrays. */
Test(clearing, of_several_submissions, .timeout = 600)
{
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    expect_left(&options, MOST);
    cr_expect_eq(run_jobs(true, &options, MOST), 0);
}

/* Scratch memory of their own, given back when the last part is done. */
Test(clearing, of_submissions_in_parts, .timeout = 600)
{
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.launch_ns = 1;
    expect_left(&options, 3);
    cr_expect_eq(run_jobs(true, &options, 3), 0);
}

/* --- buffers ---------------------------------------------------------------------------------- */

/* Bytes of a destroyed buffer that are left in memory that another one is a part of, too. */
static size_t destroy_buffer(bool clears)
{
    enum { SIZE = 10001 };
    static unsigned char bytes[SIZE];
    clattn_context *context = open_context(clears);
    clattn_buffer *one, *other;
    memset(bytes, 0x5a, sizeof bytes);
    cr_assert_eq(clattn_buffer_create(context, SIZE, &one), CLATTN_OK);
    cr_assert_eq(clattn_buffer_create(context, SIZE, &other), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(one, 0, bytes, SIZE), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(other, SIZE - 1, bytes, 1), CLATTN_OK);
    cr_assert_eq(left_behind(), SIZE + 1, "of both before");
    cr_assert_eq(clattn_buffer_destroy(one), CLATTN_OK);
    const size_t left = left_behind();
    cr_assert_eq(clattn_buffer_destroy(other), CLATTN_OK);
    cr_expect(!clears || left_behind() == 0);
    close_context(context);
    return left;
}

Test(clearing, buffers, .timeout = 600)
{
    cr_expect_eq(destroy_buffer(false), 10002);
    cr_expect_eq(destroy_buffer(true), 1, "the other one's");
}
