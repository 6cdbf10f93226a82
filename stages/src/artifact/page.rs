//! A page for people.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::Artifact;

/// HTML, self-contained: no script, style or picture is fetched from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(pub String);

impl Artifact for Page {
    const KIND: &'static str = "page";
    const EXTENSION: &'static str = "html";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, &self.0).with_context(|| format!("cannot write {}", path.display()))
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?))
    }
}
