/* A thread of its own draws, so that calls that block for seconds (compiling) are covered too. */
#include "tool/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SILENT_MS = 1000, REDRAW_MS = 100, BAR = 30 };

struct progress {
    const char *label; /* borrowed */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    bool stop; /* under the lock */
    atomic_llong done, total;
};

static void draw(progress *line, int milliseconds)
{
    const long long total = atomic_load(&line->total), done = atomic_load(&line->done);
    char bar[BAR + 1];
    if (total <= 0) {
        fprintf(stderr, "\r%.40s: %d s ", line->label, milliseconds / 1000);
        return;
    }
    const double part = (double)(done < total ? done : total) / (double)total;
    memset(bar, ' ', BAR);
    memset(bar, '#', (size_t)(part * BAR));
    bar[BAR] = 0;
    fprintf(stderr, "\r%.40s: [%s] %3.0f %% ", line->label, bar, 100 * part);
}

static struct timespec in_milliseconds(long milliseconds)
{
    struct timespec then;
    clock_gettime(CLOCK_REALTIME, &then);
    then.tv_sec += milliseconds / 1000;
    then.tv_nsec += milliseconds % 1000 * 1000000;
    if (then.tv_nsec >= 1000000000) {
        then.tv_sec++;
        then.tv_nsec -= 1000000000;
    }
    return then;
}

static void *run(void *user)
{
    progress *line = user;
    int passed = 0;
    pthread_mutex_lock(&line->lock);
    while (!line->stop) {
        const int pause = passed == 0 ? SILENT_MS : REDRAW_MS;
        const struct timespec then = in_milliseconds(pause);
        if (pthread_cond_timedwait(&line->stopped, &line->lock, &then) == 0)
            continue;
        passed += pause;
        draw(line, passed);
    }
    if (passed)
        fprintf(stderr, "\r%-78s\r", "");
    pthread_mutex_unlock(&line->lock);
    return NULL;
}

progress *progress_start(const char *label)
{
    progress *line = isatty(STDERR_FILENO) ? calloc(1, sizeof *line) : NULL;
    if (!line)
        return NULL;
    line->label = label;
    pthread_mutex_init(&line->lock, NULL);
    pthread_cond_init(&line->stopped, NULL);
    if (pthread_create(&line->thread, NULL, run, line) == 0)
        return line;
    free(line);
    return NULL;
}

void progress_set(progress *line, int64_t done, int64_t total)
{
    if (!line)
        return;
    atomic_store(&line->done, done);
    atomic_store(&line->total, total);
}

void progress_stop(progress *line)
{
    if (!line)
        return;
    pthread_mutex_lock(&line->lock);
    line->stop = true;
    pthread_cond_signal(&line->stopped);
    pthread_mutex_unlock(&line->lock);
    pthread_join(line->thread, NULL);
    pthread_cond_destroy(&line->stopped);
    pthread_mutex_destroy(&line->lock);
    free(line);
}
