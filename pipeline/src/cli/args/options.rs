//! The options of each command.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::source::Source;
use crate::cli::value_parsers::{age, at_least_one, column_role, feature, now_diff, place, rating};
use crate::executor::OnInterrupt;
use crate::inspect::Format;
use crate::recommend::Explore;
use crate::report::ReportFormat;
use crate::tracking::Destination;

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

/// Where stages are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExecutorName {
    /// On threads of the run.
    Local,
    /// Each in a process of its own on this machine.
    Process,
    /// As tasks of Slurm.
    Slurm,
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
    /// Print only errors and the result.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Where stages are worked on: on threads of this process, each in a process of its own, so that one without memory ends alone, or as
    /// tasks of Slurm. Stages that ask servers stay in this process.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = ExecutorName::Local)]
    pub executor: ExecutorName,
    /// With `--executor slurm`: the file that describes the site; `pipeline/deploy/README.md` lists its fields.
    #[arg(long, value_name = "SITE.yaml", env = "APPRENTICE_PROFILE", value_parser = place())]
    pub profile: Option<PathBuf>,
    /// With `--executor slurm`: what Ctrl-C does to submitted tasks. `cancel` lets them save and takes them from the queue, `detach` leaves them
    /// there, and the same command takes them up; by default what the profile says, else `cancel`.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub on_interrupt: Option<OnInterrupt>,
    /// Report settings, figures, curves and pages of this run there: `mlflow=http://HOST:PORT` or `tensorboard=FOLDER`; may be
    /// repeated. A failure is a warning and never stops the run.
    #[arg(long, value_name = "TRACKER=PLACE", env = "APPRENTICE_TRACK", value_delimiter = ',')]
    pub track: Vec<Destination>,
}

#[derive(Debug, Args)]
pub(crate) struct Work {
    /// The jobs, one after the other.
    #[arg(value_name = "JOB", required_unless_present = "list")]
    pub jobs: Vec<PathBuf>,
    /// A file that lists jobs, one a line, relative to its folder.
    #[arg(long, value_name = "FILE", conflicts_with = "jobs")]
    pub list: Option<PathBuf>,
    /// When stopped by SIGINT, as at the end of its time, go back into Slurm's queue.
    #[arg(long)]
    pub requeue: bool,
    /// Whoever started this writes to standard input: a line asks it to stop after the unit at work, the end to leave at once.
    #[arg(long)]
    pub attended: bool,
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub users: Option<u64>,
    /// Offer only items with this many ratings in the half that fits the evaluation worlds; 20 by default.
    #[arg(long, value_name = "N")]
    pub min_item_ratings: Option<u64>,
    /// Print the experiment of the study, and run nothing.
    #[arg(long)]
    pub print: bool,
    /// Show what the study would run and cost, and run nothing.
    #[arg(long, conflicts_with = "print")]
    pub plan: bool,
    #[command(flatten)]
    pub options: RunOptions,
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
    /// A file, a folder of files, a pattern such as 'log/*.parquet', an output as `stage.port` or `stage@cell.port`, a run, or the
    /// beginning of a key or digest.
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// The experiment that the stage belongs to; by default that of the newest run that has it.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Show this many of the first rows; by default 10, and all of them as csv or ndjson.
    #[arg(long, value_name = "N")]
    pub head: Option<usize>,
    /// Show this many of the last rows instead of the first.
    #[arg(long, value_name = "N", conflicts_with = "head")]
    pub tail: Option<usize>,
    /// Show this many rows drawn at random instead of the first.
    #[arg(long, value_name = "N", conflicts_with_all = ["head", "tail"])]
    pub sample: Option<usize>,
    /// Seed of `--sample`.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "sample")]
    pub seed: u64,
    /// Show what a query answers, as in `select user, avg(rating) from self group by user`; the table is called `self`.
    #[arg(long, value_name = "QUERY", group = "view", conflicts_with_all = ["filter", "scan"])]
    pub sql: Option<String>,
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
    #[arg(long, group = "view", conflicts_with_all = ["filter", "columns", "sample", "head", "tail"])]
    pub verify: bool,
    /// Show one episode of demonstrations or rollouts, counted from 0, as a conversation.
    #[arg(long, value_name = "N", group = "view", conflicts_with_all = ["filter", "columns", "sample", "head", "tail"])]
    pub episode: Option<usize>,
    /// Show its ancestors, up to the assets: stages, keys, configs, commands.
    #[arg(long, group = "view", conflicts_with_all = ["filter", "columns", "sample", "head", "tail"])]
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
pub(crate) struct Stages {
    /// The kind of stage to show, such as `rl.a2c`; by default all are listed.
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; nothing is overwritten.
    #[arg(value_name = "PATH", default_value = "experiment.yaml")]
    pub path: PathBuf,
    /// Look into this log, and write an experiment that reads it: CSV or another separated text, JSON records (also in .gz or .zst),
    /// Parquet, or the folder of a published dataset.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The catalogue: ids, titles, years, genres.
    #[arg(long, value_name = "FILE", requires = "log")]
    pub items: Option<PathBuf>,
    /// The table of users: ids and features.
    #[arg(long, value_name = "FILE", requires = "log")]
    pub users: Option<PathBuf>,
    /// The role of a column of the log that cannot be told from its name and content (`user=who`); roles are user, item, rating,
    /// amount (a rating that counts how much or how often) and timestamp; `rating=` names none. May be repeated, or be a list with commas.
    #[arg(long, value_name = "ROLE=COLUMN", requires = "log", value_delimiter = ',', value_parser = column_role)]
    pub columns: Vec<(String, String)>,
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
    /// The run to show; the beginning of its id is enough. `last` is the newest, `last~1` the one before it. With `--table` any number,
    /// by default all.
    #[arg(value_name = "RUN", conflicts_with = "prune")]
    pub runs: Vec<String>,
    /// Never forget this run.
    #[arg(long, requires = "runs", conflicts_with = "unpin")]
    pub pin: bool,
    /// Undo `--pin`.
    #[arg(long, requires = "runs")]
    pub unpin: bool,
    /// Rank the rows of the runs' tables by a measure, with up to 8 settings in which they differ beside them.
    #[arg(long, conflicts_with_all = ["prune", "pin", "unpin"])]
    pub table: bool,
    /// With `--table`: the measure.
    #[arg(long, value_name = "NAME", requires = "table", default_value = "return_inclusive")]
    pub metric: String,
    /// With `--table`: only rows whose name contains this text; may be repeated.
    #[arg(long, value_name = "TEXT", requires = "table")]
    pub row: Vec<String>,
    /// With `--table`: all settings that differ and whose name contains this text (`gamma`; `.` is in all names); may be repeated.
    #[arg(long, value_name = "TEXT", requires = "table")]
    pub settings: Vec<String>,
    /// With `--table`: only runs of this experiment.
    #[arg(short, long, value_name = "NAME", requires = "table", conflicts_with = "runs")]
    pub experiment: Option<String>,
    /// With `--table`: only the first rows.
    #[arg(long, value_name = "N", requires = "table")]
    pub top: Option<usize>,
    /// With `--table`: the lowest first.
    #[arg(long, requires = "table")]
    pub ascending: bool,
    /// With `--table`: comma-separated values, whole.
    #[arg(long, requires = "table")]
    pub csv: bool,
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
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true).args(["user", "batch", "new_user"]))]
pub(crate) struct Recommend {
    /// The policy: a file, or an output as `stage.port` or `stage@cell.port`.
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// The user.
    #[arg(long, value_name = "ID", conflicts_with = "batch")]
    pub user: Option<String>,
    /// Answer somebody who is not in the policy's log from the history alone: without `--user`, or where that is not known.
    #[arg(long)]
    pub new_user: bool,
    /// An item that was shown in this session, oldest first; may be repeated.
    #[arg(long, value_name = "ITEM", conflicts_with = "batch")]
    pub history: Vec<String>,
    /// The reward of the item in the same position, on the scale of the log; some policies read it. May be repeated.
    #[arg(long, value_name = "RATING", conflicts_with = "batch", value_parser = rating)]
    pub reward: Vec<f32>,
    /// An item that is not recommended; may be repeated.
    #[arg(long, value_name = "ITEM", conflicts_with = "batch")]
    pub exclude: Vec<String>,
    /// Answer each line of this file, in one batch; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub batch: Option<PathBuf>,
    /// Number of items.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub count: usize,
    /// Recommend no item of the history again. By default repeats follow the rule of the world that the policy learned in.
    #[arg(long)]
    pub exclude_history: bool,
    /// Read users and items (of `--user`, `--history`, `--exclude` and a batch) as row numbers from 0, and print row numbers instead of ids.
    #[arg(long)]
    pub rows: bool,
    /// The experiment that the stage belongs to; by default that of the newest run that has it.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
}

/// The form in which a policy is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExportFormat {
    /// A graph of ONNX.
    Onnx,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The policy: a file, or an output as `stage.port` or `stage@cell.port`.
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// The form of the file.
    #[arg(long, value_name = "FORMAT")]
    pub format: ExportFormat,
    /// The file to write; by default one named for the policy, here. One that is there is replaced.
    #[arg(long, value_name = "FILE", value_parser = place())]
    pub out: Option<PathBuf>,
    /// The experiment that the stage belongs to; by default that of the newest run that has it.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AddItems {
    /// The policy: a file, or an output as `stage.port` or `stage@cell.port`.
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// The newer catalogue: a file of items, or an output as `stage.port`.
    #[arg(long, value_name = "CATALOGUE")]
    pub items: String,
    /// A column to go by, as `brand=categorical`, `price=numeric` or `tags=multi_valued:|` with its separator; may be repeated. Without it all
    /// columns but long texts, as their values suggest.
    #[arg(long, value_name = "COLUMN=KIND", value_parser = feature)]
    pub feature: Vec<(String, String)>,
    /// The file to write; by default one named for the policy, here. One that is there is replaced.
    #[arg(long, value_name = "FILE", value_parser = place())]
    pub out: Option<PathBuf>,
    /// The experiment that the stages belong to; by default that of the newest run that has them.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ui {
    /// The port on 127.0.0.1; 0 takes any free one and prints it.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The policies: files, or outputs as `stage.port` or `stage@cell.port`. Each user is always answered by the same one.
    #[arg(value_name = "POLICY", required = true)]
    pub policies: Vec<String>,
    /// The share of the users that each policy answers, in their order; equal shares without it.
    #[arg(long, value_name = "SHARE,SHARE", value_delimiter = ',')]
    pub split: Vec<f64>,
    /// The address to listen on; `0.0.0.0` lets other machines ask.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// The port to listen on; 0 takes any free one and prints it.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Number of items of an answer, where its question has no `top_k`.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub count: usize,
    /// Recommend no item of the history again. By default repeats follow the rule of the world that the policy learned in.
    #[arg(long)]
    pub exclude_history: bool,
    /// Bytes that a request's body may have.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = at_least_one)]
    pub max_body: usize,
    /// Questions that one request may ask.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = at_least_one)]
    pub max_questions: usize,
    /// Requests that are answered at once; further ones get 503.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    pub max_requests: usize,
    /// Write down what was shown to whom, by which policy and with which probability, as Parquet files in this folder.
    #[arg(long, value_name = "FOLDER")]
    pub log: Option<PathBuf>,
    /// Rows after which a file of the log is finished.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = at_least_one, requires = "log")]
    pub log_rows: usize,
    /// Seconds after which a file of the log is finished.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = at_least_one, requires = "log")]
    pub log_seconds: usize,
    /// Draw the first item of each answer, so that the log also tells of items that are not the best: `epsilon=0.1` draws it uniformly from
    /// the catalogue in a tenth of the answers, `softmax=1` by the softmax of the scores over this temperature.
    #[arg(long, value_name = "HOW", requires = "log")]
    pub explore: Option<Explore>,
    /// The experiment that the stages belong to; by default that of the newest run that has them.
    #[arg(short, long, value_name = "NAME")]
    pub experiment: Option<String>,
}
