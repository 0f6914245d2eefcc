/* Scores between -cap and cap, like `softcap`, but applied after ALiBi. params: cap. */
float score(float s, int batch, int head, int q, int k, __global const float *params)
{
    return params[0] * tanh(s / params[0]);
}

#define CLATTN_SCORE_VECTOR
vfloat score_vector(vfloat s, int batch, int head, int q, vint k, __global const float *params)
{
    return params[0] * tanh(s / params[0]);
}
