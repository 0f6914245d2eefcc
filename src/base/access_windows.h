/* Who may write to a folder, by Windows' access control lists. For file_windows.c. */
#ifndef CLATTN_BASE_ACCESS_WINDOWS_H
#define CLATTN_BASE_ACCESS_WINDOWS_H

#include "base/windows.h"

/* What a new folder gets: full access for the calling user, the system and administrators, and for
 * nobody else; what is made in it inherits that. false where the system doesn't say who the user
 * is.
 */
bool clattn__access_init(SECURITY_ATTRIBUTES *attributes);
void clattn__access_finish(SECURITY_ATTRIBUTES *attributes);

/* NULL if only those three own the file or folder and may change it, or why not. */
const char *clattn__access_complaint(const wchar_t *path);

#endif
