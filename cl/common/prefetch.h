/* Prefetching of rows that come next, a line at a time between products: a burst would wait for
 * memory. */
#ifndef CLATTN_PREFETCH_H
#define CLATTN_PREFETCH_H

#include "common/vector.h"

#define LINE 64 /* bytes, or more */

typedef struct lines {
    size_t at, row; /* addresses: of the next line, of the row's first */
    long step;      /* bytes */
    int left;       /* rows */
    int a_row;      /* lines of a row */
} lines;

INLINE lines no_lines(void)
{
    const lines none = {0, 0, 0, 0, 0};
    return none;
}

/* `rows` of `bytes` bytes, `step` apart. */
INLINE lines lines_at(size_t address, long step, int rows, int bytes)
{
    const lines l = {address, address, step, rows, (bytes + LINE - 1) / LINE};
    return l;
}

/* Only while rows are left. */
INLINE void prefetch_line(lines *l)
{
    PREFETCH(l->at);
    l->at += LINE;
    if ((long)(l->at - l->row) < (long)l->a_row * LINE)
        return;
    l->row += l->step;
    l->at = l->row;
    l->left--;
}

#endif
