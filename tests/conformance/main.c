/* conformance [--outputs forward] [--kernel NAME] [--list] [--must-pass FILE] PATH...
 *
 * Runs every conformance case below the paths through clattn's public functions and compares with
 * the expected outputs. One line for each case that fails; the last line counts cases. */
#include <stdio.h>
#include <string.h>

#include "compare.h"
#include "kinds.h"
#include "report.h"
#include "walk.h"

typedef struct options {
    bool forward; /* outputs that are no gradients */
    bool list;
    const char *kernel, *must_pass; /* NULL: not given */
    char **path;                    /* (path_count) */
    int path_count;
} options;

static const char usage[] =
    "usage: conformance [--outputs forward|all] [--kernel NAME] [--list] [--must-pass FILE] "
    "PATH...\n"
    "  --outputs forward  compare no gradients\n"
    "  --kernel NAME      use only this kernel of clattn's registry\n"
    "  --list             print the case:output pairs that pass\n"
    "  --must-pass FILE   exit 0 if each pair in FILE passes, whatever else fails\n";

/* The value of an option that takes one, NULL at the end of the line. */
static const char *take_value(int *index, int argc, char **argv)
{
    return *index + 1 < argc ? argv[++*index] : NULL;
}

static bool parse_option(options *o, int *index, int argc, char **argv)
{
    const char *name = argv[*index];
    if (strcmp(name, "--list") == 0) {
        o->list = true;
        return true;
    }
    const char *value = take_value(index, argc, argv);
    if (!value)
        return false;
    if (strcmp(name, "--kernel") == 0)
        o->kernel = value;
    else if (strcmp(name, "--must-pass") == 0)
        o->must_pass = value;
    else if (strcmp(name, "--outputs") == 0)
        o->forward = strcmp(value, "forward") == 0;
    return strcmp(name, "--kernel") == 0 || strcmp(name, "--must-pass") == 0 ||
           (strcmp(name, "--outputs") == 0 && (o->forward || strcmp(value, "all") == 0));
}

static bool parse(options *o, int argc, char **argv)
{
    int first = 1;
    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++)
        if (!parse_option(o, &first, argc, argv))
            return false;
    o->path = argv + first;
    o->path_count = argc - first;
    return o->path_count > 0;
}

static void run_loaded(clattn_context *context, const options *o, const test_case *c, report *to)
{
    results r = {0};
    const kind *found = kind_find(c->kind);
    for (int i = 0; i < c->output_count; i++)
        r.output[i].wanted = !o->forward || !is_gradient(c, c->output[i].name);
    if (found)
        found->run(context, c, &r);
    else
        results_decline(c, &r, "the kind %s is not known", c->kind);
    report_case(to, c, &r);
    results_finish(c, &r);
}

static void run_folder(clattn_context *context, const options *o, const char *path,
                       const char *name, report *to)
{
    test_case c;
    char error[256];
    const case_state state = case_load(&c, path, name, error, sizeof error);
    if (state == CASE_LOADED)
        run_loaded(context, o, &c, to);
    if (state == CASE_BROKEN)
        report_broken(to, name, error);
    case_finish(&c);
}

/* The part of `path` below `root`; the last part of the path if it is the root itself. */
static const char *name_below(const char *path, const char *root)
{
    const char *rest = path + strlen(root);
    rest += strspn(rest, "/");
    if (*rest)
        return rest;
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int run_all(clattn_context *context, const options *o, report *to)
{
    for (int i = 0; i < o->path_count; i++) {
        walk_list folders = {0};
        char *root = o->path[i];
        for (size_t n = strlen(root); n > 1 && root[n - 1] == '/'; n--)
            root[n - 1] = 0;
        const int good = walk_find_cases(root, &folders);
        if (!good)
            fprintf(stderr, "conformance: %s can't be read\n", root);
        for (size_t j = 0; good && j < folders.count; j++)
            run_folder(context, o, folders.path[j], name_below(folders.path[j], root), to);
        walk_finish(&folders);
        if (!good)
            return 0;
    }
    return 1;
}

/* The exit status, after the last line. */
static int conclude(const options *o, const report *r)
{
    if (o->must_pass) {
        const int missing = report_missing(r, o->must_pass);
        if (missing < 0)
            fprintf(stderr, "conformance: %s can't be read, or names no pairs\n", o->must_pass);
        printf("%d passed, %d failed\n", r->passed, r->failed);
        return missing != 0;
    }
    printf("%d passed, %d failed\n", r->passed, r->failed);
    return r->failed != 0;
}

int main(int argc, char **argv)
{
    options o = {0};
    report r = {0};
    clattn_context *context;
    clattn_context_options with;
    if (!parse(&o, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    clattn_context_options_init(&with);
    with.kernel = o.kernel;
    if (clattn_context_create(&with, &context) != CLATTN_OK) {
        fprintf(stderr, "conformance: %s\n", clattn_error_message());
        return 1;
    }
    r.list = o.list;
    int status = 1;
    if (run_all(context, &o, &r))
        status = conclude(&o, &r);
    report_finish(&r);
    if (clattn_context_destroy(context) != CLATTN_OK) {
        fprintf(stderr, "conformance: %s\n", clattn_error_message());
        status = 1;
    }
    return status;
}
