//! Completion in a shell: `apprentice explain quickstart.yaml po<TAB>`.
//!
//! The script that `apprentice completions SHELL` prints is small and never out of date: it hands the words before the cursor
//! to the hidden command `complete`, which knows the options from the command line's own definition, the stages from the
//! experiment, and the outputs and runs from the store. What goes wrong here is no concern of somebody who types: then
//! nothing is offered.

mod candidates;
mod scripts;
mod shell_words;

use clap::{Arg, ArgAction, CommandFactory as _};

use super::args::Cli;
use super::print;
use super::session::Session;
use crate::Exit;
use crate::exit::Failure;
use candidates::Candidates;
pub(super) use scripts::script;

/// One way to go on, with a few words on it.
type Candidate = (String, String);

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

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// What stands before the cursor.
struct Typed<'c> {
    /// The command that was chosen, or the program itself.
    command: &'c clap::Command,
    positionals: Vec<String>,
    /// The values of options, by the option's long name.
    options: Vec<(String, String)>,
    /// The option whose value is typed now.
    awaiting: Option<&'c Arg>,
}

impl<'c> Typed<'c> {
    fn read(root: &'c clap::Command, words: &[String]) -> Self {
        let mut typed = Self { command: root, positionals: Vec::new(), options: Vec::new(), awaiting: None };
        for word in words {
            if let Some(arg) = typed.awaiting.take() {
                typed.options.push((arg.get_long().unwrap_or_default().to_owned(), word.clone()));
            } else if let Some(name) = word.strip_prefix("--") {
                match name.split_once('=') {
                    Some((name, value)) => typed.options.push((name.to_owned(), value.to_owned())),
                    None => typed.awaiting = typed.option(|arg| arg.get_long() == Some(name)),
                }
            } else if let Some(letter) = word.strip_prefix('-').and_then(|letters| letters.chars().last()) {
                typed.awaiting = typed.option(|arg| arg.get_short() == Some(letter));
            } else if let Some(command) = typed.command.find_subcommand(word) {
                typed.command = command;
            } else {
                typed.positionals.push(word.clone());
            }
        }
        typed
    }

    /// The option, where it takes a value.
    fn option(&self, is: impl Fn(&Arg) -> bool) -> Option<&'c Arg> {
        self.command.get_arguments().find(|arg| is(arg)).filter(|arg| arg.get_action().takes_values())
    }

    /// The values given to an option.
    fn values_of(&self, long: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(name, _)| name == long).map(|(_, value)| value.as_str())
    }
}
