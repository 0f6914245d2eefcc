/* Options of clattn attention that are no arrays: what they mean for the description. */
#ifndef CLATTN_TOOL_ATTENTION_SETTINGS_H
#define CLATTN_TOOL_ATTENTION_SETTINGS_H

#include "tool/attention_tensors.h"
#include "tool/options.h"
#include "tool/stored_type.h"

typedef struct attention_settings {
    option_number scale, softcap, dropout;
    option_integer seed, top_k, sample;
    option_pair window;
    bool causal;
    int align, stage, dtype; /* as of OPTION_CHOICE */
    const char *score_path, *mask_path, *gradient_path;
    char *score_text, *mask_text, *gradient_text; /* owned; NULL: none */
} attention_settings;

/* Writes the rows of the options of clattn attention or clattn grad, without an end; their number.
 */
uint32_t settings_fill_rows(attention_settings *settings, bool grad, option_row *rows);

/* What can be known before arrays are read: which options go together, values, the caller's
 * functions. EXIT_RAN, or a line was printed and it is the exit status. */
int settings_check(attention_settings *settings, const attention_tensors *tensors);

/* Fills the description, for arrays that were read. The description borrows the functions. */
int settings_describe(const attention_settings *settings, attention_tensors *tensors,
                      clattn_attention_desc *desc);

/* The option that a sentence of the library is about, "attention" if none. */
const char *settings_blame(const attention_settings *settings, clattn_status status,
                           const char *message);

void settings_finish(attention_settings *settings);

#endif
