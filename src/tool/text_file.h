/* Text files that a command passes on, such as the caller's functions in OpenCL C. */
#ifndef CLATTN_TOOL_TEXT_FILE_H
#define CLATTN_TOOL_TEXT_FILE_H

#include <stddef.h>

/* The whole file, ending with a 0, to be freed. Refused (NULL, one line on stderr): an empty file,
 * one with a zero byte, one longer than `most` bytes. `argument` is the option that named it. */
char *text_file_read(const char *argument, const char *path, size_t most);

#endif
