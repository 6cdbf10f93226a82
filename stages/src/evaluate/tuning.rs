//! How many trials the policies of a row were chosen from (`tune`): rows with unequal numbers are not compared alike.

use std::collections::BTreeSet;

use anyhow::Result;
use pipeline::Named;

use super::leakage::origin;
use crate::artifact::{Origin, PolicyFile};

/// The remark of a row whose policies have these `origins`; none where no policy of the table was tuned.
pub(super) fn remark(origins: &[Origin], of_table: &[Named<PolicyFile>]) -> Result<Option<String>> {
    let tuned: Vec<bool> =
        of_table.iter().map(|policy| Ok(origin(policy)?.tuned_over.is_some())).collect::<Result<_>>()?;
    let trials: BTreeSet<usize> = origins.iter().map(|origin| origin.tuned_over.unwrap_or(1)).collect();
    Ok(match (trials.first(), trials.last()) {
        _ if !tuned.contains(&true) => None,
        (Some(1), Some(1)) => Some("not tuned: one setting".to_owned()),
        (Some(least), Some(most)) if least == most => Some(format!("the best of {most} trials in a validation world")),
        (Some(least), Some(most)) => Some(format!("the best of {least} to {most} trials in a validation world")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::table_rows::RANDOM;
    use super::super::tests::{get, inputs, quick, run};

    #[test]
    fn rows_say_how_many_trials_they_were_chosen_from_where_one_was_tuned() {
        let mut inputs = inputs();
        inputs.policies[0].value.tell_tuned(8, "a validation world").unwrap();
        let metrics = run(&quick(), inputs).unwrap().metrics;
        let remark = |policy: &str| get(&metrics, policy, "return_inclusive").remark.clone();
        assert!(remark("a2c").contains("the best of 1 to 8 trials in a validation world"), "{}", remark("a2c"));
        assert!(remark("bc").contains("not tuned: one setting"), "{}", remark("bc"));
        assert!(!remark(RANDOM).contains("tuned"));
    }
}
