//! The two maps of BiLLP's dataset: ids to titles, and titles to genres.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::artifact::TextFile;
use crate::ingest::readers::python_literal;

/// Ids and titles, by id: `{"id2item_dict": {"0": title}}`.
///
/// # Errors
/// Where the file cannot be read or has another format.
pub(in crate::ingest) fn titles(path: &Path) -> Result<Vec<(String, String)>> {
    let file = json(path)?;
    let map = file["id2item_dict"].as_object();
    let map = map.with_context(|| {
        let help = r#"write the catalogue as {"id2item_dict": {"0": "Braid"}}"#;
        format!("{}: wanted {{\"id2item_dict\": {{id: title}}}}\nhelp: {help}", path.display())
    })?;
    let entry = |(id, title): (&String, &Value)| {
        let place = || format!("{}: id {id:?} with title {title}, wanted a number and a text", path.display());
        Ok((id.parse::<u64>().with_context(place)?, title.as_str().with_context(place)?.to_owned()))
    };
    let mut titles: Vec<(u64, String)> = map.iter().map(entry).collect::<Result<_>>()?;
    titles.sort();
    Ok(titles.into_iter().map(|(id, title)| (id.to_string(), title)).collect())
}

/// Genres by title: `{title: "['Action', 'Indie']"}`.
///
/// # Errors
/// Where the file cannot be read or has another format.
pub(in crate::ingest) fn genres(path: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let file = json(path)?;
    let map = file.as_object().with_context(|| format!("{}: wanted {{title: list}}", path.display()))?;
    let entry = |(title, list): (&String, &Value)| {
        let texts = list.as_str().and_then(python_literal::texts);
        let place =
            || format!("{}: the genres of {title:?} are {list}, wanted a list of texts as text", path.display());
        Ok((title.clone(), texts.with_context(place)?))
    };
    map.iter().map(entry).collect()
}

fn json(path: &Path) -> Result<Value> {
    let text = TextFile::new(path).bytes()?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))
}
