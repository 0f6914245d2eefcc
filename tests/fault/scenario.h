/* One use of the library from end to end, so that each thing in it can be made to fail: context,
 * plan, buffers, dispatcher, submission, one-call attention, and everything given back. */
#ifndef TESTS_FAULT_SCENARIO_H
#define TESTS_FAULT_SCENARIO_H

#include <clattn/clattn.h>

/* Options with faulty_get_proc and a program cache in a temporary folder, until scenario_end. */
void scenario_begin(clattn_context_options *options);
void scenario_end(clattn_context_options *options);

/* Empties that program cache. */
void scenario_forget_programs(const clattn_context_options *options);

/* Runs everything up to the first failure, then gives everything back. Fails the test if a context
 * can't be destroyed, an OpenCL object is left, a failure has no sentence of its own, or the status
 * is CLATTN_OK and a result is wrong. */
clattn_status scenario_run(const clattn_context_options *options);

/* The sentence of the last run's failure. */
const char *scenario_message(void);

#endif
