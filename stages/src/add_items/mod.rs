//! New items in a trained policy, for `apprentice add-items`.
//!
//! A policy holds numbers of each item of its catalogue. Those of an item that came later are mapped from its columns, as they are in a
//! newer catalogue that also holds the items the policy knows ([`attribute_map`]). How much that is worth is measured by the same map: every
//! known item is scored as if it were new, and compared with what was learned of it.

mod attribute_map;

use std::collections::BTreeMap;

use anyhow::Result;
use pipeline::add_items::{AddItems, AddedItems};
use pipeline::{Artifact as _, UsageError};

use crate::artifact::{Array, Items, PolicyFile, TensorFile, spaced};
use crate::env::{Observation, states};
use crate::features::{Columns, Declared, Encoding, FeatureKind, likely_kind};
use crate::nn::PolicyNetwork;
use crate::nn::policy_io::load;
use crate::nn::{add_items as add_rows, item_tables};
use crate::ratings::spearman;
use attribute_map::{AttributeMap, Design};

/// Values of a column that count for themselves; of more, the rarer ones count as one.
const MAX_CARDINALITY: usize = 100;
/// Known items from which on a map is fitted.
const FEWEST: usize = 20;
/// Users whose scores are compared, at most, and how many scores.
const USERS: usize = 100;
const SCORES: usize = 1 << 24;

/// Writes a policy that also knows the new items of a catalogue.
///
/// # Errors
/// [`UsageError`] when the catalogue has no new item, is another policy's, or says nothing of its items; else when a file cannot be read
/// or written.
pub fn add_items(asked: &AddItems) -> Result<AddedItems> {
    let (mut policy, catalogue) = (PolicyFile::read(asked.policy)?, Items::read(asked.catalogue)?);
    let (origin, ids) = (policy.origin()?, policy.ids()?);
    // Whatever does not fit together is said as when it is served.
    load(&policy.0)?;
    if ids.items.is_empty() {
        return Err(UsageError("the policy's file does not say which items its rows stand for".to_owned()).into());
    }
    let row_of: BTreeMap<&str, usize> = ids.items.iter().map(String::as_str).zip(0..).collect();
    let (mut known, mut fitted, mut new) = (0, Vec::new(), Vec::new());
    for (row, id) in catalogue.id.iter().enumerate() {
        match row_of.get(id.as_str()) {
            None => new.push(row),
            Some(&item) => {
                known += 1;
                // Of an item that was added before only its columns are known.
                if item < ids.items.len() - origin.added_items {
                    fitted.push((row, item));
                }
            }
        }
    }
    check_sizes(&catalogue, [known, fitted.len(), new.len()])?;
    let (rows, items): (Vec<usize>, Vec<usize>) = fitted.into_iter().unzip();

    let (encoding, left_out) = encoded(&catalogue, &rows, &asked.features)?;
    let design = Design::new(&encoding, catalogue.len());
    let map = AttributeMap::new(&design, rows)?;
    let tables = item_tables(&policy.0, &items)?;
    let (as_if_new, added): (Vec<Array>, Vec<Array>) =
        tables.iter().map(|table| map.map(table, &new)).map(|mapped| (mapped.left_out, mapped.asked)).unzip();
    let agreement = agreement(&policy.0, &items, as_if_new, map.folds())?;
    add_rows(&mut policy.0, added)?;
    let of = |texts: &[String]| new.iter().map(|&row| texts[row].clone()).collect::<Vec<_>>();
    policy.tell_added(&of(&catalogue.id), &of(&catalogue.title))?;
    policy.write(asked.out)?;
    Ok(AddedItems {
        known,
        not_in_catalogue: ids.items.len() - known,
        added: new.len(),
        by_mean: new.iter().filter(|&&row| design.is_empty(row)).count(),
        columns: encoding.columns.into_iter().map(|column| column.said).collect(),
        left_out,
        agreement: agreement.0,
        users: agreement.1,
    })
}

/// Whether there is something to add, and enough to learn from.
fn check_sizes(catalogue: &Items, [known, fitted, new]: [usize; 3]) -> Result<(), UsageError> {
    let count = catalogue.len();
    let refused = |what: String| Err(UsageError(what));
    if known == 0 {
        let example = catalogue.id.first().map_or_else(String::new, |id| format!(", such as {id:?},"));
        return refused(format!(
            "none of the {count} items of the catalogue{example} is one that the policy knows\nhelp: give the catalogue that the policy's \
             own items are in, too, with the same ids"
        ));
    }
    if new == 0 {
        return refused(format!("the policy knows all {count} items of the catalogue: there is none to add"));
    }
    if fitted < FEWEST {
        return refused(format!(
            "the catalogue has {fitted} items that the policy was trained with, and what their columns say is learned from {FEWEST} or \
             more\nhelp: give the catalogue that the policy's own items are in, too, with the same ids"
        ));
    }
    Ok(())
}

/// The columns of the catalogue, by what the known items at `rows` say, and those that are left out with the reason.
fn encoded(catalogue: &Items, rows: &[usize], asked: &[(String, String)]) -> Result<(Encoding, Vec<String>)> {
    let columns = Columns::of_items(catalogue);
    let (declared, mut left_out) = declared(&columns, rows, asked)?;
    let mut uses = vec![0; catalogue.len()];
    rows.iter().for_each(|&row| uses[row] = 1);
    let encoding =
        Encoding::of(&columns, &declared, &uses, MAX_CARDINALITY).map_err(|error| UsageError(error.to_string()))?;
    left_out.extend(encoding.left_out.iter().cloned());
    if encoding.width() == 0 {
        let why = if left_out.is_empty() { "it has none".to_owned() } else { left_out.join(", ") };
        return Err(UsageError(format!(
            "no column of the catalogue says anything of an item: {why}\nhelp: `--feature brand=categorical` names a column and what it is; \
             `items.features` of `ingest.table` reads more of them"
        ))
        .into());
    }
    Ok((encoding, left_out))
}

/// What the columns are read as: as asked, or by their values where nothing is asked.
fn declared(
    columns: &Columns<'_>,
    rows: &[usize],
    asked: &[(String, String)],
) -> Result<(Declared, Vec<String>), UsageError> {
    let (mut declared, mut left_out) = (Declared::new(), Vec::new());
    for (name, kind) in asked {
        columns.column(name).map_err(|error| UsageError(format!("`--feature {name}={kind}`: {error}")))?;
        let kind = match kind.split_once(':').unwrap_or((kind, "|")) {
            ("categorical", _) => FeatureKind::Categorical,
            ("numeric", _) => FeatureKind::Numeric,
            ("multi_valued", separator) if !separator.is_empty() => FeatureKind::MultiValued(separator.to_owned()),
            _ => {
                return Err(UsageError(format!(
                    "`--feature {name}={kind}`: found `{kind}`, wanted `categorical`, `numeric` or `multi_valued:|` with a separator"
                )));
            }
        };
        declared.insert(name.clone(), kind);
    }
    let others = columns.values.iter().filter(|_| asked.is_empty());
    for (name, values) in others {
        match likely_kind(rows.iter().map(|&row| values[row].as_str())) {
            Some(FeatureKind::Text) => left_out.push(format!("{name} (words)")),
            Some(kind) => drop(declared.insert((*name).to_owned(), kind)),
            None => left_out.push(format!("{name} (one value, or another in nearly every item)")),
        }
    }
    Ok((declared, left_out))
}

/// How well the scores of `items` as if they were new agree with their own: Spearman's rank correlation at the start of a session within each
/// of the `folds` that are mapped together, the mean over these and some users; and how many users these are.
fn agreement(
    policy: &TensorFile,
    items: &[usize],
    as_if_new: Vec<Array>,
    folds: &[Vec<usize>],
) -> Result<(f64, usize)> {
    let mut both = policy.clone();
    add_rows(&mut both, as_if_new)?;
    let network: Box<dyn PolicyNetwork> = load(&both)?;
    let config = network.config();
    let first_new = config.items - items.len();
    let users = spaced(config.users, USERS.min((SCORES / config.items).max(1)));
    let mut sum = 0.0;
    for &user in &users {
        let mut observation = Observation::unmasked(config.window);
        observation.push(user, &[], &[], 1, config.items as u32);
        let scores = network.logits(&states(&network, &observation)?)?.flatten_all()?.to_vec1::<f32>()?;
        let of = |fold: &Vec<usize>, item: &dyn Fn(usize) -> usize| -> Vec<f64> {
            fold.iter().map(|&row| f64::from(scores[item(row)])).collect()
        };
        let within = |fold| spearman(&of(fold, &|row| items[row]), &of(fold, &|row| first_new + row));
        sum += folds.iter().map(within).sum::<f64>() / folds.len() as f64;
    }
    Ok((sum / users.len().max(1) as f64, users.len()))
}

#[cfg(test)]
mod tests;
