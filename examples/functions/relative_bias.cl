/* A learned bias by distance: one number for each head and each signed distance from key to query,
 * distances beyond the table's use its ends (as in Shaw et al. 2018, Raffel et al. 2020).
 * params: reach, then (n_head, 2 * reach + 1). */
float score(float s, int batch, int head, int q, int k, __global const float *params)
{
    const int reach = (int)params[0];
    const int distance = clamp(k - q, -reach, reach);
    return s + params[1 + head * (2 * reach + 1) + reach + distance];
}
