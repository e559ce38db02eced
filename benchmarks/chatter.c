/* Writes LINES lines of text, RATE a second, each with the time at which it was written and its number. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    long lines = atol(argv[1]), rate = atol(argv[2]);
    struct timespec next, now;
    setvbuf(stdout, NULL, _IOLBF, 4096);
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (long n = 0; n < lines; n++) {
        clock_gettime(CLOCK_REALTIME, &now);
        printf("%ld.%06ld %ld the quick brown fox jumps over the lazy dog\n", (long)now.tv_sec, now.tv_nsec / 1000, n);
        next.tv_nsec += 1000000000L / rate;
        while (next.tv_nsec >= 1000000000L) { next.tv_nsec -= 1000000000L; next.tv_sec++; }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    return 0;
}
