//! The nginx module: puts the cache into nginx.
