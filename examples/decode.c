/* Decoding with a key/value cache: a prompt goes in as one chunk, then token after token; half-way
 * the sequence is forked, and both go on. Each step is compared with attention computed from all
 * keys and values anew. decode [PROMPT [STEPS [f32|f16|bf16|int8|int4]]]: the last is how the cache
 * stores them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <clattn/layer.h>

enum { HEADS = 8, KV_HEADS = 2, DIM = 64, PAGE = 16, SEQUENCES = 2, MOST = 4096 };

/* How the cache stores keys and values, and what differs then from float32. */
static const struct storage {
    const char *name;
    clattn_dtype dtype;
    double bound;
} storages[] = {{"f32", CLATTN_F32, 1e-5},
                {"f16", CLATTN_F16, 2e-3},
                {"bf16", CLATTN_BF16, 2e-2},
                {"int8", CLATTN_I8, 2e-2},
                {"int4", CLATTN_I4, 0.3}};
static const struct storage *storage = &storages[0];

/* Keys and values of the sequences as plain arrays, (head, token, dim), for the comparison. */
static float plain_k[SEQUENCES][KV_HEADS * MOST * DIM], plain_v[SEQUENCES][KV_HEADS * MOST * DIM];
/* New tokens of a step, (sequence, head, token, dim). */
static float q[SEQUENCES * HEADS * MOST * DIM], k[SEQUENCES * KV_HEADS * MOST * DIM];
static float v[SEQUENCES * KV_HEADS * MOST * DIM], out[SEQUENCES * HEADS * MOST * DIM];
static float expected[HEADS * DIM];
static int32_t pages[SEQUENCES * MOST / PAGE];

static clattn_context *context;
static clattn_dispatcher *dispatcher;
static clattn_kv_cache *cache;
static clattn_buffer *buffer[4]; /* q, k, v, out */
static double seconds;           /* spent in steps, without the comparison */

static void check(clattn_status status)
{
    if (status == CLATTN_OK)
        return;
    fprintf(stderr, "decode: %s: %s\n", clattn_status_string(status), clattn_error_message());
    exit(1);
}

static double now(void)
{
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static float number(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) * 0x1p-23f - 1;
}

/* A model's projections would be here: n tokens of `count` sequences that begin at `position`. */
static void make_tokens(int64_t count, int64_t position, int64_t n)
{
    for (int64_t i = 0; i < count * HEADS * n * DIM; i++)
        q[i] = 4 * number();
    for (int64_t s = 0; s < count; s++)
        for (int64_t h = 0; h < KV_HEADS; h++)
            for (int64_t i = 0; i < n * DIM; i++) {
                const int64_t from = (s * KV_HEADS + h) * n * DIM + i;
                const int64_t to = (h * MOST + position) * DIM + i;
                plain_k[s][to] = k[from] = number();
                plain_v[s][to] = v[from] = number();
            }
}

/* Plans for n new tokens of `count` sequences. Extents are bounds, so they serve every step. */
static void make_plans(int64_t count, int64_t n, clattn_plan *plan[2])
{
    clattn_append_desc append;
    clattn_attention_desc attend;
    clattn_append_desc_init(&append);
    append.batch = count;
    append.n_kv = n;
    check(clattn_kv_cache_describe_append(cache, MOST, &append));
    check(clattn_plan_append(context, &append, &plan[0]));
    clattn_attention_desc_init(&attend);
    attend.batch = count;
    attend.n_head = HEADS;
    attend.n_q = n;
    attend.n_kv = MOST;
    attend.causal = 1;
    attend.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    check(clattn_kv_cache_describe_attention(cache, &attend));
    check(clattn_plan_attention(context, &attend, &plan[1]));
}

/* n new tokens of sequences 0 to count - 1: room, append, attend. */
static void step(clattn_plan *const plan[2], int64_t count, int64_t position, int64_t n)
{
    static const uint64_t ids[SEQUENCES] = {0, 1};
    const int64_t tokens[SEQUENCES] = {n, n};
    const int32_t positions[SEQUENCES] = {(int32_t)position, (int32_t)position};
    const double start = now();
    int32_t lengths[SEQUENCES];
    check(clattn_kv_cache_extend(cache, dispatcher, ids, tokens, (uint32_t)count));
    check(clattn_kv_cache_tables(cache, ids, (uint32_t)count, MOST / PAGE, pages, lengths));
    clattn_binding append[8] = {{.slot = CLATTN_SLOT_K, .buffer = buffer[1]},
                                {.slot = CLATTN_SLOT_V, .buffer = buffer[2]},
                                {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                {.slot = CLATTN_SLOT_POSITIONS, .host = positions}};
    clattn_binding attend[8] = {{.slot = CLATTN_SLOT_Q, .buffer = buffer[0]},
                                {.slot = CLATTN_SLOT_OUT, .buffer = buffer[3]},
                                {.slot = CLATTN_SLOT_PAGES, .host = pages},
                                {.slot = CLATTN_SLOT_KV_LENGTHS, .host = lengths}};
    check(clattn_kv_cache_bind(cache, 0, 1, append + 4));
    check(clattn_kv_cache_bind(cache, 0, 0, attend + 4));
    const int scaled = storage->dtype == CLATTN_I8 || storage->dtype == CLATTN_I4;
    if (scaled) {
        check(clattn_kv_cache_bind_scales(cache, 0, append + 6));
        check(clattn_kv_cache_bind_scales(cache, 0, attend + 6));
    }
    const uint32_t bound = scaled ? 8 : 6;
    const clattn_step steps[] = {{.plan = plan[0], .bindings = append, .binding_count = bound},
                                 {.plan = plan[1], .bindings = attend, .binding_count = bound}};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = steps;
    submission.step_count = 2;
    check(clattn_submit(dispatcher, &submission, NULL));
    check(clattn_dispatcher_finish(dispatcher));
    seconds += now() - start;
}

/* The larger of two errors; NaN is the largest. */
static double worse(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

/* The last of n new tokens of a sequence, from all of its keys and values anew. */
static double difference(int64_t sequence, int64_t length, int64_t n)
{
    static float last[HEADS * DIM];
    double most = 0;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_q = 1;
    desc.n_head = HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_kv = length;
    desc.head_dim = desc.value_dim = DIM;
    for (int slot = CLATTN_SLOT_K; slot <= CLATTN_SLOT_V; slot++) {
        desc.tensor[slot].strided = 1;
        desc.tensor[slot].stride[1] = (int64_t)MOST * DIM;
        desc.tensor[slot].stride[2] = DIM;
        desc.tensor[slot].stride[3] = 1;
    }
    for (int64_t i = 0; i < (int64_t)HEADS * DIM; i++)
        last[i] = q[((sequence * HEADS + i / DIM) * n + n - 1) * DIM + i % DIM];
    check(clattn_attention(context, &desc, last, plain_k[sequence], plain_v[sequence], expected));
    for (int64_t i = 0; i < (int64_t)HEADS * DIM; i++) {
        const float x = out[((sequence * HEADS + i / DIM) * n + n - 1) * DIM + i % DIM];
        most = worse(most, fabs((double)x - (double)expected[i]));
    }
    return most;
}

/* Tokens in, results out; the largest difference. */
static double run(clattn_plan *const plan[2], int64_t count, int64_t position, int64_t n)
{
    const uint64_t rows = (uint64_t)(count * n * DIM) * sizeof(float);
    double most = 0;
    make_tokens(count, position, n);
    check(clattn_buffer_write(buffer[0], 0, q, rows * HEADS));
    check(clattn_buffer_write(buffer[1], 0, k, rows * KV_HEADS));
    check(clattn_buffer_write(buffer[2], 0, v, rows * KV_HEADS));
    step(plan, count, position, n);
    check(clattn_buffer_read(buffer[3], 0, out, rows * HEADS));
    for (int64_t s = 0; s < count; s++)
        most = worse(most, difference(s, position + n, n));
    return most;
}

static void open_all(void)
{
    clattn_kv_cache_desc desc;
    clattn_kv_cache_desc_init(&desc);
    desc.dtype = storage->dtype;
    desc.layers = 1;
    desc.n_kv_head = KV_HEADS;
    desc.head_dim = desc.value_dim = DIM;
    desc.page_size = PAGE;
    desc.pages = SEQUENCES * MOST / PAGE;
    check(clattn_context_create(NULL, &context));
    check(clattn_dispatcher_create(context, NULL, &dispatcher));
    check(clattn_kv_cache_create(context, &desc, &cache));
    check(clattn_buffer_create(context, sizeof q, &buffer[0]));
    check(clattn_buffer_create(context, sizeof k, &buffer[1]));
    check(clattn_buffer_create(context, sizeof v, &buffer[2]));
    check(clattn_buffer_create(context, sizeof out, &buffer[3]));
    check(clattn_kv_cache_add(cache, 0));
}

static void close_all(void)
{
    clattn_kv_cache_destroy(cache);
    for (int i = 0; i < 4; i++)
        check(clattn_buffer_destroy(buffer[i]));
    clattn_dispatcher_destroy(dispatcher);
    check(clattn_context_destroy(context));
}

/* false: there is none of this name. */
static int choose_storage(const char *name)
{
    for (size_t i = 0; i < sizeof storages / sizeof storages[0]; i++)
        if (strcmp(storages[i].name, name) == 0)
            storage = &storages[i];
    return strcmp(storage->name, name) == 0;
}

int main(int argc, char **argv)
{
    const int64_t prompt = argc > 1 ? strtoll(argv[1], NULL, 10) : 300;
    const int64_t steps = argc > 2 ? strtoll(argv[2], NULL, 10) : 40;
    clattn_plan *plan[3][2]; /* the prompt; one sequence; both */
    if (prompt < 1 || steps < 2 || prompt > MOST || steps > MOST - prompt ||
        (argc > 3 && !choose_storage(argv[3]))) {
        fprintf(stderr,
                "usage: decode [PROMPT [STEPS [f32|f16|bf16|int8|int4]]], "
                "together at most %d tokens\n",
                MOST);
        return 2;
    }
    open_all();
    make_plans(1, prompt, plan[0]);
    make_plans(1, 1, plan[1]);
    make_plans(2, 1, plan[2]);
    double most = run(plan[0], 1, 0, prompt);
    printf("prompt of %d tokens: %.1f ms\n", (int)prompt, 1e3 * seconds);
    seconds = 0;
    for (int64_t i = 0; i < steps; i++) {
        const int64_t count = i < steps / 2 ? 1 : 2;
        if (i == steps / 2) {
            check(clattn_kv_cache_fork(cache, 1, 0, prompt + i));
            for (int64_t x = 0; x < (int64_t)KV_HEADS * MOST * DIM; x++) {
                plain_k[1][x] = plain_k[0][x];
                plain_v[1][x] = plain_v[0][x];
            }
        }
        most = worse(most, run(plan[count], count, prompt + i, 1));
        fprintf(stderr, "\rtoken %d of %d", (int)i + 1, (int)steps);
    }
    fprintf(stderr, "\n");
    const int64_t tokens = steps + (steps - steps / 2);
    printf("%d tokens: %.0f tokens/s, largest difference from computing anew %.1e\n", (int)tokens,
           (double)tokens / seconds, most);
    for (int i = 0; i < 6; i++)
        clattn_plan_destroy(plan[i / 2][i % 2]);
    close_all();
    return !(most <= storage->bound);
}
