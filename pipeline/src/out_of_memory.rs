//! What is said when there is no memory left: which stages were at work, and how much was asked for.
//!
//! The process is held to a cap ([`set_cap`]): blocks of a megabyte and more are counted, and one that would exceed the cap is refused
//! as if there were no memory. Without that a system that grants more than it has would kill the process, and ask nobody before.
//!
//! Rust ends a program with `abort` when an allocation is refused that cannot be done without, and says how many bytes it
//! wanted, not for what. [`TrackingAllocator`] remembers on each thread what was refused last; when the process is about to
//! abort on a thread to which something was refused, the stages at work are named and it ends with [`Exit::OutOfMemory`]. An
//! allocation that *may* be refused (reading a file that is too large) stays an error of its stage. That is safe for the store as a kill
//! is: what is committed is committed.

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
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::Exit;

thread_local! {
    /// Bytes that were refused to this thread last; 0 for none.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

/// Blocks from this size on are counted: they are what tables are made of, and counting them costs nothing.
const COUNTED: usize = 1 << 20;
/// Bytes of counted blocks that are in use.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
/// What they may come to.
static CAP: AtomicUsize = AtomicUsize::new(usize::MAX);

/// From here on the counted blocks of this process may come to so many bytes.
pub(crate) fn set_cap(bytes: u64) {
    CAP.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
}

/// Counts a block, unless it would exceed the cap.
#[inline]
fn counted(bytes: usize) -> bool {
    bytes < COUNTED || {
        let cap = CAP.load(Ordering::Relaxed);
        let add = |in_use: usize| in_use.checked_add(bytes).filter(|sum| *sum <= cap);
        IN_USE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }
}

#[inline]
fn released(bytes: usize) {
    if bytes >= COUNTED {
        IN_USE.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// An allocator that keeps to the cap and remembers what it refused.
pub struct TrackingAllocator<A>(pub A);

// SAFETY: everything is handed on to the allocator inside, and a pointer is only compared with null.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TrackingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        granted(layout.size(), || unsafe { self.0.alloc(layout) })
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        granted(layout.size(), || unsafe { self.0.alloc_zeroed(layout) })
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promised. Both blocks are in use while one is copied into the other.
        let new = granted(size, || unsafe { self.0.realloc(old, layout, size) });
        if !new.is_null() {
            released(layout.size());
        }
        new
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { self.0.dealloc(old, layout) };
        released(layout.size());
    }
}

#[inline]
fn granted(bytes: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    if !counted(bytes) {
        refused(bytes);
        return ptr::null_mut();
    }
    let memory = allocate();
    if memory.is_null() {
        released(bytes);
        refused(bytes);
    }
    memory
}

#[cold]
fn refused(bytes: usize) {
    // A thread that is ending has no place for it any more.
    let _ = REFUSED.try_with(|last| last.set(bytes.max(1)));
}

/// How many stages are remembered, and how much of the name of each and of what it says.
const STAGES: usize = 16;
const NAME: usize = 120;
const HELP: usize = 240;

/// Names of stages, kept where nothing has to be allocated to read them.
struct Names([Name; STAGES]);

#[derive(Clone, Copy)]
struct Name {
    /// Which stage it is, counted from 1; 0 where there is none.
    number: u64,
    name: Line<NAME>,
    /// What lowers its need.
    help: Line<HELP>,
}

/// A line of limited length.
#[derive(Clone, Copy)]
struct Line<const LEN: usize> {
    text: [u8; LEN],
    len: usize,
}

impl<const LEN: usize> Line<LEN> {
    const EMPTY: Self = Self { text: [0; LEN], len: 0 };

    fn of(text: &str) -> Self {
        let mut line = Self { len: text.floor_char_boundary(LEN), ..Self::EMPTY };
        line.text[..line.len].copy_from_slice(&text.as_bytes()[..line.len]);
        line
    }
    fn text(&self) -> &str {
        str::from_utf8(&self.text[..self.len]).unwrap_or("?")
    }
}

static AT_WORK: Mutex<Names> = Mutex::new(Names([Name { number: 0, name: Line::EMPTY, help: Line::EMPTY }; STAGES]));

/// A stage is at work until this is dropped.
pub(crate) struct AtWork(u64);

/// Remembers that a stage is at work, and what lowers its need, for the last words of a process without memory.
pub(crate) fn at_work(stage: &str, help: &str) -> AtWork {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut names = AT_WORK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(free) = names.0.iter_mut().find(|name| name.number == 0) {
        *free = Name { number, name: Line::of(stage), help: Line::of(help) };
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
    let at_work = || names.iter().flat_map(|names| &names.0).filter(|name| name.number > 0);
    for (index, stage) in at_work().enumerate() {
        text.write_str(if index == 0 { " while these stages were running: " } else { ", " })?;
        text.write_str(stage.name.text())?;
    }
    for stage in at_work().filter(|stage| stage.help.len > 0) {
        write!(text, "\nhelp: {}: {}", stage.name.text(), stage.help.text())?;
    }
    text.write_str(
        "\nhelp: finished work is saved, and the next run resumes from it: run fewer stages at once (`--jobs 1`), \
         choose smaller settings, raise `--memory` where the machine has more, or use a larger machine\n",
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
        let at_work = [at_work("world", "lower `ensemble_size`"), at_work("policy@seed=1", ""), at_work(&long, "")];
        let text = said(80_000_000_000, Some(&AT_WORK.lock().unwrap()));
        let help = "help: world: lower `ensemble_size`\nhelp: finished";
        let names = format!("world, policy@seed=1, {}\n{help}", "ö".repeat(NAME / 2));
        let begins = "\nerror: out of memory: another 74.5 GiB could not be had while these stages were running: ";
        assert!(text.starts_with(begins) && text.contains(&names), "{text}");
        drop(at_work);
        let text = said(1, Some(&AT_WORK.lock().unwrap()));
        assert!(text.starts_with("\nerror: out of memory: another 1 MiB could not be had\nhelp: "), "{text}");
        assert!(said(usize::MAX, None).contains("another 17179869183.9 GiB could"));
    }

    #[test]
    fn large_blocks_are_counted_and_small_ones_are_not() {
        let before = IN_USE.load(Ordering::Relaxed);
        assert!(counted(COUNTED - 1) && counted(COUNTED) && counted(3 * COUNTED));
        assert_eq!(IN_USE.load(Ordering::Relaxed), before + 4 * COUNTED);
        assert!(!counted(usize::MAX), "what would overflow is beyond any cap");
        [COUNTED - 1, COUNTED, 3 * COUNTED].into_iter().for_each(released);
        assert_eq!(IN_USE.load(Ordering::Relaxed), before);
    }
}
