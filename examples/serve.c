/* A server in small: requests arrive at random, each with a prompt, which is read in chunks, and is
 * then answered token by token. Every chunk and every token is a submission of its own; tokens have
 * the higher priority, so that nobody's answer waits for somebody's long prompt. The dispatcher
 * makes common launches of what is there at the same time. A live line shows the state on a
 * terminal.
 *
 *   serve [SECONDS]     2 seconds if not given
 *
 * Ends with an error if memory, threads or open files have grown meanwhile (on Linux). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <clattn/clattn.h>

enum { SLOTS = 16, HEADS = 8, KV_HEADS = 2, DIM = 64, KEYS = 512, CHUNK = 64 };
enum { RATE = 100, MOST_CHUNKS = 5, ANSWER = 80, LATEST = 2048 }; /* RATE: requests a second */

/* What is submitted. */
typedef enum kind { PROMPT = 0, TOKEN = 1, KINDS = 2 } kind;

typedef struct sequence {
    uint64_t id;
    int32_t length;       /* keys so far */
    int32_t chunks, left; /* of the prompt, and tokens of the answer, still to be submitted */
    kind kind;            /* of what is in flight */
    double submitted;
    clattn_event *event; /* NULL: the place is free */
} sequence;

/* Of the newest ones. */
typedef struct latencies {
    double seconds[LATEST];
    uint64_t count;
} latencies;

typedef struct server {
    clattn_context *context;
    clattn_plan *plan[KINDS];
    clattn_dispatcher *dispatcher;
    clattn_buffer *memory; /* for each sequence: Q, K, V, OUT */
    sequence sequence[SLOTS];
    latencies latency[KINDS];
    uint64_t arrived, begun, answered;
    double next; /* when the next request arrives */
} server;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const clattn_status status = (call);                                                       \
        if (status != CLATTN_OK)                                                                   \
            return status;                                                                         \
    } while (0)

/* In less time than this memory may still grow for good reasons, caches that fill for one. */
#define SOAK_SECONDS 10

static const uint64_t query_size = (uint64_t)HEADS * CHUNK * DIM * sizeof(float);
static const uint64_t keys_size = (uint64_t)KV_HEADS * KEYS * DIM * sizeof(float);

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Causal attention of so many new tokens to all that there are, themselves included. */
static clattn_status plan(server *s, int64_t tokens, clattn_plan **made)
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_q = tokens;
    desc.n_kv = KEYS; /* the most there will be */
    desc.head_dim = desc.value_dim = DIM;
    desc.causal = 1;
    desc.align = CLATTN_ALIGN_BOTTOM_RIGHT;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    return clattn_plan_attention(s->context, &desc, made);
}

static clattn_status set_up(server *s)
{
    void *data;
    const uint64_t size = 2 * (uint64_t)SLOTS * (query_size + keys_size);
    TRY(clattn_context_create(NULL, &s->context));
    TRY(plan(s, CHUNK, &s->plan[PROMPT]));
    TRY(plan(s, 1, &s->plan[TOKEN]));
    TRY(clattn_dispatcher_create(s->context, NULL, &s->dispatcher));
    TRY(clattn_buffer_create(s->context, size, &s->memory));
    TRY(clattn_buffer_map(s->memory, &data));
    for (uint64_t i = 0; i < size / sizeof(float); i++)
        ((float *)data)[i] = (float)(i % 17) / 17;
    return clattn_buffer_unmap(s->memory);
}

static clattn_status submit(server *s, sequence *of)
{
    const uint64_t at = (uint64_t)(of - s->sequence) * 2 * (query_size + keys_size);
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_Q, .buffer = s->memory, .offset = at},
        {.slot = CLATTN_SLOT_K, .buffer = s->memory, .offset = at + query_size},
        {.slot = CLATTN_SLOT_V, .buffer = s->memory, .offset = at + query_size + keys_size},
        {.slot = CLATTN_SLOT_OUT, .buffer = s->memory, .offset = at + query_size + 2 * keys_size},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &of->length},
    };
    const clattn_step step = {
        .plan = s->plan[of->kind], .bindings = bindings, .binding_count = 5, .sequences = &of->id};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &step;
    submission.step_count = 1;
    submission.priority = of->kind == TOKEN ? 1 : 0;
    of->submitted = now();
    return clattn_submit(s->dispatcher, &submission, &of->event);
}

/* The next chunk or token of a sequence; nothing where it is at its end. */
static clattn_status go_on(server *s, sequence *of)
{
    if (of->chunks == 0 && of->left == 0) {
        s->answered++;
        return CLATTN_OK;
    }
    of->kind = of->chunks ? PROMPT : TOKEN;
    of->length += of->kind == PROMPT ? CHUNK : 1;
    of->chunks -= of->kind == PROMPT;
    of->left -= of->kind == TOKEN;
    return submit(s, of);
}

/* Requests that have arrived take the places that are free; the others stand in line. */
static clattn_status let_in(server *s)
{
    for (; s->next <= now(); s->arrived++) /* with uniform pauses, 1 / RATE on average */
        s->next += 2.0 / RATE * rand() / RAND_MAX;
    for (int i = 0; i < SLOTS && s->begun < s->arrived; i++) {
        sequence *of = &s->sequence[i];
        if (of->event)
            continue;
        *of = (sequence){.id = ++s->begun, .chunks = 1 + rand() % MOST_CHUNKS, .left = ANSWER};
        TRY(go_on(s, of));
    }
    return CLATTN_OK;
}

static clattn_status land(server *s, sequence *of)
{
    latencies *list = &s->latency[of->kind];
    list->seconds[list->count++ % LATEST] = now() - of->submitted;
    clattn_event_release(of->event);
    of->event = NULL;
    return go_on(s, of);
}

/* Waits until something is done or the next request arrives, and goes on with that. */
static clattn_status turn(server *s)
{
    clattn_event *events[SLOTS];
    sequence *of[SLOTS];
    uint32_t count = 0, index;
    TRY(let_in(s));
    const double pause = s->next - now();
    const uint64_t ns = pause > 0 ? (uint64_t)(pause * 1e9) : 0;
    for (int i = 0; i < SLOTS; i++) {
        if (!s->sequence[i].event)
            continue;
        of[count] = &s->sequence[i];
        events[count++] = s->sequence[i].event;
    }
    if (count == 0) {
        const struct timespec sleep = {.tv_nsec = (long)(ns % 1000000000)};
        nanosleep(&sleep, NULL);
        return CLATTN_OK;
    }
    const clattn_status status = clattn_event_wait_any(events, count, ns, &index);
    if (status == CLATTN_ERR_TIMEOUT) /* no submission has a deadline */
        return CLATTN_OK;
    return status == CLATTN_OK ? land(s, of[index]) : status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Half of them, and 99 of 100, were at most so long. */
static void show_latency(const char *name, const latencies *list)
{
    double sorted[LATEST];
    const size_t count = list->count < LATEST ? (size_t)list->count : LATEST;
    if (count == 0)
        return;
    memcpy(sorted, list->seconds, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    printf("  %s %.2f/%.2f", name, sorted[count / 2] * 1e3, sorted[count * 99 / 100] * 1e3);
}

/* Latencies of tokens and of chunks; launches are those of a submission, on average. */
static void show(const server *s, double seconds)
{
    clattn_dispatcher_statistics made = {.struct_size = sizeof made};
    uint64_t launches = 0, submissions = 0;
    if (clattn_dispatcher_get_statistics(s->dispatcher, &made) != CLATTN_OK)
        return;
    for (uint32_t i = 0; i < made.lanes && i < CLATTN_LANE_LIMIT; i++) {
        launches += made.lane[i].launches;
        submissions += made.lane[i].submissions;
    }
    if (submissions == 0)
        return;
    printf("%s%.1f s  %.0f tokens/s  %llu answered  %llu in line  p50/p99, ms:",
           isatty(1) ? "\r" : "", seconds, (double)s->latency[TOKEN].count / seconds,
           (unsigned long long)s->answered, (unsigned long long)(s->arrived - s->begun));
    show_latency("token", &s->latency[TOKEN]);
    show_latency("chunk", &s->latency[PROMPT]);
    printf("  %.2f launches%s", (double)launches / (double)submissions, isatty(1) ? "  " : "\n");
    fflush(stdout);
}

/* Entries of a folder of /proc/self: threads or open files; 0 on other systems. */
static int entries(const char *folder)
{
    DIR *open = opendir(folder);
    int count = 0;
    while (open && readdir(open))
        count++;
    if (open)
        closedir(open);
    return count;
}

static long resident_pages(void)
{
    char line[128] = "", *second = NULL;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fgets(line, sizeof line, file))
        strtol(line, &second, 10);
    if (file)
        fclose(file);
    return second ? strtol(second, NULL, 10) : 0;
}

static clattn_status serve(server *s, double seconds, int *grown)
{
    int threads = 0, files = 0;
    long pages = 0;
    TRY(set_up(s));
    const double start = s->next = now();
    double passed = 0, shown = 0;
    while (passed < seconds) {
        TRY(turn(s));
        if (threads == 0 && passed > seconds / 4) { /* warm by now */
            threads = entries("/proc/self/task");
            files = entries("/proc/self/fd");
            pages = resident_pages();
        }
        if (passed - shown > 0.5) {
            show(s, passed);
            shown = passed;
        }
        passed = now() - start;
    }
    *grown = threads && seconds >= SOAK_SECONDS &&
             (entries("/proc/self/task") > threads || entries("/proc/self/fd") > files ||
              resident_pages() > pages + pages / 20 + 256);
    show(s, passed);
    printf("%s", isatty(1) ? "\n" : "");
    return clattn_dispatcher_finish(s->dispatcher);
}

int main(int count, char **values)
{
    static server s;
    int grown = 0;
    const clattn_status status = serve(&s, count > 1 ? strtod(values[1], NULL) : 2, &grown);
    if (status != CLATTN_OK)
        fprintf(stderr, "%s: %s\n", clattn_status_string(status), clattn_error_message());
    if (grown)
        fprintf(stderr, "memory, threads or open files have grown\n");
    for (int i = 0; i < SLOTS; i++)
        clattn_event_release(s.sequence[i].event);
    clattn_dispatcher_destroy(s.dispatcher);
    (void)clattn_buffer_destroy(s.memory);
    clattn_plan_destroy(s.plan[PROMPT]);
    clattn_plan_destroy(s.plan[TOKEN]);
    (void)clattn_context_destroy(s.context);
    return status != CLATTN_OK || grown;
}
