//! From the names of stages on the command line to nodes.

use std::collections::BTreeSet;

use crate::diagnostic::nearest;
use crate::spec::renamed::Rows;
use crate::spec::{Experiment, Node};

/// The nodes of `names`: `policy` means all cells of the stage, `policy@seed=3` those where `seed` is 3, whatever else is
/// swept, and `policy@seed=3,gamma=0.9` one of a product. Without names: all.
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
        let found: Vec<usize> = nodes.filter(|(_, node)| is(node, name)).map(|(index, _)| index).collect();
        if found.is_empty() {
            anyhow::bail!(unknown(experiment, name));
        }
        chosen.extend(found);
    }
    Ok(chosen)
}

/// Whether a node goes by `name`: its stage, and as many coordinates of its cell as the name gives, in any order.
fn is(node: &Node, name: &str) -> bool {
    let (stage, cell) = name.split_once('@').map_or((name, None), |(stage, cell)| (stage, Some(cell)));
    let has = |part: &str| node.cell.split(',').any(|own| own == part);
    node.stage == stage && cell.is_none_or(|cell| cell.split(',').all(has))
}

fn unknown(experiment: &Experiment, name: &str) -> String {
    let (stage, cell) = name.split_once('@').unwrap_or((name, ""));
    let cells: Vec<&Node> = experiment.nodes.iter().filter(|node| node.stage == stage).collect();
    let (what, help) = match cells[..] {
        [] => {
            let stages: BTreeSet<_> = experiment.nodes.iter().map(|node| &*node.stage).collect();
            let near = nearest(stage, stages.iter().copied());
            let all = || format!("its stages are {}", stages.iter().copied().collect::<Vec<_>>().join(", "));
            ("stage", near.map_or_else(all, |near| format!("did you mean `{}`?", name.replacen(stage, near, 1))))
        }
        [only] if only.cell.is_empty() => ("stage", format!("`{stage}` is not swept: name it without a cell")),
        [first, ..] if experiment.nodes.iter().any(|node| is(node, &in_new_words(experiment, first, cell))) => (
            "cell",
            format!("did you mean `{}`? A setting of it has a new name", in_new_words(experiment, first, cell)),
        ),
        [first, ..] => {
            let near = nearest(cell, cells.iter().map(|node| &*node.cell));
            let all = || format!("the first of its {} cells is `{}`", cells.len(), first.id);
            ("cell", near.map_or_else(all, |near| format!("did you mean `{stage}@{near}`?")))
        }
    };
    format!("experiment `{}` has no {what} `{name}`\nhelp: {help}", experiment.name)
}

/// A cell of a stage with every swept setting under the name that it has now.
fn in_new_words(experiment: &Experiment, node: &Node, cell: &str) -> String {
    let words = Rows::of(experiment.catalog).about(node.kind.kind);
    let part = |part: &str| match part.split_once('=') {
        Some((path, value)) => format!("{}={value}", words.path(path)),
        None => part.to_owned(),
    };
    format!("{}@{}", node.stage, cell.split(',').map(part).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::toy::{GOOD, good};

    fn chosen(names: &[&str]) -> Result<Vec<String>, String> {
        let experiment = good(GOOD, &["stages.policy.sweep.gamma=[0.9, 1]", "stages.policy.sweep.seed=[0, 1, 10]"]);
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let found = select(&experiment, &names).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|index| experiment.nodes[index].id.clone()).collect())
    }

    #[test]
    fn a_stage_means_all_of_its_cells_and_a_coordinate_those_that_have_it() {
        assert_eq!(chosen(&["policy"]).unwrap().len(), 6);
        assert_eq!(chosen(&["policy@seed=1"]).unwrap(), ["policy@seed=1,gamma=0.9", "policy@seed=1,gamma=1"]);
        assert_eq!(chosen(&["policy@gamma=1"]).unwrap().len(), 3);
        for one in ["policy@seed=10,gamma=0.9", "policy@gamma=0.9,seed=10"] {
            assert_eq!(chosen(&[one]).unwrap(), ["policy@seed=10,gamma=0.9"]);
        }
        assert_eq!(chosen(&["one", "log", "one"]).unwrap(), ["log", "one"]);
        assert_eq!(chosen(&[]).unwrap().len(), 12);
    }

    #[test]
    fn a_wrong_name_is_told_with_the_nearest_right_one() {
        let wrong = |name: &str| chosen(&[name]).unwrap_err();
        assert_eq!(
            wrong("polcy@seed=1"),
            "experiment `toy` has no stage `polcy@seed=1`\nhelp: did you mean `policy@seed=1`?"
        );
        assert_eq!(
            wrong("policy@seed=7,gamma=1"),
            "experiment `toy` has no cell `policy@seed=7,gamma=1`\nhelp: did you mean `policy@seed=0,gamma=1`?"
        );
        assert_eq!(
            wrong("policy@seed=1,discount=1"),
            "experiment `toy` has no cell `policy@seed=1,discount=1`\n\
             help: did you mean `policy@seed=1,gamma=1`? A setting of it has a new name"
        );
        assert!(wrong("policy@").ends_with("help: the first of its 6 cells is `policy@seed=0,gamma=0.9`"));
        assert!(wrong("one@seed=1").ends_with("help: `one` is not swept: name it without a cell"));
        assert!(wrong("zzzzz").ends_with("help: its stages are judge, log, one, policy, report, score, world"));
    }
}
