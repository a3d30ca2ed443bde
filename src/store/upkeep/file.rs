//! Regions in files: they outlive the processes, and a new binary goes on with them.
//!
//! | the file | what happens |
//! |---|---|
//! | is not there, or is empty | made new |
//! | nobody has it, and it is a region of this layout and length | taken over (`recover.rs`) |
//! | this process has it, or the one that started it left it open | shared: the region goes on as it is |
//! | others have it who let anyone join ([`Share::Anyone`]), as the caller does | shared, too |
//! | others have it otherwise | [`StoreError::InUse`]; it is left alone |
//! | holds something else | [`StoreError::Foreign`]; it is left alone |
//! | is a region that cannot be used: another layout or length, cut short, contradicting itself, or in use when the machine stopped | replaced by a new file, with the reason |
//!
//! Who has a file is told by locks that belong to what `open` made (`F_OFD_SETLK`, fcntl(2)): they are held as long as
//! any process, forked or started by this one, has it open or mapped; and end with the last one, however that ends.
//!
//! | byte | exclusively | shared |
//! |---|---|---|
//! | 0 | while a file is looked at, taken or made | - |
//! | 1 | by a family of processes | by all who let anyone join |
//!
//! A file is never changed in length: a new one is made beside it (`PATH.new`) and takes its name when it is ready, so
//! nobody sees half a shared, and who still has the old one keeps it. What was found at the path is held until then: a file
//! that another made meanwhile is not replaced.
//!
//! What a stop of the machine leaves is a mixture of pages from different times. Two of them are waited for: the header of a
//! new file, before it gets its name; and the header that says that a file is in use again, before anything is changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::store::error::StoreError;
use crate::store::index::checksum::Coverage;
use crate::store::memory::bytes::Memory;
use crate::store::memory::layout::{Geometry, MAGIC};
use crate::store::upkeep::create;
use crate::store::upkeep::membership::Shared;
use crate::store::upkeep::options::{OnExec, RegionOptions, Share};
use crate::store::upkeep::recover::recover;

/// How long to wait for another who looks at the file: so many pauses.
const PATIENCE: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(5);
/// Tries to open a file that others replace meanwhile.
const TRIES: usize = 16;

/// Held while this process opens a file: another thread must not find it open and half taken (see `ours`).
static OPENING: Mutex<()> = Mutex::new(());

/// What was found where a region in a file was wanted.
#[derive(Debug)]
pub enum Found {
    /// Nothing: the region is new.
    Nothing,
    /// A region that nobody had in use.
    Region {
        /// Objects that were taken over.
        kept: u64,
        /// Objects that were damaged, or still being filled.
        dropped: u64,
        /// Whether its last process ended well.
        clean: bool,
    },
    /// A region that is in use by this process, by the one that started it, or by others who let anyone join.
    Shared,
    /// A region that cannot be used: the file was replaced.
    Useless(StoreError),
}

/// What one look at a path gave.
enum Look {
    Ready(Arc<Shared>, Found),
    /// A new one has to be made in the place of what was seen.
    Make(Found, Existing),
    /// The file was replaced meanwhile.
    Again,
}

/// What a new file takes the place of. It is kept open, so that it can be told from another.
enum Existing {
    Nothing,
    /// Others, or this process, may have it.
    File(File),
    /// It is locked against everybody.
    Unused(File),
}

impl Existing {
    /// Whether the path still names it.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        match self {
            Existing::File(file) | Existing::Unused(file) => is_at(file, path),
            Existing::Nothing => match fs::symlink_metadata(path) {
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(true),
                meta => meta.map(|_| false),
            },
        }
    }
}

/// A region in a file, which outlives the processes. Its lock is held until the last process that has it has ended.
pub(crate) fn open_region(
    path: &Path,
    len: usize,
    opt: &RegionOptions,
) -> Result<(Arc<Shared>, Found), StoreError> {
    Geometry::of(len)?;
    let _one = OPENING.lock();
    for _ in 0..TRIES {
        let (found, seen) = match look(path, len, opt)? {
            Look::Ready(shared, found) => {
                settle(&shared, opt.share);
                return Ok((shared, found));
            }
            Look::Again => continue,
            // Others may count on it.
            Look::Make(Found::Useless(why @ StoreError::Length { .. }), _)
                if opt.share == Share::Anyone =>
            {
                return Err(why);
            }
            Look::Make(found, seen) => (found, seen),
        };
        if let Some(shared) = make(path, len, opt, seen)? {
            return Ok((shared, found));
        }
    }
    Err(StoreError::InUse)
}

fn look(path: &Path, len: usize, opt: &RegionOptions) -> Result<Look, StoreError> {
    let meta = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Ok(Look::Make(Found::Nothing, Existing::Nothing));
        }
        meta => meta?,
    };
    if !meta.is_file() {
        return Err(StoreError::Foreign);
    }
    if let Some(file) = ours(&meta, opt.on_exec) {
        return join(file, len, opt);
    }
    let file = open(OpenOptions::new().read(true).write(true), path, opt.on_exec)?;
    lock_patiently(&file, LOOKING)?;
    if !is_at(&file, path)? {
        return Ok(Look::Again);
    }
    if lock(&file, IN_USE, libc::F_WRLCK).is_err() {
        // Others have it.
        if opt.share == Share::Family {
            return Err(StoreError::InUse);
        }
        lock(&file, IN_USE, libc::F_RDLCK)?;
        return match join(file, len, opt)? {
            Look::Ready(shared, _) if !sees_processes_of(&shared) => Err(StoreError::InUse),
            joined => Ok(joined),
        };
    }
    let held = Existing::Unused(file.try_clone()?);
    let useless = |why| Ok(Look::Make(Found::Useless(why), held));
    match identify(&file, len)? {
        None => Ok(Look::Make(Found::Nothing, Existing::Unused(file))),
        Some(Err(why)) => useless(why),
        Some(Ok(())) => match take(file, len, opt) {
            Ok((shared, found)) => Ok(Look::Ready(shared, found)),
            Err(why) => useless(why),
        },
    }
}

/// Joins a region that is in use.
fn join(file: File, len: usize, opt: &RegionOptions) -> Result<Look, StoreError> {
    let seen = Existing::File(file.try_clone()?);
    Ok(match attach(file, len) {
        Ok(shared) => {
            agree(&shared, opt)?;
            Look::Ready(shared, Found::Shared)
        }
        Err(why) => Look::Make(Found::Useless(why), seen),
    })
}

fn open(options: &mut OpenOptions, path: &Path, on_exec: OnExec) -> io::Result<File> {
    let file = options
        .custom_flags(libc::O_NOFOLLOW)
        .mode(0o600)
        .open(path)?;
    if on_exec == OnExec::Keep {
        // SAFETY: changes a flag of a descriptor that is ours.
        let kept = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
        if kept < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(file)
}

/// The byte that is locked while a file is looked at.
const LOOKING: libc::off_t = 0;
/// The byte that tells who has it.
const IN_USE: libc::off_t = 1;

/// Locks a byte, changes its lock, or frees it.
fn lock(file: &File, byte: libc::off_t, kind: libc::c_int) -> Result<(), StoreError> {
    // SAFETY: all-zero is a valid value of this C struct.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte;
    lock.l_len = 1;
    // SAFETY: reads one struct on the stack.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(());
    }
    let e = io::Error::last_os_error();
    match e.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(StoreError::InUse),
        _ => Err(StoreError::Os(e)),
    }
}

/// The file has been looked at. Errors change nothing: a lock that is there stays.
fn settle(shared: &Shared, share: Share) {
    if let Some(file) = shared.core.memory.file() {
        if share == Share::Anyone {
            let _ = lock(file, IN_USE, libc::F_RDLCK);
        }
        let _ = lock(file, LOOKING, libc::F_UNLCK);
    }
}

/// Locks a byte that another holds for a while at most.
fn lock_patiently(file: &File, byte: libc::off_t) -> Result<(), StoreError> {
    for _ in 0..PATIENCE {
        match lock(file, byte, libc::F_WRLCK) {
            Err(StoreError::InUse) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    Err(StoreError::InUse)
}

/// Whether the path still names this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The same open file, if this process has it already or was started with it.
fn ours(meta: &fs::Metadata, on_exec: OnExec) -> Option<File> {
    let number = |name: std::ffi::OsString| name.to_str()?.parse::<RawFd>().ok();
    let is_it = |fd: &RawFd| {
        fs::metadata(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|m| (m.dev(), m.ino()) == (meta.dev(), meta.ino()))
    };
    let fds = fs::read_dir("/proc/self/fd").ok()?;
    let fd = fds
        .filter_map(|entry| number(entry.ok()?.file_name()))
        .find(|fd| is_it(fd) && is_writable(*fd))?;
    let how = match on_exec {
        OnExec::Close => libc::F_DUPFD_CLOEXEC,
        OnExec::Keep => libc::F_DUPFD,
    };
    // SAFETY: fcntl takes no pointers here; a descriptor that was closed meanwhile is an error.
    let own = unsafe { libc::fcntl(fd, how, 3) };
    // SAFETY: the descriptor was just made for us.
    (own >= 0).then(|| unsafe { File::from_raw_fd(own) })
}

fn is_writable(fd: RawFd) -> bool {
    // SAFETY: fcntl takes no pointers here.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_ACCMODE == libc::O_RDWR
}

/// `None`: it is empty. An error inside: it is a shared, and of no use. `Foreign`: it is something else.
fn identify(file: &File, len: usize) -> Result<Option<Result<(), StoreError>>, StoreError> {
    let given = len as u64;
    let found = file.metadata()?.len();
    if found == 0 {
        return Ok(None);
    }
    let mut magic = [0; 8];
    let there = file.read_at(&mut magic, 0)?;
    if magic[..there] != MAGIC.to_le_bytes()[..there] {
        return Err(StoreError::Foreign);
    }
    let same = found == given;
    Ok(Some(
        same.then_some(())
            .ok_or(StoreError::Length { found, given }),
    ))
}

/// Sets the limit of a region that others have; those who let anyone join have agreed on it.
fn agree(shared: &Shared, opt: &RegionOptions) -> Result<(), StoreError> {
    let found = shared.core.header().max_object.load(Relaxed);
    match (opt.share, opt.max_object) {
        (Share::Family, given) => shared.core.set_max_object(given),
        (Share::Anyone, given) if given != 0 && given != found => {
            return Err(StoreError::MaxObject { found, given });
        }
        (Share::Anyone, _) => {}
    }
    Ok(())
}

/// Maps a region.
fn attach(file: File, len: usize) -> Result<Arc<Shared>, StoreError> {
    let found = file.metadata()?.len();
    if found != len as u64 {
        return Err(StoreError::Length {
            found,
            given: len as u64,
        });
    }
    create::attach(Memory::of_file(file, len)?)
}

/// Takes a region that nobody is in.
fn take(file: File, len: usize, opt: &RegionOptions) -> Result<(Arc<Shared>, Found), StoreError> {
    let shared = attach(file, len)?;
    shared.core.set_max_object(opt.max_object);
    let header = shared.core.header();
    let clean = header.clean.load(Acquire) != 0;
    let boot = boot();
    let same_boot = boot.is_some_and(|b| b == [0, 1].map(|i| header.boot[i].load(Relaxed)));
    if !clean && !same_boot {
        return Err(StoreError::Unsettled);
    }
    // A copy of it may have holes.
    if let Some(file) = shared.core.memory.file() {
        reserve(file, len)?;
    }
    if clean {
        shared.core.unseal()?;
    }
    let sealed = if clean {
        Coverage::Sealed
    } else {
        Coverage::Lasting
    };
    let recovered = recover(&shared, sealed).ok_or(StoreError::Corrupt("its blocks"))?;
    header.counts.restored.store(recovered.kept, Relaxed);
    sign(&shared, boot);
    let found = Found::Region {
        kept: recovered.kept,
        dropped: recovered.dropped,
        clean,
    };
    Ok((shared, found))
}

fn sign(shared: &Shared, boot: Option<[u64; 2]>) {
    let (header, boot) = (shared.core.header(), boot.unwrap_or_default());
    header.durable.store(1, Relaxed);
    header.namespace.store(namespace(), Relaxed);
    (0..2).for_each(|i| header.boot[i].store(boot[i], Relaxed));
}

/// Whether this process can tell which processes of the region live: those of another PID namespace all seem to be gone.
fn sees_processes_of(shared: &Shared) -> bool {
    let theirs = shared.core.header().namespace.load(Relaxed);
    let own = namespace();
    theirs == own || theirs == 0 || own == 0
}

/// The PID namespace of this process, namespaces(7); 0 when unknown.
fn namespace() -> u32 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino() as u32)
}

/// Which run of the machine this is.
fn boot() -> Option<[u64; 2]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |s: Option<&str>| u64::from_str_radix(s?, 16).ok();
    Some([half(digits.get(..16))?, half(digits.get(16..32))?])
}

/// Makes a new file beside the path and gives it the path's name. `None` when another was faster.
fn make(
    path: &Path,
    len: usize,
    opt: &RegionOptions,
    seen: Existing,
) -> Result<Option<Arc<Shared>>, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = open(&mut options, &beside, opt.on_exec)?;
    lock_patiently(&file, LOOKING)?;
    if !is_at(&file, &beside)? {
        return Ok(None);
    }
    lock(&file, IN_USE, libc::F_WRLCK)?;
    if holds_something_else(&file)? {
        return Err(StoreError::Foreign);
    }
    // From here on nobody else gives the path a new file.
    if !seen.is_at(path)? {
        fs::remove_file(&beside)?;
        return Ok(None);
    }
    let shared =
        format(file, len, opt, path, seen).inspect_err(|_| _ = fs::remove_file(&beside))?;
    fs::rename(&beside, path)?;
    settle(&shared, opt.share);
    Ok(Some(shared))
}

fn format(
    file: File,
    len: usize,
    opt: &RegionOptions,
    path: &Path,
    seen: Existing,
) -> Result<Arc<Shared>, StoreError> {
    // What is left there is of one who died before it was ready.
    file.set_len(0)?;
    match (reserve(&file, len), seen) {
        (Err(e), Existing::Unused(useless)) if lacks_room(&e) => {
            // The room that it takes is the one that is needed.
            fs::remove_file(path)?;
            drop(useless);
            reserve(&file, len)?;
        }
        (reserved, _) => reserved?,
    }
    let shared = create::format(Memory::of_file(file, len)?, opt.max_object)?;
    sign(&shared, boot());
    shared.core.sync_header()?;
    Ok(shared)
}

/// Whether a file that is to be written anew is none that a maker of regions left, who died before or after the magic.
fn holds_something_else(file: &File) -> io::Result<bool> {
    let mut magic = [0; 8];
    let there = file.read_at(&mut magic, 0)?;
    Ok(magic != [0; 8] && magic[..there] != MAGIC.to_le_bytes()[..there])
}

fn lacks_room(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Takes all the room on the disk now: a write to a mapped page that finds none would be a fault.
fn reserve(file: &File, len: usize) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    loop {
        // SAFETY: takes no pointers.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
            0 => return Ok(()),
            // A signal came in between; what was taken before stays.
            libc::EINTR => {}
            e => return Err(io::Error::from_raw_os_error(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_made_is_not_replaced() {
        let folder = std::env::temp_dir().join(format!("swrcache-made-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (path, opt) = (folder.join("zone"), RegionOptions::default());
        let first = make(&path, 1 << 20, &opt, Existing::Nothing).expect("made");
        let second = make(&path, 1 << 20, &opt, Existing::Nothing).expect("no error");
        let old = Existing::Unused(File::open("/dev/null").expect("a file"));
        let third = make(&path, 1 << 20, &opt, old).expect("no error");
        let first = first.expect("the first is made");
        let file = first.core.memory.file().expect("in a file");
        assert!(second.is_none() && third.is_none());
        assert!(is_at(file, &path).expect("looked"));
        assert!(!folder.join("zone.new").exists());
        fs::write(folder.join("other.new"), "somebody's").expect("written");
        let foreign = make(&folder.join("other"), 1 << 20, &opt, Existing::Nothing);
        assert!(matches!(foreign, Err(StoreError::Foreign)), "{foreign:?}");
        let kept = fs::read(folder.join("other.new")).expect("there");
        assert_eq!(kept, b"somebody's");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
