/* The commands: one file each, one row each in the table of main.c. */
#ifndef CLATTN_TOOL_COMMANDS_H
#define CLATTN_TOOL_COMMANDS_H

#include <clattn/clattn.h>

#include "tool/options.h"

int command_devices(const command *self, int argc, char **argv);
int command_attention(const command *self, int argc, char **argv);
int command_grad(const command *self, int argc, char **argv);
int command_bench(const command *self, int argc, char **argv);
int command_heatmap(const command *self, int argc, char **argv);
int command_programs(const command *self, int argc, char **argv);
int command_tune(const command *self, int argc, char **argv);
int command_version(const command *self, int argc, char **argv);

/* What --device says in the help of all commands that open one. */
#define DEVICE_HELP "cpu, gpu, an index of clattn devices, or a part of a name"

/* Opens a context for --device (NULL: default), for all kernels or only one. false: printed one
 * line; *status is the exit status, 1. */
bool open_context(const char *device, const char *kernel, clattn_context **context, int *status);

/* EXIT_RAN for a kernel of the registry, or NULL; else EXIT_USAGE, after a line about --kernel. */
int check_kernel(const char *name);

/* Prints why a device could not be had, naming the option or variable that is to blame, from
 * clattn_error_message(). Returns EXIT_FAILED. */
int device_failure(const char *device, clattn_status status);

#endif
