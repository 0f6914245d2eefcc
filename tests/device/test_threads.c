/* Several threads on one context, on one dispatcher and with a dispatcher each; and a process that
 * forks. Threads count what goes wrong, because Criterion's assertions belong to the main one. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

enum { THREADS = 4, ROUNDS = 25 };

static const rig_shape shape = {1, 2, 1, 30, 70, 24, 24, CLATTN_ALIGN_BOTTOM_RIGHT};

typedef struct worker {
    pthread_t thread;
    clattn_context *context;
    clattn_dispatcher *dispatcher;
    rig_problem problem;
    rig_stage stage;
    int index, failures;
} worker;

/* What every thread must find, to the bit. */
static float *right;
static int64_t right_count;

static bool is_right(const rig_tensor *out)
{
    int64_t count;
    float *found = rig_gather(out, &count);
    const bool same =
        count == right_count && memcmp(found, right, (size_t)count * sizeof(float)) == 0;
    free(found);
    return same;
}

static void set_up(worker workers[THREADS], clattn_context *context, bool staged)
{
    for (int i = 0; i < THREADS; i++) {
        worker *w = &workers[i];
        memset(w, 0, sizeof *w);
        w->index = i;
        w->context = context;
        rig_make(&w->problem, &shape, RIG_FULL, &rig_contiguous);
        if (staged)
            cr_assert_eq(rig_stage_make(context, &w->problem, &w->stage), CLATTN_OK);
    }
    rig_expect(&workers[0].problem);
    cr_assert_eq(rig_run(context, &workers[0].problem), CLATTN_OK);
    right = rig_gather(&workers[0].problem.tensor[CLATTN_SLOT_OUT], &right_count);
    rig_check(&workers[0].problem);
}

static void work(worker workers[THREADS], void *(*function)(void *))
{
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&workers[i].thread, NULL, function, &workers[i]), 0);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_join(workers[i].thread, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(workers[i].failures, 0, "thread %d: %d failures", i, workers[i].failures);
}

static void tear_down(worker workers[THREADS])
{
    for (int i = 0; i < THREADS; i++) {
        rig_stage_free(&workers[i].stage);
        rig_free(&workers[i].problem);
    }
    free(right);
}

static void *submit(void *user)
{
    worker *w = user;
    rig_tensor *out = &w->problem.tensor[CLATTN_SLOT_OUT];
    for (int round = 0; round < ROUNDS; round++) {
        clattn_event *event = NULL;
        rig_forget(&w->problem);
        w->failures += clattn_submit(w->dispatcher, &w->stage.submission, &event) != CLATTN_OK;
        /* some wait, some poll */
        if ((round + w->index) % 2)
            w->failures += clattn_event_wait(event, UINT64_MAX) != CLATTN_OK;
        clattn_status status;
        while ((status = clattn_event_poll(event)) == CLATTN_PENDING)
            ;
        w->failures += status != CLATTN_OK;
        clattn_event_release(event);
        w->failures += clattn_buffer_read(w->stage.buffer[CLATTN_SLOT_OUT], 0, out->memory,
                                          (uint64_t)out->count * sizeof(float)) != CLATTN_OK;
        w->failures += !is_right(out);
    }
    return NULL;
}

static void submit_from_threads(bool one_dispatcher)
{
    worker workers[THREADS];
    clattn_context *context = rig_open();
    set_up(workers, context, true);
    for (int i = 0; i < THREADS; i++) {
        if (one_dispatcher && i > 0)
            workers[i].dispatcher = workers[0].dispatcher;
        else
            cr_assert_eq(clattn_dispatcher_create(context, NULL, &workers[i].dispatcher),
                         CLATTN_OK);
    }
    work(workers, submit);
    for (int i = 0; i < (one_dispatcher ? 1 : THREADS); i++) {
        cr_assert_eq(clattn_dispatcher_finish(workers[i].dispatcher), CLATTN_OK);
        clattn_dispatcher_destroy(workers[i].dispatcher);
    }
    tear_down(workers);
    rig_close(context);
}

Test(threads, one_dispatcher)
{
    submit_from_threads(true);
}

Test(threads, a_dispatcher_each)
{
    submit_from_threads(false);
}

static void *run_in_one_call(void *user)
{
    worker *w = user;
    for (int round = 0; round < ROUNDS; round++) {
        rig_forget(&w->problem);
        w->failures += rig_run(w->context, &w->problem) != CLATTN_OK;
        w->failures += !is_right(&w->problem.tensor[CLATTN_SLOT_OUT]);
    }
    return NULL;
}

Test(threads, one_call)
{
    worker workers[THREADS];
    clattn_context *context = rig_open();
    set_up(workers, context, false);
    work(workers, run_in_one_call);
    tear_down(workers);
    rig_close(context);
}

/* Everything from the plan on, so that planning, memory and dispatchers meet. */
static void *run_everything(void *user)
{
    worker *w = user;
    for (int round = 0; round < ROUNDS; round++) {
        clattn_attention_desc desc;
        clattn_plan *plan = NULL;
        clattn_buffer *buffer = NULL;
        clattn_dispatcher *dispatcher = NULL;
        rig_describe(&w->problem, &desc);
        desc.head_dim = desc.value_dim = 8 + 8 * (w->index % 2);
        for (int slot = 0; slot < RIG_SLOTS; slot++)
            desc.tensor[slot].strided = 0;
        w->failures += clattn_plan_attention(w->context, &desc, &plan) != CLATTN_OK;
        w->failures += clattn_buffer_create(w->context, 1000u << round % 10, &buffer) != CLATTN_OK;
        w->failures += clattn_dispatcher_create(w->context, NULL, &dispatcher) != CLATTN_OK;
        w->failures += clattn_dispatcher_finish(dispatcher) != CLATTN_OK;
        clattn_dispatcher_destroy(dispatcher);
        w->failures += clattn_buffer_destroy(buffer) != CLATTN_OK;
        clattn_plan_destroy(plan);
    }
    return NULL;
}

Test(threads, making_and_destroying)
{
    worker workers[THREADS];
    clattn_context *context = rig_open();
    set_up(workers, context, false);
    work(workers, run_everything);
    tear_down(workers);
    rig_close(context);
}

/* A failure's sentence is the failing thread's own. */
static void *fail_in_own_words(void *user)
{
    worker *w = user;
    char words[64];
    clattn_attention_desc desc;
    rig_describe(&w->problem, &desc);
    desc.head_dim = 1000 + w->index;
    snprintf(words, sizeof words, "head_dim: is %d", 1000 + w->index);
    for (int round = 0; round < 10 * ROUNDS; round++) {
        clattn_plan *plan;
        w->failures += clattn_plan_attention(w->context, &desc, &plan) != CLATTN_ERR_ARGUMENT;
        w->failures += strstr(clattn_error_message(), words) == NULL;
    }
    return NULL;
}

Test(threads, messages)
{
    worker workers[THREADS];
    clattn_context *context = rig_open();
    set_up(workers, context, false);
    work(workers, fail_in_own_words);
    tear_down(workers);
    rig_close(context);
}

/* --- fork() --------------------------------------------------------------------------------- */

/* Objects made before fork(). */
typedef struct family {
    worker w;
    clattn_event *event;
} family;

/* Numbers the calls: the first that does not refuse is the child's exit status. */
#define EXPECT_REFUSAL(call)                                                                       \
    do {                                                                                           \
        number++;                                                                                  \
        if ((call) != CLATTN_ERR_WRONG_PROCESS || !strstr(clattn_error_message(), "fork"))         \
            return number;                                                                         \
    } while (0)

/* In the child. Nothing may hang, crash, or reach the driver. */
static int refuse_everything(family *f)
{
    worker *w = &f->w;
    int number = 0;
    char bytes[4] = {0};
    void *data;
    uint64_t size;
    uint32_t count;
    clattn_plan *plan;
    clattn_buffer *buffer;
    clattn_dispatcher *dispatcher;
    clattn_context *context;
    clattn_attention_desc desc;
    clattn_device_info device = {.struct_size = sizeof device};
    clattn_plan_info info = {.struct_size = sizeof info};
    clattn_device_measurement measurement = {.struct_size = sizeof measurement};
    rig_describe(&w->problem, &desc);
    EXPECT_REFUSAL(rig_run(w->context, &w->problem));
    EXPECT_REFUSAL(clattn_plan_attention(w->context, &desc, &plan));
    EXPECT_REFUSAL(clattn_plan_workspace_size(w->stage.plan, &size));
    EXPECT_REFUSAL(clattn_plan_get_info(w->stage.plan, &info));
    EXPECT_REFUSAL(clattn_context_device_info(w->context, &device));
    EXPECT_REFUSAL(clattn_device_measure(w->context, &measurement));
    EXPECT_REFUSAL(clattn_buffer_create(w->context, 4, &buffer));
    EXPECT_REFUSAL(clattn_buffer_wrap_host(w->context, bytes, 4, &buffer));
    EXPECT_REFUSAL(clattn_buffer_write(w->stage.buffer[0], 0, bytes, 4));
    EXPECT_REFUSAL(clattn_buffer_read(w->stage.buffer[0], 0, bytes, 4));
    EXPECT_REFUSAL(clattn_buffer_map(w->stage.buffer[0], &data));
    EXPECT_REFUSAL(clattn_buffer_unmap(w->stage.buffer[0]));
    EXPECT_REFUSAL(clattn_buffer_destroy(w->stage.buffer[0]));
    EXPECT_REFUSAL(clattn_dispatcher_create(w->context, NULL, &dispatcher));
    EXPECT_REFUSAL(clattn_dispatcher_finish(w->dispatcher));
    EXPECT_REFUSAL(clattn_submit(w->dispatcher, &w->stage.submission, NULL));
    EXPECT_REFUSAL(clattn_event_wait(f->event, UINT64_MAX));
    EXPECT_REFUSAL(clattn_event_poll(f->event));
    EXPECT_REFUSAL(clattn_context_destroy(w->context));
    clattn_event_release(f->event);
    clattn_dispatcher_destroy(w->dispatcher);
    clattn_plan_destroy(w->stage.plan);
    /* the driver's threads stayed in the parent: a new context would hang at its first launch */
    EXPECT_REFUSAL(clattn_context_create(NULL, &context));
    EXPECT_REFUSAL(clattn_device_list(NULL, NULL, 0, &count));
    return 0;
}

Test(threads, after_fork)
{
    family f;
    int state = -1;
    memset(&f, 0, sizeof f);
    f.w.context = rig_open();
    rig_make(&f.w.problem, &shape, RIG_FULL, &rig_contiguous);
    cr_assert_eq(rig_stage_make(f.w.context, &f.w.problem, &f.w.stage), CLATTN_OK);
    cr_assert_eq(clattn_dispatcher_create(f.w.context, NULL, &f.w.dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_submit(f.w.dispatcher, &f.w.stage.submission, &f.event), CLATTN_OK);
    rig_expect(&f.w.problem);
    cr_assert_eq(rig_run(f.w.context, &f.w.problem), CLATTN_OK);
    fflush(NULL);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        alarm(20);
        _exit(refuse_everything(&f));
    }
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_assert(WIFEXITED(state), "the child hung or crashed: %d", state);
    cr_assert_eq(WEXITSTATUS(state), 0, "call %d in the child", WEXITSTATUS(state));
    /* and nothing of that disturbs the parent */
    cr_assert_eq(clattn_event_wait(f.event, UINT64_MAX), CLATTN_OK);
    rig_submit(f.w.dispatcher, &f.w.stage.submission);
    rig_stage_fetch(&f.w.stage);
    rig_check(&f.w.problem);
    clattn_event_release(f.event);
    clattn_dispatcher_destroy(f.w.dispatcher);
    rig_stage_free(&f.w.stage);
    rig_free(&f.w.problem);
    rig_close(f.w.context);
}

/* A process that forks before it uses OpenCL is free to use it in the child. */
Test(threads, before_opencl_is_used)
{
    int state = -1;
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        float x[4] = {1, 2, 3, 4}, out = 0;
        clattn_context *context;
        clattn_attention_desc desc;
        clattn_attention_desc_init(&desc);
        desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = 1;
        desc.n_kv = desc.head_dim = desc.value_dim = 1;
        alarm(60);
        if (clattn_context_create(NULL, &context) != CLATTN_OK)
            _exit(1);
        if (clattn_attention(context, &desc, x, x + 1, x + 2, &out) != CLATTN_OK)
            _exit(2);
        _exit(out == x[2] ? 0 : 3);
    }
    cr_assert_eq(waitpid(child, &state, 0), child);
    cr_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0, "%d", state);
}
