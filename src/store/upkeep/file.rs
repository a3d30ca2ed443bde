//! Regions in files, which outlive the processes and can be taken over by a new binary.
//!
//! | the file | what happens |
//! |---|---|
//! | does not exist, or is empty | it is made |
//! | is not in use, and holds a region of this layout and length | it is taken over (`recover.rs`) |
//! | is in use by this process, or left open by the process that started it | it is shared: the region continues to be used as it is |
//! | is in use by processes that let anyone join ([`Share::Anyone`]), as the caller does | it is shared, too |
//! | is in use otherwise | [`StoreError::InUse`]; it is not touched |
//! | holds something else | [`StoreError::Foreign`]; it is not touched |
//! | holds an unusable region: of another layout or length, truncated, inconsistent, or in use when the machine stopped | it is replaced by a new file, and the reason is reported |
//!
//! Locks on the open file description (`F_OFD_SETLK`, fcntl(2)) tell who uses a file: they are held as long as any
//! process that was forked or started by the one that took them has the file open or mapped, and end with the last of
//! these processes, however it ends.
//!
//! | byte | exclusive | shared |
//! |---|---|---|
//! | 0 | while a file is examined, taken over or made | - |
//! | 1 | by a family of processes | by all that let anyone join |
//!
//! The length of a file never changes. A new file is made beside the old one (`PATH.new`) and renamed when it is ready,
//! so that no process sees half a region, and a process that still uses the old one keeps it. The old file is kept open
//! until then: a file that another process made in the meantime is not replaced.
//!
//! After a stop of the machine, the file is a mixture of pages from different times. Two writes are therefore waited
//! for: the header of a new file, before it is renamed; and the header that records that a file is in use again, before
//! anything else is changed.

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

/// How long to wait for another process that examines the file, in pauses.
const PATIENCE: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(5);
/// How often to try to open a file that others replace meanwhile.
const TRIES: usize = 16;

/// Held while this process opens a file: another thread must not find it open and half taken over (see `ours`).
static OPENING: Mutex<()> = Mutex::new(());

/// What was found in place of the region to be opened.
#[derive(Debug)]
pub enum Predecessor {
    /// Nothing: the region is new.
    Nothing,
    /// A region that was not in use.
    Region {
        /// The number of objects restored.
        kept: u64,
        /// The number of objects dropped because they were damaged or incomplete.
        dropped: u64,
        /// Whether the last process closed it cleanly.
        clean: bool,
    },
    /// A region in use by this process, by the one that started it, or by others that let anyone join.
    Shared,
    /// An unusable region: the file was replaced.
    Useless(StoreError),
}

/// The result of one look at a path.
enum Look {
    Ready(Arc<Shared>, Predecessor),
    /// A new file has to be made in place of what was found.
    Make(Predecessor, Existing),
    /// The file was replaced in the meantime: look again.
    Again,
}

/// What a new file replaces. It is kept open, so that it can be distinguished from another file.
enum Existing {
    Nothing,
    /// Other processes, or this one, may use it.
    File(File),
    /// It is locked, so that no other process can use it.
    Unused(File),
}

impl Existing {
    /// Whether the path still leads to it.
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

/// Opens or makes a region in a file, which outlives the processes. The file is locked until the last process that uses
/// it has ended.
pub(crate) fn open_region(
    path: &Path,
    len: usize,
    opt: &RegionOptions,
) -> Result<(Arc<Shared>, Predecessor), StoreError> {
    Geometry::of(len)?;
    let _one = OPENING.lock();
    for _ in 0..TRIES {
        let (found, seen) = match look(path, len, opt)? {
            Look::Ready(shared, found) => {
                settle(&shared, opt.share);
                return Ok((shared, found));
            }
            Look::Again => continue,
            // Other processes may rely on it.
            Look::Make(Predecessor::Useless(why @ StoreError::Length { .. }), _)
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
            return Ok(Look::Make(Predecessor::Nothing, Existing::Nothing));
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
        // Other processes use it.
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
    let useless = |why| Ok(Look::Make(Predecessor::Useless(why), held));
    match identify(&file, len)? {
        None => Ok(Look::Make(Predecessor::Nothing, Existing::Unused(file))),
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
            Look::Ready(shared, Predecessor::Shared)
        }
        Err(why) => Look::Make(Predecessor::Useless(why), seen),
    })
}

fn open(options: &mut OpenOptions, path: &Path, on_exec: OnExec) -> io::Result<File> {
    let file = options
        .custom_flags(libc::O_NOFOLLOW)
        .mode(0o600)
        .open(path)?;
    if on_exec == OnExec::Keep {
        // SAFETY: the call changes a flag of a descriptor that this process owns.
        let kept = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
        if kept < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(file)
}

/// The byte that is locked while a file is examined.
const LOOKING: libc::off_t = 0;
/// The byte whose lock tells who uses the file.
const IN_USE: libc::off_t = 1;

/// Locks a byte, changes the kind of its lock, or unlocks it.
fn lock(file: &File, byte: libc::off_t, kind: libc::c_int) -> Result<(), StoreError> {
    // SAFETY: all-zero is a valid value of this C struct.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte;
    lock.l_len = 1;
    // SAFETY: the call reads one struct, which lives on the stack.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } == 0 {
        return Ok(());
    }
    let e = io::Error::last_os_error();
    match e.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(StoreError::InUse),
        _ => Err(StoreError::Os(e)),
    }
}

/// Ends the examination of the file. An error changes nothing: an existing lock stays.
fn settle(shared: &Shared, share: Share) {
    if let Some(file) = shared.core.memory.file() {
        if share == Share::Anyone {
            let _ = lock(file, IN_USE, libc::F_RDLCK);
        }
        let _ = lock(file, LOOKING, libc::F_UNLCK);
    }
}

/// Locks a byte that others hold for a short time only.
fn lock_patiently(file: &File, byte: libc::off_t) -> Result<(), StoreError> {
    for _ in 0..PATIENCE {
        match lock(file, byte, libc::F_WRLCK) {
            Err(StoreError::InUse) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    Err(StoreError::InUse)
}

/// Whether the path still leads to this file.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The same open file description, if this process has the file open already or was started with it.
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
    // SAFETY: fcntl takes no pointers here; a descriptor that was closed meanwhile yields an error.
    let own = unsafe { libc::fcntl(fd, how, 3) };
    // SAFETY: the descriptor was just made and has no other owner.
    (own >= 0).then(|| unsafe { File::from_raw_fd(own) })
}

fn is_writable(fd: RawFd) -> bool {
    // SAFETY: fcntl takes no pointers here.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_ACCMODE == libc::O_RDWR
}

/// Identifies the contents: `None` if the file is empty; an inner error if it holds an unusable region; `Foreign` if it
/// holds something else.
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

/// Sets the object limit of a region that others use, or checks it: processes that let anyone join must agree on it.
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

/// Takes over a region that no process is in.
fn take(
    file: File,
    len: usize,
    opt: &RegionOptions,
) -> Result<(Arc<Shared>, Predecessor), StoreError> {
    let shared = attach(file, len)?;
    shared.core.set_max_object(opt.max_object);
    let header = shared.core.header();
    let clean = header.clean.load(Acquire) != 0;
    let boot = boot();
    let same_boot = boot.is_some_and(|b| b == [0, 1].map(|i| header.boot[i].load(Relaxed)));
    if !clean && !same_boot {
        return Err(StoreError::Unsettled);
    }
    // A copy of the file may have holes.
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
    let found = Predecessor::Region {
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

/// Whether this process can tell which processes of the region are alive: those of another PID namespace all seem to be
/// dead.
fn sees_processes_of(shared: &Shared) -> bool {
    let theirs = shared.core.header().namespace.load(Relaxed);
    let own = namespace();
    theirs == own || theirs == 0 || own == 0
}

/// The PID namespace of this process, namespaces(7); 0 if unknown.
fn namespace() -> u32 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino() as u32)
}

/// The id of the machine's current boot.
fn boot() -> Option<[u64; 2]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let half = |s: Option<&str>| u64::from_str_radix(s?, 16).ok();
    Some([half(digits.get(..16))?, half(digits.get(16..32))?])
}

/// Makes a new file beside the path and renames it to the path. `None` if another process was faster.
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
    // From here on, no other process gives the path a new file.
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
    // It was left by a process that died before it was ready.
    file.set_len(0)?;
    match (reserve(&file, len), seen) {
        (Err(e), Existing::Unused(useless)) if lacks_room(&e) => {
            // The new file needs the space that the old one takes.
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

/// Whether the file to be overwritten was not left by a process that died while making a region, before or after the
/// magic number.
fn holds_something_else(file: &File) -> io::Result<bool> {
    let mut magic = [0; 8];
    let there = file.read_at(&mut magic, 0)?;
    Ok(magic != [0; 8] && magic[..there] != MAGIC.to_le_bytes()[..there])
}

fn lacks_room(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Allocates all of the file's space on the disk now, since a write to a mapped page would cause a fault if the disk
/// were full.
fn reserve(file: &File, len: usize) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    loop {
        // SAFETY: the call takes no pointers.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
            0 => return Ok(()),
            // A signal interrupted the call; what was allocated before stays.
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
