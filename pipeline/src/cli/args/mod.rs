//! The command line. Every help text teaches with an example.

mod options;
mod source;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::value_parsers::place;
use crate::Device;
use crate::exit;
use crate::home_dir::expand_tilde;
use crate::memory_need;
pub(crate) use options::{
    AddItems, Diff, ExecutorName, Explain, Export, ExportFormat, Gc, Graph, Init, Inspect, Migrate, Plan, Recommend,
    Report, Run, RunOptions, Runs, Serve, Stages, Ui, Work, Worth,
};
pub(crate) use source::Source;

const EXAMPLES: &str = "\
Examples:
  apprentice init my.yaml                     write a commented experiment to start from
  apprentice init my.yaml --log ratings.csv   write one for a log of your own
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
    /// Memory that the tables of a stage may take, such as `8GiB`, `1.5G` or `500MB`; by default that of the machine. A stage that needs more ends
    /// with code 9 before it begins, and says what to lower.
    #[arg(long, global = true, value_name = "SIZE", env = "APPRENTICE_MEMORY", value_parser = memory_need::parse)]
    pub memory: Option<u64>,
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

    /// How much memory the tables of a stage may take, in bytes.
    pub fn memory(&self) -> u64 {
        self.memory.unwrap_or_else(memory_need::of_machine)
    }

    /// `--data`, then `APPRENTICE_DATA`.
    pub fn data(&self) -> Vec<PathBuf> {
        let named = std::env::var_os("APPRENTICE_DATA").unwrap_or_default();
        let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
        self.data.iter().cloned().chain(named.map(|path| expand_tilde(&path))).collect()
    }
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
    /// Show a result or any Parquet, Arrow, CSV, NDJSON or safetensors file: schema, rows, statistics, provenance, and what SQL answers.
    #[command(after_help = "\
Examples:
  apprentice inspect policy@seed=3.curves                      an output, by stage and port
  apprentice inspect artifacts/quickstart/log/items.parquet    a file
  apprentice inspect log.items --columns id,title --filter \"year >= 1990 and genres contains 'Drama'\"
  apprentice inspect log.interactions --sample 5 --seed 1      five rows drawn at random
  apprentice inspect log.interactions --sql \"select item, count(*) as n from self group by item order by n desc\"
  apprentice inspect 'logs/*.parquet' --sql \"select * from self where title like 'Star%' and rating between 4 and 5\"
  apprentice inspect ratings.csv --tail 5                      the last rows of any table
  apprentice inspect score.metrics --format csv > metrics.csv  rows for another program
  apprentice inspect demos.demonstrations --episode 3          an episode as a conversation with the language model
  apprentice inspect score.metrics --lineage                   the stages and assets behind it
  apprentice inspect log.items --verify && echo whole

A filter is a condition of SQL, a query one `select` from the table `self`: `=` `!=` `<` `<=` `>` `>=`, `between`, `like`,
`in (1, 2)`, `is null`, arithmetic, functions, `struct.field`, and `contains` (a part of a text, an element of a list).
Texts and dates stand in single quotes; a column whose name is not a word stands in double quotes. A moment has any zone
(`'2020-01-31T12:00:00+02:00'`); without one it is UTC. NaN compares as in IEEE 754: it is neither smaller nor larger than
a number, nor equal to one or to itself, whatever stands on both sides; `order by` puts it last, and `group by`, `distinct`,
`in` and joins take all NaN for one value. An integer that does not fit 64 bits is an error. Of Parquet only the columns and
row groups that can matter are read. Files of one kind, in a folder or of a pattern, are one table, with a column for each
`name=value` in their paths. In a CSV file ids such as `00123`, integers beyond 64 bits, and columns with dates such as
`01/02/2020` are texts.

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
    /// List the kinds of stages, or show what one takes and makes: inputs, outputs, settings with types, defaults and examples.
    #[command(after_help = "\
Examples:
  apprentice stages                           all kinds, one a line
  apprentice stages rl.a2c                    inputs, outputs and settings of one
  apprentice stages ingest.table --json       the same for programs")]
    Stages(Stages),
    /// Print the JSON Schema of experiment files, for completion and documentation in an editor.
    #[command(after_help = "\
Example:
  apprentice schema > configs/schema.json")]
    Schema,
    /// Write a commented experiment to start from; with `--log`, one for your own log.
    #[command(after_help = "\
Examples:
  apprentice init my.yaml && apprentice run my.yaml
  apprentice init my.yaml --log ratings.csv --items movies.csv
  apprentice init my.yaml --log plays.parquet --columns user=account,item=track
  apprentice init my.yaml --log data/ml-1m/ --json             what was found, for programs

`--log` looks into the file: separator, quotes, header, columns by name and content, dates and
their unit, ratings or choices, repeats, and how many rows would be refused. It reads the whole
log once, and writes each choice with its reason beside the line that it set. The experiment
runs as it is: log, split, two worlds, candidates, a policy, the evaluation, the report.")]
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
    /// List the runs, newest last; show one, rank many in a table, pin one, or forget old ones.
    #[command(after_help = "\
Examples:
  apprentice runs                                      with experiment, status, time, and results
  apprentice runs last                                 also `last~1`, or the beginning of an id
  apprentice runs --table --row a2c --settings gamma   which setting returned most, over all runs
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
batch is an object of `user`, `history`, `rewards`, `exclude`, `candidates` and `top_k`, such as
{\"user\": \"196\", \"history\": [\"242\"], \"rewards\": [4]}.")]
    Recommend(Recommend),
    /// Answer questions over HTTP with trained policies; several share the users.
    #[command(after_help = "\
Examples:
  apprentice serve policy@seed=0 --port 8080
  apprentice serve old.safetensors new.safetensors --split 0.9,0.1
  curl -d '{\"user\": \"196\", \"history\": [\"242\"], \"top_k\": 5}' http://127.0.0.1:8080/recommend

A question is an object of `user`, `history` (items, oldest first), `rewards` (one an item of the
history), `exclude`, `candidates` and `top_k`; all may be left out. A list of questions gets a list
of answers. Who is not in the log is answered from the history and marked `new_user`. GET /health
says what is served, GET /metrics counts for Prometheus. A file that changes is read again; Ctrl-C
ends after open requests.")]
    Serve(Serve),
    /// Look at runs, results, episodes and reports in a browser on this machine.
    #[command(after_help = "\
Examples:
  apprentice ui                          print an address, and serve it until Ctrl-C
  apprentice ui --port 8081              at a port of your choice

The pages are only read. The address holds a token: without it nobody is answered. Over SSH, forward the
port: `ssh -L 8081:127.0.0.1:8081 HOST`.")]
    Ui(Ui),
    /// Write a trained policy as an ONNX graph, for programs that serve models of any origin.
    #[command(after_help = "\
Examples:
  apprentice export policy@seed=0 --format onnx                    writes `policy@seed=0.onnx`
  apprentice export old.safetensors --format onnx --out old.onnx

The graph scores all items of the catalogue in a batch of states, as `recommend` does, and takes row
numbers; the ids behind them, in order, are in its metadata with horizon, window and the rule of
repeats. The command lists the graph's inputs and outputs.")]
    Export(Export),
    /// Let a trained policy recommend items that came into the catalogue later, by their columns.
    #[command(after_help = "\
Examples:
  apprentice add-items policy@seed=0 --items catalogue.items
  apprentice add-items old.safetensors --items new.parquet --feature brand=categorical --out new.safetensors

The catalogue holds the new items and those that the policy knows, with the same ids and columns: the
output of an `ingest` stage that reads the newer file. What the policy has learned of its items is mapped
from their columns, and the new items follow behind the old ones, which keep their scores. The command
says how far the columns can be relied on. Answers mark new items as `new_item`.")]
    AddItems(AddItems),
    /// Estimate how many ratings the teacher of an experiment is worth, at small and large logs.
    #[command(after_help = "\
Examples:
  apprentice worth my.yaml                    build the study, run it, and answer in words
  apprentice worth my.yaml --plan             what it would run and cost
  apprentice worth my.yaml --print            the experiment of the study, to change and run
  apprentice worth my.yaml --draws 5 --sizes 100,1000,10000

The teacher is a stage that scores items (`rate`, `ingest.item_scores`), or the language model
of a `demonstrate` stage, which is asked for its opinion of each item once. The log is split into
halves: one fits the evaluation worlds, from the other one learners draw N ratings; then the
halves swap. Of the experiment's own worlds the study takes the simulator and `sample_negatives`;
`--print` shows all its settings. A killed study resumes. Its results and its page lie in
`artifacts/<name>-worth/`.")]
    Worth(Worth),
    /// Print the completion script of a shell.
    #[command(after_help = "\
Example:
  apprentice completions bash > ~/.local/share/bash-completion/completions/apprentice")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Work on jobs that a run handed out.
    #[command(
        hide = true,
        after_help = "\
Example:
  apprentice work artifacts/store/runs/20250131T120000Z-4242/jobs/1-policy.json"
    )]
    Work(Work),
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
