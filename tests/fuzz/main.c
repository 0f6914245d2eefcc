/* fuzz_attention: see options.c for its usage. Prints the seed first, a line and a description for
 * each failure, the largest errors, and last "N passed, M failed", problems counted. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "describe.h"
#include "generate.h"
#include "options.h"
#include "shrink.h"
#include "tests/for_attention.h"

#define MOST_TARGETS   64
#define MOST_DESCRIBED 10
#define SELDOM         100 /* problems, of which a kernel for other devices gets one */

typedef struct fuzzer {
    fuzz_options options;
    fuzz_target target[MOST_TARGETS];
    uint32_t targets;
    uint64_t passed, failed, unsupported, described;
    uint64_t compared, beyond;     /* outputs, and those beyond the contract's bound */
    double worst[FUZZ_SLOTS];      /* error relative to its bound */
    uint64_t worst_at[FUZZ_SLOTS]; /* index of the problem */
} fuzzer;

/* Chance explains one tensor in 1000; more mean that the library computes worse than it promises.
 */
static bool is_accurate(const fuzzer *f)
{
    return f->beyond <= 3 + f->compared / 500;
}

/* What to say if the library ends the process. */
static char current_case[160];

static void on_crash(int signal_number)
{
    const char begin[] = "\nfuzz_attention: the process was ended by a signal in ";
    ssize_t written = write(STDERR_FILENO, begin, sizeof begin - 1);
    written += write(STDERR_FILENO, current_case, strlen(current_case));
    written += write(STDERR_FILENO, "\n", 1);
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Kernels for GPUs take a CPU's compiler seconds for each of their shapes. */
static bool is_for_others(clattn_context *context, const char *kernel)
{
    clattn_device_info info = {.struct_size = sizeof info};
    return strstr(kernel, "_tile") && clattn_context_device_info(context, &info) == CLATTN_OK &&
           info.type == CLATTN_DEVICE_CPU;
}

static bool open_target(fuzzer *f, const char *device, const char *kernel, uint32_t index)
{
    fuzz_target *t = &f->target[f->targets];
    clattn_context_options options;
    clattn_context_options_init(&options);
    options.device = device;
    options.kernel = kernel;
    clattn_status status = clattn_context_create(&options, &t->context);
    if (status == CLATTN_OK)
        status = clattn_dispatcher_create(t->context, NULL, &t->dispatcher);
    if (status != CLATTN_OK) {
        fprintf(stderr, "fuzz_attention: %s\n", clattn_error_message());
        return false;
    }
    /* The kernels for other operations are used by all targets alike. */
    if (!f->options.kernel && strncmp(kernel, "gradient", 8) != 0 &&
        strncmp(kernel, "top_k", 5) != 0 && !is_for_attention(t->context, kernel)) {
        clattn_dispatcher_destroy(t->dispatcher);
        return clattn_context_destroy(t->context) == CLATTN_OK;
    }
    t->kernel = kernel;
    t->device = index;
    t->must_accept = strstr(kernel, "_reference") != NULL;
    t->every = !f->options.kernel && is_for_others(t->context, kernel) ? SELDOM : 1;
    f->targets++;
    return true;
}

/* Kernels of other operations would leave the problems to whichever kernel is chosen. */
static bool is_for_problems(const char *kernel)
{
    return strncmp(kernel, "attention_", 10) == 0 || strncmp(kernel, "gradient", 8) == 0 ||
           strncmp(kernel, "top_k", 5) == 0 || strcmp(kernel, "merge") == 0;
}

static bool open_device(fuzzer *f, const char *device, uint32_t index)
{
    for (uint32_t n = 0; n < clattn_kernel_count() && f->targets < MOST_TARGETS; n++) {
        const char *kernel = clattn_kernel_name(n);
        if (!is_for_problems(kernel) ||
            (f->options.kernel && strcmp(kernel, f->options.kernel) != 0))
            continue;
        if (!open_target(f, device, kernel, index))
            return false;
    }
    return true;
}

static bool open_targets(fuzzer *f)
{
    uint32_t count = 0;
    char selector[16];
    if (f->options.device)
        return open_device(f, f->options.device, 0);
    if (clattn_device_list(NULL, NULL, 0, &count) != CLATTN_OK || count == 0) {
        fprintf(stderr, "fuzz_attention: no device: %s\n", clattn_error_message());
        return false;
    }
    for (uint32_t n = 0; n < count; n++) {
        snprintf(selector, sizeof selector, "%u", n);
        if (!open_device(f, selector, n))
            return false;
    }
    return true;
}

static bool close_targets(fuzzer *f)
{
    bool good = true;
    for (uint32_t n = 0; n < f->targets; n++) {
        clattn_dispatcher_destroy(f->target[n].dispatcher);
        if (clattn_context_destroy(f->target[n].context) != CLATTN_OK) {
            fprintf(stderr, "fuzz_attention: %s\n", clattn_error_message());
            good = false;
        }
    }
    return good;
}

static bool still_fails(void *context, const fuzz_problem *p)
{
    fuzz_verdict verdict;
    return fuzz_check_alone(context, p, &verdict) == FUZZ_FAILED;
}

static void report(fuzzer *f, const fuzz_target *t, const fuzz_problem *p, const char *why)
{
    fuzz_problem smaller = *p;
    fuzz_verdict verdict;
    printf("%s: %s\n", current_case, why);
    if (f->described++ >= MOST_DESCRIBED)
        return;
    fuzz_print(stdout, p);
    if (f->options.shrink) {
        fuzz_shrink(&smaller, still_fails, (void *)t);
        fuzz_check_alone(t, &smaller, &verdict);
        printf("  smaller: %s\n", verdict.why);
        fuzz_print(stdout, &smaller);
    }
    fflush(stdout);
}

static void note_errors(fuzzer *f, const fuzz_problem *p, const fuzz_verdict *verdict)
{
    f->compared += (uint64_t)verdict->compared;
    f->beyond += (uint64_t)verdict->beyond;
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (verdict->ratio[slot] > f->worst[slot]) {
            f->worst[slot] = verdict->ratio[slot];
            f->worst_at[slot] = p->index;
        }
}

static void run_problem(fuzzer *f, uint64_t index)
{
    fuzz_problem p;
    fuzz_set set;
    fuzz_expected e;
    (f->options.differences ? fuzz_generate_smooth : fuzz_generate)(f->options.seed, index, &p);
    if (f->options.verbose) {
        printf("%llu:%llu\n", (unsigned long long)p.seed, (unsigned long long)p.index);
        fuzz_print(stdout, &p);
        fflush(stdout);
    }
    fuzz_set_make(&p, &set);
    fuzz_expect(&p, &set, &e);
    bool failed = false, unsupported = false;
    uint32_t declined = 0, foreign = 0;
    fuzz_verdict verdict;
    for (uint32_t n = 0; n < f->targets; n++) {
        fuzz_target *t = &f->target[n];
        if (!fuzz_is_for(t, &p)) {
            foreign++;
            continue;
        }
        snprintf(current_case, sizeof current_case, "--case %llu:%llu --kernel %s --device %u",
                 (unsigned long long)p.seed, (unsigned long long)p.index, t->kernel, t->device);
        const fuzz_outcome outcome = fuzz_check(t, &p, &set, &e, &verdict);
        note_errors(f, &p, &verdict);
        if (outcome == FUZZ_FAILED)
            report(f, t, &p, verdict.why);
        failed |= outcome == FUZZ_FAILED;
        unsupported |= outcome == FUZZ_UNSUPPORTED;
        declined += outcome == FUZZ_DECLINED;
        t->ran += outcome == FUZZ_PASSED || outcome == FUZZ_FAILED;
        t->declined += outcome == FUZZ_DECLINED || outcome == FUZZ_UNSUPPORTED;
    }
    unsupported |= declined > 0 && declined + foreign == f->targets;
    if (unsupported && !failed && f->unsupported++ < MOST_DESCRIBED)
        printf("%s: not supported: %s\n", current_case, verdict.why);
    failed |= unsupported && !f->options.allow_unsupported;
    f->failed += failed;
    f->passed += !failed && !unsupported && foreign < f->targets;
    fuzz_expected_free(&e);
    fuzz_set_free(&set);
}

static void print_summary(const fuzzer *f, uint64_t count, double seconds)
{
    printf("%llu problems in %.1f s", (unsigned long long)count, seconds);
    if (f->unsupported)
        printf(", %llu not supported", (unsigned long long)f->unsupported);
    printf("\n");
    for (uint32_t n = 0; n < f->targets; n++)
        printf("  %s on device %u: %llu run, %llu declined\n", f->target[n].kernel,
               f->target[n].device, (unsigned long long)f->target[n].ran,
               (unsigned long long)f->target[n].declined);
    printf(
        "beyond the contract's bound, where the plain computation is exact by chance: %llu of %llu "
        "tensors\nlargest error relative to the contract's bound:\n",
        (unsigned long long)f->beyond, (unsigned long long)f->compared);
    for (int slot = 0; slot < FUZZ_SLOTS; slot++)
        if (f->worst[slot] > 0)
            printf("  %-12s %.3f  (--case %llu:%llu)\n", fuzz_slot_of(slot)->name, f->worst[slot],
                   (unsigned long long)f->options.seed, (unsigned long long)f->worst_at[slot]);
}

static void run_all(fuzzer *f)
{
    const double start = now();
    const bool terminal = isatty(STDERR_FILENO);
    uint64_t n = 0;
    for (; n < f->options.count; n++) {
        if (f->options.seconds > 0 && now() - start > f->options.seconds)
            break;
        if (terminal && n % 20 == 0)
            fprintf(stderr, "\r%llu problems, %llu failed ", (unsigned long long)n,
                    (unsigned long long)f->failed);
        run_problem(f, f->options.first + n);
    }
    if (terminal)
        fprintf(stderr, "\r%40s\r", "");
    print_summary(f, n, now() - start);
}

int main(int argc, char **argv)
{
    static fuzzer f;
    if (!fuzz_options_parse(&f.options, argc, argv))
        return 2;
    printf("seed %llu\n", (unsigned long long)f.options.seed);
    fflush(stdout);
    if (!open_targets(&f) || f.targets == 0) {
        fprintf(stderr, "fuzz_attention: no kernel to test\n");
        return 1;
    }
    const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM};
    for (size_t n = 0; n < sizeof crashes / sizeof crashes[0]; n++)
        signal(crashes[n], on_crash);
    run_all(&f);
    const bool closed = close_targets(&f);
    if (!is_accurate(&f))
        printf("too many tensors are beyond the contract's bound\n");
    printf("%llu passed, %llu failed\n", (unsigned long long)f.passed,
           (unsigned long long)f.failed);
    return closed && is_accurate(&f) && f.failed == 0 && f.passed > 0 ? 0 : 1;
}
