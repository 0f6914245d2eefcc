/* A race on purpose: ci/sanitize.sh must see ThreadSanitizer stop it, or it would not see a real
 * one either. Without Criterion, whose memory lies where ThreadSanitizer has its own. Not part of
 * the test suite. */
#include <pthread.h>
#include <stddef.h>

static int count;

static void *add(void *user)
{
    (void)user;
    for (int i = 0; i < 1000; i++)
        count++;
    return NULL;
}

int main(void)
{
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, add, NULL) != 0)
            return 0; /* nothing to be seen */
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
