/* The example of the README: attention of 2 queries over 3 keys, on host memory. */
#include <stdio.h>

#include <clattn/clattn.h>

int main(void)
{
    const float q[2][4] = {{8, 0, 0, 0}, {0, 8, 0, 0}};               /* (n_q, head_dim) */
    const float k[3][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}; /* (n_kv, head_dim) */
    const float v[3][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 9, 9, 9}}; /* (n_kv, value_dim) */
    float out[2][4];                                                  /* (n_q, value_dim) */
    clattn_context *context = NULL;
    clattn_attention_desc desc;

    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = 1;
    desc.n_q = 2;
    desc.n_kv = 3;
    desc.head_dim = desc.value_dim = 4;

    clattn_status status = clattn_context_create(NULL, &context);
    if (status == CLATTN_OK)
        status = clattn_attention(context, &desc, q, k, v, out);
    if (status != CLATTN_OK)
        fprintf(stderr, "%s: %s\n", clattn_status_string(status), clattn_error_message());
    for (int i = 0; i < 2 && status == CLATTN_OK; i++)
        printf("%.3f %.3f %.3f %.3f\n", out[i][0], out[i][1], out[i][2], out[i][3]);
    clattn_context_destroy(context);
    return status != CLATTN_OK;
}
