/* The count of forks, over three generations. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"

enum { GENERATIONS = 3 };

/* In the process `depth` generations below: 0 if none of them has the number of one before, and no
 * number changes in the process that has it. */
static int descend(int depth, uint64_t above)
{
    const uint64_t own = clattn__process_generation();
    int state = -1;
    if (depth && own == above)
        return 1;
    if (depth == GENERATIONS)
        return 0;
    const pid_t child = fork();
    if (child == 0)
        _exit(descend(depth + 1, own));
    if (child < 0 || waitpid(child, &state, 0) != child)
        return 2;
    if (clattn__process_generation() != own)
        return 3;
    return WIFEXITED(state) ? WEXITSTATUS(state) : 4;
}

Test(forks, each_generation_has_a_number_of_its_own)
{
    cr_assert_eq(descend(0, 0), 0);
}
