/* A server in small: sequences that come and go, each decoded step after step by a submission of
 * its own; the dispatcher makes common launches of what is there at the same time. A live line
 * shows the state on a terminal.
 *
 *   serve [SECONDS]     2 seconds if not given
 *
 * Ends with an error if memory, threads or open files have grown meanwhile (on Linux). */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <clattn/clattn.h>

enum { SEQUENCES = 16, HEADS = 8, KV_HEADS = 2, DIM = 64, KEYS = 512 };

typedef struct sequence {
    uint64_t id;
    int32_t length; /* keys so far */
    clattn_event *event;
} sequence;

typedef struct server {
    clattn_context *context;
    clattn_plan *plan;
    clattn_dispatcher *dispatcher;
    clattn_buffer *memory; /* for each sequence: Q, K, V, OUT */
    sequence sequence[SEQUENCES];
    uint64_t next_id, steps;
} server;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const clattn_status status = (call);                                                       \
        if (status != CLATTN_OK)                                                                   \
            return status;                                                                         \
    } while (0)

/* In less time than this memory may still grow for good reasons, caches that fill for one. */
#define SOAK_SECONDS 10

static const uint64_t query_size = (uint64_t)HEADS * DIM * sizeof(float);
static const uint64_t keys_size = (uint64_t)KV_HEADS * KEYS * DIM * sizeof(float);

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static clattn_status set_up(server *s)
{
    clattn_attention_desc desc;
    void *data;
    const uint64_t size = 2 * (uint64_t)SEQUENCES * (query_size + keys_size);
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_q = 1;
    desc.n_head = HEADS;
    desc.n_kv_head = KV_HEADS;
    desc.n_kv = KEYS; /* the most there will be */
    desc.head_dim = desc.value_dim = DIM;
    desc.slots = CLATTN_SLOT_BIT(CLATTN_SLOT_KV_LENGTHS);
    TRY(clattn_context_create(NULL, &s->context));
    TRY(clattn_plan_attention(s->context, &desc, &s->plan));
    TRY(clattn_dispatcher_create(s->context, NULL, &s->dispatcher));
    TRY(clattn_buffer_create(s->context, size, &s->memory));
    TRY(clattn_buffer_map(s->memory, &data));
    for (uint64_t i = 0; i < size / sizeof(float); i++)
        ((float *)data)[i] = (float)(i % 17) / 17;
    return clattn_buffer_unmap(s->memory);
}

/* The next step of a sequence; one that is at its end makes room for a new one. */
static clattn_status step(server *s, int slot)
{
    sequence *of = &s->sequence[slot];
    if (of->length == 0 || of->length == KEYS) {
        of->id = ++s->next_id;
        of->length = 1 + rand() % (KEYS / 2); /* as if its prompt had been read */
    } else {
        of->length++;
    }
    const uint64_t at = (uint64_t)slot * 2 * (query_size + keys_size);
    const clattn_binding bindings[] = {
        {.slot = CLATTN_SLOT_Q, .buffer = s->memory, .offset = at},
        {.slot = CLATTN_SLOT_K, .buffer = s->memory, .offset = at + query_size},
        {.slot = CLATTN_SLOT_V, .buffer = s->memory, .offset = at + query_size + keys_size},
        {.slot = CLATTN_SLOT_OUT, .buffer = s->memory, .offset = at + query_size + 2 * keys_size},
        {.slot = CLATTN_SLOT_KV_LENGTHS, .host = &of->length},
    };
    const clattn_step work = {
        .plan = s->plan, .bindings = bindings, .binding_count = 5, .sequences = &of->id};
    clattn_submission submission;
    clattn_submission_init(&submission);
    submission.steps = &work;
    submission.step_count = 1;
    s->steps++;
    return clattn_submit(s->dispatcher, &submission, &of->event);
}

/* Waits until a step of some sequence is done, and goes on with that sequence. */
static clattn_status turn(server *s)
{
    clattn_event *events[SEQUENCES];
    uint32_t index;
    for (int i = 0; i < SEQUENCES; i++)
        events[i] = s->sequence[i].event;
    TRY(clattn_event_wait_any(events, SEQUENCES, UINT64_MAX, &index));
    clattn_event_release(s->sequence[index].event);
    s->sequence[index].event = NULL;
    return step(s, (int)index);
}

static void show(const server *s, double seconds)
{
    clattn_dispatcher_statistics made = {.struct_size = sizeof made};
    if (clattn_dispatcher_get_statistics(s->dispatcher, &made) != CLATTN_OK ||
        !made.lane[0].launches)
        return;
    printf("%s%6.1f s  %8.0f tokens/s  %llu sequences  %.2f launches a token  %llu waiting%s",
           isatty(1) ? "\r" : "", seconds, (double)s->steps / seconds,
           (unsigned long long)s->next_id,
           (double)made.lane[0].launches / (double)made.lane[0].submissions,
           (unsigned long long)made.waiting, isatty(1) ? "  " : "\n");
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
    const double start = now();
    double shown = 0;
    int threads = 0, files = 0;
    long pages = 0;
    TRY(set_up(s));
    for (int i = 0; i < SEQUENCES; i++)
        TRY(step(s, i));
    double passed = 0;
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
    show(s, now() - start);
    printf("%s", isatty(1) ? "\n" : "");
    return clattn_dispatcher_finish(s->dispatcher);
}

int main(int count, char **values)
{
    server s = {.next_id = 0};
    int grown = 0;
    const clattn_status status = serve(&s, count > 1 ? strtod(values[1], NULL) : 2, &grown);
    if (status != CLATTN_OK)
        fprintf(stderr, "%s: %s\n", clattn_status_string(status), clattn_error_message());
    if (grown)
        fprintf(stderr, "memory, threads or open files have grown\n");
    for (int i = 0; i < SEQUENCES; i++)
        clattn_event_release(s.sequence[i].event);
    clattn_dispatcher_destroy(s.dispatcher);
    (void)clattn_buffer_destroy(s.memory);
    clattn_plan_destroy(s.plan);
    (void)clattn_context_destroy(s.context);
    return status != CLATTN_OK || grown;
}
