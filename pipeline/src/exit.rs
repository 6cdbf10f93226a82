//! How the program ends: the exit codes, and an error together with its code.

use crate::diagnostic::Diagnostics;
use crate::{Interrupted, memory_need};

/// The error of a stage whose server did not answer within the allowed retries; earlier answers are stored.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

/// The error of a stage whose budget, number of calls or account is exhausted; earlier answers are stored.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BudgetExhausted(pub String);

/// The error of a stage that submitted work elsewhere and does not wait for it, such as a batch of requests at a provider. The next
/// run takes it in and goes on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Submitted(pub String);

/// The request cannot be carried out as written: an unknown column, a filter that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The exit codes; `apprentice --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// A stage failed, or the machine refused something (disk, permission).
    Failed = 1,
    /// The experiment or the command is wrong, or what its stages need is not here: an asset, a secret, a device.
    UsageError = 2,
    /// `plan --check` or `migrate --check` found work.
    WorkFound = 3,
    /// Another run holds a lock, and `--no-wait` was given.
    Locked = 4,
    /// A budget, a number of calls or an account is exhausted; answers are stored.
    BudgetExhausted = 5,
    /// The store is damaged.
    Damaged = 6,
    /// The server of a language model cannot be reached; earlier answers are stored.
    Unreachable = 7,
    /// Stages failed under `--keep-going`; the others are up to date.
    Partial = 8,
    /// No memory was left; finished units are saved.
    OutOfMemory = 9,
    /// Requests were submitted to a provider and wait for their answers; the next run takes them in.
    Submitted = 10,
    /// Stopped by Ctrl-C or SIGTERM; finished units are saved.
    Interrupted = 130,
}

/// The table of codes, as `--help` shows it.
pub(crate) const TABLE: &str = "\
Exit codes:
    0  done
    1  a stage failed, or the system refused an operation (disk, permission)
    2  the experiment or the command is wrong, or something it needs is missing (an asset, a secret, a device)
    3  `plan --check` or `migrate --check` found work
    4  another run is making the same result, and `--no-wait` was given
    5  a budget, a number of calls or an account is exhausted; answers are stored
    6  the store is damaged
    7  the server of a language model cannot be reached; answers are stored
    8  some stages failed under `--keep-going`; the others are up to date
    9  out of memory; finished units are saved, and the next run continues from them
   10  a batch of requests waits for its answers at a provider; another run takes them in
  130  interrupted (Ctrl-C, SIGTERM); finished units are saved, and the next run continues from them";

/// An error and the code that the program ends with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
}

impl Failure {
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }
    /// The experiment or the command is wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Exit::UsageError, error)
    }
}

/// An error that says by its type what it is; any other one is a plain failure.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let any = |is: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(is);
        let worker = error.chain().find_map(|cause| cause.downcast_ref::<WorkerFailure>());
        let exit = if let Some(failure) = worker {
            failure.exit
        } else if any(|cause| cause.is::<Diagnostics>() || cause.is::<UsageError>()) {
            Exit::UsageError
        } else if any(|cause| cause.is::<Locked>()) {
            Exit::Locked
        } else if any(|cause| cause.is::<Interrupted>()) {
            Exit::Interrupted
        } else if any(|cause| cause.is::<BudgetExhausted>()) {
            Exit::BudgetExhausted
        } else if any(|cause| cause.is::<Unreachable>()) {
            Exit::Unreachable
        } else if any(|cause| cause.is::<Submitted>()) {
            Exit::Submitted
        } else if any(memory_need::is_shortage) {
            Exit::OutOfMemory
        } else {
            Exit::Failed
        };
        Self { exit, error }
    }
}

/// Another run is making a result, and waiting was not wanted.
#[derive(Debug, thiserror::Error)]
#[error("{stage} is being made by {holder}\nhelp: leave out `--no-wait` to wait for it and reuse its result")]
pub(crate) struct Locked {
    pub stage: String,
    pub holder: String,
}

/// The error of a stage that was worked on in another process, and the code that it would have ended the program with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct WorkerFailure {
    pub exit: Exit,
    pub text: String,
}

impl Exit {
    /// The exit of a code; one that is unknown is a failure.
    pub(crate) fn of_code(code: u8) -> Self {
        use Exit::*;
        let all = [
            Ok,
            UsageError,
            WorkFound,
            Locked,
            BudgetExhausted,
            Damaged,
            Unreachable,
            Partial,
            OutOfMemory,
            Submitted,
            Interrupted,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Failed)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_context() {
        let error = Err::<(), _>(Interrupted).context("stage policy").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::Interrupted);
        let error = Err::<(), _>(Unreachable("busy".into())).context("stage demos").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::Unreachable);
        let error = Err::<(), _>(BudgetExhausted("spent".into())).context("stage demos").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::BudgetExhausted);
        let error = Err::<(), _>(Submitted("a batch".into())).context("stage demos").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::Submitted);
        let error = Err::<(), _>(UsageError("no column `x`".into())).context("x.parquet").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::UsageError);
        let need = crate::MemoryNeed::new("").table("scores", &[2], 4);
        let error = Err::<(), _>(need.check(7).unwrap_err()).context("stage world").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::OutOfMemory);
        assert_eq!(Failure::from(anyhow::anyhow!("disk full")).exit, Exit::Failed);
        let far = WorkerFailure { exit: Exit::of_code(9), text: "no memory".into() };
        let error = Err::<(), _>(far).context("stage policy").unwrap_err();
        assert_eq!(Failure::from(error).exit, Exit::OutOfMemory);
        assert_eq!(Exit::of_code(77), Exit::Failed);
    }

    #[test]
    fn the_table_lists_every_code() {
        use Exit::*;
        for exit in [
            Ok,
            Failed,
            UsageError,
            WorkFound,
            Locked,
            BudgetExhausted,
            Damaged,
            Unreachable,
            Partial,
            OutOfMemory,
            Submitted,
            Interrupted,
        ] {
            let code = format!("{:>5}  ", exit as u8);
            assert!(TABLE.lines().any(|line| line.starts_with(&code)), "{exit:?}");
        }
    }
}
