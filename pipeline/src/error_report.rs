//! An error as it is reported: what is wrong, and behind it what to do next.
//!
//! Each cause in a chain may end in a `help:` line. Joined as they are, a cause would stand behind the help of the error that
//! it led to, in the same line; so helps are taken out of the chain and reported at its end, and programs are given them apart.
//! A full disk can show itself wherever something is written, so its help is here.

use std::fmt;
use std::io::{self, ErrorKind};

use crate::path_aliases::named;

/// How the line of a help begins.
const HELP: &str = "\nhelp: ";

/// What to do where a disk takes no more.
const FULL: &str = "free some space there, or use another disk (`--artifacts DIR` for the results); what was committed stays, and \
                    the next run resumes from it";

/// What is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ErrorReport {
    /// The causes, the outermost first, without their helps.
    pub message: String,
    /// The helps in the same order, without the word.
    helps: Vec<String>,
}

impl ErrorReport {
    /// An error with its causes.
    pub fn of(error: &anyhow::Error) -> Self {
        let (mut messages, mut helps) = (Vec::new(), Vec::new());
        let full = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(is_full);
        for cause in error.chain() {
            let text = cause.to_string();
            let text = named(&text);
            let mut parts = text.split(HELP);
            messages.extend(parts.next().map(ToOwned::to_owned));
            for help in parts.map(ToOwned::to_owned) {
                if !helps.contains(&help) {
                    helps.push(help);
                }
            }
        }
        if full && helps.is_empty() {
            helps.push(FULL.to_owned());
        }
        Self { message: messages.join(": "), helps }
    }

    /// What to do about it, one help a line; nothing where no cause says so.
    pub fn help(&self) -> Option<String> {
        (!self.helps.is_empty()).then(|| self.helps.join("\n"))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.helps.iter().try_for_each(|help| write!(f, "{HELP}{help}"))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn helps_stand_behind_the_last_cause_and_each_of_them_once() {
        let error = Err::<(), _>(anyhow!("no such byte\nhelp: fetch it again"));
        let error = error.context("m.gguf cannot be read\nhelp: look at it").context("stage demos").unwrap_err();
        let report = ErrorReport::of(&error);
        assert_eq!(report.message, "stage demos: m.gguf cannot be read: no such byte");
        assert_eq!(report.help().as_deref(), Some("look at it\nfetch it again"));
        assert_eq!(report.to_string(), format!("{}\nhelp: look at it\nhelp: fetch it again", report.message));
        let twice = Err::<(), _>(anyhow!("a\nhelp: x")).context("b\nhelp: x").unwrap_err();
        assert_eq!(ErrorReport::of(&twice).help().as_deref(), Some("x"));
        let full =
            |context: &'static str| Err::<(), _>(io::Error::from(ErrorKind::StorageFull)).context(context).unwrap_err();
        assert_eq!(ErrorReport::of(&full("save")).help().as_deref(), Some(FULL));
        assert_eq!(ErrorReport::of(&full("save\nhelp: x")).help().as_deref(), Some("x"));
        let plain = ErrorReport::of(&anyhow!("no help: at all\nbut lines"));
        assert_eq!((plain.to_string().as_str(), plain.help()), ("no help: at all\nbut lines", None));
    }
}
