//! The command line. Every help text teaches with an example.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::value_parsers::{age, at_least_one, now_diff, place, rating};
use crate::Device;
use crate::exit;
use crate::home_dir::expand_tilde;
use crate::inspect::Format;
use crate::report::ReportFormat;

const EXAMPLES: &str = "\
Examples:
  apprentice init my.yaml                     write a commented experiment to start from
  apprentice run my.yaml                      run it; stages that are up to date do not run again
  apprentice plan my.yaml --set stages.policy.with.gamma=0.95
                                              what would run, and why
  apprentice inspect score.metrics            show a result";

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
    #[arg(long, global = true, value_name = "DIR", env = "APPRENTICE_ARTIFACTS", default_value = "artifacts", value_parser = place())]
    pub artifacts: PathBuf,
    /// Folder that is searched for assets before they are fetched; may be repeated. APPRENTICE_DATA lists more folders.
    #[arg(long, global = true, value_name = "DIR", value_parser = place())]
    pub data: Vec<PathBuf>,
    /// Fetch nothing: a missing asset is an error. (Servers of language models are still called.)
    #[arg(long, global = true)]
    pub offline: bool,
    /// Print JSON for programs instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads for numerical work, by default one per core; results do not depend on the number.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Device of stages that train: `cpu`, `cuda` (the first NVIDIA GPU) or `cuda:1`; by default that of the experiment, else
    /// the cpu. A stored result is not computed again for another device.
    #[arg(long, global = true, value_name = "DEVICE", env = "APPRENTICE_DEVICE")]
    pub device: Option<Device>,
    /// Print more: `run` also lists stages that are up to date, `gc` every file.
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
        self.data.iter().cloned().chain(named.map(|path| expand_tilde(&path))).collect()
    }
}

/// An experiment, with overrides.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// The experiment file.
    #[arg(value_name = "EXPERIMENT.yaml")]
    pub experiment: PathBuf,
    /// Override a value of the experiment (`stages.policy.with.gamma=0.95`); may be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the stages of an experiment up to date: run those that changed.
    #[command(after_help = "\
Examples:
  apprentice run configs/quickstart.yaml
  apprentice run configs/quickstart.yaml policy@seed=3     one cell of a sweep, and its inputs
  apprentice run configs/quickstart.yaml --force world     run `world` though it is up to date

Ctrl-C once finishes and saves the current unit; twice stops at once. The next run resumes there.")]
    Run(Run),
    /// Show what a run would do, and why.
    #[command(after_help = "\
Examples:
  apprentice plan configs/quickstart.yaml
  apprentice plan configs/quickstart.yaml --set stages.policy.with.gamma=0.95
  apprentice plan configs/quickstart.yaml --check && echo 'all up to date'")]
    Plan(Plan),
    /// Show what a stage's result depends on, and why it runs again.
    #[command(after_help = "\
Example:
  apprentice explain configs/quickstart.yaml policy@seed=0")]
    Explain(Explain),
    /// Show a result or any Parquet, Arrow or safetensors file: schema, rows, statistics, and provenance.
    #[command(after_help = "\
Examples:
  apprentice inspect policy@seed=3.curves                      an output, by stage and port
  apprentice inspect artifacts/quickstart/log/items.parquet    a file
  apprentice inspect log.items --columns id,title --filter \"year >= 1990 and genres contains 'Drama'\"
  apprentice inspect log.interactions --sample 5 --seed 1      five rows drawn at random
  apprentice inspect score.metrics --format csv > metrics.csv  rows for another program
  apprentice inspect demos.demonstrations --episode 3          an episode as a conversation with the language model
  apprentice inspect score.metrics --lineage                   the stages and assets behind it
  apprentice inspect log.items --verify && echo whole

A filter compares columns with values: `=` `!=` `<` `<=` `>` `>=`, `contains` (a part of a text, an element of a
list), `in (1, 2)`, `is null`, `is not null`, joined with `and`, `or`, `not` and parentheses. Texts and dates stand in
single quotes; a column whose name is not a word stands in double quotes.

Of a large file only the metadata is read (schema, rows, and for Parquet nulls, min and max from the footer);
`--scan` reads every value.

`--verify` ends with code 1 for a damaged file, with 2 for an unsupported one (encrypted, compressed with BROTLI, another
format), and with 6 where the content differs from what the stage made.")]
    Inspect(Inspect),
    /// Draw the stages of an experiment and the artifacts between them.
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
    /// Write a commented experiment to start from.
    #[command(after_help = "\
Example:
  apprentice init my.yaml && apprentice run my.yaml")]
    Init(Init),
    /// Replace old names of settings, values, ports and stage kinds in experiment files.
    #[command(after_help = "\
Examples:
  apprentice migrate my.yaml                  put the new names in place; comments and formatting stay
  apprentice migrate configs/*.yaml --check   only list what would change; code 3 where something would

Only the bytes of the renamed words change, and what moves to another block takes its comments along. Where a
file cannot be rewritten safely, the place is named and no file is changed.")]
    Migrate(Migrate),
    /// Read and check every byte of the store and of the fetched assets.
    #[command(after_help = "\
Example:
  apprentice verify

Each damaged file is listed with the stages whose result it is, and the code is 6. A damaged
result is moved aside, and the next run that needs it makes it again.")]
    Verify,
    /// List the runs, newest last; show one, pin it, or forget old ones.
    #[command(after_help = "\
Examples:
  apprentice runs                                      with experiment, status, time, and results
  apprentice runs last                                 also `last~1`, or the beginning of an id
  apprentice runs 20250131T120000Z-4242 --pin          never forget this one
  apprentice runs --prune --keep 5 --older-than 30d    which runs that would forget
  apprentice runs --prune --keep 5 --apply             forget them; then `gc`")]
    Runs(Runs),
    /// Show how two runs differ (settings, inputs, outputs, metrics), or two files (schema, counts, statistics, rows).
    #[command(after_help = "\
Examples:
  apprentice diff last~1 last                                       what changed from one run to the next
  apprentice diff 20250131T1200 20250201T0900 --json
  apprentice diff score.metrics old.parquet --key policy,metric     an output and a file, row by row
  apprentice diff policy@seed=0.policy policy@seed=1.policy         tensor by tensor")]
    Diff(Diff),
    /// Render the results of runs together with what was run: one self-contained page, Markdown, or rows.
    #[command(after_help = "\
Examples:
  apprentice report --html report.html              the newest run: metrics, charts, settings, times, machine
  apprentice report last~1 --format md              Markdown, for pasting
  apprentice report last~1 last --html both.html    runs side by side: settings and metrics that differ
  apprentice report --format csv > metrics.csv      the rows behind the tables

`run` writes such a page beside each page that a stage makes, as `<port>-as-run.html`.")]
    Report(Report),
    /// List what is not needed any more, and remove it with `--apply`.
    #[command(after_help = "\
Examples:
  apprentice gc                          list what would be removed, and why
  apprentice gc --apply                  remove it
  apprentice gc --forget old-trial       and all of the experiment `old-trial`

Results of recorded runs stay, and so does the last result of every stage; `apprentice runs --prune`
forgets runs. Files that people added or changed are never removed. Safe during other runs.")]
    Gc(Gc),
    /// List what a trained policy recommends next, with titles.
    #[command(after_help = "\
Examples:
  apprentice recommend policy@seed=0.policy --user 196
  apprentice recommend policy@seed=0.policy --user 196 --history 242 --history Heat --count 5
  apprentice recommend policy@seed=0.policy --batch users.ndjson > answers.ndjson

Users and items are named by their ids in the source; items also by their exact titles. A line of a
batch is an object such as {\"user\": \"196\", \"history\": [\"242\"]}.")]
    Recommend(Recommend),
    /// Estimate how many ratings the teacher of an experiment is worth, at small and large logs.
    #[command(after_help = "\
Examples:
  apprentice worth my.yaml                    build the study, run it, and answer in words
  apprentice worth my.yaml --plan             what it would run and cost
  apprentice worth my.yaml --print            the experiment of the study, to change and run yourself
  apprentice worth my.yaml --draws 5 --sizes 100,1000,10000

The teacher is a stage that scores items (`rate`, `ingest.item_scores`), or the language model of a
`demonstrate` stage, which is asked for its opinion of each item once. The log is split into halves: one
fits the evaluation worlds, from the other one learners draw N ratings; then the halves swap. A killed
study resumes. Its results and its page lie in `artifacts/<name>-worth/`.")]
    Worth(Worth),
    /// Print the completion script of a shell.
    #[command(after_help = "\
Example:
  apprentice completions bash > ~/.local/share/bash-completion/completions/apprentice")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// List completions at the cursor, for the shell's script.
    #[command(
        hide = true,
        after_help = "\
Example:
  apprentice complete -- apprentice explain my.yaml ''"
    )]
    Complete {
        /// The words before the cursor, the last one unfinished; or one whole line.
        #[arg(last = true)]
        words: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub source: Source,
    /// Stages to bring up to date (`policy`, `policy@seed=3`), with their inputs; by default all.
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Run this stage although it is up to date; may be repeated.
    #[arg(long, value_name = "STAGE")]
    pub force: Vec<String>,
    #[command(flatten)]
    pub options: RunOptions,
}

/// How a run goes about it.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// Stages that run at once; by default one per thread, at most 4.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// After a failure, continue with the stages that do not need the failed one.
    #[arg(long)]
    pub keep_going: bool,
    /// If another run is making the same result, end with code 4 instead of waiting.
    #[arg(long)]
    pub no_wait: bool,
    /// Print only errors and the last line.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Worth {
    #[command(flatten)]
    pub source: Source,
    /// Draws of the ratings at each size: the unit of the intervals.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..))]
    pub draws: u16,
    /// Log sizes, rising; by default 100, 300, 1000 and so on, up to half of the log.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub sizes: Vec<u64>,
    /// Evaluate with this many users, the same for every size; by default with all.
    #[arg(long, value_name = "N")]
    pub users: Option<u64>,
    /// Print the experiment of the study, and run nothing.
    #[arg(long)]
    pub print: bool,
    /// Show what the study would run and cost, and run nothing.
    #[arg(long, conflicts_with = "print")]
    pub plan: bool,
    /// Stages that run at once; by default one per thread, at most 4.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Print only errors and the answer.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub source: Source,
    /// Stages to plan, with their inputs; by default all.
    #[arg(value_name = "STAGE")]
    pub stages: Vec<String>,
    /// Plan as `run --force` with this stage would run; may be repeated.
    #[arg(long, value_name = "STAGE")]
    pub force: Vec<String>,
    /// End with code 3 if a stage would run.
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
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// The experiment that the stage belongs to; by default that of the newest run that has it.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Show this many of the first rows; by default 10, and all of them as csv or ndjson.
    #[arg(long, value_name = "N")]
    pub head: Option<usize>,
    /// Show this many rows drawn at random instead of the first.
    #[arg(long, value_name = "N", conflicts_with = "head")]
    pub sample: Option<usize>,
    /// Seed of `--sample`.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    pub seed: u64,
    /// Use only the rows that match, as in `rating >= 4 and title is not null`.
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// Show only these columns, in this order; may be repeated.
    #[arg(long, value_name = "A,B")]
    pub columns: Vec<String>,
    /// Show only rows.
    #[arg(long, group = "view")]
    pub rows: bool,
    /// Read every value for statistics, however large the file is.
    #[arg(long)]
    pub scan: bool,
    /// Check that every part of the file can be read and agrees with its metadata.
    #[arg(long, group = "view", conflicts_with_all = ["filter", "columns", "sample", "head"])]
    pub verify: bool,
    /// Show one episode of demonstrations or rollouts, counted from 0, as a conversation.
    #[arg(long, value_name = "N", group = "view", conflicts_with_all = ["filter", "columns", "sample", "head"])]
    pub episode: Option<usize>,
    /// Show its ancestors, up to the assets: stages, keys, configs, commands.
    #[arg(long, group = "view", conflicts_with_all = ["filter", "columns", "sample", "head"])]
    pub lineage: bool,
    /// Refused: `diff` compares two files.
    #[arg(long, value_name = "OTHER", hide = true, value_parser = now_diff)]
    pub against: Option<Infallible>,
    /// The form of the answer; csv and ndjson are rows alone. `--json` is `--format json`.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub source: Source,
    /// Print Mermaid, which GitHub and many editors render.
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
pub(crate) struct Migrate {
    /// The experiment files.
    #[arg(value_name = "EXPERIMENT.yaml", required = true)]
    pub files: Vec<PathBuf>,
    /// Write nothing; end with code 3 if a name would be replaced.
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// The run to show; the beginning of its id is enough. `last` is the newest, `last~1` the one before it.
    #[arg(value_name = "RUN", conflicts_with = "prune")]
    pub run: Option<String>,
    /// Never forget this run.
    #[arg(long, requires = "run", conflicts_with = "unpin")]
    pub pin: bool,
    /// Undo `--pin`.
    #[arg(long, requires = "run")]
    pub unpin: bool,
    /// List old runs to forget, by `--keep` or `--older-than`; `--apply` forgets them.
    #[arg(long, requires = "which")]
    pub prune: bool,
    /// With `--prune`: how many of the newest runs of each experiment stay; at least 1.
    #[arg(long, value_name = "N", requires = "prune", group = "which", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: Option<u32>,
    /// With `--prune`: forget only runs that are older than this (`12h`, `30d`, `8w`).
    #[arg(long, value_name = "AGE", requires = "prune", group = "which", value_parser = age)]
    pub older_than: Option<Duration>,
    /// With `--prune`: forget them.
    #[arg(long, requires = "prune")]
    pub apply: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// A run, by the beginning of its id or as `last~1`; or a file, or an output as `stage.port`.
    #[arg(value_name = "A")]
    pub a: String,
    /// The other run, or the other file or output.
    #[arg(value_name = "B")]
    pub b: String,
    /// The experiment that the stages belong to; by default that of the newest run that has them.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Of files: compare the rows that agree in these columns, not those in the same place.
    #[arg(long, value_name = "COLUMNS")]
    pub key: Vec<String>,
    /// Of files: compare only these columns; may be repeated.
    #[arg(long, value_name = "COLUMNS")]
    pub columns: Vec<String>,
    /// Of files: read every value, however large they are.
    #[arg(long)]
    pub scan: bool,
    /// The form of the answer, for files. `--json` is `--format json`.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The run: the beginning of its id, `last`, or `last~1`; by default the newest one with results. Several are shown
    /// side by side.
    #[arg(value_name = "RUN")]
    pub runs: Vec<String>,
    /// Write the page into this file instead of standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "format", value_parser = place())]
    pub html: Option<PathBuf>,
    /// The form of the report, by default html. `--json` prints one object for programs.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<ReportFormat>,
    /// The stage whose page is rendered, if a run made several.
    #[arg(long, value_name = "STAGE")]
    pub page: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Remove it; otherwise it is only listed.
    #[arg(long)]
    pub apply: bool,
    /// Forget an experiment: its unpinned runs, its results and its unchanged views.
    #[arg(long, value_name = "EXPERIMENT")]
    pub forget: Option<String>,
    /// Also remove the stored answers of language models: all of them except those of unfinished runs, because runs do not
    /// record which answers they used. A stage that runs again must pay for its calls again.
    #[arg(long)]
    pub calls: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["user", "batch"]))]
pub(crate) struct Recommend {
    /// The policy: a file, or an output as `stage.port` or `stage@cell.port`.
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// The user.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// An item that was shown in this session, oldest first; may be repeated.
    #[arg(long, value_name = "ITEM", conflicts_with = "batch")]
    pub history: Vec<String>,
    /// The reward of the item in the same position, on the scale of the log; some policies read it. May be repeated.
    #[arg(long, value_name = "RATING", conflicts_with = "batch", value_parser = rating)]
    pub reward: Vec<f32>,
    /// Answer each line of this file, in one batch; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub batch: Option<PathBuf>,
    /// Number of items.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub count: usize,
    /// Recommend no item of the history again. By default repeats follow the rule of the world that the policy learned in.
    #[arg(long)]
    pub exclude_history: bool,
    /// Read users and items as row numbers from 0, and print row numbers instead of ids.
    #[arg(long)]
    pub rows: bool,
    /// The experiment that the stage belongs to; by default that of the newest run that has it.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
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
