//! What an unsafe request makes invalid (RFC 9111 §4.4).

use http::Method;

/// Whether a response of this status to this method invalidates the target URI: the method is
/// unsafe or unknown, the status is 2xx or 3xx.
pub fn invalidates(method: &Method, status: u16) -> bool {
    !method.is_safe() && (200..400).contains(&status)
}

/// The absolute URI that `reference` (`Location` or `Content-Location`) names, if it has the same origin
/// as `base`, an absolute `http` or `https` URI; other origins must not be invalidated.
pub fn same_origin(_base: &str, _reference: &str) -> Option<String> {
    None
}
