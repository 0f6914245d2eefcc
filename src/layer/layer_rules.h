/* The rules that descriptions of layers must keep, each with its own sentence. */
#ifndef CLATTN_LAYER_LAYER_RULES_H
#define CLATTN_LAYER_LAYER_RULES_H

#include "layer/layer.h"

/* Fills in what 0 stands for, too. */
clattn_status clattn__multi_head_check(clattn_multi_head_desc *desc);
clattn_status clattn__multiplicative_check(const clattn_multiplicative_desc *desc);
clattn_status clattn__additive_layer_check(const clattn_additive_layer_desc *desc);

#endif
