/* The arrays of one attention command: which option names which slot, what shape it has. */
#ifndef CLATTN_TOOL_ATTENTION_TENSORS_H
#define CLATTN_TOOL_ATTENTION_TENSORS_H

#include <clattn/clattn.h>

#include "tool/npy.h"
#include "tool/output_file.h"

typedef enum tensor_dim {
    DIM_BATCH,
    DIM_N_HEAD,
    DIM_N_KV_HEAD,
    DIM_N_Q,
    DIM_N_KV,
    DIM_HEAD_DIM,
    DIM_VALUE_DIM,
    TENSOR_DIMS
} tensor_dim;

typedef struct tensor_option {
    clattn_slot slot;
    bool written;
    bool required;
    const char *name;     /* of the option, "q" */
    const char *argument; /* "--q" */
    const char *help;
    uint32_t rank;       /* of a 4-D problem; one or two less where Q has fewer dimensions */
    tensor_dim shape[4]; /* (rank) */
} tensor_option;

/* Row by row, inputs before outputs; NULL from the end on. */
const tensor_option *tensor_option_get(uint32_t index);
enum { TENSOR_OPTIONS_MOST = CLATTN_SLOT_LIMIT };

/* All arrays of a command, by slot. */
typedef struct attention_tensors {
    const char *path[CLATTN_SLOT_LIMIT]; /* as given, borrowed; NULL: takes no part */
    npy_array array[CLATTN_SLOT_LIMIT];
    output_file file[CLATTN_SLOT_LIMIT];
    int64_t extent[TENSOR_DIMS];
} attention_tensors;

/* Each of these prints one line where it fails. Reads the inputs, checks that shapes agree. */
bool tensors_read(attention_tensors *tensors);
/* Opens the output files, then makes the arrays for them. */
bool tensors_prepare_outputs(attention_tensors *tensors);
/* Writes the output files; they appear together. */
bool tensors_write(attention_tensors *tensors);
void tensors_finish(attention_tensors *tensors);

#endif
