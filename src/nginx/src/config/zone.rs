//! A `swr_cache_zone`: a region inside an nginx shared memory zone, or in a file.
//!
//! | zone init | what happens |
//! |---|---|
//! | a reload with the same name, size and file | the handle of the old cycle is taken over, with every entry |
//! | a reload after the zone was found damaged | as with new memory, or with a new file |
//! | with `file=` | the file is mapped, see `Region::file`; if that fails, memory that does not survive this nginx |
//! | new memory | the largest block of the slab pool becomes a region |
//!
//! With `file=`, nginx's own shared memory zone only holds the name.

use std::cell::{Cell, OnceCell};
use std::ffi::{OsStr, c_void};
use std::fmt::Write as _;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use nginx_sys::{
    NGX_ERROR, NGX_LOG_CRIT, NGX_LOG_EMERG, NGX_LOG_ERR, NGX_LOG_NOTICE, NGX_LOG_WARN, NGX_OK,
    ngx_conf_full_name, ngx_conf_t, ngx_cycle_t, ngx_int_t, ngx_list_part_t, ngx_list_t,
    ngx_pagesize, ngx_pid, ngx_shared_memory_add, ngx_shm_zone_t, ngx_slab_alloc, ngx_slab_pool_t,
    ngx_test_config,
};
use swrcache::engine::Cache;
use swrcache::store::{OnExec, Predecessor, Region, RegionOptions};

use crate::sys::boundary::guard;
use crate::sys::log::log_cycle;
use crate::sys::module_index::tag;
use crate::sys::pool::{Pool, bytes_of};
use crate::sys::request::is_ok;
use crate::worker::wakeup;

/// The optional parameters of `swr_cache_zone`.
#[derive(Default)]
pub(crate) struct ZoneOptions {
    pub(crate) max_object: Option<usize>,
    pub(crate) inactive: Option<u64>,
    /// The file that holds it.
    pub(crate) file: Option<PathBuf>,
}

/// A zone that this process made.
struct Made {
    name: Vec<u8>,
    size: usize,
    file: Option<PathBuf>,
}

/// The last one of each name, to log a change.
static MADE: Mutex<Vec<Made>> = Mutex::new(Vec::new());

/// A declared zone of one configuration cycle.
pub(crate) struct Zone {
    name: Vec<u8>,
    size: usize,
    options: ZoneOptions,
    /// Dropped only with a file: nginx unmaps its own memory before it destroys the old configuration. `leave` gives back what this process
    /// holds.
    cache: OnceCell<ManuallyDrop<Cache>>,
    /// The process that has entered the region through this handle.
    entered: Cell<i32>,
    /// Its damage has been logged.
    told: Cell<bool>,
}

/// The least size: a region, and generous room for nginx's slab pool.
fn least_size() -> usize {
    // SAFETY: nginx writes it before it reads any configuration, and never again.
    Region::min_len() + Region::min_len() / 64 + 16 * unsafe { ngx_pagesize }
}

/// The greatest size: what the store supports, and for one in memory what this machine has.
fn greatest_size(options: &ZoneOptions) -> usize {
    // SAFETY: sysconf takes no pointers.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let memory = usize::try_from(pages)
        .ok()
        .zip(usize::try_from(page).ok())
        .filter(|(pages, _)| *pages > 0 && options.file.is_none())
        .map_or(usize::MAX, |(pages, page)| pages.saturating_mul(page));
    memory.min(Region::max_len())
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
                "gives the zone \"{shown}\" {size} bytes; a zone needs at least {}k",
                least.div_ceil(1024)
            ));
        }
        let most = greatest_size(&options);
        if size > most {
            return Err(format!(
                "gives the zone \"{shown}\" {size} bytes; a zone can have at most {}m on this machine",
                most >> 20
            ));
        }
        if let Some(longest) = options.max_object.filter(|longest| *longest > size) {
            return Err(format!(
                "gives the zone \"{shown}\" {size} bytes, and max_object={longest}, which no zone of this size can hold"
            ));
        }
        // SAFETY: the pool of the cycle being read, which owns the zone's name.
        let pool = unsafe { Pool::new((*cf).pool) };
        let mut owned = pool.copy(name).ok_or("ran out of memory")?;
        // SAFETY: `cf` is nginx's, and the name lives as long as its cycle. nginx logs the reason when it refuses.
        let shm = unsafe {
            let size = match options.file {
                Some(_) => 8 * ngx_pagesize,
                None => size,
            };
            ngx_shared_memory_add(cf, &mut owned, size, tag()).as_mut()
        };
        let shm = shm.ok_or_else(|| format!("can't add the shared memory zone \"{shown}\""))?;
        let zone = Box::new(Zone {
            name: name.to_vec(),
            size,
            options,
            cache: OnceCell::new(),
            entered: Cell::new(0),
            told: Cell::new(false),
        });
        // SAFETY: the cycle that runs, with its list of zones; there is none at the start.
        if let Some(old) = unsafe { (*(*cf).cycle).old_cycle.as_mut() } {
            renew_if_damaged(shm, &mut old.shared_memory);
        }
        shm.init = Some(init);
        shm.data = (&raw const *zone).cast_mut().cast();
        Ok(zone)
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn file(&self) -> Option<&Path> {
        self.options.file.as_deref()
    }

    pub(crate) fn inactive(&self) -> Option<u64> {
        self.options.inactive
    }

    /// The longest body that is stored: by default an eighth of the zone.
    fn max_object(&self) -> u64 {
        self.options.max_object.unwrap_or(self.size / 8) as u64
    }

    /// The cache of this zone, entered by this process; `None` if it could not enter: requests are proxied then.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        let cache = self.cache.get()?;
        // SAFETY: written by nginx at the start of each process.
        let pid = unsafe { ngx_pid };
        if self.entered.get() != pid {
            cache.region().enter(wakeup::own()).ok()?;
            self.entered.set(pid);
        }
        Some(cache)
    }

    /// Gives back what this process holds in the region.
    pub(crate) fn leave(&self) {
        // SAFETY: as in `cache`.
        let pid = unsafe { ngx_pid };
        let entered = self.cache.get().filter(|_| self.entered.get() == pid);
        if let Some(cache) = entered {
            cache.region().leave();
            self.entered.set(0);
        }
    }

    /// Logs, once, that the region has been found damaged.
    pub(crate) fn tell_of_damage(&self) {
        if self.is_damaged() && !self.told.replace(true) {
            let name = String::from_utf8_lossy(&self.name);
            let text = format!(
                "swr_cache_zone \"{name}\": its memory is damaged; requests are proxied without the cache; a reload creates the zone anew"
            );
            log_cycle(NGX_LOG_CRIT, &text);
        }
    }

    fn is_damaged(&self) -> bool {
        self.cache.get().is_some_and(|c| c.region().is_damaged())
    }

    /// Marks the zone's file as closed cleanly. Called in the master, when its workers have ended.
    pub(crate) fn seal(&self) {
        if let (Some(_), Some(cache)) = (self.file(), self.cache.get()) {
            cache.region().seal();
        }
    }

    fn take_over(&self, old: &Zone) -> bool {
        let Some(cache) = old.cache.get() else {
            return false;
        };
        if (self.size, self.file()) != (old.size, old.file()) || old.is_damaged() {
            return false;
        }
        let _ = self.cache.set(ManuallyDrop::new(Cache::clone(cache)));
        self.entered.set(old.entered.get());
        cache.region().set_max_object(self.max_object());
        true
    }

    fn make(&self, shm: &ngx_shm_zone_t) -> Result<(), String> {
        self.tell_of_a_change(shm);
        let options = RegionOptions {
            max_object: self.max_object(),
            // A new binary uses the file while this one still serves.
            on_exec: OnExec::Keep,
            ..RegionOptions::default()
        };
        let region = match self.file() {
            // SAFETY: written by nginx at its start.
            Some(_) if unsafe { ngx_test_config } != 0 => return Ok(()),
            Some(file) => self.open(shm, file, &options)?,
            None => {
                let (base, len) =
                    block(shm).ok_or("its shared memory has no room for the cache")?;
                // SAFETY: the block is ours alone, and mapped as long as any process uses this zone.
                unsafe { Region::create(base, len, &options) }.map_err(|e| e.to_string())?
            }
        };
        let _ = self
            .cache
            .set(ManuallyDrop::new(Cache::new(Arc::new(region))));
        Ok(())
    }
}

impl Zone {
    /// The region in the file, or one in memory if another nginx uses the file or it is unusable.
    fn open(
        &self,
        shm: &ngx_shm_zone_t,
        file: &Path,
        options: &RegionOptions,
    ) -> Result<Region, String> {
        let at = file.display();
        match Region::file(file, self.size, options) {
            Ok((region, Predecessor::Nothing)) => {
                self.log(shm, NGX_LOG_NOTICE, &format!("created the file {at}"));
                Ok(region)
            }
            Ok((region, Predecessor::Shared)) => {
                self.log(
                    shm,
                    NGX_LOG_NOTICE,
                    &format!("attached to the file {at}, which other processes use"),
                );
                Ok(region)
            }
            Ok((region, Predecessor::Useless(why))) => {
                let why = format!("replaced the unusable file {at}; the cache starts empty: {why}");
                self.log(shm, NGX_LOG_WARN, &why);
                Ok(region)
            }
            #[rustfmt::skip]
            Ok((region, Predecessor::Region { kept, dropped, clean })) => {
                let mut text = format!("restored {kept} entries from the file {at}");
                if !clean {
                    text.push_str(", which was not closed cleanly");
                }
                if dropped > 0 {
                    let _ = write!(text, "; dropped {dropped} damaged or incomplete entries");
                }
                self.log(shm, NGX_LOG_NOTICE, &text);
                Ok(region)
            }
            Err(why) => {
                let why = format!(
                    "can't use the file {at}; the cache starts empty and will not survive a restart: {why}"
                );
                self.log(shm, NGX_LOG_ERR, &why);
                Region::anonymous(self.size, options).map_err(|e| e.to_string())
            }
        }
    }

    fn tell_of_a_change(&self, shm: &ngx_shm_zone_t) {
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Made {
            name: self.name.clone(),
            size: self.size,
            file: self.options.file.clone(),
        };
        match made.iter_mut().find(|old| old.name == self.name) {
            None => made.push(new),
            Some(old) => {
                if old.size != new.size {
                    let (was, is) = (old.size, new.size);
                    let text = format!(
                        "its size has changed from {was} to {is} bytes; the cache starts empty"
                    );
                    self.log(shm, NGX_LOG_NOTICE, &text);
                } else if old.file != new.file {
                    self.log(
                        shm,
                        NGX_LOG_NOTICE,
                        "its file has changed; the cache starts empty",
                    );
                }
                *old = new;
            }
        }
    }

    /// Writes to the log of the zone's configuration: at the start, nginx has no other yet.
    fn log(&self, shm: &ngx_shm_zone_t, level: u32, text: &str) {
        let name = String::from_utf8_lossy(&self.name);
        let text = format!("swr_cache_zone \"{name}\": {text}");
        // SAFETY: nginx gives a zone the log of its cycle before it calls `init` (ngx_init_cycle).
        unsafe { nginx_sys::log_line(level as usize, shm.shm.log, &text) };
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        match self.cache.get_mut() {
            // SAFETY: nothing uses it after this.
            Some(cache) if self.options.file.is_some() => unsafe { ManuallyDrop::drop(cache) },
            _ => {}
        }
    }
}

/// Calls `f` with the zones of a cycle that are ours.
fn each_of_ours(list: &mut ngx_list_t, mut f: impl FnMut(&mut ngx_shm_zone_t)) {
    let mut part: *mut ngx_list_part_t = &mut list.part;
    // SAFETY: nginx's list of the zones of a cycle, whose parts have so many elements; nobody else has them meanwhile.
    unsafe {
        while let Some(here) = part.as_ref() {
            let zones: *mut ngx_shm_zone_t = here.elts.cast();
            (0..here.nelts)
                .map(|i| &mut *zones.add(i))
                .filter(|zone| zone.tag == tag())
                .for_each(&mut f);
            part = here.next;
        }
    }
}

/// Has nginx give new memory to a zone whose old memory was found damaged; the old workers keep theirs until they end.
/// (ngx_init_cycle: a new zone with `noreuse` does not get the old memory, and an old zone with it is freed.)
fn renew_if_damaged(new: &mut ngx_shm_zone_t, zones: &mut ngx_list_t) {
    each_of_ours(zones, |old| {
        // SAFETY: zones with our tag have a `Zone`, which lives as long as their cycle.
        let zone = unsafe { old.data.cast::<Zone>().as_ref() };
        if bytes_of(&old.shm.name) == bytes_of(&new.shm.name) && zone.is_some_and(Zone::is_damaged)
        {
            old.forbid_reuse(true);
            new.forbid_reuse(true);
        }
    });
}

/// Lets nginx reuse the memory of the zones again, in the master, when a new cycle has its zones.
pub(crate) fn settle(cycle: &mut ngx_cycle_t) {
    each_of_ours(&mut cycle.shared_memory, |zone| zone.forbid_reuse(false));
}

/// The file of a zone, below nginx's prefix unless it begins with a slash.
pub(crate) fn file_path(cf: *mut ngx_conf_t, value: &[u8]) -> Result<PathBuf, String> {
    // SAFETY: the pool of the cycle being read, which owns the full name.
    let mut name = unsafe { Pool::new((*cf).pool) }
        .copy(value)
        .ok_or("ran out of memory")?;
    // SAFETY: the cycle being read; the name is given a copy of its own where it changes.
    let rc = unsafe { ngx_conf_full_name((*cf).cycle, &mut name, 0) };
    if !is_ok(rc) {
        return Err("ran out of memory".into());
    }
    let path = PathBuf::from(OsStr::from_bytes(bytes_of(&name)));
    let names = |what| Err(format!("names the file \"{}\", {what}", path.display()));
    if !path.parent().is_some_and(Path::is_dir) {
        return names("whose directory does not exist");
    }
    // As the store looks at it: a symbolic link is not followed.
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() => names("which is not a regular file"),
        _ => Ok(path),
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

/// Initialises a zone, whose memory is new or that of the cycle before.
///
/// # Safety
/// `shm` is a zone that [`Zone::declare`] has filled in, and `old` the data of the same zone in the cycle before, or NULL.
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
                zone.log(shm, NGX_LOG_EMERG, &why);
                NGX_ERROR as ngx_int_t
            }
        }
    })
}
