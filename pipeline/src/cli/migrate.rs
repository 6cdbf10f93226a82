//! `apprentice migrate`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::Migrate;
use super::format;
use super::output::{print, print_json};
use super::session::Session;
use crate::Exit;
use crate::exit::Failure;
use crate::spec::read;
use crate::spec::renamed::{self, Change, Migrated};
use crate::store::replace_file;

pub(super) fn migrate(session: &Session, args: &Migrate) -> Result<Exit, Failure> {
    // All files are read before the first is written: of several, one with a fault leaves all as they are.
    let mut files = Vec::new();
    for path in &args.files {
        files.push((path, rewritten(session, path)?));
    }
    let changes = |file: &(&PathBuf, Migrated)| file.1.changes.len();
    let is_work = files.iter().any(|file| changes(file) > 0);
    for (path, migrated) in files.iter().filter(|file| !args.check && changes(file) > 0) {
        replace_file(path, migrated.text.as_bytes())
            .map_err(|error| anyhow::anyhow!("cannot write `{}`: {error}", path.display()))?;
    }
    if session.global.json {
        print_json(json!({ "files": files.iter().map(to_json).collect::<Vec<_>>(), "written": !args.check }))?;
    } else {
        print(&files.iter().map(|file| to_text(file, args.check)).collect::<String>())?;
    }
    Ok(if args.check && is_work { Exit::WorkFound } else { Exit::Ok })
}

fn rewritten(session: &Session, path: &Path) -> Result<Migrated, Failure> {
    let name = path.display().to_string();
    let text = read(path).map_err(Failure::usage)?;
    renamed::migrate(&name, &text, session.catalog).map_err(Failure::usage)
}

fn to_json((path, migrated): &(&PathBuf, Migrated)) -> Value {
    let change = |change: &Change| json!({ "line": change.line, "old": change.old, "new": change.new });
    json!({ "path": path, "changes": migrated.changes.iter().map(change).collect::<Vec<_>>() })
}

fn to_text((path, migrated): &(&PathBuf, Migrated), check: bool) -> String {
    let path = path.display();
    let line = |change: &Change| format!("{path}:{}: {} → {}\n", change.line, change.old, change.new);
    let lines: String = migrated.changes.iter().map(line).collect();
    let end = match migrated.changes.len() {
        0 => "nothing to rewrite".to_owned(),
        count if check => format!("{} to rewrite", format::count(count, "word")),
        count => format!("{} rewritten", format::count(count, "word")),
    };
    format!("{lines}{path}: {end}\n")
}
