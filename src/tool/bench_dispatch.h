/* clattn bench --suite dispatch: what submitting costs, what sharing launches and several lanes
 * gain, and a load as a server has it. */
#ifndef CLATTN_TOOL_BENCH_DISPATCH_H
#define CLATTN_TOOL_BENCH_DISPATCH_H

#include <stdbool.h>

/* `seconds`: how long each measurement goes on. The exit status. */
int bench_dispatch(const char *device, double seconds, bool json, const char *trace);

#endif
