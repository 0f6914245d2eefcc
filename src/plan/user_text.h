/* What can be said about an OpenCL C text of the caller's without compiling it: enough to explain
 * a build that failed. */
#ifndef CLATTN_PLAN_USER_TEXT_H
#define CLATTN_PLAN_USER_TEXT_H

#include <stdbool.h>

/* Whether the identifier `name` stands in the text, outside of comments and quotes. */
bool clattn__user_text_has(const char *text, const char *name);

/* The function that a text of this kind should define but doesn't name;
 * NULL if there is none. A text that announces a vector form needs that one only. */
const char *clattn__user_text_score_lacks(const char *text);
const char *clattn__user_text_gradient_lacks(const char *text);
const char *clattn__user_text_mask_lacks(const char *text);

#endif
