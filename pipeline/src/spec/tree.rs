//! YAML as a tree that remembers where each key and value stands.
//!
//! The parser gives structure and places; what a plain scalar *is* (`1e-3`, `true`, `~`) is serde_yaml's word. Duplicate
//! keys are reported here, because a mapping of any other library has already lost them. `<<: *x` merges as YAML 1.1 has it
//! (see [`Reader::mapping`]). Of tags those are known that say what a value is anyway (`!!str`, `!!int`); all others are
//! refused: choices are written `name: { … }`.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as Marks, Tag};
use serde_json::Value;

use crate::diagnostic::{Diagnostic, MOST, Span};

/// Nesting beyond this is a mistake or an attack, and would overflow the stack of everything that walks the tree.
pub(crate) const MAX_DEPTH: usize = 64;
/// Aliases can multiply a small file into any size; this many values are more than any experiment has.
const MAX_NODES: usize = 200_000;
/// The key that merges.
const MERGE: &str = "<<";
/// YAML's own tags for scalars.
const SCALARS: &[&str] = &["str", "int", "float", "bool", "null"];
const TOO_MUCH: &str = "the values are nested too deeply or too many";

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The scalar, or the collection from its first to its last character.
    pub span: Span,
    /// What it is.
    pub data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Null, a boolean, a number or a string.
    Scalar(Value),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Tree,
}

impl Tree {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        if let Data::Map(entries) = &self.data { entries } else { &[] }
    }
    /// The same, to be changed.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        if let Data::Map(entries) = &mut self.data { entries } else { &mut [] }
    }
    pub fn text(&self) -> Option<&str> {
        if let Data::Scalar(Value::String(text)) = &self.data { Some(text) } else { None }
    }
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }
    /// What the value is, for "… takes a mapping, not {}".
    pub fn noun(&self) -> String {
        match &self.data {
            Data::Scalar(Value::Null) => "nothing".into(),
            Data::Scalar(Value::String(text)) => format!("the text \"{text}\""),
            Data::Scalar(value) => value.to_string(),
            Data::List(_) => "a list".into(),
            Data::Map(_) => "a mapping".into(),
        }
    }
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}

/// Reads one YAML document. `offset` is where `text` begins in its source. Returns nothing when the syntax is broken;
/// faults that leave a usable tree (duplicate keys, tags) are reported and read past.
pub(crate) fn parse(text: &str, source: usize, offset: usize, errors: &mut Vec<Diagnostic>) -> Option<Tree> {
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at + offset).collect();
    bytes.push(text.len() + offset);
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { text, parser, source, bytes, anchors: BTreeMap::new(), nodes: 0, anchored: 0, errors };
    match reader.document() {
        Ok(tree) => Some(tree),
        Err(stop) => {
            errors.push(*stop);
            None
        }
    }
}

/// Whether a text would end a document, or begin one, if it stood at the beginning of a line.
pub(crate) fn is_end_of_document(text: &str) -> bool {
    let rest = text.strip_prefix("---").or_else(|| text.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

struct Reader<'text, 'errors> {
    text: &'text str,
    parser: Parser<'text, saphyr_parser::StrInput<'text>>,
    source: usize,
    /// Byte of each character; the parser counts characters.
    bytes: Vec<usize>,
    anchors: BTreeMap<usize, Tree>,
    nodes: usize,
    /// Values under anchors: nested anchors keep what they share once each.
    anchored: usize,
    errors: &'errors mut Vec<Diagnostic>,
}

type Read<T> = Result<T, Box<Diagnostic>>;

impl<'text> Reader<'text, '_> {
    fn document(&mut self) -> Read<Tree> {
        let tree = loop {
            let (event, marks) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => {
                    return Ok(Tree { span: self.span(marks), data: Data::Scalar(Value::Null) });
                }
                event => break self.value(event, marks, 0)?,
            }
        };
        loop {
            let (event, marks) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(tree),
                Event::DocumentStart(_) => {
                    return Err(Diagnostic::at(self.span(marks), "a second YAML document in the same file")
                        .help("write one experiment per file, without `---` between parts")
                        .into());
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Read<(Event<'text>, Marks)> {
        match self.parser.next_event() {
            Some(Ok(pair)) => Ok(pair),
            Some(Err(error)) => Err(self.syntax(&error).into()),
            None => Ok((Event::StreamEnd, Marks::default())),
        }
    }

    fn value(&mut self, event: Event<'text>, marks: Marks, depth: usize) -> Read<Tree> {
        let start = self.span(marks);
        let before = self.nodes;
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(Diagnostic::at(start, TOO_MUCH).into());
        }
        let (anchor, data, end) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let start = self.scalar(start, style);
                let value = match self.tag(tag.as_deref(), SCALARS, start) {
                    Some("str") => Value::String(text.into_owned()),
                    Some(tag) => {
                        let value = self.plain(&text, start);
                        self.hold_to(tag, &text, &value, start);
                        value
                    }
                    None if style == ScalarStyle::Plain => self.plain(&text, start),
                    None => Value::String(text.into_owned()),
                };
                (anchor, Data::Scalar(value), start.end)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), &["seq"], start);
                let mut items: Vec<Tree> = Vec::new();
                let end = loop {
                    let (event, marks) = self.next()?;
                    if event == Event::SequenceEnd {
                        break self.end(marks, items.last().map(|item| item.span.end), start);
                    }
                    items.push(self.value(event, marks, depth + 1)?);
                };
                (anchor, Data::List(items), end)
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), &["map"], start);
                let (entries, end) = self.mapping(start, depth)?;
                (anchor, Data::Map(entries), end)
            }
            Event::Alias(id) => {
                // The parser itself refuses unknown names; what is left is an alias inside its own anchor.
                let Some(tree) = self.anchors.get(&id) else {
                    return Err(Diagnostic::at(start, "the alias stands inside the value that it names").into());
                };
                let tree = tree.clone();
                self.nodes += count(&tree);
                return Ok(tree);
            }
            _ => return Err(Diagnostic::at(start, "invalid YAML: a value was expected").into()),
        };
        let tree = Tree { span: Span { end, ..start }, data };
        if anchor > 0 {
            self.keep(anchor, &tree, self.nodes - before)?;
        }
        Ok(tree)
    }

    /// Remembers what an anchor names, of so many values.
    fn keep(&mut self, anchor: usize, tree: &Tree, nodes: usize) -> Read<()> {
        self.anchored += nodes;
        if self.anchored > MAX_NODES {
            return Err(Diagnostic::at(tree.span, TOO_MUCH).into());
        }
        self.anchors.insert(anchor, tree.clone());
        Ok(())
    }

    /// The entries of a mapping, and where it ends.
    ///
    /// The key `<<` gives the entries of the mapping behind it, or of each in a list of them, as far as they are not written
    /// beside it, before it or after it; of several in a list the first wins. Mappings inside are taken whole, not merged. What
    /// came so keeps its place, so that a fault is shown where it is written.
    fn mapping(&mut self, start: Span, depth: usize) -> Read<(Vec<Entry>, usize)> {
        let mut entries: Vec<Entry> = Vec::new();
        // Where each key stands in `entries`: to search them would take minutes in a file of many thousand keys.
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        // What `<<` gives, and how many entries stood before it.
        let mut merged: Option<(Vec<Entry>, usize)> = None;
        let mut last = None;
        loop {
            let (event, marks) = self.next()?;
            if event == Event::MappingEnd {
                let end = self.end(marks, last, start);
                if let Some((more, at)) = merged {
                    let more = more.into_iter().filter(|entry| !places.contains_key(&entry.key)).collect::<Vec<_>>();
                    entries.splice(at..at, more);
                }
                return Ok((entries, end));
            }
            let key_span = self.span(marks);
            let Event::Scalar(key, style, anchor, tag) = event else {
                return Err(Diagnostic::at(key_span, "a key must be a plain name")
                    .help("quote a value that begins with `[`, `{`, `*` or `&`")
                    .into());
            };
            let key_span = self.scalar(key_span, style);
            self.tag(tag.as_deref(), &["str"], key_span);
            if anchor > 0 {
                let name = Tree { span: key_span, data: Data::Scalar(Value::String(key.to_string())) };
                self.keep(anchor, &name, 1)?;
            }
            let (event, marks) = self.next()?;
            let mut value = self.value(event, marks, depth + 1)?;
            // The parser puts a value that is not written after the blank lines that follow; it belongs to its key.
            if value.is_null() && value.span.start == value.span.end {
                value.span = Span { start: key_span.end, end: key_span.end, ..key_span };
            }
            last = Some(if value.span.start < key_span.start { key_span.end } else { value.span.end });
            if key == MERGE && style == ScalarStyle::Plain {
                let before = entries.len();
                match merged {
                    None => merged = Some((self.merged(value, key_span), before)),
                    Some(_) => {
                        let fault = Diagnostic::at(key_span, "the key `<<` is written twice");
                        self.errors.push(fault.help("give it a list: `<<: [*a, *b]`"));
                    }
                }
                continue;
            }
            if let Some(&first) = places.get(&*key) {
                let line = self.line(entries[first].key_span);
                let fault = Diagnostic::at(key_span, format!("the key `{key}` is written twice"))
                    .help(format!("the first one stands in line {line}; remove or rename one of them"));
                if self.errors.len() > MOST {
                    return Err(fault.into());
                }
                self.errors.push(fault);
            } else {
                places.insert(key.to_string(), entries.len());
                entries.push(Entry { key: key.into_owned(), key_span, value });
            }
        }
    }

    /// Where a collection ends: at its bracket, or (block style has none) at its last value.
    fn end(&self, marks: Marks, last: Option<usize>, start: Span) -> usize {
        let close = self.span(marks);
        if close.end > close.start { close.end } else { last.unwrap_or(start.end).max(start.end) }
    }

    /// The entries that `<<` takes from its value; of a key that is in several mappings, the first.
    fn merged(&mut self, value: Tree, key_span: Span) -> Vec<Entry> {
        let sources = match value.data {
            Data::List(items) => items,
            data => vec![Tree { span: value.span, data }],
        };
        let mut entries: Vec<Entry> = Vec::new();
        let mut known = BTreeSet::new();
        for source in sources {
            match source.data {
                Data::Map(more) => entries.extend(more.into_iter().filter(|entry| known.insert(entry.key.clone()))),
                _ => {
                    let message = format!("`<<` takes a mapping or a list of mappings, not {}", source.noun());
                    let fault = Diagnostic::at(key_span, message);
                    self.errors.push(fault.help("name a mapping with `&x`, and merge it with `<<: *x`"));
                }
            }
        }
        entries
    }

    /// The tag, where it is one of `known`, YAML's own for what stands there; any other is reported.
    fn tag(&mut self, tag: Option<&Tag>, known: &[&'static str], span: Span) -> Option<&'static str> {
        let tag = tag?;
        let own = tag.is_yaml_core_schema();
        // A lone `!` keeps a scalar a text, and says nothing of anything else.
        let suffix = if tag.handle.is_empty() && tag.suffix == "!" { "str" } else { &*tag.suffix };
        let found = known.iter().find(|known| (own || suffix != tag.suffix) && suffix == **known);
        if let Some(found) = found {
            return Some(found);
        }
        // The parser writes YAML's own tags out in full.
        let name = if own { format!("!!{}", tag.suffix) } else { tag.to_string() };
        let message = format!("the YAML tag `{name}` is not known here");
        self.errors.push(Diagnostic::at(span, message).help("a choice is written as a key: `name: { … }`"));
        None
    }

    /// Reports a scalar that is not what its tag says.
    fn hold_to(&mut self, tag: &str, text: &str, value: &Value, span: Span) {
        let (fits, wanted) = match tag {
            "int" => (value.is_i64() || value.is_u64(), "a whole number"),
            "float" => (value.is_number(), "a number"),
            "bool" => (value.is_boolean(), "true or false"),
            _ => (value.is_null(), "nothing"),
        };
        if !fits {
            self.errors.push(Diagnostic::at(span, format!("`!!{tag}` wants {wanted}, not `{text}`")));
        }
    }

    fn plain(&mut self, text: &str, span: Span) -> Value {
        // Read alone it would be nothing.
        if is_end_of_document(text) {
            return Value::String(text.to_owned());
        }
        match serde_yaml::from_str::<serde_yaml::Value>(text) {
            Ok(serde_yaml::Value::Null) => Value::Null,
            Ok(serde_yaml::Value::Bool(value)) => Value::Bool(value),
            Ok(serde_yaml::Value::Number(number)) => {
                let whole = number.as_u64().map(Value::from).or_else(|| number.as_i64().map(Value::from));
                let real = || number.as_f64().and_then(serde_json::Number::from_f64).map(Value::Number);
                whole.or_else(real).unwrap_or_else(|| {
                    let fault = Diagnostic::at(span, format!("`{text}` is not a finite number"));
                    self.errors
                        .push(fault.help("write a finite number such as `0.5`, or quote it where a text is meant"));
                    Value::from(0)
                })
            }
            _ => Value::String(text.to_owned()),
        }
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let info = error.info();
        let mut start = self.byte(error.marker().index());
        let mut end = self.byte(error.marker().index() + 1);
        // What is missing at the end of the text is shown at its last character, not in the empty line below.
        let last = self.bytes[self.text.trim_end().chars().count().saturating_sub(1)];
        if start > last {
            (start, end) = (last, self.bytes[0] + self.text.trim_end().len());
        }
        let line = self.text[..start - self.bytes[0]].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line..].lines().next().unwrap_or_default();
        let help = if crate::secret::is_reference(line) && line.contains(['{', '[']) && info.contains("flow") {
            "inside `{ … }` and `[ … ]` quote it: \"${env:NAME}\""
        } else if info.contains("tabs") {
            "indent with spaces, not with tabs"
        } else if info.contains("anchor") || info.contains("alias") {
            "quote a text that begins with `*` or `&`"
        } else if info.contains("mapping values are not allowed") {
            "a text with `: ` in it must be quoted; else look at the indentation"
        } else {
            "look at the indentation here, and at the quotes and brackets of the lines above"
        };
        Diagnostic::at(Span { source: self.source, start, end }, format!("invalid YAML: {info}")).help(help)
    }

    fn byte(&self, character: usize) -> usize {
        self.bytes.get(character).or(self.bytes.last()).copied().unwrap_or_default()
    }

    fn span(&self, marks: Marks) -> Span {
        Span { source: self.source, start: self.byte(marks.start.index()), end: self.byte(marks.end.index()) }
    }

    /// The place of a scalar. To one in quotes the parser counts the blanks behind it, and a comment behind these.
    fn scalar(&self, span: Span, style: ScalarStyle) -> Span {
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            _ => return span,
        };
        let text = &self.text[span.start - self.bytes[0]..];
        let mut rest = text.char_indices().skip(1).peekable();
        while let Some((at, c)) = rest.next() {
            let is_pair = quote == '\'' && rest.peek().is_some_and(|&(_, next)| next == quote);
            match c {
                '\\' if quote == '"' => drop(rest.next()),
                _ if c == quote && is_pair => drop(rest.next()),
                _ if c == quote => return Span { end: span.start + at + 1, ..span },
                _ => {}
            }
        }
        span
    }

    fn line(&self, span: Span) -> usize {
        self.text[..span.start - self.bytes[0]].matches('\n').count() + 1
    }
}

fn count(tree: &Tree) -> usize {
    match &tree.data {
        Data::Scalar(_) => 1,
        Data::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Data::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.value)).sum::<usize>(),
    }
}
