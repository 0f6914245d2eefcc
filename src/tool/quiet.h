/* Keeping a driver's compiler from writing to stderr by itself: what it has to say about a user's
 * function is in the one line of the error. */
#ifndef CLATTN_TOOL_QUIET_H
#define CLATTN_TOOL_QUIET_H

/* Sends stderr nowhere. Returns what quiet_end() needs; with CLATTN_VERBOSE nothing happens. */
int quiet_begin(void);
void quiet_end(int saved);

#endif
