//! Model selection: of each training the checkpoint with the highest return in a validation world is evaluated, never the best one
//! in the evaluation world.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use pipeline::Named;

use super::leakage::policy_label;
use crate::artifact::{PolicyFile, World};
use crate::env::{PolicyAgent, play};

/// A policy with its cell, or with the value of the field.
type Labelled<'a> = (String, &'a Named<PolicyFile>);

/// A training's cell without the swept field that tells its checkpoints apart, and the value of that field.
fn parted(cell: &str, field: &str) -> Option<(String, String)> {
    let (own, rest): (Vec<&str>, Vec<&str>) =
        cell.split(',').partition(|part| part.split_once('=').is_some_and(|(key, _)| key == field));
    Some((rest.join(","), own.first()?.split_once('=')?.1.to_owned()))
}

/// An error where no policy's cell has the field: misspelt, all checkpoints would be evaluated as seeds.
pub(super) fn known(field: &str, policies: &[Named<PolicyFile>]) -> Result<()> {
    let swept: BTreeSet<&str> = policies
        .iter()
        .flat_map(|policy| policy.cell.split(','))
        .filter_map(|part| part.split_once('=').map(|(key, _)| key))
        .collect();
    ensure!(
        swept.contains(field),
        "`select_over: {field}` names no setting that is swept in the policies\nhelp: {}",
        match swept.is_empty() {
            true => "they are of no sweep; leave `select_over` out".to_owned(),
            false => format!("swept are {}", swept.into_iter().collect::<Vec<_>>().join(", ")),
        }
    );
    Ok(())
}

/// Of the policies of one row the checkpoint of each training with the highest mean inclusive return over all users of
/// `validation`, the first of equals, greedily; with the cell that is left and a remark.
pub(super) fn choose<'a>(
    field: &str,
    policies: &[&'a Named<PolicyFile>],
    validation: Option<&World>,
) -> Result<(Vec<Labelled<'a>>, String)> {
    let mut trainings: Vec<(String, Vec<Labelled>)> = Vec::new();
    let mut plain = Vec::new();
    for &policy in policies {
        match parted(&policy.cell, field) {
            None => plain.push((policy.cell.clone(), policy)),
            Some((rest, value)) => match trainings.iter_mut().find(|(known, _)| *known == rest) {
                Some((_, checkpoints)) => checkpoints.push((value, policy)),
                None => trainings.push((rest, vec![(value, policy)])),
            },
        }
    }
    if trainings.is_empty() {
        return Ok((plain, String::new()));
    }
    ensure!(
        plain.is_empty(),
        "some policies of one name have a `{field}` in their cell and some have none\nhelp: give them different names"
    );
    let world = validation.with_context(|| {
        format!("`select_over: {field}` selects by a validation world\nhelp: connect one to `validation`, which may not be the evaluation world")
    })?;
    let users: Vec<u32> = (0..world.users() as u32).collect();
    let mut chosen = Vec::new();
    let mut values = Vec::new();
    for (rest, checkpoints) in trainings {
        let mut best: Option<(f64, &String, &'a Named<PolicyFile>)> = None;
        for (value, policy) in &checkpoints {
            let network =
                PolicyAgent::load(&policy.value, world.users(), world.items()).with_context(|| policy_label(policy))?;
            let episodes = play(world, &users, &PolicyAgent { network: &network, sample: false }, 0)?;
            let episode_return = |e: usize| episodes.rewards(e).iter().map(|&reward| f64::from(reward)).sum::<f64>();
            let total: f64 = (0..episodes.len()).map(episode_return).sum();
            if best.is_none_or(|(most, ..)| total > most) {
                best = Some((total, value, policy));
            }
        }
        if let Some((_, value, policy)) = best {
            values.push(value.clone());
            chosen.push((rest, policy));
        }
    }
    Ok((chosen, format!("checkpoint selected in the validation world: {field} {}", values.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::parted;

    #[test]
    fn a_cell_is_parted_at_the_field() {
        let parted = |cell| parted(cell, "n_iterations");
        assert_eq!(parted("n_iterations=50,seed=3"), Some(("seed=3".to_owned(), "50".to_owned())));
        assert_eq!(parted("seed=3,n_iterations=50"), Some(("seed=3".to_owned(), "50".to_owned())));
        assert_eq!(parted("n_iterations=50"), Some((String::new(), "50".to_owned())));
        assert_eq!(parted("seed=3"), None);
    }
}
