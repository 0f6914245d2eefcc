/* The clattn program: finds the command in a table and runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/commands.h"
#include "tool/options.h"

static const command commands[] = {
    {"devices", "Lists the OpenCL devices, or measures them.", NULL, command_devices},
    {"attention", "Computes attention on .npy files.", NULL, command_attention},
    {"grad", "Computes gradients of attention on .npy files.", NULL, command_grad},
    {"bench", "Times attention, beside what the device could do at best.", NULL, command_bench},
    {"tune", "Searches for faster configurations of the kernels on a device.", NULL, command_tune},
    {"programs", "The cache of compiled programs: lists, clears or checks it.", "list|clear|verify",
     command_programs},
    {"heatmap", "Draws attention weights as a picture.", NULL, command_heatmap},
    {"version", "Prints the version.", NULL, command_version},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* What PoCL reads when OpenCL is opened: threads that stay on their core make short problems
 * faster, and a SIGFPE shall end this program as it ends any other. The user's own value wins. */
static void set_environment(void)
{
    setenv("POCL_AFFINITY", "1", 0);
    setenv("POCL_SIGFPE_HANDLER", "0", 0);
}

static int print_help(void)
{
    printf("usage: clattn COMMAND [OPTION]...\n\nAttention on any OpenCL device.\n\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-10s  %s\n", commands[i].name, commands[i].summary);
    printf("\nclattn COMMAND --help shows the options of a command.\n"
           "Exit status: 0 done, 1 failed, 2 wrong usage.\n\nEnvironment:\n"
           "  CLATTN_DEVICE          the device, where --device isn't given\n"
           "  CLATTN_CACHE_DIR       the folder of compiled programs and of the tuning file\n"
           "  CLATTN_KERNEL_DIR      the folder of .cl files, instead of those built in\n"
           "  CLATTN_OPENCL_LIBRARY  the OpenCL library, instead of the system's\n"
           "  CLATTN_VERBOSE         dispatch, build, exec: log lines on stderr\n");
    return EXIT_RAN;
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!*name)
        return usage_error("COMMAND", "is missing; see clattn --help");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return print_help();
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(&commands[i], argc - 1, argv + 1);
    return usage_error(name, "is no command; see clattn --help");
}

int main(int argc, char **argv)
{
    set_environment();
    const int status = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return status == EXIT_RAN ? failure("stdout", "can't be written") : status;
    return status;
}
