//! Finds the old words of a file and puts the new ones in their place in the tree, so that everything else that is wrong with
//! the file is found as if it had been written in them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Edit, KindWords, OldWord, Row, Rows, WordKind};
use crate::diagnostic::Span;
use crate::spec::stage_block::SWEEP;
use crate::spec::tree::{Data, Entry, Tree};

/// Renames what is old in an experiment. Of what cannot be renamed, for the new word stands there too, the new one stays.
pub(crate) fn rename(root: &mut Tree, rows: &Rows) -> Vec<OldWord> {
    let mut found = Vec::new();
    let Some(stages) = root.entries_mut().iter_mut().find(|entry| entry.key == "stages") else { return found };
    if rows.is_empty() {
        return found;
    }
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    for stage in stages.value.entries_mut() {
        let key = |row: &Row| (format!("the key `{}` of a stage", row.old), row.new.to_owned());
        keys(&mut stage.value, &|old| rows.stage_key(old).copied(), &key, &mut found);
        let used = stage.value.entries_mut().iter_mut().find(|entry| entry.key == "use");
        if let Some(kind) = used.and_then(|entry| kind(&mut entry.value, rows, &mut found)) {
            kinds.insert(stage.key.clone(), kind);
        }
    }
    let words: BTreeMap<&str, KindWords> = kinds.values().map(|kind| (kind.as_str(), rows.about(kind))).collect();
    let of = |stage: &str| Some((kinds.get(stage)?.as_str(), words.get(kinds.get(stage)?.as_str())?));
    for stage in stages.value.entries_mut() {
        let own = of(&stage.key);
        for part in stage.value.entries_mut() {
            match (part.key.as_str(), own) {
                ("inputs", own) => {
                    if let Some((kind, words)) = own {
                        let port = |old: &str| words.port(WordKind::Input, old).copied();
                        let what = |row: &Row| (format!("the input `{}` of {kind}", row.old), row.new.to_owned());
                        keys(&mut part.value, &port, &what, &mut found);
                    }
                    for input in part.value.entries_mut() {
                        references(&mut input.value, &|stage| of(stage).map(|(_, words)| words), &mut found);
                    }
                }
                ("with", Some((kind, words))) => {
                    Settings { kind, words, found: &mut found }.block(&mut part.value, &[]);
                }
                (SWEEP, Some((kind, words))) => {
                    Settings { kind, words, found: &mut found }.sweep(&mut part.value);
                }
                _ => {}
            }
        }
    }
    found
}

/// Renames keys of one mapping.
fn keys(
    mapping: &mut Tree,
    row: &dyn Fn(&str) -> Option<Row>,
    what: &dyn Fn(&Row) -> (String, String),
    found: &mut Vec<OldWord>,
) {
    let Data::Map(entries) = &mut mapping.data else { return };
    let mut at = 0;
    while at < entries.len() {
        let Some(row) = row(&entries[at].key) else {
            at += 1;
            continue;
        };
        let (what, new) = what(&row);
        let span = entries[at].key_span;
        let edit = match entries.iter().any(|entry| entry.key == new) {
            true => Edit::ByHand(format!("`{new}` stands here, too: keep one of them")),
            false => Edit::Words(vec![(span, new.clone())]),
        };
        if matches!(edit, Edit::ByHand(_)) {
            entries.remove(at);
        } else {
            entries[at].key.clone_from(&new);
            at += 1;
        }
        found.push(OldWord { span, old: row.old.to_owned(), new, what, row, edit });
    }
}

/// The new name of a kind of stage.
fn kind(used: &mut Tree, rows: &Rows, found: &mut Vec<OldWord>) -> Option<String> {
    let span = used.span;
    let Data::Scalar(Value::String(text)) = &mut used.data else { return None };
    if let Some(&row) = rows.kind(text) {
        let (old, new) = (text.clone(), row.new.to_owned());
        text.clone_from(&new);
        let (what, edit) = (format!("the stage kind `{old}`"), Edit::Words(vec![(span, new.clone())]));
        found.push(OldWord { span, old, new, what, row, edit });
    }
    Some(text.clone())
}

/// Renames the ports of `stage.port`, or of several.
fn references<'w>(tree: &mut Tree, words: &dyn Fn(&str) -> Option<&'w KindWords>, found: &mut Vec<OldWord>) {
    let whole = tree.span;
    match &mut tree.data {
        Data::List(items) => items.iter_mut().for_each(|item| references(item, words, found)),
        Data::Map(entries) => entries.iter_mut().for_each(|entry| references(&mut entry.value, words, found)),
        Data::Scalar(Value::String(text)) => {
            let Some((stage, port)) = text.split_once('.') else { return };
            let Some(&row) = words(stage).and_then(|words| words.port(WordKind::Output, port)) else { return };
            let (old, new) = (port.to_owned(), row.new.to_owned());
            // A quoted reference ends in its quote: then the whole of it is shown.
            let plain = whole.end - whole.start == text.len();
            let span = if plain { Span { start: whole.end - old.len(), ..whole } } else { whole };
            let what = format!("the output `{old}` of `{stage}`");
            let reference = format!("{stage}.{new}");
            let edit = Edit::Words(vec![(whole, reference.clone())]);
            *text = reference;
            found.push(OldWord { span, old, new, what, row, edit });
        }
        Data::Scalar(_) => {}
    }
}

/// An entry on its way to another block.
struct Moving {
    entry: Entry,
    to: Vec<String>,
    /// Its place among the words that were found.
    word: usize,
    value: Option<(Span, String)>,
}

struct Settings<'a> {
    kind: &'a str,
    words: &'a KindWords,
    found: &'a mut Vec<OldWord>,
}

impl Settings<'_> {
    /// Renames the settings in a block whose own new path is `path`. What belongs into a block above it is given back.
    fn block(&mut self, tree: &mut Tree, path: &[String]) -> Vec<Moving> {
        let span = tree.span;
        match &mut tree.data {
            Data::Scalar(Value::String(text)) => {
                if let Some((new, row)) = self.words.value(path, text) {
                    let old = std::mem::replace(text, new.to_owned());
                    let edit = Edit::Words(vec![(span, new.to_owned())]);
                    self.push(span, &old, new.to_owned(), path, row, edit);
                }
                Vec::new()
            }
            Data::Scalar(_) => Vec::new(),
            Data::List(items) => {
                for item in items {
                    for moving in self.block(item, path) {
                        self.by_hand(moving.word, "it stands in a list, so move it by hand");
                    }
                }
                Vec::new()
            }
            Data::Map(entries) => self.entries(entries, span, path),
        }
    }

    fn entries(&mut self, entries: &mut Vec<Entry>, span: Span, path: &[String]) -> Vec<Moving> {
        let mut moving = Vec::new();
        let mut at = 0;
        while at < entries.len() {
            let (new, row) = self.words.setting(path, &entries[at].key);
            let inner = self.block(&mut entries[at].value, &new);
            let emptied = !inner.is_empty() && entries[at].value.entries().is_empty();
            moving.extend(inner);
            if emptied {
                entries.remove(at);
                continue;
            }
            let Some(row) = row else {
                at += 1;
                continue;
            };
            let key_span = entries[at].key_span;
            let value = match row.what {
                WordKind::Reciprocal => reciprocal(&mut entries[at].value),
                _ => Ok(None),
            };
            let stays = new[..new.len() - 1] == *path;
            let old = entries[at].key.clone();
            let shown = if stays { new[new.len() - 1].clone() } else { new.join(".") };
            let edit = match &value {
                Err(why) => Edit::ByHand((*why).to_owned()),
                Ok(_) if stays && entries.iter().any(|entry| entry.key == shown) => {
                    Edit::ByHand(format!("`{shown}` stands here, too: keep one of them"))
                }
                Ok(value) if stays => {
                    Edit::Words([(key_span, shown.clone())].into_iter().chain(value.clone()).collect())
                }
                // Replaced where the entry comes to rest.
                Ok(_) => Edit::ByHand("it cannot be moved from here: move it by hand".into()),
            };
            let clashes = stays && matches!(edit, Edit::ByHand(_)) && value.is_ok();
            self.push(key_span, &old, shown.clone(), path, row, edit);
            if clashes {
                entries.remove(at);
            } else if stays {
                entries[at].key = shown;
                at += 1;
            } else {
                let (entry, value) = (entries.remove(at), value.ok().flatten());
                moving.push(Moving { entry, to: new, word: self.found.len() - 1, value });
            }
        }
        let (here, above): (Vec<_>, Vec<_>) = moving.into_iter().partition(|moving| moving.to.starts_with(path));
        for Moving { entry, to, word, value } in here {
            let rest = to[path.len()..].to_vec();
            let wrong = matches!(&self.found[word].row.what, WordKind::Reciprocal) && value.is_none();
            self.found[word].edit = match put(entries, &rest, entry) {
                Ok(()) if wrong => Edit::ByHand("its value has no inverse: write 1 / the old value by hand".into()),
                Ok(()) => Edit::Move { within: span, path: rest, value },
                Err(why) => Edit::ByHand(why),
            };
        }
        above
    }

    /// Renames the paths of a sweep, and what stands in its values.
    fn sweep(&mut self, tree: &mut Tree) {
        let Data::Map(entries) = &mut tree.data else { return };
        let mut at = 0;
        while at < entries.len() {
            let (path, row) = self.words.steps(&entries[at].key);
            let new = path.join(".");
            let mut values = Vec::new();
            let mut wrong = None;
            if let Data::List(items) = &mut entries[at].value.data {
                for item in items {
                    for moving in self.block(item, &path) {
                        self.by_hand(moving.word, "it is swept with others, so move it by hand");
                    }
                    if row.is_some_and(|row| row.what == WordKind::Reciprocal) {
                        match reciprocal(item) {
                            Ok(value) => values.extend(value),
                            Err(why) => wrong = Some(why.to_owned()),
                        }
                    }
                }
            }
            let Some(row) = row.filter(|_| new != entries[at].key) else {
                at += 1;
                continue;
            };
            let span = entries[at].key_span;
            let clash = entries.iter().any(|entry| entry.key == new);
            let edit = match wrong {
                Some(why) => Edit::ByHand(why),
                None if clash => Edit::ByHand(format!("`{new}` stands here, too: keep one of them")),
                None => Edit::Words([(span, new.clone())].into_iter().chain(values).collect()),
            };
            let old = entries[at].key.clone();
            self.push(span, &old, new.clone(), &[], row, edit);
            if clash {
                entries.remove(at);
            } else {
                entries[at].key = new;
                at += 1;
            }
        }
    }

    fn push(&mut self, span: Span, old: &str, new: String, path: &[String], row: Row, edit: Edit) {
        let what = match row.what {
            WordKind::Value if !path.is_empty() => format!("the choice `{old}` of `{}`", path.join(".")),
            _ => format!("the setting `{old}` of {}", self.kind),
        };
        self.found.push(OldWord { span, old: old.to_owned(), new, what, row, edit });
    }

    fn by_hand(&mut self, word: usize, why: &str) {
        self.found[word].edit = Edit::ByHand(why.to_owned());
    }
}

/// Turns a number over; gives the text that stands for it now.
fn reciprocal(value: &mut Tree) -> Result<Option<(Span, String)>, &'static str> {
    let number = match &value.data {
        Data::Scalar(Value::Number(number)) => number.as_f64().map(|number| 1.0 / number).filter(|x| x.is_finite()),
        _ => None,
    };
    let turned = number
        .and_then(serde_json::Number::from_f64)
        .ok_or("its value has no inverse: write 1 / the old value by hand")?;
    // A whole number is written as one, as people do.
    let whole = turned.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
    let turned = whole.map_or(Value::Number(turned), |number| Value::from(number as i64));
    let text = turned.to_string();
    value.data = Data::Scalar(turned);
    Ok(Some((value.span, text)))
}

/// Puts an entry at a path below a mapping, making the blocks on the way.
fn put(entries: &mut Vec<Entry>, path: &[String], mut entry: Entry) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    let known = entries.iter().position(|entry| entry.key == *key);
    if rest.is_empty() {
        if known.is_some() {
            return Err(format!("`{key}` stands there, too: keep one of them"));
        }
        entry.key.clone_from(key);
        entries.push(entry);
        return Ok(());
    }
    let at = known.unwrap_or_else(|| {
        let value = Tree { span: entry.value.span, data: Data::Map(Vec::new()) };
        entries.push(Entry { key: key.clone(), key_span: entry.key_span, value });
        entries.len() - 1
    });
    match &mut entries[at].value.data {
        Data::Map(inner) => put(inner, rest, entry),
        _ => Err(format!("`{key}` is no block here: move it by hand")),
    }
}
