//! From the names of stages on the command line to nodes.

use std::collections::BTreeSet;

use crate::diagnostic::nearest;
use crate::spec::Experiment;

/// The nodes of `names`: a stage means all of its cells, `policy@seed=3` one of them. Without names: all.
///
/// # Errors
/// The first name that the experiment does not have.
pub(crate) fn select(experiment: &Experiment, names: &[String]) -> anyhow::Result<BTreeSet<usize>> {
    if names.is_empty() {
        return Ok((0..experiment.nodes.len()).collect());
    }
    let mut chosen = BTreeSet::new();
    for name in names {
        let nodes = experiment.nodes.iter().enumerate();
        let found: Vec<_> =
            nodes.filter(|(_, node)| node.id == *name || node.stage == *name).map(|(index, _)| index).collect();
        if found.is_empty() {
            let known = || experiment.nodes.iter().flat_map(|node| [&*node.stage, &*node.id]);
            let stages: BTreeSet<_> = experiment.nodes.iter().map(|node| &*node.stage).collect();
            let help = match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its stages are {}", stages.into_iter().collect::<Vec<_>>().join(", ")),
            };
            anyhow::bail!("experiment `{}` has no stage `{name}`\nhelp: {help}", experiment.name);
        }
        chosen.extend(found);
    }
    Ok(chosen)
}
