//! Copies that a stage makes of files of the user: in all messages they go by the names of those, because nobody knows a
//! file in the folder of unfinished work.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// Each copy with what it stands for.
static KNOWN: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// From here on `copy` is called `original` wherever a text names it.
pub(crate) fn stands_for(copy: &Path, original: &Path) {
    let pair = (copy.display().to_string(), original.display().to_string());
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if !known.contains(&pair) {
        known.push(pair);
    }
}

/// The text with the names of the originals.
pub(crate) fn named(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for (copy, original) in known.iter() {
        if text.contains(copy.as_str()) {
            text = Cow::Owned(text.replace(copy, original));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_report::ErrorReport;

    #[test]
    fn a_copy_goes_by_the_name_of_its_original() {
        stands_for(Path::new("store/scratch/k/unpacked-1/log.json"), Path::new("data/log.json.gz"));
        let error = anyhow::anyhow!("store/scratch/k/unpacked-1/log.json:3: no number\nhelp: see log.json");
        let text = ErrorReport::of(&error.context("store/scratch/k/other")).to_string();
        assert_eq!(text, "store/scratch/k/other: data/log.json.gz:3: no number\nhelp: see log.json");
    }
}
