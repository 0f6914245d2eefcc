/* Walks the registry in order of preference. */
#include "plan/select_kernel.h"

#include <string.h>

#include "plan/user_text.h"

/* What the walk through the registry is for. */
typedef struct walk {
    clattn_context *context;
    const clattn__problem *problem;
    const clattn__functions *functions;
    clattn__text *declined;
} walk;

/* Whether the caller's choice of kernels is about this kind of operation. */
static bool is_for(const char *names, clattn__kind kind)
{
    for (uint32_t i = 0; names && i < clattn__kernel_count(); i++)
        if (clattn__kernel_get(i)->kind == kind &&
            clattn__kernel_is_in(clattn__kernel_get(i), names))
            return true;
    return false;
}

/* Whether the kernel may be used at all; a sentence in `reason` if not. */
static bool accepts(const walk *for_what, const clattn__kernel *kernel, clattn__text *reason)
{
    const clattn_context *context = for_what->context;
    if (is_for(context->env.kernel, kernel->kind) &&
        !clattn__kernel_is_in(kernel, context->env.kernel)) {
        clattn__text_add(reason, "only the kernel %s was asked for", context->env.kernel);
        return false;
    }
    return clattn__kernel_accepts(kernel, for_what->problem, clattn__device_caps(context->device),
                                  reason);
}

static const char *const score_names[] = {"score", "score_vector", NULL};
static const char *const gradient_names[] = {"score_gradient", "score_gradient_vector", NULL};
static const char *const mask_names[] = {"visible", "visible_vector", "visible_tile", NULL};

static clattn_status request_program(const walk *for_what, const clattn__launch *launch,
                                     const char *macros, const char *label,
                                     clattn__selection *selection, uint32_t index)
{
    const clattn__functions *own = for_what->functions;
    const clattn__source_text texts[] = {
        {"score_function", launch->config.score_function ? own->score : NULL, score_names},
        {"score_gradient", launch->config.score_gradient ? own->score_gradient : NULL,
         gradient_names},
        {"mask_function", launch->config.mask_function ? own->mask : NULL, mask_names},
    };
    const clattn__program_request request = {
        .sources = {texts, sizeof texts / sizeof texts[0], &launch->file, 1},
        .macros = macros,
        .label = label,
        .tiles = launch->config.rows > 0 && launch->config.group_size > 1,
    };
    bool from_cache;
    CLATTN__TRY(clattn__program_get(for_what->context->device, &request, &selection->program[index],
                                    &from_cache));
    selection->from_cache = selection->from_cache && from_cache;
    return CLATTN_OK;
}

static clattn_status get_program(const walk *for_what, clattn__selection *selection, uint32_t index)
{
    const clattn__launch *launch = &selection->variant.launch[index];
    clattn__text macros, label;
    clattn__text_init(&macros, &for_what->context->env);
    clattn__text_init(&label, &for_what->context->env);
    clattn__config_macros(&launch->config, &macros);
    clattn__text_add(&label, "%s ", launch->function);
    clattn__config_describe(&launch->config, &label);
    clattn_status status = clattn__text_status(&macros);
    if (status == CLATTN_OK)
        status = clattn__text_status(&label);
    if (status == CLATTN_OK)
        status = request_program(for_what, launch, clattn__text_get(&macros),
                                 clattn__text_get(&label), selection, index);
    clattn__text_finish(&label);
    clattn__text_finish(&macros);
    return status;
}

static clattn_status get_programs(const walk *for_what, clattn__selection *selection)
{
    selection->from_cache = true;
    for (uint32_t i = 0; i < selection->variant.launch_count; i++)
        CLATTN__TRY(get_program(for_what, selection, i));
    return CLATTN_OK;
}

/* A program that does not build makes its kernel decline, unless the caller wants exactly this one,
 * is working on the .cl files, or has texts of his own in it. */
static bool may_fall_back(const walk *for_what, clattn_status status)
{
    const clattn__env *env = &for_what->context->env;
    return status == CLATTN_ERR_BUILD && !env->kernel && !env->kernel_dir &&
           !for_what->functions->score && !for_what->functions->mask;
}

static void decline(const walk *for_what, const clattn__kernel *kernel, const char *why)
{
    clattn__text_add(for_what->declined, "%s declined: %s\n", kernel->name, why);
    clattn__log(&for_what->context->env, CLATTN_LOG_DISPATCH, "%s declined: %s", kernel->name, why);
}

/* Says which function a text lacks, if it does. */
static clattn_status name_missing(const char *argument, const char *missing)
{
    if (!missing)
        return CLATTN_OK;
    return clattn__fail(CLATTN_ERR_BUILD, "%s: the text defines no function `%s`: %s", argument,
                        missing, clattn__message());
}

/* What fails with the caller's texts in it is most likely theirs. */
static clattn_status name_texts(const walk *for_what, clattn_status status)
{
    const char *score = for_what->functions->score, *mask = for_what->functions->mask;
    const char *gradient = for_what->functions->score_gradient;
    if (status != CLATTN_ERR_BUILD || (!score && !mask))
        return status;
    if (score)
        CLATTN__TRY(name_missing("score_function", clattn__user_text_score_lacks(score)));
    if (gradient)
        CLATTN__TRY(name_missing("score_gradient", clattn__user_text_gradient_lacks(gradient)));
    if (mask)
        CLATTN__TRY(name_missing("mask_function", clattn__user_text_mask_lacks(mask)));
    return clattn__fail(status, "%s%s%s%s: %s", score ? "score_function" : "",
                        gradient ? ", score_gradient" : "", score && mask ? ", " : "",
                        mask ? "mask_function" : "", clattn__message());
}

static clattn_status try_kernel(const walk *for_what, const clattn__kernel *kernel,
                                clattn__selection *selection)
{
    clattn_context *context = for_what->context;
    clattn__text reason;
    clattn__text_init(&reason, &context->env);
    const bool accepted = accepts(for_what, kernel, &reason);
    if (!accepted)
        decline(for_what, kernel, clattn__text_get(&reason));
    const clattn_status memory = clattn__text_status(&reason);
    clattn__text_finish(&reason);
    CLATTN__TRY(memory);
    if (!accepted)
        return CLATTN_ERR_UNSUPPORTED;
    const clattn__caps *caps = clattn__device_caps(context->device);
    clattn__config config = {0};
    kernel->configure(for_what->problem, caps, &config);
    selection->kernel = kernel;
    selection->origin = clattn__tuning_apply(context->tuning, &context->env, kernel,
                                             for_what->problem, caps, &config);
    clattn__kernel_make_variant(kernel, for_what->problem, caps, &config, &selection->variant);
    const clattn_status status = get_programs(for_what, selection);
    if (!may_fall_back(for_what, status))
        return name_texts(for_what, status);
    decline(for_what, kernel, clattn__message());
    return CLATTN_ERR_UNSUPPORTED;
}

/* Tells that all have declined. */
static clattn_status fail_declined(clattn__text *declined)
{
    CLATTN__TRY(clattn__text_status(declined));
    char why[768];
    size_t size = 0;
    for (const char *text = clattn__text_get(declined); *text && size + 3 < sizeof why; text++) {
        if (*text == '\n' && text[1])
            why[size++] = ';';
        why[size++] = *text == '\n' ? ' ' : *text;
    }
    why[size] = 0;
    return clattn__fail(CLATTN_ERR_UNSUPPORTED, "no kernel accepts the problem: %s", why);
}

clattn_status clattn__select_kernel(clattn_context *context, const clattn__problem *problem,
                                    const clattn__functions *functions, clattn__text *declined,
                                    clattn__selection *selection)
{
    const walk for_what = {context, problem, functions, declined};
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        clattn__selection made = {0};
        if ((uint32_t)clattn__kernel_get(i)->kind != problem->kind)
            continue;
        const clattn_status status = try_kernel(&for_what, clattn__kernel_get(i), &made);
        if (status == CLATTN_OK)
            *selection = made;
        if (status != CLATTN_ERR_UNSUPPORTED)
            return status;
    }
    return fail_declined(declined);
}

clattn_status clattn__select_as(clattn_context *context, const clattn__problem *problem,
                                const clattn__kernel *kernel, const clattn__config *config,
                                clattn__selection *selection)
{
    static const clattn__functions none = {NULL, NULL, NULL};
    const walk for_what = {context, problem, &none, NULL};
    clattn__selection made = {.kernel = kernel};
    clattn__kernel_make_variant(kernel, problem, clattn__device_caps(context->device), config,
                                &made.variant);
    CLATTN__TRY(get_programs(&for_what, &made));
    *selection = made;
    return CLATTN_OK;
}
