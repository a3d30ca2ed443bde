/* All that the module may use of nginx. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

/* A string put together from macros, which bindgen does not see through. */
const char *NGX_SIGNATURE = NGX_MODULE_SIGNATURE;
