//! Where an experiment names secrets: `${env:NAME}` may stand in fields of type [`crate::Secret`] and nowhere else, because
//! every other field is hashed, stored and shown.

use super::schema_lookup::{SchemaLookup, Step};
use super::subject::{Subject, dotted};
use super::tree::{Data, Tree};
use crate::diagnostic::{Diagnostic, Span, listed};
use crate::secret::{self, is_reference};

/// A secret that the file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// The config field, `llm.openai.api_key`.
    pub field: String,
    /// The environment variable.
    pub variable: String,
    /// Where it is written, `x.yaml:12:20`.
    pub place: String,
    pub(crate) span: Span,
}

/// The secrets of a config that was read; those in places that take none are reported.
pub(crate) fn find(subject: &Subject, tree: &Tree, errors: &mut Vec<Diagnostic>) -> Vec<SecretUse> {
    let mut texts = Vec::new();
    collect(tree, &mut Vec::new(), &mut texts);
    if texts.is_empty() {
        return Vec::new();
    }
    let lookup = SchemaLookup::new(subject.schema);
    let mut found = Vec::new();
    for (steps, text, span) in texts {
        match secret::variable(text).filter(|_| lookup.is_secret(&steps)) {
            Some(variable) => found.push(SecretUse {
                field: dotted(&steps),
                variable: variable.to_owned(),
                place: String::new(),
                span,
            }),
            None => errors.push(refused(subject, &lookup, &steps, span)),
        }
    }
    found
}

/// The fault of a secret in a place that takes none.
pub(crate) fn refused(subject: &Subject, lookup: &SchemaLookup, steps: &[Step], span: Span) -> Diagnostic {
    let message = format!("`{}` takes no `${{env:…}}`: what it says is hashed, stored and shown", dotted(steps));
    let fields = lookup.secrets();
    let help = match &fields[..] {
        [] => format!("write the value itself; nothing in {} takes a secret", subject.what),
        _ => {
            let fields = listed(fields.iter().map(String::as_str));
            format!("write the value itself; a secret may stand in {fields}")
        }
    };
    Diagnostic::at(span, message).help(help)
}

fn collect<'t>(tree: &'t Tree, steps: &mut Vec<Step>, found: &mut Vec<(Vec<Step>, &'t str, Span)>) {
    match &tree.data {
        Data::Scalar(_) => {
            found.extend(tree.text().filter(|text| is_reference(text)).map(|text| (steps.clone(), text, tree.span)));
        }
        Data::List(items) => {
            for (index, item) in items.iter().enumerate() {
                steps.push(Step::Index(index));
                collect(item, steps, found);
                steps.pop();
            }
        }
        Data::Map(entries) => {
            for entry in entries {
                steps.push(Step::Key(entry.key.clone()));
                if is_reference(&entry.key) {
                    found.push((steps.clone(), &entry.key, entry.key_span));
                }
                collect(&entry.value, steps, found);
                steps.pop();
            }
        }
    }
}
