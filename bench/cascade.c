/* What forks of one sequence cost to decode, with and without reading what they share once: time on
 * all cores, by the clock and by the processor, turn about, the shortest of several; pages; and
 * what the device's peaks allow. */
#include <clattn/layer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FORKS = 64, PREFIX = 4096, OWN = 16, PAGE = 16, DIM = 128, TURNS = 5 };
enum { LONGEST = PREFIX + OWN, LIMIT = (LONGEST + PAGE - 1) / PAGE };

static void good(clattn_status status)
{
    if (status == CLATTN_OK)
        return;
    fprintf(stderr, "cascade: %s\n", clattn_error_message());
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static clattn_buffer *numbers(clattn_context *context, int64_t count)
{
    clattn_buffer *buffer;
    void *data;
    good(clattn_buffer_create(context, (uint64_t)count * sizeof(float), &buffer));
    good(clattn_buffer_map(buffer, &data));
    for (int64_t i = 0; i < count; i++)
        ((float *)data)[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
    good(clattn_buffer_unmap(buffer));
    return buffer;
}

/* A prefix and its forks. */
static clattn_kv_cache *make_cache(clattn_context *context, clattn_dispatcher *dispatcher,
                                   int64_t n_kv_head, uint64_t *ids)
{
    static int64_t own[FORKS];
    const int64_t prefix = PREFIX;
    const uint64_t first = FORKS;
    clattn_kv_cache *cache;
    clattn_kv_cache_desc desc;
    clattn_binding bindings[2];
    clattn_kv_cache_desc_init(&desc);
    desc.layers = 1;
    desc.n_kv_head = n_kv_head;
    desc.head_dim = desc.value_dim = DIM;
    desc.page_size = PAGE;
    desc.pages = PREFIX / PAGE + FORKS * OWN / PAGE;
    good(clattn_kv_cache_create(context, &desc, &cache));
    good(clattn_kv_cache_bind(cache, 0, 0, bindings));
    for (int values = 0; values < 2; values++) {
        void *data;
        good(clattn_buffer_map(bindings[values].buffer, &data));
        const uint64_t count = clattn_buffer_size(bindings[values].buffer) / sizeof(float);
        for (uint64_t i = 0; i < count; i++)
            ((float *)data)[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
        good(clattn_buffer_unmap(bindings[values].buffer));
    }
    good(clattn_kv_cache_add(cache, first));
    good(clattn_kv_cache_extend(cache, dispatcher, &first, &prefix, 1));
    for (int i = 0; i < FORKS; i++) {
        ids[i] = (uint64_t)i;
        own[i] = OWN;
        good(clattn_kv_cache_fork(cache, ids[i], first, PREFIX));
    }
    good(clattn_kv_cache_extend(cache, dispatcher, ids, own, FORKS));
    return cache;
}

typedef struct decode {
    clattn_plan *plan[2]; /* without, with */
    clattn_binding bindings[6];
    clattn_dispatcher *dispatcher;
    double best[2][2]; /* plan; by the clock, by the processor */
} decode;

static void take_turn(decode *d, int with)
{
    const clattn_step step = {.plan = d->plan[with], .bindings = d->bindings, .binding_count = 6};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    const double clock = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    good(clattn_submit(d->dispatcher, &submission, NULL));
    good(clattn_dispatcher_finish(d->dispatcher));
    const double taken[2] = {seconds(CLOCK_MONOTONIC) - clock,
                             seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu};
    for (int i = 0; i < 2; i++)
        if (d->best[with][i] == 0 || taken[i] < d->best[with][i])
            d->best[with][i] = taken[i];
}

/* Arithmetic is the same with and without; without, each fork reads all of its keys and values. */
static void print_bounds(clattn_context *context, int64_t n_head, int64_t n_kv_head)
{
    clattn_device_measurement peak = {.struct_size = sizeof peak};
    good(clattn_device_measure(context, &peak));
    const double elements = 2.0 * FORKS * LONGEST * DIM;
    const double products = 2e-6 * elements * (double)n_head / peak.fma_gflops;
    const double reading = 4e-6 * elements * (double)n_kv_head / peak.read_gbytes;
    const double once = reading * (PREFIX + FORKS * OWN) / (double)(FORKS * LONGEST);
    const double without = reading > products ? reading : products;
    printf("    at the peaks, %.0f GF/s and %.1f GB/s: products %.1f ms, reading for each fork "
           "%.1f ms, once %.1f ms: at most %.1f times faster\n",
           peak.fma_gflops, peak.read_gbytes, products, reading, once,
           without / (once > products ? once : products));
}

static void measure(clattn_context *context, int64_t n_head, int64_t n_kv_head)
{
    static int32_t pages[FORKS * LIMIT], lengths[FORKS];
    uint64_t ids[FORKS];
    decode d = {0};
    clattn_attention_desc desc;
    clattn_kv_cache_info info = {.struct_size = sizeof info};
    good(clattn_dispatcher_create(context, NULL, &d.dispatcher));
    clattn_kv_cache *cache = make_cache(context, d.dispatcher, n_kv_head, ids);
    clattn_buffer *q = numbers(context, FORKS * n_head * DIM);
    clattn_buffer *out = numbers(context, FORKS * n_head * DIM);
    clattn_attention_desc_init(&desc);
    desc.batch = FORKS;
    desc.n_head = n_head;
    desc.n_q = 1;
    desc.n_kv = LONGEST;
    good(clattn_kv_cache_describe_attention(cache, &desc));
    for (uint32_t with = 0; with < 2; with++) {
        desc.cascade = with;
        good(clattn_plan_attention(context, &desc, &d.plan[with]));
    }
    good(clattn_kv_cache_tables(cache, ids, FORKS, LIMIT, pages, lengths));
    good(clattn_kv_cache_bind(cache, 0, 0, d.bindings));
    d.bindings[2] = (clattn_binding){.slot = CLATTN_SLOT_Q, .buffer = q};
    d.bindings[3] = (clattn_binding){.slot = CLATTN_SLOT_OUT, .buffer = out};
    d.bindings[4] = (clattn_binding){.slot = CLATTN_SLOT_PAGES, .host = pages};
    d.bindings[5] = (clattn_binding){.slot = CLATTN_SLOT_KV_LENGTHS, .host = lengths};
    for (int turn = 0; turn < 2 * TURNS; turn++)
        take_turn(&d, turn % 2);
    good(clattn_kv_cache_get_info(cache, &info));
    printf(
        "%d forks of %d tokens, %d of their own, heads %d/%d, dim %d: without %.1f ms "
        "(processor %.1f), with %.1f ms (%.1f): %.1f times faster (%.1f); %d pages of %d tokens\n",
        FORKS, PREFIX, OWN, (int)n_head, (int)n_kv_head, DIM, 1e3 * d.best[0][0],
        1e3 * d.best[0][1], 1e3 * d.best[1][0], 1e3 * d.best[1][1], d.best[0][0] / d.best[1][0],
        d.best[0][1] / d.best[1][1], (int)info.used_pages, PAGE);
    print_bounds(context, n_head, n_kv_head);
    for (int with = 0; with < 2; with++)
        clattn_plan_destroy(d.plan[with]);
    clattn_dispatcher_destroy(d.dispatcher);
    clattn_kv_cache_destroy(cache);
    good(clattn_buffer_destroy(q));
    good(clattn_buffer_destroy(out));
}

int main(void)
{
    clattn_context *context;
    good(clattn_context_create(NULL, &context));
    measure(context, 32, 32);
    measure(context, 32, 8);
    good(clattn_context_destroy(context));
    return 0;
}
