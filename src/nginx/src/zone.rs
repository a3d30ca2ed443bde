//! A `swr_cache_zone`: a region inside an nginx shared memory zone.
//!
//! | zone init | what happens |
//! |---|---|
//! | a reload with the same name and size | the handle of the old cycle is taken over, with every entry |
//! | fresh memory | one block of the slab pool, as large as it gives, becomes a region |

use std::cell::{Cell, OnceCell};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use nginx_sys::{
    NGX_ERROR, NGX_LOG_EMERG, NGX_OK, ngx_conf_t, ngx_int_t, ngx_pagesize, ngx_pid,
    ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_alloc, ngx_slab_pool_t,
};
use swrcache::engine::Cache;
use swrcache::store::{Region, RegionOptions};

use crate::guard::{guard, log_cycle};
use crate::pool::Pool;
use crate::worker;

/// The optional parameters of `swr_cache_zone`.
#[derive(Default)]
pub(crate) struct ZoneOptions {
    pub(crate) max_object: Option<usize>,
    pub(crate) inactive: Option<u64>,
}

/// A declared zone of one configuration cycle.
pub(crate) struct Zone {
    name: Vec<u8>,
    options: ZoneOptions,
    /// Never dropped: a reload that changes the size unmaps the memory before the old configuration goes. What this
    /// process holds is given back by `leave`.
    cache: OnceCell<ManuallyDrop<Cache>>,
    /// The process that has entered the region through this handle.
    entered: Cell<i32>,
}

/// What nginx's slab pool needs for itself beside our block, generously.
fn least_size() -> usize {
    // SAFETY: set once at start-up.
    Region::min_len() + Region::min_len() / 64 + 16 * unsafe { ngx_pagesize }
}

impl Zone {
    /// Declares the zone to nginx, which will map it and call `init`.
    pub(crate) fn declare(
        cf: *mut ngx_conf_t,
        name: &[u8],
        size: usize,
        options: ZoneOptions,
    ) -> Result<Box<Zone>, String> {
        let least = least_size();
        let shown = String::from_utf8_lossy(name);
        if size < least {
            return Err(format!(
                "gives the zone \"{shown}\" {size} bytes, it needs at least {}k",
                least.div_ceil(1024)
            ));
        }
        // SAFETY: the pool of the cycle being read, which owns the zone's name.
        let pool = unsafe { Pool::new((*cf).pool) };
        let mut owned = pool.copy(name).ok_or("ran out of memory")?;
        // SAFETY: plain call; nginx logs the reason when it refuses.
        let shm =
            unsafe { ngx_shared_memory_add(cf, &mut owned, size, crate::module::tag()).as_mut() };
        let shm = shm.ok_or_else(|| format!("can't have the zone \"{shown}\""))?;
        let zone = Box::new(Zone {
            name: name.to_vec(),
            options,
            cache: OnceCell::new(),
            entered: Cell::new(0),
        });
        shm.init = Some(init);
        shm.data = (&raw const *zone).cast_mut().cast();
        Ok(zone)
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn inactive(&self) -> Option<u64> {
        self.options.inactive
    }

    /// The cache of this zone, entered by this process; `None` where that could not be: the request is then proxied.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        let cache = self.cache.get()?;
        // SAFETY: written by nginx at the start of each process.
        let pid = unsafe { ngx_pid };
        if self.entered.get() != pid {
            cache.region().enter(worker::bell()).ok()?;
            self.entered.set(pid);
        }
        Some(cache)
    }

    /// Gives back what this process holds in the region.
    pub(crate) fn leave(&self) {
        // SAFETY: as in `cache`.
        let pid = unsafe { ngx_pid };
        if let Some(cache) = self.cache.get()
            && self.entered.get() == pid
        {
            cache.region().leave();
            self.entered.set(0);
        }
    }

    fn take_over(&self, old: &Zone) -> bool {
        let Some(cache) = old.cache.get() else {
            return false;
        };
        let _ = self.cache.set(ManuallyDrop::new(Cache::clone(cache)));
        self.entered.set(old.entered.get());
        cache
            .region()
            .set_max_object(self.options.max_object.unwrap_or(0) as u64);
        true
    }

    fn make(&self, shm: &ngx_shm_zone_t) -> Result<(), String> {
        let (base, len) = block(shm).ok_or("its memory has no room for the cache")?;
        let options = RegionOptions {
            max_object: self.options.max_object.unwrap_or(0) as u64,
        };
        // SAFETY: the block is ours alone, and mapped as long as any process uses this zone.
        let region = unsafe { Region::create(base, len, &options) }.map_err(|e| e.to_string())?;
        let _ = self
            .cache
            .set(ManuallyDrop::new(Cache::new(Arc::new(region))));
        Ok(())
    }
}

/// The largest block that the zone's slab pool can give, whole pages.
fn block(shm: &ngx_shm_zone_t) -> Option<(NonNull<u8>, usize)> {
    let pool: *mut ngx_slab_pool_t = shm.shm.addr.cast();
    // SAFETY: nginx made a slab pool at the start of the zone (ngx_init_zone_pool) before it calls `init`.
    unsafe {
        let len = (*pool).pfree * ngx_pagesize;
        Some((NonNull::new(ngx_slab_alloc(pool, len).cast())?, len))
    }
}

unsafe extern "C" fn init(shm: *mut ngx_shm_zone_t, old: *mut c_void) -> ngx_int_t {
    guard("zone set-up", NGX_ERROR as ngx_int_t, || {
        // SAFETY: nginx passes the zone that `declare` filled in, and the data of the same zone of the old cycle.
        let (shm, zone, old) = unsafe {
            (
                &*shm,
                &*(*shm).data.cast::<Zone>(),
                old.cast::<Zone>().as_ref(),
            )
        };
        if old.is_some_and(|old| zone.take_over(old)) {
            return NGX_OK as ngx_int_t;
        }
        match zone.make(shm) {
            Ok(()) => NGX_OK as ngx_int_t,
            Err(why) => {
                let name = String::from_utf8_lossy(&zone.name);
                log_cycle(
                    NGX_LOG_EMERG as usize,
                    &format!("swr_cache_zone \"{name}\": {why}"),
                );
                NGX_ERROR as ngx_int_t
            }
        }
    })
}
