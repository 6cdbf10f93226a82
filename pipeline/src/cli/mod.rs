//! The command line: one file a command. Data goes to standard output, talk to standard error.

mod add_items;
mod args;
mod complete;
mod diff;
mod differing_settings;
mod explain;
mod export;
mod format;
mod gc;
mod graph;
mod init;
mod inspect;
mod migrate;
mod output;
mod plan;
mod progress_ui;
mod recommend;
mod report;
mod run;
mod run_checks;
mod runs;
mod runs_table;
mod serve;
mod session;
mod stages;
mod ui;
mod value_parsers;
mod verify;
mod work;
mod worth;

use std::io::{ErrorKind, IsTerminal, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::{Value, json};

use crate::diagnostic::Diagnostics;
use crate::error_report::ErrorReport;
use crate::exit::Failure;
use crate::secret::redact;
use crate::{Catalog, Exit, escape, spec};
use args::{Cli, Command};
use output::{print, print_error, print_json, talk, write};
use session::Session;

/// The program: reads the command line, does what it says, and gives the exit code.
///
/// `prepare` is called once with the number of threads that the user granted, before any thread exists: the place to set
/// environment variables that libraries read.
pub fn main(catalog: &'static Catalog, prepare: fn(threads: usize)) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            let complaint = refusal.use_stderr();
            if complaint && std::env::args_os().any(|word| word == "--json") {
                let _ = print_error(Exit::UsageError, refusal.to_string().trim_end(), &unread(&refusal));
            } else {
                // Help and version go to standard output, complaints to standard error; that nobody reads them is no failure.
                let _ = refusal.print();
            }
            return if complaint { Exit::UsageError } else { Exit::Ok }.into();
        }
    };
    prepare(cli.global.threads());
    let session = Session { catalog, global: cli.global };
    let done = session.start_threads().and_then(|()| dispatch(&session, &cli.command));
    let exit = done.unwrap_or_else(|failure| complain(&session, &failure));
    exit.into()
}

fn dispatch(session: &Session, command: &Command) -> Result<Exit, Failure> {
    let needs_no_store = matches!(
        command,
        Command::Graph(_)
            | Command::Schema
            | Command::Stages(_)
            | Command::Init(_)
            | Command::Migrate(_)
            | Command::Completions { .. }
            | Command::Work(_)
    );
    if !needs_no_store {
        usable(session.store().artifacts()).map_err(Failure::usage)?;
        session.store().check_format().map_err(Failure::usage)?;
    }
    if let Some(folder) = session.global.data.iter().find(|folder| !folder.is_dir()) {
        return Err(Failure::usage(anyhow::anyhow!(
            "`--data {}` is no folder\nhelp: give the folder that holds the assets, or leave `--data` out",
            folder.display()
        )));
    }
    let artifacts = session.store().artifacts().to_path_buf();
    let looks = matches!(command, Command::Verify | Command::Runs(_) | Command::Gc(_));
    if looks && !session.global.json && !artifacts.is_dir() {
        talk(&format!(
            "warning: there is no folder of results `{}`\n\
             help: `apprentice run EXPERIMENT.yaml` makes one; `--artifacts DIR` looks into another folder",
            artifacts.display()
        ));
    }
    match command {
        Command::Run(args) => run::run(session, args),
        Command::Plan(args) => plan::plan(session, args),
        Command::Explain(args) => explain::explain(session, args),
        Command::Inspect(args) => inspect::inspect(session, args),
        Command::Graph(args) => graph::graph(session, args),
        Command::Stages(args) => stages::stages(session, args),
        Command::Schema if session.global.json => print_json(spec::schema(session.catalog)),
        Command::Schema => write(&escape::json(&format!("{:#}\n", spec::schema(session.catalog)))),
        Command::Init(args) => init::init(session, args),
        Command::Migrate(args) => migrate::migrate(session, args),
        Command::Verify => verify::verify(session),
        Command::Runs(args) => runs::runs(session, args),
        Command::Report(args) => report::report(session, args),
        Command::Diff(args) => diff::diff(session, args),
        Command::Gc(args) => gc::gc(session, args),
        Command::Recommend(args) => recommend::recommend(session, args),
        Command::Serve(args) => serve::serve(session, args),
        Command::Ui(args) => ui::ui(session, args),
        Command::Export(args) => export::export(session, args),
        Command::AddItems(args) => add_items::add_items(session, args),
        Command::Worth(args) => worth::worth(session, args),
        Command::Work(args) => work::work(session, args),
        Command::Completions { shell } => {
            let script = complete::script(*shell);
            if session.global.json {
                return print_json(json!({ "shell": shell.to_string(), "script": script }));
            }
            print(&script)
        }
        Command::Complete { words } => complete::complete(session, words),
    }
}

/// Refuses a folder of results that cannot become one.
fn usable(artifacts: &Path) -> anyhow::Result<()> {
    const HELP: &str = "help: give a folder with `--artifacts DIR`";
    match artifacts.metadata() {
        Ok(metadata) if !metadata.is_dir() => anyhow::bail!("`{}` is no folder\n{HELP}", artifacts.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => match artifacts.read_link() {
            Ok(target) => anyhow::bail!(
                "`{}` is a link to `{}`, which is not there\nhelp: make that folder, or remove the link",
                artifacts.display(),
                target.display()
            ),
            Err(_) => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Tells what went wrong, and gives the exit code.
fn complain(session: &Session, failure: &Failure) -> Exit {
    // The reader of our output has gone: nothing went wrong here.
    if failure.exit == Exit::Ok {
        return Exit::Ok;
    }
    let diagnostics = failure.error.downcast_ref::<Diagnostics>();
    let report = ErrorReport::of(&failure.error);
    if session.global.json {
        let placeless = || Diagnostics::placeless(&report.message, report.help().as_deref());
        let diagnostics = diagnostics.map_or_else(placeless, Diagnostics::to_json);
        let _ = print_error(failure.exit, &report.to_string(), &diagnostics);
    } else if let Some(diagnostics) = diagnostics {
        let text = diagnostics.render(std::io::stderr().is_terminal());
        let _ = write!(std::io::stderr(), "{}", redact(&text));
    } else {
        talk(&format!("error: {report}"));
    }
    failure.exit
}

/// A command line that cannot be read, as [`Diagnostics::to_json`] has it: what is wrong is its first paragraph.
fn unread(refusal: &clap::Error) -> Value {
    let text = refusal.to_string();
    let message = text.split("\n\n").next().unwrap_or(&text).trim_end().trim_start_matches("error: ");
    let tip = text.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    Diagnostics::placeless(
        message,
        Some(tip.unwrap_or("`apprentice --help` lists the commands, `apprentice COMMAND --help` their options")),
    )
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
