/* A test in a process of its own, by the system's means: plain_posix.c, plain_windows.c. */
#ifndef CLATTN_TESTS_PLAIN_PROCESS_H
#define CLATTN_TESTS_PLAIN_PROCESS_H

/* Runs the test of this number in a new process: 0 it passed, 1 it failed, else it crashed or ran
 * longer than so many seconds. */
int plain_run(const char *program, int which, double seconds);

/* For the new process: its exit code. */
int plain_run_number(int which);

#endif
