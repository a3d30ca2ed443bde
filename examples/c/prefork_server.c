/*
 * A caching reverse proxy whose worker processes share one cache in anonymous memory. A worker that dies is replaced; the
 * others go on, and with them what is cached.
 *
 *     prefork_server PORT ORIGIN_HOST ORIGIN_PORT WORKERS
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy.h"

#define MAX_WORKERS 60

static pid_t workers[MAX_WORKERS];
static volatile sig_atomic_t ending;

static void on_term(int signal)
{
    (void)signal;
    ending = 1;
    for (int i = 0; i < MAX_WORKERS; i++)
        if (workers[i] > 0)
            kill(workers[i], SIGTERM);
}

static pid_t start(swrcache_cache *cache, evutil_socket_t listener, char **argv)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    signal(SIGTERM, SIG_DFL);
    int rc = 1;
    if (swrcache_after_fork(cache) == SWRCACHE_OK)
        rc = proxy_run(cache, listener, argv[2], (unsigned short)atoi(argv[3]));
    swrcache_close(cache);
    _exit(rc);
}

int main(int argc, char **argv)
{
    swrcache_options options = {.struct_size = sizeof options};
    struct sigaction action = {.sa_handler = on_term};
    swrcache_cache *cache;
    int rc, count = argc == 5 ? atoi(argv[4]) : 0;
    if (count < 1 || count > MAX_WORKERS) {
        fprintf(stderr, "usage: %s PORT ORIGIN_HOST ORIGIN_PORT WORKERS\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    options.memory = SWRCACHE_SHARED;
    options.size = 64 << 20;
    options.processes = 2 * MAX_WORKERS + 1;  /* while the workers of a restart follow the old ones */
    if ((rc = swrcache_open(&options, &cache)) != SWRCACHE_OK) {
        fprintf(stderr, "swrcache: %s: %s\n", swrcache_strerror(rc), swrcache_last_error());
        return 1;
    }
    evutil_socket_t listener = proxy_listen((unsigned short)atoi(argv[1]));
    sigaction(SIGTERM, &action, NULL);
    for (int i = 0; i < count; i++)
        workers[i] = start(cache, listener, argv);

    for (;;) {
        pid_t pid = wait(NULL);
        if (pid < 0 && ending)
            break;
        for (int i = 0; i < count; i++) {
            if (pid > 0 && workers[i] == pid)
                workers[i] = ending ? 0 : start(cache, listener, argv);
        }
    }
    swrcache_close(cache);
    return 0;
}
