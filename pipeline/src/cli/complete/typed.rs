//! What stands before the cursor, and what may stand there.

use clap::Arg;

/// One way to go on, with a few words on it.
pub(super) type Candidate = (String, String);

pub(super) fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// What stands before the cursor.
pub(super) struct Typed<'c> {
    /// The command that was chosen, or the program itself.
    pub command: &'c clap::Command,
    pub positionals: Vec<String>,
    /// The values of options, by the option's long name.
    pub options: Vec<(String, String)>,
    /// The option whose value is typed now.
    pub awaiting: Option<&'c Arg>,
}

impl<'c> Typed<'c> {
    pub fn read(root: &'c clap::Command, words: &[String]) -> Self {
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
    pub fn values_of(&self, long: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(name, _)| name == long).map(|(_, value)| value.as_str())
    }
}
