//! Finds the option that a reply names, inside markup, a sentence, JSON, a box, or after reasoning.
//!
//! The rules in their order: a box, a tag or JSON; a label alone; words such as `answer:`; a label at the beginning of the reply;
//! words such as `option`; a title; a label alone in a sentence. The first rule that finds an option decides; where it finds
//! two, nothing is chosen. The parser does not guess, because a wrong choice would become a demonstration: `A` before a word is
//! an article, `Plan B` and `Rocky 3` are titles, and `not B` is no choice.
//!
//! Not here: look-alikes of other alphabets, ordinals, and most languages other than English.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reply_words::{Text, lower, titles};

/// The option that a reply names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParsedOption {
    pub option: usize,
    /// The byte of the reply at which the option's letter or number stands; none where it is named by its title.
    pub at: Option<usize>,
}

/// Why a reply names no option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoChoice {
    /// It names none.
    Nothing,
    /// It names more than one.
    Several,
    /// It is unfinished reasoning.
    Thinking,
}

/// The delimiters of reasoning in a reply.
const THOUGHTS: [(&str, &str); 6] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
];
/// Words before the label of the answer.
const ANSWER: &[&str] =
    &["answer", "choice", "recommendation", "selection", "pick", "答案", "antwort", "réponse", "respuesta"];
/// Words before the label of an option.
const OPTION: &[&str] = &[
    "option",
    "candidate",
    "choose",
    "choosing",
    "chose",
    "pick",
    "select",
    "recommend",
    "suggest",
    "number",
    "letter",
    "with",
];
/// Words that may stand between one of those and a label.
const FILLER: &[&str] = &[
    "is",
    "be",
    "would",
    "will",
    "should",
    "the",
    "my",
    "final",
    "best",
    "option",
    "candidate",
    "number",
    "letter",
    "no",
    "clearly",
    "definitely",
    "therefore",
    "text",
    "mathrm",
    "textbf",
    "mathbf",
];
/// Words that join two labels.
const JOINS: &[&str] = &["and", "or", "nor", "then", "vs", "versus", "but", "than", "over"];
/// Words that negate a choice.
const NOT: &[&str] = &["not", "never", "neither", "none", "nor", "cannot", "t"];
/// Words that may follow the number of an option.
const AFTER_NUMBER: &[&str] =
    &["is", "because", "as", "since", "would", "will", "seems", "looks", "fits", "and", "or", "nor", "it", "for", "of"];
/// The JSON keys of a choice, in order of preference.
const KEYS: [&str; 13] = [
    "answer",
    "finalanswer",
    "choice",
    "option",
    "selected",
    "selection",
    "letter",
    "label",
    "number",
    "recommendation",
    "recommended",
    "pick",
    "id",
];

/// The reply after its reasoning; none where the reasoning does not end.
pub(super) fn after_thoughts(reply: &str) -> Option<&str> {
    let ends = THOUGHTS.iter().filter_map(|(_, end)| reply.rfind(end).map(|at| at + end.len()));
    let content = &reply[ends.max().unwrap_or(0)..];
    match THOUGHTS.iter().filter_map(|(begin, _)| content.find(begin)).min() {
        Some(begin) if content[..begin].trim().is_empty() => None,
        Some(begin) => Some(&content[..begin]),
        None => Some(content),
    }
}

/// The option that a reply names.
pub(super) fn parse_option(reply: &str, options: &[String]) -> Result<ParsedOption, NoChoice> {
    let content = after_thoughts(reply).ok_or(NoChoice::Thinking)?;
    let before = content.as_ptr() as usize - reply.as_ptr() as usize;
    let found = structured(content, options).unwrap_or_else(|| Text::new(content).parse_option(options))?;
    Ok(ParsedOption { at: found.at.map(|at| at + before), ..found })
}

/// The letter at the beginning of a reply whose title is that of another option (`B. Babe`). It is ambiguous, but a choice where
/// the probabilities of letters were requested.
pub(super) fn letter_first(reply: &str, options: &[String]) -> Option<ParsedOption> {
    let text = Text::new(reply);
    let option = text.label(0, options).filter(|_| text.begins_large(0))?;
    let marked = text.gap(1).iter().any(|c| ".):".contains(*c));
    (marked && text.title_at(1, options).is_some()).then(|| ParsedOption { option, at: text.at(0) })
}

/// The choice in a box, a tag or JSON; none where there is none of them.
fn structured(content: &str, options: &[String]) -> Option<Result<ParsedOption, NoChoice>> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for (begin, end) in [("\\boxed{", "}"), ("<answer>", "</answer>"), ("[[", "]]")] {
        for (at, begin) in content.match_indices(begin) {
            let inside = &content[at + begin.len()..];
            let inside = &inside[..inside.find(end).unwrap_or(inside.len())];
            // `\boxed{\text{B}}` ends at the first brace, which leaves `\text{B`.
            let place = at + begin.len();
            if let Ok(parsed) = Text::new(inside).parse_option(options) {
                found.insert(parsed.option);
                last = Some(ParsedOption { at: parsed.at.map(|at| at + place), ..parsed });
            }
        }
    }
    match (found.len(), last) {
        (0, _) => {}
        (1, Some(parsed)) => return Some(Ok(parsed)),
        _ => return Some(Err(NoChoice::Several)),
    }
    let fenced = content.trim().trim_start_matches("```").trim_end_matches("```").trim();
    let plain = fenced.strip_prefix("json").unwrap_or(fenced).trim();
    let value: Value = plain.starts_with(['{', '[']).then(|| serde_json::from_str(plain).ok()).flatten()?;
    Some(of_json(&value, options).map(|option| {
        let label = |label: String| {
            Text::new(content).labels(options).into_iter().rev().find(|(_, at)| content[*at..].starts_with(&label))
        };
        let at = label(letter(option)).or_else(|| label((option + 1).to_string())).map(|(_, at)| at);
        ParsedOption { option, at }
    }))
}

fn of_json(value: &Value, options: &[String]) -> Result<usize, NoChoice> {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().and_then(|number| usize::try_from(number).ok()).ok_or(NoChoice::Nothing)?;
            number.checked_sub(1).filter(|option| *option < options.len()).ok_or(NoChoice::Nothing)
        }
        Value::String(text) => Text::new(text).parse_option(options).map(|parsed| parsed.option),
        Value::Array(values) => match &values[..] {
            [one] => of_json(one, options),
            [] => Err(NoChoice::Nothing),
            _ => Err(NoChoice::Several),
        },
        Value::Object(map) => {
            let plain = |key: &str| key.to_lowercase().replace(['_', '-', ' '], "");
            let keyed = KEYS.iter().find_map(|wanted| map.iter().find(|(key, _)| plain(key) == *wanted));
            let only = || map.iter().next().filter(|_| map.len() == 1);
            keyed.or_else(only).map_or(Err(NoChoice::Nothing), |(_, value)| of_json(value, options))
        }
        Value::Null | Value::Bool(_) => Err(NoChoice::Nothing),
    }
}

fn letter(option: usize) -> String {
    u8::try_from(option)
        .ok()
        .filter(|option| *option < 26)
        .map_or_else(String::new, |option| char::from(b'A' + option).to_string())
}

/// One way in which a reply may name an option.
type Rule = fn(&Text, &[String]) -> Result<ParsedOption, NoChoice>;

impl Text {
    fn parse_option(&self, options: &[String]) -> Result<ParsedOption, NoChoice> {
        if self.words.is_empty() {
            return Err(NoChoice::Nothing);
        }
        if let Some(parsed) = self.alone(options) {
            return Ok(parsed);
        }
        let rules: [Rule; 5] = [Self::answered, Self::leading, Self::pointed, Self::titled, Self::standing];
        for rule in rules {
            match rule(self, options) {
                Err(NoChoice::Nothing) => {}
                decided => return decided,
            }
        }
        Err(NoChoice::Nothing)
    }

    /// A label or a title alone.
    fn alone(&self, options: &[String]) -> Option<ParsedOption> {
        if self.words.len() == 1
            && let Some(option) = self.label(0, options)
        {
            return Some(ParsedOption { option, at: self.at(0) });
        }
        let (from, to) = (self.words.first()?.0, self.words.last()?.1);
        let same = |title: &String| {
            let title = Self::new(title);
            match (title.words.first(), title.words.last()) {
                (Some(first), Some(last)) => {
                    let inside = title.chars[first.0..last.1].iter().copied().map(lower);
                    inside.eq(self.chars[from..to].iter().copied().map(lower))
                }
                _ => false,
            }
        };
        options.iter().position(same).map(|option| ParsedOption { option, at: None })
    }

    /// Named by words such as `answer:`, or alone in the last line.
    fn answered(&self, options: &[String]) -> Result<ParsedOption, NoChoice> {
        let mut found = self.after(ANSWER, options)?;
        let last = self.words.len() - 1;
        let own_line = last > 0 && self.gap(last).contains(&'\n') && !self.is_small(last);
        if let Some(option) = self.label(last, options).filter(|_| own_line) {
            found.push((option, last));
        }
        self.one(&found)
    }

    /// A label after words such as `option`.
    fn pointed(&self, options: &[String]) -> Result<ParsedOption, NoChoice> {
        self.one(&self.after(OPTION, options)?)
    }

    /// The labels after any of `cues`, and those joined to them.
    fn after(&self, cues: &[&str], options: &[String]) -> Result<Vec<(usize, usize)>, NoChoice> {
        let mut found = Vec::new();
        for cue in (0..self.words.len()).filter(|&word| cues.contains(&self.low(word).as_str())) {
            let mut word = cue + 1;
            let mut not = (cue.saturating_sub(2)..cue).any(|word| NOT.contains(&self.low(word).as_str()));
            while self.leads_on(word)
                && self.label(word, options).is_none()
                && (FILLER.contains(&self.low(word).as_str()) || NOT.contains(&self.low(word).as_str()))
            {
                not |= NOT.contains(&self.low(word).as_str());
                word += 1;
            }
            let Some(option) = self.label(word, options).filter(|_| self.leads_on(word)) else { continue };
            if not {
                return Err(NoChoice::Several);
            }
            if !self.means_label(word, option, options)? {
                continue;
            }
            found.push((option, word));
            // `A or B`, `A, B`
            while let Some((next, option)) = self.joined(word, options) {
                found.push((option, next));
                word = next;
            }
        }
        Ok(found)
    }

    /// Whether the text before a word continues to it.
    fn leads_on(&self, word: usize) -> bool {
        word < self.words.len()
            && self.gap(word).iter().all(|&c| c.is_whitespace() || ":=->*(\"'`#[{’“”_$\\–—→".contains(c))
    }

    /// Whether a label after a cue is a label, and not the beginning of a sentence or of a title.
    fn means_label(&self, word: usize, option: usize, options: &[String]) -> Result<bool, NoChoice> {
        let next = word + 1;
        match self.title_at(next, options) {
            Some(titled) if titled == option => return Ok(true),
            Some(_) if !self.spaces_only(next) => return Err(NoChoice::Several),
            _ => {}
        }
        if next >= self.words.len() || !self.spaces_only(next) {
            return Ok(!self.glued(next) || self.words.get(next).is_none());
        }
        let number = self.chars[self.words[word].0].is_ascii_digit();
        // `choose 2 films`
        if number && !AFTER_NUMBER.contains(&self.low(next).as_str()) {
            return Ok(false);
        }
        // `the answer is a film`; `Answer: A Bug's Life`.
        Ok(!self.is_small(word) && !self.begins_large(next))
    }

    /// The label that is joined to one.
    fn joined(&self, word: usize, options: &[String]) -> Option<(usize, usize)> {
        let next = word + 1;
        let comma = self.gap(next.min(self.words.len())).iter().any(|c| ",/&+".contains(*c));
        let next = if JOINS.contains(&self.low(next).as_str()) {
            next + 1
        } else if comma {
            next
        } else {
            return None;
        };
        Some((next, self.label(next, options).filter(|_| !self.is_small(next))?))
    }

    /// A label at the beginning: `B.`, `(B) Heat`, `**2**: because`.
    fn leading(&self, options: &[String]) -> Result<ParsedOption, NoChoice> {
        let begins = |word: usize| -> Option<usize> {
            let option = self.label(word, options)?;
            let first = word == 0 || self.gap(word).contains(&'\n');
            let gap = self.gap(word + 1);
            let marked = gap.iter().any(|c| ".):]>-–—|*\n`\"".contains(*c)) && !gap.contains(&',');
            let apart = gap.iter().any(|c| c.is_whitespace()) || word + 1 == self.words.len();
            (first && marked && apart).then_some(option)
        };
        let found: Vec<(usize, usize)> = (0..self.words.len()).filter_map(|word| Some((begins(word)?, word))).collect();
        let Some(&(option, 0)) = found.first() else {
            return Err(if found.len() > 1 {
                self.one(&found).err().unwrap_or(NoChoice::Several)
            } else {
                NoChoice::Nothing
            });
        };
        let other = |parsed: Option<usize>| parsed.is_some_and(|parsed| parsed != option);
        // `B. Heat` where Heat is A, and `B: A`.
        let lone = self.label(1, options).filter(|_| self.words.len() == 2);
        if other(self.title_at(1, options)) || other(lone) || other(self.joined(0, options).map(|next| next.1)) {
            return Err(NoChoice::Several);
        }
        self.one(&found)
    }

    /// The only title in the reply. Of `Heat` and `Dead Heat` the longer one counts where both match.
    fn titled(&self, options: &[String]) -> Result<ParsedOption, NoChoice> {
        let text: Vec<char> = self.chars.iter().copied().map(lower).collect();
        let titles = titles(options);
        let mut found: Vec<(usize, usize, usize)> = Vec::new();
        for (option, title) in &titles {
            let small: Vec<char> = title.iter().copied().map(lower).collect();
            // `It` and `Up` are words, too.
            let exact = small.len() < 4;
            for at in (0..(text.len() + 1).saturating_sub(small.len())).filter(|&at| text[at..].starts_with(&small)) {
                let end = at + small.len();
                if self.apart(at, end) && (!exact || self.chars[at..end] == title[..]) {
                    found.push((at, end, *option));
                }
            }
        }
        let inside = |a: &(usize, usize, usize), b: &(usize, usize, usize)| {
            b.0 <= a.0 && a.1 <= b.1 && (b.1 - b.0) > (a.1 - a.0)
        };
        let outermost = found.iter().filter(|one| !found.iter().any(|other| inside(one, other)));
        let named: BTreeSet<usize> = outermost.map(|one| one.2).collect();
        match (named.len(), named.first()) {
            (0, _) | (_, None) => Err(NoChoice::Nothing),
            (1, Some(&option)) => {
                let not = (0..self.words.len()).any(|word| NOT[..6].contains(&self.low(word).as_str()));
                if not && found.iter().any(|one| self.denied(one.0)) {
                    Err(NoChoice::Several)
                } else {
                    Ok(ParsedOption { option, at: None })
                }
            }
            _ => Err(NoChoice::Several),
        }
    }

    /// Whether one of the three words before a place negates what follows.
    fn denied(&self, at: usize) -> bool {
        let before: Vec<usize> = (0..self.words.len()).filter(|&word| self.words[word].1 <= at).collect();
        before.iter().rev().take(3).any(|&word| NOT.contains(&self.low(word).as_str()))
    }

    /// The only label in a sentence that cannot be read as a word.
    fn standing(&self, options: &[String]) -> Result<ParsedOption, NoChoice> {
        if (0..self.words.len()).any(|word| NOT.contains(&self.low(word).as_str())) {
            return Err(NoChoice::Nothing);
        }
        let stands = |word: usize| -> Option<(usize, usize)> {
            let option = self.label(word, options)?;
            if !self.is_small(word) && self.joined(word, options).is_some() {
                return Some((option, word));
            }
            let number = self.chars[self.words[word].0].is_ascii_digit();
            let previous = word.checked_sub(1);
            let after_title = previous.is_some_and(|previous| {
                self.begins_large(previous) && self.label(previous, options).is_none() && self.spaces_only(word)
            });
            if self.is_small(word) || self.glued(word) || self.glued(word + 1) || after_title {
                return None;
            }
            // A word that goes on.
            let next = Some(self.low(word + 1)).filter(|next| !next.is_empty() && self.spaces_only(word + 1));
            let after = next.as_deref().unwrap_or_default();
            let fits = match (number, self.word(word).as_str()) {
                (true, _) => {
                    let share = previous.is_some_and(|previous| self.low(previous) == "of")
                        || self.gap(word + 1).starts_with(&['%']);
                    !share && (next.is_none() || AFTER_NUMBER.contains(&after))
                }
                (false, "I") => false,
                (false, "A") => next.is_none() || JOINS.contains(&after),
                (false, _) => next.is_none() || !self.begins_large(word + 1),
            };
            fits.then_some((option, word))
        };
        self.one(&(0..self.words.len()).filter_map(stands).collect::<Vec<_>>())
    }

    /// The one option among those found, with its first word.
    fn one(&self, found: &[(usize, usize)]) -> Result<ParsedOption, NoChoice> {
        let (option, word) = *found.first().ok_or(NoChoice::Nothing)?;
        if found.iter().any(|other| other.0 != option) {
            return Err(NoChoice::Several);
        }
        Ok(ParsedOption { option, at: self.at(word) })
    }
}

#[cfg(test)]
#[path = "choice_parser_tests.rs"]
mod tests;
