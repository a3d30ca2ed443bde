//! What crosses the border by value: structs of C, read with care.

use std::ffi::{CStr, c_char, c_int};
use std::mem::{MaybeUninit, align_of, size_of};
use std::ptr;

use super::error::{Error, Result, SWRCACHE_EINVAL, SWRCACHE_ESIZE};
use crate::http::Fields;

/// In place of a length: the string ends at its NUL. (cbindgen can't say this value: it stands in cbindgen.toml.)
pub const SWRCACHE_NUL: usize = usize::MAX;

/// A header field line.
///
/// Where you give one, a length may be `SWRCACHE_NUL` for a string that ends with NUL. Where you get one, the strings are
/// *not* NUL-terminated; how long they live is said where you get them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name; not NULL, not empty.
    pub name: *const c_char,
    /// Bytes of the name.
    pub name_len: usize,
    /// The value; may be NULL if `value_len` is 0.
    pub value: *const c_char,
    /// Bytes of the value.
    pub value_len: usize,
}

/// Structs that start with their size, of which any bytes are valid.
///
/// Versions of a struct differ in members at its end. A caller built with another version has a smaller or a larger struct: what
/// it lacks counts as 0, and what this version does not know must be 0 in what it gives, and becomes 0 in what it gets.
///
/// # Safety
/// `repr(C)`, made of integers and pointers (NULL allowed) only, with `struct_size: usize` first.
pub(crate) unsafe trait Sized_: Copy {
    /// The bytes up to the last member without which the struct says nothing.
    const LEAST: usize;
}

/// No version of a struct is larger: a size beyond it was never set.
const LARGEST: usize = 4096;

/// The bytes of the struct that the caller has.
///
/// # Safety
/// NULL or aligned, with at least the first word readable.
#[inline]
unsafe fn size_given<T: Sized_>(from: *const T) -> Result<usize> {
    if from.is_null() || !from.is_aligned() {
        return Err(Error::new(SWRCACHE_EINVAL, "a struct is NULL"));
    }
    // SAFETY: the first word is there, says the caller.
    let given = unsafe { from.cast::<usize>().read() };
    // Members begin and end at words, so that no part of one is taken for the whole.
    match (T::LEAST..=LARGEST).contains(&given) && given % align_of::<T>() == 0 {
        true => Ok(given),
        false => Err(Error::new(
            SWRCACHE_ESIZE,
            format!("struct_size can't be {given}; set it to sizeof"),
        )),
    }
}

/// Copies a struct in.
///
/// # Safety
/// NULL, or `struct_size` bytes are readable.
#[inline]
pub(crate) unsafe fn read<T: Sized_>(from: *const T) -> Result<T> {
    // SAFETY: the caller's promise.
    let given = unsafe { size_given(from) }?;
    match given == size_of::<T>() {
        // SAFETY: so much is readable, says the struct; any bytes are a valid T.
        true => Ok(unsafe { from.read() }),
        // SAFETY: as above.
        false => unsafe { read_other(from, given) },
    }
}

/// Copies in a struct of another version.
///
/// # Safety
/// `given` bytes are readable.
#[cold]
unsafe fn read_other<T: Sized_>(from: *const T, given: usize) -> Result<T> {
    let known = given.min(size_of::<T>());
    let from = from.cast::<u8>();
    // SAFETY: readable, says the caller.
    let unknown = unsafe { std::slice::from_raw_parts(from.add(known), given - known) };
    if unknown.iter().any(|byte| *byte != 0) {
        return Err(Error::new(
            SWRCACHE_EINVAL,
            "a struct has a member that this version of the library does not know",
        ));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes are in both; zeros and any bytes over them are a valid T.
    unsafe {
        value
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(from, known);
        Ok(value.assume_init())
    }
}

/// Copies a struct out; keeps the size that stands in it.
///
/// # Safety
/// NULL, or `struct_size` bytes are writable.
#[inline]
pub(crate) unsafe fn write<T: Sized_>(to: *mut T, value: T) -> Result<()> {
    // SAFETY: the caller's promise.
    let given = unsafe { size_given(to) }?;
    let mut value = MaybeUninit::new(value);
    // SAFETY: the size is the first word of every `Sized_`; of `to` so many bytes are written as it has.
    unsafe {
        value.as_mut_ptr().cast::<usize>().write(given);
        match given == size_of::<T>() {
            true => to.copy_from_nonoverlapping(value.as_ptr(), 1),
            false => {
                let known = given.min(size_of::<T>());
                let to = to.cast::<u8>();
                to.copy_from_nonoverlapping(value.as_ptr().cast(), known);
                to.add(known).write_bytes(0, given - known);
            }
        }
    }
    Ok(())
}

/// Has `f` fill in a struct of the caller's, in which `value` stands before and after a panic: where it is, if all of it is there.
///
/// # Safety
/// NULL, or `struct_size` bytes are writable.
#[inline]
pub(crate) unsafe fn fill<T: Sized_>(
    to: *mut T,
    mut value: T,
    f: impl FnOnce(&mut T) -> Result<()>,
) -> Result<()> {
    // SAFETY: the caller's promise, here and below.
    unsafe { write(to, value) }?;
    // SAFETY: not NULL, or there had been an error; the size stands in it.
    if unsafe { to.cast::<usize>().read() } >= size_of::<T>() {
        // SAFETY: just written, and the caller's own.
        return f(unsafe { &mut *to });
    }
    f(&mut value)?;
    // SAFETY: see above.
    unsafe { write(to, value) }
}

/// Stores one result through a pointer that was checked for NULL before.
///
/// # Safety
/// NULL or writable.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> Result<()> {
    if to.is_null() || !to.is_aligned() {
        return Err(Error::new(SWRCACHE_EINVAL, "an output is NULL"));
    }
    // SAFETY: not NULL, so the caller says that it is writable.
    unsafe { to.write(value) };
    Ok(())
}

/// Bytes of the caller's.
///
/// # Safety
/// `len` bytes at `at` are readable (or a string that ends with NUL, if `len` is [`SWRCACHE_NUL`]), for as long as the
/// result is used.
#[inline]
pub(crate) unsafe fn bytes<'a>(at: *const c_char, len: usize) -> Result<&'a [u8]> {
    match (at.is_null(), len) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(Error::new(SWRCACHE_EINVAL, "a string is NULL")),
        // SAFETY: a string that ends with NUL, says the caller.
        (false, SWRCACHE_NUL) => Ok(unsafe { CStr::from_ptr(at) }.to_bytes()),
        (false, len) if len > isize::MAX as usize => Err(Error::new(
            SWRCACHE_EINVAL,
            "a length is larger than the address space",
        )),
        // SAFETY: `len` bytes are readable, says the caller.
        (false, len) => Ok(unsafe { std::slice::from_raw_parts(at.cast(), len) }),
    }
}

/// A C string that must be there.
///
/// # Safety
/// NULL or NUL-terminated.
pub(crate) unsafe fn text<'a>(at: *const c_char) -> Result<&'a str> {
    // SAFETY: the caller's promise; a NULL is refused.
    let bytes = unsafe { bytes(at, SWRCACHE_NUL) }?;
    std::str::from_utf8(bytes).map_err(|_| Error::new(SWRCACHE_EINVAL, "a string is not UTF-8"))
}

/// An array of the caller's.
///
/// # Safety
/// `count` elements at `at` are readable for as long as the result is used.
#[inline]
pub(crate) unsafe fn array<'a, T>(at: *const T, count: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if at.is_null() || !at.is_aligned() {
        return Err(Error::new(
            SWRCACHE_EINVAL,
            "an array is NULL or misaligned",
        ));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Error::new(
            SWRCACHE_EINVAL,
            "a count is larger than the address space",
        ));
    }
    // SAFETY: `count` elements are readable, says the caller.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

/// Field lines of the caller's, checked.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a>(&'a [Field]);

impl<'a> Lines<'a> {
    /// # Safety
    /// `count` fields at `at` and the strings in them are readable for as long as the result is used.
    #[inline(always)]
    pub(crate) unsafe fn new(at: *const Field, count: usize) -> Result<Lines<'a>> {
        // SAFETY: the caller's promise.
        let fields = unsafe { array(at, count) }?;
        // A length that can be, or SWRCACHE_NUL, the next of which is 0.
        let sane = |len: usize| len.wrapping_add(1) <= isize::MAX as usize;
        // Without branches: this is done for every field of every request.
        let sound = fields.iter().fold(true, |sound, f| {
            sound
                & !f.name.is_null()
                & (f.name_len != 0)
                & sane(f.name_len)
                & (!f.value.is_null() | (f.value_len == 0))
                & sane(f.value_len)
        });
        match sound {
            true => Ok(Lines(fields)),
            false => Err(Error::new(
                SWRCACHE_EINVAL,
                "a field has no name, or a length that can't be",
            )),
        }
    }

    /// Copies of the lines.
    pub(crate) fn to_owned(self) -> Owned {
        let mut lines = Owned {
            text: Vec::with_capacity(1024),
            lengths: Vec::with_capacity(self.0.len()),
        };
        self.each(&mut |name, value| lines.push(name, value));
        lines
    }
}

/// Field lines of our own, their text in one piece: a fetch copies them twice.
#[derive(Default)]
pub(crate) struct Owned {
    text: Vec<u8>,
    /// How long each name and value is.
    lengths: Vec<(usize, usize)>,
}

impl Owned {
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.lengths.push((name.len(), value.len()));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.text[..];
        self.lengths.iter().map(move |(name_len, value_len)| {
            let (name, after) = rest.split_at_checked(*name_len).unwrap_or_default();
            let (value, after) = after.split_at_checked(*value_len).unwrap_or_default();
            rest = after;
            (name, value)
        })
    }
}

impl Fields for Owned {
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        self.iter().for_each(|(name, value)| f(name, value));
    }
}

impl Fields for Lines<'_> {
    #[inline]
    fn each(&self, f: &mut dyn FnMut(&[u8], &[u8])) {
        for field in self.0 {
            // SAFETY: checked in `new`, whose caller promised that the strings are readable.
            let (name, value) = unsafe {
                (
                    checked(field.name, field.name_len),
                    checked(field.value, field.value_len),
                )
            };
            f(name, value);
        }
    }
}

/// A string whose pointer and length have been checked: [`bytes`] without its questions.
///
/// # Safety
/// As [`bytes`]; NULL for no bytes at most, and no length that can't be.
#[inline]
unsafe fn checked<'a>(at: *const c_char, len: usize) -> &'a [u8] {
    match len {
        0 => &[],
        // SAFETY: a string that ends with NUL, says the caller.
        SWRCACHE_NUL => unsafe { CStr::from_ptr(at) }.to_bytes(),
        // SAFETY: `len` bytes are readable, says the caller.
        len => unsafe { std::slice::from_raw_parts(at.cast(), len) },
    }
}

/// A field line of ours, as C sees it. The bytes have to outlive what C does with it.
pub(crate) fn field(name: &[u8], value: &[u8]) -> Field {
    Field {
        name: name.as_ptr().cast(),
        name_len: name.len(),
        value: value.as_ptr().cast(),
        value_len: value.len(),
    }
}

/// Copies field lines as text into a buffer of the caller's; tells the size that is needed.
///
/// # Safety
/// The fields are live ones of ours; `room` and `needed` as of [`put_text`].
pub(crate) unsafe fn put_lines(
    fields: &[Field],
    room: (*mut c_char, usize),
    needed: *mut usize,
) -> Result<()> {
    let mut text = Vec::with_capacity(1024);
    Lines(fields).each(&mut |name, value| {
        for part in [name, b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    });
    // SAFETY: the caller's promise.
    unsafe { put_text(&text, room.0, room.1, needed) }
}

/// Copies text with its NUL into a buffer of the caller's; tells the size that is needed.
///
/// # Safety
/// `size` bytes at `to` are writable (it may be NULL if `size` is 0); `needed` is NULL or writable.
pub(crate) unsafe fn put_text(
    text: impl AsRef<[u8]>,
    to: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> Result<()> {
    let text = text.as_ref();
    if !needed.is_null() {
        // SAFETY: writable, says the caller.
        unsafe { needed.write(text.len() + 1) };
    }
    if to.is_null() && size > 0 {
        return Err(Error::new(SWRCACHE_EINVAL, "the buffer is NULL"));
    }
    if size <= text.len() {
        return Err(super::error::SWRCACHE_ERANGE.into());
    }
    // SAFETY: `size` bytes are writable, which are more than the text has.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr().cast(), to, text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// The words of C for a bool.
pub(crate) fn flag(yes: bool) -> c_int {
    c_int::from(yes)
}
