/* conformance [--outputs forward] [--kernel NAME|every] [--storage TYPE] [--list]
 *             [--must-pass FILE] PATH...
 *
 * Runs every conformance case below the paths through clattn's public functions and compares with
 * the expected outputs. One line for each case that fails; the last line counts cases.
 * docs/conformance.md has more. */
#include <stdio.h>
#include <string.h>

#include "compare.h"
#include "kinds.h"
#include "report.h"
#include "tests/for_attention.h"
#include "walk.h"

typedef struct options {
    bool forward; /* outputs that are no gradients */
    bool list;
    bool kernels;                   /* name them, run nothing */
    const char *kernel, *must_pass; /* NULL: not given */
    const stored_as *stored;        /* the same */
    char **path;                    /* (path_count) */
    int path_count;
} options;

static const char usage[] =
    "usage: conformance [--outputs forward|all] [--kernel NAME|every] [--storage TYPE] [--list] "
    "[--must-pass FILE] PATH...\n"
    "       conformance --kernels\n"
    "  --outputs forward  compare no gradients\n"
    "  --kernel NAME      use only this kernel of clattn's registry, or these, commas between; "
    "what\n"
    "                     they decline need not pass\n"
    "  --kernel every     once with the library's own choice, then with each kernel alone\n"
    "  --kernels          print the names of the kernels for attention\n"
    "  --storage TYPE     only cases with a cache, which stores f32, f16, bf16, int8 or int4, "
    "int8-32 or int4-32 (a scale for 32 channels), within the error that the type allows\n"
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
    if (strcmp(name, "--list") == 0)
        return o->list = true;
    if (strcmp(name, "--kernels") == 0)
        return o->kernels = true;
    const char *value = take_value(index, argc, argv);
    if (!value)
        return false;
    if (strcmp(name, "--kernel") == 0)
        o->kernel = value;
    else if (strcmp(name, "--must-pass") == 0)
        o->must_pass = value;
    else if (strcmp(name, "--storage") == 0)
        return (o->stored = stored_as_find(value)) != NULL;
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
    return o->path_count > 0 || o->kernels;
}

static void run_loaded(clattn_context *context, const options *o, const test_case *c, report *to)
{
    results r = {.stored = o->stored};
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
    const bool left_out = o->stored && state == CASE_LOADED && strcmp(c.kind, "decode") != 0;
    if (state == CASE_LOADED && !left_out)
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

typedef struct totals {
    int passed, failed; /* cases */
    bool bad;           /* the exit status is 1 */
} totals;

/* What one run means for the exit status. */
static bool is_bad(const options *o, const char *kernel, const report *r)
{
    if (!o->must_pass)
        return r->failed != 0;
    const int missing = report_missing(r, o->must_pass, kernel != NULL);
    if (missing < 0)
        fprintf(stderr, "conformance: %s can't be read, or names no pairs\n", o->must_pass);
    return missing != 0;
}

/* kernel: NULL: the library chooses. false: there is nothing to say about it. */
static bool run_in_context(clattn_context *context, const options *o, const char *kernel,
                           totals *sum)
{
    report r = {.list = o->list};
    const bool ran = run_all(context, o, &r);
    if (ran) {
        sum->bad = is_bad(o, kernel, &r) || sum->bad;
        sum->passed += r.passed;
        sum->failed += r.failed;
        if (kernel && r.declined_cases)
            printf("%d declined by %s\n", r.declined_cases, kernel);
    }
    report_finish(&r);
    return ran;
}

static bool run_kernel(const options *o, const char *kernel, totals *sum)
{
    clattn_context *context;
    clattn_context_options with;
    clattn_context_options_init(&with);
    with.kernel = kernel;
    bool good = clattn_context_create(&with, &context) == CLATTN_OK;
    if (good) {
        const bool ran = run_in_context(context, o, kernel, sum);
        good = clattn_context_destroy(context) == CLATTN_OK;
        if (!ran)
            return false;
    }
    if (!good)
        fprintf(stderr, "conformance: %s\n", clattn_error_message());
    return good;
}

/* Whether running a kernel alone tells anything about it. */
static bool has_part(const char *kernel)
{
    clattn_context *context = NULL;
    clattn_context_options with;
    clattn_context_options_init(&with);
    with.kernel = kernel;
    const bool good = clattn_context_create(&with, &context) == CLATTN_OK;
    const bool is_one =
        !good || strncmp(kernel, "gradient", 8) == 0 || is_for_attention(context, kernel);
    clattn_context_destroy(context);
    return is_one;
}

/* A kernel that passes nothing has no part in the sum: it is for other devices. */
/* Gradients in tiles are many programs. */
static bool is_too_long(const char *kernel)
{
    return is_left_out(kernel) && strncmp(kernel, "gradient", strlen("gradient")) == 0;
}

static bool run_every_kernel(const options *o, totals *sum)
{
    for (uint32_t i = 0; i <= clattn_kernel_count(); i++) {
        const char *kernel = i ? clattn_kernel_name(i - 1) : NULL;
        totals own = {0};
        if (kernel && (!has_part(kernel) || is_too_long(kernel)))
            continue;
        printf("== %s\n", kernel ? kernel : "the library's choice");
        if (!run_kernel(o, kernel, &own))
            return false;
        printf("%s: %d passed, %d failed\n", kernel ? kernel : "the library's choice", own.passed,
               own.failed);
        sum->passed += own.passed;
        sum->failed += own.passed ? own.failed : 0;
        sum->bad = sum->bad || (own.bad && (own.passed || o->must_pass));
    }
    return true;
}

static bool is_kernel(const char *name, size_t size)
{
    for (uint32_t i = 0; i < clattn_kernel_count(); i++)
        if (strlen(clattn_kernel_name(i)) == size &&
            strncmp(clattn_kernel_name(i), name, size) == 0)
            return true;
    return false;
}

/* Whether each of the names, commas between, is a kernel's. */
static bool are_kernels(const char *names)
{
    const char *at = names;
    for (size_t size; (size = strcspn(at, ",")) > 0; at += size + 1) {
        if (!is_kernel(at, size))
            return false;
        if (!at[size])
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    options o = {0};
    totals sum = {0};
    if (!parse(&o, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    if (o.kernels) {
        for (uint32_t i = 0; i < clattn_kernel_count(); i++)
            if (has_part(clattn_kernel_name(i)))
                printf("%s\n", clattn_kernel_name(i));
        return 0;
    }
    const bool every = o.kernel && strcmp(o.kernel, "every") == 0;
    if (o.kernel && !every && !are_kernels(o.kernel)) {
        fprintf(stderr, "conformance: there is no kernel %s; --kernels names them\n", o.kernel);
        return 2;
    }
    const bool ran = every ? run_every_kernel(&o, &sum) : run_kernel(&o, o.kernel, &sum);
    const bool empty = sum.passed + sum.failed == 0;
    if (ran && empty)
        fprintf(stderr, "conformance: there are no cases below these paths\n");
    if (ran)
        printf("%d passed, %d failed\n", sum.passed, sum.failed);
    return !ran || empty || sum.bad;
}
