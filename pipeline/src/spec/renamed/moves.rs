//! Moves one entry of a file to another block, with its comments, in the style that stands there.

use super::text::{
    Edits, comments_above, end_of, holder, indent, indented, is_flow, line_start, mapping_at, next_line, own,
    quoted_alike, written_in,
};
use crate::diagnostic::Span;
use crate::spec::tree::{Data, Entry, Tree};

/// How much deeper a new block stands than the key above it.
const STEP: usize = 2;
const BLANKS: [char; 2] = [' ', '\t'];

/// Where an entry is to go.
pub(super) struct Move<'a> {
    pub key: Span,
    pub within: Span,
    pub path: &'a [String],
    pub value: Option<&'a (Span, String)>,
}

/// The text after the move, or why it is for a person to do.
pub(super) fn apply(text: &str, root: &Tree, what: &Move) -> Result<String, &'static str> {
    const LOST: &str = "it is merged in with `<<`: move it by hand";
    let source = written_in(root, what.key).ok_or(LOST)?;
    let entry = own(source).find(|entry| entry.key_span == what.key).ok_or(LOST)?;
    // An entry that `<<` put into the block is moved where it is written, if it stays in one mapping.
    let target = mapping_at(root, what.within).ok_or(LOST)?;
    let target =
        if own(target).any(|own| own.key_span == what.key) || contains(target, what.key) { target } else { source };
    let mut edits = Edits::default();
    Mover { text, root, source, entry, what }.go(target, what.path, &mut edits)?;
    Ok(edits.apply(text))
}

fn contains(mapping: &Tree, key: Span) -> bool {
    key.start >= mapping.span.start && key.end <= mapping.span.end
}

struct Mover<'a> {
    text: &'a str,
    root: &'a Tree,
    source: &'a Tree,
    entry: &'a Entry,
    what: &'a Move<'a>,
}

/// What is moved, as text.
struct Cut {
    /// The comment lines above it, without their indentation.
    comments: Vec<String>,
    /// `key: value` under its new name; of a block without the indentation of its first line.
    entry: String,
    /// Blanks and the comment behind it, in its last line.
    trailing: String,
    /// Where its lines stood; 0 in flow style.
    indent: usize,
}

impl Mover<'_> {
    fn go(&self, target: &Tree, path: &[String], edits: &mut Edits) -> Result<(), &'static str> {
        let cut = self.cut(path)?;
        let (block, rest) = descend(target, path)?;
        let same = block.span == self.source.span && rest.len() > 1;
        match (is_flow(self.text, block), is_flow(self.text, self.source)) {
            (true, true) if same => {
                edits.replace(self.entry.key_span.start, end_of(self.text, self.entry), nested_flow(rest, &cut.entry));
            }
            (false, false) if same => {
                let (start, end) = self.lines(self.entry)?;
                edits.replace(start, end, self.nested_lines(rest, &cut, cut.indent));
            }
            (true, _) => {
                self.add_flow(block, &nested_flow(rest, &cut.entry), edits)?;
                self.keep_comments(block, &cut, edits)?;
                self.remove(self.source, self.entry, edits)?;
            }
            (false, _) => {
                let first = own(block).next().ok_or("the block has no entry of its own: move it by hand")?;
                let indent = indent(self.text, first.key_span.start).ok_or("move it by hand")?;
                let last = own(block).map(|entry| end_of(self.text, entry)).max().unwrap_or_default();
                let at = next_line(self.text, last);
                let lines = self.nested_lines(rest, &cut, indent);
                // The last line of a file may lack its end.
                let ending = self.ending();
                let lines = match self.text[..at].ends_with('\n') {
                    true => lines,
                    false => format!("{ending}{}", lines.trim_end()),
                };
                edits.insert(at, lines);
                self.remove(self.source, self.entry, edits)?;
            }
        }
        Ok(())
    }

    fn ending(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn cut(&self, path: &[String]) -> Result<Cut, &'static str> {
        let (start, end) = (self.entry.key_span.start, end_of(self.text, self.entry));
        let key_end = self.entry.key_span.end;
        let name = path.last().map_or("", String::as_str);
        let mut body = self.text[key_end..end].to_owned();
        if let Some((span, value)) = self.what.value {
            body.replace_range(span.start - key_end..span.end - key_end, value);
        }
        let entry = quoted_alike(&self.text[start..key_end], name) + &body;
        if is_flow(self.text, self.source) {
            return Ok(Cut { comments: Vec::new(), entry, trailing: String::new(), indent: 0 });
        }
        let (above, below) = self.lines(self.entry)?;
        let line = line_start(self.text, start);
        let comments = self.text[above..line].lines().map(|line| line.trim().to_owned()).collect();
        let trailing = self.text[end..below].trim_end().to_owned();
        Ok(Cut { comments, entry, trailing, indent: start - line })
    }

    /// The lines of an entry in block style with the comments above it.
    fn lines(&self, entry: &Entry) -> Result<(usize, usize), &'static str> {
        let start = entry.key_span.start;
        let indent = indent(self.text, start)
            .ok_or("it is on one line with other settings: give it a line of its own, then run `migrate` again")?;
        let line = line_start(self.text, start);
        Ok((comments_above(self.text, line, indent), next_line(self.text, end_of(self.text, entry))))
    }

    /// The entry with its comments as lines, inside blocks of its own where the path leads through some.
    fn nested_lines(&self, path: &[String], cut: &Cut, indent: usize) -> String {
        let ending = self.ending();
        let above = &path[..path.len() - 1];
        let deep = indent + STEP * above.len();
        let mut lines = String::new();
        for (depth, key) in above.iter().enumerate() {
            lines += &format!("{}{key}:{ending}", " ".repeat(indent + STEP * depth));
        }
        for comment in &cut.comments {
            lines += &format!("{}{comment}{ending}", " ".repeat(deep));
        }
        let body = format!("{}{}{}", " ".repeat(cut.indent), cut.entry, cut.trailing);
        // Lines of a flow mapping that was wrapped stand anywhere; they are as good where they are.
        let body = if cut.indent == 0 && is_flow(self.text, self.source) {
            format!("{}{body}", " ".repeat(deep))
        } else {
            indented(&body, cut.indent, deep)
        };
        lines + &body + ending
    }

    /// Adds `key: value` to a mapping in braces.
    fn add_flow(&self, mapping: &Tree, entry: &str, edits: &mut Edits) -> Result<(), &'static str> {
        if entry.contains('\n') && !is_flow(self.text, self.source) {
            return Err("its value stands in several lines, and the block in braces: move it by hand");
        }
        let (open, close) = (mapping.span.start + 1, mapping.span.end - 1);
        match own(mapping).map(|entry| end_of(self.text, entry)).max() {
            Some(last) => edits.insert(last, format!(", {entry}")),
            None if self.text[open..close].trim().is_empty() => edits.replace(open, close, format!(" {entry} ")),
            None => edits.insert(open + self.text[open..close].trim_end().len(), format!(", {entry}")),
        }
        Ok(())
    }

    /// In braces comments have no place: they go above the line.
    fn keep_comments(&self, mapping: &Tree, cut: &Cut, edits: &mut Edits) -> Result<(), &'static str> {
        let trailing = Some(cut.trailing.trim()).filter(|trailing| !trailing.is_empty());
        let comments: Vec<&str> = cut.comments.iter().map(String::as_str).chain(trailing).collect();
        if comments.is_empty() {
            return Ok(());
        }
        let line = line_start(self.text, mapping.span.start);
        let indent = self.text[line..].len() - self.text[line..].trim_start_matches(' ').len();
        let ending = self.ending();
        let lines: String = comments.iter().map(|comment| format!("{}{comment}{ending}", " ".repeat(indent))).collect();
        edits.insert(line, lines);
        Ok(())
    }

    /// Takes an entry away, and with the last one of a mapping the mapping.
    fn remove(&self, mapping: &Tree, entry: &Entry, edits: &mut Edits) -> Result<(), &'static str> {
        if mapping.entries().len() == 1
            && let Some((outer, whole)) = holder(self.root, mapping.span)
        {
            return self.remove(outer, whole, edits);
        }
        let (start, end) = (entry.key_span.start, end_of(self.text, entry));
        if !is_flow(self.text, mapping) {
            let (start, end) = self.lines(entry)?;
            edits.replace(start, end, "");
            return Ok(());
        }
        let blanks =
            |from: usize| from + (self.text[from..].len() - self.text[from..].trim_start_matches(BLANKS).len());
        let before = self.text[..start].trim_end_matches(BLANKS).len();
        let is_first_of_line = self.text[..before].ends_with('\n');
        let comma = end + (self.text[end..].len() - self.text[end..].trim_start().len());
        if self.text[comma..].starts_with(',') {
            let next = blanks(comma + 1);
            match self.text[next..].starts_with(['\n', '\r']) {
                true if is_first_of_line => edits.replace(before, next_line(self.text, next), ""),
                true => edits.replace(before, comma + 1, ""),
                false => edits.replace(start, next, ""),
            }
            return Ok(());
        }
        let last = own(mapping).map(|entry| end_of(self.text, entry)).filter(|&end| end <= start).max();
        let comma = last.and_then(|last| Some(last + self.text[last..start].find(',')?));
        match comma {
            Some(comma) if self.text[comma + 1..start].trim().is_empty() => edits.replace(comma, end, ""),
            // A comment stands between them.
            Some(comma) => {
                edits.replace(comma, comma + 1, "");
                edits.replace(start, blanks(end), "");
            }
            None => edits.replace(start, end, ""),
        }
        Ok(())
    }
}

/// The deepest mapping on the way that is written, and what of the path is left.
fn descend<'t, 'p>(target: &'t Tree, path: &'p [String]) -> Result<(&'t Tree, &'p [String]), &'static str> {
    let (mut here, mut rest) = (target, path);
    while rest.len() > 1 {
        let Some(entry) = here.entries().iter().find(|entry| entry.key == rest[0]) else { break };
        let is_written = contains(here, entry.key_span) && contains(here, entry.value.span);
        if !is_written || !matches!(entry.value.data, Data::Map(_)) {
            return Err("its block comes from an anchor: write the whole block here by hand");
        }
        here = &entry.value;
        rest = &rest[1..];
    }
    Ok((here, rest))
}

/// `a: { b: value }` of the path `a.b`.
fn nested_flow(path: &[String], entry: &str) -> String {
    path[..path.len() - 1].iter().rev().fold(entry.to_owned(), |inner, key| format!("{key}: {{ {inner} }}"))
}
