/* The rules that a description must keep, each with its own sentence. */
#ifndef CLATTN_PROBLEM_RULES_H
#define CLATTN_PROBLEM_RULES_H

#include "problem/problem.h"

/* Rules about the description alone. */
clattn_status clattn__rules_check_desc(const clattn_attention_desc *desc);

/* Rules about the layouts, once strides are filled in. */
clattn_status clattn__rules_check_layouts(const clattn__problem *problem);

#endif
