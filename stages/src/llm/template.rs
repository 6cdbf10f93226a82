//! Strict minijinja templates, checked when the experiment is read.
//!
//! Each is rendered with sample values, so that an unknown variable, a wrong filter and an endless template are reported with
//! their line in the file, before any stage runs. A template can include templates of its environment and nothing else: no file,
//! and at most [`FUEL`] steps.

use minijinja::{Environment, Error, UndefinedBehavior, Value};

/// Maximum steps of one rendering; the longest default template takes some hundred.
const FUEL: u64 = 20_000;
/// Maximum length of a template, in characters.
const MAX_CHARS: usize = 10_000;

/// An environment without templates, in which an unknown variable is an error.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

/// Whether one template can be parsed.
///
/// # Errors
/// With the place in the text.
pub(crate) fn check_alone(name: &str, text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_CHARS {
        return Err(format!("a template has at most {MAX_CHARS} characters"));
    }
    Environment::new().add_template(name, text).map_err(|error| located(&error, text))
}

/// Whether one template of `environment`, written as `text`, renders to a text with every sample. The first sample has all
/// variables that it may use.
///
/// # Errors
/// With the place in the text.
pub(crate) fn check(environment: &Environment, name: &str, text: &str, samples: &[Value]) -> Result<(), String> {
    let template = environment.get_template(name).map_err(|error| located(&error, text))?;
    let known: Vec<String> = samples
        .first()
        .and_then(|values| values.try_iter().ok())
        .into_iter()
        .flatten()
        .map(|name| name.to_string())
        .collect();
    let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
    let mut strange: Vec<String> = template.undeclared_variables(false).into_iter().collect();
    strange.retain(|name| !known.contains(name) && !globals.contains(&name.as_str()));
    strange.sort_by_key(|name| place_of(name, text));
    if let Some(name) = strange.first() {
        let has: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        let wrong = format!("`{name}` is not a variable of this template; its variables are {}", has.join(", "));
        return Err(at(text, place_of(name, text), name.len(), &wrong));
    }
    for values in samples {
        let filled = template.render(values).map_err(|error| located(&error, text))?;
        if filled.trim().is_empty() {
            return Err("it renders to an empty text".to_owned());
        }
    }
    Ok(())
}

/// The byte position of the first use of a variable: inside a tag, and not as a part of a longer word.
fn place_of(name: &str, text: &str) -> usize {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let whole = |&(at, found): &(usize, &str)| {
        let inside = text[..at]
            .rfind(['{', '}'])
            .is_some_and(|brace| text[brace..].starts_with('{') || text[..brace].ends_with("{%"));
        inside
            && !part(text[..at].chars().next_back())
            && !part(text[at + found.len()..].chars().next().filter(|c| *c != '.'))
    };
    text.match_indices(name).find(whole).map_or(0, |(at, _)| at)
}

/// minijinja's message with its position.
fn located(error: &Error, text: &str) -> String {
    let said = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    match error.range() {
        Some(range) if error.template_source().is_none_or(|source| source == text) => {
            at(text, range.start, range.len(), &said)
        }
        _ => said,
    }
}

/// `what` with its line of `text`, and a caret under it.
fn at(text: &str, start: usize, length: usize, what: &str) -> String {
    let start = (0..=start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let (number, column) = (text[..start].matches('\n').count() + 1, text[begin..start].chars().count());
    let carets = length.clamp(1, line.chars().count().saturating_sub(column).max(1));
    format!(
        "{what}\n  line {number} of the template: {line}\n{:indent$}{:^<carets$}",
        "",
        "",
        indent = format!("  line {number} of the template: ").len() + column
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_where_it_is_used() {
        assert_eq!(place_of("noun", "noun of {{ pronoun }} {{ noun }}"), 25);
        assert_eq!(place_of("bad", "{% if bad %}bad{% endif %}"), 6);
        assert_eq!(place_of("bad", "{{ x.bad }}{{ bad.x }}"), 14);
    }
}
