//! Completion in a shell: `apprentice explain quickstart.yaml po<TAB>`.
//!
//! The script that `apprentice completions SHELL` prints is small and never out of date: it hands the words before the cursor
//! to the hidden command `complete`, which knows the options from the command line's own definition, the stages from the
//! experiment, and the outputs and runs from the store. What goes wrong here is no concern of somebody who types: then
//! nothing is offered.

mod candidates;
mod scripts;
mod shell_words;
mod typed;

use clap::{Arg, ArgAction, CommandFactory as _};

use super::args::Cli;
use super::output::print;
use super::session::Session;
use crate::Exit;
use crate::exit::Failure;
use candidates::Candidates;
pub(super) use scripts::script;
use typed::{Candidate, Typed, about};

/// `words` are those before the cursor, the last one being typed at; a single one is a whole line, as bash gives it.
pub(super) fn complete(session: &Session, words: &[String]) -> Result<Exit, Failure> {
    let words = match words {
        [line] => shell_words::split(line),
        words => words.to_vec(),
    };
    let lines: String = candidates(session, &words).into_iter().map(|(word, about)| line(&word, &about)).collect();
    print(&lines)
}

fn line(word: &str, about: &str) -> String {
    // A control character would tear the shell's list apart.
    let about: String = about.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{word}\t{about}\n")
}

fn candidates(session: &Session, words: &[String]) -> Vec<Candidate> {
    let Some((current, before)) = words.split_last().filter(|(_, before)| !before.is_empty()) else {
        return Vec::new();
    };
    let mut root = Cli::command();
    root.build();
    let typed = Typed::read(&root, &before[1..]);
    let values = Candidates { session, typed: &typed };
    let mut found = if let Some(arg) = typed.awaiting {
        values.of(arg, current)
    } else if let Some((name, value)) = current.strip_prefix("--").and_then(|word| word.split_once('=')) {
        let arg = typed.command.get_arguments().find(|arg| arg.get_long() == Some(name));
        let found = arg.map(|arg| values.of(arg, value)).unwrap_or_default();
        found.into_iter().map(|(word, about)| (format!("--{name}={word}"), about)).collect()
    } else if current.starts_with('-') {
        options(typed.command)
    } else if typed.command.has_subcommands() && typed.positionals.is_empty() {
        let commands = typed.command.get_subcommands().filter(|command| !command.is_hide_set());
        commands.map(|command| (command.get_name().to_owned(), about(command.get_about()))).collect()
    } else {
        let index = typed.positionals.len();
        let all: Vec<&Arg> = typed.command.get_positionals().collect();
        // The last one may stand for many.
        let many = || all.last().copied().filter(|arg| matches!(arg.get_action(), ArgAction::Append));
        all.get(index).copied().or_else(many).map(|arg| values.of(arg, current)).unwrap_or_default()
    };
    found.retain(|(word, _)| word.starts_with(current.as_str()));
    found
}

fn options(command: &clap::Command) -> Vec<Candidate> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some((format!("--{}", arg.get_long()?), about(arg.get_help())))).collect()
}
