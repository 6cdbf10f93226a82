//! Takes away what may go. Killed at any point it has taken a part of it, and the next time takes the rest: whatever names
//! other files is gone from the disk before they are.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

use super::gc_plan::{Class, How, Item};
use crate::record::RunFolder;
use crate::store::{FileStamp, GcLock, Holder, Store, sync_parent};
use crate::{Cancel, Interrupted};

/// Takes `items` in their order and calls `taken` after each that is gone. `_gc_lock` is held alone since before the items were
/// looked for.
///
/// # Errors
/// [`Interrupted`], or what the disk refuses. What was taken until then is gone; the rest is whole.
pub(crate) fn gc_apply(
    store: &Store,
    _gc_lock: &GcLock,
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
            if FileStamp::of(path, &stamp.digest).as_ref() != Some(stamp) {
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
            } else if path.extension().is_some_and(|extension| extension == "slurm") {
                fs::remove_file(path)?;
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

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::{GcOptions, GcPlan, gc_plan, verify};
    use super::*;
    use crate::key::KeyMaterial;
    use crate::progress::Progress;
    use crate::store::{Entry, Lookup, Made, Output};

    /// Commits a result whose two outputs are `own` and `b`.
    fn commit(store: &Store, own: &str) -> Entry {
        let out = store.part("out");
        fs::create_dir_all(&out).unwrap();
        let output = |port: &str| Output {
            port: port.into(),
            kind: "text".into(),
            format: 1,
            extension: "txt".into(),
            digest: String::new(),
            bytes: 0,
        };
        fs::write(out.join("one"), own).unwrap();
        fs::write(out.join("two"), "b").unwrap();
        let material = KeyMaterial {
            engine: 1,
            kind: "toy".into(),
            version: 1,
            config: json!({ "own": own }),
            inputs: Map::new(),
            outputs: Map::new(),
            assets: vec![],
        };
        let outputs = vec![output("one"), output("two")];
        let entry = Entry { key: material.key(), material, outputs, made: Made::default() };
        store.commit(entry, &out, &|_| {}).unwrap()
    }

    /// A store with one result that stays, two that do not, and what killed processes left.
    fn littered() -> (tempfile::TempDir, Store, Entry) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        commit(&store, "first");
        // Shares an object with the one that stays.
        commit(&store, "second");
        let stays = commit(&store, "third");
        store.show("exp", "stage", &stays).unwrap().unwrap();
        for (path, text) in [(".new-aaaaaa", "half"), ("entries/.new-bbbbbb", "half")] {
            fs::write(store.part(path), text).unwrap();
        }
        let key = "0".repeat(64);
        fs::create_dir_all(store.part("scratch").join(format!("{key}.out"))).unwrap();
        fs::create_dir_all(store.scratch(&key)).unwrap();
        fs::remove_dir_all(store.part("out")).unwrap();
        (dir, store, stays)
    }

    fn look(store: &Store) -> GcPlan {
        gc_plan(store, &GcOptions::default()).unwrap()
    }

    #[test]
    fn stopped_after_any_item_nothing_is_lost_and_the_rest_goes_next_time() {
        let count = look(&littered().1).items.len();
        assert_eq!(count, 2 + 2 + 2 + 2);
        for stop in 0..=count {
            let (_dir, store, stays) = littered();
            let gc_lock = store.alone().unwrap();
            let items = look(&store).items;
            gc_apply(&store, &gc_lock, &items[..stop], &Cancel::default(), &mut |_| ()).unwrap();
            let left = verify(&store, &store.part("no cache"), &Progress::silent()).unwrap();
            assert!(left.faults.is_empty(), "after {stop}: {:?}", left.faults);
            assert!(matches!(store.lookup(&stays.key).unwrap(), Lookup::Entry(_)), "after {stop}");
            let mut taken = 0;
            gc_apply(&store, &gc_lock, &look(&store).items, &Cancel::default(), &mut |_| taken += 1).unwrap();
            assert_eq!(taken, count - stop);
            assert!(look(&store).items.is_empty());
            assert_eq!(store.objects().unwrap().len(), 2);
        }
    }

    #[test]
    fn an_interrupt_stops_before_the_next_item() {
        let (_dir, store, _) = littered();
        let gc_lock = store.alone().unwrap();
        let cancel = Cancel::default();
        let mut taken = 0;
        let stopped = gc_apply(&store, &gc_lock, &look(&store).items, &cancel, &mut |_| {
            taken += 1;
            cancel.raise();
        });
        assert!(stopped.unwrap_err().is::<Interrupted>());
        assert_eq!(taken, 1);
    }
}
