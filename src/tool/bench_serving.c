/* See bench_serving.h. One thread submits and sleeps; callbacks of the dispatcher wake it, naively
 * it waits for the oldest submission. */
#include "tool/bench_serving.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "tool/bench_median.h"

enum { SLOTS = 32, HEADS = 8, KV_HEADS = 2, KEYS = 1024, SIZES = 4 };
static const int64_t prefill_sizes[SIZES] = {64, 192, 512, 1024};

typedef struct request {
    double arrives, submitted, latency; /* latency: of all steps together */
    uint32_t done;                      /* steps; the prefill is not one */
    int32_t length;
    uint32_t size, slot;
    bool active, prefilled;
    clattn_event *event;
} request;

typedef struct serving {
    const serving_load *load;
    clattn_dispatcher *dispatcher;
    bench_rig decode, prefill[SIZES];
    request *requests;
    double *latency; /* (requests * steps) */
    uint32_t latencies, arrived, finished, active;
    bool naive, slot_used[SLOTS];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    uint32_t calls;   /* callbacks since the last look */
    uint32_t to_come; /* callbacks that were set and not called yet */
    clattn_status status;
} serving;

static double random_number(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

/* Poisson arrivals; lengths of which few are long. */
static void invent(serving *s)
{
    uint64_t state = 42;
    double at = 0;
    for (uint32_t i = 0; i < s->load->requests; i++) {
        request *r = &s->requests[i];
        at -= log(random_number(&state)) / s->load->rate;
        r->arrives = at;
        const double u = random_number(&state);
        r->size = u < 0.5 ? 0 : u < 0.8 ? 1 : u < 0.95 ? 2 : 3;
        r->length = (int32_t)prefill_sizes[r->size] - 1;
        r->prefilled = !s->load->prefill;
    }
}

static void on_done(void *user, clattn_event *event, clattn_status status)
{
    serving *s = user;
    (void)event;
    (void)status;
    pthread_mutex_lock(&s->lock);
    s->calls++;
    s->to_come--;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static clattn_status call_back(serving *s, clattn_event *event)
{
    pthread_mutex_lock(&s->lock);
    s->to_come++;
    pthread_mutex_unlock(&s->lock);
    const clattn_status status = clattn_event_set_callback(event, on_done, s);
    if (status == CLATTN_OK)
        return status;
    pthread_mutex_lock(&s->lock);
    s->to_come--;
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* A dispatcher that goes on to live may still be about to call. */
static void wait_for_calls(serving *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->to_come)
        pthread_cond_wait(&s->wake, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static clattn_status submit(serving *s, request *r)
{
    bench_piece piece;
    const uint64_t sequence = 1 + (uint64_t)(r - s->requests);
    const bench_rig *rig = r->prefilled ? &s->decode : &s->prefill[r->size];
    const int32_t most = KEYS - 1;
    bench_rig_piece(rig, r->slot,
                    r->prefilled ? (r->length < most ? r->length + 1 : KEYS) : r->length + 1,
                    sequence, &piece);
    r->submitted = bench_now();
    clattn_status status = bench_rig_submit(s->dispatcher, &piece, r->prefilled ? 2 : 0, &r->event);
    return status == CLATTN_OK && !s->naive ? call_back(s, r->event) : status;
}

static clattn_status go_on(serving *s, request *r, double now)
{
    clattn_event_release(r->event);
    r->event = NULL;
    if (r->prefilled) {
        r->latency += now - r->submitted;
        s->latency[s->latencies++] = now - r->submitted;
        r->done++;
        r->length++;
    }
    r->prefilled = true;
    if (r->done < s->load->steps)
        return submit(s, r);
    r->active = false;
    s->slot_used[r->slot] = false;
    s->active--;
    s->finished++;
    return CLATTN_OK;
}

static clattn_status look(serving *s)
{
    for (uint32_t i = 0; i < s->arrived; i++) {
        request *r = &s->requests[i];
        if (!r->active)
            continue;
        const clattn_status status = clattn_event_poll(r->event);
        if (status < 0)
            return status;
        if (status == CLATTN_OK) {
            const clattn_status went = go_on(s, r, bench_now());
            if (went != CLATTN_OK)
                return went;
        }
    }
    return CLATTN_OK;
}

static clattn_status arrive(serving *s, double now)
{
    while (s->arrived < s->load->requests && s->active < SLOTS &&
           s->requests[s->arrived].arrives <= now) {
        request *r = &s->requests[s->arrived++];
        while (s->slot_used[r->slot])
            r->slot++;
        s->slot_used[r->slot] = true;
        r->active = true;
        s->active++;
        const clattn_status status = submit(s, r);
        if (status != CLATTN_OK)
            return status;
    }
    return CLATTN_OK;
}

/* The event that was submitted first of those that are not done. */
static clattn_event *oldest(const serving *s)
{
    const request *first = NULL;
    for (uint32_t i = 0; i < s->arrived; i++) {
        const request *r = &s->requests[i];
        if (r->active && (!first || r->submitted < first->submitted))
            first = r;
    }
    return first ? first->event : NULL;
}

/* Sleeps until something is done, or for `seconds`. */
static void sleep_on(serving *s, double seconds)
{
    clattn_event *event = s->naive ? oldest(s) : NULL;
    struct timespec until;
    if (event) {
        clattn_event_wait(event, s->arrived < s->load->requests && s->active < SLOTS
                                     ? (uint64_t)(seconds * 1e9)
                                     : UINT64_MAX);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - floor(seconds)) * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->lock);
    if (s->calls == 0)
        pthread_cond_timedwait(&s->wake, &s->lock, &until);
    s->calls = 0;
    pthread_mutex_unlock(&s->lock);
}

static clattn_status serve(serving *s)
{
    const double start = bench_now();
    while (s->finished < s->load->requests) {
        clattn_status status = arrive(s, bench_now() - start);
        if (status == CLATTN_OK)
            status = look(s);
        if (status != CLATTN_OK)
            return status;
        double wait = 0.01;
        if (s->arrived < s->load->requests && s->active < SLOTS)
            wait = s->requests[s->arrived].arrives - (bench_now() - start);
        if (wait > 0 && s->finished < s->load->requests)
            sleep_on(s, wait < 0.01 ? wait : 0.01);
    }
    return CLATTN_OK;
}

static void sum_up(const serving *s, double seconds, serving_result *result)
{
    const uint32_t n = s->latencies;
    bench_sort(s->latency, n);
    *result = (serving_result){.tokens_per_s = n / seconds,
                               .p50 = s->latency[n / 2],
                               .p95 = s->latency[(uint32_t)(n * 0.95)],
                               .p99 = s->latency[(uint32_t)(n * 0.99)],
                               .least = 1e300};
    for (uint32_t i = 0; i < s->load->requests; i++) {
        const double mean = s->requests[i].latency / s->load->steps;
        result->least = mean < result->least ? mean : result->least;
        result->most = mean > result->most ? mean : result->most;
    }
}

clattn_status serving_dispatcher(clattn_context *context, int naive, int traced,
                                 clattn_dispatcher **dispatcher)
{
    clattn_dispatcher_options options;
    clattn_dispatcher_options_init(&options);
    options.direct = naive != 0;
    options.launch_ns = naive ? 0 : 200000; /* what others wait for, about */
    options.trace_size = traced ? 1u << 16 : 0;
    return clattn_dispatcher_create(context, &options, dispatcher);
}

static clattn_status open_serving(serving *s, clattn_context *context, const char *trace)
{
    clattn_status status =
        bench_rig_init(&s->decode, context, (bench_extents){HEADS, KV_HEADS, 1, KEYS}, SLOTS);
    for (int i = 0; i < SIZES && status == CLATTN_OK && s->load->prefill; i++)
        status =
            bench_rig_init(&s->prefill[i], context,
                           (bench_extents){HEADS, KV_HEADS, prefill_sizes[i], prefill_sizes[i]}, 4);
    s->dispatcher = s->load->dispatcher;
    return status == CLATTN_OK && !s->dispatcher
               ? serving_dispatcher(context, s->naive, trace != NULL, &s->dispatcher)
               : status;
}

clattn_status serving_run(clattn_context *context, const serving_load *load, int naive,
                          const char *trace, serving_result *result)
{
    serving s = {.load = load, .naive = naive != 0};
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.wake, NULL);
    s.requests = calloc(load->requests, sizeof *s.requests);
    s.latency = calloc((size_t)load->requests * load->steps, sizeof *s.latency);
    clattn_status status = CLATTN_ERR_OUT_OF_MEMORY;
    if (s.requests && s.latency) {
        invent(&s);
        status = open_serving(&s, context, trace);
    }
    const double start = bench_now();
    if (status == CLATTN_OK)
        status = serve(&s);
    if (status == CLATTN_OK)
        sum_up(&s, bench_now() - start, result);
    if (status == CLATTN_OK && trace)
        status = clattn_dispatcher_write_trace(s.dispatcher, trace);
    for (uint32_t i = 0; s.requests && i < load->requests; i++)
        clattn_event_release(s.requests[i].event);
    wait_for_calls(&s);
    if (!load->dispatcher)
        clattn_dispatcher_destroy(s.dispatcher);
    for (int i = 0; i < SIZES; i++)
        bench_rig_finish(&s.prefill[i]);
    bench_rig_finish(&s.decode);
    free(s.latency);
    free(s.requests);
    pthread_cond_destroy(&s.wake);
    pthread_mutex_destroy(&s.lock);
    return status;
}
