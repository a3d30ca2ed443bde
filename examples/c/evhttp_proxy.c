/* A caching reverse proxy in one process: evhttp_proxy PORT ORIGIN_HOST ORIGIN_PORT */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy.h"

int main(int argc, char **argv)
{
    swrcache_options options = {.struct_size = sizeof options};
    swrcache_cache *cache;
    int rc;
    if (argc != 4) {
        fprintf(stderr, "usage: %s PORT ORIGIN_HOST ORIGIN_PORT\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    options.memory = SWRCACHE_PRIVATE;
    options.size = 64 << 20;
    if ((rc = swrcache_open(&options, &cache)) != SWRCACHE_OK) {
        fprintf(stderr, "swrcache: %s: %s\n", swrcache_strerror(rc), swrcache_last_error());
        return 1;
    }
    rc = proxy_run(cache, proxy_listen((unsigned short)atoi(argv[1])), argv[2], (unsigned short)atoi(argv[3]));
    swrcache_close(cache);
    return rc;
}
