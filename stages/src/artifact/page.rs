//! A page for people.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::Artifact;

/// HTML, self-contained: no script, style or picture is fetched from elsewhere. It holds [`Page::PLACE`] once, where what was
/// run is put when the page is told together with a run; no text from data can hold it, because there `<` is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(pub String);

impl Page {
    /// Marks the place for what was run.
    pub const PLACE: &'static str = "<!-- what was run -->";

    /// The page with a section in its place; `None` where the page has no place for it.
    pub fn with(&self, section: &str) -> Option<String> {
        let (before, after) = self.0.split_once(Self::PLACE)?;
        Some(format!("{before}{section}{after}"))
    }
}

impl Artifact for Page {
    const KIND: &'static str = "page";
    const EXTENSION: &'static str = "html";
    // 1: without a place for what was run.
    const FORMAT: u32 = 2;

    fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, &self.0).with_context(|| format!("cannot write {}", path.display()))
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?))
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_section_goes_into_its_place() {
        let page = Page(format!("a{}b", Page::PLACE));
        assert_eq!(page.with("<p>x").as_deref(), Some("a<p>xb"));
        assert_eq!(Page("ab".to_owned()).with("x"), None);
    }
}
