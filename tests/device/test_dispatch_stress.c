/* Many threads on one dispatcher, with jobs of all kinds (stress_jobs.h), random priorities,
 * sequences, waits, deadlines and cancels: what ran has the same bits as alone, or, on devices of
 * several kinds, is within the bound; nothing is lost and nothing runs twice. CLATTN_STRESS_JOBS
 * sets the jobs of each thread (40 by default), CLATTN_STRESS_SEED what is random; ci/stress.sh
 * runs it long, and under ThreadSanitizer; ci/sanitize.sh does so shortly; ci/devices.sh takes real
 * platforms. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "failing_cl.h"
#include "stress_jobs.h"

enum { THREADS = 16, MOST_TOGETHER = 3, LIMIT = 24 };

typedef struct worker {
    pthread_t thread;
    const stress_work *work;
    clattn_dispatcher *dispatcher;
    stress_place place;
    uint32_t random, jobs, index;
    bool lose; /* a lane fails meanwhile */
    uint32_t submitted, ran, cancelled, expired, lost;
    uint32_t events_lost; /* those that waited for what was lost included */
    uint32_t timeouts, expected_calls;
    uint32_t divided; /* prompts that ran in parts */
    uint32_t failures;
    char first[400]; /* failure: of which job, what and why */
} worker;

/* One submission, and a second one that waits for it. */
typedef struct flight {
    clattn_event *event, *second;
    clattn_status accepted; /* the second one */
} flight;

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

/* What `good` being false says is `what`; `why` may say more. */
static void expect(worker *w, bool good, uint32_t at, const char *what, const char *why)
{
    if (good)
        return;
    if (w->failures++ == 0)
        snprintf(w->first, sizeof w->first, "job %u: %s: %s", at, what, why);
}

/* What is added to memory can't be done twice, so it alone may be lost with a lane. */
static void count(worker *w, uint32_t at, const stress_job *job, clattn_status status,
                  clattn_event *event)
{
    const bool may_be_lost = w->lose && job->kind == STRESS_SUM;
    w->ran += status == CLATTN_OK;
    w->cancelled += status == CLATTN_ERR_CANCELLED;
    w->expired += status == CLATTN_ERR_TIMEOUT;
    w->lost += may_be_lost && status == CLATTN_ERR_DEVICE_LOST;
    w->events_lost += status == CLATTN_ERR_DEVICE_LOST;
    expect(w,
           status == CLATTN_OK || status == CLATTN_ERR_CANCELLED || status == CLATTN_ERR_TIMEOUT ||
               (may_be_lost && status == CLATTN_ERR_DEVICE_LOST),
           at, "its end", clattn_event_message(event));
}

static void submit(worker *w, uint32_t at, const stress_job *job, flight *f)
{
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = job->step;
    submission.step_count = job->steps;
    submission.priority = (int32_t)below(w, 5) - 2;
    submission.busy_ns = UINT64_MAX;
    submission.deadline_ns = below(w, 8) ? 0 : 1 + below(w, 2000000);
    *f = (flight){.accepted = CLATTN_OK};
    expect(w, clattn_submit(w->dispatcher, &submission, &f->event) == CLATTN_OK, at,
           "submitting it", clattn_error_message());
    if (!f->event)
        return;
    w->submitted++;
    if (below(w, 4) == 0)
        w->expected_calls += clattn_event_set_callback(f->event, called, &calls) == CLATTN_OK;
    submission.wait = &f->event;
    submission.wait_count = 1;
    submission.step_count = 0;
    submission.deadline_ns = 0;
    f->accepted = clattn_submit(w->dispatcher, &submission, &f->second);
}

/* What waits for it shares its fate. */
static void check_second(worker *w, uint32_t at, clattn_status status, const flight *f)
{
    if (f->accepted != CLATTN_OK) {
        expect(w, f->accepted == status, at, "submitting the second",
               clattn_status_string(f->accepted));
        return;
    }
    const clattn_status other = clattn_event_wait(f->second, UINT64_MAX);
    w->events_lost += other == CLATTN_ERR_DEVICE_LOST;
    expect(w, other == status, at, "the second's end", clattn_event_message(f->second));
    clattn_event_release(f->second);
}

/* Gives up waiting a few times before it waits to the end. */
static clattn_status wait_for(worker *w, uint32_t at, clattn_event *event)
{
    static const uint64_t limits[] = {0, 1000, 50000, 500000};
    for (uint32_t tries = below(w, 4); tries > 0; tries--) {
        const clattn_status status = clattn_event_wait(event, limits[below(w, 4)]);
        if (clattn_event_poll(event) != CLATTN_PENDING)
            continue;
        w->timeouts++;
        expect(w, status == CLATTN_ERR_TIMEOUT, at, "waiting shortly",
               clattn_status_string(status));
    }
    return clattn_event_wait(event, below(w, 3) ? UINT64_MAX : UINT64_MAX - 1);
}

static bool is_divided(const worker *w, const stress_job *job, clattn_event *event)
{
    clattn_event_profile profile = {.struct_size = sizeof profile};
    return job->kind == STRESS_PROMPT && clattn_event_get_profile(event, &profile) == CLATTN_OK &&
           profile.launches > w->work->prompt_launches;
}

static clattn_status end(worker *w, uint32_t at, const stress_job *job, const flight *f)
{
    const clattn_status status = wait_for(w, at, f->event);
    w->divided += is_divided(w, job, f->event);
    count(w, at, job, status, f->event);
    check_second(w, at, status, f);
    clattn_event_release(f->event);
    return status;
}

static void check(worker *w, uint32_t at, const stress_job *job, bool ran)
{
    const char *wrong = stress_job_check(w->work, &w->place, job, ran);
    expect(w, !wrong, at, wrong ? wrong : "", ran ? "it ran" : "it did not run");
}

/* Sums are several at a time, in order since they are of one sequence. */
static void job(worker *w, uint32_t at)
{
    static const stress_kind kinds[] = {STRESS_DECODE, STRESS_DECODE, STRESS_DECODE, STRESS_PROMPT,
                                        STRESS_CHAIN,  STRESS_CHAIN,  STRESS_SUM,    STRESS_SUM};
    const stress_kind kind = kinds[below(w, sizeof kinds / sizeof kinds[0])];
    const uint32_t together = kind == STRESS_SUM ? 1 + below(w, MOST_TOGETHER) : 1;
    const uint64_t sequence = kind == STRESS_SUM || below(w, 3) ? 1 + w->index : 0;
    stress_job made;
    flight flights[MOST_TOGETHER];
    bool ran = false, lost = false;
    stress_job_make(w->work, &w->place, kind, (int)below(w, HEADS), sequence, &made);
    expect(w, stress_place_forget(&w->place), at, "writing", clattn_error_message());
    for (uint32_t i = 0; i < together; i++)
        submit(w, at, &made, &flights[i]);
    for (uint32_t i = 0; i < together; i++)
        if (flights[i].event && below(w, 5) == 0)
            (void)clattn_event_cancel(flights[i].event);
    for (uint32_t i = 0; i < together; i++) {
        const clattn_status status =
            flights[i].event ? end(w, at, &made, &flights[i]) : CLATTN_ERR_INTERNAL;
        w->place.sums += kind == STRESS_SUM && status == CLATTN_OK;
        ran = ran || status == CLATTN_OK;
        lost = lost || status == CLATTN_ERR_DEVICE_LOST;
    }
    if (lost)
        expect(w, stress_place_next_sum(&w->place), at, "its sum", "too many were lost");
    else
        check(w, at, &made, ran);
}

static void *work(void *user)
{
    worker *w = user;
    for (uint32_t i = 0; i < w->jobs; i++)
        job(w, i);
    return NULL;
}

static uint32_t number_of(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static uint32_t jobs_of_each(void)
{
    return number_of("CLATTN_STRESS_JOBS", 40);
}

static void start(worker *w, const stress_work *shared, clattn_dispatcher *dispatcher,
                  uint32_t index, bool lose)
{
    *w = (worker){.work = shared,
                  .dispatcher = dispatcher,
                  .random = index + 1 + number_of("CLATTN_STRESS_SEED", 0) * THREADS,
                  .index = index,
                  .lose = lose,
                  .jobs = jobs_of_each()};
    cr_assert(stress_place_open(shared, &w->place), "%s", clattn_error_message());
    cr_assert_eq(pthread_create(&w->thread, NULL, work, w), 0);
}

/* Adds what it did to `all`. */
static void join(worker *w, worker *all)
{
    cr_assert_eq(pthread_join(w->thread, NULL), 0);
    cr_assert_eq(w->failures, 0, "thread %u: %u failures; %s", w->index, w->failures, w->first);
    cr_assert_eq(w->ran + w->cancelled + w->expired + w->lost, w->submitted, "thread %u lost a job",
                 w->index);
    cr_assert_eq(clattn_buffer_destroy(w->place.memory), CLATTN_OK);
    all->submitted += w->submitted;
    all->ran += w->ran;
    all->events_lost += w->events_lost;
    all->timeouts += w->timeouts;
    all->divided += w->divided;
    all->expected_calls += w->expected_calls;
}

static void check_statistics(const worker *all, const clattn_dispatcher_statistics *made, bool lose)
{
    uint64_t shared = 0;
    for (uint32_t i = 0; i < made->lanes; i++)
        shared += made->lane[i].shared;
    cr_assert(all->ran > all->submitted / 2, "%u of %u ran", all->ran, all->submitted);
    cr_assert(all->timeouts > 0, "no wait was given up");
    cr_assert(all->divided > 0, "no prompt went in parts");
    cr_assert(shared > 0, "nothing shared launches");
    cr_assert_eq(made->finished + made->cancelled + made->expired + made->failed,
                 made->submissions);
    cr_assert_eq(made->waiting, 0);
    cr_assert(made->most_unfinished <= LIMIT);
    cr_assert_eq(made->lost, lose ? (uint64_t)1 << (made->lanes - 1) : 0);
    cr_assert_eq(made->failed, all->events_lost);
}

/* `lose`: the last lane fails meanwhile. */
static void stress(const clattn_context_options *context_options, bool lose)
{
    const uint32_t seed = number_of("CLATTN_STRESS_SEED", 0);
    const struct timespec pause = {.tv_nsec = 20000000 + seed % 7 * 5000000};
    static worker workers[THREADS];
    static stress_work shared;
    worker all = {.submitted = 0};
    clattn_dispatcher_options options;
    stress_work_open(&shared, context_options);
    clattn_dispatcher_options_init(&options);
    options.queue_limit = LIMIT; /* fewer than threads submit: some wait for room */
    options.launch_ns = 10000;   /* so short that most prompts go in parts */
    clattn_dispatcher *dispatcher = open_dispatcher(&shared.h, &options);
    const uint32_t last = lose ? failing_cl_lanes() - 1 : 0;
    atomic_store(&calls, 0);
    for (uint32_t i = 0; i < THREADS; i++)
        start(&workers[i], &shared, dispatcher, i, lose);
    if (lose) {
        nanosleep(&pause, NULL);
        failing_cl_lose(last, FAILING_CL_ENDS_BADLY);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        join(&workers[i], &all);
    const clattn_dispatcher_statistics made = statistics_of(dispatcher);
    check_statistics(&all, &made, lose);
    clattn_dispatcher_destroy(dispatcher);
    cr_assert_eq(atomic_load(&calls), all.expected_calls);
    stress_work_close(&shared);
}

Test(dispatch_stress, one_lane)
{
    stress(NULL, false);
}

Test(dispatch_stress, two_lanes)
{
    clattn_context_options options;
    clattn_context_options_init(&options);
    if (!divides(&options, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    stress(&options, false);
}

Test(dispatch_stress, a_lane_is_lost)
{
    clattn_context_options options;
    failing_cl_options(&options);
    if (!divides(&options, 2))
        cr_skip_test("the device can't be divided: %s", clattn_error_message());
    stress(&options, true);
}

/* What one dispatcher launches one by one is told to another, in which a submission is just taking
 * its place behind all of it. */
Test(dispatch_stress, wait_lists_across_dispatchers)
{
    static stress_work shared;
    clattn_dispatcher_options options;
    clattn_submission all;
    clattn_event *events[HEADS], *last = NULL;
    clattn_dispatcher_options_init(&options);
    options.launch_ns = 1;
    stress_work_open(&shared, NULL);
    heads *h = &shared.h;
    clattn_dispatcher *one = open_dispatcher(h, &options), *other = open_dispatcher(h, NULL);
    for (uint32_t job = jobs_of_each(); job > 0; job--) {
        forget_outputs(h);
        for (int head = 0; head < HEADS; head++)
            events[head] = submit_head(h, one, head, NULL, 5);
        clattn_submission_init(&all);
        all.wait = events;
        all.wait_count = HEADS;
        cr_assert_eq(clattn_submit(other, &all, &last), CLATTN_OK);
        cr_assert_eq(clattn_event_wait(last, 60000000000), CLATTN_OK, "it was never told");
        cr_assert(stress_heads_are_right(&shared), "a head differs from what it is alone");
        clattn_event_release(last);
        for (int head = 0; head < HEADS; head++)
            clattn_event_release(events[head]);
    }
    clattn_dispatcher_destroy(one);
    clattn_dispatcher_destroy(other);
    stress_work_close(&shared);
}

#ifdef CLATTN_PLAIN_TESTS
/* With any argument, the one that loses a lane alone. */
int main(int argc, char **argv)
{
    (void)argv;
    dispatch_stress_a_lane_is_lost();
    if (argc > 1)
        return 0;
    dispatch_stress_one_lane();
    dispatch_stress_two_lanes();
    dispatch_stress_wait_lists_across_dispatchers();
    return 0;
}
#endif
