//! Whether a table of renamed words agrees with the stages of its catalogue.

use std::collections::BTreeSet;

use super::{HEAD, KindWords, NO_KIND, Row, Rows, WordKind};
use crate::spec::schema_lookup::SchemaLookup;
use crate::spec::stage_block::STAGE_KEYS;
use crate::{Catalog, StageKind};

/// What is wrong with the table of a catalogue, a sentence for each fault: a row that says nothing, a new word that its stage
/// does not know, an old one that it knows still, a chain of renamings.
#[must_use]
pub fn audit(catalog: &Catalog) -> Vec<String> {
    let mut wrong = Vec::new();
    if catalog.renamed.is_empty() {
        return wrong;
    }
    let mut lines = catalog.renamed.lines();
    if lines.next() != Some(HEAD) {
        wrong.push(format!("the first line is no `{}`", HEAD.replace('\t', " ")));
    }
    let mut unique = BTreeSet::new();
    for line in lines {
        let Some(row) =
            Row::read(line).filter(|row| row.old != row.new && ![row.kinds, row.old, row.new].contains(&""))
        else {
            wrong.push(format!("{line:?}: no row of kind, what, old, new, note"));
            continue;
        };
        if !unique.insert((
            row.kinds,
            row.what == WordKind::Value,
            row.what == WordKind::Kind,
            row.is_setting(),
            row.old,
        )) {
            wrong.push(format!("{line:?}: stands there twice"));
        }
        let fault = match row.what {
            WordKind::Kind => kind(catalog, &row),
            _ if row.kinds == NO_KIND => {
                let fine = row.is_setting() && STAGE_KEYS.contains(&row.new) && !STAGE_KEYS.contains(&row.old);
                (!fine).then(|| "no key of a stage".to_owned())
            }
            _ => about_kinds(catalog, &row),
        };
        wrong.extend(fault.map(|fault| format!("{line:?}: {fault}")));
    }
    wrong
}

fn kind(catalog: &Catalog, row: &Row) -> Option<String> {
    match (catalog.stage(row.old), catalog.stage(row.new)) {
        _ if row.kinds != NO_KIND => Some("a kind of stage belongs to none".into()),
        (Some(_), _) => Some(format!("`{}` is a kind of stage still", row.old)),
        (_, None) => Some(format!("`{}` is no kind of stage", row.new)),
        _ => None,
    }
}

fn about_kinds(catalog: &Catalog, row: &Row) -> Option<String> {
    let kinds: Vec<&StageKind> = catalog.stages.iter().filter(|stage| row.is_about(stage.kind)).collect();
    let unknown = row.kinds.split(',').find(|name| !name.contains('*') && catalog.stage(name).is_none());
    if let Some(unknown) = unknown {
        return Some(format!("`{unknown}` is no kind of stage"));
    }
    let rows = Rows::of(catalog);
    // A pattern is about those of its kinds that have what is named anew.
    let mut any = false;
    for stage in kinds {
        let words = rows.about(stage.kind);
        let lookup = SchemaLookup::new(&|generator| (stage.schema)(generator));
        let is_known = has(stage, &lookup, &words, row, true);
        any |= is_known;
        if !is_known && row.names(stage.kind) {
            return Some(format!("{} has no `{}`", stage.kind, row.new));
        }
        // Another row may be about this kind in particular.
        if has(stage, &lookup, &words, row, false) {
            return Some(format!("{} has `{}` still", stage.kind, row.old));
        }
        let chain = words.rows.iter().find(|other| {
            let same = other.what == row.what || (other.is_setting() && row.is_setting());
            same && other.old == row.new
        });
        if let Some(chain) = chain {
            return Some(format!("`{}` is old itself and now `{}`", row.new, chain.new));
        }
    }
    (!any).then(|| format!("no kind of stage has `{}`", row.new))
}

/// Whether a stage has the new word of a row, or the old one.
fn has(stage: &StageKind, lookup: &SchemaLookup, words: &KindWords, row: &Row, new: bool) -> bool {
    let word = if new { row.new } else { row.old };
    match row.what {
        WordKind::Kind => false,
        WordKind::Setting | WordKind::Reciprocal => {
            // The old word below blocks that have their new names.
            let path: Vec<String> = match (new, words.settings.iter().find(|setting| setting.row == *row)) {
                (false, Some(found)) => found.parent.iter().cloned().chain([found.key.to_owned()]).collect(),
                _ => word.split('.').map(str::to_owned).collect(),
            };
            lookup.find(&path).is_some()
        }
        WordKind::Value => words.values.iter().find(|choice| choice.row == *row).is_some_and(|choice| {
            let word = if new { choice.new } else { choice.old };
            lookup.words_at(&choice.at).iter().any(|known| known == word)
        }),
        WordKind::Input => (stage.inputs)().iter().any(|port| port.name == word),
        WordKind::Output => (stage.outputs)().iter().any(|port| port.name == word),
    }
}
