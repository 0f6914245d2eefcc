/* The wrappers around the real OpenCL library. */
#include "faulty_opencl.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

typedef void(any_function)(void);

typedef enum object_kind { CONTEXT, QUEUE, MEMORY, PROGRAM, KERNEL, EVENT, KINDS } object_kind;
static const char *const kind_names[KINDS] = {"context", "queue",  "memory",
                                              "program", "kernel", "event"};
static atomic_long live[KINDS];

enum {
#define CALL_INDEX(kind, outcome, name, params, args) CALL_##name,
    FAULTY_CALLS(CALL_INDEX) CALLS
#undef CALL_INDEX
};

static any_function *real[CALLS];

static const char *fault_function; /* NULL: nothing fails */
static uint32_t fault_call;
static cl_int fault_error;
static atomic_uint fault_seen; /* calls of the function so far */
static atomic_bool fired;
static const char *hidden;
static char unwrapped[64];
static atomic_bool lost;

static bool fails(const char *name)
{
    if (!fault_function || strcmp(fault_function, name) != 0)
        return false;
    const uint32_t call = atomic_fetch_add(&fault_seen, 1) + 1;
    if (fault_call != 0 && call != fault_call)
        return false;
    atomic_store(&fired, true);
    return true;
}

static cl_int counted(object_kind kind, cl_int status, long change)
{
    if (status == CL_SUCCESS)
        atomic_fetch_add(&live[kind], change);
    return status;
}

/* What an event says of itself on a device that is lost. */
static void lose_event(cl_event_info info, void *value)
{
    const cl_int failed = CL_OUT_OF_RESOURCES;
    if (atomic_load(&lost) && info == CL_EVENT_COMMAND_EXECUTION_STATUS && value)
        memcpy(value, &failed, sizeof failed);
}

#define REAL(type, name, params, args) ((type(CL_API_CALL *) params)real[CALL_##name]) args

#define WRAP_STATUS(name, params, args)                                                            \
    static cl_int CL_API_CALL faulty_##name params                                                 \
    {                                                                                              \
        return fails(#name) ? fault_error : REAL(cl_int, name, params, args);                      \
    }
#define WRAP_WAIT(name, params, args)                                                              \
    static cl_int CL_API_CALL faulty_##name params                                                 \
    {                                                                                              \
        const cl_int status = REAL(cl_int, name, params, args);                                    \
        if (atomic_load(&lost))                                                                    \
            return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;                                   \
        return fails(#name) ? fault_error : status;                                                \
    }
#define WRAP_ENQUEUE(name, params, args)                                                           \
    static cl_int CL_API_CALL faulty_##name params                                                 \
    {                                                                                              \
        if (fails(#name))                                                                          \
            return fault_error;                                                                    \
        return counted(EVENT, REAL(cl_int, name, params, args), event != NULL);                    \
    }
#define WRAP_COUNT(name, params, args, kind, change)                                               \
    static cl_int CL_API_CALL faulty_##name params                                                 \
    {                                                                                              \
        if (change > 0 && fails(#name))                                                            \
            return fault_error;                                                                    \
        const cl_int status = counted(kind, REAL(cl_int, name, params, args), change);             \
        return change < 0 && fails(#name) ? fault_error : status;                                  \
    }
#define WRAP_RETAIN_CONTEXT(name, params, args)  WRAP_COUNT(name, params, args, CONTEXT, 1)
#define WRAP_RETAIN_QUEUE(name, params, args)    WRAP_COUNT(name, params, args, QUEUE, 1)
#define WRAP_RETAIN_MEMORY(name, params, args)   WRAP_COUNT(name, params, args, MEMORY, 1)
#define WRAP_RETAIN_PROGRAM(name, params, args)  WRAP_COUNT(name, params, args, PROGRAM, 1)
#define WRAP_RETAIN_KERNEL(name, params, args)   WRAP_COUNT(name, params, args, KERNEL, 1)
#define WRAP_RETAIN_EVENT(name, params, args)    WRAP_COUNT(name, params, args, EVENT, 1)
#define WRAP_RELEASE_CONTEXT(name, params, args) WRAP_COUNT(name, params, args, CONTEXT, -1)
#define WRAP_RELEASE_QUEUE(name, params, args)   WRAP_COUNT(name, params, args, QUEUE, -1)
#define WRAP_RELEASE_MEMORY(name, params, args)  WRAP_COUNT(name, params, args, MEMORY, -1)
#define WRAP_RELEASE_PROGRAM(name, params, args) WRAP_COUNT(name, params, args, PROGRAM, -1)
#define WRAP_RELEASE_KERNEL(name, params, args)  WRAP_COUNT(name, params, args, KERNEL, -1)
#define WRAP_RELEASE_EVENT(name, params, args)   WRAP_COUNT(name, params, args, EVENT, -1)

#define WRAP_NEW(type, name, params, args, kind, change)                                           \
    static type CL_API_CALL faulty_##name params                                                   \
    {                                                                                              \
        if (fails(#name)) {                                                                        \
            if (error)                                                                             \
                *error = fault_error;                                                              \
            return NULL;                                                                           \
        }                                                                                          \
        const type object = REAL(type, name, params, args);                                        \
        (void)counted(kind, object ? CL_SUCCESS : CL_INVALID_VALUE, change);                       \
        return object;                                                                             \
    }
#define WRAP_NEW_CONTEXT(name, params, args) WRAP_NEW(cl_context, name, params, args, CONTEXT, 1)
#define WRAP_NEW_QUEUE(name, params, args)   WRAP_NEW(queue, name, params, args, QUEUE, 1)
#define WRAP_NEW_MEMORY(name, params, args)  WRAP_NEW(cl_mem, name, params, args, MEMORY, 1)
#define WRAP_NEW_PROGRAM(name, params, args) WRAP_NEW(cl_program, name, params, args, PROGRAM, 1)
#define WRAP_NEW_KERNEL(name, params, args)  WRAP_NEW(cl_kernel, name, params, args, KERNEL, 1)
#define WRAP_NEW_EVENT(name, params, args)   WRAP_NEW(cl_event, name, params, args, EVENT, 1)
#define WRAP_NEW_MAPPING(name, params, args)                                                       \
    WRAP_NEW(pointer, name, params, args, EVENT, event != NULL)
typedef void *pointer;
typedef cl_command_queue queue;

#define WRAP(kind, outcome, name, params, args) WRAP_##kind(name, params, args)
FAULTY_CALLS(WRAP)
#undef WRAP

/* clGetEventInfo once more: a lost device shows in what events say. */
static cl_int CL_API_CALL lossy_clGetEventInfo(cl_event event, cl_event_info info, size_t size,
                                               void *value, size_t *size_out)
{
    const cl_int status = faulty_clGetEventInfo(event, info, size, value, size_out);
    if (status == CL_SUCCESS)
        lose_event(info, value);
    return status;
}

static const struct {
    const char *name;
    any_function *wrapper;
} wrappers[CALLS] = {
#define ROW(kind, outcome, name, params, args) {#name, (any_function *)faulty_##name},
    FAULTY_CALLS(ROW)
#undef ROW
};

/* ISO C has no conversion between pointers to functions and to objects; POSIX gives both the same
 * form. */
static void *as_pointer(any_function *function)
{
    void *result = NULL;
    memcpy(&result, &function, sizeof result);
    return result;
}

static void *real_proc(const char *name)
{
    static void *library;
    if (!library)
        library = dlopen("libOpenCL.so.1", RTLD_NOW);
    return library ? dlsym(library, name) : NULL;
}

void *faulty_get_proc(void *user, const char *name)
{
    (void)user;
    void *const found = real_proc(name);
    if (!found || (hidden && (hidden[0] == '\0' || strcmp(hidden, name) == 0)))
        return NULL;
    for (size_t i = 0; i < COUNT(wrappers); i++) {
        if (strcmp(wrappers[i].name, name) != 0)
            continue;
        memcpy(&real[i], &found, sizeof found);
        return i == CALL_clGetEventInfo ? as_pointer((any_function *)lossy_clGetEventInfo)
                                        : as_pointer(wrappers[i].wrapper);
    }
    if (strncmp(name, "clGetExtensionFunctionAddress", 29) != 0)
        strncpy(unwrapped, name, sizeof unwrapped - 1);
    return found;
}

void faulty_set(const char *function, uint32_t call, cl_int error)
{
    fault_function = function;
    fault_call = call;
    fault_error = error;
    atomic_store(&fault_seen, 0);
    atomic_store(&fired, false);
}

void faulty_clear(void)
{
    faulty_set(NULL, 0, CL_SUCCESS);
    hidden = NULL;
    atomic_store(&lost, false);
}

void faulty_hide(const char *function)
{
    hidden = function;
}

void faulty_lose_device(void)
{
    atomic_store(&lost, true);
}

bool faulty_fired(void)
{
    return atomic_load(&fired);
}

long faulty_live(const char **kind)
{
    long total = 0;
    for (int i = 0; i < KINDS; i++) {
        const long count = atomic_load(&live[i]);
        if (count != 0 && total == 0 && kind)
            *kind = kind_names[i];
        total += count < 0 ? -count : count;
    }
    return total;
}

const char *faulty_unwrapped(void)
{
    return unwrapped[0] ? unwrapped : NULL;
}
