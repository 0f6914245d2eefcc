/* Walks the registry in order of preference. */
#include "plan/select_kernel.h"

#include <string.h>

/* Whether the kernel may be used at all; a sentence in `reason` if not. */
static bool accepts(const clattn_context *context, const clattn__kernel *kernel,
                    const clattn__problem *problem, clattn__text *reason)
{
    if (context->env.kernel && strcmp(context->env.kernel, kernel->name) != 0) {
        clattn__text_add(reason, "only the kernel %s was asked for", context->env.kernel);
        return false;
    }
    return kernel->check(problem, clattn__device_caps(context->device), reason);
}

static clattn_status get_program(clattn_context *context, clattn__selection *selection)
{
    clattn__text macros, label;
    clattn__text_init(&macros, &context->env);
    clattn__text_init(&label, &context->env);
    clattn__config_macros(&selection->variant.config, &macros);
    clattn__text_add(&label, "%s ", selection->kernel->name);
    clattn__config_describe(&selection->variant.config, &label);
    clattn_status status = clattn__text_status(&macros);
    if (status == CLATTN_OK)
        status = clattn__text_status(&label);
    if (status == CLATTN_OK) {
        const clattn__program_request request = {
            .files = selection->variant.file,
            .file_count = selection->variant.file_count,
            .macros = clattn__text_get(&macros),
            .label = clattn__text_get(&label),
        };
        status = clattn__program_get(context->device, &request, &selection->program,
                                     &selection->from_cache);
    }
    clattn__text_finish(&label);
    clattn__text_finish(&macros);
    return status;
}

/* A program that does not build makes its kernel decline, unless the caller wants exactly this one
 * or is working on the .cl files. */
static bool may_fall_back(const clattn_context *context, clattn_status status)
{
    return status == CLATTN_ERR_BUILD && !context->env.kernel && !context->env.kernel_dir;
}

static void decline(clattn_context *context, const clattn__kernel *kernel, const char *why,
                    clattn__text *declined)
{
    clattn__text_add(declined, "%s declined: %s\n", kernel->name, why);
    clattn__log(&context->env, CLATTN_LOG_DISPATCH, "%s declined: %s", kernel->name, why);
}

static clattn_status try_kernel(clattn_context *context, const clattn__kernel *kernel,
                                const clattn__problem *problem, clattn__text *declined,
                                clattn__selection *selection)
{
    clattn__text reason;
    clattn__text_init(&reason, &context->env);
    const bool accepted = accepts(context, kernel, problem, &reason);
    if (!accepted)
        decline(context, kernel, clattn__text_get(&reason), declined);
    const clattn_status memory = clattn__text_status(&reason);
    clattn__text_finish(&reason);
    CLATTN__TRY(memory);
    if (!accepted)
        return CLATTN_ERR_UNSUPPORTED;
    selection->kernel = kernel;
    clattn__kernel_make_variant(kernel, problem, clattn__device_caps(context->device),
                                &selection->variant);
    const clattn_status status = get_program(context, selection);
    if (!may_fall_back(context, status))
        return status;
    decline(context, kernel, clattn__message(), declined);
    return CLATTN_ERR_UNSUPPORTED;
}

clattn_status clattn__select_kernel(clattn_context *context, const clattn__problem *problem,
                                    clattn__text *declined, clattn__selection *selection)
{
    for (uint32_t i = 0; i < clattn__kernel_count(); i++) {
        clattn__selection made = {0};
        const clattn_status status =
            try_kernel(context, clattn__kernel_get(i), problem, declined, &made);
        if (status == CLATTN_OK)
            *selection = made;
        if (status != CLATTN_ERR_UNSUPPORTED)
            return status;
    }
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
