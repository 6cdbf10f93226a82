//! The page of a run beside the view of the page that a stage made: `<stage>/<port>-as-run.html`.
//!
//! It is made anew by every run, so it is no object. Its last line is a comment with the run and the BLAKE3 of all before:
//! so every run knows, without any memory, whether the file that stands in its place is one that a run left there or one
//! that somebody changed, which is moved aside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Render, ReportFormat, Request, RunSummary};
use crate::secret::redact;
use crate::store::{Store, keep, write_in_passing};

const BEGINS: &str = "\n<!-- apprentice ";
const ENDS: &str = " -->\n";
const NAME: &str = "-as-run.html";

/// Writes the page of a run for each page that it made; gives their paths, and what was moved aside.
pub(crate) fn show(
    store: &Store,
    summary: &RunSummary,
    render: Render,
) -> anyhow::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut shown, mut displaced) = (Vec::new(), Vec::new());
    for page in summary.pages() {
        let path = store.view_folder(&summary.experiment, &page.stage).join(format!("{}{NAME}", page.port));
        let runs = std::slice::from_ref(summary);
        let text = render(&Request { format: ReportFormat::Html, runs, page: Some(page) })?;
        let text = sealed(&redact(&text), &summary.id);
        let _gc_lock = store.enter()?;
        if fs::symlink_metadata(&path).is_ok() && !is_as_written(&path) {
            displaced.push(keep(&path).with_context(|| format!("move `{}` aside", path.display()))?);
        }
        write_in_passing(&path, text.as_bytes()).with_context(|| format!("write `{}`", path.display()))?;
        shown.push(path);
    }
    Ok((shown, displaced))
}

/// The page with its last line.
fn sealed(page: &str, run: &str) -> String {
    let page = page.trim_end();
    format!("{page}{BEGINS}{run} {}{ENDS}", blake3::hash(page.as_bytes()))
}

/// Whether a file is a page of a run, byte for byte as a run wrote it.
pub(crate) fn is_as_written(path: &Path) -> bool {
    let is_named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(NAME));
    let is_file = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let holds = |text: String| {
        let (page, seal) = text.strip_suffix(ENDS)?.rsplit_once(BEGINS)?;
        let (_, digest) = seal.split_once(' ')?;
        Some(blake3::hash(page.as_bytes()).to_hex().as_str() == digest)
    };
    is_named && is_file() && fs::read_to_string(path).is_ok_and(|text| holds(text) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_page_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("page{NAME}"));
        let text = sealed("<p>one <!-- apprentice x y -->\n\n", "20250131T120000Z-1");
        for (text, is) in [
            (text.clone(), true),
            (text.replace("one", "two"), false),
            (text.trim_end().to_owned(), false),
            (text.clone() + "more", false),
            ("<p>mine".to_owned(), false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(is_as_written(&path), is);
        }
        let other = dir.path().join("page.html");
        fs::write(&other, text).unwrap();
        assert!(!is_as_written(&other), "another name is somebody else's file");
    }
}
