//! What is said when there is no memory left: which stages were at work, and how much was asked for.
//!
//! Rust ends a program with `abort` when an allocation is refused that cannot be done without, and says how many bytes it
//! wanted, not for what. [`TrackingAllocator`] remembers on each thread what was refused last; when the process is about to
//! abort on a thread to which something was refused, the stages at work are named and it ends with [`Exit::OutOfMemory`]. An
//! allocation that *may* be refused (reading a file that is too large) stays an error of its stage. That is safe for the store as a kill
//! is: what is committed is committed.
//!
//! A kernel that grants more than it has kills instead (SIGKILL, 137), and asks nobody before.

#![expect(
    unsafe_code,
    reason = "allocators and signal handlers are unsafe to write; these hand on, or write to a descriptor"
)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::Exit;

thread_local! {
    /// Bytes that were refused to this thread last; 0 for none.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

/// An allocator that remembers what it refused.
pub struct TrackingAllocator<A>(pub A);

// SAFETY: everything is handed on to the allocator inside, and a pointer is only compared with null.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TrackingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        granted(unsafe { self.0.alloc(layout) }, layout.size())
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        granted(unsafe { self.0.alloc_zeroed(layout) }, layout.size())
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promised.
        granted(unsafe { self.0.realloc(old, layout, size) }, size)
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { self.0.dealloc(old, layout) }
    }
}

#[inline]
fn granted(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() {
        refused(bytes);
    }
    memory
}

#[cold]
fn refused(bytes: usize) {
    // A thread that is ending has no place for it any more.
    let _ = REFUSED.try_with(|last| last.set(bytes.max(1)));
}

/// How many stages are remembered, and how much of the name of each.
const STAGES: usize = 16;
const NAME: usize = 120;

/// Names of stages, kept where nothing has to be allocated to read them.
struct Names([Name; STAGES]);

#[derive(Clone, Copy)]
struct Name {
    /// Which stage it is, counted from 1; 0 where there is none.
    number: u64,
    text: [u8; NAME],
    len: usize,
}

static AT_WORK: Mutex<Names> = Mutex::new(Names([Name { number: 0, text: [0; NAME], len: 0 }; STAGES]));

/// A stage is at work until this is dropped.
pub(crate) struct AtWork(u64);

/// Remembers that a stage is at work, for the last words of a process without memory.
pub(crate) fn at_work(stage: &str) -> AtWork {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let len = stage.floor_char_boundary(NAME);
    let mut names = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(free) = names.0.iter_mut().find(|name| name.number == 0) {
        free.text[..len].copy_from_slice(&stage.as_bytes()[..len]);
        (free.number, free.len) = (number, len);
    }
    AtWork(number)
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut names = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
        names.0.iter_mut().filter(|name| name.number == self.0).for_each(|name| name.number = 0);
    }
}

/// From here on a process that aborts for want of memory says so in its own words.
#[cfg(unix)]
pub(crate) fn explain_aborts() -> io::Result<()> {
    let last_words = || {
        let bytes = REFUSED.try_with(Cell::get).unwrap_or(0);
        // Whatever else aborts does so as ever.
        if bytes > 0 {
            complain(bytes);
            signal_hook::low_level::exit(Exit::OutOfMemory as i32);
        }
    };
    // SAFETY: the handler allocates nothing, takes a lock only where it is free, and uses `write` and `_exit` alone.
    unsafe { signal_hook::low_level::register(signal_hook::consts::SIGABRT, last_words) }.map(drop)
}

/// Elsewhere the words of Rust itself have to do.
#[cfg(not(unix))]
pub(crate) fn explain_aborts() -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn complain(bytes: usize) {
    use std::os::fd::FromRawFd as _;
    let mut text = Text::default();
    // Where the lock is held its holder was stopped in the middle; the words are worth more than the names.
    let names = match AT_WORK.try_lock() {
        Ok(names) => Some(names),
        Err(TryLockError::Poisoned(names)) => Some(names.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    let _ = words(&mut text, bytes, names.as_deref());
    // SAFETY: the descriptor stays open, since this file is never dropped; were it closed, writing would fail and no more.
    let mut stderr = ManuallyDrop::new(unsafe { File::from_raw_fd(2) });
    let _ = stderr.write_all(&text.bytes[..text.len]);
}

fn words(text: &mut Text, bytes: usize, names: Option<&Names>) -> fmt::Result {
    text.write_str("\nerror: out of memory: another ")?;
    if bytes >= 1 << 30 {
        let tenths = (bytes >> 20) * 10 / 1024;
        write!(text, "{}.{} GiB", tenths / 10, tenths % 10)?;
    } else {
        write!(text, "{} MiB", bytes.div_ceil(1 << 20))?;
    }
    text.write_str(" could not be had")?;
    let at_work = names.iter().flat_map(|names| &names.0).filter(|name| name.number > 0);
    for (index, name) in at_work.enumerate() {
        text.write_str(if index == 0 { " while these stages were running: " } else { ", " })?;
        text.write_str(str::from_utf8(&name.text[..name.len]).unwrap_or("?"))?;
    }
    text.write_str(
        "\nhelp: finished work is saved, and the next run resumes from it: run fewer stages at once (`--jobs 1`), \
         choose smaller settings, or use a machine with more memory\n",
    )
}

/// A text of limited length, on the stack.
struct Text {
    bytes: [u8; 4096],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 4096], len: 0 }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: usize, names: Option<&Names>) -> String {
        let mut text = Text::default();
        words(&mut text, bytes, names).unwrap();
        String::from_utf8(text.bytes[..text.len].to_vec()).unwrap()
    }

    #[test]
    fn the_stages_at_work_and_the_size_are_named() {
        let long = "ö".repeat(NAME);
        let at_work = [at_work("world"), at_work("policy@seed=1"), at_work(&long)];
        let text = said(80_000_000_000, Some(&AT_WORK.lock().unwrap()));
        let names = format!("world, policy@seed=1, {}\n", "ö".repeat(NAME / 2));
        let begins = "\nerror: out of memory: another 74.5 GiB could not be had while these stages were running: ";
        assert!(text.starts_with(begins) && text.contains(&names), "{text}");
        drop(at_work);
        let text = said(1, Some(&AT_WORK.lock().unwrap()));
        assert!(text.starts_with("\nerror: out of memory: another 1 MiB could not be had\nhelp: "), "{text}");
        assert!(said(usize::MAX, None).contains("another 17179869183.9 GiB could"));
    }
}
