/* A program outside the repository, as small as it gets: see install_test.sh. */
#include <stdio.h>
#include <clattn/clattn.h>
int main(void)
{
    const float q = 2, k = 3, v = 5;
    float out = 0;
    clattn_context *context = NULL;
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = desc.n_head = desc.n_kv_head = desc.n_q = desc.n_kv = desc.head_dim = 1;
    desc.value_dim = 1;
    clattn_status status = clattn_context_create(NULL, &context);
    if (status == CLATTN_OK)
        status = clattn_attention(context, &desc, &q, &k, &v, &out);
    printf("%s %g\n", clattn_status_string(status), (double)out);
    return clattn_context_destroy(context) != CLATTN_OK;
}
