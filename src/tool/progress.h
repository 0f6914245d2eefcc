/* A line on the terminal that shows how far something is, if it takes longer than a second. */
#ifndef CLATTN_TOOL_PROGRESS_H
#define CLATTN_TOOL_PROGRESS_H

#include <stdint.h>

typedef struct progress progress;

/* Begins to watch the time. `label` is borrowed. NULL where stderr is no terminal (or no memory is
 * left); the other functions accept that. Nothing else may write to stderr until progress_stop. */
progress *progress_start(const char *label);

/* How much is done, for a bar; until the first call the seconds that have passed are shown. May be
 * called as often as one likes, from any thread. */
void progress_set(progress *line, int64_t done, int64_t total);

/* Clears the line. */
void progress_stop(progress *line);

#endif
