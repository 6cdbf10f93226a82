//! The tables of runs, read from their files.

use anyhow::{Context as _, Result};
use pipeline::Artifact;
use pipeline::report::{RunSummary, RunSummaryFile, RunSummaryStage};

use crate::artifact::{Comparisons, Metrics, Rollouts, WorldAgreement};
use crate::report::findings::caveats::{self, Evidence};
use crate::report::findings::significance;
use crate::report::findings::verdict::Contenders;
use crate::report::table::row::{self, Row};

/// The table of one evaluation in one run, with what belongs to it.
pub(in crate::report) struct Table<'a> {
    pub ran: &'a RunSummary,
    /// The stage that made it.
    pub stage: &'a str,
    pub metrics: Metrics,
    pub rows: Vec<Row>,
    pub comparisons: Option<Comparisons>,
    pub rollouts: Option<Rollouts>,
    /// The world that evaluated, by its digest.
    pub evaluation_world: Option<&'a str>,
}

/// The tables of a run in the order of its experiment.
pub(in crate::report) fn tables_of(ran: &RunSummary) -> Result<Vec<Table<'_>>> {
    let mut tables = Vec::new();
    for (stage, file) in ran.files(Metrics::KIND) {
        let metrics: Metrics = read(file)?;
        let rollouts = beside::<Rollouts>(stage)?;
        let evaluation_world =
            stage.inputs.iter().find(|input| input.port == "world").map(|input| input.digest.as_str());
        let (rows, comparisons) = (row::rows(&metrics, rollouts.as_ref()), beside(stage)?);
        tables.push(Table { ran, stage: &stage.name, rows, comparisons, rollouts, evaluation_world, metrics });
    }
    Ok(tables)
}

impl Table<'_> {
    /// What a careful reader would object to.
    pub fn caveats(&self) -> Vec<String> {
        let evidence = Evidence {
            metrics: Some(&self.metrics),
            comparisons: self.comparisons.as_ref(),
            rollouts: self.rollouts.as_ref(),
            estimates: None,
            several_worlds: self.ran.files(WorldAgreement::KIND).next().is_some(),
        };
        caveats::caveats(&self.rows, &Contenders::of(&self.rows, None), evidence)
    }

    /// Which differences are real, in words; says what is missing where nothing was compared.
    pub fn differences(&self) -> Vec<String> {
        match &self.comparisons {
            Some(comparisons) => significance::sentences(&significance::test_all(comparisons)),
            None => {
                vec!["Rows were not compared on the same users, so no difference is tested.".to_owned()]
            }
        }
    }
}

/// The artifacts of a kind in a run, by the stage that made each.
pub(in crate::report) fn all_of<A: Artifact>(ran: &RunSummary) -> Result<Vec<(&str, A)>> {
    ran.files(A::KIND).map(|(stage, file)| Ok((stage.name.as_str(), read(file)?))).collect()
}

fn beside<A: Artifact>(stage: &RunSummaryStage) -> Result<Option<A>> {
    stage.files.iter().find(|file| file.kind == A::KIND).map(read).transpose()
}

fn read<A: Artifact>(file: &RunSummaryFile) -> Result<A> {
    A::read(file.path()?).with_context(|| {
        format!(
            "{}.{} cannot be read\nhelp: made by another version of the program? run the experiment again",
            file.stage, file.port
        )
    })
}
