//! `apprentice add-items POLICY --items CATALOGUE`: a policy that also knows what has come into the catalogue since it was trained.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::inspect::{catalogue, policy};
use super::output::{print, print_json, talk};
use super::session::Session;
use super::{args, format};
use crate::Exit;
use crate::add_items::{AddItems, AddedItems};
use crate::exit::Failure;
use crate::store::persist_atomically;

pub(super) fn add_items(session: &Session, args: &args::AddItems) -> Result<Exit, Failure> {
    let (store, experiment) = (session.store(), args.experiment.as_deref());
    let policy_file = policy(&store, &args.policy, experiment, session.catalog)?;
    let catalogue_file = catalogue(&store, &args.items, experiment, session.catalog)?;
    let path = args.out.clone().unwrap_or_else(|| beside(&args.policy));
    let added = persist_atomically(&path, |out| {
        let (policy, catalogue) = (&policy_file, &catalogue_file);
        (session.catalog.add_items)(&AddItems { policy, catalogue, features: args.feature.clone(), out })
    })?;
    if session.global.json {
        return print_json(json!({ "path": path, "added_items": added }));
    }
    talk(&format!(
        "wrote `{}`: {} behind {}",
        path.display(),
        items(added.added, "new item"),
        added.known + added.not_in_catalogue
    ));
    print(&to_text(&added))
}

fn items(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn to_text(added: &AddedItems) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![row("columns", added.columns.join(", "))];
    if !added.left_out.is_empty() {
        rows.push(row("left out", added.left_out.join(", ")));
    }
    let users = items(added.users, "user");
    rows.push(row(
        "agreement",
        format!(
            "{:.2}: the rank correlation of known items' scores, each as if it were new, with those that were learned (mean over {users}; 0 \
             would say that the columns tell nothing)",
            added.agreement
        ),
    ));
    if added.by_mean > 0 {
        let count = items(added.by_mean, "new item");
        rows.push(row(
            "unlike all",
            format!("{count} without a value that a known item has: scored as the mean of the known items"),
        ));
    }
    if added.not_in_catalogue > 0 {
        let count = items(added.not_in_catalogue, "item");
        rows.push(row(
            "not found",
            format!("{count} of the policy, which stay, though they are not in this catalogue"),
        ));
    }
    format::columns(&rows)
}

/// The name of the file where none is given: that of the stage or of the file, here.
fn beside(policy: &str) -> PathBuf {
    let name = Path::new(policy).file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".safetensors").or_else(|| name.strip_suffix(".policy")).unwrap_or(&name);
    PathBuf::from(format!("{stem}-with-new-items.safetensors"))
}
