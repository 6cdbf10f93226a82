//! Old names stay gone: `tests/data/names.tsv` says what each private word of the house became.
//!
//! Its columns: `scope`, a folder of the repository; `old`; `new`; `note`, where another word was taken than one would expect,
//! or something of the old name stays. A name with a small letter is a module, with a capital a type, in capitals a constant,
//! with `()` a function or method. A scope may lie in another one; the words of both hold there.

use std::collections::BTreeSet;
use std::fs;

use crate::project::repository;
use crate::source::{Source, sources};

struct Row {
    scope: String,
    old: String,
    new: String,
}

fn table() -> Vec<Row> {
    let text = fs::read_to_string(repository().join("tests/data/names.tsv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("scope\told\tnew\tnote"));
    let row = |line: &str| {
        let [scope, old, new, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}: four columns") };
        assert!(![scope, old, new].contains(&"") && old != new, "{line:?}: scope, old and new say something");
        assert_eq!(what(old), what(new), "{line:?}: a thing stays what it is");
        Row { scope: scope.into(), old: old.into(), new: new.into() }
    };
    lines.map(row).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Module,
    Type,
    Constant,
    Function,
}

fn what(name: &str) -> What {
    match name {
        _ if name.ends_with("()") => What::Function,
        _ if name.starts_with(char::is_lowercase) => What::Module,
        _ if name.chars().any(char::is_lowercase) => What::Type,
        _ => What::Constant,
    }
}

/// What a file declares, itself as a module among it; what only its tests declare counts, too.
fn declared(source: &Source) -> BTreeSet<(What, String)> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let mut found: BTreeSet<_> = parts.map(|part| (What::Module, part.to_owned())).collect();
    for line in source.text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let words: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            let what = match pair[0] {
                "mod" => What::Module,
                "struct" | "enum" | "union" | "trait" | "type" | "as" => What::Type,
                "const" | "static" => What::Constant,
                "fn" => What::Function,
                _ => continue,
            };
            let end = if what == What::Function { "()" } else { "" };
            found.insert((what, format!("{}{end}", pair[1])));
        }
    }
    found
}

#[test]
fn declarations_of_every_kind_are_seen() {
    let text = "// struct No;\nmod inner;\n    pub(crate) struct Some<'a> {\n    const MOST: usize = 1;\nuse x::Y as Other;\n\
                impl A { pub fn of(&self) {} }";
    let source = Source { path: "a/b/file.rs".into(), text: text.into() };
    let found: Vec<String> = declared(&source).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, ["a", "b", "file", "inner", "Other", "Some", "MOST", "of()"]);
}

#[test]
fn old_names_are_gone_and_new_ones_are_there() {
    let mut wrong = Vec::new();
    let rows = table();
    let unique: BTreeSet<_> = rows.iter().map(|row| (&row.scope, &row.old)).collect();
    assert_eq!(unique.len(), rows.len(), "a word stands twice in one scope");
    let scopes: BTreeSet<&str> = rows.iter().map(|row| row.scope.as_str()).collect();
    for scope in scopes {
        let all: Vec<_> = sources(scope, &["rs"]).into_iter().map(|source| (declared(&source), source.path)).collect();
        for Row { old, new, .. } in rows.iter().filter(|row| row.scope == scope) {
            let declares = |name: &str| all.iter().find(|(found, _)| found.contains(&(what(name), name.to_owned())));
            if let Some((_, path)) = declares(old) {
                wrong.push(format!("{path} has `{old}`, which is `{new}` in {scope}"));
            }
            if declares(new).is_none() {
                wrong.push(format!("{scope} has no `{new}`, which `{old}` became: correct its row"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
