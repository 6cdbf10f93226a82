//! A page: only its title is told, a browser shows the rest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use anyhow::Result;

use super::description::{Content, Description, Format};

/// Where the title is looked for, in bytes from the beginning.
const HEAD: u64 = 1 << 16;

/// Whether a file that begins with `start` is a page.
pub(super) fn recognise(start: &[u8]) -> bool {
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|s| s.eq_ignore_ascii_case(tag)))
}

/// Describes a file that [`recognise`] took for a page.
///
/// # Errors
/// When it cannot be read.
pub(super) fn describe(file: File, name: String, bytes: u64) -> Result<Description> {
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(Description {
        schema_version: super::SCHEMA_VERSION,
        file: name,
        format: Format::Html,
        bytes,
        metadata: BTreeMap::new(),
        content: Content::Html { title: title(&String::from_utf8_lossy(&head)) },
    })
}

/// What stands in the first `<title>`, with its entities as they are written.
fn title(head: &str) -> Option<String> {
    let (_, rest) = head.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    Some(title.trim().to_owned()).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use pipeline::inspect::{Format, Request};

    use super::super::escape;
    use super::super::testing::inspected;
    use super::*;

    #[test]
    fn a_page_is_told_by_its_title() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        std::fs::write(&path, "<!DOCTYPE html>\n<title> A\u{1b} tale </title><p>body").unwrap();
        let text = inspected(&path, &Request::default());
        let shown = escape::shown(&path.display().to_string(), usize::MAX);
        assert_eq!(text, format!("{shown}: HTML, 47 bytes\na page for a browser: A\\u{{1b}} tale\n"));
        let json = inspected(&path, &Request { format: Format::Json, ..Request::default() });
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["format"], &json["title"]), (&"html".into(), &"A\u{1b} tale".into()));
    }

    #[test]
    fn a_page_may_have_no_title() {
        assert_eq!(title("<html><p>"), None);
        assert_eq!(title("<title></title>"), None);
        assert!(recognise(b"<HTML lang=en>") && !recognise(b"<htm"));
    }
}
