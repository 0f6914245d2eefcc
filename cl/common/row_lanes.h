/* How the work-items of a group share rows of queries, keys or values: a work-item has a row for
 * itself, in private memory, or, where work-items are lanes, ROW_LANES of them have one together,
 * in local memory. */
#ifndef CLATTN_ROW_LANES_H
#define CLATTN_ROW_LANES_H

#include "common/vector.h"

/* WG_SIZE: work-items of a group; 1, or a multiple of 16. */
#ifndef WG_SIZE
#define WG_SIZE 1
#endif
#if WG_SIZE < 1 || (WG_SIZE > 1 && WG_SIZE % 16 != 0)
#error "WG_SIZE must be 1 or a multiple of 16"
#endif

/* ROW_TEAMS: rows that a group has at a time. ROW_BARRIER: before a work-item reads what others of
 * its row have written, and before it writes what others have read; all of the group come to it. */
#if WG_SIZE > 1
#define ROW_LANES     16
#define ROW_MEMORY    __local
#define ROW_BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define ROW_LANE      ((int)(get_local_id(0) % ROW_LANES))
#define ROW_TEAM      ((int)(get_local_id(0) / ROW_LANES))
#else
#define ROW_LANES 1
#define ROW_MEMORY
#define ROW_BARRIER()
#define ROW_LANE 0
#define ROW_TEAM 0
#endif
#define ROW_TEAMS (WG_SIZE / ROW_LANES)

/* The row of a work-item's team, of those from `begin` to `end` - 1, when the group is at the n-th:
 * behind the last one that one, without which a team goes to the barriers. */
INLINE int row_of_team(int begin, int end, int n)
{
    return begin + min(n + ROW_TEAM, end - begin - 1);
}

#endif
