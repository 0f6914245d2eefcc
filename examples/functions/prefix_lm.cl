/* Every query sees the keys of a prefix, and from there on it is causal (Raffel et al. 2020).
 * params: (batch) keys of the prefix. */
int visible(int batch, int head, int q, int k, __global const float *params)
{
    return k <= q || k < (int)params[batch];
}

#define CLATTN_VISIBLE_VECTOR
vint visible_vector(int batch, int head, int q, vint k, __global const float *params)
{
    return (k <= (vint)q) | (k < (vint)(int)params[batch]);
}

#define CLATTN_VISIBLE_TILE
int visible_tile(int batch, int head, int q_begin, int q_end, int k_begin, int k_end,
                 __global const float *params)
{
    return k_begin < q_end || k_begin < (int)params[batch];
}
