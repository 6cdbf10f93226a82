//! Takes away what may go. Killed at any point it has taken a part of it, and the next time takes the rest: whatever names
//! other files is gone from the disk before they are.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

use super::garbage::{Class, How, Item};
use crate::record::RunFolder;
use crate::store::{Gate, Holder, Stamp, Store, sync_parent};
use crate::{Cancel, Interrupted};

/// Takes `items` in their order and calls `taken` after each that is gone. `_gate` is the gate alone, passed since before the
/// items were looked for.
///
/// # Errors
/// [`Interrupted`], or what the disk refuses. What was taken until then is gone; the rest is whole.
pub(crate) fn sweep(
    store: &Store,
    _gate: &Gate,
    items: &[Item],
    cancel: &Cancel,
    taken: &mut dyn FnMut(&Item),
) -> anyhow::Result<()> {
    for (index, item) in items.iter().enumerate() {
        if cancel.is_raised() {
            return Err(Interrupted.into());
        }
        let gone = take(store, item).with_context(|| format!("remove `{}`", item.path.display()))?;
        if gone {
            taken(item);
        }
        // An entry that came back after a power cut would name objects that did not.
        if item.class == Class::Results && items.get(index + 1).is_none_or(|next| next.class != Class::Results) {
            sync_parent(&item.path)
                .with_context(|| format!("write to the disk that `{}` is gone", item.path.display()))?;
        }
    }
    Ok(())
}

/// Says whether it was taken: what somebody holds stays.
fn take(store: &Store, item: &Item) -> anyhow::Result<bool> {
    let path = &item.path;
    match &item.how {
        How::File => remove(path)?,
        How::Temporary => {
            let file = match OpenOptions::new().read(true).open(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                file => file?,
            };
            // Held until it is gone: a writer that comes in between finds its file removed and takes another.
            if file.try_lock().is_err() {
                return Ok(false);
            }
            remove(path)?;
        }
        How::View(stamp) => {
            if Stamp::of(path, &stamp.digest).as_ref() != Some(stamp) {
                return Ok(false);
            }
            remove(path)?;
        }
        How::Scratch(key) => {
            let nobody = Holder { run: "gc".into(), pid: std::process::id(), ..Holder::default() };
            let Ok(_lock) = store.try_lock(key, &nobody)? else { return Ok(false) };
            // A lock file goes when its lock is dropped.
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            }
        }
        How::Run => return RunFolder { dir: path.clone() }.forget(),
    }
    if item.class == Class::Views {
        // Folders that are empty now; a folder that is not refuses.
        for folder in path.ancestors().skip(1).take(2) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    Ok(true)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => Ok(removed?),
    }
}
