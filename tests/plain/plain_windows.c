/* By starting the program again for each test. */
#include <stdio.h>

#include <windows.h>

#include "plain_process.h"

int plain_run(const char *program, int which, double seconds)
{
    char line[1024];
    STARTUPINFOA start = {.cb = sizeof start};
    PROCESS_INFORMATION process;
    DWORD code = 2;
    snprintf(line, sizeof line, "\"%s\" --only %d", program, which);
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &process))
        return 2;
    if (WaitForSingleObject(process.hProcess, (DWORD)(1000 * seconds)) != WAIT_OBJECT_0)
        TerminateProcess(process.hProcess, 3);
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return (int)code;
}
