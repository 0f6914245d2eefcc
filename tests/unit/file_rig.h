/* What the tests of files share: a folder, a file in it, and what is expected of both. */
#ifndef CLATTN_TESTS_FILE_RIG_H
#define CLATTN_TESTS_FILE_RIG_H

#include "base/file.h"
#include "place.h"

extern clattn__env file_env;
extern char file_folder[PLACE_SIZE], file_path[PLACE_PATH]; /* of a file that is not there yet */

/* For TestSuite: makes them; removes what is left, with one level of folders. */
void file_begin(void);
void file_finish(void);

void file_put(const char *text);
void file_expect_content(const char *expected);
void file_expect_failure(clattn_status status, const char *says);
/* Neither a folder to use nor one to make. */
void file_expect_not_private(const char *which, const char *says);

/* How many names the folder has. */
int file_count(void);

/* A visitor that removes what it is shown. */
clattn_status file_remove_one(void *user, const char *name);

#endif
