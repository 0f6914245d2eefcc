/* Programs in memory: found again by what was asked for, made by program_build.c. */
#include "opencl/program.h"

#include <string.h>

#include "base/text.h"
#include "opencl/program_build.h"

static clattn_status hash_request(const clattn__env *env, const clattn__program_request *request,
                                  clattn__hash *hash)
{
    clattn__text text;
    clattn__text_init(&text, env);
    for (uint32_t i = 0; i < request->sources.file_count; i++)
        clattn__text_add(&text, "%s\n", request->sources.files[i]);
    for (uint32_t i = 0; i < request->sources.text_count; i++)
        if (request->sources.texts[i].text)
            clattn__text_add(&text, "%s\n%s\n", request->sources.texts[i].name,
                             request->sources.texts[i].text);
    clattn__text_add(&text, "%s", request->macros);
    const clattn_status status = clattn__text_status(&text);
    if (status == CLATTN_OK)
        *hash = clattn__hash_bytes(clattn__text_get(&text), text.size);
    clattn__text_finish(&text);
    return status;
}

static clattn__program *find(const clattn__device *device, clattn__hash request)
{
    clattn__program *at = device->programs;
    while (at && !clattn__hash_equal(at->request, request))
        at = at->next;
    return at;
}

static void free_program(clattn__program *program)
{
    clattn__device *device = program->device;
    while (program->functions) {
        clattn__function *function = program->functions;
        program->functions = function->next;
        device->cl.clReleaseKernel(function->kernel);
        clattn__mutex_finish(&function->lock);
        clattn__free(device->env, function);
    }
    if (program->program)
        device->cl.clReleaseProgram(program->program);
    clattn__mutex_finish(&program->lock);
    clattn__free(device->env, program->label);
    clattn__free(device->env, program);
}

static clattn_status create(clattn__device *device, clattn__hash hash,
                            const clattn__program_request *request, clattn__program **program)
{
    clattn__program *made = clattn__alloc_array(device->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    const clattn_status locked = clattn__mutex_init(&made->lock);
    if (locked != CLATTN_OK) {
        clattn__free(device->env, made);
        return locked;
    }
    made->device = device;
    made->request = hash;
    atomic_init(&made->ready, !device->caps.lazy_compile);
    made->label = clattn__copy_text(device->env, request->label);
    const clattn_status status =
        made->label ? clattn__program_build(made, request) : CLATTN_ERR_OUT_OF_MEMORY;
    if (status != CLATTN_OK)
        free_program(made);
    else
        *program = made;
    return status;
}

static clattn_status get_locked(clattn__device *device, const clattn__program_request *request,
                                clattn__program **program, bool *from_cache)
{
    clattn__hash hash;
    CLATTN__TRY(hash_request(device->env, request, &hash));
    clattn__program *found = find(device, hash);
    const bool known = found != NULL;
    if (!known) {
        CLATTN__TRY(create(device, hash, request, &found));
        found->next = device->programs;
        device->programs = found;
    }
    if (from_cache)
        *from_cache = known || !found->built;
    *program = found;
    return CLATTN_OK;
}

clattn_status clattn__program_get(clattn__device *device, const clattn__program_request *request,
                                  clattn__program **program, bool *from_cache)
{
    clattn__mutex_lock(&device->program_lock);
    const clattn_status status = get_locked(device, request, program, from_cache);
    clattn__mutex_unlock(&device->program_lock);
    return status;
}

bool clattn__program_is_ready(const clattn__program *program)
{
    return atomic_load(&program->ready);
}

void clattn__program_ready(clattn__program *program)
{
    if (!atomic_exchange(&program->ready, true) && program->built)
        clattn__program_store(program);
}

static clattn_status add_function(clattn__program *program, const char *name,
                                  clattn__function **function)
{
    const clattn__device *device = program->device;
    cl_int error;
    clattn__function *made = clattn__alloc_array(device->env, 1, sizeof *made);
    if (!made)
        return CLATTN_ERR_OUT_OF_MEMORY;
    clattn_status status = CLATTN_ERR_INTERNAL;
    if (strlen(name) >= sizeof made->name) {
        clattn__fail(status, "%s: the name is too long", name);
        goto fail;
    }
    strcpy(made->name, name);
    status = clattn__mutex_init(&made->lock);
    if (status != CLATTN_OK)
        goto fail;
    made->kernel = device->cl.clCreateKernel(program->program, name, &error);
    if (!made->kernel) {
        status = clattn__cl_fail(error, "clCreateKernel");
        clattn__mutex_finish(&made->lock);
        goto fail;
    }
    made->program = program;
    made->next = program->functions;
    program->functions = made;
    *function = made;
    return CLATTN_OK;

fail:
    clattn__free(device->env, made);
    return status;
}

clattn_status clattn__program_function(clattn__program *program, const char *name,
                                       clattn__function **function)
{
    clattn_status status = CLATTN_OK;
    clattn__mutex_lock(&program->lock);
    clattn__function *at = program->functions;
    while (at && strcmp(at->name, name) != 0)
        at = at->next;
    if (at)
        *function = at;
    else
        status = add_function(program, name, function);
    clattn__mutex_unlock(&program->lock);
    return status;
}

void clattn__programs_close(clattn__device *device)
{
    while (device->programs) {
        clattn__program *program = device->programs;
        device->programs = program->next;
        free_program(program);
    }
}
