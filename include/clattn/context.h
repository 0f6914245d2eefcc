/* clattn: contexts and devices, and what contexts keep on disk: compiled programs and tuning. Part
 * of clattn/clattn.h. */
#ifndef CLATTN_CONTEXT_H
#define CLATTN_CONTEXT_H

#include <clattn/status.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Context and devices
 * --------------------------------------------------------------------------------------------- */

/* A device, or several, with programs, program cache, memory and log. Any thread may use it. */
typedef struct clattn_context clattn_context;

typedef enum clattn_log_area {
    CLATTN_LOG_DISPATCH = 1, /* which kernel was chosen, and why others declined */
    CLATTN_LOG_BUILD = 2,    /* programs: built, taken from the cache, dropped */
    CLATTN_LOG_EXEC = 4      /* launches and transfers */
} clattn_log_area;

/* Returns the address of the OpenCL function `name`, NULL where it has none. */
typedef void *(*clattn_get_proc_fn)(void *user, const char *name);
/* Receives one line without a newline. May be called from any thread that calls clattn. */
typedef void (*clattn_log_fn)(void *user, clattn_log_area area, const char *line);
/* Like realloc(): pointer NULL allocates, size 0 frees and returns NULL. Thread-safe. */
typedef void *(*clattn_realloc_fn)(void *user, void *pointer, size_t size);

/* The caller's own store of compiled programs, in the place of files. `key` is 32 hexadecimal
 * digits and a 0. Both functions may be called from any thread that calls clattn, from several at
 * the same time, and must not call clattn themselves.
 *
 * load: has the store something under `key`, call receive(receiver, bytes, size) once, before load
 * returns; the bytes are copied and stay the store's. Else don't call it: the program is built.
 * What comes back need not be trusted to be whole: anything that isn't what was stored under this
 * key is found by its checksum, and the program is built again. The checksum is no signature: a
 * stranger who can write to the store can have his code run.
 *
 * store: keep `size` bytes under `key`, in the place of what was there. They are valid until store
 * returns. A store that fails keeps it to itself: the program will be built again. */
typedef void (*clattn_cache_receive_fn)(void *receiver, const void *bytes, size_t size);
typedef void (*clattn_cache_load_fn)(void *user, const char *key, clattn_cache_receive_fn receive,
                                     void *receiver);
typedef void (*clattn_cache_store_fn)(void *user, const char *key, const void *bytes, size_t size);

enum { /* clattn_context_options.flags */
       CLATTN_CONTEXT_NO_PROGRAM_CACHE =
           1,                        /* keep no compiled programs, look for none nor for tuning */
       CLATTN_CONTEXT_NO_TUNING = 2, /* use built-in configurations alone: clattn_tune */
       CLATTN_CONTEXT_SLEEPY_WAITS = 4, /* a wait sleeps at once. Without this, one on a CPU device
                                           whose own threads do the work looks again and again for
                                           up to 1 ms first, in turns with other threads of the
                                           core: waking up would take 20 us or more */
       CLATTN_CONTEXT_CLEAR_MEMORY = 8  /* memory that the library hands out again is filled with
                                           zeros first: scratch memory and copies of host arrays
                                           when the event of what used them is done, buffers when
                                           they are destroyed and nothing in flight has them. The
                                           caller's own memory, and a caller's workspace, are the
                                           caller's to clear. See docs/dispatcher.md */
};

typedef struct clattn_context_options {
    uint32_t struct_size;
    uint32_t flags;         /* CLATTN_CONTEXT_*, or-ed */
    const char *device;     /* selectors, see clattn_context_create; NULL: CLATTN_DEVICE, or best */
    const char *cache_dir;  /* NULL: CLATTN_CACHE_DIR, or the user's cache folder + "/clattn" */
    const char *kernel;     /* use only the kernel of this name for its operation, or, separated by
                               commas, those of these names; NULL: all kernels;
                               CLATTN_ERR_ARGUMENT for a name that clattn_kernel_name hasn't */
    const char *kernel_dir; /* read .cl files here; NULL: CLATTN_KERNEL_DIR, or the built-in ones */
    clattn_get_proc_fn get_proc; /* NULL: the system's OpenCL library, CLATTN_OPENCL_LIBRARY */
    void *get_proc_user;
    clattn_realloc_fn realloc; /* NULL: the C library's; must outlive what is made with it */
    void *realloc_user;
    clattn_log_fn log; /* NULL: no log; CLATTN_VERBOSE prints on stderr in either case */
    void *log_user;
    clattn_cache_load_fn cache_load;   /* with one of the two, or both, cache_dir is not used and */
    clattn_cache_store_fn cache_store; /* no file is read or written; NULL: never found, not kept */
    void *cache_user;
    /* 2 to 16: divide the device into this many parts (clCreateSubDevices), as equal as its compute
     * units allow, so that a dispatcher can have a lane on each: clattn_dispatcher_options.lanes.
     * They share memory and programs. CLATTN_ERR_UNSUPPORTED where the device can't. 0 or 1: it
     * stays whole. Not for clattn_context_create_from_cl. */
    uint32_t parts;
    uint32_t reserved; /* 0 */
} clattn_context_options;

static inline void clattn_context_options_init(clattn_context_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
}

/* Opens OpenCL and one device. The selector is
 *    "cpu", "gpu", "accelerator"   the best device of this type
 *    "2"                           the device of this index, in the order of clattn_device_list
 *    "platform/device"             substrings of both names (case is ignored)
 *    "text"                        a substring of the device's or the platform's name
 * Devices that say of themselves that they are not available, or have no compiler, don't count.
 *
 * Several selectors with '+' between them, or "all", make a context of several devices, of any
 * platforms (16 at most): each selector takes the best device that fits and no other one has. (An
 * index is exact; the same device twice is two of them, which serves tests.) Plans are made for all
 * of them, a dispatcher has a lane on each, and buffers are host memory, which devices that share
 * it work on themselves; to others it is copied, and back. The one-call form uses the first device.
 * `options` may be NULL. CLATTN_ERR_NO_OPENCL, _NO_PLATFORM and _NO_DEVICE say what to install. */
CLATTN_API clattn_status clattn_context_create(const clattn_context_options *options,
                                               clattn_context **context);

/* Waits for what the context still does, then frees it. CLATTN_ERR_BUSY, and nothing is freed,
 * while plans, buffers, dispatchers or events of it exist. */
CLATTN_API clattn_status clattn_context_destroy(clattn_context *context);

typedef enum clattn_device_type {
    CLATTN_DEVICE_CPU = 1,
    CLATTN_DEVICE_GPU = 2,
    CLATTN_DEVICE_ACCELERATOR = 3,
    CLATTN_DEVICE_OTHER = 4
} clattn_device_type;

/* Texts are UTF-8, end with 0, and are cut where they don't fit. */
typedef struct clattn_device_info {
    uint32_t struct_size;
    clattn_device_type type;
    char name[128];
    char platform[128];
    char vendor[128];
    char driver[128];           /* driver version */
    char platform_version[128]; /* "OpenCL 3.0 ..." */
    char opencl_c[64];          /* "OpenCL C 1.2 ..." */
    char family[16];            /* kernel family: "simd" or "tile" */
    uint32_t compute_units;
    uint32_t vector_width;   /* native float vector, elements, at least 1 */
    uint64_t local_memory;   /* bytes */
    uint64_t global_memory;  /* bytes */
    uint64_t max_allocation; /* bytes */
    uint64_t max_work_group; /* work-items */
    uint32_t clock_mhz;      /* 0: unknown */
    uint8_t fp16, fp64;      /* 1: arithmetic in this type */
    uint8_t subgroups;       /* 1: cl_khr_subgroups or OpenCL C's own */
    uint8_t unified_memory;  /* 1: device and host share memory */
    /* 1: work on it failed, and it did not answer any more; a dispatcher that is created asks it
     * again. Of a context's device alone. */
    uint32_t lost;
    uint32_t reserved; /* 0 */
} clattn_device_info;

/* Writes up to `capacity` devices, in the order of platforms and devices, and their whole number
 * to *count. With options->device only those that fit the selector. `infos` may be NULL with
 * capacity 0; infos[i].struct_size need not be set. Any thread. */
CLATTN_API clattn_status clattn_device_list(const clattn_context_options *options,
                                            clattn_device_info *infos, uint32_t capacity,
                                            uint32_t *count);

/* The (first) device of a context. info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_context_device_info(clattn_context *context,
                                                    clattn_device_info *info);
/* How many devices it has, 0 for NULL; and the one of this index, in the order of their selectors.
 * CLATTN_ERR_ARGUMENT where the index is not below the count, or info->struct_size is not set. */
CLATTN_API uint32_t clattn_context_device_count(const clattn_context *context);
CLATTN_API clattn_status clattn_context_get_device(clattn_context *context, uint32_t index,
                                                   clattn_device_info *info);

typedef struct clattn_device_measurement {
    uint32_t struct_size;
    uint32_t reserved;
    double fma_gflops;  /* fp32 multiply-adds, 2 operations each, all compute units, 1e9/s */
    double read_gbytes; /* reading global memory, 1e9 bytes/s */
    double launch_us;   /* one empty kernel, enqueue to finish, microseconds */
    double enqueue_us;  /* one of many empty kernels in a row, microseconds */
} clattn_device_measurement;

/* Measures the context's device: about a second. measurement->struct_size must be set. */
CLATTN_API clattn_status clattn_device_measure(clattn_context *context,
                                               clattn_device_measurement *measurement);

/* The kernels of the registry, in order of preference; NULL from `count` on. Any thread. */
CLATTN_API uint32_t clattn_kernel_count(void);
CLATTN_API const char *clattn_kernel_name(uint32_t index);

/* ------------------------------------------------------------------------------------------------
 * Program cache on disk
 * --------------------------------------------------------------------------------------------- */

typedef struct clattn_program_entry {
    uint32_t struct_size;
    uint32_t valid; /* 0: damaged, foreign, or of another version: will be rebuilt */
    char key[33];   /* 128 bits, hexadecimal; the file's stem */
    char device[128];
    char label[128]; /* kernels and macros */
    char state[128]; /* "ok", or why it is not valid */
    uint64_t size;   /* bytes on disk */
} clattn_program_entry;

/* Called for every entry; a status other than CLATTN_OK ends the walk and is returned. */
typedef clattn_status (*clattn_program_fn)(void *user, const clattn_program_entry *entry);

/* Walks the cache that a context with these options would use, checking each entry's checksum.
 * Opens no OpenCL. A folder that doesn't exist is an empty cache. Here and in the next two
 * functions options with cache_load or cache_store are CLATTN_ERR_UNSUPPORTED. */
CLATTN_API clattn_status clattn_program_cache_list(const clattn_context_options *options,
                                                   clattn_program_fn function, void *user);

/* Removes all entries, or only the invalid ones; *removed counts them and may be NULL. */
CLATTN_API clattn_status clattn_program_cache_clear(const clattn_context_options *options,
                                                    uint32_t only_invalid, uint32_t *removed);

/* The folder of that cache, into `path`; CLATTN_ERR_ARGUMENT if capacity is too small. */
CLATTN_API clattn_status clattn_program_cache_path(const clattn_context_options *options,
                                                   char *path, size_t capacity);

/* ------------------------------------------------------------------------------------------------
 * Tuning
 * --------------------------------------------------------------------------------------------- */

/* Every kernel has a built-in configuration for a device, chosen by what the device says about
 * itself. Tuning measures others, and keeps those that are faster in a file beside the program
 * cache, tuning.txt, from where contexts made later on the same device and driver take them. See
 * docs/tuning.md. */

typedef struct clattn_tune_options {
    uint32_t struct_size;
    uint32_t quick; /* 1: only the classes of problems that matter most, and little time for them */
    double seconds; /* the time to end within, roughly; 0: 240, or 22 with `quick` */
} clattn_tune_options;

static inline void clattn_tune_options_init(clattn_tune_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
}

typedef enum clattn_tune_state {
    CLATTN_TUNE_TRYING = 0,   /* `configuration` is about to be measured */
    CLATTN_TUNE_BUILT_IN = 1, /* the class is done: nothing is clearly faster than the built-in */
    CLATTN_TUNE_FASTER = 2,   /* the class is done: `configuration` is, by `speedup` */
    CLATTN_TUNE_NO_TIME = 3   /* the class was not reached in the time there was */
} clattn_tune_state;

typedef struct clattn_tune_progress {
    uint32_t struct_size;
    clattn_tune_state state;
    double done;             /* of the whole, 0 to 1 */
    char kernel[64];         /* name in the registry */
    char problem[64];        /* class of problems, such as "dim=64,short" */
    char configuration[192]; /* "VEC=16 ROWS=6 ..." */
    double speedup;          /* built-in time / time; 1 but for CLATTN_TUNE_FASTER */
    uint32_t tried;          /* configurations of this class so far, besides the built-in one */
    uint32_t reserved;
} clattn_tune_progress;

/* A status other than CLATTN_OK ends the search: nothing is stored, and the status is returned. */
typedef clattn_status (*clattn_tune_fn)(void *user, const clattn_tune_progress *progress);

/* Searches the configurations of every kernel that can be tuned (options->kernel of the context:
 * of this one) on the context's device, and stores what is more than 2 % faster than the built-in
 * one: for all classes of problems that were reached, in the place of what the file had for them.
 * The file is written at the end, whole. This context goes on as it was.
 *
 * Nothing else should keep the device busy meanwhile. `options` and `function` may be NULL; the
 * function is called on this thread. CLATTN_ERR_IO if the cache's folder can't be used,
 * CLATTN_ERR_UNSUPPORTED without such a folder (cache_load, cache_store,
 * CLATTN_CONTEXT_NO_PROGRAM_CACHE). Any thread. */
CLATTN_API clattn_status clattn_tune(clattn_context *context, const clattn_tune_options *options,
                                     clattn_tune_fn function, void *user);

typedef struct clattn_tuning_row {
    uint32_t struct_size;
    uint32_t compute_units;     /* of the device */
    char device[128];           /* name */
    char driver[128];           /* version */
    char platform_version[128]; /* the row holds for a device of which these four are the same */
    char version[16];           /* of clattn; other versions ignore the row */
    char kernel[64];
    char problem[64];
    char configuration[192];
    double speedup; /* against the built-in configuration, when it was measured */
} clattn_tuning_row;

typedef clattn_status (*clattn_tuning_fn)(void *user, const clattn_tuning_row *row);

/* Walks the rows of the tuning file that a context with these options would use, of all devices; a
 * status other than CLATTN_OK ends the walk and is returned. No file is no row; one that can't be
 * used, or is no tuning file, is CLATTN_ERR_IO. Opens no OpenCL. Here and in the next two functions
 * options with cache_load or cache_store are CLATTN_ERR_UNSUPPORTED. */
CLATTN_API clattn_status clattn_tuning_list(const clattn_context_options *options,
                                            clattn_tuning_fn function, void *user);

/* Removes the file; *removed (may be NULL) is 1 if there was one. */
CLATTN_API clattn_status clattn_tuning_forget(const clattn_context_options *options,
                                              uint32_t *removed);

/* Where the file is or would be; "" where there is no folder. CLATTN_ERR_ARGUMENT if capacity is
 * too small. */
CLATTN_API clattn_status clattn_tuning_path(const clattn_context_options *options, char *path,
                                            size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
