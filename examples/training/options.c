/* The command line of the examples of training. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"
#include "trainer.h"

static long number(const char *option, const char *text, long least)
{
    const long most = 1000000000;
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most)
        stop_usage(option, "expected a whole number from %ld to %ld, found \"%s\"", least, most,
                   text);
    return value;
}

static void take_steps(training_options *options, const char *option, const char *value)
{
    options->steps = number(option, value, 1);
}

static void take_seed(training_options *options, const char *option, const char *value)
{
    options->seed = number(option, value, 0);
}

static void take_optimiser(training_options *options, const char *option, const char *value)
{
    options->optimiser = optimiser_find(value);
    if (!options->optimiser)
        stop_usage(option, "expected %s, found \"%s\"", optimiser_names, value);
}

static void take_out(training_options *options, const char *option, const char *value)
{
    (void)option;
    options->out = value;
}

static void take_check(training_options *options, const char *option, const char *value)
{
    (void)option;
    (void)value;
    options->check = true;
}

static const struct {
    const char *name, *value; /* NULL: it has none */
    const char *help;
    void (*take)(training_options *options, const char *option, const char *value);
} known[] = {
    {"--steps", "N", "steps of gradient descent", take_steps},
    {"--seed", "N", "of data and first parameters; 1 if not given", take_seed},
    {"--optimiser", "NAME", optimiser_names, take_optimiser},
    {"--out", "FOLDER", "write weights before and after, for clattn heatmap", take_out},
    {"--check", NULL, "compare gradients with finite differences in the end", take_check},
};
enum { KNOWN = sizeof known / sizeof known[0] };

static void print_help(const training_program *program)
{
    printf("usage: %s [options]\n%s\n", program->name, program->usage);
    for (size_t i = 0; i < KNOWN; i++)
        printf("  %-11s %-7s  %s\n", known[i].name, known[i].value ? known[i].value : "",
               known[i].help);
    printf("  %-11s %-7s  this text\n\nWithout options: %ld steps of %s.\n", "--help", "",
           program->steps, program->optimiser);
}

training_options training_read_options(const training_program *program, int count, char **values)
{
    training_options options = {.steps = program->steps, .seed = 1};
    options.optimiser = optimiser_find(program->optimiser);
    stop_set_program(program->name);
    for (int at = 1; at < count; at++) {
        const char *option = values[at];
        size_t i = 0;
        if (strcmp(option, "--help") == 0) {
            print_help(program);
            exit(0);
        }
        while (i < KNOWN && strcmp(option, known[i].name) != 0)
            i++;
        if (i == KNOWN)
            stop_usage(option, "there is no such option; --help shows those that there are");
        if (known[i].value && ++at == count)
            stop_usage(option, "expected %s behind it", known[i].value);
        known[i].take(&options, option, values[at]);
    }
    return options;
}
