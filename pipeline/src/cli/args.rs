//! The command line. Every help text teaches with an example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::exit;
use crate::inspect::Format;

const EXAMPLES: &str = "\
Examples:
  apprentice init my.yaml                     write a commented experiment to begin with
  apprentice run my.yaml                      run it; what is up to date is not run again
  apprentice plan my.yaml --set stages.policy.with.gamma=0.95
                                              what would run, and why
  apprentice inspect policy.curves            look into a result";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "apprentice",
    bin_name = "apprentice",
    version,
    about = "Turns interaction logs and a language model's demonstrations into a fast recommendation policy.",
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{}", exit::TABLE),
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Folder of results: the store and a readable view of it.
    #[arg(long, global = true, value_name = "DIR", env = "APPRENTICE_ARTIFACTS", default_value = "artifacts")]
    pub artifacts: PathBuf,
    /// Folder to look into for assets before fetching them; may be given again. Also the folders in APPRENTICE_DATA.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Vec<PathBuf>,
    /// Use no network: an asset that is not here is an error.
    #[arg(long, global = true)]
    pub offline: bool,
    /// Print JSON for programs instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads for numerical work, by default one a core; the results are the same on any number.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Say more: `run` also lists the stages that are up to date.
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Global {
    /// How many threads the user granted.
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(all, usize::from)
    }

    /// `--data`, then `APPRENTICE_DATA`.
    pub fn data(&self) -> Vec<PathBuf> {
        let named = std::env::var_os("APPRENTICE_DATA").unwrap_or_default();
        let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
        self.data.iter().cloned().chain(named).collect()
    }
}

/// An experiment and what is changed in it for once.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// The experiment file.
    #[arg(value_name = "EXPERIMENT.yaml")]
    pub experiment: PathBuf,
    /// Change a value of the experiment for this time (`stages.policy.with.gamma=0.95`); may be given again.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the stages of an experiment up to date, running what changed.
    #[command(after_help = "\
Examples:
  apprentice run configs/quickstart.yaml
  apprentice run configs/quickstart.yaml policy@seed=3     one cell of a sweep, and what it needs
  apprentice run configs/quickstart.yaml --force world     run `world` though it is up to date

Ctrl-C once finishes the unit at work and saves; twice stops now. The next run goes on from there.")]
    Run(Run),
    /// Show what a run would do, and why, without doing it.
    #[command(after_help = "\
Examples:
  apprentice plan configs/quickstart.yaml
  apprentice plan configs/quickstart.yaml --set stages.policy.with.gamma=0.95
  apprentice plan configs/quickstart.yaml --check && echo 'all up to date'")]
    Plan(Plan),
    /// Show everything that a stage's result depends on, and why it runs again.
    #[command(after_help = "\
Example:
  apprentice explain configs/quickstart.yaml policy@seed=0")]
    Explain(Explain),
    /// Look into a result or any Parquet, Arrow or safetensors file: schema, rows, statistics, and where it came from.
    #[command(after_help = "\
Examples:
  apprentice inspect policy@seed=3.curves                      an output, by stage and port
  apprentice inspect artifacts/quickstart/log/items.parquet    a file
  apprentice inspect log.items --columns id,title --filter \"year >= 1990 and genres contains 'Drama'\"
  apprentice inspect log.interactions --sample 5 --seed 1      five rows drawn at random
  apprentice inspect score.metrics --format csv > metrics.csv  rows for another program
  apprentice inspect demos.demonstrations --episode 3          what the language model did, as a conversation
  apprentice inspect score.metrics --lineage                   the stages and assets that it was made from
  apprentice inspect score.metrics --against old.parquet --key policy,metric
  apprentice inspect log.items --verify && echo whole

A filter compares columns with values: `=` `!=` `<` `<=` `>` `>=`, `contains` (a part of a text, an element of a
list), `in (1, 2)`, `is null`, `is not null`, joined with `and`, `or`, `not` and parentheses. Texts and dates stand in
single quotes; a column whose name is not a word stands in double quotes.

Of a large file only what its frame says is shown (schema, rows, and for Parquet nulls, min and max from the footer);
`--scan` reads every value.

`--verify` ends with code 1 where the file is damaged, and with 6 where the store does not hold what was made.")]
    Inspect(Inspect),
    /// Draw the stages of an experiment and what flows between them.
    #[command(after_help = "\
Examples:
  apprentice graph configs/quickstart.yaml
  apprentice graph configs/quickstart.yaml --mermaid > graph.mmd")]
    Graph(Graph),
    /// Print the JSON Schema of experiment files, for completion and documentation in an editor.
    #[command(after_help = "\
Example:
  apprentice schema > configs/schema.json")]
    Schema,
    /// Write a commented experiment to begin with.
    #[command(after_help = "\
Example:
  apprentice init my.yaml && apprentice run my.yaml")]
    Init(Init),
    /// Read every byte of the store and check it.
    #[command(after_help = "\
Example:
  apprentice verify

What is damaged is moved aside, and the next run that needs it makes it again.")]
    Verify,
    /// List the runs, newest last; or show one.
    #[command(after_help = "\
Examples:
  apprentice runs
  apprentice runs 20250131T120000Z-4242")]
    Runs(Runs),
    /// Print the completion script of a shell.
    #[command(after_help = "\
Example:
  apprentice completions bash > ~/.local/share/bash-completion/completions/apprentice")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub source: Source,
    /// Stages to bring up to date (`policy`, `policy@seed=3`), with what they need; by default all.
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Stages at work at once; by default one for each thread, at most 4.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// After a failure, go on with the stages that do not need the failed one.
    #[arg(long)]
    pub keep_going: bool,
    /// Run this stage although it is up to date; may be given again.
    #[arg(long, value_name = "STAGE")]
    pub force: Vec<String>,
    /// Where another run is making the same result, end with code 4 instead of waiting for it.
    #[arg(long)]
    pub no_wait: bool,
    /// Show nothing but errors and the last line.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub source: Source,
    /// Stages to plan, with what they need; by default all.
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Plan as if `run --force` were given this stage; may be given again.
    #[arg(long, value_name = "STAGE")]
    pub force: Vec<String>,
    /// End with code 3 where there is work to do.
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub source: Source,
    /// The stage (`policy`: all cells of its sweep; `policy@seed=3`: one).
    #[arg(value_name = "STAGE")]
    pub stage: String,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A file, an output as `stage.port` or `stage@cell.port`, a run, or the beginning of a key or digest.
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// The experiment that the stage belongs to; by default the one that ran last.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Show this many of the first rows; by default 10, and all of them as csv or ndjson.
    #[arg(long, value_name = "N")]
    pub head: Option<usize>,
    /// Show this many rows drawn at random instead of the first.
    #[arg(long, value_name = "N", conflicts_with = "head")]
    pub sample: Option<usize>,
    /// Which rows `--sample` draws.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    pub seed: u64,
    /// Take only the rows for which this is true, as in `rating >= 4 and title is not null`.
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Take only these columns, in this order; may be given again.
    #[arg(long, value_name = "A,B")]
    pub columns: Vec<String>,
    /// Show rows and nothing else.
    #[arg(long, group = "view")]
    pub rows: bool,
    /// Read every value for statistics, however large the file is.
    #[arg(long)]
    pub scan: bool,
    /// Check that every part of the file can be read and agrees with what the file says of itself.
    #[arg(long, group = "view", conflicts_with_all = ["filter", "columns", "sample", "head"])]
    pub verify: bool,
    /// Show one episode of demonstrations or rollouts, counted from 0, as a conversation.
    #[arg(long, value_name = "N", group = "view", conflicts_with_all = ["filter", "columns", "sample", "head"])]
    pub episode: Option<usize>,
    /// Show what it was made from, up to the assets: stages, keys, configs, commands.
    #[arg(long, group = "view", conflicts_with_all = ["filter", "columns", "sample", "head"])]
    pub lineage: bool,
    /// Show how it differs from another file or output: schema, counts, statistics, rows.
    #[arg(long, value_name = "OTHER", group = "view", conflicts_with_all = ["filter", "sample"])]
    pub against: Option<String>,
    /// Compare the rows that agree in these columns, not those in the same place.
    #[arg(long, value_name = "A,B", requires = "against")]
    pub key: Vec<String>,
    /// The form of the answer; csv and ndjson are rows alone. `--json` is `--format json`.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub source: Source,
    /// Print Mermaid, which GitHub and many editors draw.
    #[arg(long)]
    pub mermaid: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; nothing is overwritten.
    #[arg(value_name = "PATH", default_value = "experiment.yaml")]
    pub path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// The run to show; the beginning of its id is enough.
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("apprentice {}", sub.get_name())), "{} shows no example", sub.get_name());
        }
    }
}
