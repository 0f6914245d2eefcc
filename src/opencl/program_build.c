/* Making a program: resolve the sources, look in the cache on disk, else compile. What a build
 * depends on is in the key: sources, macros, device, driver, platform, this version. */
#include "opencl/program_build.h"

#include <string.h>

#include "base/clock.h"
#include "opencl/program_cache.h"
#include "opencl/source.h"

/* Fixed options; macros follow. Never -cl-fast-relaxed-math or -cl-finite-math-only: masks are
 * infinities. Without warnings: shapes are tried with vectors wider than the device's, of which
 * PoCL would write a line to the application's stderr. */
#define OPTIONS        "-cl-std=CL1.2 -w "
#define WIDE_REGISTERS "-cl-intel-256-GRF-per-thread "

/* What is built: one text and its options, the first bytes of which are a wish. */
typedef struct sources {
    clattn__text text, options;
    size_t wish;
} sources;

static void sources_finish(sources *from)
{
    clattn__text_finish(&from->text);
    clattn__text_finish(&from->options);
}

static clattn_status gather(const clattn__device *device, const clattn__program_request *request,
                            sources *from)
{
    const clattn__env *env = device->env;
    clattn__text_init(&from->text, env);
    clattn__text_init(&from->options, env);
    from->wish = device->caps.wide_registers && request->tiles ? strlen(WIDE_REGISTERS) : 0;
    clattn__text_add(&from->options, "%s" OPTIONS "%s%s", from->wish ? WIDE_REGISTERS : "",
                     device->caps.no_prefetch ? "-D NO_PREFETCH=1 " : "", request->macros);
    clattn_status status = clattn__text_status(&from->options);
    if (status == CLATTN_OK)
        status = clattn__source_resolve(env, &request->sources, &from->text);
    if (status == CLATTN_OK)
        status = clattn__text_status(&from->text);
    if (status != CLATTN_OK)
        sources_finish(from);
    return status;
}

static clattn_status make_key(const clattn__device *device, const sources *from, clattn__hash *key)
{
    const clattn_device_info *info = &device->info;
    clattn__text text;
    clattn__text_init(&text, device->env);
    clattn__text_add(&text, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n", clattn_version_string(),
                     info->platform, info->platform_version, info->vendor, info->name, info->driver,
                     info->opencl_c, clattn__text_get(&from->options));
    clattn__text_add_bytes(&text, clattn__text_get(&from->text), from->text.size);
    const clattn_status status = clattn__text_status(&text);
    if (status == CLATTN_OK)
        *key = clattn__hash_bytes(clattn__text_get(&text), text.size);
    clattn__text_finish(&text);
    return status;
}

/* Drivers that don't know the wish get none. */
static cl_int build(const clattn__program *program, const sources *from)
{
    const clattn__device *device = program->device;
    const char *options = clattn__text_get(&from->options);
    const cl_int error =
        device->cl.clBuildProgram(program->program, 1, &device->id, options, NULL, NULL);
    if (error != CL_INVALID_BUILD_OPTIONS || !from->wish)
        return error;
    return device->cl.clBuildProgram(program->program, 1, &device->id, options + from->wish, NULL,
                                     NULL);
}

/* The build log's first lines in one, for the message; the whole of it for the log. */
static clattn_status report_failure(const clattn__program *program, cl_int error)
{
    const clattn__device *device = program->device;
    char first[700];
    size_t size = 0, kept = 0;
    device->cl.clGetProgramBuildInfo(program->program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL,
                                     &size);
    char *log = clattn__alloc_array(device->env, size + 1, 1);
    if (log)
        device->cl.clGetProgramBuildInfo(program->program, device->id, CL_PROGRAM_BUILD_LOG, size,
                                         log, NULL);
    for (const char *at = log ? log : ""; *at && kept + 4 < sizeof first; at++) {
        if (*at == '\n' && kept && at[1]) {
            memcpy(first + kept, " | ", 3);
            kept += 3;
        } else if (*at != '\n' && *at != '\r') {
            first[kept++] = *at;
        }
    }
    first[kept] = 0;
    clattn__log(device->env, CLATTN_LOG_BUILD, "%s did not build: %s", program->label,
                log ? log : "");
    clattn__free(device->env, log);
    return clattn__fail(CLATTN_ERR_BUILD, "%s did not build on %s: %s (%d): %s", program->label,
                        device->info.name, clattn__cl_error_name(error), (int)error, first);
}

static clattn_status compile(clattn__program *program, const sources *from)
{
    const clattn__device *device = program->device;
    const char *text = clattn__text_get(&from->text);
    const size_t size = from->text.size;
    cl_int error;
    program->program = device->cl.clCreateProgramWithSource(device->context, 1,
                                                            (const char **)&text, &size, &error);
    if (!program->program)
        return clattn__cl_fail(error, "clCreateProgramWithSource");
    error = build(program, from);
    return error == CL_SUCCESS ? CLATTN_OK : report_failure(program, error);
}

/* false: the driver doesn't take the binary. */
static bool load_binary(clattn__program *program, const sources *from, const void *binary,
                        size_t size)
{
    const clattn__device *device = program->device;
    const unsigned char *bytes = binary;
    cl_int state, error;
    program->program = device->cl.clCreateProgramWithBinary(device->context, 1, &device->id, &size,
                                                            &bytes, &state, &error);
    if (!program->program)
        return false;
    error = build(program, from);
    if (state == CL_SUCCESS && error == CL_SUCCESS)
        return true;
    device->cl.clReleaseProgram(program->program);
    program->program = NULL;
    return false;
}

/* true: the program was made from what the cache has. */
static bool make_from_cache(clattn__program *program, const sources *from)
{
    const clattn__device *device = program->device;
    void *binary = NULL;
    size_t size = 0;
    if (clattn__program_cache_load(device->env, program->key, &binary, &size) != CLATTN_OK)
        return false;
    bool made = false;
    if (size > 0)
        made = load_binary(program, from, binary, size);
    else if (device->caps.driver_caches)
        made = compile(program, from) == CLATTN_OK;
    clattn__free(device->env, binary);
    if (made)
        return true;
    if (program->program)
        device->cl.clReleaseProgram(program->program);
    program->program = NULL;
    clattn__program_cache_drop(device->env, program->key);
    return false;
}

static clattn_status make_from_source(clattn__program *program, const sources *from)
{
    const clattn__device *device = program->device;
    const uint64_t start = clattn__now_ns();
    CLATTN__TRY(clattn__program_cache_begin_build(device->env, program->key));
    const clattn_status status = compile(program, from);
    if (status != CLATTN_OK) {
        clattn__program_cache_end_build(device->env, program->key);
        return status;
    }
    program->built = true;
    clattn__log(device->env, CLATTN_LOG_BUILD, "%s: built from source in %.3f s", program->label,
                (double)(clattn__now_ns() - start) * 1e-9);
    if (!device->caps.lazy_compile)
        clattn__program_store(program);
    return CLATTN_OK;
}

clattn_status clattn__program_build(clattn__program *program,
                                    const clattn__program_request *request)
{
    sources from;
    CLATTN__TRY(gather(program->device, request, &from));
    clattn_status status = make_key(program->device, &from, &program->key);
    if (status == CLATTN_OK) {
        if (make_from_cache(program, &from))
            clattn__log(program->device->env, CLATTN_LOG_BUILD, "%s: from the cache",
                        program->label);
        else
            status = make_from_source(program, &from);
    }
    sources_finish(&from);
    return status;
}

/* NULL: there is none. */
static void *get_binary(const clattn__program *program, size_t *size)
{
    const clattn__device *device = program->device;
    *size = 0;
    if (device->cl.clGetProgramInfo(program->program, CL_PROGRAM_BINARY_SIZES, sizeof *size, size,
                                    NULL) != CL_SUCCESS ||
        *size == 0)
        return NULL;
    unsigned char *binary = clattn__alloc(device->env, *size);
    if (binary && device->cl.clGetProgramInfo(program->program, CL_PROGRAM_BINARIES, sizeof binary,
                                              &binary, NULL) == CL_SUCCESS)
        return binary;
    clattn__free(device->env, binary);
    return NULL;
}

void clattn__program_store(clattn__program *program)
{
    const clattn__device *device = program->device;
    clattn__cached_program entry = {.device = device->info.name, .label = program->label};
    void *binary = NULL;
    clattn__program_cache_end_build(device->env, program->key);
    if (!device->caps.driver_caches) {
        binary = get_binary(program, &entry.binary_size);
        if (!binary)
            return;
        entry.binary = binary;
    }
    clattn__program_cache_store(device->env, program->key, &entry);
    clattn__free(device->env, binary);
}
