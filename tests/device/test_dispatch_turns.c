/* Whose turn it is, on a lane that is held so that nothing depends on time: full queues that stay
 * full or get room, what goes first of what is held back, two heads of one sequence, and a lone
 * submission, which waits for nobody and needs no thread. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <CL/cl.h>

#include <clattn/operations.h>

#include "dispatch_rig.h"
#include "failing_cl.h"

static const uint64_t ms = 1000000;

/* A dispatcher whose only lane is held. */
typedef struct scene {
    heads h;
    clattn_dispatcher *dispatcher;
    uint32_t lane;
} scene;

static void open_scene(scene *s, uint32_t queue_limit)
{
    clattn_context_options context;
    clattn_dispatcher_options options;
    failing_cl_options(&context);
    open_heads(&s->h, &context);
    expect_heads(&s->h);
    forget_outputs(&s->h);
    clattn_dispatcher_options_init(&options);
    options.queue_limit = queue_limit;
    options.lanes = 1;
    s->lane = failing_cl_lanes();
    s->dispatcher = open_dispatcher(&s->h, &options);
    failing_cl_hold(s->lane);
}

static void close_scene(scene *s)
{
    clattn_dispatcher_destroy(s->dispatcher);
    close_heads(&s->h);
}

/* ---- full queues ----------------------------------------------------------------------------- */

/* One more submission than there may be; how it is taken, in how much time. */
static clattn_status submit_too_much(scene *s, uint64_t busy_ns, uint64_t *took)
{
    head_step of;
    clattn_submission submission;
    const clattn_step step = step_of(&s->h, 2, &of);
    of.sequence = 0;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    submission.busy_ns = busy_ns;
    const uint64_t start = now_ns();
    const clattn_status status = clattn_submit(s->dispatcher, &submission, NULL);
    *took = now_ns() - start;
    return status;
}

static void fill(scene *s)
{
    open_scene(s, 2);
    for (int head = 0; head < 2; head++)
        clattn_event_release(submit_head(&s->h, s->dispatcher, head, NULL, 0));
}

/* The time that was given passes, no less, and nothing is left of the submission. */
Test(dispatch_turns, a_full_queue_stays_full)
{
    scene s;
    uint64_t took;
    fill(&s);
    cr_assert_eq(submit_too_much(&s, 30 * ms, &took), CLATTN_ERR_BUSY);
    cr_assert(strstr(clattn_error_message(), "2"), "%s", clattn_error_message());
    cr_assert(took >= 30 * ms && took < 30000 * ms, "%d us", (int)(took / 1000));
    clattn_dispatcher_statistics made = statistics_of(s.dispatcher);
    cr_assert_eq(made.refused, 1);
    cr_assert_eq(made.submissions, 2);
    failing_cl_release(s.lane);
    cr_assert_eq(clattn_dispatcher_finish(s.dispatcher), CLATTN_OK);
    cr_assert_eq(submit_too_much(&s, 0, &took), CLATTN_OK, "%s", clattn_error_message());
    cr_assert_eq(clattn_dispatcher_finish(s.dispatcher), CLATTN_OK);
    made = statistics_of(s.dispatcher);
    cr_assert_eq(made.finished, 3);
    cr_assert_eq(made.most_unfinished, 2);
    close_scene(&s);
}

static void *release_later(void *user)
{
    const scene *s = user;
    const struct timespec pause = {.tv_nsec = 30000000};
    nanosleep(&pause, NULL);
    failing_cl_release(s->lane);
    return NULL;
}

/* Who waits for room with a limit is let in once there is some. */
Test(dispatch_turns, a_full_queue_gets_room)
{
    scene s;
    uint64_t took;
    pthread_t thread;
    fill(&s);
    const uint64_t start = now_ns();
    cr_assert_eq(pthread_create(&thread, NULL, release_later, &s), 0);
    cr_assert_eq(submit_too_much(&s, 60000 * ms, &took), CLATTN_OK, "%s", clattn_error_message());
    cr_assert(now_ns() - start >= 30 * ms, "it didn't wait");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(clattn_dispatcher_finish(s.dispatcher), CLATTN_OK);
    const clattn_dispatcher_statistics made = statistics_of(s.dispatcher);
    cr_assert_eq(made.refused, 0);
    cr_assert_eq(made.finished, 3);
    cr_assert_eq(made.most_unfinished, 2);
    close_scene(&s);
}

/* ---- what goes first ------------------------------------------------------------------------- */

enum { EACH = 4 };

typedef struct finish {
    atomic_int *count;
    atomic_int place; /* how many others were done before it */
} finish;

static void on_done(void *user, clattn_event *event, clattn_status status)
{
    finish *of = user;
    (void)event;
    (void)status;
    atomic_store(&of->place, atomic_fetch_add(of->count, 1));
}

/* Wrapped memory keeps what comes later from sharing launches with what came earlier. */
static void submit_into(scene *s, clattn_buffer *out, int32_t priority, finish *of)
{
    head_step step_of_head;
    clattn_event *event = NULL;
    clattn_submission submission;
    const clattn_step step = step_of(&s->h, 1, &step_of_head);
    step_of_head.sequence = 0;
    step_of_head.bindings[3].buffer = out;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    submission.priority = priority;
    cr_assert_eq(clattn_submit(s->dispatcher, &submission, &event), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_event_set_callback(event, on_done, of), CLATTN_OK);
    clattn_event_release(event);
}

/* Some come early, others late and of this priority, all behind something long; true: the late ones
 * are all done first, false: the early ones. */
static bool late_ones_are_first(int32_t priority)
{
    scene s;
    blocker b = {0};
    clattn_buffer *other = NULL;
    void *pages = aligned_alloc(4096, 4096);
    atomic_int count = 0;
    finish early[EACH], late[EACH];
    bool first = true, last = true;
    open_scene(&s, 0);
    cr_assert_not_null(pages);
    cr_assert_eq(clattn_buffer_wrap_host(s.h.context, pages, 4096, &other), CLATTN_OK, "%s",
                 clattn_error_message());
    block(&s.h, s.dispatcher, &b, 1500);
    for (int i = 0; i < EACH; i++)
        early[i].count = late[i].count = &count;
    for (int i = 0; i < EACH; i++)
        submit_into(&s, s.h.out, 0, &early[i]);
    for (int i = 0; i < EACH; i++)
        submit_into(&s, other, priority, &late[i]);
    cr_assert_eq(statistics_of(s.dispatcher).waiting, 2 * EACH, "the lane took something");
    failing_cl_release(s.lane);
    unblock(&b);
    clattn_dispatcher_destroy(s.dispatcher); /* waits for the callbacks */
    cr_assert_eq(atomic_load(&count), 2 * EACH);
    for (int i = 0; i < EACH; i++) {
        first = first && atomic_load(&late[i].place) < EACH;
        last = last && atomic_load(&late[i].place) >= EACH;
    }
    cr_assert(first || last, "they are mixed");
    cr_assert_eq(clattn_buffer_destroy(other), CLATTN_OK);
    close_heads(&s.h);
    free(pages);
    return first;
}

Test(dispatch_turns, a_higher_priority_goes_first)
{
    cr_assert(!late_ones_are_first(0));
    cr_assert(late_ones_are_first(100));
    cr_assert(!late_ones_are_first(-100));
}

/* ---- two heads of one sequence --------------------------------------------------------------- */

/* Launches of two submissions that are held back together, of one sequence, with windows that
 * differ; the second one's first key/value head is this one. */
static uint64_t launches_of_two(uint32_t head, uint64_t *shared)
{
    static const int with_and_without[2] = {5, 3}; /* plan[2] has a window, plan[0] has none */
    scene s;
    blocker b = {0};
    head_step of[2];
    float found[HEADS * DIM];
    open_scene(&s, 0);
    block(&s.h, s.dispatcher, &b, 1500);
    const uint64_t before = statistics_of(s.dispatcher).lane[0].launches;
    for (uint32_t i = 0; i < 2; i++) {
        clattn_submission submission;
        clattn_step step = step_of(&s.h, with_and_without[i], &of[i]);
        of[i].sequence = 7;
        step.first_kv_head = i ? head : 0;
        clattn_submission_init(&submission);
        submission.steps = &step;
        submission.step_count = 1;
        cr_assert_eq(clattn_submit(s.dispatcher, &submission, NULL), CLATTN_OK, "%s",
                     clattn_error_message());
    }
    cr_assert_eq(statistics_of(s.dispatcher).waiting, 2, "the lane took something");
    failing_cl_release(s.lane);
    cr_assert_eq(clattn_dispatcher_finish(s.dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(s.h.out, 0, found, sizeof found), CLATTN_OK);
    for (int i = 0; i < 2; i++) {
        const int row = with_and_without[i] * DIM;
        cr_assert_eq(memcmp(found + row, s.h.expected + row, DIM * sizeof(float)), 0,
                     "head %d differs from what it is alone", with_and_without[i]);
    }
    const clattn_dispatcher_statistics made = statistics_of(s.dispatcher);
    *shared = made.lane[0].shared;
    unblock(&b);
    close_scene(&s);
    return made.lane[0].launches - before;
}

/* Head queues of their own: as many launches as one of them takes. One head queue: the second one
 * follows the first. */
Test(dispatch_turns, heads_of_one_sequence_share_launches)
{
    uint64_t shared;
    const uint64_t together = launches_of_two(1, &shared);
    cr_assert_eq(shared, 2);
    const uint64_t in_order = launches_of_two(0, &shared);
    cr_assert_eq(shared, 0);
    cr_assert_eq(in_order, 2 * together, "%d launches, together %d", (int)in_order, (int)together);
}

/* ---- projections of a sequence ----------------------------------------------------------------
 */

/* y = 2 x, (1, 1) each, of elements `from` and `to` of the buffer; the last one is 2. */
static void submit_doubling(scene *s, const clattn_plan *plan, clattn_buffer *numbers,
                            uint64_t from, uint64_t to, int32_t priority)
{
    static const uint64_t sequence = 7;
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_X, .buffer = numbers, .offset = from * sizeof(float)},
        {.slot = CLATTN_SLOT_W, .buffer = numbers, .offset = 3 * sizeof(float)},
        {.slot = CLATTN_SLOT_Y, .buffer = numbers, .offset = to * sizeof(float)},
    };
    const clattn_step step = {.plan = plan,
                              .bindings = bindings,
                              .binding_count = sizeof bindings / sizeof bindings[0],
                              .sequences = &sequence};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    submission.priority = priority;
    cr_assert_eq(clattn_submit(s->dispatcher, &submission, NULL), CLATTN_OK, "%s",
                 clattn_error_message());
}

/* They have no heads, and keep the order of the whole sequence, whatever their priority. */
Test(dispatch_turns, projections_of_a_sequence_keep_their_order)
{
    scene s;
    blocker b = {0};
    clattn_linear_desc desc;
    clattn_plan *plan = NULL;
    clattn_buffer *numbers = NULL;
    float found[4] = {3, -1, -1, 2};
    open_scene(&s, 0);
    clattn_linear_desc_init(&desc);
    desc.batch = desc.rows = desc.in = desc.out = 1;
    cr_assert_eq(clattn_plan_linear(s.h.context, &desc, &plan), CLATTN_OK, "%s",
                 clattn_error_message());
    cr_assert_eq(clattn_buffer_create(s.h.context, sizeof found, &numbers), CLATTN_OK);
    cr_assert_eq(clattn_buffer_write(numbers, 0, found, sizeof found), CLATTN_OK);
    block(&s.h, s.dispatcher, &b, 1500);
    submit_doubling(&s, plan, numbers, 0, 1, 0);
    submit_doubling(&s, plan, numbers, 1, 2, 100);
    cr_assert_eq(statistics_of(s.dispatcher).waiting, 2, "the lane took something");
    failing_cl_release(s.lane);
    cr_assert_eq(clattn_dispatcher_finish(s.dispatcher), CLATTN_OK);
    cr_assert_eq(clattn_buffer_read(numbers, 0, found, sizeof found), CLATTN_OK);
    cr_assert(found[1] == 6 && found[2] == 12, "%g, %g", (double)found[1], (double)found[2]);
    unblock(&b);
    clattn_plan_destroy(plan);
    cr_assert_eq(clattn_buffer_destroy(numbers), CLATTN_OK);
    close_scene(&s);
}

/* ---- a lone submission ----------------------------------------------------------------------- */

static cl_int(CL_API_CALL *real_enqueue)(cl_command_queue, cl_kernel, cl_uint, const size_t *,
                                         const size_t *, const size_t *, cl_uint, const cl_event *,
                                         cl_event *);
static atomic_int by_others, by_caller;
static pthread_t caller;

/* NOLINTNEXTLINE(readability-function-size): OpenCL's parameters */
static cl_int CL_API_CALL counted_enqueue(cl_command_queue queue, cl_kernel kernel,
                                          cl_uint dimensions, const size_t *offset,
                                          const size_t *global, const size_t *local, cl_uint count,
                                          const cl_event *wait, cl_event *event)
{
    atomic_fetch_add(pthread_equal(pthread_self(), caller) ? &by_caller : &by_others, 1);
    return real_enqueue(queue, kernel, dimensions, offset, global, local, count, wait, event);
}

/* What failing_cl.h has, counted. */
static clattn_get_proc_fn held_proc;

static void *counting(void *user, const char *name)
{
    void *found = held_proc(user, name), *result = found;
    cl_int(CL_API_CALL * own)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *,
                              const size_t *, cl_uint, const cl_event *, cl_event *) =
        counted_enqueue;
    if (strcmp(name, "clEnqueueNDRangeKernel") != 0)
        return found;
    memcpy(&real_enqueue, &found, sizeof found);
    memcpy(&result, &own, sizeof result);
    return result;
}

/* No thread is started and none but the caller's launches, however often, while there is one
 * submission at a time; what is held back has a thread. */
Test(dispatch_turns, a_lone_submission_needs_no_thread)
{
    heads h;
    blocker b = {0};
    clattn_context_options options;
    failing_cl_options(&options);
    held_proc = options.get_proc;
    options.get_proc = counting;
    caller = pthread_self();
    open_heads(&h, &options);
    expect_heads(&h);
    const int before = threads_of_process();
    if (before == 0)
        cr_skip_test("this system doesn't count threads");
    const uint32_t lane = failing_cl_lanes();
    clattn_dispatcher *dispatcher = open_dispatcher(&h, NULL);
    atomic_store(&by_caller, 0);
    for (int head = 0; head < HEADS; head++) {
        clattn_event *event = submit_head(&h, dispatcher, head, NULL, 5);
        cr_assert_eq(clattn_event_wait(event, UINT64_MAX), CLATTN_OK);
        clattn_event_release(event);
        cr_assert_eq(threads_of_process(), before, "head %d", head);
    }
    cr_assert(atomic_load(&by_caller) >= HEADS);
    cr_assert_eq(atomic_load(&by_others), 0);
    failing_cl_hold(lane);
    block(&h, dispatcher, &b, 1500);
    clattn_event *held = submit_head(&h, dispatcher, 1, NULL, 5);
    cr_assert_eq(threads_of_process(), before + 1);
    failing_cl_release(lane);
    cr_assert_eq(clattn_event_wait(held, UINT64_MAX), CLATTN_OK);
    clattn_event_release(held);
    unblock(&b);
    clattn_dispatcher_destroy(dispatcher);
    close_heads(&h);
}
