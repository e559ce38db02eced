/* The floor: a scheduler that does nothing but start processes, as soon as those that they wait for have ended.
 *
 *     spawn_loop DAG PARALLELISM
 *
 * Each line of DAG is a task: its name, then the names of those before it, which stand on earlier lines.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <search.h>
#include <sys/wait.h>

extern char **environ;

typedef struct { int waits, *after, afters, room; } Task;

static Task *tasks;
static int count, room;

static int find(const char *name) {
    ENTRY *found = hsearch((ENTRY){.key = (char *)name}, FIND);
    if (!found) { fprintf(stderr, "no task %s\n", name); exit(2); }
    return (int)(long)found->data;
}

static void add(char *line) {
    char *name = strtok(line, " \n");
    if (!name) return;
    if (count == room) tasks = realloc(tasks, (room = room ? 2 * room : 1024) * sizeof *tasks);
    tasks[count] = (Task){0};
    hsearch((ENTRY){.key = strdup(name), .data = (void *)(long)count}, ENTER);
    for (char *before; (before = strtok(NULL, " \n")); tasks[count].waits++) {
        Task *task = &tasks[find(before)];
        if (task->afters == task->room)
            task->after = realloc(task->after, (task->room = task->room ? 2 * task->room : 4) * sizeof(int));
        task->after[task->afters++] = count;
    }
    count++;
}

int main(int argc, char **argv) {
    if (argc != 3) { fprintf(stderr, "usage: spawn_loop DAG PARALLELISM\n"); return 2; }
    FILE *file = fopen(argv[1], "r");
    if (!file) { perror(argv[1]); return 2; }
    hcreate(400000);
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) add(line);

    int most = atoi(argv[2]), running = 0, first = 0, last = 0, done = 0;
    int *ready = malloc(count * sizeof *ready);
    static int of_pid[1 << 22];
    for (int i = 0; i < count; i++) if (!tasks[i].waits) ready[last++] = i;
    while (done < count) {
        while (running < most && first < last) {
            pid_t pid;
            char *words[] = {"/bin/true", NULL};
            int error = posix_spawn(&pid, words[0], NULL, NULL, words, environ);
            if (error) { fprintf(stderr, "posix_spawn: %s\n", strerror(error)); return 2; }
            of_pid[pid] = ready[first++];
            running++;
        }
        int status;
        pid_t pid = wait(&status);
        if (pid < 0 || status) { fprintf(stderr, "a task failed\n"); return 1; }
        Task *task = &tasks[of_pid[pid]];
        for (int i = 0; i < task->afters; i++) if (!--tasks[task->after[i]].waits) ready[last++] = task->after[i];
        running--;
        done++;
    }
    return 0;
}
