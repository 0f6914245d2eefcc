/* Many threads on one dispatcher, with random priorities, sequences, waits, deadlines and cancels:
 * what ran has the same bits as alone, nothing is lost and nothing runs twice. CLATTN_STRESS_JOBS
 * sets the jobs of each thread (60 by default); ci/stress.sh runs it long, and under
 * ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "dispatch_rig.h"

enum { THREADS = 16 };

typedef struct worker {
    pthread_t thread;
    const heads *h;
    clattn_dispatcher *dispatcher;
    clattn_buffer *out; /* (DIM) its own */
    uint32_t random, jobs, index;
    uint32_t ran, cancelled, expired, failures;
} worker;

static uint32_t below(worker *w, uint32_t bound)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % bound;
}

static void called(void *user, clattn_event *event, clattn_status status)
{
    (void)event;
    (void)status;
    atomic_fetch_add((atomic_uint *)user, 1);
}

static atomic_uint calls;

static void count(worker *w, clattn_status status)
{
    w->ran += status == CLATTN_OK;
    w->cancelled += status == CLATTN_ERR_CANCELLED;
    w->expired += status == CLATTN_ERR_TIMEOUT;
    w->failures +=
        status != CLATTN_OK && status != CLATTN_ERR_CANCELLED && status != CLATTN_ERR_TIMEOUT;
}

/* One job: a head into memory of the thread's own, and a second one that waits for it. */
static void job(worker *w, uint32_t *expected_calls)
{
    const int head = (int)below(w, HEADS);
    head_step of;
    float found[DIM];
    clattn_event *event = NULL, *second = NULL;
    clattn_submission submission;
    clattn_step step = step_of(w->h, head, &of);
    of.sequence = below(w, 3) ? 1 + w->index : 0;
    of.bindings[3].buffer = w->out;
    of.bindings[3].offset = 0;
    memset(found, 0xff, sizeof found);
    w->failures += clattn_buffer_write(w->out, 0, found, sizeof found) != CLATTN_OK;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    submission.priority = (int32_t)below(w, 5) - 2;
    submission.busy_ns = UINT64_MAX;
    submission.deadline_ns = below(w, 8) ? 0 : 1 + below(w, 2000000);
    w->failures += clattn_submit(w->dispatcher, &submission, &event) != CLATTN_OK;
    if (!event)
        return;
    if (below(w, 4) == 0) {
        *expected_calls += clattn_event_set_callback(event, called, &calls) == CLATTN_OK;
    }
    submission.wait = &event;
    submission.wait_count = 1;
    submission.step_count = 0;
    submission.deadline_ns = 0;
    const clattn_status accepted = clattn_submit(w->dispatcher, &submission, &second);
    if (below(w, 5) == 0)
        (void)clattn_event_cancel(event);
    const clattn_status status =
        clattn_event_wait(event, below(w, 3) ? UINT64_MAX : UINT64_MAX - 1);
    count(w, status);
    if (accepted == CLATTN_OK) {
        const clattn_status other = clattn_event_wait(second, UINT64_MAX);
        w->failures += other != status; /* it shares the fate of what it waits for */
        clattn_event_release(second);
    } else {
        w->failures += accepted != status;
    }
    w->failures += clattn_buffer_read(w->out, 0, found, sizeof found) != CLATTN_OK;
    float nothing[DIM];
    memset(nothing, 0xff, sizeof nothing);
    const float *right = status == CLATTN_OK ? w->h->expected + head * DIM : nothing;
    w->failures += memcmp(found, right, sizeof found) != 0;
    clattn_event_release(event);
}

static void *work(void *user)
{
    worker *w = user;
    uint32_t expected = 0;
    for (uint32_t i = 0; i < w->jobs; i++)
        job(w, &expected);
    w->index = expected; /* for the main thread to add up */
    return NULL;
}

static uint32_t jobs_of_each(void)
{
    const char *jobs = getenv("CLATTN_STRESS_JOBS");
    return jobs ? (uint32_t)strtoul(jobs, NULL, 10) : 60;
}

static void stress(const clattn_context_options *context_options)
{
    static worker workers[THREADS];
    heads h;
    uint32_t ran = 0, expected_calls = 0, all = 0;
    open_heads(&h, context_options);
    expect_heads(&h);
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.queue_limit = 24; /* fewer than threads submit: some wait for room */
    clattn_dispatcher *dispatcher = open_dispatcher(&h, &options);
    atomic_store(&calls, 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        worker *w = &workers[i];
        *w = (worker){
            .h = &h, .dispatcher = dispatcher, .random = i + 1, .index = i, .jobs = jobs_of_each()};
        cr_assert_eq(clattn_buffer_create(h.context, DIM * sizeof(float), &w->out), CLATTN_OK);
        cr_assert_eq(pthread_create(&w->thread, NULL, work, w), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        worker *w = &workers[i];
        cr_assert_eq(pthread_join(w->thread, NULL), 0);
        cr_assert_eq(w->failures, 0, "thread %u: %u failures", i, w->failures);
        cr_assert_eq(w->ran + w->cancelled + w->expired, w->jobs, "thread %u lost a job", i);
        ran += w->ran;
        all += w->jobs;
        expected_calls += w->index;
        cr_assert_eq(clattn_buffer_destroy(w->out), CLATTN_OK);
    }
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    cr_assert(ran > all / 2, "%u of %u ran", ran, all);
    cr_assert_eq(made.finished + made.cancelled + made.expired + made.failed, made.submissions);
    cr_assert_eq(made.waiting, 0);
    cr_assert(made.most_unfinished <= 24);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(atomic_load(&calls), expected_calls);
    close_heads(&h);
}

Test(dispatch_stress, one_lane)
{
    stress(NULL);
}

Test(dispatch_stress, two_lanes)
{
    clattn_context_options options;
    clattn_context *context = NULL;
    clattn_context_options_init(&options);
    options.parts = 2;
    if (clattn_context_create(&options, &context) == CLATTN_ERR_UNSUPPORTED)
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    cr_assert_eq(clattn_context_destroy(context), CLATTN_OK);
    stress(&options);
}

/* What one dispatcher launches one by one is told to another, in which a submission is just taking
 * its place behind all of it. */
Test(dispatch_stress, wait_lists_across_dispatchers)
{
    heads h;
    clattn_dispatcher_options options;
    clattn_submission all;
    clattn_event *events[HEADS], *last = NULL;
    clattn_dispatcher_options_init(&options);
    options.launch_ns = 1;
    open_heads(&h, NULL);
    expect_heads(&h);
    clattn_dispatcher *one = open_dispatcher(&h, &options), *other = open_dispatcher(&h, NULL);
    for (uint32_t job = jobs_of_each(); job > 0; job--) {
        forget_outputs(&h);
        for (int head = 0; head < HEADS; head++)
            events[head] = submit_head(&h, one, head, NULL, 5);
        clattn_submission_init(&all);
        all.wait = events;
        all.wait_count = HEADS;
        cr_assert_eq(clattn_submit(other, &all, &last), CLATTN_OK);
        cr_assert_eq(clattn_event_wait(last, 60000000000), CLATTN_OK, "it was never told");
        check_heads(&h);
        clattn_event_release(last);
        for (int head = 0; head < HEADS; head++)
            clattn_event_release(events[head]);
    }
    clattn_dispatcher_destroy(one);
    clattn_dispatcher_destroy(other);
    close_heads(&h);
}

#ifdef CLATTN_PLAIN_TESTS
int main(void)
{
    dispatch_stress_one_lane();
    dispatch_stress_two_lanes();
    dispatch_stress_wait_lists_across_dispatchers();
    return 0;
}
#endif
