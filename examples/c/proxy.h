/* A caching reverse proxy on libevent's evhttp; used by evhttp_proxy.c and prefork_server.c. */
#ifndef PROXY_H
#define PROXY_H

#include <event2/util.h>

#include "swrcache.h"

/* Serves the listening socket until the process is told to end. */
int proxy_run(swrcache_cache *cache, evutil_socket_t listener, const char *origin_host, unsigned short origin_port);

/* A listening socket on 127.0.0.1. */
evutil_socket_t proxy_listen(unsigned short port);

#endif
