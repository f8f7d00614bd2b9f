// The program whose functions the tests probe. It does what lines on its input say, and says when it has.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROBED __attribute__((noinline, noclone))

PROBED long px_sum(long a, int b, long c, unsigned char d, long e, long f) {
    __asm__ volatile("" ::: "memory");
    return a + b + c + d + e + f;
}

PROBED long px_nested(long depth) {
    long below = depth > 0 ? px_nested(depth - 1) : 0;
    __asm__ volatile("" ::: "memory");
    return below + 1;
}

static PROBED int px_private(int a) {
    __asm__ volatile("" ::: "memory");
    return a;
}

long px_other(int a);
int px_variable = 1;

static void *thread(void *times) {
    for (long i = 0; i < (long)times; i++) px_sum(i, 0, 0, 0, 0, 0);
    return NULL;
}

int main(void) {
    char what[16];
    long times;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready %d\n", getpid());
    while (scanf("%15s %ld", what, &times) == 2) {
        switch (what[0]) {
        case 's': for (long i = 0; i < times; i++) px_sum(i, -2, 3, 4, 5, 6); break;
        case 'n': px_nested(times); break;
        case 'p': for (long i = 0; i < times; i++) { px_private(i); px_other(i); } break;
        case 't': {
            pthread_t threads[4];
            for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, thread, (void *)times);
            for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        }
        }
        printf("done\n");
    }
    return 0;
}
