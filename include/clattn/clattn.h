/* clattn: attention on any OpenCL device.
 *
 * This header is the manual. It needs no OpenCL header; clattn/opencl.h is for callers that bring
 * their own OpenCL objects. Link with -lclattn; OpenCL itself is found at run time.
 *
 * Conventions that hold everywhere:
 *  - A function that can fail returns a clattn_status and writes its result only on CLATTN_OK;
 *    clattn_error_message() then has a sentence for the calling thread.
 *  - Objects are opaque; *_destroy and *_release accept NULL.
 *  - Structs begin with struct_size and are set up by their _init function; later versions only
 *    append fields, so a program keeps working with a newer library.
 *  - Extents count elements, strides are signed and count elements, sizes and offsets of memory
 *    count bytes.
 */
#ifndef CLATTN_CLATTN_H
#define CLATTN_CLATTN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLATTN_VERSION_MAJOR 0
#define CLATTN_VERSION_MINOR 1
#define CLATTN_VERSION_PATCH 0

#if defined(_WIN32) && defined(CLATTN_BUILD_SHARED)
#define CLATTN_API __declspec(dllexport)
#elif defined(__GNUC__)
#define CLATTN_API __attribute__((visibility("default")))
#else
#define CLATTN_API
#endif

/* ------------------------------------------------------------------------------------------------
 * Status
 * --------------------------------------------------------------------------------------------- */

/* One list makes the values and their texts. Values never change; new ones are appended. */
#define CLATTN_STATUS_LIST(X)                                                                      \
    X(CLATTN_OK, 0, "success")                                                                     \
    X(CLATTN_PENDING, 1, "not finished yet")                                                       \
    X(CLATTN_ERR_ARGUMENT, -1, "an argument is not valid")                                         \
    X(CLATTN_ERR_UNSUPPORTED, -2, "valid, but not supported by this version or device")            \
    X(CLATTN_ERR_NO_OPENCL, -3, "no OpenCL library was found")                                     \
    X(CLATTN_ERR_NO_PLATFORM, -4, "OpenCL has no platform (no driver is installed)")               \
    X(CLATTN_ERR_NO_DEVICE, -5, "no OpenCL device was found that fits")                            \
    X(CLATTN_ERR_OUT_OF_MEMORY, -6, "out of memory, on the host or on the device")                 \
    X(CLATTN_ERR_BUILD, -7, "an OpenCL program did not build")                                     \
    X(CLATTN_ERR_DEVICE_LOST, -8, "the device failed while it executed")                           \
    X(CLATTN_ERR_TIMEOUT, -9, "the time allowed has passed")                                       \
    X(CLATTN_ERR_BUSY, -10, "in use, or a queue is full")                                          \
    X(CLATTN_ERR_WRONG_PROCESS, -11, "the object was made before fork() in the parent process")    \
    X(CLATTN_ERR_IO, -12, "a file could not be read or written")                                   \
    X(CLATTN_ERR_OPENCL, -13, "OpenCL reported an error")                                          \
    X(CLATTN_ERR_INTERNAL, -14, "a defect in clattn")                                              \
    X(CLATTN_ERR_CANCELLED, -15, "cancelled before it began")

typedef enum clattn_status {
#define CLATTN_STATUS_ENUM(name, value, text) name = value,
    CLATTN_STATUS_LIST(CLATTN_STATUS_ENUM)
#undef CLATTN_STATUS_ENUM
} clattn_status;

/* A fixed sentence for a status; never NULL, also for values that don't exist. Any thread. */
CLATTN_API const char *clattn_status_string(clattn_status status);

/* What went wrong in the last call that failed on the calling thread: which argument, what was
 * found, what is expected. "" before the first failure. Valid until the thread's next failure. */
CLATTN_API const char *clattn_error_message(void);

/* (major << 16 | minor << 8 | patch) of the library that runs, and the same as text "0.1.0". */
CLATTN_API uint32_t clattn_version(void);
CLATTN_API const char *clattn_version_string(void);

/* ------------------------------------------------------------------------------------------------
 * Context and devices
 * --------------------------------------------------------------------------------------------- */

/* A device with its programs, program cache, memory and log. Any thread may use it. */
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
           1,                       /* keep no compiled programs, look for none nor for tuning */
       CLATTN_CONTEXT_NO_TUNING = 2 /* use built-in configurations alone: clattn_tune */
};

typedef struct clattn_context_options {
    uint32_t struct_size;
    uint32_t flags;         /* CLATTN_CONTEXT_*, or-ed */
    const char *device;     /* selector, see clattn_context_create; NULL: CLATTN_DEVICE, or best */
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
    /* 2 to 16: divide the device into this many equal parts (clCreateSubDevices), so that a
     * dispatcher can have a lane on each: clattn_dispatcher_options.lanes. They share memory and
     * programs. CLATTN_ERR_UNSUPPORTED where the device can't. 0 or 1: it stays whole. Not for
     * clattn_context_create_from_cl. */
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
} clattn_device_info;

/* Writes up to `capacity` devices, in the order of platforms and devices, and their whole number
 * to *count. With options->device only those that fit the selector. `infos` may be NULL with
 * capacity 0; infos[i].struct_size need not be set. Any thread. */
CLATTN_API clattn_status clattn_device_list(const clattn_context_options *options,
                                            clattn_device_info *infos, uint32_t capacity,
                                            uint32_t *count);

/* The device of a context. info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_context_device_info(clattn_context *context,
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
 * Describing attention
 * --------------------------------------------------------------------------------------------- */

/* How elements are stored. Arithmetic is float32 in any case; see docs/numerics.md. */
typedef enum clattn_dtype {
    CLATTN_F32 = 0,
    CLATTN_F16 = 1,  /* IEEE 754 binary16 */
    CLATTN_BF16 = 2, /* the upper half of a float32; written rounded to nearest even */
    CLATTN_BOOL = 3, /* one byte, 0 is false */
    CLATTN_I32 = 4,
    CLATTN_I64 = 5,
    /* Keys and values of a cache, with scales: an element stands for its integer times its scale.
     */
    CLATTN_I8 = 6, /* -127 .. 127 */
    CLATTN_I4 = 7  /* -7 .. 7, two's complement, two in a byte, the even one in the low half: rows
                      have an even number of elements, side by side, and begin with a byte */
} clattn_dtype;

/* Which tensor of an operation. B batch, H n_head, Hkv n_kv_head, D head_dim, Dv value_dim,
 * Nkv = n_past + n_kv the keys that queries meet. "float" is F32, F16 or BF16, each tensor its own.
 *
 * A score-shaped tensor, (B, H, n_q, Nkv), is broadcast by strides of 0. Small tensors, marked
 * "host too", can also be given as host arrays that are copied at submission: clattn_binding. */
typedef enum clattn_slot {
    CLATTN_SLOT_Q = 0,             /* (B, H, n_q, D)      float, read */
    CLATTN_SLOT_K = 1,             /* (B, Hkv, n_kv, D)   float, read */
    CLATTN_SLOT_V = 2,             /* (B, Hkv, n_kv, Dv)  float, read */
    CLATTN_SLOT_OUT = 3,           /* (B, H, n_q, Dv)     float, written */
    CLATTN_SLOT_LSE = 4,           /* (B, H, n_q)         F32, written; log of the sum of
                                      exp(score), the sink's included */
    CLATTN_SLOT_WEIGHTS = 5,       /* (B, H, n_q, Nkv)    F32, written; softmax of the scores */
    CLATTN_SLOT_MASK = 6,          /* (B, H, n_q, Nkv)    BOOL, read; true: the key is visible */
    CLATTN_SLOT_BIAS = 7,          /* (B, H, n_q, Nkv)    float, read; added to the scores */
    CLATTN_SLOT_ALIBI = 8,         /* (H)                 F32, read, host too; slopes: a score gets
                                      - slope * |i + offset - j|. Press et al. 2022 */
    CLATTN_SLOT_SINK = 9,          /* (H)                 F32, read, host too; logits that take
                                      part in the softmax's sum alone. Xiao et al. 2024 */
    CLATTN_SLOT_Q_LENGTHS = 10,    /* (B)                 I32, read, host too; queries from it on
                                      give OUT 0 and LSE -inf. Ragged: (B + 1), see `ragged` */
    CLATTN_SLOT_KV_LENGTHS = 11,   /* (B)                 I32, read, host too; keys from it on are
                                      invisible and never read. Ragged: (B + 1) */
    CLATTN_SLOT_BLOCK_COUNT = 12,  /* (B, H, ceil(n_q / block_q))  I32, read, host too */
    CLATTN_SLOT_BLOCK_INDEX = 13,  /* (B, H, ceil(n_q / block_q), block_limit)  I32, read, host
                                      too; see block_q */
    CLATTN_SLOT_PARAMS = 14,       /* (n_params)          F32, read, host too; for the caller's
                                      score and mask functions */
    CLATTN_SLOT_SEED = 15,         /* (2)                 I64, read, host too; seed and offset of
                                      the dropout, or of `sample` */
    CLATTN_SLOT_PAST_K = 16,       /* (B, Hkv, n_past, D)   float, read; keys before those of K */
    CLATTN_SLOT_PAST_V = 17,       /* (B, Hkv, n_past, Dv)  float, read; of PAST_K's values */
    CLATTN_SLOT_PRESENT_K = 18,    /* (B, Hkv, Nkv, D)    float, written; PAST_K, then K */
    CLATTN_SLOT_PRESENT_V = 19,    /* (B, Hkv, Nkv, Dv)   float, written; PAST_V, then V */
    CLATTN_SLOT_WEIGHTS_MEAN = 20, /* (B, n_q, Nkv)       F32, written; WEIGHTS, mean of heads */
    CLATTN_SLOT_WEIGHTS_SUM = 21,  /* (B, H, Nkv)         F32, written; WEIGHTS summed over the
                                      queries: how much each key was attended to */
    CLATTN_SLOT_SCORES = 22,       /* (B, H, n_q, Nkv)    F32, written; see score_stage */
    CLATTN_SLOT_PARTIAL_OUT = 23,  /* merge: (parts, B, H, n_q, Dv)  float, read */
    CLATTN_SLOT_PARTIAL_LSE = 24,  /* merge: (parts, B, H, n_q)      F32, read */
    /* Of the gradients alone, where OUT and LSE are read: see clattn_plan_attention_gradient. */
    CLATTN_SLOT_GRAD_OUT = 25,    /* (B, H, n_q, Dv)     float, read */
    CLATTN_SLOT_GRAD_LSE = 26,    /* (B, H, n_q)         F32, read */
    CLATTN_SLOT_GRAD_Q = 27,      /* (B, H, n_q, D)      float, written */
    CLATTN_SLOT_GRAD_K = 28,      /* (B, Hkv, n_kv, D)   float, written */
    CLATTN_SLOT_GRAD_V = 29,      /* (B, Hkv, n_kv, Dv)  float, written */
    CLATTN_SLOT_GRAD_BIAS = 30,   /* (B, H, n_q, Nkv)    float, written; strides of 0 sum over
                                     their dimension. Not strided: contiguous, summed over the
                                     dimensions in which BIAS has strides of 0 */
    CLATTN_SLOT_GRAD_SINK = 31,   /* (H)                 F32, written */
    CLATTN_SLOT_GRAD_PAST_K = 32, /* (B, Hkv, n_past, D)   float, written */
    CLATTN_SLOT_GRAD_PAST_V = 33, /* (B, Hkv, n_past, Dv)  float, written */
    /* Not of the gradients. With it K and V are (n_pages, Hkv, page_size, D or Dv), see page_size.
     */
    CLATTN_SLOT_PAGES = 34, /* (B, page_limit)     I32, read, host too */
    /* Of clattn_plan_append and clattn_plan_rotary, see clattn/layer.h. */
    CLATTN_SLOT_POSITIONS = 35, /* (B)               I32, read, host too */
    CLATTN_SLOT_ANGLES = 36,    /* (n_positions, rotary_dim / 2, 2)  F32, read */
    CLATTN_SLOT_INDICES = 37,   /* (B, H, n_q, top_k; 1 with `sample`)  I32, written; with top_k
                                   alone */
    /* Of clattn_plan_linear, see clattn/layer.h: what is read and written depends on the pass. */
    CLATTN_SLOT_X = 38,        /* (batch, rows, in)   float */
    CLATTN_SLOT_W = 39,        /* (out, in)           float */
    CLATTN_SLOT_B = 40,        /* (out)               float */
    CLATTN_SLOT_Y = 41,        /* (batch, rows, out)  float */
    CLATTN_SLOT_PACKED_W = 42, /* F32, what clattn_plan_linear_pack made of W */
    /* Of clattn_plan_additive and its gradient, see clattn/layer.h. */
    CLATTN_SLOT_W_SCORE = 43,           /* (H, channels)  float, read */
    CLATTN_SLOT_CHANNEL_BIAS = 44,      /* (H, channels)  float, read */
    CLATTN_SLOT_GRAD_W_SCORE = 45,      /* (H, channels)  float, written */
    CLATTN_SLOT_GRAD_CHANNEL_BIAS = 46, /* (H, channels)  float, written */
    /* With K or V of type I8 or I4, for attention; with PRESENT_K or PRESENT_V of these types, for
     * clattn_plan_append, which writes them. Their last dimension is that of scale_channels. In
     * pages, as K and V are: (n_pages, Hkv, page_size, ...). */
    CLATTN_SLOT_K_SCALES = 47, /* (B, Hkv, n_kv, 1 or ceil(D / 32))   F32 */
    CLATTN_SLOT_V_SCALES = 48  /* (B, Hkv, n_kv, 1 or ceil(Dv / 32))  F32 */
} clattn_slot;
#define CLATTN_SLOT_LIMIT     64 /* room in descriptions for slots to come */
#define CLATTN_RANK_LIMIT     5  /* dimensions of a tensor */
#define CLATTN_SLOT_BIT(slot) ((uint64_t)1 << (slot))

/* How query i meets key j: as if it stood at position i + offset among the keys. Causal attention,
 * windows, ALiBi and the caller's functions use it. Causal, window and ALiBi have no default,
 * because systems differ. */
typedef enum clattn_align {
    CLATTN_ALIGN_NONE = 0,
    CLATTN_ALIGN_TOP_LEFT = 1,     /* offset = 0 */
    CLATTN_ALIGN_BOTTOM_RIGHT = 2, /* offset = keys - queries, each batch entry's own lengths */
    CLATTN_ALIGN_OFFSET = 3        /* offset = align_offset */
} clattn_align;

/* What CLATTN_SLOT_SCORES holds. Keys beyond a length have -inf at the first three stages. */
typedef enum clattn_score_stage {
    CLATTN_SCORES_SCALED = 0,  /* scale * q . k */
    CLATTN_SCORES_CAPPED = 1,  /* after the softcap */
    CLATTN_SCORES_VISIBLE = 2, /* after everything; -inf where not visible */
    CLATTN_SCORES_WEIGHTS = 3  /* as CLATTN_SLOT_WEIGHTS */
} clattn_score_stage;

/* Layout of one tensor. Without `strided` it is contiguous in the order of its slot's shape; in a
 * ragged problem Q, K, V, OUT, LSE and their gradients are contiguous as (token, head, dim). */
typedef struct clattn_tensor {
    clattn_dtype dtype; /* where the slot allows only one type, F32 (0) stands for it */
    uint32_t strided;   /* 1: `stride` holds */
    int64_t stride[CLATTN_RANK_LIMIT]; /* elements; one for each dimension of the slot's shape */
} clattn_tensor;

enum {                                      /* clattn_attention_desc.flags */
       CLATTN_ATTENTION_WEIGHTS_DROPPED = 1 /* WEIGHTS, _MEAN and _SUM after dropout, not before */
};

/* out[b,h,i,:] = sum over visible j of softmax_j(s[b,h,i,j]) v[b,g,j,:], g = h / (H / Hkv).
 * Vaswani et al. 2017, "Attention Is All You Need", eq. 1; shared key/value heads: Ainslie et al.
 * 2023. A score is made in this order:
 *    s = scale * q[b,h,i,:] . k[b,g,j,:]
 *    s = softcap * tanh(s / softcap)                   with softcap
 *    s = s - alibi[h] * |i + offset - j|               with ALIBI
 *    s = score(s, b, h, i + offset, j, params)         with score_function
 *    s = s + bias[b,h,i,j]                             with BIAS
 * and key j is visible to query i if neither s nor bias[b,h,i,j] is -inf and
 *    j < the batch entry's number of keys, i < its number of queries
 *    mask[b,h,i,j]                                     with MASK
 *    j <= i + offset                                   causal
 *    i + offset - left <= j <= i + offset + right      with a window
 *    j / block_kv is listed for i / block_q            with BLOCK_INDEX
 *    visible(b, h, i + offset, j, params)              with mask_function
 * A query that sees no key gives 0, and LSE -inf, or the sink's logit. docs/numerics.md has more.
 */
typedef struct clattn_attention_desc {
    uint32_t struct_size;
    uint32_t has_scale;   /* 1: use `scale`; 0: 1 / sqrt(head_dim) */
    float scale;          /* finite */
    float softcap;        /* 0: none; otherwise at least 2^-126, and finite */
    uint32_t causal;      /* 1 or 0 */
    clattn_align align;   /* needed with causal, has_window and ALIBI */
    int64_t align_offset; /* of CLATTN_ALIGN_OFFSET, else 0; -(2^31-1) .. 2^31-1 */
    uint32_t has_window;  /* 1: window_left and window_right hold */
    float dropout;        /* probability that a weight is set to 0, others are divided by 1 minus
                             it; 0 <= dropout < 1. Not 0: SEED takes part */
    int64_t window_left;  /* keys before the aligned one that are visible; -1: all */
    int64_t window_right; /* keys after it; -1: all */
    uint32_t flags;       /* CLATTN_ATTENTION_*, or-ed */
    clattn_score_stage score_stage; /* of SCORES, else 0 */
    /* 1: sequences of different lengths lie one after the other. Q_LENGTHS and KV_LENGTHS take
     * part, have batch + 1 elements, begin with 0 and never descend: entry b has the tokens
     * Q_LENGTHS[b] .. Q_LENGTHS[b + 1] - 1 of Q, OUT and LSE, and those of KV_LENGTHS of K and V.
     * These tensors and their gradients have no batch dimension (stride[0] is not used) and total_q
     * or total_kv tokens. n_q and n_kv are bounds: no sequence may be longer. Others stay (B, H,
     * n_q, Nkv). */
    uint32_t ragged;
    uint32_t reserved;         /* 0 */
    int64_t total_q, total_kv; /* ragged, else 0 */
    uint64_t slots;            /* optional tensors that take part: CLATTN_SLOT_BIT(...) or-ed */
    int64_t batch;     /* 0 .. 2^31-1, as are all extents but those that follow with a range */
    int64_t n_head;    /* query heads, at least 1 */
    int64_t n_kv_head; /* key/value heads; divides n_head */
    int64_t n_q;       /* queries */
    int64_t n_kv;      /* keys and values of K and V */
    int64_t n_past;    /* of PAST_K and PAST_V, else 0 */
    int64_t head_dim;  /* 1 .. 576 */
    int64_t value_dim; /* 1 .. 576 */
    /* Block-sparse attention, with BLOCK_COUNT and BLOCK_INDEX: queries of block i / block_q visit
     * the keys of the first BLOCK_COUNT[b,h,i / block_q] blocks of BLOCK_INDEX[b,h,i / block_q,:],
     * each block_kv keys wide, indices strictly ascending. */
    int64_t block_q, block_kv, block_limit; /* at least 1 with these slots, else 0 */
    int64_t n_params;                       /* of PARAMS, else 0 */
    /* OpenCL C texts, or NULL; copied. They define
     *    float score(float s, int batch, int head, int q, int k, __global const float *params)
     *    int visible(int batch, int head, int q, int k, __global const float *params)
     * q is i + offset, params NULL without PARAMS. docs/functions.md: vector forms, predicates that
     * skip whole tiles, examples. */
    const char *score_function;
    const char *mask_function;
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
    /* For gradients, with score_function: an OpenCL C text that defines its derivative by s,
     *    float score_gradient(float s, int batch, int head, int q, int k,
     *                         __global const float *params)
     * of the same arguments. Forward attention doesn't use it. */
    const char *score_gradient;
    /* With PAGES, else 0: keys and values lie in pages of page_size tokens. K and V are
     * (n_pages, n_kv_head, page_size, dim), in any order that strides express, and token j of
     * batch entry b is token j % page_size of page PAGES[b, j / page_size]; n_kv bounds the tokens
     * of an entry, KV_LENGTHS has their numbers. Pages may be shared. Of a table only the pages
     * that hold an entry's tokens are read. */
    int64_t page_size, n_pages, page_limit; /* at least 1; page_size * page_limit >= n_kv */
    /* Not 0: each query attends to the top_k visible keys of highest score alone, the lower index
     * first where scores are equal; 1 is hard attention. Exact. Softmax, LSE and WEIGHTS (0
     * elsewhere) are over these keys. INDICES has them in descending order of score, -1 where fewer
     * are visible. Not for gradients; no dropout, WEIGHTS_MEAN, WEIGHTS_SUM, SCORES, PRESENT_K and
     * PRESENT_V. */
    int64_t top_k; /* 0 .. 2^31-1 */
    /* With K_SCALES or V_SCALES: channels that share a scale, 0: all of a row; 32. Not for
     * gradients; no PAST_K, PRESENT_K and PRESENT_V. */
    int64_t scale_channels;
    /* 1: one of these keys is drawn for each query, each with the probability of its weight, by a
     * random number that goes with the query's position: SEED takes part, docs/numerics.md has the
     * mapping. OUT is the value of the key that was drawn, INDICES (B, H, n_q, 1) the key, WEIGHTS
     * the weight by which it was drawn in its place; LSE is that of all top_k. Where nothing is
     * visible, or the sink was drawn: 0, and -1 for the key. */
    uint32_t sample; /* 1 or 0; with top_k alone */
    /* With PAGES: 1: batch entries may begin with the same pages, as forks of a sequence do. Few
     * queries then read a split of 512 keys, all of whose pages several entries have in the same
     * place, once for all of them. Results have the same bits with 0 and 1; without shared pages 1
     * is slower. */
    uint32_t cascade;
} clattn_attention_desc;

static inline void clattn_attention_desc_init(clattn_attention_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* Merging partial results over disjoint sets of keys (split keys, cascades, rings across machines):
 * lse = log(sum over parts of exp(partial_lse) + exp(sink)), out = sum over parts of
 * exp(partial_lse - lse) * partial_out. Slots: PARTIAL_OUT, PARTIAL_LSE, OUT; optional LSE and
 * SINK. The partial LSEs must not include the sink. A part whose LSE is -inf counts for nothing,
 * whatever its PARTIAL_OUT holds. */
typedef struct clattn_merge_desc {
    uint32_t struct_size;
    uint32_t reserved; /* 0 */
    uint64_t slots;    /* optional tensors that take part */
    int64_t parts;     /* 1 .. 2^31-1 */
    int64_t batch;     /* 0 .. 2^31-1, as are n_head (at least 1) and n_q */
    int64_t n_head;
    int64_t n_q;
    int64_t value_dim;                       /* 1 .. 576 */
    clattn_tensor tensor[CLATTN_SLOT_LIMIT]; /* by slot */
} clattn_merge_desc;

static inline void clattn_merge_desc_init(clattn_merge_desc *desc)
{
    memset(desc, 0, sizeof *desc);
    desc->struct_size = sizeof *desc;
}

/* ------------------------------------------------------------------------------------------------
 * The short way: host memory, one blocking call
 * --------------------------------------------------------------------------------------------- */

/* Attention on host pointers. Plans are remembered in the context; on a CPU device nothing is
 * copied. q, k, v and out follow desc->tensor. desc->slots must be 0. Any thread. */
CLATTN_API clattn_status clattn_attention(clattn_context *context,
                                          const clattn_attention_desc *desc, const void *q,
                                          const void *k, const void *v, void *out);

typedef struct clattn_host_binding {
    clattn_slot slot;
    uint32_t reserved;
    void *data; /* address of element (0, 0, ...); tensors that are read are never written */
} clattn_host_binding;

/* The same with any slots: every slot of the operation exactly once. */
CLATTN_API clattn_status clattn_run(clattn_context *context, const clattn_attention_desc *desc,
                                    const clattn_host_binding *bindings, uint32_t count);

/* Gradients on host pointers, in the same manner; see clattn_plan_attention_gradient. */
CLATTN_API clattn_status clattn_run_gradient(clattn_context *context,
                                             const clattn_attention_desc *desc,
                                             const clattn_host_binding *bindings, uint32_t count);

/* Merging on host pointers, in the same manner. */
CLATTN_API clattn_status clattn_merge(clattn_context *context, const clattn_merge_desc *desc,
                                      const clattn_host_binding *bindings, uint32_t count);

/* ------------------------------------------------------------------------------------------------
 * Plans
 * --------------------------------------------------------------------------------------------- */

/* An operation made ready for the device of a context. Immutable; any thread; may be submitted
 * many times, at the same time too. */
typedef struct clattn_plan clattn_plan;

/* Chooses a kernel, configures and compiles it, or takes it from the cache. */
CLATTN_API clattn_status clattn_plan_attention(clattn_context *context,
                                               const clattn_attention_desc *desc,
                                               clattn_plan **plan);
CLATTN_API clattn_status clattn_plan_merge(clattn_context *context, const clattn_merge_desc *desc,
                                           clattn_plan **plan);

/* The gradients of attention: from what a loss changes with OUT (GRAD_OUT) and, if asked, with LSE
 * (GRAD_LSE), to what it changes with the inputs. Weights are computed once more from Q, K and LSE;
 * nothing of their size is kept. Dao et al. 2022, "FlashAttention", appendix B.4.
 *
 * `desc` is the description of the forward pass, with other slots: LSE must be among them, which
 * the forward pass wrote, and at least one of GRAD_Q, GRAD_K, GRAD_V, GRAD_BIAS, GRAD_SINK,
 * GRAD_PAST_K, GRAD_PAST_V. Q, K, V, OUT, LSE and GRAD_OUT are read. What the forward pass returns
 * besides OUT and LSE has no part. A score_function needs a score_gradient.
 *
 * Gradients are written, not added. Where nothing is visible they are 0, as they are for queries
 * and keys behind a length; ragged tokens that no sequence has are not touched. All options of the
 * forward pass have their part: docs/numerics.md has the formulas. The same bits come out on
 * repetition. */
CLATTN_API clattn_status clattn_plan_attention_gradient(clattn_context *context,
                                                        const clattn_attention_desc *desc,
                                                        clattn_plan **plan);

/* Frees the plan. Submissions in flight are not disturbed. */
CLATTN_API void clattn_plan_destroy(clattn_plan *plan);

/* Scratch memory that one submission of the plan needs in flight, bytes; 0 where none. */
CLATTN_API clattn_status clattn_plan_workspace_size(const clattn_plan *plan, uint64_t *size);

typedef struct clattn_plan_info {
    uint32_t struct_size;
    uint32_t launches;       /* kernel launches of one submission */
    char kernel[64];         /* name in the registry */
    char configuration[192]; /* "VEC=16 ROWS=6 ..." */
    uint64_t workspace;      /* bytes */
    double plan_seconds;     /* how long planning took, compiling included */
    uint32_t from_cache;     /* 1: no program had to be compiled from source */
    uint32_t tuned;          /* 1: the configuration is that of the tuning file, see clattn_tune */
} clattn_plan_info;

/* info->struct_size must be set to sizeof *info. */
CLATTN_API clattn_status clattn_plan_get_info(const clattn_plan *plan, clattn_plan_info *info);

/* A text of several lines: the problem, the kernel chosen, its configuration and where that comes
 * from, workspace and launches, and why each preferred kernel declined. Owned by the plan. */
CLATTN_API const char *clattn_explain(const clattn_plan *plan);

/* ------------------------------------------------------------------------------------------------
 * Buffers
 * --------------------------------------------------------------------------------------------- */

/* Memory that the device sees: a slice of one of the context's arenas, or foreign memory wrapped.
 * Any thread; reading and writing bytes that a submission in flight uses is the caller's race. */
typedef struct clattn_buffer clattn_buffer;

/* `size` bytes, at least 1, uninitialised. */
CLATTN_API clattn_status clattn_buffer_create(clattn_context *context, uint64_t size,
                                              clattn_buffer **buffer);

/* Uses the caller's memory, which must stay until the buffer is destroyed. On devices that share
 * memory with the host nothing is copied; elsewhere it is CLATTN_ERR_UNSUPPORTED. Around device
 * work use clattn_buffer_map or _read to see what the device wrote. */
CLATTN_API clattn_status clattn_buffer_wrap_host(clattn_context *context, void *data, uint64_t size,
                                                 clattn_buffer **buffer);

/* CLATTN_ERR_BUSY while mapped. Submissions in flight keep the memory alive. */
CLATTN_API clattn_status clattn_buffer_destroy(clattn_buffer *buffer);

CLATTN_API uint64_t clattn_buffer_size(const clattn_buffer *buffer);

/* Blocking copies between host and buffer. */
CLATTN_API clattn_status clattn_buffer_write(clattn_buffer *buffer, uint64_t offset,
                                             const void *data, uint64_t size);
CLATTN_API clattn_status clattn_buffer_read(clattn_buffer *buffer, uint64_t offset, void *data,
                                            uint64_t size);

/* The whole buffer as host memory for reading and writing, until clattn_buffer_unmap. */
CLATTN_API clattn_status clattn_buffer_map(clattn_buffer *buffer, void **data);
CLATTN_API clattn_status clattn_buffer_unmap(clattn_buffer *buffer);

/* ------------------------------------------------------------------------------------------------
 * Dispatcher, submissions, events
 * --------------------------------------------------------------------------------------------- */

/* Feeds the lanes (OpenCL queues) of a context's device. Any thread. docs/dispatcher.md says how it
 * decides what runs when, where, and together with what. */
typedef struct clattn_dispatcher clattn_dispatcher;
/* Completion of a submission. Any thread. */
typedef struct clattn_event clattn_event;

typedef struct clattn_dispatcher_options {
    uint32_t struct_size;
    uint32_t lanes; /* 0: as many as the context's device has parts, else 1; at most that many */
    uint64_t workspace; /* bytes of scratch memory to hold from the start; grows when needed */
    /* Submissions that may be unfinished at a time; 0: 4096. More are refused: busy_ns. */
    uint32_t queue_limit;
    /* Launches to remember for clattn_dispatcher_write_trace, the newest; 0: none. */
    uint32_t trace_size;
    /* How long a launch should take at most, nanoseconds: longer submissions go in parts, between
     * which others have their turn, and no more than this is in flight on a lane before something
     * else can be preferred. UINT64_MAX: without bound. 0: 1 ms while submissions meet in the
     * dispatcher or did within the last 100 ms; whole otherwise. */
    uint64_t launch_ns;
    /* 1: hold nothing back. Everything goes to one lane's queue as it comes, in the order of
     * submission, without priorities, deadlines, callbacks, and any thread. */
    uint32_t direct;
    uint32_t reserved; /* 0 */
} clattn_dispatcher_options;

static inline void clattn_dispatcher_options_init(clattn_dispatcher_options *options)
{
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
}

/* `options` may be NULL. */
CLATTN_API clattn_status clattn_dispatcher_create(clattn_context *context,
                                                  const clattn_dispatcher_options *options,
                                                  clattn_dispatcher **dispatcher);

/* Waits for everything submitted, callbacks included, then frees the dispatcher; its events stay
 * valid. Not from a callback. */
CLATTN_API void clattn_dispatcher_destroy(clattn_dispatcher *dispatcher);

/* Waits until everything submitted so far is done; the first failure since the last call.
 * Submissions that were cancelled don't count as failures. Not from a callback. */
CLATTN_API clattn_status clattn_dispatcher_finish(clattn_dispatcher *dispatcher);

/* Where a slot's memory is. Layout and type are those of the plan. Values that index (lengths,
 * block lists) are checked where they come from `host`; in buffers they are clamped to what is
 * valid when they are used. */
typedef struct clattn_binding {
    clattn_slot slot;
    uint32_t reserved;     /* 0 */
    clattn_buffer *buffer; /* NULL: `host` */
    uint64_t offset;       /* bytes to element (0, 0, ...); a multiple of the element's size */
    const void *host;      /* slots marked "host too": copied at submission; NULL with `buffer` */
} clattn_binding;

/* One plan with its memory. */
typedef struct clattn_step {
    const clattn_plan *plan;
    const clattn_binding *bindings; /* every slot of the plan exactly once */
    uint32_t binding_count;
    /* Which of its sequences' key/value heads the plan's first one is: a plan for heads 8 to 15 has
     * 8 here, and keeps order with other work on these heads alone. */
    uint32_t first_kv_head;
    /* (batch) ids of the sequences, NULL: all 0. Submissions to one dispatcher that have a sequence
     * and a key/value head in common run in the order in which they were submitted, each sees what
     * the ones before wrote. Others, and those of id 0, have no order but that of wait lists. */
    const uint64_t *sequences;
} clattn_step;

/* Steps run in order, each sees what earlier ones wrote. */
typedef struct clattn_submission {
    uint32_t struct_size;
    uint32_t step_size; /* sizeof(clattn_step) */
    const clattn_step *steps;
    uint32_t step_count;
    uint32_t wait_count;
    clattn_event *const *wait; /* events that must be done before; of the same context */
    clattn_buffer *workspace;  /* NULL: the dispatcher's; one submission in flight at a time */
    uint64_t workspace_offset; /* bytes; a multiple of 256 */
    /* -100 to 100 (others count as these): of what is held back, higher goes first, but a step of
     * priority is worth 20 ms of waiting and no more, so that nothing waits for ever. */
    int32_t priority;
    uint32_t reserved;    /* 0 */
    uint64_t deadline_ns; /* not 0: what has not begun this long after its submission, nanoseconds,
                             doesn't run; its status is CLATTN_ERR_TIMEOUT. Not on queues of the
                             caller's */
    uint64_t busy_ns;     /* how long to wait for room in a dispatcher that is full, nanoseconds,
                             before CLATTN_ERR_BUSY; 0: not at all, UINT64_MAX: for ever */
} clattn_submission;

static inline void clattn_submission_init(clattn_submission *submission)
{
    memset(submission, 0, sizeof *submission);
    submission->struct_size = sizeof *submission;
    submission->step_size = sizeof(clattn_step);
}

/* Hands work over and returns: to the device at once where it has room, else into the dispatcher's
 * backlog, from where a thread of its own takes it. `event` may be NULL. Everything is checked
 * before anything is done: a status other than CLATTN_OK means that nothing was. Bindings and
 * arrays are copied; plans and buffers may be destroyed while the work is in flight.
 *
 * A submission that fails, is cancelled or misses its deadline takes those with it that were
 * submitted later for one of its sequences and heads, and those that name its event in their wait
 * list; nobody else. */
CLATTN_API clattn_status clattn_submit(clattn_dispatcher *dispatcher,
                                       const clattn_submission *submission, clattn_event **event);

/* Blocks until done or `timeout_ns` has passed (CLATTN_ERR_TIMEOUT); UINT64_MAX waits for ever.
 * Returns the submission's status. */
CLATTN_API clattn_status clattn_event_wait(clattn_event *event, uint64_t timeout_ns);

/* Blocks until all of them are done; the first failure in their order, CLATTN_ERR_TIMEOUT if they
 * aren't in time. */
CLATTN_API clattn_status clattn_event_wait_all(clattn_event *const *events, uint32_t count,
                                               uint64_t timeout_ns);
/* Blocks until one of them is done, whose place goes to *index, and returns its status.
 * CLATTN_ERR_ARGUMENT where there are none. */
CLATTN_API clattn_status clattn_event_wait_any(clattn_event *const *events, uint32_t count,
                                               uint64_t timeout_ns, uint32_t *index);

/* CLATTN_PENDING, CLATTN_OK or the failure, without blocking. */
CLATTN_API clattn_status clattn_event_poll(clattn_event *event);

/* The sentence of a failed submission, "" otherwise. Owned by the event. */
CLATTN_API const char *clattn_event_message(clattn_event *event);

/* Takes back a submission that hasn't begun: its status is CLATTN_ERR_CANCELLED then.
 * CLATTN_ERR_BUSY if it has begun or is done, and nothing changes. */
CLATTN_API clattn_status clattn_event_cancel(clattn_event *event);

/* Called once, when the submission is done, with its status; at once if it is. Always on a thread
 * of the dispatcher that does nothing else but launching, so it should be short. It may submit,
 * poll, cancel and release, but neither wait (busy_ns, too) nor finish nor destroy the
 * dispatcher. */
typedef void (*clattn_event_fn)(void *user, clattn_event *event, clattn_status status);

/* Several may be set. CLATTN_ERR_UNSUPPORTED on queues of the caller's, where clattn has no thread:
 * clattn_event_get_cl and clSetEventCallback do the same there. */
CLATTN_API clattn_status clattn_event_set_callback(clattn_event *event, clattn_event_fn function,
                                                   void *user);

/* Nanoseconds. */
typedef struct clattn_event_profile {
    uint32_t struct_size;
    uint32_t launches;  /* kernels, shared ones included */
    uint64_t held_ns;   /* from the submission until its first launch was enqueued */
    uint64_t queued_ns; /* from there until the device began */
    uint64_t ran_ns;    /* until it ended */
    uint64_t device_ns; /* of these, those in which its kernels ran */
} clattn_event_profile;

/* Of a submission that is done; profile->struct_size must be set. CLATTN_ERR_BUSY before,
 * CLATTN_ERR_UNSUPPORTED where the queue has no times: on one of the caller's without
 * CL_QUEUE_PROFILING_ENABLE. */
CLATTN_API clattn_status clattn_event_get_profile(clattn_event *event,
                                                  clattn_event_profile *profile);

/* The work goes on; only the handle is given back. */
CLATTN_API void clattn_event_release(clattn_event *event);

typedef struct clattn_lane_statistics {
    uint64_t launches;    /* kernels */
    uint64_t submissions; /* that ended on it */
    uint64_t shared;      /* steps that shared their launches with others */
    uint64_t busy_ns;     /* in which the device worked for it */
    double speed;         /* as measured; what it means is the same on every lane */
    uint64_t in_flight;   /* submissions, now */
} clattn_lane_statistics;
#define CLATTN_LANE_LIMIT 16

typedef struct clattn_dispatcher_statistics {
    uint32_t struct_size;
    uint32_t lanes;
    uint64_t submissions; /* accepted */
    uint64_t finished;    /* well; the next three otherwise */
    uint64_t failed;
    uint64_t cancelled;
    uint64_t expired;
    uint64_t refused;         /* CLATTN_ERR_BUSY */
    uint64_t waiting;         /* held back, now */
    uint64_t most_unfinished; /* at one time */
    uint64_t waiting_ns;      /* for which submissions were held back, all together */
    uint64_t steals;          /* head queues that another lane took over */
    uint64_t bytes_moved;     /* for that; lanes of one device share memory: 0 */
    clattn_lane_statistics lane[CLATTN_LANE_LIMIT];
} clattn_dispatcher_statistics;

/* Since the dispatcher was created. statistics->struct_size must be set. */
CLATTN_API clattn_status clattn_dispatcher_get_statistics(clattn_dispatcher *dispatcher,
                                                          clattn_dispatcher_statistics *statistics);

/* Writes what ran when on which lane as a file that chrome://tracing and ui.perfetto.dev open;
 * options.trace_size is how much of it is remembered. The file appears whole or not at all:
 * CLATTN_ERR_IO. CLATTN_ERR_UNSUPPORTED without trace_size. */
CLATTN_API clattn_status clattn_dispatcher_write_trace(clattn_dispatcher *dispatcher,
                                                       const char *path);

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
