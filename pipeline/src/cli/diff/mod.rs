//! `apprentice diff A B`: of two runs, or of two files or outputs.

mod runs;

use anyhow::anyhow;

use super::args::Diff;
use super::inspect::{self, Target, find};
use super::session::Session;
use crate::Exit;
use crate::exit::Failure;
use crate::inspect::Format;

pub(super) fn diff(session: &Session, args: &Diff) -> Result<Exit, Failure> {
    let store = session.store();
    let target = |name: &str| find(&store, name, args.experiment.as_deref(), session.catalog);
    match (target(&args.a)?, target(&args.b)?) {
        (Target::Run(old), Target::Run(new)) => {
            about_runs(args)?;
            runs::compare(session, &store, &old, &new)
        }
        (Target::Content(one), Target::Content(other)) => inspect::compare(session, args, &one, *other),
        (one, other) => {
            let (a, b) = (&args.a, &args.b);
            let outputs = [(&one, a), (&other, b)].into_iter().find_map(|(target, name)| target.outputs(name));
            let help = match outputs {
                Some(outputs) => format!("name one of them: {outputs}"),
                None => "compare two runs, or two files; `apprentice inspect RUN` lists the outputs of a run".into(),
            };
            Err(Failure::usage(anyhow!("`{a}` is {}, and `{b}` is {}\nhelp: {help}", one.noun(), other.noun())))
        }
    }
}

/// Refuses options that need the content of files.
fn about_runs(args: &Diff) -> Result<(), Failure> {
    let is_about_files = !args.key.is_empty() || !args.columns.is_empty() || args.scan;
    if is_about_files || args.format.is_some_and(|format| format != Format::Json) {
        return Err(Failure::usage(anyhow!(
            "`{}` and `{}` are runs, and these options are about files\nhelp: leave them out, or compare two outputs",
            args.a,
            args.b
        )));
    }
    Ok(())
}
