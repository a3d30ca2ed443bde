//! `$proxy_host` and `$proxy_port` of a URL, as ngx_http_proxy_eval and ngx_http_proxy_set_vars make them.

/// Where `proxy_pass` goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// `$proxy_host`: with the port where it is not the scheme's.
    pub(crate) host: Vec<u8>,
    /// `$proxy_port`: empty for a socket in the file system.
    pub(crate) port: Vec<u8>,
}

/// The URL without its scheme, and the scheme's port; nothing if the scheme is neither http nor https.
pub(crate) fn split(url: &[u8]) -> Option<(&[u8], u16)> {
    let after = |scheme: &[u8]| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    match after(b"http://") {
        Some(rest) => Some((rest, 80)),
        None => Some((after(b"https://")?, 443)),
    }
}

impl Proxied {
    /// A socket in the file system.
    pub(crate) fn socket() -> Proxied {
        Proxied {
            host: b"localhost".to_vec(),
            port: Vec::new(),
        }
    }

    /// A host, with the port that the URL names, if it does: as a number and as it is written.
    pub(crate) fn at(host: &[u8], port: Option<(u16, &[u8])>, scheme_port: u16) -> Proxied {
        match port.filter(|(number, _)| *number != scheme_port) {
            None => Proxied {
                host: host.to_vec(),
                port: scheme_port.to_string().into_bytes(),
            },
            Some((_, text)) => Proxied {
                host: [host, b":", text].concat(),
                port: text.to_vec(),
            },
        }
    }
}
