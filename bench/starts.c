/* What a program waits for until its first result, and how much memory a large call takes beyond
 * its tensors; bench/starts.py runs it in new processes.
 *
 *   starts first TOKENS      prints seconds: of the context, of the first call after it
 *   starts memory TOKENS     prints bytes: of the tensors, that were resident beyond them at most
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <clattn/clattn.h>

enum { HEADS = 8, DIM = 64, WARM_TOKENS = 1024, PAGE = 4096 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Kilobytes of /proc/self/status, by name; 0 on systems without. */
static long kilobytes(const char *name)
{
    char line[256];
    long found = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && found == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            found = strtol(line + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return found;
}

static float *numbers(size_t count)
{
    float *made = aligned_alloc(PAGE, (count * sizeof *made + PAGE - 1) / PAGE * PAGE);
    if (!made) {
        fprintf(stderr, "starts: no memory for %zu numbers\n", count);
        exit(1);
    }
    for (size_t i = 0; i < count; i++)
        made[i] = (float)(i * 7919 % 4096) / 4096 - 0.5f;
    return made;
}

static void require(clattn_status status)
{
    if (status == CLATTN_OK)
        return;
    fprintf(stderr, "starts: %s: %s\n", clattn_status_string(status), clattn_error_message());
    exit(1);
}

static void attend(clattn_context *context, int64_t tokens, float *const tensor[4])
{
    clattn_attention_desc desc;
    clattn_attention_desc_init(&desc);
    desc.batch = 1;
    desc.n_head = desc.n_kv_head = HEADS;
    desc.n_q = desc.n_kv = tokens;
    desc.head_dim = desc.value_dim = DIM;
    require(clattn_attention(context, &desc, tensor[0], tensor[1], tensor[2], tensor[3]));
}

static void first(int64_t tokens, float *const tensor[4])
{
    clattn_context *context = NULL;
    const double begin = now();
    require(clattn_context_create(NULL, &context));
    const double created = now();
    attend(context, tokens, tensor);
    printf("%.6f %.6f\n", created - begin, now() - created);
    clattn_context_destroy(context);
}

/* Warmed up by a smaller problem: what a driver and its compiler need isn't the call's. */
static void memory(int64_t tokens, float *const tensor[4])
{
    clattn_context *context = NULL;
    require(clattn_context_create(NULL, &context));
    attend(context, tokens < WARM_TOKENS ? tokens : WARM_TOKENS, tensor);
    FILE *peak = fopen("/proc/self/clear_refs", "w"); /* 5: the peak begins anew */
    if (!peak || fputs("5", peak) < 0 || fclose(peak) != 0) {
        fprintf(stderr, "starts: /proc/self/clear_refs: can't be written\n");
        exit(1);
    }
    const long before = kilobytes("VmRSS:");
    attend(context, tokens, tensor);
    const double size = 4.0 * (double)tokens * HEADS * DIM * sizeof(float);
    printf("%.0f %ld\n", size, (kilobytes("VmHWM:") - before) * 1024);
    clattn_context_destroy(context);
}

int main(int argc, char **argv)
{
    const long tokens = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (tokens < 1 || tokens > 1 << 20 ||
        (strcmp(argv[1], "first") != 0 && strcmp(argv[1], "memory") != 0)) {
        fprintf(stderr, "usage: starts first|memory TOKENS     1 to %d\n", 1 << 20);
        return 2;
    }
    float *tensor[4];
    for (int i = 0; i < 4; i++)
        tensor[i] = numbers((size_t)tokens * HEADS * DIM);
    (strcmp(argv[1], "first") == 0 ? first : memory)(tokens, tensor);
    for (int i = 0; i < 4; i++)
        free(tensor[i]);
    return 0;
}
