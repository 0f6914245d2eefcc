/* Reads the command line of options.h. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: fuzz_attention [options]\n"
    "Random problems, computed with every kernel on every device, compared with the oracle.\n"
    "  --seed S             of the random numbers (1)\n"
    "  --count N            problems (3000)\n"
    "  --seconds T          end after this time, whatever is left of the problems\n"
    "  --case SEED:INDEX    one problem alone\n"
    "  --kernel NAME        this kernel of the registry alone\n"
    "  --device SELECTOR    this device alone\n"
    "  --differences        small problems of gradients, checked by finite differences, too\n"
    "  --shrink             make failing problems smaller before they are described\n"
    "  --verbose            describe every problem\n"
    "  --allow-unsupported  what the library says it doesn't support yet is no failure\n";

static bool parse_number(const char *text, char end, uint64_t *value, const char **rest)
{
    char *stop;
    errno = 0;
    *value = strtoull(text, &stop, 0);
    *rest = stop + (*stop != 0);
    return errno == 0 && stop != text && *stop == end && text[0] != '-';
}

static bool parse_value(fuzz_options *o, const char *name, const char *value)
{
    const char *rest;
    char *stop;
    if (strcmp(name, "--seed") == 0)
        return parse_number(value, 0, &o->seed, &rest);
    if (strcmp(name, "--count") == 0)
        return parse_number(value, 0, &o->count, &rest);
    if (strcmp(name, "--case") == 0) {
        o->count = 1;
        return parse_number(value, ':', &o->seed, &rest) && parse_number(rest, 0, &o->first, &rest);
    }
    if (strcmp(name, "--seconds") == 0) {
        o->seconds = strtod(value, &stop);
        o->count = UINT64_MAX;
        return stop != value && *stop == 0 && o->seconds > 0;
    }
    if (strcmp(name, "--kernel") == 0)
        o->kernel = value;
    else if (strcmp(name, "--device") == 0)
        o->device = value;
    else
        return false;
    return true;
}

static bool parse_flag(fuzz_options *o, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--verbose", &o->verbose},
                 {"--shrink", &o->shrink},
                 {"--differences", &o->differences},
                 {"--allow-unsupported", &o->allow_unsupported}};
    for (size_t n = 0; n < sizeof flags / sizeof flags[0]; n++)
        if (strcmp(name, flags[n].name) == 0)
            return *flags[n].flag = true;
    return false;
}

bool fuzz_options_parse(fuzz_options *o, int argc, char **argv)
{
    *o = (fuzz_options){.seed = 1, .count = 3000};
    for (int n = 1; n < argc; n++) {
        if (parse_flag(o, argv[n]))
            continue;
        if (n + 1 == argc || !parse_value(o, argv[n], argv[n + 1])) {
            fputs(usage, stderr);
            return false;
        }
        n++;
    }
    return true;
}
