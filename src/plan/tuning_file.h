/* The text of a tuning file: a line that names the format, then a row a line. Reading takes what is
 * good, line by line; nothing in a file can do harm. See docs/tuning.md. */
#ifndef CLATTN_PLAN_TUNING_FILE_H
#define CLATTN_PLAN_TUNING_FILE_H

#include "base/text.h"

/* Larger files are not read. */
#define CLATTN__LARGEST_TUNING ((uint64_t)1 << 20)

/* NULL, or what is wrong with the file as a whole. */
const char *clattn__tuning_text_check(const char *text);

/* The next good row at or behind *at, which moves behind it; false: there is none. Begin with the
 * whole text. *skipped (may be NULL) counts lines that are neither rows nor comments. */
bool clattn__tuning_text_next(const char **at, clattn_tuning_row *row, uint32_t *skipped);

/* The file's beginning, and a row. */
void clattn__tuning_text_begin(clattn__text *text);
void clattn__tuning_text_add(clattn__text *text, const clattn_tuning_row *row);

/* Device, driver, platform's version, compute units and version of clattn: for what a row holds. */
void clattn__tuning_row_init(const clattn_device_info *info, clattn_tuning_row *row);
bool clattn__tuning_row_is_for(const clattn_tuning_row *row, const clattn_tuning_row *device);

#endif
