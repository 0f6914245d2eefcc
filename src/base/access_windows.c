/* Access control lists: what a private folder gets, and whether a folder is one. */
#include "base/access_windows.h"

#include <aclapi.h>
#include <sddl.h>
#include <stdio.h>

typedef union user_info {
    TOKEN_USER user;
    unsigned char bytes[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
} user_info;

static bool find_user(user_info *info)
{
    HANDLE token;
    DWORD size;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token))
        return false;
    const bool found = GetTokenInformation(token, TokenUser, info, sizeof *info, &size);
    CloseHandle(token);
    return found;
}

/* Protected from what the folder above hands down; SY is the system, BA the administrators. */
#define PRIVATE_LIST L"D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;%ls)"

bool clattn__access_init(SECURITY_ATTRIBUTES *attributes)
{
    user_info info;
    wchar_t *user, list[256];
    PSECURITY_DESCRIPTOR made = NULL;
    if (!find_user(&info) || !ConvertSidToStringSidW(info.user.User.Sid, &user))
        return false;
    const int size = _snwprintf(list, sizeof list / sizeof list[0], PRIVATE_LIST, user);
    LocalFree(user);
    if (size < 0 || (size_t)size >= sizeof list / sizeof list[0] ||
        !ConvertStringSecurityDescriptorToSecurityDescriptorW(list, SDDL_REVISION_1, &made, NULL))
        return false;
    attributes->nLength = sizeof *attributes;
    attributes->lpSecurityDescriptor = made;
    attributes->bInheritHandle = FALSE;
    return true;
}

void clattn__access_finish(SECURITY_ATTRIBUTES *attributes)
{
    LocalFree(attributes->lpSecurityDescriptor);
}

/* Those who can do anything to the user as it is. */
static bool is_trusted(PSID who, PSID user)
{
    return EqualSid(who, user) || IsWellKnownSid(who, WinLocalSystemSid) ||
           IsWellKnownSid(who, WinBuiltinAdministratorsSid);
}

#define CHANGING                                                                                   \
    (FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY | FILE_DELETE_CHILD | DELETE | WRITE_DAC |              \
     WRITE_OWNER | GENERIC_WRITE | GENERIC_ALL)

/* Whether one entry of a list lets someone else change the folder, or what is made in it. Entries
 * for the creator and the owner speak of those who are looked at anyway. Denials are not counted
 * for. */
static bool lets_others(ACCESS_ALLOWED_ACE *entry, PSID user)
{
    PSID who = (PSID)&entry->SidStart;
    switch (entry->Header.AceType) {
    case ACCESS_DENIED_ACE_TYPE:
        return false;
    case ACCESS_ALLOWED_ACE_TYPE:
        return (entry->Mask & CHANGING) && !is_trusted(who, user) &&
               !IsWellKnownSid(who, WinCreatorOwnerSid) &&
               !IsWellKnownSid(who, WinCreatorOwnerRightsSid);
    default:
        return (entry->Mask & CHANGING) != 0; /* kinds with conditions */
    }
}

static const char *complaint_about(PSID owner, ACL *list, PSID user)
{
    if (!owner || !is_trusted(owner, user))
        return "belongs to another user";
    if (!list) /* anyone may do anything; file systems without lists look like that */
        return "others may write to it";
    for (DWORD i = 0; i < list->AceCount; i++) {
        void *entry;
        if (!GetAce(list, i, &entry) || lets_others(entry, user))
            return "others may write to it";
    }
    return NULL;
}

const char *clattn__access_complaint(const wchar_t *path)
{
    user_info info;
    PSID owner = NULL;
    ACL *list = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    if (!find_user(&info) ||
        GetNamedSecurityInfoW((wchar_t *)path, SE_FILE_OBJECT,
                              OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &owner, NULL,
                              &list, NULL, &descriptor) != ERROR_SUCCESS)
        return "nobody says who may write to it";
    const char *complaint = complaint_about(owner, list, info.user.User.Sid);
    LocalFree(descriptor);
    return complaint;
}
