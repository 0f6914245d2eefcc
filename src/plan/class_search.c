/* Compares configurations on a noisy machine: whatever else runs there only makes a run slower, so
 * short runs of both take turns until the two fastest of each agree, and the fastest count. What
 * has won is measured twice more against the built-in configuration, and has to win both times. */
#include "plan/class_search.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Runs of two configurations on a sample go on until they have settled, or for so long. */
#define LEAST_RUNS   3
#define MOST_SECONDS 0.5
/* Runs have settled if the second fastest takes at most so much longer than the fastest. */
#define SETTLED 1.01
/* What a candidate must gain to go on with, and what it must gain at the end. */
#define LEAST_STEP    1.01
#define LEAST_SPEEDUP 1.02

/* How thorough a comparison is. */
typedef struct care {
    double seconds; /* for the runs on a sample, at least */
    double least;   /* a speedup below it, on any of the samples, is a defeat */
} care;
static const care trial_care = {0.03, 0.98}, final_care = {0.1, 0.995};

double clattn__tuner_now(void)
{
    return (double)clattn__now_ns() * 1e-9;
}

static void trial_finish(clattn__trial *trial)
{
    for (uint32_t i = 0; i < CLATTN__MOST_SAMPLES; i++)
        clattn__plan_release(trial->plan[i]);
    memset(trial, 0, sizeof *trial);
}

/* Plans of a configuration, which has run once and given the right results: `expect` makes it the
 * one that decides what is right. */
static clattn_status trial_init(clattn__class_search *search, const clattn__config *config,
                                bool expect, clattn__trial *trial)
{
    clattn_status status = CLATTN_OK;
    memset(trial, 0, sizeof *trial);
    trial->config = *config;
    for (uint32_t i = 0; i < search->sample_count && status == CLATTN_OK; i++) {
        clattn__sample *sample = &search->sample[i];
        status = clattn__plan_create_as(search->context, &sample->problem, search->kernel, config,
                                        &trial->plan[i]);
        if (status == CLATTN_OK)
            status = expect ? clattn__sample_expect(sample, trial->plan[i], search->queue)
                            : clattn__sample_check(sample, trial->plan[i], search->queue);
    }
    if (status != CLATTN_OK)
        trial_finish(trial);
    return status;
}

static clattn_status run_once(clattn__class_search *search, clattn__trial *trial, uint32_t i)
{
    double seconds;
    CLATTN__TRY(clattn__sample_run(&search->sample[i], trial->plan[i], search->queue, &seconds));
    if (trial->best[i] == 0 || seconds < trial->best[i]) {
        trial->second[i] = trial->best[i];
        trial->best[i] = seconds;
    } else if (trial->second[i] == 0 || seconds < trial->second[i]) {
        trial->second[i] = seconds;
    }
    return CLATTN_OK;
}

static bool has_settled(const clattn__trial *trial, uint32_t i)
{
    return trial->second[i] > 0 && trial->second[i] <= SETTLED * trial->best[i];
}

/* Turns on one sample for `seconds`, or longer if they have to settle. */
static clattn_status take_turns(clattn__class_search *search, uint32_t i, clattn__trial *a,
                                clattn__trial *b, double seconds)
{
    const double start = clattn__tuner_now();
    a->best[i] = a->second[i] = b->best[i] = b->second[i] = 0;
    for (uint32_t runs = 0;; runs++) {
        const double spent = clattn__tuner_now() - start;
        const bool settled = has_settled(a, i) && has_settled(b, i);
        if (runs >= LEAST_RUNS && spent >= (settled ? seconds : MOST_SECONDS))
            return CLATTN_OK;
        CLATTN__TRY(run_once(search, a, i));
        CLATTN__TRY(run_once(search, b, i));
    }
}

static const clattn__problem_class *class_of(const clattn__class_search *search)
{
    return &search->kernel->tunable->classes[search->problem_class];
}

/* A line about a comparison, for who wants to know why. */
static void log_comparison(const clattn__class_search *search, const clattn__trial *a,
                           const clattn__trial *b)
{
    const clattn__env *env = &search->context->env;
    clattn__text text;
    if (!clattn__log_wanted(env, CLATTN_LOG_DISPATCH))
        return;
    clattn__text_init(&text, env);
    for (uint32_t i = 0; i < search->sample_count && b->best[i] > 0; i++)
        clattn__text_add(&text, " %.3f", a->best[i] / b->best[i]);
    clattn__text_add(&text, " times as fast: ");
    clattn__config_describe_tuned(&b->config, &text);
    clattn__log(env, CLATTN_LOG_DISPATCH, "tuning: %s, %s:%s", search->kernel->name,
                class_of(search)->name, clattn__text_get(&text));
    clattn__text_finish(&text);
}

/* How much faster `b` is: the geometric mean over the samples; 0 for a defeat. */
static clattn_status compare(clattn__class_search *search, clattn__trial *a, clattn__trial *b,
                             care with, double *speedup)
{
    double sum = 0, least = 1;
    *speedup = 0;
    memset(b->best, 0, sizeof b->best);
    for (uint32_t i = 0; i < search->sample_count && least >= with.least; i++) {
        CLATTN__TRY(take_turns(search, i, a, b, with.seconds));
        const double ratio = a->best[i] / b->best[i];
        least = ratio < least ? ratio : least;
        sum += log(ratio);
    }
    log_comparison(search, a, b);
    if (least >= with.least)
        *speedup = exp(sum / search->sample_count);
    return CLATTN_OK;
}

/* Tells who wants to know. */
static clattn_status tell(const clattn__class_search *search, clattn_tune_state state,
                          const clattn__config *config, double speedup)
{
    clattn_tune_progress progress = {.struct_size = sizeof progress,
                                     .state = state,
                                     .speedup = speedup,
                                     .tried = search->tried_count - 1};
    if (!search->request->function)
        return CLATTN_OK;
    const double all = search->deadline - search->start;
    const double part = all > 0 ? (clattn__tuner_now() - search->start) / all : 1;
    progress.done = state == CLATTN_TUNE_TRYING && part < 1
                        ? search->done_before + (search->done_after - search->done_before) * part
                        : search->done_after;
    clattn__text text;
    clattn__text_init(&text, &search->context->env);
    clattn__config_describe_tuned(config, &text);
    snprintf(progress.kernel, sizeof progress.kernel, "%s", search->kernel->name);
    snprintf(progress.problem, sizeof progress.problem, "%s", class_of(search)->name);
    snprintf(progress.configuration, sizeof progress.configuration, "%s", clattn__text_get(&text));
    clattn__text_finish(&text);
    return search->request->function(search->request->user, &progress);
}

/* Problems that the kernel takes on this device, with memory. */
static clattn_status make_samples(clattn__class_search *search)
{
    const clattn__caps *caps = clattn__device_caps(search->context->device);
    clattn__problem problem;
    for (uint32_t i = 0; i < CLATTN__MOST_SAMPLES; i++) {
        clattn__text reason;
        if (!search->kernel->tunable->sample(search->problem_class, i, caps, &problem))
            break;
        clattn__text_init(&reason, &search->context->env);
        const bool accepted = clattn__kernel_accepts(search->kernel, &problem, caps, &reason);
        clattn__text_finish(&reason);
        if (!accepted)
            continue;
        CLATTN__TRY(
            clattn__sample_init(&search->sample[search->sample_count], search->context, &problem));
        search->sample_count++;
    }
    return CLATTN_OK;
}

static const clattn__tuned *find_earlier(const clattn__class_search *search, uint32_t class_index)
{
    for (uint32_t i = 0; i < search->earlier->count; i++)
        if (search->earlier->row[i].kernel == search->kernel &&
            search->earlier->row[i].problem_class == class_index)
            return &search->earlier->row[i];
    return NULL;
}

/* What planning takes without a row for this class: as built in, with the leader's bits. */
static clattn__config start_of(const clattn__class_search *search)
{
    const clattn__caps *caps = clattn__device_caps(search->context->device);
    const int32_t leading = class_of(search)->leader;
    clattn__config config = {0};
    search->kernel->configure(&search->sample[0].problem, caps, &config);
    const clattn__tuned *leader = leading < 0 ? NULL : find_earlier(search, (uint32_t)leading);
    if (leader && leader->speedup > 0)
        clattn__tuning_follow(search->kernel->tunable, caps, &leader->config, &config);
    return config;
}

static bool was_tried(const clattn__class_search *search, const clattn__config *config)
{
    for (uint32_t i = 0; i < search->tried_count; i++)
        if (clattn__config_same(&search->tried[i], config))
            return true;
    return search->tried_count == CLATTN__MOST_TRIED;
}

/* What ends the search and not just a candidate. */
static bool is_fatal(clattn_status status)
{
    return status == CLATTN_ERR_DEVICE_LOST || status == CLATTN_ERR_WRONG_PROCESS;
}

static clattn_status measure(clattn__class_search *search, const clattn__config *config)
{
    clattn__trial trial;
    double speedup;
    const clattn_status status = trial_init(search, config, false, &trial);
    if (status != CLATTN_OK) {
        clattn__log(&search->context->env, CLATTN_LOG_DISPATCH, "tuning: a candidate failed: %s",
                    clattn__message());
        return is_fatal(status) ? status : CLATTN_OK;
    }
    clattn__trial *best = search->best.plan[0] ? &search->best : &search->built_in;
    const clattn_status compared = compare(search, best, &trial, trial_care, &speedup);
    if (compared == CLATTN_OK && speedup > LEAST_STEP) {
        trial_finish(&search->best);
        search->best = trial;
    } else {
        trial_finish(&trial);
    }
    return compared;
}

static double seconds_left(const clattn__class_search *search)
{
    return search->deadline - clattn__tuner_now();
}

/* Tries the best configuration with a change. */
static clattn_status try_change(clattn__class_search *search, const clattn__config *change)
{
    const clattn__tunable *tunable = search->kernel->tunable;
    const clattn__trial *best = search->best.plan[0] ? &search->best : &search->built_in;
    clattn__config config = best->config;
    clattn__config_change(change, &config);
    if (class_of(search)->leader >= 0)
        tunable->follow(&search->built_in.config, &config);
    if (!tunable->fits(&config, clattn__device_caps(search->context->device)) ||
        was_tried(search, &config) || seconds_left(search) < search->longest)
        return CLATTN_OK;
    search->tried[search->tried_count++] = config;
    CLATTN__TRY(tell(search, CLATTN_TUNE_TRYING, &config, 1));
    const double start = clattn__tuner_now();
    CLATTN__TRY(measure(search, &config));
    const double taken = clattn__tuner_now() - start;
    search->longest = taken > search->longest ? taken : search->longest;
    return CLATTN_OK;
}

/* First what is best for other classes, then the kernel's candidates. */
static clattn_status try_all(clattn__class_search *search)
{
    const clattn__tunable *tunable = search->kernel->tunable;
    for (uint32_t i = 0; i < search->earlier->count; i++)
        if (search->earlier->row[i].kernel == search->kernel && search->earlier->row[i].speedup > 0)
            CLATTN__TRY(try_change(search, &search->earlier->row[i].config));
    for (uint32_t step = 0; step < tunable->step_count; step++)
        for (uint32_t i = 0; i < tunable->steps[step].count; i++)
            CLATTN__TRY(try_change(search, &tunable->steps[step].rows[i]));
    return CLATTN_OK;
}

/* *speedup is 0 if the best configuration doesn't prove to be faster than the built-in one. */
static clattn_status confirm(clattn__class_search *search, double *speedup)
{
    double first = 0, second = 0;
    *speedup = 0;
    if (!search->best.plan[0])
        return CLATTN_OK;
    CLATTN__TRY(compare(search, &search->built_in, &search->best, final_care, &first));
    if (first > LEAST_SPEEDUP)
        CLATTN__TRY(compare(search, &search->built_in, &search->best, final_care, &second));
    if (second > LEAST_SPEEDUP)
        *speedup = first < second ? first : second;
    return CLATTN_OK;
}

static clattn_status search_class(clattn__class_search *search, clattn__tuned *result)
{
    CLATTN__TRY(clattn__queue_create(search->context->device, &search->queue));
    search->tried[0] = start_of(search);
    search->tried_count = 1;
    CLATTN__TRY(tell(search, CLATTN_TUNE_TRYING, &search->tried[0], 1));
    const double start = clattn__tuner_now();
    CLATTN__TRY(trial_init(search, &search->tried[0], true, &search->built_in));
    search->longest = clattn__tuner_now() - start;
    CLATTN__TRY(try_all(search));
    CLATTN__TRY(confirm(search, &result->speedup));
    const clattn__trial *won = result->speedup > 0 ? &search->best : &search->built_in;
    result->kernel = search->kernel;
    result->problem_class = search->problem_class;
    result->config = won->config;
    return tell(search, result->speedup > 0 ? CLATTN_TUNE_FASTER : CLATTN_TUNE_BUILT_IN,
                &won->config, result->speedup > 0 ? result->speedup : 1);
}

clattn_status clattn__class_search_run(clattn__class_search *search, clattn__tuned *result,
                                       bool *searched)
{
    search->start = clattn__tuner_now();
    clattn_status status = make_samples(search);
    *searched = search->sample_count > 0;
    if (status == CLATTN_OK && *searched)
        status = search_class(search, result);
    trial_finish(&search->best);
    trial_finish(&search->built_in);
    for (uint32_t i = 0; i < search->sample_count; i++)
        clattn__sample_finish(&search->sample[i]);
    clattn__queue_destroy(search->queue);
    return status;
}
