//! The beginning of the experiment: the files, and the stage that reads them, each line with its reason.

use std::fmt::Write as _;
use std::path::PathBuf;

use pipeline::log_experiment::LogFiles;
use serde_json::{Value, json};

use super::column::Column;
use super::feedback::{Amounts, Doubt, Feedback};
use super::files::encoding_help;
use super::findings::Findings;
use super::roles::{Choice, Roles};
use super::sampled_table::SampledTable;
use super::side_features;
use super::table_settings::columns_of;
use super::yaml_text::{counted, path_from, scalar};
use crate::ingest::datasets::table::Table;
use crate::ingest::readers::bad_rows::OnBadRow;
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::side_table::Quotes;

/// What is written of a log that `ingest.table` reads.
pub(super) struct LogText<'a> {
    pub request: &'a LogFiles,
    pub config: &'a Table,
    pub form: &'a SampledTable,
    pub columns: &'a [Column],
    pub names: &'a [String],
    pub roles: &'a Roles,
    pub feedback: Feedback,
    /// Whether the numbers alone say that they are amounts.
    pub by_spread: bool,
    /// What the times are.
    pub times: Option<String>,
    /// What is said of times that another unit fits.
    pub doubted_times: Option<String>,
    pub counts: &'a str,
    /// Why nothing can be learned from the log.
    pub warning: Option<&'a str>,
    /// Rows that would be refused, and why.
    pub refused: Option<&'a str>,
    /// Whether rows of the tables beside the log would be.
    pub refuses_sides: bool,
    /// Columns of the log that are not read, and what they hold.
    pub unused: Option<String>,
    /// The tables beside the log: their asset, their file and a sample.
    pub tables: &'a [(&'static str, PathBuf, SampledTable)],
}

/// Columns that are listed, at most.
const LISTED: usize = 12;
/// Distinct texts of a column that are kinds of rows, at most.
const KINDS: usize = 8;

/// The named columns that are not `used`, with what they hold; `None` where there are none.
pub(super) fn unused(columns: &[Column], used: &[&str], of_log: bool) -> Option<String> {
    let left: Vec<&Column> =
        columns.iter().filter(|column| !column.name.is_empty() && !used.contains(&&*column.name)).collect();
    let words = |column: &&Column| match (column.words(), of_log) {
        (words @ "texts", true) if (2..=KINDS).contains(&column.distinct) => {
            format!("`{}` ({words}, as {}: rows of all of them count alike)", column.name, column.shown())
        }
        (words, true) if column.is_scale() => {
            format!(
                "`{}` ({words} from {} to {}; `--columns rating={}` reads it)",
                column.name, column.min, column.max, column.name
            )
        }
        (words, _) => format!("`{}` ({words})", column.name),
    };
    let mut listed: Vec<String> = left.iter().take(LISTED).map(words).collect();
    if left.len() > LISTED {
        listed.push(format!("and {} more", left.len() - LISTED));
    }
    (!left.is_empty()).then(|| listed.join(", "))
}

impl LogText<'_> {
    /// What the column was chosen for.
    fn why(&self, choice: &Choice) -> String {
        format!("{}; {}", choice.why, self.columns[choice.at].words())
    }

    /// What stands before a reason that people have to look at.
    fn mark(&self, role: &str, choice: &Choice) -> &'static str {
        let is_open = matches!(self.feedback, Feedback::Explicit { doubt: Some(_), .. });
        if choice.is_doubtful() || (role == "rating" && (is_open || self.by_spread)) { "← " } else { "" }
    }

    /// What `--columns` calls the column of ratings.
    fn choice_of_rating(&self) -> &str {
        self.roles.rating.as_ref().map_or("", |choice| &self.columns[choice.at].name)
    }

    /// What the ratings are, for a comment.
    fn rating_words(&self) -> String {
        match self.feedback {
            Feedback::Explicit { values, min, max, doubt } => {
                let doubt = doubt.map(|doubt| match doubt {
                    Doubt::Unrated(value, share) => format!(
                        "; {:.0} % are {value}: remove these rows if {value} means that nothing was rated",
                        100.0 * share
                    ),
                    Doubt::Counts(share) => format!(
                        "; {:.0} % of those above 0 are 1, as of counts: if they count plays or purchases, `--columns amount={}` of `init` \
                         rescales them",
                        100.0 * share,
                        self.choice_of_rating()
                    ),
                });
                format!("{} from {min} to {max}: ratings{}", counted(values, "value"), doubt.unwrap_or_default())
            }
            Feedback::Amounts(Amounts { zeros, median, max, .. }) => {
                let doubt = match self.by_spread {
                    true => format!(
                        " (by their spread; `--columns rating={}` of `init` takes them for ratings)",
                        self.choice_of_rating()
                    ),
                    false => String::new(),
                };
                format!(
                    "amounts up to {max}, median {median}, {:.0} % are 0: no ratings, so they are rescaled below{doubt}",
                    100.0 * zeros
                )
            }
            Feedback::Implicit => "all are equal, so they show no preference".to_owned(),
        }
    }

    /// Says the choices.
    pub fn tell(&self, findings: &mut Findings) {
        let mut columns = Vec::new();
        let roles = [
            ("user", Some(&self.roles.user)),
            ("item", Some(&self.roles.item)),
            ("rating", self.roles.rating.as_ref()),
            ("timestamp", self.roles.time.as_ref()),
        ];
        for (role, choice) in roles {
            let Some(choice) = choice else { continue };
            let more = match role {
                "rating" => format!("; {}", self.rating_words()),
                _ => String::new(),
            };
            findings.say(role, format!("`{}` ({}){more}", self.names[choice.at], self.why(choice)));
            columns.push(json!({
                "role": role, "column": self.names[choice.at], "holds": self.columns[choice.at].words(), "why": choice.why,
            }));
        }
        if let Some(times) = &self.times {
            findings.say("times", times);
        }
        if let Some(doubt) = &self.doubted_times {
            findings.say("warning", doubt);
        }
        let feedback = match self.feedback {
            Feedback::Explicit { .. } => "ratings",
            Feedback::Amounts(_) => "amounts: how much or how often, as confidence that a user chose an item",
            Feedback::Implicit => "choices: no rating says whether a user liked an item",
        };
        findings.say("feedback", feedback);
        if let Some(unused) = &self.unused {
            findings.say("not read", unused);
        }
        if self.config.log.decimal == Decimal::Comma {
            findings.say("decimals", "are behind a comma (`4,5`): `decimal: \",\"` reads them");
        }
        if self.config.trim_whitespace {
            findings.say("spaces", "stand around some values; they are left out (`trim_whitespace`)");
        }
        findings.detail("reader", "ingest.table".into());
        findings.detail("form", self.form.words().into());
        findings.detail("columns", Value::Array(columns));
        findings.detail("feedback", self.feedback.name().into());
    }

    /// The text from `assets` to the end of the stage `log`.
    pub fn text(&self) -> String {
        let mut text =
            "assets: # the files, used where they lie; `--data DIR` looks for them in another folder first\n"
                .to_owned();
        let log = [("log", &self.request.log)];
        for (name, path) in log.into_iter().chain(self.tables.iter().map(|(name, path, _)| (*name, path))) {
            let slash = if path.is_dir() { "/" } else { "" };
            let path =
                scalar(&format!("{}{slash}", path_from(&self.request.folder, path).display()).replace("//", "/"));
            let _ = writeln!(text, "  {name}: {{ from: [{{ path: {path} }}] }}");
        }
        let _ = writeln!(text, "\nstages:\n  # {}.", self.counts);
        if let Some(warning) = self.warning {
            let _ = writeln!(text, "  # ← {warning}.");
        }
        text += "  log:\n    use: ingest.table\n    with:\n      asset: log\n      log:\n";
        self.log_lines(&mut text);
        self.item_lines(&mut text);
        self.user_lines(&mut text);
        match self.config.quotes {
            Quotes::ByEnding => {}
            Quotes::Always => text += "      quotes: always # fields are quoted\n",
            Quotes::Never => text += "      quotes: never # a quote is an ordinary character\n",
        }
        if self.config.trim_whitespace {
            text += "      trim_whitespace: true # spaces stand around some values: with them, `u1` and `u1 ` would be two ids\n";
        }
        if self.config.on_bad_row == OnBadRow::Drop {
            let why = self.refused.unwrap_or(if self.refuses_sides {
                "some rows of the tables would be refused; the run says which"
            } else {
                ""
            });
            let mark = if encoding_help(why, &self.request.log).is_some() { "← " } else { "" };
            let _ = writeln!(text, "      on_bad_row: drop # {mark}{}", one_line(why));
        }
        text
    }

    fn log_lines(&self, text: &mut String) {
        let log = &self.config.log;
        let mut line = |name: &str, value: String, why: String| {
            let _ = writeln!(
                text,
                "        {name}: {value}{}",
                if why.is_empty() { why } else { format!(" # {}", one_line(&why)) }
            );
        };
        line("file", scalar(&log.file), self.form.words());
        if let Some(names) = &log.names {
            let names: Vec<String> = names.iter().map(|name| scalar(name)).collect();
            line("names", format!("[{}]", names.join(", ")), "← the file has no header: correct the names".into());
        }
        if let Some(separator) = &log.separator {
            line("separator", quoted(separator), String::new());
        }
        for (role, column, choice) in [("user", &log.user, &self.roles.user), ("item", &log.item, &self.roles.item)] {
            line(role, scalar(column), format!("{}{}", self.mark(role, choice), self.why(choice)));
        }
        match (&log.rating, &self.roles.rating) {
            (Some(rating), Some(choice)) => {
                let mark = self.mark("rating", choice);
                line("rating", scalar(rating), format!("{mark}{}; {}", choice.why, self.rating_words()));
                if log.decimal == Decimal::Comma {
                    line("decimal", quoted(","), "4,5 is 4.5".into());
                }
            }
            (None, Some(choice)) => line("# rating", scalar(&self.names[choice.at]), self.rating_words()),
            _ => line("# rating", "…".into(), "no column holds ratings: each row is a choice".into()),
        }
        match (&log.timestamp, &self.roles.time) {
            (Some(time), Some(choice)) => {
                let found = self.times.clone().unwrap_or_default();
                let doubt = self.doubted_times.as_ref().map(|doubt| format!("; {doubt}")).unwrap_or_default();
                let mark = if doubt.is_empty() { "" } else { "← " };
                let form = time.format.as_ref().map(|form| format!(", format: {}", quoted(form))).unwrap_or_default();
                line(
                    "timestamp",
                    format!("{{ column: {}{form} }}", scalar(&time.column)),
                    format!("{mark}{}; {found}{doubt}", choice.why),
                );
            }
            _ => line("# timestamp", "{ column: … }".into(), "no column holds times".into()),
        }
        if let Some(unused) = &self.unused {
            let _ = writeln!(text, "        # not read: {}", one_line(unused));
        }
    }

    fn item_lines(&self, text: &mut String) {
        let Some(items) = &self.config.items else {
            *text +=
                "      # items: { asset: items, file: … } # no catalogue was given (`--items`): titles are the ids\n";
            return;
        };
        *text += "      items:\n        asset: items\n";
        self.side_lines("items", &items.file, items.names.as_deref(), items.separator.as_deref(), text);
        let _ = writeln!(text, "        id: {} # holds ids of the log", scalar(&items.id));
        let optional = [("title", &items.title, "titles are the ids"), ("year", &items.year, "years are unknown")];
        for (name, column, without) in optional {
            let _ = match column {
                Some(column) => writeln!(text, "        {name}: {}", scalar(column)),
                None => writeln!(text, "        # {name}: … # no column is called so: {without}"),
            };
        }
        let _ = match &items.genres {
            Some(genres) => writeln!(
                text,
                "        genres: {{ column: {}, separator: {} }}",
                scalar(&genres.column),
                quoted(&genres.separator)
            ),
            None => writeln!(text, "        # genres: {{ column: … }} # no column is called so"),
        };
        let Some((.., table)) = self.tables.iter().find(|(name, ..)| *name == "items") else { return };
        let others = side_features::of_items(table, items);
        let names: Vec<String> = others.iter().map(|column| scalar(&column.name)).collect();
        if !names.is_empty() {
            let why = "other columns: worlds, encoders and prompts may read them";
            let _ = writeln!(text, "        # features: [{}] # {why}", names.join(", "));
        }
        let read =
            [Some(&items.id), items.title.as_ref(), items.year.as_ref(), items.genres.as_ref().map(|g| &g.column)];
        let told = read.into_iter().flatten().chain(others.iter().map(|column| &column.name)).map(String::as_str);
        if let Some(unused) = unused(&columns_of(table), &told.collect::<Vec<_>>(), false) {
            let _ = writeln!(text, "        # not read: {}", one_line(&unused));
        }
    }

    fn user_lines(&self, text: &mut String) {
        let Some(users) = &self.config.users else { return };
        *text += "      users:\n        asset: users\n";
        self.side_lines("users", &users.file, users.names.as_deref(), users.separator.as_deref(), text);
        let _ =
            writeln!(text, "        id: {} # holds ids of the log; all other columns are features", scalar(&users.id));
    }

    fn side_lines(
        &self,
        asset: &str,
        file: &str,
        names: Option<&[String]>,
        separator: Option<&str>,
        text: &mut String,
    ) {
        let words = self.tables.iter().find(|(name, ..)| *name == asset).map(|(_, _, table)| table.words());
        let _ = writeln!(text, "        file: {} # {}", scalar(file), words.unwrap_or_default());
        if let Some(names) = names {
            let names: Vec<String> = names.iter().map(|name| scalar(name)).collect();
            let _ = writeln!(text, "        names: [{}] # ← the file has no header", names.join(", "));
        }
        if let Some(separator) = separator {
            let _ = writeln!(text, "        separator: {}", quoted(separator));
        }
    }
}

/// A text in double quotes, whatever it is.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A comment must not go on in another line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_are_not_read_are_listed_with_what_they_hold() {
        let columns = [
            Column::new("user", &["a", "b"], false),
            Column::new("", &["0", "1"], false),
            Column::new("event", &["view", "cart", "view"], false),
            Column::new("age", &["18", "62", "18", "62"], false),
            Column::new("price", &["1.5", "200.25"], false),
        ];
        assert_eq!(
            unused(&columns, &["user"], true).unwrap(),
            "`event` (texts, as `view`, `cart`: rows of all of them count alike), `age` (integers from 18 to 62; `--columns \
             rating=age` reads it), `price` (numbers)"
        );
        assert_eq!(unused(&columns[..3], &["user"], false).unwrap(), "`event` (texts)");
        assert_eq!(unused(&columns[..2], &["user"], true), None);
        let many: Vec<Column> = (0..15).map(|k| Column::new(&format!("c{k}"), &["x"], false)).collect();
        assert!(unused(&many, &[], true).unwrap().ends_with("`c11` (texts), and 3 more"));
    }
}
