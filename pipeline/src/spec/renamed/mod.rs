//! Words of experiment files that have a new name: the table of a catalogue, and what it says about one kind of stage.
//!
//! The table is a text of tab-separated rows, so that a row is data and the engine knows none of them. Its columns:
//!
//! - `kind`: the kind of stage under its new name, a pattern such as `rl.*`, several of them with commas between, or `-` for
//!   what belongs to no kind.
//! - `what`: `kind`, `setting`, `reciprocal`, `value`, `input` or `output`. A `setting` of `-` is a key of a stage's block
//!   (`use`, `with`). A `reciprocal` is a setting whose number x becomes 1/x under its new name.
//! - `old` and `new`: of a setting its whole path below `with`, so that a setting can move (`clip` → `optimizer.clip`); of a
//!   value the path, `=` and the word (`by=old` → `by=new`), be it a text or the key of a choice with a block.
//! - `note`: one more sentence for the help of the error; may be empty.
//!
//! A renamed block needs a row of its own (`audience` → `simulator`); what stands in it keeps its place there.

mod audit;
mod moves;
mod rename;
mod rewrite;
mod text;

use crate::Catalog;
use crate::diagnostic::{Diagnostic, Span};
pub use audit::audit;
pub(crate) use rename::rename;
pub use rewrite::{Change, Migrated, migrate};

const HEAD: &str = "kind\twhat\told\tnew\tnote";
/// Belongs to no kind of stage.
const NO_KIND: &str = "-";

/// What kind of word a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordKind {
    Kind,
    Setting,
    Reciprocal,
    Value,
    Input,
    Output,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub kinds: &'static str,
    pub what: WordKind,
    pub old: &'static str,
    pub new: &'static str,
    pub note: &'static str,
}

impl Row {
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        let (kinds, what) = (columns.next()?, columns.next()?);
        let (old, new) = (columns.next()?, columns.next()?);
        let note = columns.next().unwrap_or_default();
        let what = match what {
            "kind" => WordKind::Kind,
            "setting" => WordKind::Setting,
            "reciprocal" => WordKind::Reciprocal,
            "value" => WordKind::Value,
            "input" => WordKind::Input,
            "output" => WordKind::Output,
            _ => return None,
        };
        Some(Self { kinds, what, old, new, note }).filter(|_| columns.next().is_none())
    }

    /// Whether it names the kind itself, so that it goes before a pattern.
    fn names(&self, kind: &str) -> bool {
        self.kinds.split(',').any(|name| name == kind)
    }

    /// Whether it is about this kind.
    fn is_about(&self, kind: &str) -> bool {
        let fits = |pattern: &str| match pattern.split_once('*') {
            Some((start, end)) => {
                kind.len() >= start.len() + end.len() && kind.starts_with(start) && kind.ends_with(end)
            }
            None => pattern == kind,
        };
        self.kinds.split(',').any(fits)
    }

    fn is_setting(&self) -> bool {
        matches!(self.what, WordKind::Setting | WordKind::Reciprocal)
    }
}

/// The rows of a catalogue.
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    /// The rows that can be read; [`audit`] reports the others.
    pub fn of(catalog: &Catalog) -> Self {
        Self(catalog.renamed.lines().filter(|line| *line != HEAD).filter_map(Row::read).collect())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The row of an old kind of stage.
    pub fn kind(&self, old: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.what == WordKind::Kind && row.old == old)
    }

    /// The row of an old key of a stage's block.
    pub fn stage_key(&self, old: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.kinds == NO_KIND && row.is_setting() && row.old == old)
    }

    /// What is said about one kind of stage, under its new name.
    pub fn about(&self, kind: &str) -> KindWords {
        let mut rows: Vec<Row> = self.0.iter().filter(|row| row.is_about(kind)).copied().collect();
        rows.sort_by_key(|row| !row.names(kind));
        let settings = rows.iter().filter(|row| row.is_setting()).map(|&row| {
            let segments: Vec<&str> = row.old.split('.').collect();
            let (key, parent) = segments.split_last().expect("a split text has a part");
            let new = row.new.split('.').map(str::to_owned).collect();
            Setting { parent: renamed_path(&rows, parent), key, new, row }
        });
        let values = rows.iter().filter(|row| row.what == WordKind::Value).filter_map(|&row| {
            let ((path, old), (_, new)) = (row.old.split_once('=')?, row.new.split_once('=')?);
            let at = renamed_path(&rows, &path.split('.').collect::<Vec<_>>());
            Some(Choice { at, old, new, row })
        });
        KindWords { settings: settings.collect(), values: values.collect(), rows }
    }
}

/// The new path of a setting.
fn renamed_path(rows: &[Row], old: &[&str]) -> Vec<String> {
    let mut new: Vec<String> = Vec::new();
    for (at, key) in old.iter().enumerate() {
        let whole = old[..=at].join(".");
        if let Some(row) = rows.iter().find(|row| row.is_setting() && row.old == whole) {
            new = row.new.split('.').map(str::to_owned).collect();
            continue;
        }
        let choice = format!("{}={key}", old[..at].join("."));
        let row = rows.iter().find(|row| row.what == WordKind::Value && row.old == choice);
        new.push(row.and_then(|row| Some(row.new.split_once('=')?.1)).unwrap_or(key).to_owned());
    }
    new
}

/// A renamed setting: where it stands, with everything above it under its new name already.
struct Setting {
    parent: Vec<String>,
    key: &'static str,
    new: Vec<String>,
    row: Row,
}

struct Choice {
    at: Vec<String>,
    old: &'static str,
    new: &'static str,
    row: Row,
}

/// What the table says about one kind of stage.
pub(crate) struct KindWords {
    settings: Vec<Setting>,
    values: Vec<Choice>,
    rows: Vec<Row>,
}

impl KindWords {
    /// The new path of the key `key` in the block whose new path is `path`, with the row that says so.
    fn setting(&self, path: &[String], key: &str) -> (Vec<String>, Option<Row>) {
        if let Some(found) = self.settings.iter().find(|setting| setting.key == key && setting.parent == path) {
            return (found.new.clone(), Some(found.row));
        }
        let choice = self.value(path, key);
        let new = choice.map_or(key, |(new, _)| new).to_owned();
        (path.iter().cloned().chain([new]).collect(), choice.map(|(_, row)| row))
    }

    /// The new word for a value of the setting with this new path.
    fn value(&self, path: &[String], word: &str) -> Option<(&'static str, Row)> {
        let found = self.values.iter().find(|choice| choice.old == word && choice.at == path)?;
        Some((found.new, found.row))
    }

    /// The row of an old input or output port.
    pub fn port(&self, what: WordKind, old: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.what == what && row.old == old)
    }

    /// A path of a swept setting (`audience.window`) under its new name.
    pub fn path(&self, path: &str) -> String {
        self.steps(path).0.join(".")
    }

    fn steps(&self, path: &str) -> (Vec<String>, Option<Row>) {
        let mut row = None;
        let new = path.split('.').fold(Vec::new(), |at, key| {
            let (new, found) = self.setting(&at, key);
            row = found.or(row);
            new
        });
        (new, row)
    }
}

/// One old word in a file.
#[derive(Clone, Debug)]
pub(crate) struct OldWord {
    /// Where it stands.
    pub span: Span,
    /// As a person calls it, and what it is called now.
    pub old: String,
    pub new: String,
    /// What it is: ``the setting `lambda` of rl.ppo``.
    what: String,
    row: Row,
    edit: Edit,
}

/// How the file is to be changed.
#[derive(Clone, Debug)]
enum Edit {
    /// Other bytes at these places, quotes left alone.
    Words(Vec<(Span, String)>),
    /// The entry moves within the mapping at `within`, to `path` there; its value may be written anew.
    Move { within: Span, path: Vec<String>, value: Option<(Span, String)> },
    /// A person has to decide.
    ByHand(String),
}

impl OldWord {
    /// The fault of an old word in the file `file`, or in a `--set`.
    pub fn fault(&self, file: &str) -> Diagnostic {
        let turned = if self.row.what == WordKind::Reciprocal { ", and holds 1 divided by the old number" } else { "" };
        let mut help = format!("`{}` is now `{}`{turned}", self.old, self.new);
        if self.span.source == 0 {
            help += &match &self.edit {
                Edit::ByHand(why) => format!("; {why}"),
                _ => format!("; `apprentice migrate {file}` rewrites the file"),
            };
        }
        if !self.row.note.is_empty() {
            help = format!("{help}\n{}", self.row.note);
        }
        Diagnostic::at(self.span, format!("{} has a new name", self.what)).help(help)
    }
}
