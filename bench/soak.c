/* The serving load of clattn bench for as long as asked: memory, threads and open files must not
 * grow, whether dispatchers come and go or one lives on. The line that it prints last says so; see
 * ci/soak.sh.
 *
 *   soak [SECONDS]     60 seconds if not given */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "tool/bench_serving.h"

/* Of the whole time, and in rounds at least: until then caches fill. */
#define WARM  0.25
#define LEAST 4
/* What memory may grow by: fragments of the allocator, and what the dispatcher that lives on keeps
 * for submissions to come. Of those, as many as were ever unfinished (32 here), each becomes as
 * large as the largest that it was used for, 0.13 MiB, some late. What every submission lost would
 * be more: there are a million and more of them in 10 minutes. */
#define SLACK_SHARE 0.02
#define SLACK_MIB   8.0

typedef struct usage {
    int threads, files;
    double mib; /* resident */
} usage;

/* Entries of a folder of /proc/self; 0 on systems without. */
static int entries(const char *folder)
{
    DIR *open = opendir(folder);
    const struct dirent *entry;
    int count = 0;
    while (open && (entry = readdir(open)) != NULL)
        count += entry->d_name[0] != '.';
    if (open)
        closedir(open);
    return count;
}

static usage use_now(void)
{
    /* the folder itself is open while it is read */
    usage now = {.threads = entries("/proc/self/task"), .files = entries("/proc/self/fd") - 1};
    char line[256] = "", *end = line;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fgets(line, sizeof line, file)) {
        strtod(line, &end);
        now.mib = strtod(end, NULL) * 4096 / (1 << 20);
    }
    if (file)
        fclose(file);
    return now;
}

/* Each round has tensors of its own, tens of MiB: what is freed of them goes back to the system, so
 * that holes which small blocks leave between them aren't taken for growth. glibc raises this bound
 * by itself otherwise, up to 32 MiB. */
static void return_large_blocks(void)
{
#ifdef __GLIBC__
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

/* Largest of what was seen. */
static void raise_to(usage *most, const usage *now)
{
    most->threads = now->threads > most->threads ? now->threads : most->threads;
    most->files = now->files > most->files ? now->files : most->files;
    most->mib = now->mib > most->mib ? now->mib : most->mib;
}

typedef struct soak {
    clattn_context *context;
    clattn_dispatcher *kept;                 /* of half of the rounds */
    usage first, warm, most, last;           /* first and last: after that round */
    double seconds, passed, tokens, slowest; /* slowest: the largest p99 of a round, s */
    int rounds;
} soak;

static double most_mib(const soak *s)
{
    return s->warm.mib * (1 + SLACK_SHARE) + SLACK_MIB;
}

/* The thread that made the last call still has what the call was about, for a moment: the least of
 * some looks counts, of more if it is too much. */
static usage use_at_rest(const soak *s, int cold)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    const double enough = cold ? 0 : most_mib(s);
    usage least = use_now();
    for (int looks = 1; looks < (cold ? 10 : 100) && least.mib > enough; looks++) {
        nanosleep(&pause, NULL);
        const usage now = use_now();
        least = now.mib < least.mib ? now : least;
    }
    return least;
}

/* Rounds of the load; every other one without prefill, two of four each with a new dispatcher. */
static clattn_status run(soak *s)
{
    const double start = bench_now();
    clattn_status status = serving_dispatcher(s->context, 0, 0, &s->kept);
    if (status != CLATTN_OK)
        return status;
    while (s->passed < s->seconds) {
        serving_result result;
        const serving_load load = {.requests = 96,
                                   .steps = 64,
                                   .rate = 1000,
                                   .prefill = s->rounds % 2 == 0,
                                   .dispatcher = s->rounds / 2 % 2 ? s->kept : NULL};
        status = serving_run(s->context, &load, 0, NULL, &result);
        if (status != CLATTN_OK)
            return status;
        s->passed = bench_now() - start;
        const int cold = s->rounds < LEAST || s->passed < WARM * s->seconds;
        s->last = use_at_rest(s, cold);
        s->first = s->rounds ? s->first : s->last;
        s->tokens += (double)load.requests * load.steps;
        s->slowest = result.p99 > s->slowest ? result.p99 : s->slowest;
        s->rounds++;
        raise_to(cold ? &s->warm : &s->most, &s->last);
    }
    return CLATTN_OK;
}

static void print_use(const char *name, const usage *use)
{
    printf(" %s %.1f MiB, %d threads, %d files;", name, use->mib, use->threads, use->files);
}

static void report(const soak *s, int good)
{
    printf("soak: %s: %.1f minutes, %d rounds, %.0f tokens (%.0f/s), p99 of a round at most %.2f "
           "ms;",
           good ? "PASSED" : "FAILED", s->passed / 60, s->rounds, s->tokens,
           s->passed > 0 ? s->tokens / s->passed : 0, s->slowest * 1e3);
    print_use("first round", &s->first);
    print_use("most until warm", &s->warm);
    print_use("most afterwards", &s->most);
    print_use("last round", &s->last);
    printf("\n");
}

int main(int count, char **values)
{
    soak s = {.seconds = count > 1 ? strtod(values[1], NULL) : 60};
    return_large_blocks();
    clattn_status status = clattn_context_create(NULL, &s.context);
    if (status == CLATTN_OK)
        status = run(&s);
    if (status != CLATTN_OK)
        fprintf(stderr, "soak: %s: %s\n", clattn_status_string(status), clattn_error_message());
    const int grown =
        s.most.threads > s.warm.threads || s.most.files > s.warm.files || s.most.mib > most_mib(&s);
    const int good = status == CLATTN_OK && s.warm.threads && s.most.threads && !grown;
    report(&s, good);
    clattn_dispatcher_destroy(s.kept);
    if (s.context && clattn_context_destroy(s.context) != CLATTN_OK)
        return 1;
    return good ? 0 : 1;
}
