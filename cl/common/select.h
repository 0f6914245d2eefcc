/* The largest of a list of different numbers, and their order. */
#ifndef CLATTN_SELECT_H
#define CLATTN_SELECT_H

static inline ulong middle_of(ulong a, ulong b, ulong c)
{
    return max(min(a, b), min(max(a, b), c));
}

/* Puts the `first` largest of the `count` numbers, more than `first`, in front, the least of them
 * last. Hoare 1961, "Algorithm 65: Find". */
static __attribute__((noinline)) void select_largest(__global ulong *x, int count, int first)
{
    int low = 0, high = count - 1;
    while (low < high) {
        const ulong pivot = middle_of(x[low], x[low + (high - low) / 2], x[high]);
        int i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i <= j) {
                const ulong moved = x[i];
                x[i++] = x[j];
                x[j--] = moved;
            }
        }
        if (first - 1 <= j)
            high = j;
        else if (first - 1 >= i)
            low = i;
        else
            return;
    }
}

/* Lets the number at `at` sink below smaller ones in a heap of `count` with the least on top. */
static inline void sink_down(__global ulong *x, int at, int count)
{
    const ulong moved = x[at];
    for (int below; (below = 2 * at + 1) < count; at = below) {
        below += below + 1 < count && x[below + 1] < x[below];
        if (x[below] > moved)
            break;
        x[at] = x[below];
    }
    x[at] = moved;
}

/* Descending order, by a heap: no more time for one order than for another. */
static __attribute__((noinline)) void sort_descending(__global ulong *x, int count)
{
    for (int at = count / 2; at-- > 0;)
        sink_down(x, at, count);
    for (int last = count; --last > 0;) {
        const ulong least = x[0];
        x[0] = x[last];
        x[last] = least;
        sink_down(x, 0, last);
    }
}

#endif
