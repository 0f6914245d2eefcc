/* Several documents in one sequence of tokens: each attends to itself alone. Self-attention.
 * params: tokens of a batch entry, then (batch, tokens) numbers of documents, which don't descend
 * (visible_tile needs that; visible doesn't). */
int visible(int batch, int head, int q, int k, __global const float *params)
{
    __global const float *document = params + 1 + batch * (int)params[0];
    return document[q] == document[k];
}

#define CLATTN_VISIBLE_TILE
int visible_tile(int batch, int head, int q_begin, int q_end, int k_begin, int k_end,
                 __global const float *params)
{
    __global const float *document = params + 1 + batch * (int)params[0];
    return document[q_begin] <= document[k_end - 1] && document[k_begin] <= document[q_end - 1];
}
