//! What is wrong with an experiment: every fault with its place, the line it stands in, a caret, and the next step.
//!
//! It knows texts and places, not YAML and not stages.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde_json::{Value, json};

use crate::escape::{harms, lines};

/// Width of a rendered report in columns; fixed, so that a text is the same on every screen.
const WIDTH: usize = 110;

/// Nobody reads more faults of one file, and to look for them takes time; so looking ends soon after this many.
pub(crate) const MOST: usize = 200;

/// A line longer than this many bytes was not written for people, and would fill the screen.
const LONGEST_LINE: usize = 1000;

/// A stretch of bytes in one of the texts that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// 0 is the experiment file, `n` the n-th `--set`.
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where; `None` where there is no text to point into.
    pub span: Option<Span>,
    /// A few words under the caret.
    pub label: Option<String>,
    /// The next step.
    pub help: Option<String>,
    /// What stands at the place may be a secret: the line is shown with stars there.
    pub masked: bool,
}

impl Diagnostic {
    /// A fault at a place.
    #[must_use]
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), label: None, help: None, masked: false }
    }
    /// A fault without a place.
    #[must_use]
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, label: None, help: None, masked: false }
    }
    /// Adds the next step.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    /// Shows the line without what stands at the place.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.masked = true;
        self
    }
    /// Adds "did you mean" under the caret when one of `known` is near to `wrong`, else `otherwise` as help.
    #[must_use]
    pub fn suggest<'a>(
        mut self,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
        otherwise: impl FnOnce() -> String,
    ) -> Self {
        match nearest(wrong, known) {
            Some(near) => self.label = Some(format!("did you mean `{near}`?")),
            None => self.help = Some(otherwise()),
        }
        self
    }
}

/// The member of `known` that `wrong` was most likely meant to be, if any is near enough.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let target = plain(wrong);
    // A third of the letters may differ: `gama` finds `gamma`, `seed` does not find `split`.
    let limit = target.chars().count().div_ceil(3);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&target, &plain(name)), name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `` `a`, `b`, `c` ``: the list of what is allowed.
#[must_use]
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// One of the texts that spans point into.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The file's path as given, or `--set`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The name of a span's text, its line and its column.
pub(crate) fn place(sources: &[Source], span: Span) -> (&str, usize, usize) {
    let source = &sources[span.source];
    let before = &source.text[..span.start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (&source.name, before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// All faults of one experiment, in the order of their places.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    sources: Vec<Source>,
    list: Vec<Diagnostic>,
    /// There are more than are listed.
    more: bool,
}

impl Diagnostics {
    pub(crate) fn new(mut sources: Vec<Source>, mut list: Vec<Diagnostic>) -> Self {
        for span in list.iter().filter(|fault| fault.masked).filter_map(|fault| fault.span) {
            let text = &mut sources[span.source].text;
            // One star a byte keeps every other place where it is.
            let stars = text[span.start..span.end].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' });
            let stars: String = stars.collect();
            text.replace_range(span.start..span.end, &stars);
        }
        for span in list.iter_mut().filter_map(|fault| fault.span.as_mut()) {
            // A block over several lines is shown by its first line.
            let shown = sources[span.source].text[span.start..span.end].lines().next().unwrap_or_default();
            span.end = span.start + shown.trim_end().len();
        }
        for source in sources.iter_mut().filter(|source| source.text.contains(harms)) {
            // Byte for byte, so that places stay where they are.
            let text = source.text.replace("\r\n", " \n");
            source.text = text.chars().map(|c| if harms(c) { "?".repeat(c.len_utf8()) } else { c.into() }).collect();
        }
        for fault in &mut list {
            let texts = [Some(&mut fault.message), fault.label.as_mut(), fault.help.as_mut()];
            for text in texts.into_iter().flatten().filter(|text| text.contains(harms)) {
                *text = lines(text).into_owned();
            }
        }
        for source in &mut sources {
            source.name = lines(&source.name).into_owned();
        }
        list.sort_by_key(|fault| fault.span);
        list.dedup();
        let more = list.len() > MOST;
        list.truncate(MOST);
        Self { sources, list, more }
    }

    /// The faults.
    #[must_use]
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The file (or `--set`), line and column (both from 1, in characters) of a fault.
    #[must_use]
    pub fn place(&self, fault: &Diagnostic) -> Option<(&str, usize, usize)> {
        Some(place(&self.sources, fault.span?))
    }

    /// The report as a person reads it; `color` for a terminal.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(WIDTH).without_syntax_highlighting();
        let mut text = String::new();
        for fault in &self.list {
            let fault = &self.without_endless_line(fault);
            let source = fault.span.map(|span| &self.sources[span.source]);
            let drawn = Drawn { fault, source: source.map(|s| NamedSource::new(&s.name, s.text.clone())) };
            if handler.render_report(&mut text, &drawn).is_err() {
                text.push_str(&fault.message);
            }
            text.push('\n');
        }
        let (count, plural) = (self.list.len(), if self.list.len() == 1 { "" } else { "s" });
        let more = if self.more { "the first " } else { "" };
        text + &format!("{more}{count} error{plural} in {}\n", self.sources[0].name)
    }

    /// A fault in a line that is too long to be looked at is reported with its place in words.
    fn without_endless_line<'a>(&'a self, fault: &'a Diagnostic) -> Cow<'a, Diagnostic> {
        let Some(span) = fault.span else { return Cow::Borrowed(fault) };
        let text = &self.sources[span.source].text;
        let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
        if end - start <= LONGEST_LINE {
            return Cow::Borrowed(fault);
        }
        let (file, line, column) = place(&self.sources, span);
        let message: String = fault.message.chars().take(LONGEST_LINE).collect();
        let label = fault.label.as_ref().map(|label| format!("; {label}")).unwrap_or_default();
        let message = format!("{message} [{file}:{line}:{column}]{label}");
        Cow::Owned(Diagnostic { message, span: None, label: None, ..fault.clone() })
    }

    /// One fault without a place, in the form of [`Diagnostics::to_json`].
    #[must_use]
    pub(crate) fn placeless(message: &str, help: Option<&str>) -> Value {
        let place = Value::Null;
        json!([{ "message": message, "file": place, "line": place, "column": place, "label": place, "help": help }])
    }

    /// `[{message, file, line, column, label, help}]`; the place is null where there is none.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let row = |fault: &Diagnostic| {
            let place = self.place(fault);
            json!({
                "message": fault.message,
                "file": place.map(|p| p.0),
                "line": place.map(|p| p.1),
                "column": place.map(|p| p.2),
                "label": fault.label,
                "help": fault.help,
            })
        };
        self.list.iter().map(row).collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// A fault together with its text, as miette wants it.
#[derive(Debug)]
struct Drawn<'a> {
    fault: &'a Diagnostic,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.message)
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.fault.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.fault.span?;
        let label = LabeledSpan::new_with_span(self.fault.label.clone(), Range { start: span.start, end: span.end });
        Some(Box::new(std::iter::once(label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("gama", ["seed", "gamma"]), Some("gamma"));
        assert_eq!(nearest("Learning-Rate", ["learning_rate"]), Some("learning_rate"));
        assert_eq!(nearest("sede", ["seed"]), Some("seed"));
        assert_eq!(nearest("split", ["seed", "gamma"]), None);
        assert_eq!(nearest("x", ["a"]), None);
    }

    #[test]
    fn faults_come_in_the_order_of_their_places_and_once() {
        let sources = vec![Source { name: "x.yaml".into(), text: "ä: 1\nb: 2\n".into() }];
        let (first, second) = (Span { source: 0, start: 4, end: 5 }, Span { source: 0, start: 6, end: 7 });
        let faults = vec![Diagnostic::at(second, "b"), Diagnostic::at(first, "a"), Diagnostic::at(second, "b")];
        let all = Diagnostics::new(sources, faults);
        let places: Vec<_> = all.list().iter().filter_map(|fault| all.place(fault)).collect();
        assert_eq!(places, [("x.yaml", 1, 4), ("x.yaml", 2, 1)]);
        assert_eq!(all.to_json()[1]["line"], 2);
        assert!(!all.to_string().contains('\u{1b}'));
        assert!(all.render(true).contains('\u{1b}'));
    }
}
