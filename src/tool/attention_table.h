/* The options of clattn attention that name arrays: which slot, which shape, which type. */
#ifndef CLATTN_TOOL_ATTENTION_TABLE_H
#define CLATTN_TOOL_ATTENTION_TABLE_H

#include <clattn/clattn.h>

#include "tool/npy.h"

typedef enum tensor_dim {
    DIM_ONE,
    DIM_BATCH,
    DIM_N_HEAD,
    DIM_N_KV_HEAD,
    DIM_N_Q,
    DIM_N_KV,   /* of --k and --v */
    DIM_N_PAST, /* of --past-k and --past-v */
    DIM_N_KEYS, /* both: what queries meet */
    DIM_HEAD_DIM,
    DIM_VALUE_DIM,
    DIM_TOTAL_Q, /* tokens of all sequences, with --cu-seqlens-q and -k */
    DIM_TOTAL_KV,
    DIM_ENDS, /* batch + 1 */
    DIM_N_PARAMS,
    DIM_LISTED, /* indices of a query, with --top-k */
    TENSOR_DIMS
} tensor_dim;

/* How the file's shape follows from the row's. */
typedef enum tensor_form {
    FORM_SEQUENCE,  /* without batch and head where --q has none; ragged: (token, head, dim) */
    FORM_RESULT,    /* without batch and head where --q has none */
    FORM_VECTOR,    /* as it stands */
    FORM_BROADCAST, /* at most the row's dimensions, each as long or 1, as NumPy broadcasts */
} tensor_form;

typedef enum tensor_type {
    TYPE_STORED, /* that of --dtype */
    TYPE_FLOAT,
    TYPE_BOOL,
    TYPE_LENGTH, /* int32 on the device */
    TYPE_INDEX   /* int32, in the place of floats */
} tensor_type;

/* Which command has the option. */
typedef enum tensor_use { USE_BOTH, USE_ATTENTION, USE_GRAD } tensor_use;

typedef struct tensor_option {
    clattn_slot slot;
    const char *name;                                                       /* of the option, "q" */
    const char *argument;                                                   /* "--q" */
    bool (*read)(const char *argument, const char *path, npy_array *array); /* NULL: an output */
    tensor_type type;
    tensor_form form;
    const char *help;
    uint32_t rank;
    tensor_dim shape[4]; /* (rank) */
    tensor_use use;
} tensor_option;

/* Row by row, inputs before outputs; NULL from the end on. Two rows have the slot of lengths: one
 * of lengths, one of where sequences end. */
const tensor_option *tensor_option_get(uint32_t index);
enum { TENSOR_OPTIONS_MOST = 36 };

/* The first row of a slot, which must have one. */
const tensor_option *tensor_option_of(clattn_slot slot);

/* The queries, keys, values and output: slots that always take part. */
bool tensor_option_is_required(const tensor_option *option);

const char *tensor_dim_name(tensor_dim dim);

#endif
