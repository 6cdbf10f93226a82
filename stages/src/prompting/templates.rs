//! The templates of the prompts: the default ones (`templates/*.j2`), or those of the experiment.
//!
//! They are [strict](crate::llm::template) and can include each other.
//!
//! Not supported: templates in files of their own. A file is known only after it is fetched, which is too late for this check, and a
//! block of text in the experiment (`|`) is as readable.

use anyhow::Result;
use minijinja::{Environment, Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::llm::template;

/// Minijinja templates that replace the default prompts, each with the variables that its line names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prompts {
    /// The beginning of every prompt. Variables: `noun`, `instructions` (none where the setting is absent).
    pub preamble: Option<String>,
    /// The items that the user liked. Variable: `titles`, a list, best first.
    pub liked: Option<String>,
    /// The user's log, for the strategies that tell it. Variable: `titles`, a list, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// The log of another user, in an example. Variable: `titles`, a list, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_history: Option<String>,
    /// The item that was taken after a history, as it is told in an example. Variables: `completion_prefix`, `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The user's log in phases, for the strategy `clusters`. Variable: `phases`, a list, oldest first, each with `titles` and
    /// `genres`, lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phases: Option<String>,
    /// A hint of the stage `hints`, before the question. Variable: `hint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The candidates with their columns, before the question; only with `item_features`. Variables: `noun`, and `candidates`, a list of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<String>,
    /// The user's rating of a recommendation. Variables: `noun`, `title`, `rating`, `highest`, the top of the scale, and `features`, the
    /// item's columns (empty without `item_features`).
    pub feedback: Option<String>,
    /// The text that the chosen or generated title continues. Variable: `noun`.
    pub completion_prefix: Option<String>,
    /// The text that the planner continues. Variable: `noun`.
    pub thought_prompt: Option<String>,
    /// The line that states the thought to the actor. Variable: `thought`.
    pub thought_format: Option<String>,
    /// The reflections after episodes of similar users. Variable: `reflections`, a list, most similar first.
    pub reflections: Option<String>,
    /// The candidates that went well and badly with similar users. Variables: `good` and `bad`, lists of titles, one of which may
    /// be empty.
    pub advice: Option<String>,
    /// The text that the critic continues. Variables: `low` and `high`, the ends of its scale.
    pub critic_prompt: Option<String>,
    /// The text that the reflector continues. Variables: `turns`, and `left`, whether the user left.
    pub reflection_prompt: Option<String>,
}

/// A template with its name.
struct Template<'a> {
    name: &'static str,
    own: &'static str,
    given: &'a Option<String>,
    /// Sample values: every variable that it may use, in every form.
    samples: Vec<Value>,
}

impl Prompts {
    fn all(&self) -> [Template<'_>; 16] {
        let (noun, titles) = ("item", ["The Piano", "Heat (1995)"]);
        let none: [&str; 0] = [];
        let template = |name, own, given, samples| Template { name, own, given, samples };
        [
            template(
                "preamble",
                include_str!("templates/preamble.j2"),
                &self.preamble,
                vec![context! { noun, instructions => Value::from(()) }, context! { noun, instructions => "Be bold." }],
            ),
            template("liked", include_str!("templates/liked.j2"), &self.liked, vec![context! { titles }]),
            template("history", include_str!("templates/history.j2"), &self.history, vec![context! { titles }]),
            template(
                "other_history",
                include_str!("templates/other_history.j2"),
                &self.other_history,
                vec![context! { titles }],
            ),
            template(
                "step",
                include_str!("templates/step.j2"),
                &self.step,
                vec![context! { completion_prefix => "Recommended item:", title => titles[0] }],
            ),
            template(
                "phases",
                include_str!("templates/phases.j2"),
                &self.phases,
                vec![
                    context! { phases => [context! { titles, genres => none }] },
                    context! { phases => [context! { titles, genres => ["Drama"] }, context! { titles, genres => none }] },
                ],
            ),
            template(
                "hint",
                include_str!("templates/hint.j2"),
                &self.hint,
                vec![context! { hint => "Prefer what is old." }],
            ),
            template(
                "candidates",
                include_str!("templates/candidates.j2"),
                &self.candidates,
                vec![context! { noun, candidates => titles }],
            ),
            template(
                "feedback",
                include_str!("templates/feedback.j2"),
                &self.feedback,
                vec![
                    context! { noun, title => titles[0], rating => "3.5", highest => "5", features => "" },
                    context! { noun, title => titles[0], rating => "3.5", highest => "5", features => "brand: Acme" },
                ],
            ),
            template(
                "completion_prefix",
                include_str!("templates/completion_prefix.j2"),
                &self.completion_prefix,
                vec![context! { noun }],
            ),
            template(
                "thought_prompt",
                include_str!("templates/thought_prompt.j2"),
                &self.thought_prompt,
                vec![context! { noun }],
            ),
            template(
                "thought_format",
                include_str!("templates/thought_format.j2"),
                &self.thought_format,
                vec![context! { thought => "Something quiet." }],
            ),
            template(
                "reflections",
                include_str!("templates/reflections.j2"),
                &self.reflections,
                vec![context! { reflections => ["Vary more.", "Less noise."] }],
            ),
            template(
                "advice",
                include_str!("templates/advice.j2"),
                &self.advice,
                vec![
                    context! { good => titles, bad => none },
                    context! { good => none, bad => titles },
                    context! { good => [titles[0]], bad => [titles[1]] },
                ],
            ),
            template(
                "critic_prompt",
                include_str!("templates/critic_prompt.j2"),
                &self.critic_prompt,
                vec![context! { low => -5, high => 5 }],
            ),
            template(
                "reflection_prompt",
                include_str!("templates/reflection_prompt.j2"),
                &self.reflection_prompt,
                vec![context! { turns => 30, left => false }, context! { turns => 1, left => true }],
            ),
        ]
    }

    /// All templates, ready to be rendered.
    ///
    /// # Errors
    /// Where one cannot be parsed, which [`Prompts::check`] describes.
    pub(super) fn environment(&self) -> Result<Environment<'static>> {
        let mut environment = template::environment();
        for template in self.all() {
            let text = template.given.clone().unwrap_or_else(|| template.own.to_owned());
            environment.add_template_owned(template.name, text)?;
        }
        Ok(environment)
    }

    /// Whether each template renders to a text: the name of the first that does not, and its error.
    ///
    /// # Errors
    /// Where one cannot.
    pub fn check(&self) -> Result<(), (String, String)> {
        let templates = self.all();
        for Template { name, given, .. } in &templates {
            let Some(text) = given else { continue };
            // Each one alone first, so that its errors are not reported for another one.
            template::check_alone(name, text).map_err(|wrong| ((*name).to_owned(), wrong))?;
        }
        let environment = self.environment().map_err(|error| ("preamble".to_owned(), format!("{error:#}")))?;
        for Template { name, given, samples, .. } in &templates {
            let Some(text) = given else { continue };
            template::check(&environment, name, text, samples).map_err(|wrong| ((*name).to_owned(), wrong))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(prompts: Prompts) -> (String, String) {
        prompts.check().unwrap_err()
    }

    fn thought(text: &str) -> Prompts {
        Prompts { thought_prompt: Some(text.to_owned()), ..Prompts::default() }
    }

    #[test]
    fn ours_are_as_strict_as_any() {
        let own = |name: &str| {
            let template = Prompts::default().all().into_iter().find(|template| template.name == name).unwrap().own;
            Some(template.to_owned())
        };
        let all = Prompts {
            preamble: own("preamble"),
            liked: own("liked"),
            history: own("history"),
            other_history: own("other_history"),
            step: own("step"),
            phases: own("phases"),
            hint: own("hint"),
            candidates: own("candidates"),
            feedback: own("feedback"),
            completion_prefix: own("completion_prefix"),
            thought_prompt: own("thought_prompt"),
            thought_format: own("thought_format"),
            reflections: own("reflections"),
            advice: own("advice"),
            critic_prompt: own("critic_prompt"),
            reflection_prompt: own("reflection_prompt"),
        };
        assert_eq!(all.check(), Ok(()));
        assert_eq!(Prompts::default().check(), Ok(()));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_there_is() {
        let (path, said) = wrong(thought("Think.\nWhich {{ nuon }} next:"));
        assert_eq!(path, "thought_prompt");
        assert_eq!(
            said,
            "`nuon` is not a variable of this template; its variables are `noun`\n  \
             line 2 of the template: Which {{ nuon }} next:\n                                   ^^^^"
        );
        let (_, said) =
            wrong(Prompts { feedback: Some("nothing {{ titel }} {{ nuon }}".into()), ..Prompts::default() });
        assert!(
            said.starts_with(
                "`titel` is not a variable of this template; its variables are `noun`, `title`, `rating`, `highest`, `features`\n"
            ),
            "{said}"
        );
        let (_, said) = wrong(thought("Which {{ noun next:"));
        assert!(
            said.starts_with("syntax error: ") && said.contains("line 1 of the template: Which {{ noun next:\n"),
            "{said}"
        );
        let (_, said) = wrong(thought("{{ noun | shout }}"));
        assert!(said.contains("filter shout is unknown"), "{said}");
        let (_, said) = wrong(thought("{{ noun.plural }}"));
        assert!(said.starts_with("undefined value"), "{said}");
        let (_, said) = wrong(thought("{% if noun == 'film' %}x{% endif %}"));
        assert_eq!(said, "it renders to an empty text");
        let (_, said) = wrong(Prompts { advice: Some("{{ bad[0] }}".into()), ..Prompts::default() });
        assert!(said.starts_with("undefined value"), "one of the two may be empty: {said}");
        let error = serde_json::from_str::<Prompts>(r#"{"thougt": "x"}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown field `thougt`, expected one of `preamble`, `liked`"), "{error}");
    }

    #[test]
    fn a_template_reads_no_file_and_ends() {
        for read in ["{% include '/etc/passwd' %}", "{% import '../x' as x %}{{ noun }}", "{% extends 'Cargo.toml' %}"]
        {
            let (_, said) = wrong(thought(read));
            assert!(said.starts_with("template not found"), "{read}: {said}");
        }
        let forever = "{% for i in range(9999) %}{% for j in range(9999) %}{{ i * j }}{% endfor %}{% endfor %}";
        for endless in [forever, "{% include 'thought_prompt' %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"] {
            let (path, said) = wrong(thought(endless));
            assert!(path == "thought_prompt" && !said.is_empty(), "{said}");
        }
        assert!(wrong(thought(&"x".repeat(10_001))).1.starts_with("a template has at most"));
    }
}
