/* The arrays of one attention command: reading and checking inputs, allocating and writing outputs.
 */
#ifndef CLATTN_TOOL_ATTENTION_TENSORS_H
#define CLATTN_TOOL_ATTENTION_TENSORS_H

#include "tool/attention_table.h"
#include "tool/output_file.h"

/* All arrays of a command. */
typedef struct attention_tensors {
    const char *path[TENSOR_OPTIONS_MOST]; /* by row of the table, as given, borrowed; NULL: none */
    npy_array array[CLATTN_SLOT_LIMIT];    /* by slot */
    npy_array second[CLATTN_SLOT_LIMIT];   /* by slot: outputs of the reference kernel, or empty */
    int32_t *lengths[CLATTN_SLOT_LIMIT];   /* by slot, owned: what TYPE_LENGTH rows hold */
    int64_t seed[2];                       /* of the dropout: seed and offset */
    output_file file[CLATTN_SLOT_LIMIT];   /* by slot */
    int64_t extent[TENSOR_DIMS];
    uint64_t between; /* slots that are computed and used, with a file or without */
    bool ragged;      /* --cu-seqlens-* are given: lengths say where sequences end */
} attention_tensors;

/* Whether an option of this name ("past-k") is given, and whether one of this slot is. */
bool tensors_is_given(const attention_tensors *tensors, const char *name);
bool tensors_has(const attention_tensors *tensors, clattn_slot slot);

/* Whether the array of a row takes part. */
bool tensors_takes_part(const attention_tensors *tensors, uint32_t row);

/* Queries (slot Q) or keys (K) of a batch entry. */
int64_t tensors_length(const attention_tensors *tensors, clattn_slot slot, int64_t b);

/* Each of these prints one line where it fails. Reads the inputs, checks shapes and lengths. */
bool tensors_read(attention_tensors *tensors);
/* Opens the output files, then makes the arrays for them. */
bool tensors_prepare_outputs(attention_tensors *tensors);
/* Makes a second set of output arrays. */
bool tensors_prepare_second(attention_tensors *tensors);
/* Writes the output files; they appear together. */
bool tensors_write(attention_tensors *tensors);
void tensors_finish(attention_tensors *tensors);

#endif
