/* Every step-th key up to `reach` keys to either side (Beltagy et al. 2020, "Longformer").
 * params: step, reach. */
int visible(int batch, int head, int q, int k, __global const float *params)
{
    const int step = (int)params[0], reach = (int)params[1];
    return (k - q) % step == 0 && k - q <= reach && q - k <= reach;
}

#define CLATTN_VISIBLE_VECTOR
vint visible_vector(int batch, int head, int q, vint k, __global const float *params)
{
    const int step = (int)params[0], reach = (int)params[1];
    const vint d = k - q;
    return (d % (vint)step == (vint)0) & (d <= (vint)reach) & (d >= (vint)-reach);
}

#define CLATTN_VISIBLE_TILE
int visible_tile(int batch, int head, int q_begin, int q_end, int k_begin, int k_end,
                 __global const float *params)
{
    const int reach = (int)params[1];
    return k_begin <= q_end - 1 + reach && k_end - 1 >= q_begin - reach;
}
