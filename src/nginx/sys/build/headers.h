/* All that the module may use of nginx. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

/* A string put together from macros, which bindgen does not see through. */
const char *NGX_SIGNATURE = NGX_MODULE_SIGNATURE;

/* What a module says of the server that it is for. */
#ifdef ngx_angie_sign
const ngx_uint_t NGX_SERVER_VERSION = angie_version;
const ngx_uint_t NGX_SERVER_SIGN = ngx_angie_sign;
#else
const ngx_uint_t NGX_SERVER_VERSION = nginx_version;
#endif
